"""Pictures with labels: where they come from, and how they become batches.

open_source returns a source:

    name         the name of the data set, for messages
    class_names  a list; label 3 means class_names[3]
    train, test  two splits

A split:

    names          (N,) a list, the name of each picture, as "train/cat/x.jpg"; unique in a source
    labels         (N,) int64
    len(split)     N
    read(indices)  -> pictures uint8 (M, 3, S, S), readable bool (len(indices),): the M pictures
                   that can be read, in order. Several threads may call it at the same time
    unreadable     {name: reason} of the pictures that could not be read so far
    digest()       a text that changes when the pictures change; for files, their sizes and times
    statistics     optional: Statistics that the source has stored

A damaged picture is left out and counted. If the whole data set disappears or the disk fails, read
raises DataLost.
"""

import hashlib
import math
import os

from tinynet.data.archive import ENDINGS, Archive
from tinynet.data.augment import (
    AUGMENTATIONS,
    Augmentation,
    Sample,
    augment,
    center_crop,
    principal_axes,
    sample,
    ten_crops,
)
from tinynet.data.batches import TrainingBatches, test_batches
from tinynet.data.cifar10 import CifarSource, find_cifar10
from tinynet.data.embedded import EmbeddedSource
from tinynet.data.folder import Folder, FolderSource
from tinynet.data.imagenet import (
    ImageNetSource,
    ValidationSource,
    find_imagenet,
    find_validation,
)
from tinynet.data.packed import PackSource, find_pack
from tinynet.data.pictures import (
    MAX_PIXELS,
    DataError,
    DataLost,
    UnreadablePicture,
    any_format,
    load_picture,
)
from tinynet.data.statistics import Statistics, compute_statistics, load_statistics
from tinynet.data.tiny_imagenet import TinyImageNetSource, find_tiny_imagenet

__all__ = ["AUGMENTATIONS", "Augmentation", "DataError", "DataLost", "Sample", "Statistics",
           "TrainingBatches", "UnreadablePicture", "ValidationSource", "any_format", "augment",
           "center_crop", "compute_statistics", "find_validation", "identity", "load_picture",
           "load_statistics", "open_source", "principal_axes", "sample", "ten_crops",
           "test_batches"]


def open_source(spec, size, seed=0, quiet=False):
    """Open a data set, whose pictures become squares of `size` pixels. Its kind is recognised.

    Args     spec: "embedded" for generated pictures; or the path of a folder with one sub-folder
             per class, of a .tar or .tar.gz of such a folder, of CIFAR-10 (binary), Tiny ImageNet,
             ILSVRC-2012, or a pack of any of them
             seed: of the generated pictures, or of the random test set if a folder has none
             quiet: no progress is shown, and unreadable pictures are not named
    Returns  a source, as described at the top of this module
    Raises   DataError, one line for the user
    """
    if size < 1 or size * size > MAX_PIXELS:
        raise DataError(f"pictures of {size} x {size} pixels cannot be read; the side must be from "
                        f"1 to {math.isqrt(MAX_PIXELS):,}")
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
    is_archive = os.path.isfile(spec) and os.fspath(spec).endswith(ENDINGS)
    tree = Archive(spec, quiet) if is_archive else Folder(spec)
    return FolderSource(tree, size, seed, quiet)


def identity(source):
    """Return what distinguishes data sets: counts, and a digest of the classes, names and labels.

    It does not depend on where the files are, nor on their contents.
    """
    sha = hashlib.sha256("\0".join(source.class_names).encode(errors="surrogateescape"))
    for split in (source.train, source.test):
        sha.update("\0".join(split.names).encode(errors="surrogateescape"))
        sha.update(split.labels.astype("<i8").tobytes())
    return {"classes": len(source.class_names), "train": len(source.train),
            "test": len(source.test), "digest of names and labels": sha.hexdigest()[:16]}
