"""The check that a person with a GPU runs first: its own parts on the stand-in, and a report whatever happens."""

import importlib.util
import json
import os
import re
import subprocess
import sys

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


FAKE = [("good", [sys.executable, "-c", "print('hello'); print('RESULT {\"speed\": 3}')"], 60),
        ("bad", [sys.executable, "-c", "import sys; sys.exit('broken')"], 60),
        ("slow", [sys.executable, "-c", "import time; print('began', flush=True); time.sleep(60)"], 2),
        ("last", [sys.executable, "-c", "pass"], 60)]


def test_one_failure_does_not_hide_the_others(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(check_gpu, "parts", lambda args: FAKE)
    monkeypatch.setattr(check_gpu.backend, "choose_device", lambda device: ("gpu", ""))
    monkeypatch.setattr(sys, "argv", ["check_gpu.py", "--out", str(tmp_path / "report")])
    assert check_gpu.main() == 1
    report = json.loads((tmp_path / "report" / "check_gpu.json").read_text())
    states = {entry["part"]: entry["state"] for entry in report["parts"]}
    assert states == {"good": "passed", "bad": "failed with exit code 1", "slow": "not finished after 2 s",
                      "last": "passed"}
    page = (tmp_path / "report" / "check_gpu.md").read_text()
    assert re.search(r"## good\n\n- speed: 3\n\n```\nhello\n```", page) and "broken" in page and "began" in page
    assert "RESULT" not in page


def test_the_report_is_there_after_every_part(tmp_path, monkeypatch):
    seen = []

    def run_part(name, command, limit):
        path = tmp_path / "check_gpu.json"
        seen.append(len(json.loads(path.read_text())["not run"]) if path.exists() else None)
        return {"part": name, "state": "passed", "seconds": 1.0, "result": None, "output": ""}

    monkeypatch.setattr(check_gpu, "parts", lambda args: FAKE)
    monkeypatch.setattr(check_gpu, "run_part", run_part)
    monkeypatch.setattr(check_gpu.backend, "choose_device", lambda device: ("gpu", ""))
    monkeypatch.setattr(sys, "argv", ["check_gpu.py", "--out", str(tmp_path)])
    assert check_gpu.main() == 0 and seen == [None, 3, 2, 1]


def test_the_parts_are_commands_that_exist(tmp_path, monkeypatch):
    monkeypatch.setattr(check_gpu, "has_torch_with_cuda", lambda: True)
    args = type("Args", (), {"out": tmp_path, "quick": False})
    for _, command, limit in check_gpu.parts(args):
        assert limit >= 60 and all(os.path.exists(word) for word in command if os.sep in str(word)
                                   and tmp_path not in getattr(word, "parents", ()))
