"""Each form in which people have pictures: recognised by what it holds, read alike, and refused in one line."""

import gzip
import io
import itertools
import os
import pathlib
import shutil
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from test_data import CIFAR, make_classes, message, save

from tinynet import data
from tinynet.data import archive, cifar10, files, imagenet, pictures
from tinynet.data.embedded import EmbeddedSource


def refused(path, *expected):
    """Opening path is refused, in one line that has all of `expected` in it."""
    text = message(data.DataError, data.open_source, str(path), 16)
    for part in expected:
        assert str(part) in text, text


def read_all(split):
    shown, readable = split.read(np.arange(len(split)))
    assert readable.all() and shown.dtype == np.uint8 and len(shown) == len(split) == len(split.names)
    return shown


def same(first, second):
    """Two sources of the same pictures."""
    assert first.class_names == second.class_names
    for a, b in ((first.train, second.train), (first.test, second.test)):
        assert a.names == b.names
        np.testing.assert_array_equal(a.labels, b.labels)
        np.testing.assert_array_equal(read_all(a), read_all(b))


# ---- what every source promises -------------------------------------------------------------------------------------
def check_contract(source, size=16):
    names = source.train.names + source.test.names
    assert len(set(names)) == len(names) and all(isinstance(name, str) for name in names)
    assert len(set(source.class_names)) == len(source.class_names) and isinstance(source.name, str)
    for split in (source.train, source.test):
        assert len(split) == len(split.names) == len(split.labels) > 0 and split.unreadable == {}
        assert split.labels.dtype == np.int64
        assert 0 <= split.labels.min() <= split.labels.max() < len(source.class_names)
        order = np.array([len(split) - 1, 0, 0])
        backwards, readable = split.read(order)
        assert readable.dtype == bool and readable.all() and readable.shape == (3,)
        assert backwards.shape == (3, 3, size, size)
        np.testing.assert_array_equal(backwards, read_all(split)[order])
        assert isinstance(split.digest(), str) and split.digest() == split.digest()
        nothing, readable = split.read(np.array([], int))
        assert nothing.shape == (0, 3, size, size) and nothing.dtype == np.uint8 and readable.shape == (0,)


def test_the_embedded_source_keeps_the_promises():
    source = EmbeddedSource(16, quiet=True, counts=(20, 10))
    check_contract(source)
    assert source.train.names[11] == "train/columns/11" and source.test.names[0] == "test/checkerboard/0"


# ---- folders --------------------------------------------------------------------------------------------------------
def test_a_class_may_be_called_train(tmp_path):
    source = data.open_source(make_classes(tmp_path / "traffic", {"bus": 5, "test": 5, "train": 5}), 16)
    assert source.class_names == ["bus", "test", "train"]
    check_contract(source)


def test_a_test_folder_without_labels_leaves_val(tmp_path):
    for part in "train", "val":
        make_classes(tmp_path / part, {"cat": 2, "dog": 2})
    save(tmp_path / "test" / "unknown.png")
    assert data.open_source(str(tmp_path), 16).test.names[0] == "val/cat/000.png"


def test_one_outer_folder_is_looked_into(tmp_path):
    make_classes(tmp_path / "set" / "inner", {"cat": 5, "dog": 5})
    source = data.open_source(str(tmp_path / "set"), 16)
    assert source.class_names == ["cat", "dog"] and source.train.names[0].startswith("inner/cat/")


@pytest.mark.parametrize("name", ["x.jfif", "x.pbm"])
def test_files_by_rarer_names_are_pictures(tmp_path, name):
    with open(tmp_path / name, "wb") as file:
        Image.new("RGB", (20, 20), "white").convert("1" if name.endswith("pbm") else "RGB").save(
            file, "PPM" if name.endswith("pbm") else "JPEG")
    assert files.is_picture(name) and (data.load_picture(tmp_path / name, 8) == 255).all()


def test_a_reason_does_not_name_the_file_again(tmp_path, monkeypatch):
    (tmp_path / "x.jpg").write_text("no picture")
    assert message(data.UnreadablePicture, data.load_picture, tmp_path / "x.jpg", 8) == "cannot identify image file"

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied", "/data/x.jpg")

    monkeypatch.setattr(pictures.Image, "open", denied)
    assert message(data.UnreadablePicture, data.load_picture, tmp_path / "x.jpg", 8) == "Permission denied"


