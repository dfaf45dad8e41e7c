"""Pictures in, batches out: what is read, what is refused and in which words, and that a seed fixes all chance."""

import errno
import io
import itertools
import os
import pathlib
import struct
import subprocess
import sys
import tarfile
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tinynet import data
from tinynet.data.embedded import CLASS_NAMES, EmbeddedSource, draw_figure
from tinynet.data.folder import Folder, split_classes

ROOT = pathlib.Path(__file__).parents[1]
CIFAR = ROOT / "../shared/data/cifar10-images.tar.gz"


def save(path, colour=(200, 100, 50), size=(20, 20), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)
    return path


def make_classes(root, counts, size=(20, 20)):
    """A folder of class folders; every picture has a colour of its own: red counts the pictures, green the classes."""
    for number, (name, count) in enumerate(counts.items()):
        for i in range(count):
            save(root / name / f"{i:03}.png", (10 * i, 40 * number, 7), size)
    return str(root)


def training(split, batch_size):
    statistics = data.Statistics(np.zeros((3, 16, 16), np.float32), np.eye(3))
    return data.TrainingBatches(split, batch_size, 12, statistics, np.random.default_rng(0))


def message(error, function, *args):
    """The text of the error that function(*args) raises; one line, whatever happens."""
    with pytest.raises(error) as caught:
        function(*args)
    text = str(caught.value)
    assert text and "\n" not in text
    return text


def in_time(function, seconds=10):
    """function(), or a failure where it would hang. An exception in it is raised here."""
    result = []

    def call():
        try:
            result.append((function(), None))
        except BaseException as error:
            result.append((None, error))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    assert result, "it hangs"
    value, error = result[0]
    if error is not None:
        raise error
    return value


# ---- one picture ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("extension", ["bmp", "gif", "jfif", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp",
                                       "JPG", "PNG"])
def test_every_common_format_is_read(tmp_path, extension):
    path = save(tmp_path / f"x.{extension}", size=(30, 24))
    picture = data.load_picture(path, 16)
    assert picture.shape == (3, 16, 16) and picture.dtype == np.uint8 and picture.flags.c_contiguous
    np.testing.assert_allclose(picture.reshape(3, -1).mean(1), (200, 100, 50), atol=6)
    assert Folder(tmp_path).pictures() == [path.name]


@pytest.mark.parametrize("mode, expected", [
    ("L", (124, 124, 124)), ("LA", (124, 124, 124)), ("P", (200, 100, 50)), ("RGBA", (200, 100, 50)),
    ("CMYK", (200, 100, 50)), ("YCbCr", (200, 100, 50))])
def test_every_mode_becomes_rgb(tmp_path, mode, expected):
    Image.new("RGB", (20, 20), (200, 100, 50)).convert(mode).save(tmp_path / "x.tif")
    picture = data.load_picture(tmp_path / "x.tif", 10)
    np.testing.assert_allclose(picture.reshape(3, -1).mean(1), expected, atol=3)


def test_black_and_white_stays_so(tmp_path):
    Image.new("1", (20, 20), 1).save(tmp_path / "x.png")
    assert (data.load_picture(tmp_path / "x.png", 10) == 255).all()


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    steep = np.repeat(np.arange(20, dtype=np.uint16)[None] * 3000, 20, axis=0)   # 0 to 57000, left to right
    for name in ("x.png", "x.tif"):
        Image.fromarray(steep).save(tmp_path / name)
        picture = data.load_picture(tmp_path / name, 20)
        assert (np.abs(picture.astype(int) - steep // 256) <= 1).all()


def test_dark_sixteen_bits_stay_dark(tmp_path):
    Image.fromarray(np.full((20, 20), 200, np.uint16)).save(tmp_path / "x.png")
    assert data.load_picture(tmp_path / "x.png", 10).max() <= 1


def test_what_is_transparent_shows_white(tmp_path):
    Image.new("RGBA", (20, 20), (200, 100, 50, 0)).save(tmp_path / "rgba.png")
    assert (data.load_picture(tmp_path / "rgba.png", 10) == 255).all()
    palette = Image.new("P", (20, 20), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    palette.save(tmp_path / "p.png", transparency=1)
    assert (data.load_picture(tmp_path / "p.png", 10) == 255).all()


def test_a_cameras_rotation_is_undone(tmp_path):
    image = Image.new("RGB", (40, 40), (0, 0, 0))
    image.paste((250, 0, 0), (0, 0, 40, 20))                                     # red above
    exif = Image.Exif()
    exif[0x0112] = 6                                                             # to be shown turned clockwise
    image.save(tmp_path / "x.jpg", exif=exif, quality=95)
    picture = data.load_picture(tmp_path / "x.jpg", 20)
    assert picture[0, :, 12:].min() > 200 and picture[0, :, :8].max() < 50       # red at the right


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 3)])
def test_tiny_and_thin_pictures_are_enlarged(tmp_path, size):
    picture = data.load_picture(save(tmp_path / "x.png", size=size), 24)
    assert (picture == np.array([200, 100, 50])[:, None, None]).all() and picture.shape == (3, 24, 24)


