"""The folder of a training run.

    config.json              the options of the run, and the versions of Python, NumPy and tinynet
    metrics.csv, .jsonl      one row a step, in two formats
    checkpoint-000123.npz    everything that is needed to continue after step 123
    statistics.npz           the mean image and the covariance of colours of the training set
    weights.npz              the network at the end; curves.png, kernels.png, best_and_worst.png
    summary.json             the result; a run that has this file is finished
"""

import json
import os
import pathlib
import re
import sys

from tinynet import checkpoint, console

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

KEPT = 2  # checkpoints: if the newest is damaged, the one before it is used
FILES = ("checkpoint-*.npz", "config.json", "metrics.csv", "metrics.jsonl", "statistics.npz",
         "summary.json", "weights.npz", "curves.png", "kernels.png", "best_and_worst.png",
         "classified.png")


class RunError(ValueError):
    """A run cannot be started, continued or loaded; the message is one line for the user."""


class Lock:
    """Keeps other processes from training into a folder, until release() or the end of this one.

    Raises   FolderError if nothing can be written there; RunError if another process has the lock
    """

    def __init__(self, path):
        self.folder, self._handle = console.writable_folder(path), None
        if fcntl is None:
            self._warn("this system has no file locks")
            return
        self._handle = os.open(self.folder, os.O_RDONLY)  # the folder itself: no file is left
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise RunError(f"{self.folder}: another process is training there; "
                           "choose another --out") from None
        except OSError as error:
            self._warn(f"cannot be locked ({error.strerror})")

    def release(self):
        """Let other processes have the folder."""
        if self._handle is not None:
            os.close(self._handle)
        self._handle = None

    def _warn(self, reason):
        print(f"{self.folder}: {reason}; start no second run here", file=sys.stderr)


def remove_unfinished(folder):
    """Remove the temporary files of a process that was killed while it wrote."""
    for name in FILES:
        for path in folder.glob(f".{name}.*.tmp"):
            path.unlink()


def checkpoints(folder):
    """Return the paths of the checkpoints in a folder, the newest last."""
    found = [path for path in pathlib.Path(folder).glob("checkpoint-*.npz")
             if re.search(r"-\d+\.npz$", path.name)]
    return sorted(found, key=step_of)


def step_of(path):
    """Return the step after which a checkpoint was written: 123 for checkpoint-000123.npz."""
    return int(path.stem.rpartition("-")[2])


def is_finished(folder):
    """Return whether the run in a folder has reached its end."""
    return (pathlib.Path(folder) / "summary.json").exists()


def load_newest(folder):
    """Return the path and the state of the newest checkpoint that can be read.

    Raises   RunError if there is none
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            return path, checkpoint.load_state(path)
        except checkpoint.CheckpointError as error:
            print(f"{error}; trying the checkpoint before it", file=sys.stderr)
    if not found:
        raise RunError(f"{folder}: there is no checkpoint to continue from; start without --resume")
    raise RunError(f"{folder}: none of its {len(found)} checkpoints can be read")


def require_unused(folder):
    """Raise RunError if a folder holds a run, finished or not: a new one would destroy it."""
    if is_finished(folder):
        raise RunError(f"{folder}: holds a finished run; choose another --out, or remove the "
                       "folder")
    if found := checkpoints(folder):
        raise RunError(f"{folder}: holds a run that was stopped ({found[-1].name}); continue it "
                       "with --resume, choose another --out, or remove the folder")


def require_resumable(folder):
    """Raise RunError if the run in a folder is finished."""
    if is_finished(folder):
        raise RunError(f"{folder}: the run is finished, there is nothing to continue")


def require_same(path, kept, wanted):
    """Raise RunError with the first entry in which two nested dicts differ."""
    if found := difference(kept, wanted):
        where, before, now = found
        raise RunError(f"{path}: made by another run: {where} was {before}, now it is {now}")


def difference(first, second, where=""):
    """Return the first difference of two nested dicts, (name, value, other value), or None."""
    for key in [*first, *second]:
        a, b = first.get(key), second.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            if found := difference(a, b, f"{where}{key} "):
                return found
        elif a != b:
            return f"{where}{key}", a, b
    return None


def read_config(folder):
    """Return config.json of a run as a dict. Raises RunError if there is none."""
    path = os.path.join(folder, "config.json")
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        if not isinstance(config, dict):
            raise ValueError("it is not a JSON object")
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}; {folder} is not the folder of a run") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: damaged ({error})") from None
    return config


def write_json(path, values):
    """Write a dict as readable JSON; a fault leaves the old file as it was."""
    with checkpoint.atomic_write(path) as file:
        file.write(json.dumps(values, indent=2).encode() + b"\n")
