"""Decode every picture of a source once, into a pack; and go on where that was stopped."""

import contextlib
import errno
import fcntl
import json
import os
import shutil

import numpy as np

from tinynet.checkpoint import atomic_write, save_arrays
from tinynet.console import Interrupt, Interrupted, Progress
from tinynet.data import identity, packed
from tinynet.data.batches import PIECE, Sums, in_order, pieces
from tinynet.data.files import SlowProgress
from tinynet.data.packed import BLOCKS, PACK, REPORT, SPLITS, STATISTICS, Block
from tinynet.data.pictures import DataError, DataLost


def pack(source, out, size, quiet=False):
    """Write a pack of a source; see packed.py for what is in it. Where one was stopped, at whatever moment, go on.

    Threads decode, as many as there are cores, and hash; this thread writes, so that the same source makes the same
    bytes. A block is written, then its line in blocks.jsonl: a line whose block is not there, or not whole, is found by
    its checksum and done again. Pictures that cannot be read are left out, and stand in the report.

    Args     source: opened at `size`; out: a folder, new, empty, or with a pack of the same source that was stopped
    Raises   DataError where out holds something else; OSError where the disk is full or the source has gone;
             Interrupted after Ctrl-C. Then the same call goes on
    Memory   64 pictures a thread, and some more ready to be written, whatever there is to pack
    """
    made_from = {"format": packed.FORMAT, "size": size, "block": PIECE, "source": identity(source)}
    os.makedirs(out, exist_ok=True)
    with _alone(out):
        _begin(out, made_from)
        if not os.path.exists(os.path.join(out, PACK)):
            with _one_line(out), _Packing(source, out, made_from, quiet) as packing:
                packing.check()
                packing.decode()
                packing.finish()


@contextlib.contextmanager
def _one_line(out):
    """Say in one line what stopped it, and that it can go on."""
    try:
        yield
    except Interrupted:
        raise Interrupted("stopped; the same command goes on from here") from None
    except DataLost as error:
        raise OSError(f"{error.where}: {error.reason}; once it is back, the same command goes on") from None
    except OSError as error:
        raise OSError(f"{out}: cannot be written to ({error.strerror or error}); once that is mended, the same command "
                      "goes on") from None


@contextlib.contextmanager
def _alone(out):
    """Hold the folder, so that no other process packs into it. The system lets go of it when this one dies."""
    folder = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{out}: another process is packing into it") from None
        yield
    finally:
        os.close(folder)


def _begin(out, made_from):
    """See that the folder is new, or has what was begun with the same source."""
    half_written = tuple(f".{name}." for name in (PACK, packed.STAMP, *packed.SMALL))  # by a process that was killed
    for name in os.listdir(out):
        if name.startswith(half_written) and name.endswith(".tmp"):
            os.unlink(os.path.join(out, name))
    if not os.listdir(out):
        with atomic_write(os.path.join(out, BLOCKS)) as file:
            packed.write_line(file, made_from)
        return
    if not os.path.exists(os.path.join(out, BLOCKS)):
        raise DataError(f"{out}: holds something else; a pack needs a folder of its own, empty or not there yet")
    before, _ = packed.read_blocks(out)
    if before != made_from:
        changed = [key for key in made_from if not isinstance(before, dict) or before.get(key) != made_from[key]]
        raise DataError(f"{out}: holds a pack of something else (its {changed[0]} is not the same); choose another "
                        "folder, or remove this one")


def _write(file, pictures):
    """All of them, into an unbuffered file, which may take them bit by bit."""
    left = memoryview(pictures.reshape(-1))
    while left:
        left = left[file.write(left):]


