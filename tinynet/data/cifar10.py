"""CIFAR-10 in the binary version of its authors: cifar-10-binary.tar.gz, or what is in it."""

import hashlib
import os
import tarfile

import numpy as np
from PIL import Image

from tinynet.data.archive import compressed_members
from tinynet.data.pictures import DataError, square

ARCHIVE, FOLDER = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"
TRAIN, TEST = [f"data_batch_{i}.bin" for i in range(1, 6)], ["test_batch.bin"]
CLASSES = "batches.meta.txt"
SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE  # a label, then all red, all green and all blue values, row by row
RECORDS = 10_000              # in each file
MAX_CLASSES = 10_000          # bytes of the list of classes; it has 61
# The same pictures in a pickle, which is never read: a pickle can run any program.
PYTHON_ARCHIVE, PYTHON_FOLDER = "cifar-10-python.tar.gz", "cifar-10-batches-py"


class CifarSource:
    """50,000 pictures of 32 x 32 pixels for training and 10,000 for testing, in ten classes.

    Args     path: as for find_cifar10; size: the pictures are scaled to it
    Raises   DataError
    Memory   185 MB, for all pictures
    """

    def __init__(self, path, size):
        place = find_cifar10(path)
        files = _from_folder(place) if os.path.isdir(place) else _from_archive(place)
        self.name = "CIFAR-10"
        self.class_names = files[CLASSES].decode("ascii", "replace").split()
        if len(self.class_names) < 2:
            raise DataError(f"{os.path.join(place, CLASSES)}: no list of classes, one in each line")
        self.train, self.test = (CifarSplit(files, part, place, size, len(self.class_names))
                                 for part in (TRAIN, TEST))


class CifarSplit:
    """The records of some files, in their order. tinynet.data has the methods of a split."""

    def __init__(self, files, part, place, size, num_classes):
        records = np.concatenate([np.frombuffer(files[name], np.uint8).reshape(-1, RECORD)
                                  for name in part])                      # (N, RECORD)
        self.labels = records[:, 0].astype(np.int64)                      # (N,)
        self._pictures = records[:, 1:].reshape(-1, 3, SIDE, SIDE)        # (N, 3, 32, 32)
        self.names = [f"{name}/{i}" for name in part for i in range(RECORDS)]
        self.size, self.unreadable = size, {}
        if self.labels.max() >= num_classes:
            odd = self.labels.argmax()
            raise DataError(f"{place}: picture {self.names[odd]} has the label {self.labels[odd]}, "
                            f"but there are {num_classes} classes")

    def __len__(self):
        return len(self.labels)

    def read(self, indices):
        pictures = self._pictures[indices]                                # (M, 3, 32, 32)
        if self.size != SIDE:
            scaled = [square(Image.fromarray(picture.transpose(1, 2, 0)), self.size)
                      for picture in pictures]
            pictures = np.array(scaled, np.uint8).reshape(-1, 3, self.size, self.size)
        return pictures, np.ones(len(indices), bool)

    def digest(self):
        """Return the SHA-256 of all pictures."""
        return hashlib.sha256(np.ascontiguousarray(self._pictures)).hexdigest()


def find_cifar10(path):
    """Return where CIFAR-10 is: `path`, or the archive or the unpacked folder in it.

    Returns  None if `path` is something else
    Raises   DataError for the version of it that is pickled
    """
    for place in (path, os.path.join(path, FOLDER), os.path.join(path, ARCHIVE)):
        has_files = any(os.path.isfile(os.path.join(place, name)) for name in TRAIN + TEST)
        if has_files or _is_archive(place, FOLDER):
            return place
    for place in (path, os.path.join(path, PYTHON_FOLDER), os.path.join(path, PYTHON_ARCHIVE)):
        has_files = os.path.isfile(os.path.join(place, "data_batch_1"))
        if has_files or _is_archive(place, PYTHON_FOLDER):
            raise DataError(f"{place}: CIFAR-10 for Python is pickled, and a pickle is never read; "
                            f"take the binary version, {ARCHIVE}: "
                            "python -m tinynet.data download cifar10")
    return None


def _is_archive(path, folder):
    """Return whether a file is a .tar.gz that begins with `folder`, or has its published name."""
    if not (os.path.isfile(path) and os.fspath(path).endswith((".tar.gz", ".tgz"))):
        return False
    if os.path.basename(path) == {FOLDER: ARCHIVE, PYTHON_FOLDER: PYTHON_ARCHIVE}[folder]:
        return True
    try:
        with tarfile.open(path, "r:gz") as archive:
            first = archive.next()
    except Exception:  # tarfile and zlib raise anything for damaged files; Archive will say so
        return False
    return first is not None and first.name.removeprefix("./").split("/")[0] == folder


def _from_folder(folder):
    """Return {file name: bytes}."""
    files = {}
    for name in [*TRAIN, *TEST, CLASSES]:
        path = os.path.join(folder, name)
        try:
            _require_size(path, os.path.getsize(path))
            with open(path, "rb") as file:
                files[name] = file.read()
        except OSError as error:
            raise _missing(path, error.strerror) from None
    return files


def _from_archive(path):
    """Return {file name: bytes}, without the other files in the archive."""
    needed, files = {*TRAIN, *TEST, CLASSES}, {}
    unpacked = len(TRAIN + TEST) * RECORDS * RECORD
    members = compressed_members(path, lambda name: os.path.basename(name) in needed,
                                 unpacked + 2**20)
    for name, content in members:
        if content is not None:
            _require_size(os.path.join(path, name), len(content))
            files[os.path.basename(name)] = content
    for name in sorted(needed - files.keys()):
        raise _missing(os.path.join(path, FOLDER, name), "it is not in the archive")
    return files


def _require_size(path, size):
    if path.endswith(CLASSES):
        if size > MAX_CLASSES:
            raise DataError(f"{path}: {size:,} bytes; the list of ten classes has fewer than "
                            f"{MAX_CLASSES:,}")
    elif size != RECORDS * RECORD:
        raise DataError(f"{path}: {size:,} bytes; {RECORDS:,} pictures of {RECORD:,} bytes are "
                        f"{RECORDS * RECORD:,}")


def _missing(path, reason):
    return DataError(f"{path}: cannot be read ({reason}); CIFAR-10 is {TRAIN[0]} to {TRAIN[-1]}, "
                     f"{TEST[0]} and {CLASSES}")
