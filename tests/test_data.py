"""Pictures in, batches out: what is read, what is refused and in which words, and that a seed fixes all chance."""

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
    "bomb": (png_that_claims(60_000, 60_000), "60000 x 60000 pixels are more than 100,000,000"),
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
    """Six pictures of each of two classes to learn from, and in the first class every broken file there is."""
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
    mean = np.zeros((3, 16, 16), np.float32)
    batches = data.training_batches(source.train, 5, 12, mean, np.random.default_rng(0))
    seen = list(itertools.islice(batches, 4))                                      # one pass: 17 files, 12 pictures
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
    batches = data.training_batches(source.train, 4, 12, np.zeros((3, 16, 16), np.float32), np.random.default_rng(0))
    try:
        text = message(data.DataLost, lambda: in_time(lambda: next(batches), 2))
        assert "No such file" in text and "was there at the start" in text and "--resume" in text
        assert any(text.startswith(f"{tmp_path / 'set' / name}: ") for name in source.train.names)
        assert source.train.unreadable == {}
    finally:
        (tmp_path / "gone").rename(tmp_path / "set")                               # so that a hanging thread can end


def test_a_test_set_without_a_readable_picture_gets_one_line():
    split = Numbered(6, 8, unreadable=range(6))
    assert "not one" in message(data.DataError, lambda: list(data.test_batches(split, 4, 6, zeros(8))))


# ---- folders -------------------------------------------------------------------------------------------------------
def test_classes_are_numbered_by_name(tmp_path):
    source = data.open_source(make_classes(tmp_path / "set", {"owl": 5, "ant": 5, "Bee": 5}), 16)
    assert source.class_names == ["Bee", "ant", "owl"] and source.name == "set"
    for split, count in ((source.train, 4), (source.test, 1)):
        assert split.labels.dtype == np.int64 and split.labels.tolist() == [0] * count + [1] * count + [2] * count
        assert [name.split("/")[0] for name in split.names] == [
            source.class_names[label] for label in split.labels]


@pytest.mark.parametrize("held_out", ["test", "val"])
def test_a_given_split_is_kept(tmp_path, held_out):
    make_classes(tmp_path / "train", {"cat": 3, "dog": 2})
    make_classes(tmp_path / held_out, {"cat": 1, "dog": 1})
    source = data.open_source(str(tmp_path), 16)
    assert (len(source.train), len(source.test)) == (5, 2)
    assert source.train.names == ["train/cat/000.png", "train/cat/001.png", "train/cat/002.png", "train/dog/000.png",
                                  "train/dog/001.png"]
    assert source.test.names == [f"{held_out}/cat/000.png", f"{held_out}/dog/000.png"]


def test_a_fifth_of_each_class_is_held_out_by_the_seed(tmp_path):
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
                        lambda path, size: loaded.append(path) or np.zeros((3, size, size), np.uint8))
    split = data.open_source(make_classes(tmp_path, {"cat": 5, "dog": 5}), 16).train
    assert not loaded
    split.read(np.array([1, 4]))
    assert loaded == [str(tmp_path / split.names[1]), str(tmp_path / split.names[4])]


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


# ---- folders that cannot be used -----------------------------------------------------------------------------------
def no_folder(root):
    return "there is no such folder; the data is a folder with one sub-folder for each class, or 'embedded'"


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
    return "000.png: the only picture of class 'dog'; two at least are needed, one to test"


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
    assert message(data.DataError, data.mean_image, split, True) == "not one of 4 pictures can be read"


def run_example(tmp_path, *arguments):
    return subprocess.run([sys.executable, str(ROOT / "examples" / "train_alexnet.py"), "--out", str(tmp_path / "out"),
                           "--steps", "1", *arguments], capture_output=True, text=True, timeout=120, cwd=ROOT,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})


def test_the_main_job_ends_with_one_line_and_code_2(tmp_path):
    ran = run_example(tmp_path, "--data", str(tmp_path / "nowhere"), "--quiet")
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
    assert ran.stderr.count("\n") == 1 and "there is no such folder" in ran.stderr


# ---- crops and flips -----------------------------------------------------------------------------------------------
def test_offsets_cover_zero_to_margin_inclusive_and_nothing_else():
    tops, lefts, flips = data.draw_crops(np.random.default_rng(0), 3000, 4)
    for offsets in (tops, lefts):
        assert set(offsets.tolist()) == {0, 1, 2, 3, 4}
        assert np.bincount(offsets).min() > 500                                    # of 600 expected
    assert flips.dtype == bool and 0.45 < flips.mean() < 0.55


