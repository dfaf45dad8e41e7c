"""One picture file -> one square array: what is turned, laid on white, cut and refused."""

import itertools
import pathlib
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from tinynet import data
from tinynet.data import pictures

ROOT = pathlib.Path(__file__).parents[1]
RED, GREEN, BLUE, YELLOW = (250, 10, 10), (10, 250, 10), (10, 10, 250), (250, 250, 10)


def quarters(width=40, height=40):
    """a b   red   green
       c d   blue  yellow"""
    image = Image.new("RGB", (width, height))
    for i, colour in enumerate((RED, GREEN, BLUE, YELLOW)):
        left, top = i % 2 * width // 2, i // 2 * height // 2
        image.paste(colour, (left, top, left + width // 2, top + height // 2))
    return image


def letters(picture):
    """quarters() read back: "ab cd"."""
    S = picture.shape[-1]
    names = []
    for top, left in itertools.product((S // 4, 3 * S // 4), repeat=2):
        distances = [np.abs(picture[:, top, left].astype(int) - colour).sum()
                     for colour in (RED, GREEN, BLUE, YELLOW)]
        assert min(distances) < 60
        names.append("abcd"[int(np.argmin(distances))])
    return "{}{} {}{}".format(*names)


# The EXIF standard says on which visible sides the stored picture's first row and first column belong.
TURNED = {1: "ab cd",   # top, left
          2: "ba dc",   # top, right
          3: "dc ba",   # bottom, right
          4: "cd ab",   # bottom, left
          5: "ac bd",   # left, top
          6: "ca db",   # right, top
          7: "db ca",   # right, bottom
          8: "bd ac"}   # left, bottom


@pytest.mark.parametrize("name, size", [("x.jpg", (40, 40)), ("x.jpg", (80, 40)), ("x.png", (40, 40)),
                                        ("x.webp", (40, 40)), ("x.tif", (40, 40))])
@pytest.mark.parametrize("orientation", TURNED)
def test_each_of_the_eight_orientations_is_undone(tmp_path, orientation, name, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    quarters(*size).save(tmp_path / name, exif=exif)
    assert letters(data.load_picture(tmp_path / name, 32)) == TURNED[orientation]


def test_damaged_exif_costs_neither_the_picture_nor_a_warning(tmp_path):
    quarters().save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    promised_more = b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0\0"
    for number, junk in enumerate((promised_more, b"Exif\0\0", b"Exif\0\0" + b"\xff" * 40)):
        segment = b"\xff\xe1" + struct.pack(">H", len(junk) + 2) + junk
        (tmp_path / f"x{number}.jpg").write_bytes(whole[:2] + segment + whole[2:])
        assert set(letters(data.load_picture(tmp_path / f"x{number}.jpg", 32))) == set("abcd ")
    program = f"from tinynet import data; [data.load_picture(rf'{tmp_path}/x{{i}}.jpg', 32) for i in range(3)]"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")  # pytest has filters of its own, so this needs a fresh Python


SETTINGS = """
import logging, sys, warnings
import numpy, tqdm  # which have filters of their own
from PIL import Image
def settings():
    return Image.MAX_IMAGE_PIXELS, list(warnings.filters), list(logging.getLogger("PIL").handlers)
before = settings()
from tinynet import data
assert settings() == before, "after the import"
"""
DAMAGED = SETTINGS + """
for name in sys.argv[1:]:
    try:
        data.load_picture(name, 16)
    except data.UnreadablePicture:
        assert settings() == before, name
    else:
        raise SystemExit(f"{name} was read")
"""
OVERLAP = SETTINGS + """
import threading
from concurrent.futures import ThreadPoolExecutor
from tinynet.data import pictures

silent, inside = [], threading.Barrier(4)

class Slow:
    def read(self):
        return open(sys.argv[1], "rb").read()

def fit(image, size):
    inside.wait(10)  # all four are decoding at the same time
    silent.append(warnings.filters[0][3] is not None and bool(logging.getLogger("PIL").handlers))
    return pictures.square(image, size)

with ThreadPoolExecutor(4) as pool:
    list(pool.map(lambda _: data.load_picture(Slow(), 16, fit=fit), range(12)))
assert silent == [True] * 12, silent
assert settings() == before, "after the last thread"
"""


def in_fresh_python(program, *names):
    """Return (exit code, stdout, stderr): the settings belong to the process, and pytest changes them too."""
    done = subprocess.run([sys.executable, "-c", program, *names], capture_output=True, text=True, timeout=60, cwd=ROOT)
    return done.returncode, done.stdout, done.stderr


def test_pillow_says_nothing_of_damaged_files_and_is_left_as_it_was(tmp_path):
    """Neither its warnings, nor its log, nor what libtiff prints from C, which only a process of its own can show."""
    quarters().save(tmp_path / "whole.tif", compression="tiff_adobe_deflate")
    whole = (tmp_path / "whole.tif").read_bytes()
    with Image.open(tmp_path / "whole.tif") as image:
        end = image.tag_v2[273][0] + image.tag_v2[279][0]          # of the pixels: a checksum, of which libtiff prints
    samples = whole.index(struct.pack("<HHI", 277, 3, 1)) + 8      # SamplesPerPixel, of which Pillow logs
    for name, content in {"samples.tif": whole[:samples] + b"\x09" + whole[samples + 1:],
                          "pixels.tif": whole[:end - 4] + bytes(4) + whole[end:],
                          "large.png": png_with_head(10_000, 9_000), "huge.png": png_with_head(60_000, 60_000)}.items():
        (tmp_path / name).write_bytes(content)
    names = [tmp_path / name for name in ("pixels.tif", "samples.tif", "large.png", "huge.png")]
    assert in_fresh_python(DAMAGED, *names) == (0, "", "")


def test_threads_that_overlap_leave_the_settings_as_they_were(tmp_path):
    quarters().save(tmp_path / "x.jpg")
    assert in_fresh_python(OVERLAP, tmp_path / "x.jpg") == (0, "", "")


def test_photographs_that_hold_several_pictures_are_jpeg_too(tmp_path):
    """Phones write MPO files: a JPEG, and behind it a second one."""
    quarters().save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (40, 40))])
    with Image.open(tmp_path / "x.jpg") as image:
        assert image.format == "MPO"
    assert letters(data.load_picture(tmp_path / "x.jpg", 32)) == "ab cd"


def test_the_first_picture_of_an_animation_counts(tmp_path):
    quarters().save(tmp_path / "x.gif", save_all=True, append_images=[Image.new("RGB", (40, 40))])
    assert letters(data.load_picture(tmp_path / "x.gif", 32)) == "ab cd"


def test_cmyk_photographs_keep_their_colours(tmp_path):
    quarters().convert("CMYK").save(tmp_path / "x.jpg")
    assert letters(data.load_picture(tmp_path / "x.jpg", 32)) == "ab cd"


@pytest.mark.parametrize("mode, ink, expected", [
    ("RGBA", (200, 100, 50, 0), (255, 255, 255)), ("RGBA", (200, 100, 50, 255), (200, 100, 50)),
    ("RGBA", (0, 0, 0, 51), (204, 204, 204)), ("LA", (0, 0), (255, 255, 255)), ("LA", (0, 51), (204, 204, 204)),
    ("LA", (100, 255), (100, 100, 100))])
def test_transparent_pictures_lie_on_white(tmp_path, mode, ink, expected):
    for name in ("x.png", "x.tif"):
        Image.new(mode, (20, 20), ink).save(tmp_path / name)
        picture = data.load_picture(tmp_path / name, 10)
        assert np.abs(picture.astype(int) - np.array(expected)[:, None, None]).max() <= 1


@pytest.mark.parametrize("name, transparency, expected", [
    ("x.png", None, (200, 100, 50)), ("x.png", 1, (255, 255, 255)), ("x.png", b"\xff\x33", (244, 224, 214)),
    ("x.gif", None, (200, 100, 50)), ("x.gif", 1, (255, 255, 255))])
def test_palettes_with_and_without_transparency(tmp_path, name, transparency, expected):
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.save(tmp_path / name, **({} if transparency is None else {"transparency": transparency}))
    picture = data.load_picture(tmp_path / name, 10)
    assert np.abs(picture.astype(int) - np.array(expected)[:, None, None]).max() <= 1


@pytest.mark.parametrize("shape", [(1, 500), (500, 1), (2, 501), (501, 2)])
def test_of_a_thin_picture_the_middle_remains(tmp_path, shape):
    """A red and a blue end, 40 green pixels between them."""
    height, width = shape
    pixels = np.full((height, width, 3), RED, np.uint8)
    along = pixels if height > width else pixels.transpose(1, 0, 2)
    along[230:] = BLUE
    along[230:270] = GREEN
    Image.fromarray(pixels).save(tmp_path / "x.png")
    picture = data.load_picture(tmp_path / "x.png", 32)
    assert (picture == np.array(GREEN)[:, None, None]).all()


def test_the_whole_of_the_shorter_side_remains(tmp_path):
    """60 x 40: ten columns go at either side, and every row stays."""
    pixels = np.full((40, 60, 3), YELLOW, np.uint8)
    pixels[:10], pixels[30:] = RED, BLUE
    pixels[:, :8] = pixels[:, 52:] = GREEN
    for turned in (False, True):
        Image.fromarray(pixels.transpose(1, 0, 2) if turned else pixels).save(tmp_path / "x.png")
        picture = data.load_picture(tmp_path / "x.png", 20)
        picture = picture.transpose(0, 2, 1) if turned else picture
        for row, colour in ((0, RED), (3, RED), (6, YELLOW), (13, YELLOW), (16, BLUE), (19, BLUE)):
            assert np.abs(picture[:, row].astype(int) - np.array(colour)[:, None]).max() <= 12, row


def png_with_head(width, height):
    """A PNG file that claims a size, and has no pixels to show for it."""
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side, reason", [(10_001, "10001 x 10001 pixels are more than 100,000,000"),
                                          (60_000, "Image size (3600000000 pixels) exceeds limit")])
