"""Arrays to a file and back: never half-written, never through pickle."""

import contextlib
import hashlib
import os
import tempfile
import zipfile

import numpy as np

from tinynet import backend

DIGEST = 64  # hexadecimal digits of a SHA-256


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
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes private files; these are for everyone the umask lets
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def save_arrays(path, arrays):
    """Write a dict of NumPy arrays as an .npz file that ends with its own SHA-256 (as the archive's comment).

    Raises   OSError where it cannot; path is then as it was
    """
    with atomic_write(path) as file:
        np.savez(file, **arrays)
        with zipfile.ZipFile(file, "a") as archive:
            archive.comment = bytes(DIGEST)  # room for it, so that it vouches for every byte before
        file.flush()
        digest = _sha256(file, file.seek(0, os.SEEK_END) - DIGEST)
        file.seek(-DIGEST, os.SEEK_END)
        file.write(digest)


def load_arrays(path):
    """Read what save_arrays, or np.savez, wrote: {name: array}.

    Raises   CheckpointError where the file is missing, cut short or altered
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            with np.load(path, allow_pickle=False) as archive:
                file.seek(-2, os.SEEK_END)  # np.savez leaves no comment, so that the last two bytes are its length, 0
                if file.read() != bytes(2) and archive.zip.comment != _sha256(file, size - DIGEST):
                    raise ValueError("its checksum does not agree")
                return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file") from None
    except (OSError, ValueError, EOFError, AttributeError, KeyError, NotImplementedError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: not a file of arrays, or damaged ({error})") from None


def restore_arrays(where, targets, arrays):
    """Copy arrays into the targets of the same names, in place, on the device where a target lives.

    Raises   CheckpointError, with the first difference in names, shapes or dtypes; then nothing
             has been written
    """
    for name in [*targets, *arrays]:
        if name not in arrays or name not in targets:
            owner = where if name in arrays else "the network"
            raise CheckpointError(f"{where}: made for another network; only {owner} has {name}")
        if arrays[name].shape != targets[name].shape or arrays[name].dtype != targets[name].dtype:
            raise CheckpointError(
                f"{where}: made for another network; its {name} is {arrays[name].dtype} "
                f"{arrays[name].shape}, the network's {targets[name].dtype} {targets[name].shape}")
    for name, target in targets.items():
        target[...] = backend.like(arrays[name], target)


def _sha256(file, length):
    """Of the first bytes of an open file, as hexadecimal digits."""
    file.seek(0)
    sha = hashlib.sha256()
    while length and (block := file.read(min(length, 1 << 20))):
        sha.update(block)
        length -= len(block)
    return sha.hexdigest().encode()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
