"""Figures 3 and 4 for a run: the nearest pictures are the nearest, and the arrays are those of the figures."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import tinynet
from tinynet import checkpoint, data, runs

ROOT = pathlib.Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("look_inside", ROOT / "examples/look_inside.py")
look_inside = importlib.util.module_from_spec(spec)
spec.loader.exec_module(look_inside)
SIZE, STORED = 67, 76


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A run whose network is fresh, and a folder of 9 training pictures and 3 test pictures of three classes."""
    base, rng = tmp_path_factory.mktemp("look_inside"), np.random.default_rng(0)
    for part, count in (("train", 3), ("test", 1)):
        for kind in ("ant", "bee", "cat"):
            (base / "data" / part / kind).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (STORED, STORED, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(base / "data" / part / kind / f"{number}.png")
    (base / "run").mkdir()
    net = tinynet.AlexNet("caffe", 3, SIZE, rng=np.random.default_rng(3))
    runs.write_json(base / "run" / "config.json", {"network": "AlexNet", "recipe": "caffe", "image_size": SIZE,
                    "classes": ["ant", "bee", "cat"], "seed": 0, "data": str(base / "data")})
    runs.write_json(base / "run" / "summary.json", {})
    checkpoint.save_arrays(base / "run" / "statistics.npz",
                           {"mean": np.full((3, STORED, STORED), 120, np.float32), "covariance": np.eye(3)})
    net.save(base / "run" / "weights.npz")
    return base


def command(*arguments, cwd):
    return subprocess.run([sys.executable, str(ROOT / "examples/look_inside.py"), *map(str, arguments)], cwd=cwd,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=200)


def test_the_nearest_are_found_batch_after_batch(base, monkeypatch):
    trained = runs.load(base / "run")
    source = data.open_source(str(base / "data"), STORED, quiet=True)
    pictures, labels = next(look_inside.batches(source.test, np.arange(3)))
    known, known_labels = next(look_inside.batches(source.train, np.arange(9)))
    monkeypatch.setattr(look_inside, "BATCH", 2)
    near, near_labels, distances = look_inside.nearest(trained, pictures, source.train, quiet=True)
    a, b = look_inside.features(trained, pictures), look_inside.features(trained, known)
    assert a.shape == (3, 4096) and (a >= 0).all()                        # after the ReLU of fc7
    expected = np.sqrt(((a[:, None] - b) ** 2).sum(axis=2))               # (3, 9)
    order = expected.argsort(axis=1)[:, :6]
    assert np.allclose(distances, np.take_along_axis(expected, order, axis=1), rtol=1e-4)
    assert np.array_equal(near_labels, known_labels[order]) and np.array_equal(near, known[order])


def test_a_training_picture_is_nearest_to_itself(base):
    trained = runs.load(base / "run")
    source = data.open_source(str(base / "data"), STORED, quiet=True)
    pictures, labels = source.train.read(np.arange(9))[0], source.train.labels
    near, near_labels, distances = look_inside.nearest(trained, pictures, source.train, quiet=True)
    assert np.array_equal(near[:, 0], pictures) and np.array_equal(near_labels[:, 0], labels)
    assert (distances[:, 0] < 1e-3).all() and (np.diff(distances, axis=1) >= 0).all()


def test_the_command_writes_three_figures_and_their_arrays(base, tmp_path):
    ran = command(base / "run", "--out", tmp_path / "inside", "--device", "cpu", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    names = ["figure3.png", "figure4_left.png", "figure4_right.png", "look_inside.npz"]
    assert sorted(os.listdir(tmp_path / "inside")) == names and "guessing has 33%" in ran.stdout
    arrays = checkpoint.load_arrays(tmp_path / "inside" / "look_inside.npz")
    assert arrays["kernels"].shape == (96, 3, 11, 11) and arrays["nearest"].shape[:2] == (3, 6)
    assert arrays["pictures"].shape == (3, 3, 38, 38) and list(arrays["class_names"]) == ["ant", "bee", "cat"]


def test_mistakes_are_one_line(base, tmp_path):
    (tmp_path / "other" / "train").mkdir(parents=True)
    for part in ("train", "test"):
        for kind in ("x", "y"):
            (tmp_path / "other" / part / kind).mkdir(parents=True)
            Image.new("RGB", (80, 80)).save(tmp_path / "other" / part / kind / "1.png")
    for arguments, words in ((["nowhere"], "nowhere"), ([base / "run", "--data", tmp_path / "other"], "other classes")):
        ran = command(*arguments, cwd=tmp_path)
        assert ran.returncode == 2 and ran.stderr.count("\n") == 1 and words in ran.stderr, ran.stderr
