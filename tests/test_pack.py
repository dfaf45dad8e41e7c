"""A pack holds what its source held, byte for byte, however often it was killed; and none that is damaged is opened."""

import functools
import itertools
import json
import os
import pathlib
import runpy
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from test_data import BROKEN, in_time, make_classes, message, png_that_claims, save
from test_pictures import letters, quarters
from test_sources import check_contract, read_all, same

from tinynet import data
from tinynet.console import Interrupted
from tinynet.data import pack as module
from tinynet.data.embedded import EmbeddedSource
from tinynet.data.pack import pack
from tinynet.data.packed import verify

ROOT = pathlib.Path(__file__).parents[1]
SIZE = 16
UNREADABLE = {"text": b"no picture", "bomb": png_that_claims(60_000, 60_000)}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 4 pictures, so that a few pictures are many blocks. The sums of statistics are taken over as many."""
    monkeypatch.setattr(module, "PIECE", 4)
    monkeypatch.setattr("tinynet.data.statistics.PIECE", 4)


@pytest.fixture
def folder(tmp_path):
    """18 training pictures, each of noise of its own, two that cannot be read among them, and 6 to test."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 9), ("test", 3)):
        for name, i in itertools.product(("cat", "dog"), range(count)):
            path = tmp_path / "set" / part / name / f"{i:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)
    for name, content in UNREADABLE.items():
        (tmp_path / "set" / "train" / "cat" / f"002-{name}.jpg").write_bytes(content)
    return tmp_path / "set"


def opened(path, size=SIZE):
    return data.open_source(str(path), size, quiet=True)


def packed(source, out, size=SIZE):
    """Pack what is at a path; returns the folder."""
    pack(opened(source, size), out, size, quiet=True)
    return out


def archive_of(folder, ending):
    """The same pictures in an archive beside the folder, made anew."""
    path = folder.with_name(folder.name + ending)
    with tarfile.open(path, "w" if ending == ".tar" else "w:gz") as tar:
        tar.add(folder, ".")
    os.utime(path, ns=(next(CLOCK), next(CLOCK)))
    return path


CLOCK = itertools.count(10**18, 10**9)


def contents(folder):
    """{name: bytes}, but for what opening notes."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "verified.json"}


def refused(path, *expected, size=SIZE):
    text = message(data.DataError, data.open_source, str(path), size)
    for part in expected:
        assert str(part) in text, text


def flip(path, place=0.5):
    """Alter one bit, in the middle of the file."""
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)


def cut(path, count=1):
    path.write_bytes(path.read_bytes()[:-count])


# ---- what is in it -------------------------------------------------------------------------------------------------
def test_a_pack_is_a_source_like_any_other(folder, tmp_path):
    for name in UNREADABLE:
        (folder / "train" / "cat" / f"002-{name}.jpg").unlink()
    source = opened(packed(folder, tmp_path / "pack"))
    check_contract(source, SIZE)
    same(opened(folder), source)
    assert source.name == "set" and data.identity(source) == data.identity(opened(folder))


def test_the_large_files_are_pictures_and_nothing_else(folder, tmp_path):
    out = packed(folder, tmp_path / "pack")
    source = opened(out)
    for name, split in (("train", source.train), ("test", source.test)):
        mapped = np.memmap(out / f"{name}.u8", np.uint8, "r").reshape(-1, 3, SIZE, SIZE)
        np.testing.assert_array_equal(mapped, read_all(split))


def test_training_from_a_pack_is_training_from_its_folder(folder, tmp_path):
    for name in UNREADABLE:
        (folder / "train" / "cat" / f"002-{name}.jpg").unlink()
    streams = []
    for path in (folder, packed(folder, tmp_path / "pack")):
        split = opened(path).train
        streams.append(data.TrainingBatches(split, 5, 12, data.compute_statistics(split, quiet=True),
                                            np.random.default_rng(0),
                                            data.AUGMENTATIONS["code-2012"]))
    for (x, a), (y, b) in itertools.islice(zip(*streams), 9):
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(a, b)


def test_statistics_are_kept_and_nothing_is_read_for_them(folder, tmp_path, monkeypatch):
    expected = data.compute_statistics(opened(folder).train, quiet=True)
    split = opened(packed(folder, tmp_path / "pack")).train
    monkeypatch.setattr(split, "read", None)
    found = data.compute_statistics(split)
    np.testing.assert_array_equal(found.mean, expected.mean)
    np.testing.assert_array_equal(found.covariance, expected.covariance)
    assert found.mean.shape == (3, SIZE, SIZE) and found.mean.dtype == np.float32


def test_packing_twice_makes_the_same_bytes(folder, tmp_path):
    first, second = (contents(packed(folder, tmp_path / name)) for name in ("first", "second"))
    assert first == second and set(first) == {"train.u8", "test.u8", "train.csv", "test.csv", "blocks.jsonl",
                                              "statistics.npz", "report.txt", "pack.json"}


def test_names_of_any_characters_survive(tmp_path):
    odd = ['a,b.png', 'quo"te.png', "line\nbreak.png", "old\r\nbreak.png", "Käse 猫.png", os.fsdecode(b"\xff\xfe.png")]
    for name in odd:
        for part in ("cat", "dög\n2"):
            save(tmp_path / "set" / "train" / part / name)
            save(tmp_path / "set" / "test" / part / name)
    (tmp_path / "set" / "train" / "cat" / "line\nbreak 2.png").write_text("no picture")
    found = opened(packed(tmp_path / "set", tmp_path / "pack"))
    expected = opened(tmp_path / "set")
    assert found.train.names == [name for name in expected.train.names if "break 2" not in name]
    assert len(found.train) == 12 and found.test.names == expected.test.names
    assert found.class_names == expected.class_names
    assert "train/cat/line break 2.png: cannot identify image file\n" in (tmp_path / "pack" / "report.txt").read_text()


# ---- pictures of every kind ----------------------------------------------------------------------------------------
def grey(path):
    quarters().convert("L").save(path)
    return lambda picture: (picture[0] == picture[1]).all() and (picture[1] == picture[2]).all() and picture.std() > 20


def cmyk(path):
    quarters().convert("CMYK").save(path, "JPEG", quality=95)
    return lambda picture: letters(picture) == "ab cd"


def palette(path):
    quarters().quantize(4).save(path, "PNG")
    return lambda picture: letters(picture) == "ab cd"


def alpha(path):
    image = quarters().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 40, 20))                                      # above there is nothing
    image.save(path, "PNG")
    return lambda picture: (picture[:, :7] == 255).all() and picture[:, 9:].min() < 20


def rotated(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    quarters().save(path, "JPEG", exif=exif, quality=95)
    return lambda picture: letters(picture) == "ca db"


def sixteen_bits(path):
    steep = np.repeat(np.arange(SIZE, dtype=np.uint16)[None] * 4000, SIZE, axis=0)
    Image.fromarray(steep).save(path, "PNG")
    return lambda picture: (np.abs(picture.astype(int) - steep // 256) <= 1).all()


def one_pixel_wide(path):
    pixels = np.full((501, 1, 3), 200, np.uint8)
    pixels[230:270] = (10, 20, 30)
    Image.fromarray(pixels).save(path, "PNG")
    return lambda picture: (picture == np.array([10, 20, 30])[:, None, None]).all()


@pytest.mark.parametrize("kind", [grey, cmyk, palette, alpha, rotated, sixteen_bits, one_pixel_wide],
                         ids=lambda kind: kind.__name__)
def test_pictures_of_every_kind_are_packed(tmp_path, kind):
    make_classes(tmp_path / "set" / "train", {"cat": 3, "dog": 3})
    make_classes(tmp_path / "set" / "test", {"cat": 1, "dog": 1})
    looks_right = kind(tmp_path / "set" / "train" / "cat" / "001-odd.tif")
    split = opened(packed(tmp_path / "set", tmp_path / "pack")).train
    place = split.names.index("train/cat/001-odd.tif")
    pictures, _ = split.read(np.array([place]))
    assert len(split) == 7 and place == 1 and split.labels[place] == 0
    assert looks_right(pictures[0])
    assert "0 cannot be read" in (tmp_path / "pack" / "report.txt").read_text()


@pytest.mark.parametrize("name", BROKEN)
def test_a_picture_that_cannot_be_read_is_left_out_and_reported(tmp_path, name, capsys):
    """The absurdly large one is among them: what it says of its size is enough."""
    content, reason = BROKEN[name]
    make_classes(tmp_path / "set" / "train", {"cat": 3, "dog": 3})
    make_classes(tmp_path / "set" / "test", {"cat": 1, "dog": 1})
    (tmp_path / "set" / "train" / "cat" / "001-odd.png").write_bytes(content)
    pack(data.open_source(str(tmp_path / "set"), SIZE), tmp_path / "pack", SIZE)
    assert f"skipped {tmp_path / 'set' / 'train/cat/001-odd.png'}: " in capsys.readouterr().err
    report = (tmp_path / "pack" / "report.txt").read_text().splitlines()
    assert report[:3] == ["set: 16 x 16 pixels, 2 classes",
                          "train: 6 of 7 pictures; 1 cannot be read and are left out",
                          "test: 2 of 2 pictures; 0 cannot be read and are left out"]
    assert len(report) == 4 and report[3].startswith("train/cat/001-odd.png: ") and reason in report[3]
    split = opened(tmp_path / "pack").train
    assert len(split) == 6 and "train/cat/001-odd.png" not in split.names
    np.testing.assert_array_equal(read_all(split)[:, 0, 0, 0], [0, 10, 20] * 2)     # the others have their own labels
    np.testing.assert_array_equal(read_all(split)[:, 1, 0, 0], 40 * split.labels)


def test_nothing_that_can_be_read_is_no_pack(tmp_path):
    for part, name in itertools.product(("train", "test"), ("cat", "dog")):
        (tmp_path / "set" / part / name).mkdir(parents=True)
        (tmp_path / "set" / part / name / "x.png").write_text("no picture")
    assert "none of 2 pictures" in message(data.DataError, packed, tmp_path / "set", tmp_path / "pack")
    refused(tmp_path / "pack", "not finished")


# ---- killed, stopped, gone on with -----------------------------------------------------------------------------------
SLOWLY = """
import sys, time
from tinynet import data
from tinynet.data import files, pack
pack.PIECE, load = 4, files.load_picture
files.load_picture = lambda *args, **more: time.sleep(0.004) or load(*args, **more)
pack.pack(data.open_source(sys.argv[1], 16, quiet=True), sys.argv[2], 16, quiet=True)
"""


def start_slowly(folder, out):
    return subprocess.Popen([sys.executable, "-c", SLOWLY, folder, out], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_killed_at_any_moment_and_gone_on_with_it_is_the_same_pack(tmp_path):
    rng = np.random.default_rng()                                                   # other moments each time
    for part, name, i in itertools.product(("train", "test"), ("cat", "dog"), range(60)):
        save(tmp_path / "set" / part / name / f"{i:03}.png", (i, 2 * i, 3 * i))
        if i % 7 == 0:
            (tmp_path / "set" / part / name / f"{i:03}-broken.png").write_bytes(b"no picture")
    expected = contents(packed(tmp_path / "set", tmp_path / "never killed"))
    out = tmp_path / "killed"
    out.mkdir()
    lines = []
    for _ in range(6):
        child = start_slowly(tmp_path / "set", out)
        before = size_of(out / "blocks.jsonl")
        while child.poll() is None and size_of(out / "blocks.jsonl") <= before:     # it has begun to decode
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.1))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        lines.append((out / "blocks.jsonl").read_bytes().count(b"\n"))
    assert lines == sorted(lines) and lines[0] < lines[-1] and not (out / "pack.json").exists(), lines
    refused(out, "not finished", f"python -m tinynet.data pack SOURCE {out}")
    _, errors = start_slowly(tmp_path / "set", out).communicate()
    assert errors == "" and contents(out) == expected
    same(opened(tmp_path / "never killed"), opened(out))


def size_of(path):
    return path.stat().st_size if path.exists() else 0


def half_a_line(out):
    (out / "pack.json").unlink()
    cut(out / "blocks.jsonl", 30)


def half_a_block_more_than_lines(out):
    (out / "pack.json").unlink()
    lines = (out / "blocks.jsonl").read_bytes().splitlines(keepends=True)
    (out / "blocks.jsonl").write_bytes(b"".join(lines[:3]))
    cut(out / "train.u8", 5 * 3 * SIZE * SIZE + 100)


def lines_without_blocks(out):
    (out / "pack.json").unlink()
    cut(out / "train.u8", 6 * 3 * SIZE * SIZE)


def a_block_that_never_reached_the_disk(out):
    (out / "pack.json").unlink()
    with open(out / "train.u8", "r+b") as file:
        file.seek(4 * 3 * SIZE * SIZE)
        file.write(bytes(4 * 3 * SIZE * SIZE))


def all_but_the_end(out):
    (out / "pack.json").unlink()
    (out / ".pack.json.xyz.tmp").write_text("{")


def nothing_but_a_temporary_file(out):
    for path in out.iterdir():
        path.unlink()
    (out / ".blocks.jsonl.xyz.tmp").write_text("{")


@pytest.mark.parametrize("stopped", [half_a_line, half_a_block_more_than_lines, lines_without_blocks,
                                     a_block_that_never_reached_the_disk, all_but_the_end,
                                     nothing_but_a_temporary_file], ids=lambda stopped: stopped.__name__)
def test_whatever_was_left_behind_it_goes_on_from_there(folder, tmp_path, stopped):
    out = packed(folder, tmp_path / "pack")
    expected = contents(out)
    stopped(out)
    assert contents(packed(folder, out)) == expected


def test_what_is_whole_is_not_decoded_again(folder, tmp_path, monkeypatch):
    out = packed(folder, tmp_path / "pack")
    expected = contents(out)
    (out / "pack.json").unlink()
    flip(out / "test.u8", 0.9)                                                      # in the last of the blocks
    source, read = opened(folder), []
    monkeypatch.setattr(source.train, "read", None)
    whole = source.test.read
    monkeypatch.setattr(source.test, "read", lambda indices: read.extend(indices) or whole(indices))
    pack(source, out, SIZE, quiet=True)
    assert read == [4, 5] and contents(out) == expected


def test_a_finished_pack_is_left_as_it_is(folder, tmp_path, monkeypatch):
    out = packed(folder, tmp_path / "pack")
    source = opened(folder)
    expected = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    monkeypatch.setattr(source.train, "read", None)
    pack(source, out, SIZE, quiet=True)
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == expected


def test_ctrl_c_leaves_whole_blocks_and_it_goes_on(folder, tmp_path, monkeypatch):
    expected = contents(packed(folder, tmp_path / "never stopped"))
    source, calls = opened(folder), itertools.count()
    read, out = source.train.read, tmp_path / "pack"
    monkeypatch.setattr(source.train, "read",
                        lambda indices: next(calls) == 2 and os.kill(os.getpid(), signal.SIGINT) or read(indices))
    assert "the same command goes on" in message(Interrupted, pack, source, out, SIZE, True)
    assert not (out / "pack.json").exists()
    assert contents(packed(folder, out)) == expected


def test_pictures_that_vanish_end_it_with_a_line_and_it_goes_on_once_they_are_back(folder, tmp_path):
    expected = contents(packed(folder, tmp_path / "never stopped"))
    source, out = opened(folder), tmp_path / "pack"
    folder.rename(tmp_path / "gone")
    text = message(OSError, pack, source, out, SIZE, True)
    assert "No such file" in text and "the same command goes on" in text and "--resume" not in text
    (tmp_path / "gone").rename(folder)
    assert contents(packed(folder, out)) == expected


def test_a_full_disk_is_noticed_before_anything_is_decoded(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10_000))
    assert "0 MB are to come" in message(OSError, packed, folder, tmp_path / "pack")


def test_a_disk_that_fills_up_gets_a_line_and_it_goes_on_once_there_is_room(folder, tmp_path):
    expected = contents(packed(folder, tmp_path / "never stopped"))
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, -1))\n"  # of 13,824 bytes of train.u8
    program = full + SLOWLY.replace("pack.pack(", "console.execute(lambda: pack.pack(").strip() + ", ())"
    child = subprocess.run([sys.executable, "-c", program.replace("import data", "import console, data"), folder,
                            tmp_path / "pack"], cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=60)
    assert child.returncode == 1 and child.stderr.count("\n") == 1, child.stderr
    assert f"{tmp_path / 'pack'}: cannot be written to (File too large)" in child.stderr
    assert "the same command goes on" in child.stderr
    assert contents(packed(folder, tmp_path / "pack")) == expected


# ---- what it refuses to pack into ------------------------------------------------------------------------------------
def test_a_folder_with_something_else_in_it_is_refused(folder, tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "thesis.txt").write_text("years")
    assert f"{tmp_path / 'pack'}: holds something else" in message(data.DataError, packed, folder, tmp_path / "pack")
    assert contents(tmp_path / "pack") == {"thesis.txt": b"years"}
    assert "holds something else" in message(data.DataError, packed, folder, folder)


@pytest.mark.parametrize("finished", [True, False])
def test_a_pack_of_something_else_is_refused(folder, tmp_path, finished, monkeypatch):
    out = packed(folder, tmp_path / "pack")
    if not finished:
        (out / "pack.json").unlink()
    before = contents(out)
    assert "its size is not the same" in message(data.DataError, packed, folder, out, 24)
    with monkeypatch.context() as other:
        other.setattr(module, "PIECE", 5)  # as another version may have it
        assert "its block is not the same" in message(data.DataError, packed, folder, out)
    (folder / "train" / "dog" / "008.png").rename(folder / "train" / "dog" / "009.png")
    assert "its source is not the same" in message(data.DataError, packed, folder, out)
    assert contents(out) == before


def another(path):
    Image.new("RGB", (20, 24), (1, 2, 3)).save(path)


def other_time(path):
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize("change", [another, other_time], ids=lambda change: change.__name__)
@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("ending", ["", ".tar", ".tgz"])
def test_pictures_swapped_under_the_same_names_are_noticed(folder, tmp_path, change, finished, ending):
    def source():
        return archive_of(folder, ending) if ending else folder
    out = packed(source(), tmp_path / "pack")
    if not finished:
        (out / "pack.json").unlink()
    before = contents(out)
    change(folder / "train" / "dog" / "004.png")
    if not ending or change is another:
        text = message(data.DataError, packed, source(), out)
        assert "of these pictures as they were before some of them changed" in text and str(out) in text
    assert contents(out) == before


def test_generated_pictures_of_another_seed_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr("tinynet.data.EmbeddedSource", functools.partial(EmbeddedSource, counts=(20, 10)))
    pack(data.open_source("embedded", SIZE, 0, quiet=True), tmp_path / "pack", SIZE, quiet=True)
    pack(data.open_source("embedded", SIZE, 0, quiet=True), tmp_path / "pack", SIZE, quiet=True)
    assert "before some of them changed" in message(
        data.DataError, pack, data.open_source("embedded", SIZE, 1, quiet=True), tmp_path / "pack", SIZE, True)


def test_a_pack_can_be_made_of_a_pack(folder, tmp_path):
    out = packed(folder, tmp_path / "pack")
    again = packed(out, tmp_path / "again")
    same(opened(out), opened(again))
    another(folder / "test" / "cat" / "000.png")
    shutil.rmtree(out)
    packed(folder, out)
    assert "before some of them changed" in message(data.DataError, packed, out, again)


def test_two_processes_cannot_pack_into_one_folder(folder, tmp_path):
    out = tmp_path / "pack"
    out.mkdir()
    with module._alone(out):
        child = start_slowly(folder, out)
        assert "another process is packing into it" in child.communicate()[1]
    assert list(out.iterdir()) == []


# ---- damage --------------------------------------------------------------------------------------------------------
FILES = ["train.u8", "test.u8", "train.csv", "test.csv", "blocks.jsonl", "statistics.npz", "report.txt", "pack.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("seen_before", [False, True])
def test_a_file_that_is_altered_cut_short_longer_or_gone_is_refused(folder, tmp_path, name, seen_before):
    out = packed(folder, tmp_path / "pack")
    if seen_before:
        opened(out)
    whole = (out / name).read_bytes()
    contents = [whole[:-2], whole + b"x", b"", b"[]", b"\xff"]
    if name == "pack.json":
        contents += [whole.replace(b'"dog"', b'"dig"'), whole.replace(b'"format": 1', b'"format": 2')]
    for place in (0, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        contents.append(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:])
    for content in contents:
        (out / name).write_bytes(content)
        refused(out, out / name, "pack again")
    (out / name).unlink()
    if name == "pack.json":
        refused(out, "not finished")
    else:
        refused(out, out / name, "No such file", "pack again")
    (out / name).write_bytes(whole)
    opened(out)


def test_a_flipped_bit_names_its_block_and_its_pictures_and_packing_again_mends_it(folder, tmp_path):
    out = packed(folder, tmp_path / "pack")
    expected = contents(out)
    flip(out / "train.u8")                                                     # in pictures 6 to 9 of 18
    refused(out, out / "train.u8", "block 2, pictures 6 to 9 (train/cat/006.png to train/dog/000.png)",
            f"remove {out / 'pack.json'} and pack again")
    (out / "pack.json").unlink()
    assert contents(packed(folder, out)) == expected


def test_sizes_are_looked_at_before_pictures_are(folder, tmp_path, monkeypatch):
    out = packed(folder, tmp_path / "pack")
    cut(out / "test.u8")
    monkeypatch.setattr("tinynet.data.packed._check_blocks", None)
    refused(out, out / "test.u8", "4,607 bytes where 6 pictures are 4,608")


def test_blocks_are_checked_once_and_again_when_the_file_was_touched_or_when_asked(folder, tmp_path, monkeypatch):
    checks, out = [], packed(folder, tmp_path / "pack")
    check_blocks = module.packed._check_blocks
    monkeypatch.setattr(module.packed, "_check_blocks", lambda *args: checks.append(1) or check_blocks(*args))
    for _ in range(3):
        opened(out)
    assert len(checks) == 1
    verify(out, quiet=True)
    assert len(checks) == 2
    times = (out / "train.u8").stat()
    flip(out / "train.u8")
    os.utime(out / "train.u8", ns=(times.st_atime_ns, times.st_mtime_ns))           # as if it had not been touched
    refused(out, "is not what was packed")
    refused(out, "is not what was packed")                                          # nor is that forgotten


def test_a_stamp_that_cannot_be_written_is_told(folder, tmp_path, monkeypatch, capsys):
    out = packed(folder, tmp_path / "pack")

    def fail(path):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(module.packed, "atomic_write", fail)
    data.open_source(str(out), SIZE)
    assert "will be checked again next time" in capsys.readouterr().err


def test_a_pack_that_is_cut_short_while_it_is_read_is_an_error_and_no_crash(folder, tmp_path):
    """Of a memory map the system would make a SIGBUS, and nothing could be saved."""
    out = packed(folder, tmp_path / "pack")
    split = opened(out).train
    os.truncate(out / "train.u8", 1000)
    text = message(data.DataLost, split.read, np.arange(6))
    assert text.startswith(f"{out / 'train.u8'}: picture 1 is no longer there") and "--resume" in text


# ---- other sizes ---------------------------------------------------------------------------------------------------
def test_smaller_pictures_are_scaled_and_larger_ones_refused(folder, tmp_path):
    out = packed(folder, tmp_path / "pack", 40)
    source = opened(out, 10)
    check_contract(source, 10)
    whole = read_all(opened(out, 40).train)
    by_hand = np.array([np.asarray(Image.fromarray(picture.transpose(1, 2, 0)).resize((10, 10), Image.BICUBIC))
                        for picture in whole]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(read_all(source.train), by_hand)
    assert data.compute_statistics(source.train, quiet=True).mean.shape == (3, 10, 10)
    refused(out, "its pictures have 40 pixels and 41 are needed", "--size 41", size=41)


# ---- reading while training ----------------------------------------------------------------------------------------
def test_memory_stays_flat_over_the_epochs(folder, tmp_path):
    split = opened(packed(folder, tmp_path / "pack")).train
    batches = data.TrainingBatches(split, 4, 12, data.compute_statistics(split), np.random.default_rng(0))
    tracemalloc.start()
    try:
        used = []
        for _ in range(4):
            for _ in range(100):                                                    # 20 epochs
                next(batches)
            used.append(tracemalloc.get_traced_memory()[0])
        assert max(used[1:]) - min(used[1:]) < 100_000, used                        # a batch has 7,000 bytes
    finally:
        tracemalloc.stop()


# ---- the command line ------------------------------------------------------------------------------------------------
@pytest.fixture
def command(monkeypatch, capsys):
    """command(*args): python -m tinynet.data in this process. Returns its exit code and what it printed."""
    def command(*args):
        monkeypatch.setattr(sys, "argv", ["tinynet.data", *map(str, args)])
        with pytest.raises(SystemExit) as caught:
            runpy.run_module("tinynet.data", run_name="__main__")
        return caught.value.code or 0, *capsys.readouterr()
    return command


def test_pack_verify_and_info_from_the_command_line(folder, tmp_path, command):
    out = tmp_path / "new" / "pack"
    code, said, errors = command("pack", folder, out, "--size", 24, "--quiet")
    line = "18 training and 6 test pictures, 24 x 24 pixels; 2 unreadable, left out and listed in report.txt"
    assert (code, said, errors) == (0, f"{out}: {line}\n", "")
    assert command("verify", out) == (0, f"{out}: whole; {line}\n", "")
    code, said, errors = command("info", out, tmp_path / "figures")
    assert code == 0 and errors == "" and said.splitlines()[:3] == [
        f"set: {line}", "cat         9         3", "dog         9         3"]
    for name in ("contact-sheet.png", "ten-crops.png"):
        assert str(tmp_path / "figures" / name) in said
        with Image.open(tmp_path / "figures" / name) as image:
            assert image.format == "PNG" and min(image.size) > 100
    flip(out / "test.u8")
    code, said, errors = command("verify", out)
    assert code == 2 and said == "" and errors.count("\n") == 1 and "is not what was packed" in errors


@pytest.mark.parametrize("args, expected", [
    (["pack", "nowhere", "{tmp}/pack"], "nowhere: there is no such folder"),
    (["pack", "{set}", "{set}"], "holds something else"),
    (["pack", "{set}", "{set}/train/cat/000.png"], "cannot be written to"),
    (["pack", "nowhere", "{set}/train/cat/000.png"], "tinynet.data: OUT "),  # before the source is looked at
    (["info", "nowhere", "{set}/train/cat/000.png"], "tinynet.data: OUT "),
    (["pack", "{set}", "{tmp}/pack", "--size", "0"], "'0' is not a whole number from 1"),
    (["verify", "{set}"], "not a pack; one is made with: python -m tinynet.data pack SOURCE OUT"),
    (["verify", "nowhere"], "not a pack"), (["info", "nowhere"], "nowhere: there is no such folder"),
    (["pack", "{set}", "{tmp}/pack", "--size", "1000000000000"], "the side must be from 1 to 10,000"),
    (["unpack"], "invalid choice"), ([], "COMMAND")])
def test_a_mistake_gets_one_line_and_code_2(folder, tmp_path, command, args, expected):
    code, said, errors = command(*[arg.format(set=folder, tmp=tmp_path) for arg in args])
    assert code == 2 and said == "" and errors.count("\n") == 1 and expected in errors, errors
    assert not (tmp_path / "pack").exists()


def test_ctrl_c_exits_130_and_says_how_to_go_on(tmp_path, command, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 64)  # as the other process has it
    make_classes(tmp_path / "set", {"cat": 300, "dog": 300}, size=(200, 200))
    args = ["pack", tmp_path / "set", tmp_path / "pack", "--size", "200"]
    child = subprocess.Popen([sys.executable, "-m", "tinynet.data", *args], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while child.poll() is None and size_of(tmp_path / "pack" / "train.u8") == 0:
        time.sleep(0.001)
    child.send_signal(signal.SIGINT)
    errors = in_time(lambda: child.communicate()[1], 60)
    assert child.returncode == 130 and errors.endswith("tinynet.data: stopped; the same command goes on from here\n")
    assert "Traceback" not in errors
    code, said, errors = command(*args)
    assert code == 0 and "going on: " in errors and "480 training and 120 test pictures" in said


def test_info_of_many_classes_is_short(tmp_path, command):
    for i in range(25):
        make_classes(tmp_path / "set", {f"class {i:02}": 3 + i % 5})
    code, said, errors = command("info", tmp_path / "set", tmp_path / "figures")
    assert code == 0 and errors == ""
    assert "25 classes, each with 2 to 6 training and 1 to 1 test pictures; the smallest and the largest:" in said
    assert said.count("\nclass ") == 20 and "contact-sheet.png, the first 20 classes" in said


def test_a_pack_says_what_it_is_in_json_that_others_can_read(folder, tmp_path):
    found = json.loads((packed(folder, tmp_path / "pack") / "pack.json").read_text())
    assert found["size"] == SIZE and found["counts"] == {"train": 18, "test": 6}
    assert found["unreadable"] == {"train": 2, "test": 0} and found["class_names"] == ["cat", "dog"]


@pytest.mark.parametrize("lines", [0, 3])
def test_a_reader_that_has_seen_enough_ends_it_without_a_word(tmp_path, lines):
    """As `| head` does. SIGPIPE's number is 13; what is printed is more than a pipe holds back."""
    for i in range(15):
        make_classes(tmp_path / "set", {f"{'long' * 40} {i:02}": 2})
    child = subprocess.Popen([sys.executable, "-m", "tinynet.data", "info", tmp_path / "set", tmp_path / "figures"],
                             cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ,
                                                                                         "PYTHONUNBUFFERED": "1"})
    for _ in range(lines):
        assert child.stdout.readline()
    child.stdout.close()
    assert (in_time(child.wait, 60), child.stderr.read()) == (128 + 13, b"")