@pytest.mark.parametrize("turned", [False, True])
def test_the_shorter_side_is_scaled_and_the_middle_cut_out(tmp_path, turned):
    """Three squares side by side, red, green and blue: the green one is what remains. Nothing is squeezed."""
    image = Image.new("RGB", (90, 30))
    for i, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255)]):
        image.paste(colour, (30 * i, 0, 30 * i + 30, 30))
    if turned:
        image = image.transpose(Image.Transpose.ROTATE_90)
    image.save(tmp_path / "x.png")
    picture = data.load_picture(tmp_path / "x.png", 15)
    assert (picture[:, 2:-2, 2:-2] == np.array([0, 255, 0])[:, None, None]).all()   # at the rim neighbours mix in


def test_no_scaling_leaves_pixels_alone(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    np.testing.assert_array_equal(data.load_picture(tmp_path / "x.png", 12), pixels.transpose(2, 0, 1))


# ---- unreadable files ----------------------------------------------------------------------------------------------
def png_that_claims(width, height):
    """The head of a PNG file of any size, with no pixels behind it: a decompression bomb in 60 bytes."""
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"")


def truncated_jpeg():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG")
    return file.getvalue()[:len(file.getvalue()) // 2]


BROKEN = {
    "text": (b"this is no picture\n", "cannot identify"),
    "empty": (b"", "cannot identify"),
    "truncated": (truncated_jpeg(), "truncated"),
    "bomb": (png_that_claims(60_000, 60_000), "Image size (3600000000 pixels) exceeds limit"),
    "cut": (png_that_claims(20, 20), ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_says_why(tmp_path, name):
    content, reason = BROKEN[name]
    (tmp_path / "x.jpg").write_bytes(content)
    assert reason in message(data.UnreadablePicture, data.load_picture, tmp_path / "x.jpg", 16)


def test_a_missing_file_says_so(tmp_path):
    assert "x.jpg" in message(FileNotFoundError, data.load_picture, tmp_path / "x.jpg", 16)


def test_a_picture_file_never_starts_a_program(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *args, **options: started.append(args))
    Image.new("RGB", (20, 20)).save(tmp_path / "x.eps")
    (tmp_path / "x.eps").rename(tmp_path / "x.jpg")
    message(data.UnreadablePicture, data.load_picture, tmp_path / "x.jpg", 16)
    assert not started


def test_a_pipe_is_no_picture(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    in_time(lambda: message(data.UnreadablePicture, data.load_picture, tmp_path / "x.jpg", 16), 2)


@pytest.fixture
def broken_folder(tmp_path):
    """Six training pictures of each of two classes, and in the first class every broken file there is."""
    for part in ("train", "test"):
        make_classes(tmp_path / part, {"cat": 6, "dog": 6})
    for name, (content, _) in BROKEN.items():
        (tmp_path / "train" / "cat" / f"001-{name}.jpg").write_bytes(content)
    return tmp_path


def test_unreadable_pictures_are_left_out_and_named(broken_folder, capsys):
    split = data.open_source(str(broken_folder), 16).train
    assert len(split) == len(split.labels) == 12 + len(BROKEN) and split.unreadable == {}
    for _ in range(2):
        pictures, readable = split.read(np.arange(len(split)))
    assert [split.names[i] for i in np.flatnonzero(~readable)] == sorted(
        f"train/cat/001-{name}.jpg" for name in BROKEN)
    assert readable.dtype == bool and len(pictures) == readable.sum() == 12
    np.testing.assert_array_equal(pictures[:, 0, 0, 0], 10 * np.r_[0:6, 0:6])     # the others, in order, unshifted
    np.testing.assert_array_equal(pictures[:, 1, 0, 0], 40 * split.labels[readable])
    assert set(split.unreadable) == {split.names[i] for i in np.flatnonzero(~readable)}
    for name, reason in split.unreadable.items():
        assert BROKEN[pathlib.Path(name).stem.removeprefix("001-")][1] in reason
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped ")]
    assert len(lines) == len(BROKEN), "each file is named once, however often it was met"
    assert sorted(lines) == sorted(f"skipped {broken_folder / name}: {reason}"
                                   for name, reason in split.unreadable.items())


def test_quiet_names_nothing_but_still_counts(broken_folder, capsys):
    split = data.open_source(str(broken_folder), 16, quiet=True).train
    split.read(np.arange(len(split)))
    assert len(split.unreadable) == len(BROKEN) and capsys.readouterr() == ("", "")


def test_labels_stay_with_their_pictures_in_a_batch_with_broken_files(broken_folder):
    source = data.open_source(str(broken_folder), 16, quiet=True)
    batches = training(source.train, 5)
    seen = list(itertools.islice(batches, 4))                                      # one epoch: 17 files, 12 pictures
    assert sum(len(labels) for _, labels in seen) == 12
    for x, labels in seen:
        assert len(x) == len(labels)
        np.testing.assert_array_equal(x[:, 1, 0, 0], 40 * labels)


def test_a_read_of_broken_files_only_is_empty(broken_folder):
    split = data.open_source(str(broken_folder), 16, quiet=True).train
    bad = np.array([i for i, file in enumerate(split.names) if file.endswith(".jpg")])
    pictures, readable = split.read(bad)
    assert pictures.shape == (0, 3, 16, 16) and pictures.dtype == np.uint8 and not readable.any()


def test_pictures_that_vanish_end_the_training_with_a_line(tmp_path):
    """They are no broken pictures: to skip them all would be to train on less and less, and to say nothing."""
    source = data.open_source(make_classes(tmp_path / "set", {"cat": 4, "dog": 4}), 16, quiet=True)
    (tmp_path / "set").rename(tmp_path / "gone")
    batches = training(source.train, 4)
    try:
        text = message(data.DataLost, lambda: in_time(lambda: next(batches), 2))
        assert "No such file" in text and "was there at the start" in text and "--resume" in text
        assert any(text.startswith(f"{tmp_path / 'set' / name}: ") for name in source.train.names)
        assert source.train.unreadable == {}
    finally:
        (tmp_path / "gone").rename(tmp_path / "set")                               # so that a hanging thread can end


# ---- folders -------------------------------------------------------------------------------------------------------
def test_classes_are_numbered_by_name(tmp_path):
    source = data.open_source(make_classes(tmp_path / "set", {"owl": 5, "ant": 5, "Bee": 5}), 16)
    assert source.class_names == ["Bee", "ant", "owl"] and source.name == "set"
    for split, count in ((source.train, 4), (source.test, 1)):
        assert split.labels.dtype == np.int64 and split.labels.tolist() == [0] * count + [1] * count + [2] * count
        assert [name.split("/")[0] for name in split.names] == [
            source.class_names[label] for label in split.labels]


@pytest.mark.parametrize("part", ["test", "val"])
def test_a_given_split_is_kept(tmp_path, part):
    make_classes(tmp_path / "train", {"cat": 3, "dog": 2})
    make_classes(tmp_path / part, {"cat": 1, "dog": 1})
    source = data.open_source(str(tmp_path), 16)
    assert (len(source.train), len(source.test)) == (5, 2)
    assert source.train.names == ["train/cat/000.png", "train/cat/001.png", "train/cat/002.png", "train/dog/000.png",
                                  "train/dog/001.png"]
    assert source.test.names == [f"{part}/cat/000.png", f"{part}/dog/000.png"]


def test_a_fifth_of_each_class_is_the_test_set_by_the_seed(tmp_path):
    path = make_classes(tmp_path, {"cat": 20, "dog": 10, "owl": 2})
    first, again, other = (data.open_source(path, 16, seed) for seed in (0, 0, 1))
    assert first.train.names == again.train.names and first.test.names == again.test.names
    assert first.test.names != other.test.names
    assert np.bincount(first.test.labels).tolist() == [4, 2, 1]
    assert sorted(first.train.names + first.test.names) == Folder(path).pictures()
    assert not set(first.train.names) & set(first.test.names)


def test_the_split_does_not_depend_on_the_order_of_the_classes():
    counts = {"cat": 9, "dog": 9}
    files = {name: [f"{name}{i}" for i in range(count)] for name, count in counts.items()}
    turned = dict(reversed(files.items()))
    assert split_classes(files, np.random.default_rng(3)) == split_classes(turned, np.random.default_rng(3))


def test_what_is_no_picture_by_name_is_ignored(tmp_path):
    make_classes(tmp_path, {"cat": 2, "dog": 2})
    for name in ("notes.txt", ".hidden.png", "Thumbs.db", "png", "x.png.part"):
        (tmp_path / "cat" / name).write_text("no picture")
    (tmp_path / ".cache").mkdir()
    save(tmp_path / ".cache" / "x.png")
    save(tmp_path / "cat" / ".trash" / "x.png")
    save(tmp_path / "beside.png")
    source = data.open_source(str(tmp_path), 16)
    assert source.class_names == ["cat", "dog"]
    assert len(source.train) + len(source.test) == 4


def test_folders_inside_a_class_belong_to_it(tmp_path):
    make_classes(tmp_path, {"cat": 2, "dog": 2})
    save(tmp_path / "dog" / "images" / "deep" / "x.png")
    source = data.open_source(str(tmp_path), 16)
    assert np.bincount(source.train.labels).tolist() == [1, 2]


def test_loops_of_links_end(tmp_path):
    path = make_classes(tmp_path, {"cat": 2, "dog": 2})
    os.symlink(tmp_path, tmp_path / "cat" / "up")
    source = in_time(lambda: data.open_source(path, 16))
    assert len(source.train) + len(source.test) == 4


def test_a_class_may_be_a_link_to_a_folder(tmp_path):
    make_classes(tmp_path / "elsewhere", {"owl": 2})
    path = make_classes(tmp_path / "set", {"cat": 2})
    os.symlink(tmp_path / "elsewhere" / "owl", tmp_path / "set" / "owl")
    assert data.open_source(path, 16).class_names == ["cat", "owl"]


def test_reading_is_lazy(tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr("tinynet.data.files.load_picture",
                        lambda path, size, fit: loaded.append(path) or np.zeros((3, size, size), np.uint8))
    split = data.open_source(make_classes(tmp_path, {"cat": 5, "dog": 5}), 16).train
    assert not loaded
    split.read(np.array([1, 4]))
    assert sorted(loaded) == [str(tmp_path / split.names[1]), str(tmp_path / split.names[4])]


def test_order_is_what_was_asked_for(tmp_path):
    split = data.open_source(make_classes(tmp_path, {"cat": 10, "dog": 10}), 16).train
    asked = np.array([5, 9, 2, 2, 15, 0])
    pictures, readable = split.read(asked)
    assert readable.all()
    for picture, i in zip(pictures, asked):
        np.testing.assert_array_equal(picture, data.load_picture(tmp_path / split.names[i], 16))


def test_several_threads_may_read_at_once(broken_folder, capsys):
    split = data.open_source(str(broken_folder), 16).train
    alone, _ = data.open_source(str(broken_folder), 16, quiet=True).train.read(np.arange(len(split)))
    with ThreadPoolExecutor(8) as pool:
        for pictures, readable in pool.map(split.read, [np.arange(len(split))] * 16):
            np.testing.assert_array_equal(pictures, alone)
            assert readable.sum() == 12
    assert capsys.readouterr().err.count("skipped ") == len(split.unreadable) == len(BROKEN)


def test_a_file_that_several_threads_meet_at_once_is_named_once(broken_folder, capsys):
    class Slow(dict):
        def __contains__(self, name):
            there = super().__contains__(name)
            threading.Event().wait(0.05)                                           # for the others to ask too
            return there

    split = data.open_source(str(broken_folder), 16).train
    split.unreadable = Slow()
    bad = np.array([i for i, name in enumerate(split.names) if name.endswith("-text.jpg")])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(split.read, [bad] * 4))
    assert capsys.readouterr().err.count("skipped ") == 1


def test_on_many_cores_the_files_of_a_batch_are_shared_out(broken_folder, monkeypatch):
    """And what comes is the same, in the same order."""
    monkeypatch.setenv("TINYNET_THREADS", "1")
    one = data.open_source(str(broken_folder), 16, quiet=True).train
    expected, expected_readable = one.read(np.arange(len(one)))
    monkeypatch.setenv("TINYNET_THREADS", "64")
    many, busy = data.open_source(str(broken_folder), 16, quiet=True).train, set()
    load, number, together = many._load, itertools.count(), threading.Barrier(16)  # four batches at once: 64 threads

    def watched(name):
        busy.add(threading.current_thread())
        if next(number) < 16:
            together.wait(10)
        return load(name)

    many._load = watched
    pictures, readable = many.read(np.arange(len(many)))
    np.testing.assert_array_equal(pictures, expected)
    np.testing.assert_array_equal(readable, expected_readable)
    assert many.unreadable == one.unreadable and len(busy) == 16


@pytest.mark.parametrize("threads", ["1", "64"])
def test_an_error_in_a_thread_names_its_file(tmp_path, monkeypatch, threads):
    monkeypatch.setenv("TINYNET_THREADS", threads)
    split = data.open_source(make_classes(tmp_path, {"cat": 5, "dog": 5}), 16, quiet=True).train
    file = tmp_path / split.names[3]
    for error, expected, kind in ((MemoryError(), f"{file}: too little memory to decode it", MemoryError),
                                  (OSError(errno.EIO, "Input/output error"), f"{file}: Input/output error; ",
                                   data.DataLost)):
        def fail(path, size, fit, error=error):
            if path == str(file):
                raise error
            return np.zeros((3, size, size), np.uint8)
        monkeypatch.setattr("tinynet.data.files.load_picture", fail)
        assert message(kind, lambda: list(data.test_batches(split, 8, 12, np.zeros((3, 16, 16))))).startswith(expected)


@pytest.mark.parametrize("size", [0, -5, 10_001, 10**12, 10**30])
def test_pictures_of_an_absurd_size_are_refused_before_memory_is_taken(tmp_path, size):
    make_classes(tmp_path / "set", {"cat": 2, "dog": 2})
    for spec in ("embedded", str(tmp_path / "set")):
        assert "the side must be from 1 to 10,000" in message(data.DataError, data.open_source, spec, size)


def test_generated_pictures_that_do_not_fit_into_memory_get_one_line(monkeypatch):
    def full(*arguments, **options):
        raise MemoryError
    monkeypatch.setattr("tinynet.data.embedded.np.empty", full)
    assert message(data.DataError, data.open_source, "embedded", 9000, 0, True).startswith(
        "3,000 generated pictures of 9000 x 9000 pixels need 729 GB of memory, which is more than there is")


# ---- folders that cannot be used -----------------------------------------------------------------------------------
def no_folder(root):
    return ("there is no such folder; the data is a folder with one sub-folder for each class, or 'embedded'; "
            "python -m tinynet.data download cifar10 data fetches CIFAR-10")


def a_file(root):
    root.write_text("")
    return "is a file, not a folder"


def empty(root):
    root.mkdir()
    return f"no pictures in its sub-folders; expected {root}{os.sep}CLASS{os.sep}x.jpg"


def empty_classes(root):
    (root / "cat").mkdir(parents=True)
    (root / "dog").mkdir()
    return "no pictures in its sub-folders"


def pictures_without_classes(root):
    save(root / "x.jpg")
    return "no pictures in its sub-folders"


def only_text(root):
    (root / "cat").mkdir(parents=True)
    (root / "cat" / "x.txt").write_text("")
    return "no pictures in its sub-folders"


def one_class(root):
    make_classes(root, {"cat": 3})
    return "only one class, 'cat'; at least two are needed"


def one_class_in_train(root):
    make_classes(root / "train", {"cat": 3})
    make_classes(root / "test", {"cat": 3})
    return "only one class, 'cat'; at least two are needed"


def one_empty_class(root):
    make_classes(root, {"cat": 3, "dog": 3})
    (root / "owl").mkdir()
    return "owl: a class without a picture; fill the folder or remove it"


def one_picture(root):
    make_classes(root, {"cat": 3, "dog": 1})
    return "000.png: the only picture of class 'dog'; at least two are needed, one of them for testing"


def train_alone(root):
    make_classes(root / "train", {"cat": 2, "dog": 2})
    return "has train/ but neither test/ nor val/"


def unlike_classes(root):
    make_classes(root / "train", {"cat": 2, "dog": 2})
    make_classes(root / "val", {"cat": 2, "owl": 2})
    return "train/ and val/ have different classes; only one of them has 'dog'"


def nothing_to_test(root):
    make_classes(root / "train", {"cat": 2, "dog": 2})
    (root / "test").mkdir()
    return f"{os.sep}test: no pictures in its sub-folders"


UNUSABLE = [no_folder, a_file, empty, empty_classes, pictures_without_classes, only_text, one_class, one_class_in_train,
            one_empty_class, one_picture, train_alone, unlike_classes, nothing_to_test]


@pytest.mark.parametrize("make", UNUSABLE, ids=lambda make: make.__name__)
def test_a_folder_that_cannot_be_used_gets_one_line_that_names_it(tmp_path, make):
    expected = make(tmp_path / "set")
    text = message(data.DataError, data.open_source, str(tmp_path / "set"), 16)
    assert expected in text and str(tmp_path / "set") in text


def test_no_usable_picture_gets_one_line(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(3):
            (tmp_path / name / f"{i}.jpg").write_text("no picture")
    split = data.open_source(str(tmp_path), 16, quiet=True).train
    assert message(data.DataError, data.compute_statistics, split, True) == "none of 4 pictures can be read"


def run_example(tmp_path, *arguments):
    return subprocess.run([sys.executable, str(ROOT / "examples" / "train_alexnet.py"), "--out", str(tmp_path / "out"),
                           "--steps", "1", *arguments], capture_output=True, text=True, timeout=120, cwd=ROOT,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})


def test_the_main_job_ends_with_one_line_and_code_2(tmp_path):
    ran = run_example(tmp_path, "--data", str(tmp_path / "nowhere"), "--quiet")
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
    assert ran.stderr.count("\n") == 1 and "there is no such folder" in ran.stderr


# ---- the generated pictures ---------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def drawn():
    return EmbeddedSource(48, seed=0, quiet=True, counts=(60, 40))


def test_the_generated_classes_are_balanced_and_complete(drawn):
    assert drawn.name == "embedded" and len(drawn.class_names) == 10 == len(set(drawn.class_names))
    assert drawn.class_names == sorted(drawn.class_names)
    for split, count in ((drawn.train, 6), (drawn.test, 4)):
        assert split.labels.dtype == np.int64 and np.bincount(split.labels).tolist() == [count] * 10
        pictures, readable = split.read(np.arange(len(split)))
        assert pictures.shape == (len(split), 3, 48, 48) and pictures.dtype == np.uint8 and readable.all()
        assert split.unreadable == {}


def test_a_generated_picture_depends_on_its_seed_and_place_alone(drawn):
    more = EmbeddedSource(48, seed=0, quiet=True, counts=(20, 50))
    every = np.arange(20)
    np.testing.assert_array_equal(drawn.train.read(every)[0], more.train.read(every)[0])
    np.testing.assert_array_equal(drawn.test.read(every)[0], more.test.read(every)[0])
    np.testing.assert_array_equal(drawn.train.read(np.array([7, 3]))[0], drawn.train.read(every)[0][[7, 3]])


def test_generated_pictures_differ_between_seeds_splits_and_places(drawn):
    other = EmbeddedSource(48, seed=1, quiet=True, counts=(60, 40))
    every = np.arange(40)
    pictures = np.concatenate([drawn.train.read(every)[0], drawn.test.read(every)[0], other.train.read(every)[0]])
    assert len(np.unique(pictures.reshape(len(pictures), -1), axis=0)) == len(pictures)


def test_reading_hands_out_copies(drawn):
    pictures, _ = drawn.train.read(np.arange(3))
    before = pictures.copy()
    pictures[:] = 0
    np.testing.assert_array_equal(drawn.train.read(np.arange(3))[0], before)


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_a_figure_is_seen_and_leaves_ground(name):
    """Every figure covers some of the picture and never all of it, even where it is cut by the edge."""
    for seed in range(30):
        mask = np.asarray(draw_figure(name, np.random.default_rng(seed), 64))
        assert mask.shape == (64, 64) and 0.03 < (mask > 127).mean() < 0.9


def silhouettes(name):
    """Of 30 figures the box around each, and how many pieces of figure its middle row and its middle column meet."""
    for seed in range(30):
        mask = np.pad(np.asarray(draw_figure(name, np.random.default_rng(seed), 64)) > 127, 2)
        rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
        box = mask[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
        row, column = box[len(box) // 2], box[:, box.shape[1] // 2]
        yield box, *(int(np.diff(np.r_[0, line.astype(int), 0]).clip(0).sum()) for line in (row, column))


def test_a_ring_has_a_hole_and_a_disk_has_none():
    """The middle row crosses a ring twice and a disk once, also where the edge of the picture cuts them."""
    assert all(across == 2 for _, across, _ in silhouettes("ring"))
    assert all(across == 1 for _, across, _ in silhouettes("disk"))


def test_rows_lie_and_columns_stand():
    """A line down meets more of the rows than a line across does; with columns it is the other way round."""
    assert sum(down > across for _, across, down in silhouettes("rows")) >= 28
    assert sum(across > down for _, across, down in silhouettes("columns")) >= 28


def test_a_checkerboard_is_half_empty():
    assert all(0.3 < box.mean() < 0.65 for box, _, _ in silhouettes("checkerboard"))


def test_an_unknown_figure_is_refused():
    assert "blob" in message(ValueError, draw_figure, "blob", np.random.default_rng(0), 32)


def test_a_linear_classifier_on_the_colours_fails(drawn):
    """Means and spreads of the colours give nothing away: a ridge classifier on them stays near chance, 90 %."""
    def features(split):
        pictures = split.read(np.arange(len(split)))[0].reshape(len(split), 3, -1).astype(float)
        return np.concatenate([pictures.mean(2), pictures.std(2), np.full((len(split), 1), 99.0)], axis=1) / 99
    train, test = EmbeddedSource(24, seed=0, quiet=True, counts=(300, 200)).train, drawn.test
    A, Y = features(train), np.eye(10)[train.labels]
    weights = np.linalg.solve(A.T @ A + 0.01 * np.eye(A.shape[1]), A.T @ Y)
    assert ((features(test) @ weights).argmax(1) != test.labels).mean() > 0.55


def test_open_source_knows_the_embedded_set(monkeypatch):
    monkeypatch.setattr("tinynet.data.EmbeddedSource", lambda *args, **options: (args, options))
    assert data.open_source("embedded", 112, 3, True) == ((112, 3), {"quiet": True})


# ---- CIFAR-10 as JPEG files ----------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """The first 20 pictures of each class and part, unpacked; the whole archive would take minutes."""
    if not CIFAR.exists():
        pytest.skip("../shared/data/cifar10-images.tar.gz, beside the repository, is not there")
    root, counts = tmp_path_factory.mktemp("cifar"), {}
    with tarfile.open(CIFAR) as archive:
        for member in archive:
            parts = pathlib.PurePosixPath(member.name).parts
            if not member.isfile() or len(parts) < 3 or ".." in parts:
                continue
            part, label, file = parts[-3:]
            counts[part, label] = counts.get((part, label), 0) + 1
            if counts[part, label] <= 20:
                target = root / part / label / file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.extractfile(member).read())
    return root, counts


def test_cifar_10_is_a_folder_like_any_other(cifar):
    root, counts = cifar
    assert sum(count for (part, _), count in counts.items() if part == "train") == 50_000
    assert sum(count for (part, _), count in counts.items() if part == "test") == 10_000
    source = data.open_source(str(root), 112, quiet=True)
    assert source.class_names == ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
                                  "truck"]
    assert np.bincount(source.train.labels).tolist() == np.bincount(source.test.labels).tolist() == [20] * 10
    mean = data.compute_statistics(source.train, quiet=True).mean
    assert mean.shape == (3, 112, 112) and 90 < mean.mean() < 150
    x, labels = next(data.TrainingBatches(source.train, 64, 99, data.Statistics(mean, np.eye(3)),
                                          np.random.default_rng(0)))
    assert x.shape == (64, 3, 99, 99) and np.isfinite(x).all() and abs(x.mean()) < 30
    assert source.train.unreadable == {} and labels.max() <= 9
