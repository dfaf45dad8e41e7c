"""Ranks with a GPU each: the bits of ranks without, nothing through the host, streams in order, calls that exist."""

import importlib
import inspect
import os
import pathlib
import re
import subprocess
import sys
import warnings

import cupy_stand_in
import nccl_stand_in
import numpy as np
import pytest
from conftest import skip_unless_required
from test_columns import batches, narrow
from test_parallel import network_of_two_columns

import tinynet
from tinynet import backend
from tinynet.parallel import (
    SPLIT,
    ColumnSGD,
    Communicator,
    DataParallel,
    Nccl,
    ParallelError,
    choose_device,
    threads,
)

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def gpus(stand_in, monkeypatch):
    """Two GPUs of the stand-in; each thread is to use one of them."""
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", nccl_stand_in)
    monkeypatch.setattr(stand_in.cuda.runtime, "getDeviceCount", lambda: 2)
    return stand_in


def train(communicator, kind, device, steps=3):
    """A few steps on a device with rung ops; everything that training changes, and the ranks' communicator."""
    net, loss = narrow("paper"), tinynet.SoftmaxCrossEntropy()
    sgd = tinynet.SGD(net, lr=1e-3)
    if device == "gpu":
        backend.choose_device(f"gpu:{communicator.rank}")
        communicator = Nccl(communicator)
    if kind in SPLIT:
        net = SPLIT[kind](net, communicator)
        sgd = ColumnSGD(sgd, net)
    net.to(device).use("ops")
    if kind == "data":
        net = DataParallel(net, communicator, 2)
    loss.net = net
    for x, labels in batches("float32", steps):
        loss.forward(net.forward(backend.to_device(x, device)), labels)
        net.backward(loss.backward())
        sgd.step()
    return net.state()["params"], communicator


@pytest.mark.parametrize("kind", ["data", *SPLIT])
def test_gpus_compute_the_bits_of_ranks_without(gpus, kind):
    cpu, gpus = (threads.run(2, lambda communicator, device=device: train(communicator, kind, device))
                 for device in ("cpu", "gpu"))
    for (wanted, host), (found, gpu) in zip(cpu, gpus):
        for name, array in wanted.items():
            assert found[name].tobytes() == array.tobytes(), name
        assert gpu.sent == host.sent and gpu.received == host.received and gpu.sent["conv3"] > 0


@pytest.mark.parametrize("kind", ["data", *SPLIT])
def test_nothing_goes_through_the_host(gpus, kind):
    """In a step nobody reads an array of a GPU, or waits for one."""
    def work(communicator):
        net, loss = narrow("paper"), tinynet.SoftmaxCrossEntropy()
        backend.choose_device(f"gpu:{communicator.rank}")
        communicator = Nccl(communicator)
        net = (SPLIT[kind](net, communicator) if kind in SPLIT else net).to("gpu").use("ops")
        net = DataParallel(net, communicator, 2) if kind == "data" else net
        loss.net = net
        x, labels = batches("float32")[0]
        x, labels = backend.to_device(x, "gpu"), backend.to_device(labels, "gpu")
        communicator.barrier()
        if communicator.rank == 0:
            gpus.meter.reset()
        communicator.barrier()
        loss.forward(net.forward(x), labels)
        net.backward(loss.backward())

    threads.run(2, work)
    assert gpus.meter.to_host == gpus.meter.to_device == [] and gpus.meter.synchronizations == 0
    assert sum(what[1] == "send" for what in gpus.meter.told) == sum(what[1] == "recv" for what in gpus.meter.told) > 0


@pytest.mark.parametrize("kind", ["data", *SPLIT])
def test_the_kernels_compute_what_ops_computes(gpus, kind):
    """With rung cuda, in the emulator: layers of half a network hand the kernels what these can take."""
    def work(communicator, device):
        net, loss = network_of_two_columns(), tinynet.SoftmaxCrossEntropy()
        if device == "gpu":
            backend.choose_device(f"gpu:{communicator.rank}")
            communicator = Nccl(communicator)
        net = (SPLIT[kind](net, communicator) if kind in SPLIT else net).to(device)
        net.use("cuda" if device == "gpu" else "ops")
        part = DataParallel(net, communicator, 2) if kind == "data" else net
        x = np.random.default_rng(0).standard_normal((3, *net.in_shape)).astype(np.float32)
        loss.forward(part.forward(backend.to_device(x, device)), [0, 1, 2])
        part.backward(loss.backward())
        return {name: backend.to_numpy(array) for name, array in net.named_grads().items()}

    cpu, gpu = (threads.run(2, lambda communicator, device=device: work(communicator, device))
                for device in ("cpu", "gpu"))
    for wanted, found in zip(cpu, gpu):
        for name, array in wanted.items():
            assert np.linalg.norm(found[name] - array) <= 1e-5 * np.linalg.norm(array), name


