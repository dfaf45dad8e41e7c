"""The script for CIFAR-10 on a few pictures: what it leaves behind, and that a run which was killed goes on."""

import json
import os
import re
import runpy
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from test_train_script import COLOURS, FILES, ROOT
from training import train_step

import tinynet
from tinynet import data
from tinynet.runs import checkpoints, setup


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A data set of three classes, told apart by their colour, and a run that nobody stopped."""
    base, rng = tmp_path_factory.mktemp("cifar10"), np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 4)):
        for name, colour in COLOURS.items():
            (base / "pictures" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(colour + rng.normal(0, 30, (32, 32, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(base / "pictures" / split / name / f"{i}.png")
    assert run("--out", "whole", *OPTIONS, cwd=base)[0] == 0
    return base


OPTIONS = "--data", "pictures", "--epochs", "12", "--batch-size", "10", "--device", "cpu", "--quiet"


def start(*arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen([sys.executable, str(ROOT / "examples" / "train_cifar10.py"), *arguments], cwd=cwd,
                            env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(*arguments, cwd):
    """-> exit code, stdout, stderr"""
    process = start(*arguments, cwd=cwd)
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def test_it_learns_and_leaves_what_a_run_leaves(base):
    assert sorted(os.listdir(base / "whole")) == FILES
    summary = json.loads((base / "whole" / "summary.json").read_text())
    assert summary["top1_error"] == 0 and summary["parameters"] == 145_578 - 7 * 65 and summary["steps"] == 12 * 6


def test_its_first_steps_are_those_of_the_authors(base):
    """Pictures as they are, less the mean; biases at 0.002, decay 0.004 and 0.03; every number by other means."""
    source = data.open_source(base / "pictures", 32, quiet=True)
    rng, order_rng = np.random.default_rng(0).spawn(2)
    net, loss = tinynet.CifarNet(3, rng=rng), tinynet.SoftmaxCrossEntropy()
    sgd = tinynet.SGD(net, lr=0.001, momentum=0.9, weight_decay=0.004)
    net.train()
    pictures, _ = source.train.read(np.arange(60))
    centred = pictures - pictures.mean(axis=0, dtype=np.float64).astype(np.float32)
    order, losses = order_rng.permutation(60), []
    for batch in order.reshape(6, 10):
        losses.append(float(train_step(net, loss, sgd, centred[batch], source.train.labels[batch])))
    rows = [json.loads(line) for line in (base / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [row["loss"] for row in rows[:6]] == losses  # to the last bit
    assert [row["lr"] for row in rows[::6]] == pytest.approx([1e-3] * 9 + [1e-4] + [1e-5] * 2)


def test_a_run_that_was_killed_ends_as_one_that_was_not(base):
    killed = start("--out", "killed", *OPTIONS, cwd=base)
    end = time.monotonic() + 200
    while not any(path.name > "checkpoint-000010" for path in checkpoints(base / "killed")):
        assert time.monotonic() < end and killed.poll() is None, killed.communicate()
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    code, _, err = run("--out", "killed", "--resume", "--epochs", "11", "--quiet", cwd=base)
    assert code == 2 and "made by another run: options epochs was 12, now it is 11" in err and err.count("\n") == 1
    assert run("--out", "killed", "--resume", "--quiet", cwd=base)[0] == 0
    for name in ("weights.npz", "metrics.csv", "metrics.jsonl"):
        assert (base / "killed" / name).read_bytes() == (base / "whole" / name).read_bytes(), name


def test_classify_opens_its_runs(base):
    picture = base / "pictures" / "test" / "red" / "0.png"
    ran = subprocess.run([sys.executable, ROOT / "examples" / "classify.py", "whole", picture], cwd=base, text=True,
                         env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert "red" in next(line for line in ran.stdout.splitlines() if "%" in line)


def test_data_that_are_not_there_get_a_line(base):
    code, _, err = run("--data", "nowhere", "--out", "none", cwd=base)
    assert code == 2 and "nowhere" in err and err.count("\n") == 1
    assert not (base / "none").exists()


def test_the_hint_names_options_that_this_script_has(base, monkeypatch):
    given = []

    class Stopped(Exception):
        pass

    def open_run(*arguments):
        given.extend(arguments)
        raise Stopped

    monkeypatch.chdir(base)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.setattr(setup, "open_run", open_run)
    monkeypatch.setattr(sys, "argv", ["train_cifar10.py", "--out", "never", *OPTIONS])
    with pytest.raises(Stopped):
        runpy.run_path(str(ROOT / "examples" / "train_cifar10.py"))["main"]()
    ours = setup.parser("", data="", epochs=1, batch_size=1, lr=1, out="").format_help()
    named = re.findall(r"--[a-z-]+", given[-1].remedy)
    assert named and all(f"{option} " in ours for option in named), named
