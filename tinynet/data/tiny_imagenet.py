"""Tiny ImageNet, unpacked from its zip: 200 classes of pictures of 64 x 64 pixels.

There are 100,000 pictures for training and 10,000 for testing.
"""

import os

from tinynet.data.files import FileSplit
from tinynet.data.folder import Folder, join_classes, list_classes
from tinynet.data.imagenet import name_classes, read_text, read_words
from tinynet.data.pictures import DataError

FOLDER, WNIDS, WORDS = "tiny-imagenet-200", "wnids.txt", "words.txt"
ANNOTATIONS = os.path.join("val", "val_annotations.txt")


class TinyImageNetSource:
    """train/WNID/images/*.JPEG, val/images/*.JPEG, val/val_annotations.txt, wnids.txt, words.txt.

    The classes are numbered in the order of their wnids. Its folder test/ has no labels, so val/ is
    the test set.

    Args     path: as for find_tiny_imagenet; size: side of the square pictures, in pixels
    Raises   DataError, one line for the user
    """

    def __init__(self, path, size, quiet=False):
        tree = Folder(find_tiny_imagenet(path))
        for name in (WNIDS, WORDS, ANNOTATIONS, "train", os.path.join("val", "images")):
            if not os.path.exists(os.path.join(tree.path, name)):
                raise DataError(f"{os.path.join(tree.path, name)}: is missing from Tiny ImageNet; "
                                "unpack its zip again")
        self.name = "Tiny ImageNet"
        classes = list_classes(tree, "train", quiet)
        wnids = sorted(classes)
        listed = read_text(os.path.join(tree.path, WNIDS)).split()
        if odd := sorted(set(listed) ^ set(wnids)):
            raise DataError(f"{tree.path}: train/ and {WNIDS} have different classes; only one of "
                            f"them has {odd[0]!r}")
        self.class_names = name_classes(wnids, read_words(os.path.join(tree.path, WORDS)))
        self.train = FileSplit(tree, *join_classes(classes), size, quiet)
        self.test = FileSplit(tree, *_validation(tree, wnids), size, quiet)


def find_tiny_imagenet(path):
    """Return the folder of Tiny ImageNet, `path` or the one in it; None for something else."""
    for place in (path, os.path.join(path, FOLDER)):
        if any(os.path.isfile(os.path.join(place, name)) for name in (WNIDS, ANNOTATIONS)):
            return place
    return None


def _validation(tree, wnids):
    """Return the names and labels of the pictures in val/."""
    path, labels = os.path.join(tree.path, ANNOTATIONS), {}
    ranks = {wnid: rank for rank, wnid in enumerate(wnids)}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.split()  # a picture, its wnid, and a box
        if len(words) < 2 or words[1] not in ranks:
            raise DataError(f"{path}: line {number} is not a picture and one of the {len(wnids)} "
                            "classes of train/")
        labels[f"val/images/{words[0]}"] = ranks[words[1]]
    names = tree.pictures("val/images")
    if odd := sorted(labels.keys() ^ set(names)):
        raise DataError(f"{tree.path}: val/images and {ANNOTATIONS} do not agree; only one of them "
                        f"has {odd[0]!r}")
    return names, [labels[name] for name in names]
