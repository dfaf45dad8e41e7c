"""Pictures in files, in a folder or in an archive: a split that reads them, and what listing them needs."""

import os
import sys
import threading
import time

import numpy as np
from tqdm import tqdm

from tinynet.console import Progress
from tinynet.data.pictures import EXTENSIONS, DataLost, UnreadablePicture, load_picture


class FileSplit:
    """Files and labels, read a few at a time. See tinynet.data for the methods that every split has.

    Args     tree: a Folder or an Archive; names: of pictures in it; labels: as many
    """

    def __init__(self, tree, names, labels, size, quiet=False):
        self.tree, self.names, self.labels = tree, names, np.asarray(labels, dtype=np.int64)  # (N,)
        self.size, self.quiet, self.unreadable = size, quiet, {}
        self.fit = None  # one of pictures.FITS, where pictures are to become squares in another way than the paper's
        self._lock = threading.Lock()

    def __len__(self):
        return len(self.names)

    def read(self, indices):
        pictures = [self._load(self.names[i]) for i in indices]
        readable = np.array([picture is not None for picture in pictures], dtype=bool)
        whole = [picture for picture in pictures if picture is not None]
        return np.stack(whole) if whole else np.empty((0, 3, self.size, self.size), np.uint8), readable

    def _load(self, name):
        try:
            return load_picture(self.tree.find(name), self.size, fit=self.fit)
        except UnreadablePicture as error:
            with self._lock:  # named once, whichever thread meets it first
                first, self.unreadable[name] = name not in self.unreadable, str(error)
            if first and not self.quiet:
                tqdm.write(f"skipped {os.path.join(self.tree.path, name)}: {error}", file=sys.stderr)
            return None
        except OSError as error:
            raise DataLost(os.path.join(self.tree.path, name), error.strerror or error) from None


class SlowProgress:
    """console.Progress for what is mostly done at once: nothing shows in the first two seconds."""

    PATIENCE = 2.0

    def __init__(self, total, label, unit, quiet=False):
        self.arguments, self.done = (total, label, unit, quiet), 0
        self.started, self.progress = time.monotonic(), None

    def update(self, count):
        """`count` more units are done."""
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
    """Whether a file is a picture by its name; hidden ones are not."""
    name = name.rpartition("/")[2]
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS
