"""Write arrays and state to a file, and read them back: never half-written, never by pickle."""

import contextlib
import hashlib
import json
import os
import secrets
import zipfile

import numpy as np

from tinynet import backend

DIGEST = 64      # hexadecimal digits of a SHA-256
STATE = "state"  # the entry of a state file that holds everything but the arrays, as JSON


class CheckpointError(ValueError):
    """A file that cannot be used; one line that names the file and says what is wrong with it."""


@contextlib.contextmanager
def atomic_write(path):
    """Open a temporary file beside `path` for writing bytes; once complete, it replaces `path`.

    If anything fails before that, `path` stays as it was and the temporary file is removed.

    Raises   OSError, with the name of `path`, if it cannot be written
    """
    folder, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno and error.filename in (None, temporary):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise


def save_arrays(path, arrays):
    """Write a dict of NumPy arrays as an .npz file that ends with its own SHA-256.

    The checksum is the comment of the zip archive, so np.load reads the file too.

    Raises   OSError if it cannot be written, and `path` is then as it was; ValueError for an array
             of objects
    """
    with atomic_write(path) as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)
            archive.comment = bytes(DIGEST)  # first zeros: the checksum covers the bytes before it
        file.flush()
        digest = _sha256(file, file.seek(0, os.SEEK_END) - DIGEST)
        file.seek(-DIGEST, os.SEEK_END)
        file.write(digest)


def load_arrays(path):
    """Read a file that save_arrays or np.savez wrote, and return {name: array}.

    Raises   CheckpointError if the file is missing, cut short, altered, or something else
    """
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is not a zip archive, as every .npz file is")
            size = file.seek(0, os.SEEK_END)
            file.seek(-2, os.SEEK_END)
            has_comment = file.read() != bytes(2)  # after np.savez, the length of a comment: 0
            with np.load(path, allow_pickle=False) as archive:
                if has_comment and archive.zip.comment != _sha256(file, size - DIGEST):
                    raise ValueError("its checksum does not agree")
                return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file") from None
    except Exception as error:  # zipfile, zlib and NumPy raise anything for damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path}: not a file of arrays, or damaged ({reason})") from None


def save_state(path, state):
    """Write a tree of dicts, whose leaves are NumPy arrays and JSON values, to one file.

    An array is stored under its path in the tree ("sgd/velocity/conv1.w"), everything else as one
    JSON text.

    Args     state: a dict; the keys of all dicts in it are strings without "/"
    Raises   OSError as save_arrays; ValueError for another key; TypeError for a leaf that is
             neither
    """
    arrays = {}
    text = json.dumps(_without_arrays(state, "", arrays))
    if STATE in arrays:
        raise ValueError(f"an array at the top of a state cannot have the name {STATE!r}")
    save_arrays(path, {STATE: np.frombuffer(text.encode(), np.uint8)} | arrays)


def load_state(path):
    """Read a file that save_state wrote, and return the tree.

    Raises   CheckpointError if the file is missing, cut short, altered, or something else
    """
    arrays = load_arrays(path)
    try:
        if STATE not in arrays:
            raise ValueError(f"it has no entry {STATE!r}")
        state = json.loads(arrays.pop(STATE).tobytes())
        for name, array in arrays.items():
            *folders, last = name.split("/")
            node = state
            for folder in folders:
                node = node[folder]
            if last in node:
                raise ValueError(f"{name!r} is in it twice")
            node[last] = array
        if not isinstance(state, dict):
            raise ValueError(f"{STATE!r} is not a dict")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a state that was saved ({error})") from None
    return state


def _without_arrays(node, path, arrays):
    """Return a copy of a tree without its arrays, and put these into `arrays` under their paths."""
    rest = {}
    for key, value in node.items():
        if not isinstance(key, str) or "/" in key:
            raise ValueError(f"{path}{key!r}: a key must be a string without '/'")
        if isinstance(value, dict):
            rest[key] = _without_arrays(value, f"{path}{key}/", arrays)
        elif isinstance(value, np.ndarray):
            arrays[path + key] = value
        else:
            rest[key] = value
    return rest


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
    """Return the SHA-256 of the first `length` bytes of an open file, as hexadecimal digits."""
    file.seek(0)
    sha = hashlib.sha256()
    while length and (block := file.read(min(length, 1 << 20))):
        sha.update(block)
        length -= len(block)
    return sha.hexdigest().encode()
