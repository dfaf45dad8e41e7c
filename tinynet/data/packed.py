"""A pack: pictures decoded once, byte after byte in one file. What is in it, and how it is opened and checked.

    train.u8, test.u8     uint8 (N, 3, S, S) and nothing else: np.memmap(path, np.uint8, "r").reshape(N, 3, S, S)
    train.csv, test.csv   a name and a label for each picture
    blocks.jsonl          what it was made from; then a line for each block of at most 64 pictures, with its SHA-256 and
                          what in it was unreadable
    statistics.npz        mean image and covariance of the training pictures
    report.txt            what was left out, and why
    pack.json             size, classes, counts and the SHA-256 of the files above; written last, with one of its own
    verified.json         the size and the times of the large files when all their blocks were last checked
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
from tinynet.data.batches import in_order, load_statistics
from tinynet.data.files import SlowProgress
from tinynet.data.pictures import DataError, DataLost, square

FORMAT = 1
PACK, BLOCKS, STATISTICS, REPORT, STAMP = "pack.json", "blocks.jsonl", "statistics.npz", "report.txt", "verified.json"
SPLITS = ("train", "test")
SMALL = ("train.csv", "test.csv", BLOCKS, STATISTICS, REPORT)  # files with a digest of their own in pack.json


class Block(typing.NamedTuple):
    """Pictures that share a checksum: `pictures` of a split, from number `first` on; unreadable: {name: reason}."""

    split: str
    first: int
    pictures: int
    sha256: str
    unreadable: dict


class PackSource:
    """Pictures that pack() has written. Where a smaller size is asked for they are scaled when read, which is slower.

    Checked when opened: the size of every file before anything else, then all checksums. That is done once: it is noted
    with the size and times of the large files, and as long as they are the same not done again (verify() does).

    Args     path: a folder with a pack.json; size: side of the square pictures, at most that of the pack
    Raises   DataError where something is missing, cut short or altered; one line that names the file and the remedy
    """

    def __init__(self, path, size, quiet=False):
        pack = check(path, quiet)
        if size > pack["size"]:
            raise DataError(f"{path}: its pictures are of {pack['size']} pixels and {size} are needed; pack again with "
                            f"--size {size}, or ask for smaller ones")
        self.name, self.class_names = pack["name"], pack["class_names"]
        self.train, self.test = (PackSplit(path, name, pack["size"], size) for name in SPLITS)
        if size == pack["size"]:
            self.train.statistics = load_statistics(os.path.join(path, STATISTICS))


class PackSplit:
    """Pictures in a file. See tinynet.data for the methods that every split has.

    They are read with pread and not through a memory map. It is as fast, it takes no memory but for the pictures asked
    for, and where the file is cut short or the disk fails there is an error to catch: a map would kill the process.
    """

    def __init__(self, path, name, stored, size):
        self.names, self.labels = read_table(os.path.join(path, f"{name}.csv"))
        self.path, self.stored, self.size = os.path.join(path, f"{name}.u8"), stored, size
        self.unreadable, self.statistics = {}, None
        self._file = open(self.path, "rb", buffering=0)  # stays open

    def __len__(self):
        return len(self.names)

    def read(self, indices):
        pictures = np.empty((len(indices), 3, self.stored, self.stored), np.uint8)
        for picture, index in zip(pictures, indices):
            self._read(picture, int(index))
        if self.size != self.stored:
            scaled = [square(Image.fromarray(picture.transpose(1, 2, 0)), self.size) for picture in pictures]
            pictures = np.array(scaled, np.uint8).reshape(-1, 3, self.size, self.size)
        return pictures, np.ones(len(indices), bool)

    def _read(self, picture, index):
        try:
            got = os.preadv(self._file.fileno(), [picture], index * picture.nbytes)
        except OSError as error:
            raise DataLost(self.path, error.strerror) from None
        if got != picture.nbytes:
            raise DataLost(self.path, f"picture {index} is no longer there, the file has been cut short")


def find_pack(path):
    """Whether a folder is a pack. Raises DataError where it is to become one."""
    if os.path.isfile(os.path.join(path, PACK)):
        return True
    if os.path.isfile(os.path.join(path, BLOCKS)):
        raise DataError(f"{path}: a pack that is not finished; go on with: python -m tinynet.data pack SOURCE {path}")
    return False


def verify(path, quiet=False):
    """Check every byte of a pack. Raises DataError with the first that is not as it was written."""
    return check(path, quiet, again=True)


def check(path, quiet=False, again=False):
    """What pack.json says, after it has been found to be true; blocks are left out where a check is noted."""
    pack = read_pack(path)
    for name in SPLITS:
        file, expected = os.path.join(path, f"{name}.u8"), pack["counts"][name] * 3 * pack["size"] ** 2
        if _size(file) != expected:
            raise _damaged(file, f"{_size(file):,} bytes where {pack['counts'][name]:,} pictures are {expected:,}")
    for name in SMALL:
        if digest_of_file(os.path.join(path, name)) != pack["sha256"][name]:
            raise _damaged(os.path.join(path, name), "altered or cut short")
    if again or not _is_verified(path):
        stamp = _stamp(path)
        _check_blocks(path, pack, quiet)
        _note(path, stamp, quiet)
    return pack


def read_pack(path):
    """The contents of pack.json. Raises DataError where it is damaged."""
    file = os.path.join(path, PACK)
    try:
        with open(file, "rb") as opened:
            pack = json.load(opened)
        digest = pack.pop("digest")
        if pack["format"] != FORMAT:
            raise DataError(f"{file}: format {pack['format']}, and this tinynet reads {FORMAT}; pack again")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise error if isinstance(error, DataError) else _damaged(file, "altered or cut short") from None
    if digest != digest_of(pack):
        raise _damaged(file, "altered")
    return pack


def digest_of(pack):
    """The SHA-256 that pack.json has of all else in it."""
    return hashlib.sha256(json.dumps(pack, sort_keys=True).encode()).hexdigest()


def digest_of_file(path):
    """The SHA-256 of a small file."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error.strerror})") from None


