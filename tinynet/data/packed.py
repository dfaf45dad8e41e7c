"""A pack: pictures that were decoded once, in one large file. How it is opened and checked.

    train.u8, test.u8     the pictures, uint8 (N, 3, S, S), and nothing else; read them with
                          np.memmap(path, np.uint8, "r").reshape(N, 3, S, S)
    train.csv, test.csv   the name and the label of each picture
    blocks.jsonl          first line: what it was made from; then a line for each block of at most
                          64 pictures, with its SHA-256 and its unreadable pictures
    statistics.npz        the mean image and the covariance of the training pictures
    report.txt            the pictures that were left out, and why
    pack.json             size, classes, counts, and the SHA-256 of the small files; written last,
                          with a SHA-256 of its own
    verified.json         size and times of the large files when their blocks were last checked
"""

import contextlib
import csv
import hashlib
import io
import json
import os
import sys
import typing

import numpy as np
from PIL import Image

from tinynet.checkpoint import atomic_write
from tinynet.data.files import SlowProgress
from tinynet.data.pictures import DataError, DataLost, square
from tinynet.data.statistics import load_statistics
from tinynet.data.workers import in_order

FORMAT = 1
PACK, BLOCKS, STATISTICS, REPORT = "pack.json", "blocks.jsonl", "statistics.npz", "report.txt"
STAMP = "verified.json"
SPLITS = ("train", "test")
SMALL = ("train.csv", "test.csv", BLOCKS, STATISTICS, REPORT)  # their digests are in pack.json


class Block(typing.NamedTuple):
    """Pictures with one checksum: `pictures` of a split, from number `first` on.

    unreadable: {name: reason} of the pictures that were left out of it
    """

    split: str
    first: int
    pictures: int
    sha256: str
    unreadable: dict


class PackSource:
    """The pictures of a pack. If a smaller size is asked for, they are scaled when they are read.

    A pack is checked when it is opened: first the size of every file, then all checksums. The
    checksums are checked once, and again when the size or a time of a large file has changed;
    verify() checks them in any case.

    Args     path: a folder with a pack.json; size: side of the square pictures, at most that of the
             pack
    Raises   DataError if something is missing, cut short or altered; one line that names the file
             and the remedy
    """

    def __init__(self, path, size, quiet=False):
        pack = check(path, quiet)
        if size > pack["size"]:
            raise DataError(f"{path}: its pictures have {pack['size']} pixels and {size} are "
                            f"needed; pack again with --size {size}, or ask for smaller ones")
        self.name, self.class_names = pack["name"], pack["class_names"]
        self.train, self.test = (PackSplit(path, name, pack, size) for name in SPLITS)
        if size == pack["size"]:
            self.train.statistics = load_statistics(os.path.join(path, STATISTICS))


class PackSplit:
    """The pictures in a large file of a pack. tinynet.data has the methods of a split.

    They are read with pread and not through a memory map. This is as fast and takes memory only for
    the pictures that are asked for. If the file is cut short or the disk fails, pread raises an
    error, where a memory map would kill the process.
    """

    def __init__(self, path, name, pack, size):
        self.names, self.labels = read_table(os.path.join(path, f"{name}.csv"))
        self.path, self.stored, self.size = os.path.join(path, f"{name}.u8"), pack["size"], size
        self.unreadable, self.statistics = {}, None
        self._digest = pack["sha256"][BLOCKS]
        self._file = open(self.path, "rb", buffering=0)  # stays open

    def __len__(self):
        return len(self.names)

    def read(self, indices):
        pictures = np.empty((len(indices), 3, self.stored, self.stored), np.uint8)
        for picture, index in zip(pictures, indices):
            self._read(picture, int(index))
        if self.size != self.stored:
            scaled = [square(Image.fromarray(picture.transpose(1, 2, 0)), self.size)
                      for picture in pictures]
            pictures = np.array(scaled, np.uint8).reshape(-1, 3, self.size, self.size)
        return pictures, np.ones(len(indices), bool)

    def digest(self):
        """Return the digest of the checksums of all blocks."""
        return self._digest

    def _read(self, picture, index):
        """Fill one picture, an array (3, stored, stored)."""
        try:
            got = os.preadv(self._file.fileno(), [picture], index * picture.nbytes)
        except OSError as error:
            raise DataLost(self.path, error.strerror) from None
        if got != picture.nbytes:
            raise DataLost(self.path, f"picture {index} is no longer there, the file has been cut "
                                      "short")


def find_pack(path):
    """Return whether a folder is a pack. Raises DataError for a pack that is not finished."""
    if os.path.isfile(os.path.join(path, PACK)):
        return True
    if os.path.isfile(os.path.join(path, BLOCKS)):
        raise DataError(f"{path}: a pack that is not finished; go on with: python -m tinynet.data "
                        f"pack SOURCE {path}")
    return False


def verify(path, quiet=False):
    """Check every byte of a pack. Raises DataError for the first file that was altered."""
    return check(path, quiet, again=True)