def test_each_picture_is_drawn_by_itself():
    tops, lefts, flips = data.draw_crops(np.random.default_rng(0), 2178 * 20, 32)
    versions = set(zip(tops.tolist(), lefts.tolist(), flips.tolist()))
    assert len(versions) == 33 * 33 * 2 == 2178
    assert abs(np.corrcoef(tops, lefts)[0, 1]) < 0.03 and abs(np.corrcoef(tops[1:], tops[:-1])[0, 1]) < 0.03
    assert abs(np.corrcoef(flips, lefts)[0, 1]) < 0.03


def test_no_margin_leaves_one_place():
    tops, lefts, _ = data.draw_crops(np.random.default_rng(0), 50, 0)
    assert not tops.any() and not lefts.any()


def test_the_same_seed_draws_the_same():
    first, again, other = (data.draw_crops(np.random.default_rng(seed), 20, 9) for seed in (5, 5, 6))
    assert all((a == b).all() for a, b in zip(first, again))
    assert any((a != b).any() for a, b in zip(first, other))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_crop_and_flip_pixel_by_pixel(dtype):
    rng = np.random.default_rng(0)
    N, S, size = 6, 9, 5
    pictures = rng.integers(0, 256, (N, 3, S, S)).astype(dtype)
    tops, lefts = np.array([0, 4, 0, 4, 2, 1]), np.array([0, 0, 4, 4, 3, 2])
    flips = np.array([False, True, False, True, True, False])
    before = pictures.copy()
    crops = data.crop_and_flip(pictures, tops, lefts, flips, size)
    assert crops.shape == (N, 3, size, size) and crops.dtype == dtype and crops.flags.c_contiguous
    for n, channel, row, column in np.ndindex(crops.shape):
        across = size - 1 - column if flips[n] else column
        assert crops[n, channel, row, column] == pictures[n, channel, tops[n] + row, lefts[n] + across]
    np.testing.assert_array_equal(pictures, before)


@pytest.mark.parametrize("S, size, start", [(256, 224, 16), (256, 227, 14), (112, 99, 6), (8, 8, 0)])
def test_the_middle_is_where_the_2012_code_has_it(S, size, start):
    pictures = np.arange(3 * S * S).reshape(1, 3, S, S)
    middle = data.center_crop(pictures, size)
    assert middle.shape == (1, 3, size, size) and np.shares_memory(middle, pictures)
    np.testing.assert_array_equal(middle, pictures[:, :, start:start + size, start:start + size])
    np.testing.assert_array_equal(data.center_crop(pictures[0], size), middle[0])


# ---- batches -------------------------------------------------------------------------------------------------------
class Numbered:
    """A split whose picture i says i in its first channel, its row in the second and its column in the third."""

    def __init__(self, N, S, unreadable=()):
        self.labels = np.arange(N, dtype=np.int64) % 10
        self.names = [str(i) for i in range(N)]
        self.S, self.bad, self.unreadable, self.reads = S, set(unreadable), {}, []

    def __len__(self):
        return len(self.labels)

    def read(self, indices):
        self.reads.append(indices.copy())
        readable = np.array([i not in self.bad for i in indices])
        rows, columns = np.indices((self.S, self.S))
        pictures = [np.stack([np.full((self.S, self.S), i), rows, columns]) for i in indices[readable]]
        return np.array(pictures, np.uint8).reshape(-1, 3, self.S, self.S), readable


def numbers(x):
    return x[:, 0, 0, 0].astype(int).tolist()


def zeros(S):
    return np.zeros((3, S, S), np.float32)


def test_a_pass_has_every_picture_once_in_a_new_order():
    split = Numbered(23, 8)
    batches = data.training_batches(split, 5, 6, zeros(8), np.random.default_rng(0))
    passes = [[next(batches) for _ in range(5)] for _ in range(3)]
    orders = []
    for batch_list in passes:
        assert [len(x) for x, _ in batch_list] == [5, 5, 5, 5, 3]                  # the last one is short
        order = [i for x, _ in batch_list for i in numbers(x)]
        assert sorted(order) == list(range(23)) and order != list(range(23))
        assert [i % 10 for i in order] == [label for _, labels in batch_list for label in labels]
        orders.append(order)
    assert orders[0] != orders[1] != orders[2]


