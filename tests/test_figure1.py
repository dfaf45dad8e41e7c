"""Figure 1 of the paper: the sweep chooses as it says, a run that cannot win stops, and rows are not made twice."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tinynet.layers import ReLU, Tanh

ROOT = pathlib.Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("figure1", ROOT / "examples/figure1.py")
figure1 = importlib.util.module_from_spec(spec)
spec.loader.exec_module(figure1)
PAPER = "as in the paper"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of six pictures, light and dark, in the order of their classes."""
    base = tmp_path_factory.mktemp("figure1")
    for part in ("train", "test"):
        for kind, value in (("dark", 20), ("light", 220)):
            (base / part / kind).mkdir(parents=True)
            for number in range(6):
                Image.new("RGB", (32, 32), (value, value, number)).save(base / part / kind / f"{number}.png")
    return base


def test_the_network_has_four_layers_and_the_first_sums_do_not_depend_on_the_pixels():
    nets = [figure1.network(ReLU, by, 10, np.random.default_rng(0)) for by in (1, 64)]
    assert [layer.name for layer in nets[0].layers if layer.params] == ["conv1", "conv2", "conv3", "fc4"]
    x = np.random.default_rng(1).uniform(-128, 128, (2, 3, 32, 32)).astype(np.float32)
    plain, divided = (net.layers[0].forward(a) for net, a in zip(nets, (x, x / 64)))
    assert np.allclose(plain, divided, rtol=1e-4, atol=1e-3)


def test_units_start_from_the_same_weights_and_differ_in_nothing_else():
    relu, tanh = (figure1.network(unit, 1, 10, np.random.default_rng(0)) for unit in (ReLU, Tanh))
    assert all(np.array_equal(w, tanh.named_params()[name]) for name, w in relu.named_params().items())
    assert [type(a) for a in relu.layers if not isinstance(a, ReLU)] == \
           [type(a) for a in tanh.layers if not isinstance(a, Tanh)]


def test_a_run_stops_at_the_goal_or_when_it_may_not_go_on(folder, monkeypatch):
    x, labels = figure1.read_pictures(str(folder), 12)
    assert x.shape == (12, 3, 32, 32) and abs(x.mean()) < 1e-3
    learns = figure1.training_errors(x, labels, PAPER, "ReLU", 0.001, 0, "cpu", lambda done: done < 50)
    assert learns[-1] <= 25 and all(error > 25 for error in learns[:-1]) and len(learns) < 50
    with monkeypatch.context() as patch:
        count, epochs = figure1.top_k_wrong, []                     # twelve pictures: one batch in an epoch

        def at_most_three(*arguments):
            epochs.append(1)
            assert len(epochs) <= 3, "may_go_on said no, and the training goes on"
            return count(*arguments)
        patch.setattr(figure1, "top_k_wrong", at_most_three)
        stopped = figure1.training_errors(x, labels, PAPER, "ReLU", 1e-9, 0, "cpu", lambda done: done < 3)
    assert len(stopped) == 3 and stopped[-1] > 25
    with np.errstate(all="ignore"):
        explodes = figure1.training_errors(x, labels, PAPER, "ReLU", 1e4, 0, "cpu", lambda _: True)
    assert np.isnan(explodes[-1])


def test_fewer_pictures_are_of_every_class(folder):
    assert set(figure1.read_pictures(str(folder), 4)[1]) == {0, 1}


@pytest.mark.parametrize("sweep, best", [
    ({0.1: [60, 24], 0.01: [50, 40, 23], 0.001: [80, 70, 60]}, 0.1),      # the fewest epochs
    ({0.1: [60, 24], 0.01: [50, 20]}, 0.01),                              # as many: the smaller error
    ({0.1: [60, float("nan")], 0.01: [50, 49], 0.001: [50, 45]}, 0.001),  # none: the one that came nearest
])
def test_the_best_rate(sweep, best):
    runs = {(PAPER, "tanh", lr, 0): errors for lr, errors in sweep.items()}
    runs |= {(PAPER, "ReLU", 0.5, 0): [1.0], (PAPER, "tanh", 0.7, 1): [1.0]}  # another unit, another seed
    assert figure1.best_rate(runs, PAPER, "tanh") == best


def test_the_summary_counts_epochs_and_says_when_there_is_no_ratio():
    runs = {}
    for seed in (0, 1):
        for pixels in figure1.PIXELS:
            runs[pixels, "ReLU", 0.1, seed] = [50] * (3 + seed) + [20]       # 4 and 5 epochs
            runs[pixels, "tanh", 0.1, seed] = [50] * (17 + 10 * seed) + [20]  # 18 and 28
    runs["divided by 64", "tanh", 0.1, 1] = [50] * 30
    lines = list(figure1.summary(runs, 2))
    assert lines[0] == "pixels as in the paper, ReLU, rate 0.1: epochs until 25 %, seed by seed: 4, 5"
    assert lines[2] == ("pixels as in the paper: tanh needs 5.1 times as many epochs; 3.6 to 7.0 times for any two "
                        "seeds")
    assert lines[-2].endswith("tanh, rate 0.1: epochs until 25 %, seed by seed: 18, never")
    assert lines[-1] == "pixels divided by 64: not every run reached 25 %, so there is no ratio"


def test_the_command_makes_every_run_once(folder, tmp_path):
    command = [sys.executable, str(ROOT / "examples/figure1.py"), "--data", str(folder), "--rates", "0.001", "0.003",
               "--seeds", "2", "--epochs", "4", "--device", "cpu", "--out", "rows.csv"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TINYNET_THREADS": "1"}
    first, second = (subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True,
                                    timeout=300) for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr
    assert first.stdout == second.stdout and "seed" in first.stderr and "seed" not in second.stderr
    runs = figure1.read_rows(tmp_path / "rows.csv")
    assert len(runs) == 2 * 2 * (2 + 1) and all(1 <= len(errors) <= 4 for errors in runs.values())


@pytest.mark.parametrize("script", ["figure1.py", "ablations.py"])
@pytest.mark.parametrize("option, path", [("--data", "nowhere"), ("--out", "file/rows.csv")])
def test_a_wrong_path_is_one_line_before_anything_is_trained(tmp_path, script, option, path):
    (tmp_path / "file").touch()
    ran = subprocess.run([sys.executable, str(ROOT / "examples" / script), option, path], cwd=tmp_path,
                         env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.count("\n") == 1 and path.split("/")[0] in ran.stderr