def check(path, quiet=False, again=False):
    """Check a pack and return the contents of pack.json.

    Args     again: check the blocks even if they have been checked since the last change
    Raises   DataError for the first file that was altered
    """
    pack = read_pack(path)
    for name in SPLITS:
        file = os.path.join(path, f"{name}.u8")
        expected = pack["counts"][name] * 3 * pack["size"] ** 2
        if _size(file) != expected:
            raise _damaged(file, f"{_size(file):,} bytes where {pack['counts'][name]:,} pictures "
                                 f"are {expected:,}")
    for name in SMALL:
        if digest_of_file(os.path.join(path, name)) != pack["sha256"][name]:
            raise _damaged(os.path.join(path, name), "altered or cut short")
    if again or not _is_verified(path):
        stamp = _stamp(path)
        _check_blocks(path, pack, quiet)
        _note(path, stamp, quiet)
    return pack


def read_pack(path):
    """Return the contents of pack.json. Raises DataError if it is damaged."""
    file = os.path.join(path, PACK)
    try:
        with open(file, "rb") as opened:
            pack = json.load(opened)
        digest = pack.pop("digest")
        if pack["format"] != FORMAT:
            raise DataError(f"{file}: format {pack['format']}, and this tinynet reads {FORMAT}; "
                            "pack again")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _damaged(file, "altered or cut short") from None
    if digest != digest_of(pack):
        raise _damaged(file, "altered")
    return pack


def digest_of(pack):
    """Return the SHA-256 of the contents of pack.json, which it has as its last entry."""
    return hashlib.sha256(json.dumps(pack, sort_keys=True).encode()).hexdigest()


def digest_of_file(path):
    """Return the SHA-256 of a small file."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error.strerror})") from None


def read_blocks(path):
    """Return the contents of blocks.jsonl: what the pack is made from, and a list of Blocks.

    The list ends before the first line that is not complete.
    """
    header, blocks = None, []
    with open(os.path.join(path, BLOCKS), encoding="ascii", errors="replace") as file:
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            header = json.loads(file.readline())
            for line in file:
                blocks.append(Block(*json.loads(line)))
    return header, blocks


def write_line(file, value):
    """Write a line of blocks.jsonl."""
    file.write(json.dumps(value).encode("ascii") + b"\n")


def read_table(path):
    """Return the names and labels (N,) in train.csv or test.csv."""
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [name for name, _ in rows], np.array([int(label) for _, label in rows], np.int64)


def write_table(file, names, labels):
    """Write names and labels to train.csv or test.csv, an open file of bytes."""
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    rows = zip(names, labels.tolist())
    csv.writer(text, lineterminator="\n").writerows([("name", "label"), *rows])
    text.detach()


# ------------------------------------------------------------------------------------------ blocks

def read_block(file, block, size):
    """Return the pictures of a block, uint8 (M, 3, S, S), or None if the file is too short."""
    pictures = np.empty((block.pictures, 3, size, size), np.uint8)
    got = 0
    if block.pictures:
        got = os.preadv(file.fileno(), [pictures], block.first * 3 * size * size)
    return pictures if got == pictures.nbytes else None


def sha256(pictures):
    """Return the SHA-256 of uint8 pictures, C-contiguous."""
    return hashlib.sha256(pictures).hexdigest()


def _check_blocks(path, pack, quiet):
    _, blocks = read_blocks(path)
    files = {name: open(os.path.join(path, f"{name}.u8"), "rb", buffering=0) for name in SPLITS}

    def is_whole(block):
        pictures = read_block(files[block.split], block, pack["size"])
        return block, pictures is not None and sha256(pictures) == block.sha256

    total = sum(pack["counts"].values())
    try:
        with SlowProgress(total, f"checking {path}", "pictures", quiet) as progress:
            for number, (block, whole) in enumerate(in_order(is_whole, blocks)):
                if not whole:
                    last = block.first + block.pictures - 1
                    names, _ = read_table(os.path.join(path, f"{block.split}.csv"))
                    raise _damaged(files[block.split].name,
                                   f"block {number:,}, pictures {block.first:,} to {last:,} "
                                   f"({names[block.first]} to {names[last]}), is not what was "
                                   "packed")
                progress.update(block.pictures)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    finally:
        for file in files.values():
            file.close()


def _damaged(file, what):
    return DataError(f"{file}: {what}; remove {os.path.join(os.path.dirname(file), PACK)} and pack "
                     "again: undamaged blocks are kept")


def _size(file):
    try:
        return os.path.getsize(file)
    except OSError as error:
        raise _damaged(file, f"cannot be read ({error.strerror})") from None


# ------------------------------------------------------------------------ what has been checked

def _stamp(path):
    """Return the size and times of the large files, which show that one was changed.

    The time of the last change of the status, ctime, changes even if somebody resets mtime.
    """
    found = [os.stat(os.path.join(path, f"{name}.u8")) for name in SPLITS]
    return [[one.st_size, one.st_mtime_ns, one.st_ctime_ns] for one in found]


def _is_verified(path):
    """Return whether the large files are as they were when their blocks were last checked."""
    try:
        with open(os.path.join(path, STAMP), "rb") as file:
            return json.load(file) == _stamp(path)
    except (OSError, ValueError):
        return False


def _note(path, stamp, quiet):
    """Remember that the blocks have been checked."""
    try:
        with atomic_write(os.path.join(path, STAMP)) as file:
            file.write(json.dumps(stamp).encode())
    except OSError as error:  # the folder may be read-only
        if not quiet:
            print(f"{path}: whole; it will be checked again next time, because {STAMP} cannot be "
                  f"written ({error.strerror})", file=sys.stderr)