def test_a_batch_is_cut_and_mirrored_and_all_offsets_occur():
    batches = data.training_batches(Numbered(40, 9), 40, 6, zeros(9), np.random.default_rng(0))
    corners, mirrored = set(), 0
    for x, labels in itertools.islice(batches, 10):
        assert x.dtype == np.float32 and x.shape == (40, 3, 6, 6) and labels.dtype == np.int64
        step = x[:, 2, 0, 1] - x[:, 2, 0, 0]                                       # the columns, left to right or back
        assert set(step.tolist()) == {1.0, -1.0}
        mirrored += int((step < 0).sum())
        corners |= set(zip(x[:, 1, 0, 0].tolist(), x[:, 2, 0].min(axis=1).tolist()))
    assert corners == set(itertools.product(range(4), range(4))) and 150 < mirrored < 250


def test_the_middle_of_the_mean_image_is_taken_off_wherever_the_crop_was():
    """As in the 2012 code; Caffe takes off what lies under the crop."""
    S, size = 10, 6
    mean = np.random.default_rng(1).uniform(0, 255, (3, S, S)).astype(np.float32)
    plain, less = (data.training_batches(Numbered(12, S), 12, size, image, np.random.default_rng(0))
                   for image in (zeros(S), mean))
    for _ in range(3):
        (x, labels), (y, same) = next(plain), next(less)
        np.testing.assert_array_equal(labels, same)
        np.testing.assert_allclose(y, x - mean[:, 2:8, 2:8], atol=1e-4)
        assert y.dtype == np.float32


def test_batches_are_the_same_for_the_same_seed_only():
    def some(seed):
        return list(itertools.islice(
            data.training_batches(Numbered(20, 9), 6, 7, zeros(9), np.random.default_rng(seed)), 9))
    first, again, other = some(3), some(3), some(4)
    assert all((x == y).all() and (a == b).all() for (x, a), (y, b) in zip(first, again))
    assert any(x.shape != y.shape or (x != y).any() for (x, _), (y, _) in zip(first, other))


def test_what_is_drawn_does_not_depend_on_the_speed_of_the_thread():
    """The caller's generator is also used between batches, as a network's dropout does."""
    def some(pause):
        split, rng, got = Numbered(20, 9), np.random.default_rng(0), []
        read = split.read
        split.read = lambda indices: threading.Event().wait(pause) or read(indices)
        for x, _ in itertools.islice(data.training_batches(split, 6, 7, zeros(9), rng), 6):
            got.append((x, rng.random()))
        return got
    assert all((x == y).all() and a == b for (x, a), (y, b) in zip(some(0), some(0.02)))


def test_one_batch_is_prepared_ahead_and_by_another_thread():
    split, threads = Numbered(40, 8), []
    read, ready = split.read, threading.Event()

    def watched(indices):
        threads.append(threading.current_thread())
        if len(threads) == 2:
            ready.set()
        return read(indices)

    split.read = watched
    batches = data.training_batches(split, 4, 6, zeros(8), np.random.default_rng(0))
    next(batches)
    assert ready.wait(5), "nothing is read ahead"
    assert len(set(threads)) == 1 and threads[0] is not threading.current_thread()
    batches.close()
    threads[0].join(5)
    assert not threads[0].is_alive() and len(split.reads) <= 3


def test_an_exception_in_the_thread_reaches_the_caller():
    split = Numbered(8, 8)

    def fail(indices):
        raise OSError("disk.png: gone")

    split.read = fail
    batches = data.training_batches(split, 4, 6, zeros(8), np.random.default_rng(0))
    assert message(OSError, lambda: in_time(lambda: next(batches))) == "disk.png: gone"


def test_a_batch_of_nothing_is_skipped():
    split = Numbered(8, 8, unreadable=range(7))                                    # only picture 7 can be read
    batches = data.training_batches(split, 2, 6, zeros(8), np.random.default_rng(0))
    assert [numbers(in_time(lambda: next(batches))[0]) for _ in range(3)] == [[7], [7], [7]]
    assert [numbers(x) for x, _ in data.test_batches(split, 2, 6, zeros(8))] == [[7]]


def test_a_broken_file_does_not_change_how_the_others_are_cut():
    def some(unreadable):
        batches = data.training_batches(Numbered(30, 12, unreadable), 30, 6, zeros(12), np.random.default_rng(0))
        x, _ = next(batches)
        return dict(zip(numbers(x), x))
    whole, fewer = some([]), some([3, 11, 20])
    assert len(fewer) == 27
    for i, crop in fewer.items():
        np.testing.assert_array_equal(crop, whole[i])


