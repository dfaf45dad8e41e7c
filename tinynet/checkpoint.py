"""Arrays to a file and back: never half-written, never through pickle."""

import contextlib
import os
import tempfile
import zipfile

import numpy as np


class CheckpointError(ValueError):
    """A file that cannot be used; the message names the file and says what is wrong with it."""


@contextlib.contextmanager
def atomic_write(path):
    """Open a temporary file beside path for writing bytes; it takes path's name once it is whole and on the disk.

    A fault before that leaves whatever was at path as it was, and no temporary file behind.
    """
    folder, name = os.path.split(os.path.abspath(path))
    handle, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".tmp", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes private files; these are for everyone the umask lets
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def save_arrays(path, arrays):
    """Write a dict of NumPy arrays as an .npz file. Raises OSError, and leaves path as it was, where it cannot."""
    with atomic_write(path) as file:
        np.savez(file, **arrays)


def load_arrays(path):
    """Read what save_arrays wrote: {name: array}. Raises CheckpointError where the file is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file") from None
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: not a file of arrays, or damaged ({error})") from None


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