class _Packing:
    """A pack that is being written: its files, and the blocks that are done."""

    def __init__(self, source, out, made_from, quiet):
        self.source, self.out, self.made_from, self.quiet = source, out, made_from, quiet
        self.size, self.sums, self.blocks = made_from["size"], Sums(), []
        self.splits = {name: getattr(source, name) for name in SPLITS}
        self.todo = [(name, indices) for name, split in self.splits.items()
                     for indices in pieces(np.arange(len(split)), PIECE)]
        self.files = {name: open(os.path.join(out, f"{name}.u8"), "a+b", buffering=0) for name in SPLITS}
        self.counts = dict.fromkeys(SPLITS, 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for file in self.files.values():
            file.close()

    def check(self):
        """Take over the blocks that are there, up to the first that is not whole; drop all after them."""
        _, blocks = packed.read_blocks(self.out)

        def read(block):
            pictures = packed.read_block(self.files[block.split], block, self.size)
            whole = pictures is not None and packed.sha256(pictures) == block.sha256
            return block, whole, Sums.of(pictures) if whole else None

        with SlowProgress(len(blocks) * PIECE, f"checking what is in {self.out}", "pictures", self.quiet) as progress:
            for block, whole, sums in in_order(read, blocks):
                if not whole:
                    break
                self._take(block, sums)
                progress.update(PIECE)
        for name, file in self.files.items():
            file.truncate(self.counts[name] * 3 * self.size**2)
        with atomic_write(os.path.join(self.out, BLOCKS)) as file:
            for line in (self.made_from, *self.blocks):
                packed.write_line(file, line)

    def decode(self):
        """Decode and write the others."""
        todo = self.todo[len(self.blocks):]
        left = sum(len(indices) for _, indices in todo)
        self._require_room(left)
        with (Interrupt() as interrupt, Progress(left, "packing", "pictures", self.quiet) as progress,
              open(os.path.join(self.out, BLOCKS), "ab") as lines):
            if self.blocks:
                progress.say(f"going on: {len(self.blocks):,} of {len(self.todo):,} blocks are there")
            for name, pictures, digest, unreadable, sums in interrupt.watch(in_order(self._decode, todo)):
                block = Block(name, self.counts[name], len(pictures), digest, unreadable)
                _write(self.files[name], pictures)
                packed.write_line(lines, block)
                lines.flush()
                self._take(block, sums)
                progress.update(len(pictures) + len(unreadable))

    def _decode(self, todo):
        name, indices = todo
        split = self.splits[name]
        pictures, readable = split.read(indices)
        unreadable = {split.names[i]: split.unreadable[split.names[i]] for i in indices[~readable]}
        return name, pictures, packed.sha256(pictures), unreadable, Sums.of(pictures)

    def _take(self, block, sums):
        self.blocks.append(block)
        self.counts[block.split] += block.pictures
        if block.split == "train":
            self.sums += sums

    def _require_room(self, pictures):
        needed, free = pictures * 3 * self.size**2, shutil.disk_usage(self.out).free
        if needed > free:
            raise OSError(errno.ENOSPC, f"{needed / 1e6:,.0f} MB are to come, there is room for {free / 1e6:,.0f} MB")

    def finish(self):
        """All but the pictures; pack.json last of all."""
        if not self.sums.count:
            raise DataError(f"{self.source.name}: not one of {len(self.source.train)} pictures can be read")
        for file in self.files.values():
            os.fsync(file.fileno())
        left_out = {name: {} for name in SPLITS}
        for block in self.blocks:
            left_out[block.split] |= block.unreadable
        for name, split in self.splits.items():
            kept = [i for i, picture in enumerate(split.names) if picture not in left_out[name]]
            with atomic_write(os.path.join(self.out, f"{name}.csv")) as file:
                packed.write_table(file, [split.names[i] for i in kept], split.labels[kept])
        kept = self.sums.statistics()
        save_arrays(os.path.join(self.out, STATISTICS), {"mean": kept.mean, "covariance": kept.covariance})
        with atomic_write(os.path.join(self.out, REPORT)) as file:
            file.write(self._report(left_out).encode("utf-8", "surrogateescape"))
        contents = {"format": packed.FORMAT, "name": self.source.name, "size": self.size, "counts": self.counts,
                    "unreadable": {name: len(left_out[name]) for name in SPLITS},
                    "sha256": {name: packed.digest_of_file(os.path.join(self.out, name)) for name in packed.SMALL},
                    "class_names": self.source.class_names}
        with atomic_write(os.path.join(self.out, PACK)) as file:
            file.write(json.dumps(contents | {"digest": packed.digest_of(contents)}, indent=1).encode() + b"\n")

    def _report(self, left_out):
        """Lines of text: how many pictures there are, and each one that is not among them."""
        lines = [f"{self.source.name}: {self.size} x {self.size} pixels, {len(self.source.class_names)} classes"]
        for name, split in self.splits.items():
            lines.append(f"{name}: {self.counts[name]:,} of {len(split):,} pictures; {len(left_out[name]):,} cannot be "
                         "read and are left out")
        for name in SPLITS:
            lines += [f"{' '.join(picture.splitlines())}: {reason}" for picture, reason in left_out[name].items()]
        return "\n".join(lines) + "\n"
