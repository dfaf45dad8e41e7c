"""A folder of pictures, one sub-folder a class."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from tinynet.data.pictures import EXTENSIONS, DataError, UnreadablePicture, load_picture

HELD_OUT = 0.2  # of each class, where the folder does not say


class FolderSource:
    """FOLDER/train/CLASS/*.jpg with FOLDER/test or FOLDER/val; or FOLDER/CLASS/*.jpg, a fifth of each class held out.

    Classes are numbered in the order of their names. Folders inside a class folder count as part of it; hidden files
    and files that are no pictures by name do not. Pictures are read when asked for, so memory stays flat.

    Args     path; size: side of the square pictures, in pixels; seed: chooses the held-out fifth
    Raises   DataError where there is nothing to learn from
    """

    def __init__(self, path, size, seed=0, quiet=False):
        if not os.path.isdir(path):
            what = "is a file, not a folder" if os.path.exists(path) else "there is no such folder"
            raise DataError(f"{path}: {what}; the data is a folder with one sub-folder for each class, or 'embedded'")
        self.name = os.path.basename(os.path.abspath(path))
        if os.path.isdir(os.path.join(path, "train")):
            held_out = next((name for name in ("test", "val") if os.path.isdir(os.path.join(path, name))), None)
            if held_out is None:
                raise DataError(f"{path}: has train/ but neither test/ nor val/")
            train, test = list_classes(os.path.join(path, "train")), list_classes(os.path.join(path, held_out))
            if train.keys() != test.keys():
                odd = sorted(train.keys() ^ test.keys())[0]
                raise DataError(f"{path}: train/ and {held_out}/ have different classes; only one of them has {odd!r}")
        else:
            train, test = split_classes(list_classes(path), np.random.default_rng(seed))
        self.class_names = sorted(train)
        self.train = FolderSplit(train, size, quiet)
        self.test = FolderSplit(test, size, quiet)


class FolderSplit:
    """Files and labels, read a few at a time. See tinynet.data for the methods that every split has."""

    def __init__(self, files_by_class, size, quiet=False):
        names = sorted(files_by_class)
        self.files = [file for name in names for file in files_by_class[name]]
        self.labels = np.repeat(np.arange(len(names)), [len(files_by_class[name]) for name in names])  # (N,)
        self.size, self.quiet, self.unreadable = size, quiet, {}

    def __len__(self):
        return len(self.files)

    def read(self, indices):
        files = [self.files[i] for i in indices]
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes without holding Python's lock
            pictures = list(pool.map(self._load, files))
        readable = np.array([picture is not None for picture in pictures], dtype=bool)
        whole = [picture for picture in pictures if picture is not None]
        return np.stack(whole) if whole else np.empty((0, 3, self.size, self.size), np.uint8), readable

    def _load(self, file):
        try:
            return load_picture(file, self.size)
        except UnreadablePicture as error:
            if file not in self.unreadable and not self.quiet:
                tqdm.write(f"skipped {file}: {error}", file=sys.stderr)
            self.unreadable[file] = str(error)
            return None


def list_classes(path):
    """{class name: sorted files} of a folder of class folders. Raises DataError for fewer than two, or an empty one."""
    classes = {}
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if entry.is_dir() and not entry.name.startswith("."):
            classes[entry.name] = list_pictures(entry.path)
    if not any(classes.values()):
        raise DataError(f"{path}: no pictures in its sub-folders; expected {os.path.join(path, 'CLASS', 'x.jpg')}")
    for name, files in classes.items():
        if not files:
            raise DataError(f"{os.path.join(path, name)}: a class without a picture; fill the folder or remove it")
    if len(classes) == 1:
        raise DataError(f"{path}: there is only one class, {next(iter(classes))!r}; at least two are needed")
    return classes


def list_pictures(path):
    """Sorted files below path that are pictures by their names."""
    found = []
    for folder, folders, files in os.walk(path):  # does not follow links to folders: a loop would never end
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.join(folder, name) for name in sorted(files)
                  if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS]
    return found


def split_classes(classes, rng):
    """Hold out a fifth of each class, at least one picture. Raises DataError for a class with a single picture."""
    train, test = {}, {}
    for name in sorted(classes):
        files = classes[name]
        if len(files) == 1:
            raise DataError(f"{files[0]}: the only picture of class {name!r}; two at least are needed, one to test")
        order = rng.permutation(len(files))
        count = max(1, round(HELD_OUT * len(files)))
        test[name] = [files[i] for i in sorted(order[:count])]
        train[name] = [files[i] for i in sorted(order[count:])]
    return train, test
