"""The race against PyTorch is fair: both sides compute the same steps from the same weights on the same batches."""

import argparse
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


@pytest.fixture
def race(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import race
    yield race
    for name in ("race", "figure1", "contenders"):
        sys.modules.pop(name, None)


@pytest.fixture
def folder(tmp_path):
    """Two classes of six pictures, which differ in their noise, and are lighter or darker."""
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for kind, light in (("dark", 60), ("light", 130)):
            (tmp_path / part / kind).mkdir(parents=True)
            for number in range(6):
                pixels = rng.integers(light - 60, light + 60, (32, 32, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / kind / f"{number}.png")
    return tmp_path


def options(folder, **changes):
    return argparse.Namespace(**{"data": str(folder), "unit": "ReLU", "lr": 0.003, "seed": 3, "pictures": 12,
                                 "threads": 1} | changes)


@pytest.mark.parametrize("unit", ["ReLU", "tanh"])
def test_every_step_of_both_is_the_same(race, folder, monkeypatch, oracle, unit):
    """Two epochs of three batches: logits depend on weights, order, rate and momentum."""
    seen = {name: [] for name in race.SIDES}
    monkeypatch.setattr(race, "BATCH", 5)
    count = race.top_k_wrong
    for name in race.SIDES:
        monkeypatch.setattr(race, "top_k_wrong", lambda logits, labels, k, steps=seen[name]: (
            steps.append((logits.copy(), labels)) or count(logits, labels, k)))
        racer = race.Racer(name, options(folder, unit=unit, lr=0.01))
        racer.epoch(), racer.epoch()
    ours, theirs = seen.values()
    assert [len(labels) for _, labels in ours] == [5, 5, 2] * 2
    assert not np.allclose(ours[0][0].mean(axis=0), ours[-1][0].mean(axis=0), rtol=0.5)  # weights have moved
    for (y, labels), (y_torch, labels_torch) in zip(ours, theirs):
        np.testing.assert_array_equal(labels, labels_torch)
        np.testing.assert_allclose(y, y_torch, rtol=1e-3, atol=1e-4 * np.abs(y).max())


def test_our_side_is_figure_1(race, folder):
    import figure1
    racer = race.Racer("tinynet", options(folder, lr=0.001))
    x, labels = figure1.read_pictures(str(folder), 12)
    errors = figure1.training_errors(x, labels, "as in the paper", "ReLU", 0.001, 3, "cpu", lambda done: done < 4)
    assert [racer.epoch()[0] for _ in errors] == errors


def test_the_summary_compares_times_where_both_have_arrived(race):
    done = {"tinynet": [(40.0, 3.0), (25.0, 3.0)], "PyTorch": [(30.0, 1.0), (26.0, 1.0), (24.0, 1.0)]}
    lines = list(race.summary(done))
    assert lines[0] == "tinynet: 25.00 % after 2 epochs and 6.0 s, 3.0 s an epoch"
    assert lines[-1] == "PyTorch took 0.50 times as long as tinynet to 25 %"
    done["tinynet"].pop()
    assert list(race.summary(done))[-1] == "not both reached 25 %"


def race_of(folder, *arguments):
    return subprocess.run([sys.executable, str(EXAMPLES / "race.py"), "--data", str(folder), *arguments],
                          capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "TINYNET_THREADS": "1"})


def test_the_command_races_until_the_goal(folder, oracle):
    ran = race_of(folder, "--lr", "0.001", "--epochs", "40")
    assert (ran.returncode, ran.stderr) == (0, "")
    head, columns, *rows, ours, theirs, result = ran.stdout.splitlines()
    assert head.startswith("four layers with ReLU, rate 0.001, seed 0, ") and " 1 threads:" in head
    assert columns.split() == ["epoch", "tinynet", "PyTorch"]
    number, error, _, error_torch, _ = rows[0].split()
    assert (number, error) == ("1", error_torch)
    assert float(rows[-2].split()[1]) > 25 >= float(rows[-1].split()[1])
    assert f"after {len(rows)} epochs" in ours and result.endswith("times as long as tinynet to 25 %")


def test_a_wrong_path_is_one_line(tmp_path, oracle):
    ran = race_of(tmp_path / "nowhere")
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1) and "nowhere" in ran.stderr