def test_an_absurdly_large_picture_is_refused_by_its_head(tmp_path, monkeypatch, side, reason):
    """The first is below the limit that Pillow has, and above the size that it warns of."""
    decoded = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: decoded.append(self))
    (tmp_path / "x.png").write_bytes(png_with_head(side, side))
    with pytest.raises(data.UnreadablePicture) as error:
        data.load_picture(tmp_path / "x.png", 16)
    assert str(error.value).startswith(reason) and not decoded


def test_the_largest_picture_that_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 1600)
    quarters(40, 40).save(tmp_path / "x.png")
    assert letters(data.load_picture(tmp_path / "x.png", 32)) == "ab cd"
    quarters(42, 40).save(tmp_path / "x.png")
    with pytest.raises(data.UnreadablePicture, match="42 x 40 pixels are more than 1,600"):
        data.load_picture(tmp_path / "x.png", 16)


def test_numbers_of_unknown_range_are_refused(tmp_path):
    Image.fromarray(np.full((20, 20), 0.5, np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(data.UnreadablePicture, match="^its pixels are floating-point numbers of unknown range$"):
        data.load_picture(tmp_path / "x.tif", 16)


def test_a_bug_is_not_taken_for_an_unreadable_picture(tmp_path, monkeypatch):
    """Only UnreadablePicture is skipped; whatever else goes wrong, in whichever thread, reaches the caller."""
    for name in "cat", "dog":
        (tmp_path / name).mkdir()
        for i in range(3):
            quarters().save(tmp_path / name / f"{i}.png")
    split = data.open_source(tmp_path, 16, quiet=True).train

    def buggy(path, size, fit):
        raise TypeError("a bug")

    monkeypatch.setattr("tinynet.data.files.load_picture", buggy)
    with pytest.raises(TypeError, match=rf"^a bug\nwhile {split.tree.path}/cat/\d.png was read$"):
        split.read(np.arange(2))
    statistics = data.Statistics(np.zeros((3, 16, 16), np.float32), np.eye(3))
    with pytest.raises(TypeError, match="^a bug\nwhile .*png was read$"):
        next(data.TrainingBatches(split, 2, 12, statistics, np.random.default_rng(0)))
    assert split.unreadable == {}
