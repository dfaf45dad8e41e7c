"""Download a data set by name: resumed where it broke off, and checked before it is used."""

import errno
import hashlib
import http.client
import os
import shutil
import stat
import tempfile
import typing
import urllib.error
import urllib.request
import zipfile

from tinynet.console import Progress
from tinynet.data.pictures import DataError

TIMEOUT = 30   # seconds without a byte
PIECE = 2**18  # bytes read at once
RETRIES = 5    # of an address whose connection breaks off


class Remote(typing.NamedTuple):
    """A file to download.

    size    in bytes; None if only the server knows
    folder  the folder that it unpacks to; "" if it is used as it is
    """

    urls: tuple
    md5: str
    size: int | None
    folder: str = ""

    @property
    def file(self):
        return self.urls[0].rpartition("/")[2]


SETS = {
    "cifar10": Remote(("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                       "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
                       "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/"
                       "cifar-10-binary.tar.gz"),
                      "c32a1d4ab5d03f1284b67883e8d87530", 170_052_171),
    "tiny-imagenet": Remote(("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
                            "90528d7ca1a48142e341f4ef8d21d0de", 248_100_043, "tiny-imagenet-200"),
    "imagenette": Remote(("https://s3.amazonaws.com/fast-ai-imageclas/imagenette2.tgz",),
                         "fe2fc210e6bb7c5664d602c3cd71e612", None),
    "imagenette-320": Remote(("https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz",),
                             "3df6f0d01a2c9592104656642f5e78a3", 341_663_724),
    "imagenette-160": Remote(("https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz",),
                             "e793b78cc4c9e9a4ccc0c1155377a412", None),
}


class DownloadError(OSError):
    """A file that could not be downloaded; one line that says why, and how to get it by hand."""


class _Failed(Exception):
    """A file could not be had from one address; str() says why."""


def download(name, folder, quiet=False):
    """Download a data set into a folder, unless it is there already.

    After an interruption the bytes that have arrived are kept, and the next call continues.

    Args     name: one of SETS
    Returns  the path for open_source
    Raises   DataError for a name that cannot be downloaded; DownloadError if no address has it, or
             the disk is full
    """
    require_known(name)
    remote, folder = SETS[name], os.path.abspath(folder)
    path, unpacked = os.path.join(folder, remote.file), os.path.join(folder, remote.folder)
    if remote.folder and os.path.isdir(unpacked):
        return unpacked
    try:
        os.makedirs(folder, exist_ok=True)
        if not (os.path.isfile(path) and md5(path) == remote.md5):
            _fetch(remote, path, quiet)
        if remote.folder:
            _unzip(path, unpacked, quiet)
            return unpacked
    except DownloadError:
        raise
    except OSError as error:
        remedy = ""
        if error.errno == errno.ENOSPC:
            remedy = "; make room and start again, it goes on where it stopped"
        raise DownloadError(f"{path}: {error.strerror or error}{remedy}") from None
    return path


def require_known(name):
    """Refuse the name of a data set that cannot be downloaded.

    Raises   DataError, one line that says what to do instead
    """
    if name == "imagenet":
        raise DataError("imagenet: not without an account; ask for access at "
                        "https://image-net.org/download.php, put ILSVRC2012_img_train.tar, "
                        "ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz into one folder "
                        "as they are, and give that folder as --data")
    if name not in SETS:
        raise DataError(f"{name}: no data set of that name; there are {', '.join(SETS)}")


def md5(path):
    """Return the MD5 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _fetch(remote, path, quiet):
    """Get the file from the first address that has it. Raises DownloadError if none has it."""
    part, reasons = f"{path}.part", []
    for url in remote.urls:
        try:
            _complete(remote, url, part, quiet)
            os.replace(part, path)
            return
        except _Failed as error:
            reasons.append(f"{url}: {error}")
    raise DownloadError(f"{remote.file} could not be downloaded ({'; '.join(reasons)}); get it by "
                        f"hand, from there or elsewhere, and put it in {os.path.dirname(path)}")


def _complete(remote, url, part, quiet):
    """Download from one address until the .part file is whole, and check it. Raises _Failed."""
    resumed = os.path.exists(part)
    for _ in range(RETRIES):
        if _pull(remote, url, part, quiet):
            break
    else:
        raise _Failed(f"broke off {RETRIES} times, last after {_size(part):,} bytes, which are "
                      "kept")
    found = md5(part)
    if found == remote.md5:
        return
    os.unlink(part)
    if resumed:  # perhaps the bytes that were there before are the wrong ones
        return _complete(remote, url, part, quiet)
    raise _Failed(f"what it sent has the md5 {found}, not {remote.md5}, and is not used")


def _pull(remote, url, part, quiet):
    """Make one request, and return whether the .part file is whole now.

    Raises   _Failed if the server does not have the file
    """
    have = _size(part)
    if have and have == remote.size:
        return True
    with _ask(url, have) as answer:
        if answer.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return True  # nothing follows; the MD5 will show whether it is the right file
        start, total = _extent(answer, have)
        if remote.size is not None and total not in (None, remote.size):
            raise _Failed(f"has {total:,} bytes there, not {remote.size:,}")
        return _write(answer, part, start, total or remote.size, quiet)


def _ask(url, have):
    """Ask the server for the bytes after the first `have`, and return its answer.

    Raises   _Failed for an error
    """
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return error
        raise _Failed(f"HTTP {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise _Failed(f"cannot be reached ({reason})") from None
    except (http.client.HTTPException, OSError) as error:
        raise _Failed(f"no sensible answer ({type(error).__name__})") from None


def _extent(answer, have):
    """Return where in the file an answer starts, and the length of the file, None if unknown."""
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
        content_range = answer.headers.get("Content-Range", "")
        place, _, total = content_range.removeprefix("bytes ").partition("/")
        if place.partition("-")[0] != str(have):
            raise _Failed(f"was asked for the bytes after the first {have:,} and sent "
                          f"{place or 'something else'!r}")
        return have, int(total) if total.isdecimal() else None
    length = answer.headers.get("Content-Length", "")  # the server sends the whole file
    return 0, int(length) if length.isdecimal() else None


def _write(answer, part, start, total, quiet):
    """Append an answer to the .part file, or start it again. Returns whether it is whole."""
    left, name = (total or start) - start, os.path.basename(part).removesuffix(".part")
    room = shutil.disk_usage(os.path.dirname(part)).free + (0 if start else _size(part))
    if left > room:
        raise OSError(errno.ENOSPC, f"{left / 1e6:.0f} MB are to come and there is room for "
                                    f"{room / 1e6:.0f} MB")
    with (open(part, "ab" if start else "wb") as file,
          Progress(max(1, round(left / 1e6)), name, "MB", quiet) as progress):
        there = f", after the {start / 1e6:.0f} MB that are there" if start else ""
        amount = f"{left / 1e6:.0f} MB" if total else "an unknown size"
        progress.say(f"downloading {name}: {amount}{there}, from {answer.url}")
        arrived = 0
        while content := _read(answer):
            file.write(content)
            arrived += len(content)
            if (more := round(arrived / 1e6) - progress.done) > 0:
                progress.update(more)
        file.flush()
        os.fsync(file.fileno())
    return total is None or start + arrived == total


def _read(answer):
    """Return the next piece of an answer, or nothing if it ends or the connection breaks off."""
    try:
        return answer.read(PIECE)
    except (http.client.HTTPException, OSError):
        return b""


def _size(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def _unzip(path, target, quiet):
    """Unpack the folder `target` from a zip. It appears when it is whole; nothing else is."""
    parent, name = os.path.split(target)
    with (tempfile.TemporaryDirectory(prefix=f".{name}.", dir=parent) as temporary,
          _open_zip(path) as archive):
        entries = archive.infolist()
        with Progress(len(entries), f"unpacking {name}", "files", quiet) as progress:
            for entry in entries:
                parts = entry.filename.rstrip("/").split("/")
                is_link = stat.S_ISLNK(entry.external_attr >> 16)
                if parts[0] != name or ".." in parts or is_link:
                    raise DownloadError(f"{path}: {entry.filename!r} does not belong in {name}/; "
                                        "it is not unpacked")
                archive.extract(entry, temporary)
                progress.update(1)
        if not os.path.isdir(os.path.join(temporary, name)):
            raise DownloadError(f"{path}: there is no {name}/ in it")
        os.replace(os.path.join(temporary, name), target)


def _open_zip(path):
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise DownloadError(f"{path}: no zip archive, or a damaged one ({error})") from None
