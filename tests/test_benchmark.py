"""The benchmark measures what it says, on either device; no test looks at how long anything took."""

import json
import os
import pathlib
import runpy
import subprocess
import sys

import numpy as np
import pytest
from test_data import make_classes

import tinynet

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


@pytest.fixture
def benchmark(monkeypatch):
    """examples/benchmark.py as a module, on a network so small that the emulator can be a GPU."""
    from tinynet.layers import LRN, Conv2d, Dropout, Flatten, Linear, MaxPool, ReLU
    monkeypatch.syspath_prepend(EXAMPLES)
    import benchmark
    import contenders
    monkeypatch.setattr(contenders, "IN_A_ROW", 2)

    def tiny(recipe, image_size, rng):
        layers = [Conv2d("conv1", 4, 3, groups=1, need_dx=False), LRN("lrn1"), ReLU("relu1"), MaxPool("pool1", 3, 2),
                  Flatten("flatten"), Linear("fc2", 1000), Dropout("drop2")]
        return tinynet.Sequential(layers, (3, image_size, image_size), rng)

    monkeypatch.setattr(tinynet, "AlexNet", tiny)
    benchmark.measured = []

    def here(function, *args):
        if function is benchmark.measure:
            benchmark.measured.append((os.environ["CUPY_TF32"], *args[0].rungs))
        return function(*args)

    monkeypatch.setattr(benchmark, "in_a_fresh_process", here)
    monkeypatch.setattr(benchmark.GPULimit, "SIDE", 8)
    monkeypatch.setattr(benchmark.GPULimit, "BYTES", 64)
    yield benchmark
    for name in ("benchmark", "contenders"):
        sys.modules.pop(name, None)


def run(benchmark, monkeypatch, tmp_path, *options):
    arguments = ["benchmark.py", "--image-size", "9", "--batch-size", "2", "--repeats", "2",
                 "--json", str(tmp_path / "b.json"), *options]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setenv("CUPY_TF32", "0")
    benchmark.main()
    assert (tmp_path / "b.png").stat().st_size > 1000
    return json.loads((tmp_path / "b.json").read_text())


LAYERS = {"conv1", "lrn1", "relu1", "pool1", "fc2", "drop2"}


def check_complete(report, names, limits):
    assert list(report["peak_bytes"]) == names and set(report["seconds"]) == {*names, *limits}
    for name in names:
        keys = set(report["seconds"][name])
        assert keys >= {f"{layer} {phase}" for layer in LAYERS for phase in ("forward", "backward")}
        assert keys >= {"loss forward", "loss backward", "all weights update", "step total"}
        assert set(report["work"]) - keys <= {"flatten backward"}
        for median, fastest, slowest in report["seconds"][name].values():
            assert 0 <= fastest <= median <= slowest


def test_on_a_gpu_everything_is_measured_with_and_without_tf32(benchmark, stand_in, monkeypatch, tmp_path, capsys):
    report = run(benchmark, monkeypatch, tmp_path, "--device", "gpu")
    check_complete(report, ["ops", "cuda", "cuda tf32"], {"limit", "limit tf32"})
    assert benchmark.measured == [("0", "ops", "cuda"), ("1", "cuda")]
    assert report["device"] == "stand-in, number 0, 8.0 of 16.0 GiB free"
    printed = capsys.readouterr().out
    assert printed.count("conv1 backward") == 3 and "GFLOP/s in a product of 8 x 8" in printed
    assert "cuda: " in printed and "times as fast as ops" in printed and "cuda tf32: " in printed


def test_a_gpu_without_tf32_is_not_said_to_have_it(benchmark, stand_in, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(stand_in.cuda.Device, "compute_capability", "75")
    check_complete(run(benchmark, monkeypatch, tmp_path, "--device", "gpu", "--rungs", "cuda"), ["cuda"], {"limit"})
    assert "no TF32: this GPU is older than compute capability 8.0" in capsys.readouterr().out


def test_the_steps_of_a_turn_on_a_gpu_are_waited_for_when_all_are_over(benchmark, stand_in):
    import contenders
    net = tinynet.AlexNet("paper", 9, np.random.default_rng(0))
    net.to("gpu")
    contender = contenders.make_contender("cuda", net, np.ones((2, 3, 9, 9), np.float32), np.array([0, 1]))
    contender.step()
    stand_in.meter.reset()
    contender.step()
    assert (stand_in.meter.synchronizations, stand_in.meter.to_host) == (2, [])  # of one divided step, and of two
    assert stand_in.meter.to_device == 3 * [(2,)]  # the labels: the batch is there


def test_the_limit_is_the_longer_of_product_and_copy(benchmark, stand_in, monkeypatch):
    net = tinynet.AlexNet("paper", 9, np.random.default_rng(0))
    limit = benchmark.GPULimit(net, (2, 3, 9, 9))
    monkeypatch.setattr(benchmark.Stopwatch, "seconds", lambda self: {"product": 8.0**3, "copy": 64 * 1000.0})
    times, work = limit.measure(True), limit.work(True)
    for key, row in work.items():
        assert times[tuple(key.rsplit(" ", 1))] == max(row["macs"] * 1.0, row["bytes"] * 1000.0)
    assert times["machine", "mac"] == 1 and times["machine", "byte"] == 1000


def test_on_the_cpu(benchmark, monkeypatch, tmp_path):
    check_complete(run(benchmark, monkeypatch, tmp_path), ["ops", "cpu"], {"limit"})


def test_against_pytorch(benchmark, monkeypatch, tmp_path, oracle):
    report = run(benchmark, monkeypatch, tmp_path, "--rungs", "cpu", "--against", "torch")
    check_complete(report, ["cpu", "torch"], {"limit"})


def test_of_data_every_recipe_is_measured(monkeypatch, tmp_path, capsys):
    make_classes(tmp_path, {"cat": 10, "dog": 10})
    monkeypatch.setattr(sys, "argv", ["benchmark_data.py", str(tmp_path), "--image-size", "20", "--batch-size", "8",
                                      "--batches", "3", "--repeats", "2"])
    runpy.run_path(str(EXAMPLES / "benchmark_data.py"))["main"]()
    head, columns, *rows = capsys.readouterr().out.splitlines()
    assert "crops of 20 pixels, batches of 8, median of 2" in head
    assert [row.split()[0] for row in rows] == list(tinynet.RECIPES)
    for row in rows:
        median, fastest, slowest, cpu = (float(number.replace(",", "")) for number in row.split()[1:])
        assert fastest >= median >= slowest > 0 and cpu >= 0


@pytest.mark.parametrize("options, message", [
    ("--device tpu", "--device tpu: cpu, gpu or gpu:N"), ("--device auto", "--device auto: say which, cpu or gpu"),
    ("--rungs cuda", "--rungs: no 'cuda' here; there are ops, cpu"),
    ("--device gpu --rungs cpu", "--rungs: no 'cpu' here; there are ops, cuda"),
    ("--device gpu --against onnxruntime", "--against onnxruntime is measured on the CPU only"),
    ("--against caffe", "--against: no 'caffe' here"), ("--rungs ,", "--rungs needs at least one name"),
    ("--json chart.png", "--json chart.png: not the name of a JSON file"),
    ("--json /dev/null/b.json", "--json /dev/null: cannot be written to (Not a directory)")])
def test_mistakes_are_one_line_and_code_2(options, message):
    ran = subprocess.run([sys.executable, EXAMPLES / "benchmark.py", *options.split()], capture_output=True, text=True,
                         env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)})
    assert ran.returncode == 2 and ran.stderr.startswith(f"benchmark.py: {message}") and ran.stderr.count("\n") == 1
