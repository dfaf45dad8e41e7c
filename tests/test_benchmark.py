"""The benchmark measures what it says, on either device; no test looks at how long anything took."""

import json
import os
import pathlib
import runpy
import subprocess
import sys
import types

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
    benchmark.made, benchmark.broken = [], set()

    class Here:
        """OwnProcess without a process, so that it knows the tiny network and the stand-in."""

        def __init__(self, make, name, args):
            benchmark.made.append((os.environ["CUPY_TF32"], args.threads, name))
            self.name, self.object = name, make(name, args)

        def call(self, method):
            if (self.name, method) in benchmark.broken:
                raise ChildProcessError("its process ended with exit code -9")
            return getattr(self.object, method)()

        __enter__, __exit__ = lambda self: self, lambda *_: None

    monkeypatch.setattr(benchmark, "OwnProcess", Here)
    monkeypatch.setattr(benchmark, "threadpoolctl", types.SimpleNamespace(threadpool_limits=lambda count: None))
    monkeypatch.setattr(benchmark.GPULimit, "SIDE", 8)
    monkeypatch.setattr(benchmark.GPULimit, "BYTES", 64)
    yield benchmark
    tinynet.cpu.parallel.set_thread_count(None)
    tinynet.backend.on_compile = None
    for name in ("benchmark", "contenders"):
        sys.modules.pop(name, None)


def run(benchmark, monkeypatch, tmp_path, *options, code=0):
    """Return the reports of all settings."""
    arguments = ["benchmark.py", "--image-size", "9", "--batch-size", "2", "--repeats", "2", "--threads", "1",
                 "--json", str(tmp_path / "b.json"), *options]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setenv("CUPY_TF32", "0")
    assert benchmark.main() == code
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
    report, = run(benchmark, monkeypatch, tmp_path, "--device", "gpu")
    check_complete(report, ["ops", "cuda", "cuda tf32"], {"limit", "limit tf32"})
    assert benchmark.made == [("0", 1, "ops"), ("0", 1, "cuda"), ("0", 1, "limit"), ("1", 1, "cuda"), ("1", 1, "limit")]
    assert report["device"] == "stand-in, number 0, 8.0 of 16.0 GiB free"
    printed = capsys.readouterr().out
    assert printed.count("conv1 backward") == 3 and "GFLOP/s in a product of 8 x 8" in printed
    assert "cuda: " in printed and "times as fast as ops" in printed and "cuda tf32: " in printed


