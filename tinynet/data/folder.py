"""Pictures in one sub-folder per class, on the disk or in an archive."""

import os

import numpy as np

from tinynet.data.files import FileSplit, SlowProgress, is_picture
from tinynet.data.pictures import DataError

TEST_SHARE = 0.2  # of each class, if the folder has no test set


class Folder:
    """A folder on the disk. An Archive has the same methods.

    Names in it are relative to `path`, with slashes.

    Raises   DataError if there is no such folder
    """

    def __init__(self, path):
        self.path = os.fspath(path)
        if not os.path.isdir(path):
            what = "there is no such folder"
            if os.path.exists(path):
                what = "is a file, not a folder or a .tar"
            raise DataError(f"{path}: {what}; the data is a folder with one sub-folder for each "
                            "class, or 'embedded'; python -m tinynet.data download cifar10 data "
                            "fetches CIFAR-10")

    def folders(self, at=""):
        """Return the sorted names of the folders directly in `at`, without hidden ones."""
        return [entry.name for entry in self._entries(at) if entry.is_dir()]

    def pictures(self, at=""):
        """Return the sorted names of the pictures in `at`, and after them those in its folders.

        Hidden files and folders are left out, and files whose name is not that of a picture.
        """
        found, to_visit = [], [at]
        while to_visit:
            at, below = to_visit.pop(), []
            for entry in self._entries(at):
                name = f"{at}/{entry.name}" if at else entry.name
                if entry.is_dir(follow_symlinks=False):  # a link could lead round in a circle
                    below.append(name)
                elif is_picture(name) and not entry.is_dir():
                    if entry.is_symlink() and not os.path.exists(entry.path):
                        raise DataError(f"{entry.path}: a link to nothing; remove it, or bring "
                                        "back the file that it leads to")
                    found.append(name)
            to_visit += reversed(below)
        return found

    def _entries(self, at):
        try:
            with os.scandir(os.path.join(self.path, at)) as entries:
                shown = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            raise DataError(f"{os.path.join(self.path, at)}: cannot be read "
                            f"({error.strerror})") from None
        return sorted(shown, key=lambda entry: entry.name)

    def find(self, name):
        """Return the path of the picture `name`, which load_picture can read."""
        return os.path.join(self.path, name)

    def stamp(self, name):
        """Return the size and the time of a picture, which change when it is replaced."""
        status = os.stat(self.find(name))
        return status.st_size, status.st_mtime_ns


class FolderSource:
    """train/CLASS/*.jpg with test/ or val/; or CLASS/*.jpg, a fifth of each class for testing.

    The classes are numbered in the order of their names. Folders inside a class folder belong to
    the class. Hidden files, and files whose name is not that of a picture, are ignored. If there is
    a single outer folder, as in most archives, its contents count. Pictures are read when they are
    asked for, so little memory is used.

    Args     tree: a Folder or an Archive; size: side of the square pictures, in pixels; seed:
             chooses the fifth for testing
    Raises   DataError if there is nothing to learn from
    """

    def __init__(self, tree, size, seed=0, quiet=False):
        self.name = os.path.basename(os.path.abspath(tree.path))
        top, folders = _top(tree)
        if "train" in folders and tree.folders(f"{top}train"):  # else "train" is a class
            name = _test_folder(tree, top, folders)
            train, test = (list_classes(tree, f"{top}{part}", quiet) for part in ("train", name))
            if train.keys() != test.keys():
                odd = sorted(train.keys() ^ test.keys())[0]
                raise DataError(f"{tree.path}: train/ and {name}/ have different classes; only one "
                                f"of them has {odd!r}")
        else:
            classes = list_classes(tree, top.rstrip("/"), quiet)
            train, test = split_classes(classes, np.random.default_rng(seed), tree.path)
        self.class_names = sorted(train)
        self.train, self.test = (FileSplit(tree, *join_classes(part), size, quiet)
                                 for part in (train, test))


def _top(tree):
    """Return where the classes or train/ are, "" or "cifar10/", and the folders there."""
    folders = tree.folders()
    if len(folders) == 1 and folders != ["train"] and (inner := tree.folders(folders[0])):
        return f"{folders[0]}/", inner
    return "", folders


def _test_folder(tree, top, folders):
    """Return "test" or "val", the first of them that has class folders."""
    found = [name for name in ("test", "val") if name in folders]
    if not found:
        raise DataError(f"{os.path.join(tree.path, top)}: has train/ but neither test/ nor val/")
    return next((name for name in found if tree.folders(top + name)), found[0])


def list_classes(tree, at="", quiet=False):
    """Return {class name: sorted names of its pictures} of a folder of class folders.

    Raises   DataError for fewer than two classes, or a class without pictures
    """
    path = os.path.join(tree.path, at) if at else tree.path
    folders, classes = tree.folders(at), {}
    with SlowProgress(len(folders), f"listing {path}", "classes", quiet) as progress:
        for name in folders:
            classes[name] = tree.pictures(f"{at}/{name}" if at else name)
            progress.update(1)
    if not any(classes.values()):
        raise DataError(f"{path}: no pictures in its sub-folders; expected "
                        f"{os.path.join(path, 'CLASS', 'x.jpg')}")
    for name, pictures in classes.items():
        if not pictures:
            raise DataError(f"{os.path.join(path, name)}: a class without a picture; fill the "
                            "folder or remove it")
    if len(classes) == 1:
        raise DataError(f"{path}: there is only one class, {next(iter(classes))!r}; at least two "
                        "are needed")
    return classes


def split_classes(classes, rng, path=""):
    """Split each class at random into a training part and a fifth, at least 1 picture, for testing.

    Args     classes: {name: pictures}; path: where they are, for messages
    Returns  two dicts like classes
    Raises   DataError for a class with a single picture
    """
    train, test = {}, {}
    for name in sorted(classes):
        pictures = classes[name]
        if len(pictures) == 1:
            raise DataError(f"{os.path.join(path, pictures[0])}: the only picture of class "
                            f"{name!r}; at least two are needed, one of them for testing")
        order = rng.permutation(len(pictures))
        count = max(1, round(TEST_SHARE * len(pictures)))
        test[name] = [pictures[i] for i in sorted(order[:count])]
        train[name] = [pictures[i] for i in sorted(order[count:])]
    return train, test


def join_classes(classes):
    """Return the names and labels (N,) of {class name: pictures}, class after class."""
    names = [picture for name in sorted(classes) for picture in classes[name]]
    counts = [len(classes[name]) for name in sorted(classes)]
    return names, np.repeat(np.arange(len(classes)), counts)
