"""The check that a person with a GPU runs first: its own parts on the stand-in, and a report whatever happens."""

import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from test_train_script import ROOT

import tinynet
import tinynet.cuda
from tinynet import layers

SCRIPT = ROOT / "examples" / "check_gpu.py"
spec = importlib.util.spec_from_file_location("check_gpu", SCRIPT)
check_gpu = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_gpu)


@pytest.mark.skipif(check_gpu.backend.has_gpu(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path):
    ran = subprocess.run([sys.executable, str(SCRIPT)], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                         env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""})
    assert (ran.returncode, ran.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert ran.stderr.startswith("check_gpu.py: no usable GPU: ") and ran.stderr.count("\n") == 1


def test_the_machine_is_described(stand_in):
    result = check_gpu.machine()
    assert (result["gpu"], result["memory"]) == ("stand-in", "8.0 of 16.0 GiB free") and result["driver"] == 12080


def test_every_kernel_file_is_compiled_in_both_precisions(stand_in):
    compiled = check_gpu.compile_kernels()
    files = [path.name for path in (ROOT / "tinynet" / "cuda").glob("*.cu")]
    assert sorted(compiled) == sorted(f"{name}, {real}" for name in files for real in ("float", "double"))


@pytest.fixture
def tiny(monkeypatch):
    """The same checks with a network of two layers: the emulator takes its time."""
    def small_network(device, dtype="float32"):
        table = [layers.Flatten("flatten"), layers.Linear("fc1", 6, std=0.1), layers.ReLU("relu1"),
                 layers.Linear("fc2", 10, std=0.1)]
        net = tinynet.Sequential(table, (3, 35, 35), np.random.default_rng(0), dtype)
        net.to(device)
        return net, tinynet.SoftmaxCrossEntropy(), tinynet.SGD(net, lr=0.05)

    monkeypatch.setattr(check_gpu, "small_network", small_network)


def test_the_network_of_the_checks_has_every_kind_of_layer():
    kinds = {type(layer).__name__ for layer in check_gpu.small_network("cpu")[0]}
    assert kinds >= {"Conv2d", "MaxPool", "AvgPool", "LRN", "LRNWithin", "ReLU", "Linear", "Dropout"}
    losses, weights = check_gpu.train("cpu", 3)
    assert np.isfinite(losses).all() and len(weights) == 8


def test_training_is_deterministic_and_follows_the_cpu(stand_in, tiny):
    assert check_gpu.determinism()["equal to the bit"]
    differences = check_gpu.trajectory()
    assert len(differences) == 2 and max(differences.values()) < 1e-3


def test_memory_that_grows_is_noticed(stand_in, tiny, monkeypatch):
    kept, train = [], check_gpu.train
    monkeypatch.setattr(check_gpu, "train", lambda device, steps, after_step: train(device, 12, after_step=after_step))
    check_gpu.memory()
    monkeypatch.setattr(check_gpu, "train", lambda device, steps, after_step: train(
        device, 12, after_step=lambda step: (kept.append(stand_in.empty(99, np.float32)), after_step(step))))
    with pytest.raises(MemoryError, match="bytes after 10 steps"):
        check_gpu.memory()


def test_a_gpu_that_computes_something_else_is_noticed(stand_in, tiny, monkeypatch):
    relu, calls = tinynet.cuda.relu_forward, []

    def faulty(x):
        calls.append(x)
        return relu(x) * (1.01 if len(calls) > 3 else 1)

    monkeypatch.setattr(tinynet.cuda, "relu_forward", faulty)
    with pytest.raises(ArithmeticError, match="differ"):
        check_gpu.determinism()
    with pytest.raises(ArithmeticError, match="float64: the losses differ by"):
        check_gpu.trajectory()


FAKE = [("good", "print('hello'); print('RESULT {\"speed\": 3, \"rows\": [1, 2]}')", 60),
        ("bad", "raise SystemExit('broken')", 60),
        ("slow", "import time; print('began', flush=True); time.sleep(60)", 2), ("last", "pass", 60)]


def fake(parts):
    """Parts that run a piece of Python."""
    return [check_gpu.Part(name, [sys.executable, "-c", code], limit) for name, code, limit in parts]


@pytest.fixture
def check(monkeypatch, tmp_path):
    """Run main() with these parts. Returns its exit code, the report and the page."""
    def run(parts):
        monkeypatch.setattr(check_gpu, "parts", lambda args: parts)
        monkeypatch.setattr(check_gpu.backend, "choose_device", lambda device: ("gpu", ""))
        monkeypatch.setattr(sys, "argv", ["check_gpu.py", "--out", str(tmp_path / "report")])
        return (check_gpu.main(), json.loads((tmp_path / "report" / "check_gpu.json").read_text())["parts"],
                (tmp_path / "report" / "check_gpu.md").read_text())
    return run


def test_one_failure_does_not_hide_the_others(check):
    code, entries, page = check(fake(FAKE))
    assert code == 1 and {entry["part"]: entry["state"] for entry in entries} == {
        "good": "passed", "bad": "failed with exit code 1", "slow": "not finished after 2 s", "last": "passed"}
    assert entries[0]["result"] == {"speed": 3, "rows": [1, 2]}
    assert "\n## good\n\n- speed: 3\n\n```\nhello\n```\n" in page and "broken" in page and "began" in page
    assert "RESULT" not in page


def test_a_file_that_a_part_writes_is_in_the_report(check, tmp_path):
    """Not the one of an earlier check."""
    path = tmp_path / "numbers.json"
    path.write_text('{"ms": 1}')
    parts = [part._replace(report=path) for part in fake([
        ("none", "pass", 60), ("own", f"open({str(path)!r}, 'w').write('{{\"ms\": 2}}')", 60)])]
    code, entries, _ = check(parts)
    assert code == 0 and [entry["result"] for entry in entries] == [None, {"ms": 2}]


LINGER = "import subprocess, sys; print('began', flush=True); subprocess.run([sys.executable, '-c', {!r}])".format(
    "import os, time\nopen('{}', 'w').write(str(os.getpid()))\ntime.sleep(60)")


def is_running(pid):
    stat = pathlib.Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_part_that_is_over_leaves_no_process(check, tmp_path):
    """Neither at its limit nor at its end: a forgotten one would take memory and time of the GPU from the next part."""
    pids = [tmp_path / "at the limit", tmp_path / "at the end"]
    late = LINGER.format(pids[1]).replace("subprocess.run", "subprocess.Popen") + \
        f"\nimport os, time\nwhile not os.path.exists({str(pids[1])!r}): time.sleep(.05)\ntime.sleep(.2)"
    _, entries, _ = check(fake([("limit", LINGER.format(pids[0]), 3), ("end", late, 60)]))
    assert [entry["state"] for entry in entries] == ["not finished after 3 s", "passed"]
    wait_until(lambda: not any(is_running(int(path.read_text())) for path in pids), 20)


PROGRAM = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("check_gpu", {script!r})
check_gpu = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_gpu)
check_gpu.parts = lambda args: [check_gpu.Part(name, [sys.executable, "-c", code], 60) for name, code in {parts!r}]
check_gpu.backend.choose_device = lambda device: ("gpu", "")
sys.argv = ["check_gpu.py", "--out", {out!r}]
check_gpu.console.execute(check_gpu.main, mistakes=())
"""


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_the_report_is_whole_whatever_interrupts_the_check(tmp_path, number, code):
    """Here in the middle of the first part, which has printed a line and started a process."""
    pid, out = tmp_path / "pid", tmp_path / "report"
    program = PROGRAM.format(script=str(SCRIPT), out=str(out), parts=[("first", LINGER.format(pid)), ("last", "pass")])
    process = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT)},
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: pid.exists() and pid.read_text() and "began" in (out / "check_gpu.md").read_text())
        process.send_signal(number)
        assert process.wait(20) == code
        report = json.loads((out / "check_gpu.json").read_text())
        assert [entry["state"] for entry in report["parts"]] == ["not finished", "not run"]
        assert report["parts"][0]["output"] == "began\n"
        assert "\n## first\n\n```\nbegan\n```\n" in (out / "check_gpu.md").read_text()
        if number != signal.SIGKILL:
            assert process.stderr.read() == f"check_gpu.py: stopped{' by SIGTERM' * (number == signal.SIGTERM)}\n"
            wait_until(lambda: not is_running(int(pid.read_text())))
    finally:
        process.kill()
        if pid.exists() and is_running(int(pid.read_text())):
            os.kill(int(pid.read_text()), signal.SIGKILL)


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def test_tf32_is_measured_where_there_is_any(stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(check_gpu, "has_torch_with_cuda", lambda: False)
    for capability, wanted in (("75", []), ("90", ["versions of the convolution, TF32"])):
        monkeypatch.setattr(stand_in.cuda.Device, "compute_capability", capability)
        names = [part.name for part in check_gpu.parts(type("Args", (), {"out": tmp_path, "quick": False}))]
        assert [name for name in names if "TF32" in name] == wanted and "benchmark" in names


def test_the_parts_are_commands_that_exist(tmp_path, monkeypatch):
    monkeypatch.setattr(check_gpu.backend, "has_tf32", lambda: True)
    monkeypatch.setattr(check_gpu, "has_torch_with_cuda", lambda: True)
    args = type("Args", (), {"out": tmp_path, "quick": False})
    for _, command, limit, _ in check_gpu.parts(args):
        assert limit >= 60 and all(os.path.exists(word) for word in command if os.sep in str(word)
                                   and tmp_path not in getattr(word, "parents", ()))


def test_every_file_with_a_test_for_a_gpu_is_run():
    files = {path.name for path in (ROOT / "tests").glob("test_*.py") if "\n@pytest.mark.gpu" in path.read_text()}
    assert files >= {"test_cuda_implicit.py", "test_cuda_masks.py"} and files <= set(check_gpu.TESTS)
    assert all((ROOT / "tests" / name).exists() for name in check_gpu.TESTS)