def test_a_gpu_without_tf32_is_not_said_to_have_it(benchmark, stand_in, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(stand_in.cuda.Device, "compute_capability", "75")
    report, = run(benchmark, monkeypatch, tmp_path, "--device", "gpu", "--rungs", "cuda")
    check_complete(report, ["cuda"], {"limit"})
    assert "no TF32: this GPU is older than compute capability 8.0" in capsys.readouterr().out


def test_the_steps_of_a_turn_on_a_gpu_are_waited_for_when_all_are_over(benchmark, stand_in):
    import contenders
    net = tinynet.AlexNet("paper", 9, np.random.default_rng(0))
    net.to("gpu")
    contender = contenders.Tinynet("cuda", net, np.ones((2, 3, 9, 9), np.float32), np.array([0, 1]), training=True)
    contender.turn()
    stand_in.meter.reset()
    contender.turn()
    assert (stand_in.meter.synchronizations, stand_in.meter.to_host) == (2, [])  # of one divided step, and of two
    assert stand_in.meter.to_device == 3 * [(2,)]  # the labels: the batch is there


def test_the_limit_is_the_longer_of_product_and_copy(benchmark, stand_in, monkeypatch):
    net = tinynet.AlexNet("paper", 9, np.random.default_rng(0))
    limit = benchmark.GPULimit(net, (2, 3, 9, 9), training=True)
    monkeypatch.setattr(benchmark.Stopwatch, "seconds", lambda self: {"product": 8.0**3, "copy": 64 * 1000.0})
    times, work = limit.turn(), limit.work()
    for key, row in work.items():
        assert times[tuple(key.rsplit(" ", 1))] == max(row["macs"] * 1.0, row["bytes"] * 1000.0)
    assert times["machine", "mac"] == 1 and times["machine", "byte"] == 1000


def test_on_the_cpu(benchmark, monkeypatch, tmp_path):
    report, = run(benchmark, monkeypatch, tmp_path)
    check_complete(report, ["ops", "cpu"], {"limit"})


def test_against_pytorch(benchmark, monkeypatch, tmp_path, oracle):
    report, = run(benchmark, monkeypatch, tmp_path, "--rungs", "cpu", "--against", "torch")
    check_complete(report, ["cpu", "torch"], {"limit"})


def test_pytorch_has_the_weights_of_our_network(benchmark, oracle):
    import contenders
    net, x = tinynet.AlexNet("paper", 9, np.random.default_rng(0)), np.ones((2, 3, 9, 9), np.float32)
    torch = contenders.Torch(net, x, np.array([0, 1]), training=False)
    theirs = torch.modules(torch.x).detach() / 2  # in evaluation the paper halves the units of dropout
    assert np.allclose(theirs, net.eval().forward(x), rtol=1e-4, atol=1e-6)


def test_every_combination_of_several_values_is_measured_and_compared(benchmark, monkeypatch, tmp_path, capsys):
    reports = run(benchmark, monkeypatch, tmp_path, "--batch-size", "1,3", "--image-size", "9,11", "--threads", "2,1",
                  "--rungs", "cpu")
    settings = [(N, size, threads) for N in (1, 3) for size in (9, 11) for threads in (2, 1)]
    assert [(each["batch_size"], each["image_size"], each["threads"]) for each in reports] == settings
    assert [threads for _, threads, name in benchmark.made if name == "cpu"] == [2, 1] * 4
    assert reports[2]["work"]["conv1 forward"]["macs"] > reports[0]["work"]["conv1 forward"]["macs"]
    head, *rows, _ = capsys.readouterr().out.splitlines()[-len(settings) - 2:]
    assert head.split() == ["batch", "pixels", "threads", "products", "cpu", "peak", "MB"]
    for row, setting, report in zip(rows, settings, reports):
        numbers = [float(number.replace(",", "")) for number in row.split()]
        assert tuple(numbers[:3]) == setting
        assert numbers[4] == pytest.approx(1000 * report["seconds"]["cpu"]["step total"][0], abs=0.05)


@pytest.mark.parametrize("method", ["warm_up", "turn"])
def test_a_contender_that_crashes_leaves_the_others_whole(benchmark, monkeypatch, tmp_path, capsys, method):
    benchmark.broken.add(("ops", method))
    reports = run(benchmark, monkeypatch, tmp_path, "--batch-size", "1,2", code=1)
    for report in reports:
        check_complete(report, ["cpu"], {"limit"})
        assert report["failed"] == {"ops": "its process ended with exit code -9"}
    assert "ops failed: its process ended with exit code -9" in capsys.readouterr().err


class Guest:
    """What a process of its own can be asked for."""

    def pid(self):
        return os.getpid()

    def crash(self):
        os._exit(3)

    def fail(self):
        raise KeyError("first line\nsecond line")

    def misfit(self):
        raise tinynet.ShapeError("conv1: too small")


def test_a_contender_has_a_process_of_its_own(benchmark):
    from contenders import OwnProcess
    with OwnProcess(Guest) as guest, OwnProcess(Guest) as other:
        assert len({guest.call("pid"), other.call("pid"), os.getpid()}) == 3
        with pytest.raises(ChildProcessError, match="^its process ended with exit code 3$"):
            guest.call("crash")
        with pytest.raises(ChildProcessError, match="^its process ended with exit code 3$"):
            guest.call("pid")
        with pytest.raises(tinynet.ShapeError, match="^conv1: too small$"):
            other.call("misfit")
    with OwnProcess(Guest) as guest, pytest.raises(ChildProcessError, match="^KeyError: 'first line"):
        guest.call("fail")
    assert not guest.process.is_alive() and not other.process.is_alive()


def test_a_process_answers_when_its_threads_are_idle(benchmark, monkeypatch):
    import contenders
    used, slept, log, calls = iter([0, 0.1, 0.1, 0.15, 0.15, 0.15]), [], [], ["pid"]
    monkeypatch.setattr(contenders, "time", types.SimpleNamespace(process_time=used.__next__, sleep=slept.append))
    contenders.wait_until_idle()
    assert len(slept) == 3 and next(used, None) is None
    used = iter(range(1000))
    monkeypatch.setattr(contenders.time, "process_time", used.__next__)
    with pytest.raises(TimeoutError, match="its threads still spin 5 s after their work"):
        contenders.wait_until_idle()

    def receive():
        if calls:
            return calls.pop()
        raise EOFError

    monkeypatch.setattr(contenders, "wait_until_idle", lambda: log.append("idle"))
    monkeypatch.setattr(contenders.signal, "signal", lambda *_: None)
    contenders._serve(types.SimpleNamespace(recv=receive, send=log.append), Guest, ())
    assert log == ["idle", os.getpid()]


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
    ("--batch-size 1,x", "argument --batch-size: 'x' is not a whole number from 1"),
    ("--image-size 20 --rungs ops", "pool2: "),  # from another process
    ("--json chart.png", "--json chart.png: not the name of a JSON file"),
    ("--json /dev/null/b.json", "--json /dev/null: cannot be written to (Not a directory)")])
def test_mistakes_are_one_line_and_code_2(options, message, tmp_path):
    ran = subprocess.run([sys.executable, EXAMPLES / "benchmark.py", *options.split()], capture_output=True, text=True,
                         cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)})
    assert ran.returncode == 2 and ran.stderr.startswith(f"benchmark.py: {message}") and ran.stderr.count("\n") == 1