def test_testing_takes_every_picture_once_in_order_from_the_middle():
    S, size = 11, 6
    mean = np.full((3, S, S), 0.5, np.float32)
    got = list(data.test_batches(Numbered(13, S), 5, size, mean))
    assert [len(x) for x, _ in got] == [5, 5, 3]
    assert [label for _, labels in got for label in labels] == [i % 10 for i in range(13)]
    x = np.concatenate([x for x, _ in got])
    assert x.dtype == np.float32 and (x[:, 0] + 0.5 == np.arange(13)[:, None, None]).all()
    np.testing.assert_array_equal(x[:, 1] + 0.5, np.broadcast_to(np.arange(2, 8)[:, None], (13, 6, 6)))
    np.testing.assert_array_equal(x[:, 2] + 0.5, np.broadcast_to(np.arange(2, 8), (13, 6, 6)))


def test_testing_takes_off_the_middle_of_the_mean_image():
    mean = np.random.default_rng(1).uniform(0, 255, (3, 10, 10)).astype(np.float32)
    (x, _), = data.test_batches(Numbered(4, 10), 4, 6, zeros(10))
    (y, _), = data.test_batches(Numbered(4, 10), 4, 6, mean)
    np.testing.assert_allclose(y, x - mean[:, 2:8, 2:8], atol=1e-4)


# ---- the mean image ------------------------------------------------------------------------------------------------
def test_the_mean_is_exact_over_more_than_one_run():
    class Noise(Numbered):
        def read(self, indices):
            return pictures[indices], np.ones(len(indices), bool)
    pictures = np.random.default_rng(0).integers(0, 256, (600, 3, 4, 4), dtype=np.uint8)
    mean = data.mean_image(Noise(600, 4), quiet=True)
    assert mean.dtype == np.float32 and mean.shape == (3, 4, 4)
    np.testing.assert_array_equal(mean, (pictures.astype(np.int64).sum(0) / 600).astype(np.float32))


def test_the_mean_leaves_out_what_cannot_be_read():
    mean = data.mean_image(Numbered(5, 4, unreadable=[0, 4]), quiet=True)
    assert (mean[0] == 2).all()


def test_quiet_is_quiet_and_a_long_mean_is_not(capsys, monkeypatch):
    data.mean_image(Numbered(5, 4), quiet=True)
    assert capsys.readouterr() == ("", "")
    clock = itertools.count(0, 60)
    monkeypatch.setattr("tinynet.console.time.monotonic", lambda: next(clock))
    data.mean_image(Numbered(5, 4))
    assert "mean image: 5/5 pictures" in capsys.readouterr().err


# ---- the drawn pictures --------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def drawn():
    return EmbeddedSource(48, seed=0, quiet=True, counts=(60, 40))


def test_the_drawn_classes_are_balanced_and_complete(drawn):
    assert drawn.name == "embedded" and len(drawn.class_names) == 10 == len(set(drawn.class_names))
    assert drawn.class_names == sorted(drawn.class_names)
    for split, count in ((drawn.train, 6), (drawn.test, 4)):
        assert split.labels.dtype == np.int64 and np.bincount(split.labels).tolist() == [count] * 10
        pictures, readable = split.read(np.arange(len(split)))
        assert pictures.shape == (len(split), 3, 48, 48) and pictures.dtype == np.uint8 and readable.all()
        assert split.unreadable == {}


def test_a_drawn_picture_depends_on_its_seed_and_place_alone(drawn):
    more = EmbeddedSource(48, seed=0, quiet=True, counts=(20, 50))
    every = np.arange(20)
    np.testing.assert_array_equal(drawn.train.read(every)[0], more.train.read(every)[0])
    np.testing.assert_array_equal(drawn.test.read(every)[0], more.test.read(every)[0])
    np.testing.assert_array_equal(drawn.train.read(np.array([7, 3]))[0], drawn.train.read(every)[0][[7, 3]])


def test_drawn_pictures_differ_between_seeds_splits_and_places(drawn):
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
    mean = data.mean_image(source.train, quiet=True)
    assert mean.shape == (3, 112, 112) and 90 < mean.mean() < 150
    x, labels = next(data.training_batches(source.train, 64, 99, mean, np.random.default_rng(0)))
    assert x.shape == (64, 3, 99, 99) and np.isfinite(x).all() and abs(x.mean()) < 30
    assert source.train.unreadable == {} and labels.max() <= 9