def read_blocks(path):
    """What blocks.jsonl has: what the pack is made from, and Blocks in order, up to a line that is not whole."""
    header, blocks = None, []
    with open(os.path.join(path, BLOCKS), encoding="ascii", errors="replace") as file:
        with contextlib.suppress(ValueError, TypeError):
            header = json.loads(file.readline())
            for line in file:
                blocks.append(Block(*json.loads(line)))
    return header, blocks


def write_line(file, value):
    """A line of blocks.jsonl."""
    file.write(json.dumps(value).encode("ascii") + b"\n")


def read_table(path):
    """names, labels (N,) of a .csv."""
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [name for name, _ in rows], np.array([int(label) for _, label in rows], np.int64)


def write_table(file, names, labels):
    """The same, into an open file of bytes."""
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    csv.writer(text, lineterminator="\n").writerows([("name", "label"), *zip(names, labels.tolist())])
    text.detach()


# ---- blocks --------------------------------------------------------------------------------------------------------
def read_block(file, block, size):
    """The pictures of a block, uint8 (M, 3, S, S), from an open file; fewer bytes are None."""
    pictures = np.empty((block.pictures, 3, size, size), np.uint8)
    got = os.preadv(file.fileno(), [pictures], block.first * 3 * size * size) if block.pictures else 0
    return pictures if got == pictures.nbytes else None


def sha256(pictures):
    """Of uint8 pictures, C-contiguous."""
    return hashlib.sha256(pictures).hexdigest()


def _check_blocks(path, pack, quiet):
    _, blocks = read_blocks(path)
    files = {name: open(os.path.join(path, f"{name}.u8"), "rb", buffering=0) for name in SPLITS}
    try:
        def is_whole(block):
            pictures = read_block(files[block.split], block, pack["size"])
            return block, pictures is not None and sha256(pictures) == block.sha256

        with SlowProgress(sum(pack["counts"].values()), f"checking {path}", "pictures", quiet) as progress:
            for number, (block, whole) in enumerate(in_order(is_whole, blocks)):
                if not whole:
                    last = block.first + block.pictures - 1
                    names, _ = read_table(os.path.join(path, f"{block.split}.csv"))
                    raise _damaged(files[block.split].name, f"block {number:,}, pictures {block.first:,} to {last:,} "
                                   f"({names[block.first]} to {names[last]}), is not what was packed")
                progress.update(block.pictures)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    finally:
        for file in files.values():
            file.close()


def _damaged(file, what):
    return DataError(f"{file}: {what}; remove {os.path.join(os.path.dirname(file), PACK)} and pack again: whole blocks "
                     "are kept")


def _size(file):
    try:
        return os.path.getsize(file)
    except OSError as error:
        raise _damaged(file, f"cannot be read ({error.strerror})") from None


# ---- what has been checked before ----------------------------------------------------------------------------------
def _stamp(path):
    """What shows that the large files were touched. The second time changes even where the first is set back."""
    found = [os.stat(os.path.join(path, f"{name}.u8")) for name in SPLITS]
    return [[one.st_size, one.st_mtime_ns, one.st_ctime_ns] for one in found]


def _is_verified(path):
    try:
        with open(os.path.join(path, STAMP), "rb") as file:
            return json.load(file) == _stamp(path)
    except (OSError, ValueError):
        return False


def _note(path, stamp, quiet):
    try:
        with atomic_write(os.path.join(path, STAMP)) as file:
            file.write(json.dumps(stamp).encode())
    except OSError as error:  # others' packs may be there to be read only
        if not quiet:
            print(f"{path}: whole; it will be checked again next time, since {STAMP} cannot be written "
                  f"({error.strerror})", file=sys.stderr)
