"""Pictures in a sub-folder for each class, on the disk or in an archive."""

import os

import numpy as np

from tinynet.data.files import FileSplit, SlowProgress, is_picture
from tinynet.data.pictures import DataError

HELD_OUT = 0.2  # of each class, where the folder does not say


class Folder:
    """A folder on the disk. An Archive has the same methods; names have slashes and are relative to `path`.

    Raises   DataError where there is no such folder
    """

    def __init__(self, path):
        self.path = os.fspath(path)
        if not os.path.isdir(path):
            what = "is a file, not a folder or a .tar" if os.path.exists(path) else "there is no such folder"
            raise DataError(f"{path}: {what}; the data is a folder with one sub-folder for each class, or 'embedded'")

    def folders(self, at=""):
        """Sorted names of the folders directly in `at`, without hidden ones."""
        return [entry.name for entry in self._entries(at) if entry.is_dir()]

    def pictures(self, at=""):
        """Names of the pictures in `at` and below, sorted; hidden folders and files that are no pictures left out."""
        found, below = [], []
        for entry in self._entries(at):
            name = f"{at}/{entry.name}" if at else entry.name
            if entry.is_dir(follow_symlinks=False):  # through links a loop would never end
                below.append(name)
            elif is_picture(name) and not entry.is_dir():
                if entry.is_symlink() and not os.path.exists(entry.path):
                    raise DataError(f"{entry.path}: a link to nothing; remove it, or bring back what it leads to")
                found.append(name)
        return found + [name for folder in below for name in self.pictures(folder)]

    def _entries(self, at):
        try:
            with os.scandir(os.path.join(self.path, at)) as entries:
                return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda one: one.name)
        except OSError as error:
            raise DataError(f"{os.path.join(self.path, at)}: cannot be read ({error.strerror})") from None

    def find(self, name):
        """What load_picture takes to read the picture `name`."""
        return os.path.join(self.path, name)


class FolderSource:
    """train/CLASS/*.jpg with test/ or val/; or CLASS/*.jpg, a fifth of each class held out.

    Classes are numbered in the order of their names. Folders inside a class folder count as part of it; hidden files
    and files that are no pictures by name do not. Where all is in one outer folder, as in most archives, that one is
    looked into. Pictures are read when asked for, so memory stays flat.

    Args     tree: a Folder or an Archive; size: side of the square pictures, in pixels; seed: chooses the held-out
             fifth
    Raises   DataError where there is nothing to learn from
    """

    def __init__(self, tree, size, seed=0, quiet=False):
        self.name = os.path.basename(os.path.abspath(tree.path))
        top, folders = _top(tree)
        if "train" in folders and tree.folders(f"{top}train"):  # else it is a class that is called so
            held_out = _held_out(tree, top, folders)
            train, test = (list_classes(tree, f"{top}{part}", quiet) for part in ("train", held_out))
            if train.keys() != test.keys():
                odd = sorted(train.keys() ^ test.keys())[0]
                raise DataError(f"{tree.path}: train/ and {held_out}/ have different classes; only one of them has "
                                f"{odd!r}")
        else:
            classes = list_classes(tree, top.rstrip("/"), quiet)
            train, test = split_classes(classes, np.random.default_rng(seed), tree.path)
        self.class_names = sorted(train)
        self.train, self.test = (FileSplit(tree, *join_classes(part), size, quiet) for part in (train, test))


def _top(tree):
    """Where the classes, or train/, are: ("", folders), or ("cifar10/", folders) where that folder holds them all."""
    folders = tree.folders()
    if len(folders) == 1 and folders != ["train"] and (inner := tree.folders(folders[0])):
        return f"{folders[0]}/", inner
    return "", folders


def _held_out(tree, top, folders):
    there = [name for name in ("test", "val") if name in folders]
    if not there:
        raise DataError(f"{os.path.join(tree.path, top)}: has train/ but neither test/ nor val/")
    return next((name for name in there if tree.folders(top + name)), there[0])  # a test/ without labels is no use


def list_classes(tree, at="", quiet=False):
    """{class name: sorted pictures} of a folder of class folders. Raises DataError for fewer than two, or an empty one.
    """
    path = os.path.join(tree.path, at) if at else tree.path
    folders, classes = tree.folders(at), {}
    with SlowProgress(len(folders), f"listing {path}", "classes", quiet) as progress:
        for name in folders:
            classes[name] = tree.pictures(f"{at}/{name}" if at else name)
            progress.update(1)
    if not any(classes.values()):
        raise DataError(f"{path}: no pictures in its sub-folders; expected {os.path.join(path, 'CLASS', 'x.jpg')}")
    for name, pictures in classes.items():
        if not pictures:
            raise DataError(f"{os.path.join(path, name)}: a class without a picture; fill the folder or remove it")
    if len(classes) == 1:
        raise DataError(f"{path}: there is only one class, {next(iter(classes))!r}; at least two are needed")
    return classes


def split_classes(classes, rng, path=""):
    """Hold out a fifth of each class, at least one picture. Raises DataError for a class with a single picture."""
    train, test = {}, {}
    for name in sorted(classes):
        pictures = classes[name]
        if len(pictures) == 1:
            raise DataError(f"{os.path.join(path, pictures[0])}: the only picture of class {name!r}; two at least are "
                            "needed, one to test")
        order = rng.permutation(len(pictures))
        count = max(1, round(HELD_OUT * len(pictures)))
        test[name] = [pictures[i] for i in sorted(order[:count])]
        train[name] = [pictures[i] for i in sorted(order[count:])]
    return train, test


def join_classes(classes):
    """names, labels (N,) of {class name: pictures}, class after class."""
    names = [picture for name in sorted(classes) for picture in classes[name]]
    return names, np.repeat(np.arange(len(classes)), [len(classes[name]) for name in sorted(classes)])