def test_gradients_travel_on_a_stream_of_their_own(gpus):
    """It waits until the gradient is there, and the stream of the computation waits for it at the end alone."""
    def work(communicator):
        backend.choose_device(f"gpu:{communicator.rank}")
        ranks, computing = Nccl(communicator), gpus.cuda.get_current_stream()
        x = gpus.asarray(np.arange(6, dtype=np.float32) + communicator.rank)
        communicator.barrier()
        if communicator.rank == 0:
            gpus.meter.reset()
        communicator.barrier()
        wait = ranks.begin_all_reduce(x, "conv1")
        communicator.barrier()
        told = list(gpus.meter.told)
        communicator.barrier()
        wait()
        return x.get(), told, ranks._stream, computing

    for x, told, stream, computing in threads.run(2, work):
        assert np.array_equal(x, 2 * np.arange(6) + 1)
        own = [what for what in told if what[0] in (stream, stream.ptr)]
        assert [what[1] for what in own] == ["wait", "send", "recv", "send", "recv", "record"]
        assert (computing, "record", own[0][2]) in told
        assert {what[1] for what in told if what[0] in (computing.ptr, computing)} == {"record"}
        assert (computing, "wait", own[-1][2]) in gpus.meter.told


def test_arrays_on_the_host_stay_there(gpus):
    def work(communicator):
        backend.choose_device(f"gpu:{communicator.rank}")
        ranks, received = Nccl(communicator), np.zeros(3)
        ranks.exchange(1 - ranks.rank, np.full(3, ranks.rank + 1.0), received, "weights")
        return received, ranks.sent

    gpus.meter.reset()
    for rank, (received, sent) in enumerate(threads.run(2, work)):
        assert received.tolist() == [2.0 - rank] * 3 and sent["weights"] == 24
    assert gpus.meter.told == []


# ---- which GPU
def chosen(size, *wanted):
    return threads.run(size, lambda communicator: (*choose_device(communicator, *wanted),
                                                   cupy_stand_in.cuda.Device().id))


@pytest.mark.parametrize("wanted", ["gpu", "auto"])
def test_each_rank_takes_a_gpu_of_its_own(gpus, wanted):
    assert [(device, number) for device, _, number in chosen(2, wanted)] == [("gpu", 0), ("gpu", 1)]


@pytest.mark.parametrize("size, wanted", [(4, "gpu"), (2, "gpu:1")])
def test_two_ranks_on_one_gpu_are_refused(gpus, size, wanted):
    with pytest.raises(ParallelError, match=r"ranks 0 and \d would share one GPU \(.*\): start one rank "
                                            "for each GPU, or use --device cpu"):
        chosen(size, wanted)


def test_auto_is_the_cpu_for_all_if_one_rank_has_no_gpu(gpus, monkeypatch):
    assert {device for device, _, _ in chosen(4, "auto")} == {"cpu"}
    assert "would share one GPU" in chosen(4, "auto")[3][1]
    too_much = iter([1, 1 << 60])
    ran = threads.run(2, lambda communicator: choose_device(communicator, "auto", next(too_much)))
    assert {device for device, _ in ran} == {"cpu"} and "GiB are needed" in ran[0][1]
    monkeypatch.setattr(gpus.cuda.runtime, "getDeviceCount", lambda: 0)
    assert {device for device, _, _ in chosen(2, "auto")} == {"cpu"}
    with pytest.raises(backend.DeviceError, match="CUDA finds no device"):
        chosen(2, "gpu")


def test_the_cpu_asks_nobody_for_a_gpu():
    assert threads.run(2, lambda communicator: choose_device(communicator, "cpu")) == [("cpu", "as asked")] * 2