def test_no_memory_is_no_broken_picture(tmp_path, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(pictures.Image, "open", full)
    with pytest.raises(MemoryError):
        data.load_picture(save(tmp_path / "x.png"), 8)


@pytest.mark.parametrize("code, lost", [("ENOENT", True), ("ENOTDIR", True), ("EIO", True), ("ESTALE", True),
                                        ("EACCES", False), ("ELOOP", False)])
def test_a_disk_that_fails_is_no_broken_picture(tmp_path, monkeypatch, code, lost):
    split = data.open_source(make_classes(tmp_path, {"cat": 2, "dog": 2}), 16, quiet=True).train
    number = getattr(pictures.errno, code)

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(pictures.Image, "open", fail)
    if not lost:
        assert split.read(np.array([0]))[1].tolist() == [False]
        assert split.unreadable == {split.names[0]: os.strerror(number)}
        return
    text = message(data.DataLost, split.read, np.array([0]))
    assert text == (f"{tmp_path / split.names[0]}: {os.strerror(number)}; it was there at the start. Once the data is "
                    "back, the run can go on with --resume")
    assert split.unreadable == {} and issubclass(data.DataLost, OSError)


def test_a_folder_that_has_become_a_file_is_lost(tmp_path):
    split = data.open_source(make_classes(tmp_path, {"cat": 2, "dog": 2}), 16, quiet=True).train
    shutil.rmtree(tmp_path / "cat")
    (tmp_path / "cat").write_text("")
    assert "Not a directory" in message(data.DataLost, split.read, np.array([0]))


def test_one_picture_deleted_in_mid_run_is_lost(tmp_path):
    split = data.open_source(make_classes(tmp_path, {"cat": 4, "dog": 4}), 16, quiet=True).train
    (tmp_path / split.names[1]).unlink()
    assert split.read(np.array([0]))[1].all()
    assert str(tmp_path / split.names[1]) in message(data.DataLost, split.read, np.array([0, 1]))


def test_a_long_list_shows_progress_and_a_short_one_does_not(capsys, monkeypatch):
    for seconds, lines in ((0.01, 0), (3, 3)):
        clock = itertools.count(0, seconds)
        monkeypatch.setattr("time.monotonic", lambda clock=clock: next(clock))
        with files.SlowProgress(10, "listing", "classes") as progress:
            for _ in range(10):
                progress.update(0)
                progress.update(1)
            assert (progress.progress is None) == (lines == 0)
        text = capsys.readouterr().err
        assert (text.count("listing: ") >= 1) == bool(lines), text
        assert not text or "/10 classes" in text
    with files.SlowProgress(10, "listing", "classes", quiet=True) as progress:
        for _ in range(10):
            progress.update(1)
    assert capsys.readouterr().err == ""


def test_a_link_to_nothing_is_refused_at_the_start(tmp_path):
    make_classes(tmp_path, {"cat": 2, "dog": 2})
    (tmp_path / "cat" / "x.jpg").symlink_to(tmp_path / "nowhere.jpg")
    refused(tmp_path, f"{tmp_path}/cat/x.jpg: a link to nothing; remove it, or bring back the file that it leads to")
    save(tmp_path / "nowhere.jpg")
    assert len(data.open_source(str(tmp_path), 16).train) == 3


def test_a_folder_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    make_classes(tmp_path, {"cat": 2, "dog": 2})
    scan = os.scandir

    def denied(path):
        if str(path).endswith("cat"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", denied)
    refused(tmp_path, f"{tmp_path}/cat: cannot be read (Permission denied)")


# ---- archives -------------------------------------------------------------------------------------------------------
ENDINGS = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz"}


def pack(folder, ending=".tar", inside=""):
    """A tar of what is in a folder, beside it."""
    path = folder.with_name(folder.name + ending)
    with tarfile.open(path, ENDINGS[ending]) as tar:
        for name in sorted(os.listdir(folder)):
            tar.add(folder / name, inside + name)
    return path


def tar_of(path, members, mode="w"):
    """A tar of (TarInfo or name, content)."""
    with tarfile.open(path, mode) as tar:
        for member, content in members:
            if isinstance(member, str):
                member = tarfile.TarInfo(member)
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def png(colour=(10, 20, 30), size=(20, 20)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


FOUR = [(f"{name}/{i}.png", png((10 * i, 40 * k, 7))) for k, name in enumerate(("cat", "dog")) for i in range(2)]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("inside", ["", "./", "set/", "./set/"])
@pytest.mark.parametrize("parts", [[""], ["train/", "test/"], ["train/", "val/"]])
def test_an_archive_is_like_the_folder_in_it(tmp_path, ending, inside, parts):
    for part in parts:
        make_classes(tmp_path / "set" / part, {"cat": 5, "dog": 6}, (30, 20))
    save(tmp_path / "set" / parts[0] / "dog" / "deeper" / "x.png")
    (tmp_path / "set" / parts[0] / "dog" / "notes.txt").write_text("")
    save(tmp_path / "set" / parts[0] / "dog" / "._x.png")
    before = sorted(tmp_path.rglob("*"))
    folder = data.open_source(str(tmp_path / "set"), 16, seed=3)
    source = data.open_source(pack(tmp_path / "set", ending, inside), 16, seed=3)
    for split in (source.train, source.test):
        assert all(name.startswith("set/") for name in split.names) == ("set" in inside)
    assert [name.removeprefix("set/") for name in source.train.names] == folder.train.names
    np.testing.assert_array_equal(read_all(source.train), read_all(folder.train))
    np.testing.assert_array_equal(read_all(source.test), read_all(folder.test))
    np.testing.assert_array_equal(source.train.labels, folder.train.labels)
    check_contract(source)
    assert source.name == f"set{ending}"
    assert sorted(set(tmp_path.rglob("*")) - set(before)) == [tmp_path / f"set{ending}"], "something was unpacked"


def test_of_a_plain_archive_only_the_places_are_kept(tmp_path):
    make_classes(tmp_path / "set", {"cat": 2, "dog": 2})
    path = pack(tmp_path / "set")
    tree = archive.Archive(path)
    offset, size = tree.find("dog/001.png").place
    content = (tmp_path / "set" / "dog" / "001.png").read_bytes()
    assert path.read_bytes()[offset:offset + size] == content == tree.find("dog/001.png").read()


@pytest.mark.parametrize("ending", [".tar", ".tgz"])
def test_several_threads_may_read_from_an_archive(tmp_path, ending):
    make_classes(tmp_path / "set", {"cat": 20, "dog": 20})
    split = data.open_source(pack(tmp_path / "set", ending), 16).train
    alone = read_all(split)
    with ThreadPoolExecutor(8) as pool:
        for shown, _ in pool.map(split.read, [np.arange(len(split))] * 20):
            np.testing.assert_array_equal(shown, alone)


@pytest.mark.parametrize("ending", [".tar", ".tgz"])
def test_a_broken_picture_in_an_archive_is_named(tmp_path, ending, capsys):
    make_classes(tmp_path / "set" / "train", {"cat": 2, "dog": 2})
    make_classes(tmp_path / "set" / "test", {"cat": 2, "dog": 2})
    (tmp_path / "set" / "train" / "cat" / "bad.jpg").write_text("no picture")
    path = pack(tmp_path / "set", ending)
    split = data.open_source(path, 16).train
    assert split.read(np.arange(5))[1].tolist() == [True, True, False, True, True]
    assert split.unreadable == {"train/cat/bad.jpg": "cannot identify image file"}
    assert capsys.readouterr().err == f"skipped {path}/train/cat/bad.jpg: cannot identify image file\n"


def test_an_archive_that_shrinks_in_mid_run_is_lost(tmp_path):
    make_classes(tmp_path / "set", {"cat": 5, "dog": 5})
    path = pack(tmp_path / "set")
    split = data.open_source(path, 16, quiet=True).train
    os.truncate(path, 2000)
    text = message(data.DataLost, split.read, np.array([len(split) - 1]))
    assert text.startswith(f"{path}/{split.names[-1]}: the archive has become shorter") and "--resume" in text


def test_an_archive_may_be_moved_in_mid_run(tmp_path):
    make_classes(tmp_path / "set", {"cat": 5, "dog": 5})
    path = pack(tmp_path / "set")
    split = data.open_source(path, 16, quiet=True).train
    path.rename(tmp_path / "elsewhere.tar")
    read_all(split)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_what_leads_out_of_an_archive_is_left_out(tmp_path, mode):
    def special(name, kind, target=""):
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        return member, b""
    secret = save(tmp_path / "secret.png")
    path = tar_of(tmp_path / ("x.tar" if mode == "w" else "x.tgz"), [
        *FOUR, ("../out.png", png()), ("cat/../../out.png", png()), ("/cat/absolute.png", png()),
        special("cat/link.png", tarfile.SYMTYPE, str(secret)), special("cat/hard.png", tarfile.LNKTYPE, "cat/0.png"),
        special("cat/device.png", tarfile.CHRTYPE), special("cat/pipe.png", tarfile.FIFOTYPE),
        special("owl", tarfile.SYMTYPE, "cat")], mode)
    assert archive.Archive(path).pictures() == [name for name, _ in FOUR]
    assert archive.Archive(path).folders() == ["cat", "dog"]


def test_of_two_members_of_one_name_the_last_counts(tmp_path):
    path = tar_of(tmp_path / "x.tar", [*FOUR, ("cat/0.png", png((200, 0, 0)))])
    tree = archive.Archive(path)
    assert tree.pictures() == [name for name, _ in FOUR]
    assert data.load_picture(tree.find("cat/0.png"), 8)[0].min() == 200


@pytest.mark.parametrize("ending", [".tar", ".tgz"])
def test_an_empty_class_in_an_archive_is_noticed(tmp_path, ending):
    make_classes(tmp_path / "set", {"cat": 2, "dog": 2})
    (tmp_path / "set" / "owl").mkdir()
    refused(pack(tmp_path / "set", ending), f"set{ending}/owl: a class without a picture")


def test_a_cut_archive_is_never_taken_for_a_whole_one(tmp_path):
    whole = tar_of(tmp_path / "x.tar", FOUR).read_bytes()
    end = len(whole.rstrip(b"\0")) + 512  # and a block of zeros behind the last picture's last block
    for length in range(0, end, 256):
        (tmp_path / "cut.tar").write_bytes(whole[:length])
        refused(tmp_path / "cut.tar", "cut.tar: ")


def test_a_cut_compressed_archive_is_never_taken_for_a_whole_one(tmp_path):
    whole = tar_of(tmp_path / "x.tgz", FOUR, "w:gz").read_bytes()
    for length in (*range(2, len(whole), 37), len(whole) - 1):
        (tmp_path / "cut.tgz").write_bytes(whole[:length])
        refused(tmp_path / "cut.tgz", "cut.tgz: ")


@pytest.mark.parametrize("ending", [".tar", ".tgz"])
def test_a_damaged_header_is_not_taken_for_the_end(tmp_path, ending):
    whole = bytearray(tar_of(tmp_path / "x.tar", FOUR).read_bytes())
    third = whole.index(b"dog/0.png")
    whole[third:third + 400] = b"?" * 400
    (tmp_path / f"y{ending}").write_bytes(bytes(whole) if ending == ".tar" else gzip.compress(bytes(whole)))
    refused(tmp_path / f"y{ending}", f"y{ending}: cannot be read, not a .tar or .tar.gz archive or a damaged one (",
            f"damaged or cut short at byte {third:,}")


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8bno archive", gzip.compress(b"no archive", mtime=0),
                                     bytes(9)])
@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_what_is_no_archive_is_refused(tmp_path, content, ending):
    (tmp_path / f"x{ending}").write_bytes(content)
    refused(tmp_path / f"x{ending}", f"x{ending}: ", "archive")


def test_a_compressed_archive_that_is_too_large_is_refused(tmp_path, monkeypatch):
    path = tar_of(tmp_path / "x.tgz", FOUR, "w:gz")
    monkeypatch.setattr(archive, "MAX_IN_MEMORY", 80_000)
    archive.Archive(path)
    monkeypatch.setattr(archive, "MAX_IN_MEMORY", 3000)
    refused(path, f"{path}: unpacks to more than 0.0 GiB", "unpack it first, and give the folder")


def test_sizes_are_checked_before_memory_is_taken(tmp_path, monkeypatch):
    """One member that says it has 64 GiB; a header that says it goes on for 64 MB of zeros, 64 kB compressed."""
    huge = tarfile.TarInfo("cat/huge.png")
    huge.size = 64 * 2**30
    (tmp_path / "huge.tgz").write_bytes(gzip.compress(huge.tobuf() + b"\0" * 4096))
    refused(tmp_path / "huge.tgz", "unpacks to more than 2.0 GiB")
    monkeypatch.setattr(archive, "MAX_IN_MEMORY", 2**22)
    long = tarfile.TarInfo("././@PaxHeader")
    long.type, long.size = tarfile.XHDTYPE, 64 * 2**20
    (tmp_path / "long.tgz").write_bytes(gzip.compress(long.tobuf() + b"\0" * long.size))
    refused(tmp_path / "long.tgz", "unpacks to more than")


def test_a_huge_picture_in_a_plain_archive_is_refused_by_its_size(tmp_path, monkeypatch):
    path = tar_of(tmp_path / "x.tar", FOUR)
    monkeypatch.setattr(archive, "MAX_BYTES", 10)
    tree = archive.Archive(path)
    assert "are more than 10" in message(data.UnreadablePicture, data.load_picture, tree.find("cat/0.png"), 8)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_folders_may_be_nested_as_deep_as_a_name_allows(tmp_path, mode):
    deep = "cat/" + "d/" * 1500 + "x.png"
    path = tar_of(tmp_path / ("x.tar" if mode == "w" else "x.tgz"), [*FOUR, (deep, png())], mode)
    split = data.open_source(path, 8).train
    assert archive.Archive(path).pictures()[-1] == "dog/1.png" and deep in archive.Archive(path).pictures("cat")
    assert split.read(np.arange(len(split)))[1].all()


def test_names_that_go_on_for_ever_are_refused(tmp_path):
    path = tar_of(tmp_path / "x.tar", [*FOUR, ("cat/" + "d/" * 10_000 + "x.png", png())])
    refused(path, f"{path}: cannot be read", "a name of 20,009 characters")


@pytest.mark.parametrize("ending", [".tar", ".tgz"])
@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_headers_of_headers_of_headers_are_refused(tmp_path, ending, kind):
    """Each says that the next is about the one after it; tarfile calls itself for each."""
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 0
    content = header.tobuf() * 3000 + tarfile.TarInfo("cat/x.png").tobuf() + bytes(1024)
    (tmp_path / f"x{ending}").write_bytes(gzip.compress(content) if ending == ".tgz" else content)
    refused(tmp_path / f"x{ending}", f"{tmp_path}/x{ending}: ", "cannot be read")


def test_the_archive_of_cifar_10_as_pictures():
    if not CIFAR.exists():
        pytest.skip("../shared/data/cifar10-images.tar.gz, beside the repository, is not there")
    source = data.open_source(str(CIFAR), 32, quiet=True)
    assert source.class_names[0] == "airplane" and len(source.class_names) == 10
    assert np.bincount(source.train.labels).tolist() == [5000] * 10
    assert np.bincount(source.test.labels).tolist() == [1000] * 10
    some = np.arange(0, 50_000, 5000)
    shown, readable = source.train.read(some)
    assert readable.all() and 90 < shown.mean() < 150
    with tarfile.open(CIFAR) as tar:
        content = tar.extractfile(source.train.names[0]).read()
    np.testing.assert_array_equal(shown[0], data.load_picture(io.BytesIO(content), 32))


# ---- CIFAR-10, binary -----------------------------------------------------------------------------------------------
CLASSES = ["airplane", "automobile", "bird"]


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """The unpacked folder, of 20 records a file; records, the folder."""
    monkeypatch.setattr(cifar10, "RECORDS", 20)
    records = np.random.default_rng(0).integers(0, 256, (6, 20, 3073), dtype=np.uint8)
    records[:, :, 0] %= 3
    folder = tmp_path / "data" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for name, content in zip([*cifar10.TRAIN, *cifar10.TEST], records):
        (folder / name).write_bytes(content.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n\n")
    return records, folder


def pack_cifar(folder, name="cifar-10-binary.tar.gz"):
    path = folder.parent / name
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, "cifar-10-batches-bin")
    return path


def test_the_binary_cifar_10_is_read_byte_by_byte(cifar):
    records, folder = cifar
    source = data.open_source(str(folder), 32)
    assert (source.name, source.class_names) == ("CIFAR-10", CLASSES)
    for split, part in ((source.train, records[:5].reshape(-1, 3073)), (source.test, records[5])):
        np.testing.assert_array_equal(split.labels, part[:, 0])
        np.testing.assert_array_equal(read_all(split), part[:, 1:].reshape(-1, 3, 32, 32))
    assert source.train.names[21] == "data_batch_2.bin/1" and source.test.names[3] == "test_batch.bin/3"
    check_contract(source, 32)


def test_the_forms_of_cifar_10_are_alike(cifar, tmp_path):
    _, folder = cifar
    source = data.open_source(str(folder), 16)
    check_contract(source)
    same(source, data.open_source(str(folder.parent), 16))
    path = pack_cifar(folder)
    same(source, data.open_source(path, 16))
    same(source, data.open_source(pack_cifar(folder, "renamed.tgz"), 16))
    (tmp_path / "other").mkdir()
    shutil.copy(path, tmp_path / "other")
    same(source, data.open_source(str(tmp_path / "other"), 16))


@pytest.mark.parametrize("size", [16, 64])
def test_cifar_10_is_scaled_like_any_picture(cifar, tmp_path, size):
    records, folder = cifar
    picture = records[0, 7, 1:].reshape(3, 32, 32)
    Image.fromarray(picture.transpose(1, 2, 0)).save(tmp_path / "x.png")
    shown, _ = data.open_source(str(folder), size).train.read(np.array([7]))
    np.testing.assert_array_equal(shown[0], data.load_picture(tmp_path / "x.png", size))


@pytest.mark.parametrize("as_archive", [False, True])
@pytest.mark.parametrize("spoil, expected", [
    (lambda folder: (folder / "data_batch_3.bin").unlink(), "data_batch_3.bin: cannot be read"),
    (lambda folder: (folder / "test_batch.bin").unlink(), "test_batch.bin: cannot be read"),
    (lambda folder: (folder / "batches.meta.txt").unlink(), "batches.meta.txt: cannot be read"),
    (lambda folder: (folder / "batches.meta.txt").write_text("\n"), "batches.meta.txt: no list of classes"),
    (lambda folder: (folder / "batches.meta.txt").write_text("x" * 20_000), "20,000 bytes; the list of ten classes"),
    (lambda folder: (folder / "batches.meta.txt").write_text("cat\ndog"), "has the label 2, but there are 2 classes"),
    (lambda folder: os.truncate(folder / "data_batch_5.bin", 5), "data_batch_5.bin: 5 bytes; 20 pictures of 3,073 "
                                                                 "bytes are 61,460"),
    (lambda folder: (folder / "data_batch_1.bin").write_bytes(bytes(61_461)), "data_batch_1.bin: 61,461 bytes; 20 "),
], ids=range(8))
def test_a_broken_cifar_10_gets_one_line(cifar, spoil, expected, as_archive):
    _, folder = cifar
    spoil(folder)
    refused(pack_cifar(folder) if as_archive else folder, expected, folder.parent)


def test_a_cut_cifar_10_gets_one_line(cifar):
    path = pack_cifar(cifar[1])
    os.truncate(path, path.stat().st_size // 2)
    refused(path, f"{path}: cannot be read")


def test_the_pickled_cifar_10_is_not_read(tmp_path, monkeypatch):
    folder = tmp_path / "set" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    (folder / "data_batch_1").write_bytes(b"cos\nsystem\n(S'touch pickled'\ntR.")
    monkeypatch.chdir(tmp_path)
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(folder, "cifar-10-batches-py")
    shutil.copy(tmp_path / "cifar-10-python.tar.gz", tmp_path / "renamed.tar.gz")
    for path in (folder, tmp_path / "set", tmp_path / "cifar-10-python.tar.gz", tmp_path / "renamed.tar.gz", tmp_path):
        refused(path, "is pickled", "take the binary version, cifar-10-binary.tar.gz", "download cifar10")
    assert not (tmp_path / "pickled").exists()


# ---- pictures by class, for the two ImageNets -----------------------------------------------------------------------
WNIDS = ["n01440764", "n01443537", "n02012849", "n03126707"]       # in the order of their ranks
WORDS = ["tench, Tinca tinca", "goldfish, Carassius auratus", "crane", "crane"]
NAMES = ["tench, Tinca tinca", "goldfish, Carassius auratus", "crane (n02012849)", "crane (n03126707)"]
IDS = [3, 1, 4, 2]                                                 # of the devkit: another order altogether
VAL = [2, 0, 3, 3, 1, 0, 2]                                        # rank of validation picture 1, 2, …


def jpeg(path, rank, grey=False):
    """A real JPEG file whose brightness says of which class it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if grey else "RGB", (24, 20), 60 * rank + 10 if grey else (60 * rank + 10, 90, 200)).save(
        path, "JPEG", quality=95)


def check_labels(source, names=None):
    """Every label is the one that the picture itself shows, and every class has pictures."""
    for split in (source.train, source.test):
        shown = np.rint((read_all(split)[:, 0].mean(axis=(1, 2)) - 10) / 60)
        np.testing.assert_array_equal(split.labels, shown)
        assert set(split.labels.tolist()) == {0, 1, 2, 3}
    assert source.class_names == (names or NAMES)
    check_contract(source)


# ---- Tiny ImageNet --------------------------------------------------------------------------------------------------
@pytest.fixture
def tiny(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    for rank, wnid in enumerate(WNIDS):
        for i in range(3):
            jpeg(root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", rank)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t10\t63\t58\n")
    for i, rank in enumerate(VAL):
        jpeg(root / "val" / "images" / f"val_{i}.JPEG", rank)
    jpeg(root / "test" / "images" / "test_0.JPEG", 0)
    lines = [f"val_{i}.JPEG\t{WNIDS[rank]}\t0\t32\t44\t62\n" for i, rank in enumerate(VAL)]
    (root / "val" / "val_annotations.txt").write_text("".join(reversed(lines)))
    (root / "wnids.txt").write_text("\n".join(reversed(WNIDS)))     # as in the real one, in no order
    (root / "words.txt").write_text("n00001740\tentity\n" + "".join(f"{a}\t{b}\n" for a, b in zip(WNIDS, WORDS)))
    return root


def test_tiny_imagenet(tiny):
    source = data.open_source(str(tiny), 16)
    check_labels(source)
    assert (len(source.train), len(source.test), source.name) == (12, 7, "Tiny ImageNet")
    assert source.train.names[0] == "train/n01440764/images/n01440764_0.JPEG"
    assert source.test.names[6] == "val/images/val_6.JPEG"
    same(source, data.open_source(str(tiny.parent), 16))


def test_grey_pictures_of_tiny_imagenet_become_rgb(tiny):
    jpeg(tiny / "train" / WNIDS[2] / "images" / "n02012849_1.JPEG", 2, grey=True)
    source = data.open_source(str(tiny), 16)
    check_labels(source)
    shown = read_all(source.train)[7]
    np.testing.assert_array_equal(shown[0], shown[1])


@pytest.mark.parametrize("name", ["wnids.txt", "words.txt", "val/val_annotations.txt", "train", "val/images"])
def test_a_half_complete_tiny_imagenet_gets_one_line(tiny, name):
    shutil.rmtree(tiny / name) if (tiny / name).is_dir() else (tiny / name).unlink()
    refused(tiny, f"{tiny / name}: is missing from Tiny ImageNet; unpack its zip again")


@pytest.mark.parametrize("spoil, expected", [
    (lambda root: (root / "val" / "images" / "val_3.JPEG").unlink(), "only one of them has 'val/images/val_3.JPEG'"),
    (lambda root: jpeg(root / "val" / "images" / "val_9.JPEG", 0), "only one of them has 'val/images/val_9.JPEG'"),
    (lambda root: shutil.rmtree(root / "train" / WNIDS[1]), "train/ and wnids.txt have different classes; only one of "
                                                            "them has 'n01443537'"),
    (lambda root: shutil.rmtree(root / "train" / WNIDS[1] / "images"), "n01443537: a class without a picture"),
    (lambda root: (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn99999999\t0\n"),
     "val_annotations.txt: line 1 is not a picture and one of the 4 classes"),
    (lambda root: (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\n"), "line 1 is not"),
], ids=range(6))
def test_a_broken_tiny_imagenet_gets_one_line(tiny, spoil, expected):
    spoil(tiny)
    refused(tiny, expected, tiny)


# ---- ILSVRC-2012 ----------------------------------------------------------------------------------------------------
def val_name(number):
    return f"ILSVRC2012_val_{number:08}.JPEG"


class Set:
    """A small ILSVRC-2012, made piece by piece in the form that a test asks for."""

    def __init__(self, root):
        self.root = root
        root.mkdir()

    def train_folders(self, at="train"):
        for rank, wnid in enumerate(WNIDS):
            for i in range(3):
                jpeg(self.root / at / wnid / f"{wnid}_{10 * i}.JPEG", rank)

    def train_tar(self):
        self.train_folders(".unpacked")
        members = []
        for wnid in reversed(WNIDS):                               # the official one is not sorted either
            folder = self.root / ".unpacked" / wnid
            inner = tar_of(self.root / ".inner", [(file.name, file.read_bytes()) for file in folder.iterdir()])
            members.append((f"{wnid}.tar", inner.read_bytes()))
            inner.unlink()
        shutil.rmtree(self.root / ".unpacked")
        tar_of(self.root / "ILSVRC2012_img_train.tar", members)

    def val_folders(self):
        for number, rank in enumerate(VAL, 1):
            jpeg(self.root / "val" / WNIDS[rank] / val_name(number), rank)

    def val_flat(self, at="val"):
        for number, rank in enumerate(VAL, 1):
            jpeg(self.root / at / val_name(number), rank)

    def val_tar(self):
        self.val_flat(".unpacked")
        names = sorted(os.listdir(self.root / ".unpacked"), reverse=True)
        tar_of(self.root / "ILSVRC2012_img_val.tar",
               [(name, (self.root / ".unpacked" / name).read_bytes()) for name in names])
        shutil.rmtree(self.root / ".unpacked")

    def devkit(self):
        """As the official one: ids 1 to 1000 are the classes, those above them the nodes over the classes."""
        scipy_io = pytest.importorskip("scipy.io")
        folder = self.root / "ILSVRC2012_devkit_t12" / "data"
        folder.mkdir(parents=True)
        kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O"),
                ("children", "O"), ("wordnet_height", "O"), ("num_train_images", "O")]
        rows = sorted(zip(IDS, WNIDS, WORDS))
        synsets = np.empty((len(rows) + 2, 1), kind)
        for i, (number, wnid, words) in enumerate(rows):
            synsets[i, 0] = (float(number), wnid, words, "what it is", 0.0, np.zeros((1, 0)), 0.0, 1300.0)
        synsets[4, 0] = (5.0, "n00001740", "entity", "that which is", 2.0, np.array([[1.0, 2.0]]), 1.0, 0.0)
        synsets[5, 0] = (6.0, "n02512053", "fish", "with scales", 1.0, np.array([[3.0]]), 1.0, 0.0)
        scipy_io.savemat(folder / "meta.mat", {"synsets": synsets})
        (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{IDS[rank]}\n" for rank in VAL))

    def devkit_tar(self):
        self.devkit()
        folder = self.root / "ILSVRC2012_devkit_t12"
        with tarfile.open(f"{folder}.tar.gz", "w:gz") as tar:
            tar.add(folder, folder.name)
        shutil.rmtree(folder)

    def csv(self, at="."):
        rows = [f"{val_name(number)[:-5]},{WNIDS[rank]} 85 1 499 272 {WNIDS[rank]} 1 2 3 4 \n"
                for number, rank in enumerate(VAL, 1)]
        (self.root / at / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(reversed(rows)))

    def val_txt(self):
        lines = [f"{val_name(number)} {rank}\n" for number, rank in enumerate(VAL, 1)]
        (self.root / "val.txt").write_text("".join(reversed(lines)))

    def synsets(self, name="LOC_synset_mapping.txt"):
        (self.root / name).write_text("".join(f"{wnid} {words}\n" for wnid, words in zip(WNIDS, WORDS)))


@pytest.fixture
def small(tmp_path):
    return Set(tmp_path / "imagenet")


@pytest.mark.parametrize("labels", ["devkit", "devkit_tar", "csv", "val_txt"])
@pytest.mark.parametrize("val", ["val_flat", "val_tar"])
@pytest.mark.parametrize("train", ["train_folders", "train_tar"])
def test_ilsvrc_with_a_flat_val(small, train, val, labels):
    for piece in (train, val, labels):
        getattr(small, piece)()
    before = sorted(small.root.rglob("*"))
    source = data.open_source(str(small.root), 16)
    check_labels(source, NAMES if "devkit" in labels else WNIDS)
    assert source.train.names == [f"train/{wnid}/{wnid}_{i}.JPEG" for wnid in WNIDS for i in (0, 10, 20)]
    assert source.test.names == [f"val/{val_name(number)}" for number in range(1, len(VAL) + 1)]
    assert sorted(small.root.rglob("*")) == before and source.name == "imagenet"


@pytest.mark.parametrize("train", ["train_folders", "train_tar"])
@pytest.mark.parametrize("words", [None, "synsets", "devkit", "devkit_tar"])
def test_ilsvrc_with_class_folders_in_val(small, train, words):
    for piece in filter(None, (train, "val_folders", words)):
        getattr(small, piece)()
    source = data.open_source(str(small.root), 16)
    check_labels(source, NAMES if words else WNIDS)
    assert source.test.names[0] == f"val/{WNIDS[0]}/{val_name(2)}"


def test_kaggles_tree_from_three_places(tmp_path):
    small = Set(tmp_path / "kaggle")
    place = "ILSVRC/Data/CLS-LOC"
    small.train_folders(f"{place}/train")
    small.val_flat(f"{place}/val")
    small.val_flat(f"{place}/test")
    small.csv()
    small.synsets()
    source = data.open_source(str(small.root), 16)
    check_labels(source)
    assert source.train.names[0] == "train/n01440764/n01440764_0.JPEG"
    for below in ("ILSVRC", place):
        same(source, data.open_source(str(small.root / below), 16))
    (small.root / "LOC_val_solution.csv").unlink()
    refused(small.root, "val has no folders for the classes, and there is none of LOC_val_solution.csv, val.txt")


def test_the_words_of_caffe(small):
    for piece in ("train_folders", "val_flat", "val_txt"):
        getattr(small, piece)()
    small.synsets("synset_words.txt")
    check_labels(data.open_source(str(small.root), 16))


def test_a_val_txt_in_val_and_with_folders(small):
    small.train_folders()
    small.val_flat()
    (small.root / "val" / "val.txt").write_text(
        "".join(f"val/{val_name(number)} {rank}\n" for number, rank in enumerate(VAL, 1)))
    check_labels(data.open_source(str(small.root), 16), WNIDS)


def test_folders_of_wnids_with_test_are_folders_as_any(small):
    small.train_folders()
    small.train_folders("test")
    assert data.open_source(str(small.root), 16).test.names[0].startswith("test/")


def test_a_train_tar_is_read_where_it_lies(small):
    small.train_tar()
    tree = archive.Archive(small.root / "ILSVRC2012_img_train.tar", at="train", inner=True)
    whole = (small.root / "ILSVRC2012_img_train.tar").read_bytes()
    for name in tree.pictures("train"):
        offset, size = tree.find(name).place
        assert whole[offset:offset + 3] == b"\xff\xd8\xff" and whole[offset + size - 2:offset + size] == b"\xff\xd9"


def test_a_cut_train_tar_is_never_taken_for_a_whole_one(small):
    small.train_tar()
    small.val_tar()
    small.val_txt()
    path = small.root / "ILSVRC2012_img_train.tar"
    whole = path.read_bytes()
    for length in range(0, len(whole.rstrip(b"\0")), 1280):
        path.write_bytes(whole[:length])
        refused(small.root, f"{path}: ")


def rewrite(name, change):
    def spoil(small):
        path = small.root / name
        path.write_text(change(path.read_text()))
    return spoil


def remove(name):
    def spoil(small):
        path = small.root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return spoil


TRUTH, META = ("ILSVRC2012_devkit_t12/data/" + name for name in ("ILSVRC2012_validation_ground_truth.txt", "meta.mat"))
BROKEN = [
    ("folders flat csv", remove("val"), "imagenet: has neither val/ nor ILSVRC2012_img_val.tar"),
    ("folders tar csv", remove("ILSVRC2012_img_val.tar"), "has neither val/ nor ILSVRC2012_img_val.tar"),
    ("tar tar csv", remove("ILSVRC2012_img_train.tar"), "has neither train/ nor ILSVRC2012_img_train.tar"),
    ("tar flat csv", lambda small: small.train_folders(), "has both train/ and ILSVRC2012_img_train.tar; move one of "),
    ("folders flat csv", lambda small: small.val_tar(), "has both val/ and ILSVRC2012_img_val.tar; move one of"),
    ("folders flat csv", remove("LOC_val_solution.csv"), "imagenet: val has no folders for the classes, and there is "
     "none of LOC_val_solution.csv, val.txt, ILSVRC2012_devkit_t12/ and ILSVRC2012_devkit_t12.tar.gz"),
    ("tar tar devkit", remove("ILSVRC2012_devkit_t12"), "there is none of LOC_val_solution.csv"),
    ("folders flat csv", remove(f"val/{val_name(4)}"), "val: 6 pictures, but "),
    ("folders flat csv", rewrite("LOC_val_solution.csv", lambda text: text.rstrip("\n").rpartition("\n")[0]),
     f"LOC_val_solution.csv: no label for val/{val_name(1)}"),
    ("folders flat csv", rewrite("LOC_val_solution.csv", lambda text: text.replace(WNIDS[1], "n99999999")),
     "LOC_val_solution.csv: n99999999 is not among the 4 classes of train"),
    ("folders flat csv", rewrite("LOC_val_solution.csv", lambda text: text + "broken\n"), "line 9 is not a picture"),
    ("folders flat val_txt", rewrite("val.txt", lambda text: text.replace(".JPEG 3", ".JPEG 4")), "number from 0 to 3"),
    ("folders flat val_txt", rewrite("val.txt", lambda text: text.replace(".JPEG 3", "")), "val.txt: line 4 is not a "),
    ("folders flat val_txt", rewrite("val.txt", lambda text: text.replace(".JPEG 3", ".JPEG -1")), "val.txt: line 4 "),
    ("folders flat devkit", remove(TRUTH), "there is no data/ILSVRC2012_validation_ground_truth.txt in it"),
    ("folders flat devkit", remove(META), "ILSVRC2012_devkit_t12: there is no data/meta.mat in it"),
    ("folders flat devkit", rewrite(TRUTH, lambda text: text.replace("4", "5")), "line 1 of ILSVRC2012_validation_"
     "ground_truth.txt is '5', which is no class in meta.mat"),
    ("folders flat devkit", rewrite(TRUTH, lambda text: text + "1\n"), "val: 7 pictures, but "),
    ("folders flat devkit", rewrite(TRUTH, lambda text: text[:-2]), f"no label for val/{val_name(7)}"),
    ("folders flat devkit", lambda small: (small.root / META).write_bytes(b"no such thing" * 99), "meta.mat cannot "),
    ("folders flat devkit", remove(f"train/{WNIDS[1]}"), f"{WNIDS[1]} is not among the 3 classes of train"),
    ("folders folders", remove(f"val/{WNIDS[1]}"),
     f"train and val have different classes; only one of them has '{WNIDS[1]}'"),
    ("folders folders", remove(f"train/{WNIDS[1]}/{WNIDS[1]}_0.JPEG"), None),
    ("folders folders", lambda small: (small.root / "train" / "n09999999").mkdir(),
     "n09999999: a class without a picture"),
    ("folders folders", lambda small: jpeg(small.root / "train" / "zebra" / "x.jpg", 0), "zebra: not a class of Im"),
    ("folders flat csv", lambda small: [file.unlink() for file in (small.root / "val").iterdir()], "val: no pictures"),
    ("tar flat csv", lambda small: tar_of(small.root / "ILSVRC2012_img_train.tar", FOUR), "expected one .tar for each "
     "class in it, and found 'cat/0.png'"),
    ("tar tar csv", lambda small: (small.root / "ILSVRC2012_img_val.tar").write_bytes(b"x" * 999), "cannot be read, "),
]


@pytest.mark.parametrize("pieces, spoil, expected", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_ilsvrc_gets_one_line(small, pieces, spoil, expected):
    train, val, *labels = pieces.split()
    for piece in (f"train_{train}", f"val_{val}", *labels):
        getattr(small, piece)()
    spoil(small)
    if expected is None:  # what is no fault: fewer pictures to learn from
        assert len(data.open_source(str(small.root), 16).train) == 11
    else:
        refused(small.root, expected, small.root)


def test_a_half_unpacked_train_is_refused(small):
    small.val_folders()
    (small.root / "train").mkdir()
    (small.root / "train" / "n01440764.tar").write_bytes(b"")
    refused(small.root, f"{small.root}/train/n01440764.tar: unpack each of these files into a folder of its name")


def test_one_of_the_tars_alone_is_refused(small):
    small.train_tar()
    refused(small.root / "ILSVRC2012_img_train.tar", "give the folder that holds it, together with")


def test_without_scipy_the_devkit_gets_one_line(small, monkeypatch):
    for piece in ("train_folders", "val_flat", "devkit"):
        getattr(small, piece)()
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    refused(small.root, "scipy is needed: pip install -e '.[imagenet]'")


def test_the_meta_mat_of_the_devkit_is_read_without_the_nodes_above(small):
    small.devkit()
    rows = imagenet.read_meta(str(small.root / "ILSVRC2012_devkit_t12"))
    assert sorted(rows) == sorted(zip(IDS, WNIDS, WORDS))


def test_a_huge_list_of_labels_is_not_read(small, monkeypatch):
    for piece in ("train_folders", "val_flat", "csv"):
        getattr(small, piece)()
    monkeypatch.setattr("tinynet.data.imagenet.MAX_TEXT", 100)
    refused(small.root, "LOC_val_solution.csv: ", "bytes are more than 100")


def test_paths_may_be_of_any_kind(small):
    for piece in ("train_folders", "val_folders"):
        getattr(small, piece)()
    same(data.open_source(pathlib.Path(small.root), 16), data.open_source(f"{small.root}/", 16))
