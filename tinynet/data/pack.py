"""Make a pack: decode every picture of a source once. What was stopped can be continued."""

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import shutil

import numpy as np

from tinynet.checkpoint import atomic_write, save_arrays
from tinynet.console import Interrupt, Interrupted, Progress
from tinynet.data import identity, packed
from tinynet.data.files import SlowProgress
from tinynet.data.packed import BLOCKS, PACK, REPORT, SPLITS, STATISTICS, Block
from tinynet.data.pictures import DataError, DataLost
from tinynet.data.statistics import PIECE, Sums
from tinynet.data.workers import in_order, pieces


def pack(source, out, size, quiet=False):
    """Write a pack of a source, or continue one that was stopped, at whatever moment.

    packed.py describes the files. Threads decode and compute checksums, and this thread writes, so
    the same source gives the same bytes. First a block is written and then its line in
    blocks.jsonl. If a line has no block, or a damaged one, its checksum shows it, and the block is
    made again. Pictures that cannot be read are left out and are listed in the report.

    Args     source: opened with `size`; out: a folder that is new or empty, or has a stopped pack
             of the same source
    Raises   DataError if out holds something else, or the pictures have changed since; OSError if
             the disk is full or the source has disappeared; Interrupted after Ctrl-C. After the
             last two, the same call continues
    Memory   a few blocks of 64 pictures
    """
    with _one_line(out):
        content = {name: getattr(source, name).digest() for name in SPLITS}
    made_from = {"format": packed.FORMAT, "size": size, "block": PIECE, "source": identity(source),
                 "content": content}
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
    """Say in one line what stopped the packing, and that it can be continued."""
    try:
        yield
    except Interrupted as error:
        error.args = (f"{error}; the same command goes on from here",)
        raise
    except DataLost as error:
        raise OSError(f"{error.where}: {error.reason}; once it is back, the same command goes "
                      "on") from None
    except OSError as error:
        raise OSError(f"{out}: cannot be written to ({error.strerror or error}); once that is "
                      "corrected, the same command goes on") from None


@contextlib.contextmanager
def _alone(out):
    """Lock the folder against other processes. The system unlocks it when this process ends."""
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
    """Make sure that the folder is new, or has a pack that was begun with the same source."""
    half_written = tuple(f".{name}." for name in (PACK, packed.STAMP, *packed.SMALL))  # when killed
    for name in os.listdir(out):
        if name.startswith(half_written) and name.endswith(".tmp"):
            os.unlink(os.path.join(out, name))
    if not os.listdir(out):
        with atomic_write(os.path.join(out, BLOCKS)) as file:
            packed.write_line(file, made_from)
        return
    if not os.path.exists(os.path.join(out, BLOCKS)):
        raise DataError(f"{out}: holds something else; a pack needs a folder of its own, a new or "
                        "an empty one")
    before, _ = packed.read_blocks(out)
    if before != made_from:
        changed = [key for key in made_from
                   if not isinstance(before, dict) or before.get(key) != made_from[key]]
        what = "a pack of something else"
        if changed == ["content"]:
            what = "a pack of these pictures as they were before some of them changed"
        raise DataError(f"{out}: holds {what} (its {changed[0]} is not the same); choose another "
                        "folder, or remove this one")


def _write(file, pictures):
    """Write all pictures to an unbuffered file, which may take them in several parts."""
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
        self.files = {name: open(os.path.join(out, f"{name}.u8"), "a+b", buffering=0)
                      for name in SPLITS}
        self.counts = dict.fromkeys(SPLITS, 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for file in self.files.values():
            file.close()

    def check(self):
        """Keep the blocks up to the first one that is damaged, and remove all after them."""
        _, blocks = packed.read_blocks(self.out)

        def read(block):
            pictures = packed.read_block(self.files[block.split], block, self.size)
            whole = pictures is not None and packed.sha256(pictures) == block.sha256
            return block, whole, Sums.of(pictures) if whole else None

        label = f"checking what is in {self.out}"
        with SlowProgress(len(blocks) * PIECE, label, "pictures", self.quiet) as progress:
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
        """Decode and write the blocks that are missing."""
        todo = self.todo[len(self.blocks):]
        left = sum(len(indices) for _, indices in todo)
        self._require_room(left)
        with (Interrupt() as interrupt,
              Progress(left, "packing", "pictures", self.quiet) as progress,
              open(os.path.join(self.out, BLOCKS), "ab") as lines):
            if self.blocks:
                progress.say(f"going on: {len(self.blocks):,} of {len(self.todo):,} blocks are "
                             "there")
            decoded = interrupt.watch(in_order(self._decode, todo))
            for name, pictures, digest, unreadable, sums in decoded:
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
            raise OSError(errno.ENOSPC, f"{needed / 1e6:,.0f} MB are to come, there is room for "
                                        f"{free / 1e6:,.0f} MB")

    def finish(self):
        """Write the small files, pack.json last."""
        if not self.sums.count:
            raise DataError(f"{self.source.name}: none of {len(self.source.train)} pictures can be "
                            "read")
        for file in self.files.values():
            os.fsync(file.fileno())
        left_out = {name: {} for name in SPLITS}
        for block in self.blocks:
            left_out[block.split] |= block.unreadable
        for name, split in self.splits.items():
            kept = [i for i, picture in enumerate(split.names)
                    if picture not in left_out[name]]
            with atomic_write(os.path.join(self.out, f"{name}.csv")) as file:
                packed.write_table(file, [split.names[i] for i in kept], split.labels[kept])
        save_arrays(os.path.join(self.out, STATISTICS),
                    dataclasses.asdict(self.sums.statistics()))
        with atomic_write(os.path.join(self.out, REPORT)) as file:
            file.write(self._report(left_out).encode("utf-8", "surrogateescape"))
        contents = {"format": packed.FORMAT, "name": self.source.name, "size": self.size,
                    "counts": self.counts,
                    "unreadable": {name: len(left_out[name]) for name in SPLITS},
                    "sha256": {name: packed.digest_of_file(os.path.join(self.out, name))
                               for name in packed.SMALL},
                    "class_names": self.source.class_names}
        contents["digest"] = packed.digest_of(contents)
        with atomic_write(os.path.join(self.out, PACK)) as file:
            file.write(json.dumps(contents, indent=1).encode() + b"\n")

    def _report(self, left_out):
        """Return the text of the report: the counts, and a line for each unreadable picture."""
        lines = [f"{self.source.name}: {self.size} x {self.size} pixels, "
                 f"{len(self.source.class_names)} classes"]
        for name, split in self.splits.items():
            lines.append(f"{name}: {self.counts[name]:,} of {len(split):,} pictures; "
                         f"{len(left_out[name]):,} cannot be read and are left out")
        for name in SPLITS:
            lines += [f"{' '.join(picture.splitlines())}: {reason}"
                      for picture, reason in left_out[name].items()]
        return "\n".join(lines) + "\n"
