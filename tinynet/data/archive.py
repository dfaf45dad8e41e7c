"""Pictures in a .tar, read where they lie; or in a .tar.gz, kept in memory. Nothing is ever unpacked to the disk."""

import errno
import gzip
import os
import tarfile
import zlib

from tinynet.data.files import SlowProgress, is_picture
from tinynet.data.pictures import DataError, UnreadablePicture

ENDINGS = (".tar", ".tar.gz", ".tgz")
MAX_IN_MEMORY = 2 * 2**30  # bytes of a compressed archive, once unpacked
MAX_BYTES = 2**30          # of one picture


class Archive:
    """A tar archive, with the methods of a Folder.

    Of a plain one only the places of its pictures are kept. A compressed one cannot be read from the middle, so its
    pictures' bytes are kept. Links, devices and names that lead out of the archive are left out.

    Args     path; at: a folder that its names are put into; inner: it is an archive of archives, as ImageNet's, where
             NAME.tar counts as a folder NAME
    Raises   DataError where it is no archive, damaged, or too large to be kept in memory
    """

    def __init__(self, path, quiet=False, at="", inner=False):
        self.path = os.fspath(path)
        self._places, self._folders, self._pictures = {}, {}, {}
        try:
            self._file = open(path, "rb")  # stays open: its pictures are read through it
            compressed = self._file.read(2) == b"\x1f\x8b"
            self._file.seek(0)
            if compressed:
                members = compressed_members(path, is_picture, MAX_IN_MEMORY, self._file)
            else:
                members = _inner_members(self._file, path) if inner else _plain_members(self._file)
            with SlowProgress(os.path.getsize(path) // 2**20, f"listing {path}", "MB", quiet) as progress:
                for name, place in members:
                    self._add(f"{at}/{name}" if at else name, place)
                    progress.update(self._file.tell() // 2**20 - progress.done)
        except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
            raise _unusable(path, error) from None

    def folders(self, at=""):
        """Sorted names of the folders directly in `at`, without hidden ones."""
        return sorted(self._folders.get(at, ()))

    def pictures(self, at=""):
        """Names of the pictures in `at` and below, sorted."""
        below = (f"{at}/{folder}" if at else folder for folder in self.folders(at))
        return sorted(self._pictures.get(at, ())) + [name for folder in below for name in self.pictures(folder)]

    def find(self, name):
        """What load_picture takes to read the picture `name`."""
        return Member(self._file, self._places[name])

    def _add(self, name, place):
        """Take up a folder, where place is None, or a picture."""
        folder, _, last = name.rpartition("/")
        if place is not None:
            if name not in self._places:
                self._pictures.setdefault(folder, []).append(name)
            self._places[name] = place  # where a name occurs twice the last one counts, as for tar itself
            name = folder
        while name and name not in self._folders.get(name.rpartition("/")[0], ()):
            name, _, last = name.rpartition("/")
            self._folders.setdefault(name, set()).add(last)


class Member:
    """A picture in an archive. place: its bytes, or (offset, size)."""

    def __init__(self, file, place):
        self.file, self.place = file, place

    def read(self):
        """Its bytes. Any number of threads may read at once."""
        if isinstance(self.place, bytes):
            return self.place
        offset, size = self.place
        if size > MAX_BYTES:
            raise UnreadablePicture(f"{size:,} bytes are more than {MAX_BYTES:,}")
        content = os.pread(self.file.fileno(), size, offset)
        if len(content) < size:
            raise OSError(errno.EIO, "the archive has become shorter")
        return content


def compressed_members(path, wanted, limit, file=None):
    """(name, bytes) of the files in a .tar.gz whose names are wanted, and (name, None) of its folders.

    Args     file: the archive, where it is open already
    Raises   DataError where it is damaged, or unpacks to more than `limit` bytes: said before they are read
    """
    try:
        with gzip.open(file or path) as unpacked:
            stream = _Limited(unpacked, path, limit)
            for name, member in _members(stream):
                if not member.isfile():
                    yield name, None
                elif wanted(name):
                    stream.seek(member.offset_data)
                    yield name, stream.read(member.size)
            while stream.read(2**16):
                pass  # to its end, where the checksum is
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise _unusable(path, error) from None


class _Limited:
    """A file of which nothing is read beyond `limit` bytes: a small .gz can unpack to any size."""

    def __init__(self, file, path, limit):
        self.file, self.path, self.limit, self.tell = file, path, limit, file.tell

    def read(self, size):
        self._require(self.tell() + size)
        return self.file.read(size)

    def seek(self, position):
        self._require(position)
        return self.file.seek(position)

    def _require(self, position):
        if position > self.limit:
            raise DataError(f"{self.path}: unpacks to more than {self.limit / 2**30:.1f} GiB, which is more than is "
                            "kept in memory; unpack it first, and give the folder")


def _plain_members(file, start=0):
    """(name, (offset, size)) of the pictures in a plain tar, and (name, None) of its folders."""
    for name, member in _members(file):
        if not member.isfile():
            yield name, None
        elif is_picture(name):
            yield name, (start + member.offset_data, member.size)


def _inner_members(file, path):
    """The same of a tar of tars, NAME.tar in it counting as a folder NAME."""
    members = list(_members(file))
    file.seek(0)
    outer = tarfile.open(fileobj=file, mode="r:")
    for name, member in members:
        if not (member.isfile() and name.endswith(".tar")):
            raise DataError(f"{path}: expected one .tar for each class in it, and found {name!r}")
        folder = name.removesuffix(".tar").rpartition("/")[2]
        yield folder, None
        for inner, place in _plain_members(outer.extractfile(member), member.offset_data):
            yield f"{folder}/{inner}", place


def _members(file):
    """(name, member) of the folders and files that lie inside a plain tar by their names, and are not hidden."""
    archive = tarfile.open(fileobj=file, mode="r:")
    while (member := archive.next()) is not None:
        archive.members.clear()  # else they would pile up
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        inside = parts and not member.name.startswith("/") and not any(part.startswith(".") for part in parts)
        if inside and (member.isdir() or member.isfile() and not member.issparse()):
            yield "/".join(parts), member
    file.seek(archive.offset)
    if file.read(512) != bytes(512):  # tarfile takes what it does not understand, and a cut, for the end
        raise tarfile.ReadError(f"damaged or cut short at byte {archive.offset:,}")


def _unusable(path, error):
    reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
    return DataError(f"{path}: cannot be read, not a .tar or .tar.gz archive or a damaged one ({reason})")
