"""Pictures in a .tar, read in place; or in a .tar.gz, kept in memory. No file is unpacked."""

import errno
import gzip
import os
import tarfile

from tinynet.data.files import SlowProgress, is_picture
from tinynet.data.pictures import DataError, UnreadablePicture

ENDINGS = (".tar", ".tar.gz", ".tgz")
MAX_IN_MEMORY = 2 * 2**30  # bytes of a compressed archive, once unpacked
MAX_BYTES = 2**30          # of one picture
MAX_NAME = 2**14           # characters of a name in an archive


class Archive:
    """A tar archive with the methods of a Folder.

    For a plain archive only the positions of its pictures are kept. A compressed one cannot be read
    from the middle, so the bytes of its pictures are kept. Links, devices and names that lead out
    of the archive are ignored.

    Args     path; at: a folder that all names are put into; inner: whether it is an archive of
             archives like ImageNet's, in which NAME.tar counts as a folder NAME
    Raises   DataError if it is no archive, damaged, or too large to be kept in memory
    """

    def __init__(self, path, quiet=False, at="", inner=False):
        self.path = os.fspath(path)
        self._places, self._folders, self._pictures = {}, {}, {}
        try:
            self._file = open(path, "rb")  # stays open: the pictures are read through it
            compressed = self._file.read(2) == b"\x1f\x8b"
            self._file.seek(0)
            if compressed:
                members = compressed_members(path, is_picture, MAX_IN_MEMORY, self._file)
            elif inner:
                members = _inner_members(self._file, path)
            else:
                members = _plain_members(self._file)
            megabytes = os.path.getsize(path) // 2**20
            with SlowProgress(megabytes, f"listing {path}", "MB", quiet) as progress:
                for name, place in members:
                    self._add(f"{at}/{name}" if at else name, place)
                    progress.update(self._file.tell() // 2**20 - progress.done)
        except (DataError, MemoryError):
            raise
        except Exception as error:  # tarfile and zlib raise anything for damaged files
            raise _unusable(path, error) from None

    def folders(self, at=""):
        """Return the sorted names of the folders directly in `at`, without hidden ones."""
        return sorted(self._folders.get(at, ()))

    def pictures(self, at=""):
        """Return the sorted names of the pictures in `at`, and after them those in its folders."""
        found, to_visit = [], [at]
        while to_visit:
            at = to_visit.pop()
            found += sorted(self._pictures.get(at, ()))
            below = [f"{at}/{folder}" if at else folder for folder in self.folders(at)]
            to_visit += reversed(below)
        return found

    def find(self, name):
        """Return the picture `name` as load_picture can read it."""
        return Member(self._file, self._places[name])

    def stamp(self, name):
        """Return numbers that change when the archive is replaced, or the picture in it."""
        status, place = os.fstat(self._file.fileno()), self._places[name]
        where = len(place) if isinstance(place, bytes) else place
        return status.st_size, status.st_mtime_ns, where

    def _add(self, name, place):
        """Take up a folder, if place is None, or a picture."""
        if place is not None:
            folder = name.rpartition("/")[0]
            if name not in self._places:
                self._pictures.setdefault(folder, []).append(name)
            self._places[name] = place  # of two members with one name the last counts, as for tar
            name = folder
        while name and name not in self._folders.get(name.rpartition("/")[0], ()):
            name, _, last = name.rpartition("/")
            self._folders.setdefault(name, set()).add(last)


class Member:
    """A picture in an archive. place: its bytes, or (offset, size)."""

    def __init__(self, file, place):
        self.file, self.place = file, place

    def read(self):
        """Return its bytes. Several threads may read at once."""
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
    """Yield (name, bytes) of each wanted file in a .tar.gz, and (name, None) of each folder.

    Args     wanted: tells whether the file of a name is wanted; file: the archive, if it is open
    Raises   DataError if it is damaged, or unpacks to more than `limit` bytes, before it does
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
                pass  # as far as the checksum at the end
    except (DataError, MemoryError):
        raise
    except Exception as error:  # tarfile and zlib raise anything for damaged files
        raise _unusable(path, error) from None


class _Limited:
    """A file that is read up to `limit` bytes at most, because a small .gz can unpack to any size.
    """

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
            raise DataError(f"{self.path}: unpacks to more than {self.limit / 2**30:.1f} GiB, "
                            "which is too much to keep in memory; unpack it first, and give the "
                            "folder")


def _plain_members(file, start=0):
    """Yield (name, (offset, size)) of each picture in a plain tar, (name, None) of each folder."""
    for name, member in _members(file):
        if not member.isfile():
            yield name, None
        elif is_picture(name):
            yield name, (start + member.offset_data, member.size)


def _inner_members(file, path):
    """Yield the same for a tar of tars, in which each NAME.tar counts as a folder NAME."""
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
    """Yield (name, member) of the files and folders of a plain tar.

    Members are left out if they are hidden, or if their names lead out of the archive.
    """
    archive = tarfile.open(fileobj=file, mode="r:")
    while (member := archive.next()) is not None:
        archive.members.clear()  # tarfile would collect them
        if len(member.name) > MAX_NAME:
            raise tarfile.ReadError(f"a name of {len(member.name):,} characters")
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        hidden = any(part.startswith(".") for part in parts)  # and ".." leads out
        if not parts or hidden or member.name.startswith("/"):
            continue
        if member.isdir() or member.isfile() and not member.issparse():
            yield "/".join(parts), member
    file.seek(archive.offset)
    if file.read(512) != bytes(512):  # to tarfile, damage and a cut look like the end
        raise tarfile.ReadError(f"damaged or cut short at byte {archive.offset:,}")


def _unusable(path, error):
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return DataError(f"{path}: cannot be read, not a .tar or .tar.gz archive or a damaged one "
                     f"({reason.splitlines()[0]})")
