"""Pictures with labels: where they come from, and how they become batches.

A source is what open_source returns:

    name         for people to read
    class_names  a list; label 3 is class_names[3]
    train, test  a split each:
        names           (N,) a list: what each picture is called, e.g. "train/cat/x.jpg"; no two alike in a source
        labels          (N,) int64
        len(split)      N
        read(indices)   -> pictures uint8 (M, 3, S, S), readable (len(indices),) bool: M of the pictures asked for, in
                        order, without those that cannot be read. Several threads may call it at once; it has none
        unreadable      {name: reason} of those met so far
        statistics      where the source has kept them, as a pack has: what compute_statistics(split) then returns

A picture that is damaged is left out and counted. Data that is gone altogether, or a disk that fails, is DataLost.
"""

import hashlib
import os

from tinynet.data.archive import ENDINGS, Archive
from tinynet.data.augment import AUGMENTATIONS, Augmentation, augment, center_crop, principal_axes, sample, ten_crops
from tinynet.data.batches import Statistics, TrainingBatches, compute_statistics, load_statistics, test_batches
from tinynet.data.cifar10 import CifarSource, find_cifar10
from tinynet.data.embedded import EmbeddedSource
from tinynet.data.folder import Folder, FolderSource
from tinynet.data.imagenet import ImageNetSource, find_imagenet
from tinynet.data.packed import PackSource, find_pack
from tinynet.data.pictures import DataError, DataLost, UnreadablePicture, any_format, load_picture
from tinynet.data.tiny_imagenet import TinyImageNetSource, find_tiny_imagenet

__all__ = ["AUGMENTATIONS", "Augmentation", "DataError", "DataLost", "Statistics", "TrainingBatches",
           "UnreadablePicture", "any_format", "augment", "center_crop", "compute_statistics", "identity",
           "load_picture", "load_statistics", "open_source", "principal_axes", "sample", "ten_crops", "test_batches"]


def open_source(spec, size, seed=0, quiet=False):
    """The pictures that `spec` names, as squares of `size` pixels. What kind of source it is shows in what it holds.

    Args     spec: "embedded"; or a path: a folder with a sub-folder for each class, a .tar or .tar.gz of such a folder,
             the binary CIFAR-10, Tiny ImageNet, ILSVRC-2012, or a pack of any of them; seed: of the drawings, or of the
             split where the folder has none; quiet: show no progress and name no unreadable picture
    Raises   DataError, one line for the user
    """
    if spec == "embedded":
        return EmbeddedSource(size, seed, quiet=quiet)
    if find_pack(spec):
        return PackSource(spec, size, quiet)
    if find_cifar10(spec):
        return CifarSource(spec, size)
    if find_tiny_imagenet(spec):
        return TinyImageNetSource(spec, size, quiet)
    if find_imagenet(spec):
        return ImageNetSource(spec, size, quiet)
    tree = Archive(spec, quiet) if os.path.isfile(spec) and os.fspath(spec).endswith(ENDINGS) else Folder(spec)
    return FolderSource(tree, size, seed, quiet)


def identity(source):
    """What tells one data set from another, wherever it lies: classes, counts, and a digest of names and labels."""
    sha = hashlib.sha256("\0".join(source.class_names).encode(errors="surrogateescape"))
    for split in (source.train, source.test):
        sha.update("\0".join(split.names).encode(errors="surrogateescape") + split.labels.astype("<i8").tobytes())
    return {"classes": len(source.class_names), "train": len(source.train), "test": len(source.test),
            "digest of names and labels": sha.hexdigest()[:16]}
