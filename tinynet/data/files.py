"""A split whose pictures are files, in a folder or in an archive; and what listing files needs."""

import hashlib
import os
import sys
import time

import numpy as np
from tqdm import tqdm

from tinynet.console import Progress
from tinynet.data.pictures import EXTENSIONS, DataLost, UnreadablePicture, load_picture, square
from tinynet.data.workers import AHEAD, in_order
from tinynet.shapes import ceil_div
from tinynet.threads import default_thread_count, fork_safe_lock


class FileSplit:
    """Picture files and their labels, decoded when they are read. tinynet.data has the methods.

    Args     tree: a Folder or an Archive; names: of pictures in it; labels: as many
    """

    def __init__(self, tree, names, labels, size, quiet=False):
        self.tree, self.names = tree, names
        self.labels = np.asarray(labels, dtype=np.int64)                  # (N,)
        self.size, self.quiet, self.unreadable = size, quiet, {}
        self.fit = square  # one of pictures.FITS, the way in which a picture becomes a square
        self._lock = fork_safe_lock()

    def __len__(self):
        return len(self.names)

    def read(self, indices):
        names = [self.names[i] for i in indices]
        threads = ceil_div(default_thread_count(), AHEAD)  # AHEAD calls at once then keep all busy
        if threads == 1:
            pictures = [self._load(name) for name in names]
        else:
            pictures = list(in_order(self._load, names, threads))
        readable = np.array([picture is not None for picture in pictures], dtype=bool)
        decoded = [picture for picture in pictures if picture is not None]
        if not decoded:
            return np.empty((0, 3, self.size, self.size), np.uint8), readable
        return np.stack(decoded), readable

    def digest(self):
        """Return a digest of the sizes and times of all files: it changes when one is replaced."""
        sha = hashlib.sha256()
        with SlowProgress(len(self), f"looking at {self.tree.path}", "pictures", self.quiet) as bar:
            for name in self.names:
                try:
                    sha.update(f"{self.tree.stamp(name)} ".encode())
                except OSError as error:
                    raise DataLost(self._path(name), error.strerror or error) from None
                bar.update(1)
        return sha.hexdigest()

    def _load(self, name):
        """Return a picture (3, S, S), or None if it cannot be read. Other errors name the file."""
        try:
            return load_picture(self.tree.find(name), self.size, fit=self.fit)
        except UnreadablePicture as error:
            with self._lock:  # two threads may find the same file unreadable at the same moment
                is_new = name not in self.unreadable
                self.unreadable[name] = str(error)
            if is_new and not self.quiet:
                tqdm.write(f"skipped {self._path(name)}: {error}", file=sys.stderr)
            return None
        except OSError as error:
            raise DataLost(self._path(name), error.strerror or error) from None
        except MemoryError:
            raise MemoryError(f"{self._path(name)}: too little memory to decode it") from None
        except Exception as error:  # a bug, then; the traceback says with which file
            error.add_note(f"while {self._path(name)} was read")
            raise

    def _path(self, name):
        return os.path.join(self.tree.path, name)


class SlowProgress:
    """A console.Progress that shows nothing in the first two seconds, for what is often quick."""

    PATIENCE = 2.0

    def __init__(self, total, label, unit, quiet=False):
        self.arguments, self.done = (total, label, unit, quiet), 0
        self.started, self.progress = time.monotonic(), None

    def update(self, count):
        """Report that `count` more units are done."""
        self.done += count
        if count == 0:
            return
        if self.progress is not None:
            self.progress.update(count)
        elif time.monotonic() - self.started > self.PATIENCE:
            self.progress = Progress(*self.arguments)
            self.progress.started = self.started
            self.progress.update(self.done)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.progress is not None:
            self.progress.close()


def is_picture(name):
    """Return whether the name of a file is that of a picture. A hidden file is no picture."""
    name = name.rpartition("/")[2]
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS
