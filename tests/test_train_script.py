"""The main job as people run it: what it leaves behind, what it says, and how it ends when something is wrong."""

import csv
import importlib.util
import json
import os
import pathlib
import platform
import shutil
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import skip_unless_required
from PIL import Image

import tinynet
from tinynet import data
from tinynet.evaluation import evaluate
from tinynet.runs import checkpoints

ROOT = pathlib.Path(__file__).parents[1]
SCRIPT = ROOT / "examples" / "train_alexnet.py"
SLIM = ROOT / "tests" / "slim.py", SCRIPT
SIZE, STORED = 67, 76  # the smallest side that every recipe can do, and what it is cut from
COLOURS = {"blue": (40, 40, 200), "green": (40, 200, 40), "red": (200, 40, 40)}
FILES = ["best_and_worst.png", "config.json", "curves.png", "kernels.png", "metrics.csv", "metrics.jsonl",
         "statistics.npz", "summary.json", "weights.npz"]


def start(*arguments, cwd, program=(SCRIPT,)):
    """The script in a process of its own, with no GPU in sight whatever machine this is."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen([sys.executable, *map(str, (*program, *arguments))], cwd=cwd, env=environment, text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process):
    """-> exit code, stdout, stderr. A script that hangs fails the test, and does not outlive it."""
    try:
        out, err = process.communicate(timeout=300)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    assert "Traceback" not in err, err
    return process.returncode, out, err


def start_slim(*arguments, cwd):
    return start(*arguments, cwd=cwd, program=SLIM)


def run(*arguments, cwd, program=(SCRIPT,)):
    return finish(start(*arguments, cwd=cwd, program=program))


def run_slim(*arguments, cwd):
    return run(*arguments, cwd=cwd, program=SLIM)


def options(folder, out, **more):
    chosen = {"data": folder, "out": out, "device": "cpu", "image-size": SIZE, "batch-size": 16, "steps": 2, **more}
    return [word for key, value in chosen.items() for word in (f"--{key}", value)]


def make_colours(root, train, test):
    """A class for each colour, with noise: anything that learns at all learns this."""
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("test", test)):
        for name, colour in COLOURS.items():
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(colour + rng.normal(0, 30, (24, 24, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{i:02}.png")


def break_two(folder):
    """A text file and half a JPEG, both called .jpg."""
    text, half = folder / "text.jpg", folder / "half.jpg"
    text.write_text("this is no picture")
    Image.effect_noise((64, 64), 90).save(half)
    half.write_bytes(half.read_bytes()[:-600])
    return text, half


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    root = tmp_path_factory.mktemp("colours")
    make_colours(root, train=20, test=6)
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One whole run, on a folder with two files that cannot be read. Its pictures, results, output and arguments."""
    base = tmp_path_factory.mktemp("trained")
    make_colours(base / "colours", train=26, test=6)
    broken = break_two(base / "colours" / "train" / "green")
    arguments = options("colours", "results/first", steps=36, recipe="caffe", seed=0)
    code, out, err = run(*arguments, "--ten-views", cwd=base)
    assert code == 0, err
    return base / "colours", base / "results" / "first", out, err, broken


def weights(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def read_metrics(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# ---- a whole run ---------------------------------------------------------------------------------------------------
def test_the_job_leaves_its_files(trained):
    folder, out, *_ = trained
    assert sorted(file.name for file in out.iterdir()) == FILES
    assert sorted(file.name for file in out.parent.parent.iterdir()) == ["colours", "results"]


def test_it_learns_what_is_easy(trained):
    """Three colours from 78 pictures in 36 steps, to an error that guessing (two thirds) does not reach."""
    summary = json.loads((trained[1] / "summary.json").read_text())
    losses = [float(row["loss"]) for row in read_metrics(trained[1] / "metrics.csv")]
    assert summary["top1_error"] <= 0.2 and np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_summary_has_the_promised_keys(trained):
    summary = json.loads((trained[1] / "summary.json").read_text())
    assert sorted(summary) == ["device", "images", "images_per_second", "loss", "parameters", "recipe", "seconds",
                               "steps", "ten_views", "top1_error", "top5_error"]
    assert (summary["device"], summary["recipe"], summary["steps"]) == ("cpu", "caffe", 36)
    net = tinynet.AlexNet("caffe", 3, SIZE, rng=np.random.default_rng(0))
    assert summary["parameters"] == net.summary().params
    assert summary["seconds"] > 0 and summary["top5_error"] == 0  # of three classes five guesses are always enough
    # 78 pictures in 80 files make five batches; so 36 steps are seven passes, and one batch of an eighth
    assert 7 * 78 + 14 <= summary["images"] <= 7 * 78 + 16
    assert summary["images_per_second"] == pytest.approx(summary["images"] / summary["seconds"])


def test_config_says_how_to_do_it_again(trained):
    config = json.loads((trained[1] / "config.json").read_text())
    assert config == {"data": "colours", "recipe": "caffe", "schedule": "short", "device": "cpu",
                      "epochs": config["epochs"], "steps": 36, "batch_size": 16, "image_size": SIZE, "lr": 0.01,
                      "ten_views": True, "seed": 0, "out": "results/first", "quiet": False, "resume": False,
                      "checkpoint_minutes": 10.0, "keep_checkpoints": False, "weights": None,
                      "parallel": None, "shards": 1,
                      "network": "AlexNet", "classes": ["blue", "green", "red"],
                      "tinynet": tinynet.__version__, "numpy": np.__version__, "python": platform.python_version()}


def test_metrics_have_a_row_for_every_step(trained):
    rows = read_metrics(trained[1] / "metrics.csv")
    assert list(rows[0]) == ["step", "epoch", "lr", "loss", "train_error", "top1_error", "top5_error", "test_loss"]
    assert [int(row["step"]) for row in rows] == list(range(1, 37))
    assert [int(row["epoch"]) for row in rows] == [(step + 4) // 5 for step in range(1, 37)]
    tested = [int(row["step"]) for row in rows if row["top1_error"]]
    assert tested == [5, 10, 15, 20, 25, 30, 35, 36]
    assert all(bool(row["top1_error"]) == bool(row["top5_error"]) == bool(row["test_loss"]) for row in rows)
    # eight epochs: the rate is cut after the fifth and the seventh
    rates = [0.01] * 25 + [0.001] * 10 + [0.0001]
    assert [float(row["lr"]) for row in rows] == pytest.approx(rates)
    summary = json.loads((trained[1] / "summary.json").read_text())
    assert [float(rows[-1][key]) for key in ("top1_error", "top5_error", "test_loss")] == [
        summary["top1_error"], summary["top5_error"], summary["loss"]]


def test_weights_load_back_and_score_the_same(trained):
    folder, out, *_ = trained
    source = data.open_source(str(folder), STORED, quiet=True)
    net = tinynet.AlexNet("caffe", 3, SIZE, rng=np.random.default_rng(99))
    net.to("cpu")
    net.load(out / "weights.npz")
    mean = data.compute_statistics(source.train, quiet=True).mean
    summary = json.loads((out / "summary.json").read_text())
    for ten_views, said in ((False, summary), (True, summary["ten_views"])):
        batches = data.test_batches(source.test, 16, SIZE, mean, ten_views)
        result = evaluate(net, tinynet.SoftmaxCrossEntropy(), batches)
        assert (result.top1_error, result.top5_error) == (said["top1_error"], said["top5_error"])
        assert result.loss == pytest.approx(said["loss"], rel=1e-4)
    assert summary["ten_views"]["images"] == 18 and summary["ten_views"]["loss"] != summary["loss"]


@pytest.mark.parametrize("name, tones", [("curves.png", 20), ("kernels.png", 1000),
                                         ("best_and_worst.png", 1000)])
def test_figures_are_pictures_with_something_on_them(trained, name, tones):
    with Image.open(trained[1] / name) as image:
        assert image.format == "PNG" and min(image.size) > 200
        assert len(image.convert("RGB").getcolors(image.width * image.height)) > tones


def test_unreadable_files_are_named_once_skipped_and_counted(trained):
    _, _, out, err, (text, half) = trained
    skipped = [line for line in err.splitlines() if line.startswith("skipped ")]
    assert len(skipped) == 2
    for file, reason in ((text, "cannot identify image file"), (half, "truncated")):
        line, = [line for line in skipped if f"{os.sep}{file.name}: " in line]
        assert reason in line
    assert "2 pictures could not be read and were left out\n" in out


def test_what_the_job_says(trained):
    *_, out, err, _ = trained
    assert "device: cpu" in out and "colours: 3 classes, 80 training pictures, 18 test pictures" in out
    assert err.count("test error") == 8 and "\r" not in err  # plain lines, as stderr is no terminal
    summary = json.loads((trained[1] / "summary.json").read_text())
    said = {line[:20].strip(): line[20:].split() for line in out.splitlines()}
    assert said["18 test pictures"] == ["top-1", "error", "top-5", "error", "nll"]
    assert said["guessing"] == ["66.7%", "0.0%", "1.099"]
    for name, row in (("one view", summary), ("ten views", summary["ten_views"])):
        assert said[name] == [f"{row['top1_error']:.1%}", f"{row['top5_error']:.1%}", f"{row['loss']:.3f}"]
    steps, where = out.splitlines()[-2:]
    assert steps.startswith(f"36 steps, {summary['images']} pictures in ") and " on cpu: " in steps
    assert where == ("results/first: curves.png, kernels.png, best_and_worst.png, weights.npz, metrics.csv, "
                     "summary.json")


def test_it_runs_in_a_notebook(colours, tmp_path):
    """As %run does: in the process of a kernel, whose stdout has no reconfigure, twice into two folders."""
    if not importlib.util.find_spec("ipykernel"):
        skip_unless_required("TINYNET_REQUIRE_LESSONS", "ipykernel is missing")
    words = " ".join(map(str, options(colours, "out", steps=1)))
    program = ("from IPython.core.interactiveshell import InteractiveShell\nimport io, sys\n"
               "class Stream(io.TextIOBase):\n    def write(self, text): return len(text)\n"
               "sys.stdout = Stream()\nshell = InteractiveShell()\n"
               f"shell.run_line_magic('run', {str(SCRIPT)!r} + {' ' + words!r})\n")
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, text=True, capture_output=True, timeout=300,
                         env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""})
    assert (ran.returncode, "Traceback" in ran.stderr) == (0, False), ran.stderr
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == FILES


# ---- chance ---------------------------------------------------------------------------------------------------------
def test_one_seed_is_one_run(colours, tmp_path):
    for out, seed in (("first", 3), ("again", 3), ("other", 4)):
        code, _, err = run_slim(*options(colours, out, seed=seed, steps=3), cwd=tmp_path)
        assert code == 0, err
    first, again, other = ((tmp_path / out / "metrics.csv").read_bytes() for out in ("first", "again", "other"))
    assert first == again and first != other
    assert (tmp_path / "first" / "weights.npz").read_bytes() == (tmp_path / "again" / "weights.npz").read_bytes()


# ---- silence --------------------------------------------------------------------------------------------------------
def test_quiet_prints_nothing(colours, tmp_path):
    """Not even of broken files, nor what Pillow has to say about damaged EXIF data."""
    shutil.copytree(colours, tmp_path / "set")
    break_two(tmp_path / "set" / "train" / "red")
    photo = tmp_path / "set" / "train" / "red" / "exif.jpg"
    Image.new("RGB", (30, 30), COLOURS["red"]).save(photo)
    junk = b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0\0"
    segment, whole = b"\xff\xe1" + struct.pack(">H", len(junk) + 2) + junk, photo.read_bytes()
    photo.write_bytes(whole[:2] + segment + whole[2:])
    assert run_slim(*options("set", "out"), "--quiet", cwd=tmp_path) == (0, "", "")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == FILES


# ---- mistakes: one line, code 2, nothing written --------------------------------------------------------------------
RIGHT = ("the data is a folder with one sub-folder for each class, or 'embedded'; python -m tinynet.data download "
         "cifar10 data fetches CIFAR-10")


def empty_folder(root, colours):
    (root / "set").mkdir()
    return ["--data", "set"], f"set: no pictures in its sub-folders; expected set{os.sep}CLASS{os.sep}x.jpg"


def one_class(root, colours):
    shutil.copytree(colours / "train" / "red", root / "set" / "red")
    return ["--data", "set"], "set: there is only one class, 'red'; at least two are needed"


def file_for_data(root, colours):
    (root / "set").write_text("")
    return ["--data", "set"], f"set: is a file, not a folder or a .tar; {RIGHT}"


def out_below_a_file(root, colours):
    (root / "file").write_text("")
    return ["--out", "file/below"], "--out file/below: cannot be written to (Not a directory)"


def out_is_a_file(root, colours):
    (root / "file").write_text("")
    return ["--out", "file"], "--out file: cannot be written to (Not a directory)"


def out_below_a_file_and_no_data(root, colours):
    """It is refused before the data are looked at, which may take hours."""
    (root / "file").write_text("")
    return ["--data", "nowhere", "--out", "file/below"], "--out file/below: cannot be written to (Not a directory)"


MISTAKES = {
    "no folder": (["--data", "nowhere"], f"nowhere: there is no such folder; {RIGHT}"),
    "empty folder": empty_folder,
    "one class": one_class,
    "a file for data": file_for_data,
    "out below a file": out_below_a_file,
    "out is a file": out_is_a_file,
    "out is refused first": out_below_a_file_and_no_data,
    "no gpu": (["--device", "gpu"], "no usable GPU: "),
    "unknown device": (["--device", "tpu"], "unknown device 'tpu': "),
    "unknown recipe": (["--recipe", "vgg"], "argument --recipe: invalid choice: 'vgg' "),
    "batch size 0": (["--batch-size", "0"], "argument --batch-size: '0' is not a whole number from 1"),
    "no steps": (["--steps", "0"], "argument --steps: '0' is not a whole number from 1"),
    "a trillion pixels": (["--image-size", "1000000000000"],
                          "pictures of 1142857142857 x 1142857142857 pixels cannot be read; "),
    "no rate": (["--lr", "0"], "argument --lr: '0' is not a number above 0"),
    "negative seed": (["--seed", "-1"], "argument --seed: '-1' is not a whole number from 0"),
    "image too small": (["--image-size", "35"], "pool5: "),
    "image of one pixel": (["--image-size", "1"], "conv1: "),
    "unknown option": (["--colour", "red"], "unrecognized arguments: --colour red"),
}
OPEN_ENDED = {"no gpu", "unknown device", "unknown recipe", "image too small", "image of one pixel",
              "a trillion pixels"}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_line_and_code_2_and_nothing_is_written(colours, tmp_path, name):
    arguments, expected = MISTAKES[name](tmp_path, colours) if callable(MISTAKES[name]) else MISTAKES[name]
    before = {path: path.stat().st_size for path in tmp_path.rglob("*")}
    code, _, err = run(*options(colours, "out"), *arguments, cwd=tmp_path)  # the last word of an option counts
    assert code == 2
    assert err.count("\n") == 1 and err.startswith(f"train_alexnet.py: {expected}"), err
    assert name in OPEN_ENDED or err == f"train_alexnet.py: {expected}\n"
    assert {path: path.stat().st_size for path in tmp_path.rglob("*")} == before


def test_a_number_of_threads_that_is_none_gets_one_line(colours, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYNET_THREADS", "abc")
    code, out, err = run(*options(colours, "out"), cwd=tmp_path)
    assert (code, out, list(tmp_path.iterdir())) == (2, "", [])
    assert err == "train_alexnet.py: TINYNET_THREADS must be a whole number of at least 1, it is 'abc'\n"


def test_what_is_said_of_a_picture_that_is_too_small_before_the_data_are_read(tmp_path):
    _, _, err = run(*options("nowhere", "out"), "--image-size", "35", cwd=tmp_path)
    assert err.endswith("pictures of 35 pixels are too small for code-2012, the smallest that fit are 36\n")


def test_a_picture_of_one_pixel_is_a_picture(colours, tmp_path):
    shutil.copytree(colours, tmp_path / "set")
    Image.new("RGB", (1, 1), COLOURS["red"]).save(tmp_path / "set" / "train" / "red" / "dot.png")
    code, out, err = run_slim(*options("set", "out", steps=1), cwd=tmp_path)
    assert code == 0 and "skipped" not in err and "61 training pictures" in out


@pytest.mark.parametrize("part, count", [("train", 60), ("test", 18)])
def test_a_folder_of_nothing_readable_ends_before_training(colours, tmp_path, part, count):
    shutil.copytree(colours, tmp_path / "set")
    for file in (tmp_path / "set" / part).rglob("*.png"):
        file.write_text("this is no picture")
    code, _, err = run(*options("set", "out", steps=1), cwd=tmp_path)
    assert code == 2 and err.endswith(f"\ntrain_alexnet.py: none of {count} pictures can be read\n")
    assert sum(line.startswith("skipped ") for line in err.splitlines()) == count
    assert not (tmp_path / "out" / "weights.npz").exists()


# ---- faults of the run ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("batch_size, lr", [(16, 1e6), (64, 1e39)])
def test_a_loss_that_is_not_finite_ends_with_code_1_and_good_weights(colours, tmp_path, batch_size, lr):
    """In the middle of an epoch; and at its end, where the first to meet the faulty weights is the evaluation."""
    arguments = options(colours, "out", steps=50, lr=lr, **{"batch-size": batch_size})
    code, out, err = run_slim(*arguments, "--quiet", cwd=tmp_path)
    rows = read_metrics(tmp_path / "out" / "metrics.csv")
    assert (code, out) == (1, "") and [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
    assert all(np.isfinite(float(row["loss"])) for row in rows)
    assert err.startswith(tuple(f"train_alexnet.py: step {len(rows) + i}: the loss is " for i in (0, 1)))
    assert err.count("\n") == 1, "the arithmetic has nothing to add"
    saved = weights(checkpoints(tmp_path / "out")[-1])
    arrays = [array for name, array in saved.items() if name.startswith(("network/params/", "sgd/velocity/"))]
    assert len(arrays) == 32 and all(np.isfinite(array).all() for array in arrays)
    assert not (tmp_path / "out" / "summary.json").exists()


def test_ctrl_c_ends_with_code_130_and_a_checkpoint_of_the_last_step(colours, tmp_path):
    out = tmp_path / "out"
    process = start_slim(*options(colours, out, steps=100_000, **{"batch-size": 1}), cwd=tmp_path)
    deadline = time.monotonic() + 300
    while not (out / "metrics.csv").exists() or len(read_metrics(out / "metrics.csv")) < 2:
        assert process.poll() is None and time.monotonic() < deadline, finish(process)
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130 and err.splitlines()[-1] == (
        "train_alexnet.py: stopped; the same command with --resume goes on from here")
    rows = read_metrics(out / "metrics.csv")
    assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1)) and len(rows) >= 2
    assert [path.name for path in checkpoints(out)] == ["checkpoint-000000.npz", f"checkpoint-{len(rows):06}.npz"]
    saved = weights(checkpoints(out)[-1])
    assert all(np.isfinite(array).all() for name, array in saved.items() if name.startswith("network/params/"))
    assert sorted(file.name for file in out.iterdir()) == sorted(
        ["config.json", "metrics.csv", "metrics.jsonl", "statistics.npz", *(path.name for path in checkpoints(out))])