def test_without_nccl_one_line_says_what_to_install(gpus, monkeypatch):
    monkeypatch.setattr(nccl_stand_in, "available", False)
    with pytest.raises(backend.DeviceError, match="^NCCL, .*: pip install nvidia-nccl-cu12$"):
        Nccl(Communicator())


def test_what_nccl_cannot_connect_is_one_line(gpus, monkeypatch):
    def refuse(*_):
        raise nccl_stand_in.NcclError("NCCL_ERROR_INVALID_USAGE")

    monkeypatch.setattr(nccl_stand_in.NcclCommunicator, "__init__", refuse)
    with pytest.raises(ParallelError, match=r"NCCL cannot connect the GPUs \(NCCL_ERROR_INVALID_USAGE\)"):
        Nccl(Communicator())


# ---- the real package
@pytest.fixture
def nccl():
    try:
        return backend.cuda_and_nccl()[1]
    except (ImportError, backend.DeviceError) as error:
        skip_unless_required("TINYNET_REQUIRE_NCCL", str(error))


def test_the_real_nccl_takes_these_arguments(nccl):
    """The stand-in, which has seen all calls, has the names and the order of CuPy's arguments."""
    assert nccl.NCCL_UINT8 == nccl_stand_in.NCCL_UINT8 and issubclass(nccl.NcclError, RuntimeError)
    cupy = importlib.import_module("cupy")
    assert all(hasattr(*each) for each in ((cupy.cuda.Stream.null, "ptr"), (cupy.cuda.MemoryPointer, "ptr"),
                                           (cupy.ndarray, "data"), (cupy.cuda.Device, "pci_bus_id")))
    assert len(nccl.get_unique_id()) == len(nccl_stand_in.get_unique_id()) and callable(nccl.groupEnd)
    kind = nccl.NcclCommunicator
    ours_kind = nccl_stand_in.NcclCommunicator
    for real, ours in ((kind, ours_kind.__init__), (kind.send, ours_kind.send), (kind.recv, ours_kind.recv)):
        arguments = re.search(r"\((.*)\)", inspect.getdoc(real).splitlines()[0]).group(1)
        names = [argument.split("=")[0].split()[-1] for argument in arguments.split(", ")]
        assert [name for name in names if name not in ("self", "config")] == list(
            inspect.signature(ours).parameters)[1:]


def test_importing_the_real_package_without_nccl_says_nothing(monkeypatch):
    pytest.importorskip("cupy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            backend.cuda_and_nccl()
        except backend.DeviceError:
            pass


# ---- on GPUs: TINYNET_REQUIRE_GPU=1 python -m pytest -m gpu ----------------------------------------------------------
@pytest.mark.gpu
def test_a_gpu_sends_to_itself(nccl):
    """What one GPU can show: NCCL starts, and carries an array."""
    cupy = importlib.import_module("cupy")
    ranks = Nccl(Communicator())
    x, received = cupy.arange(1000, dtype=np.float32), cupy.zeros(1000, np.float32)
    ranks.exchange(0, x, received, "itself")
    ranks.begin_all_reduce(received, "nothing to add")()
    assert np.array_equal(received.get(), np.arange(1000))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["data", *SPLIT])
def test_two_gpus_train_as_one(nccl, tmp_path, kind):
    if backend.gpu_count() < 2:
        pytest.skip("needs two GPUs")
    program = [sys.executable, str(ROOT / "examples" / "train_alexnet.py"), "--device", "gpu", "--recipe", "paper",
               "--image-size", "67", "--batch-size", "32", "--steps", "10", "--shards"]
    mpiexec = [str(pathlib.Path(sys.executable).with_name("mpiexec")), "-n", "2"]
    shards = "2" if kind == "data" else "1"
    for start, name, more in ((mpiexec, "two", ["--parallel", kind]), ([], "one", [])):
        subprocess.run([*start, *program, shards, "--out", str(tmp_path / name), *more], check=True,
                       env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=600)
    one, two = (np.load(tmp_path / name / "weights.npz") for name in ("one", "two"))
    for name in one:
        close = np.linalg.norm(two[name] - one[name]) <= 1e-4 * np.linalg.norm(one[name])
        assert one[name].tobytes() == two[name].tobytes() if kind == "data" else close, name
