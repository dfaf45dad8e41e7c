"""Devices, as far as they can be known without one: which is chosen and why not, what moves when, and how much fits."""

import gc
import os
import runpy
import signal
import subprocess
import sys
import weakref

import cupy_stand_in
import numpy as np
import pytest
from test_cuda_launchers import slim_alexnet, small_network
from test_train_script import ROOT, SCRIPT, make_colours
from training import train_step

import tinynet
from tinynet import backend
from tinynet.backend import to_numpy
from tinynet.cuda import implicit, kernels
from tinynet.cuda.augment import augment
from tinynet.data import Augmentation, principal_axes, sample
from tinynet.evaluation import memory_advice
from tinynet.layers import Conv2d
from tinynet.runs import read_metrics
from tinynet.shapes import ceil_div
from tinynet.summary import WORKSPACE_BYTES


# ---- the choice ----------------------------------------------------------------------------------------------------
def test_the_choice_of_a_device_says_what_it_found(stand_in):
    found = "stand-in, number 0, 8.0 of 16.0 GiB free"
    for wanted in ("auto", "gpu", "gpu:0"):
        assert backend.choose_device(wanted) == ("gpu", found)
    assert backend.choose_device("cpu") == ("cpu", "as asked")


@pytest.mark.parametrize("wanted, needed, message", [
    ("gpu:1", 0, "no usable GPU: there is no GPU 1; the number of GPUs is 1, and the first is GPU 0"),
    ("gpu", 9 << 30, "no usable GPU: about 9.0 GiB are needed, GPU 0 has 8.0 of 16.0 GiB free; lower --batch-size, or "
                     "choose another GPU with --device gpu:N"),
    *[(wanted, 0, f"unknown device {wanted!r}: use auto, cpu, gpu or gpu:N")
      for wanted in ("gpu:x", "gpu:", "gpu:-1", "tpu", "cpu:0", "auto:1", "")]])
def test_devices_that_are_not_there(stand_in, wanted, needed, message):
    with pytest.raises(tinynet.DeviceError) as error:
        backend.choose_device(wanted, needed)
    assert str(error.value) == message


def test_auto_says_why_it_took_the_cpu(stand_in):
    device, why = backend.choose_device("auto", 9 << 30)
    assert device == "cpu" and why.startswith("about 9.0 GiB are needed, GPU 0 has 8.0 of 16.0 GiB free")


def test_the_gpu_asked_for_is_the_one_that_is_tried_and_used_and_no_other_is_touched(stand_in, monkeypatch):
    monkeypatch.setattr(stand_in.cuda.runtime, "getDeviceCount", lambda: 3)
    assert backend.choose_device("gpu:2")[1].startswith("stand-in, number 2, ")
    assert stand_in.cuda.Device().id == 2
    assert stand_in.meter.devices == {2}


def raises(error):
    def function(*_):
        raise error
    return function


@pytest.mark.parametrize("versions, count, allocation, message", [
    ((0, 12090), None, None, "there is no NVIDIA driver"),
    ((12080, 13000), None, None, "CuPy needs CUDA 13, the driver supports CUDA 12; update the driver, or: pip "
                                 "uninstall cupy-cuda13x && pip install 'cupy-cuda12x[ctk]'"),
    ((12080, 12090), raises(cupy_stand_in.cuda.runtime.CUDARuntimeError("cudaErrorNoDevice: none")), None,
     "CUDA finds no device (cudaErrorNoDevice: none)"),
    ((12080, 12090), lambda: 0, None, "CUDA finds no device; check nvidia-smi"),
    ((12080, 12090), None, raises(MemoryError("Out of memory")), "its memory is full"),
    ((12080, 12090), None, raises(cupy_stand_in.cuda.runtime.CUDARuntimeError(
        "cudaErrorMemoryAllocation: out of memory")), "its memory is full"),
    ((12080, 12090), None, lambda count: np.ones(count), "a test kernel gave a wrong sum"),
    ((12080, 12090), None, raises(OSError("libnvrtc.so.12: cannot open")),
     "a test kernel failed: libnvrtc.so.12: cannot open; if files of CUDA are missing, install them for CuPy: "
     "pip install 'cupy-cuda12x[ctk]'; a PyTorch beside it must be one for CUDA 12"),
    ((13000, 13000), None, raises(OSError("libnvrtc.so.13: cannot open")),
     "a test kernel failed: libnvrtc.so.13: cannot open; if files of CUDA are missing, install them for CuPy: "
     "pip install 'cupy-cuda13x[ctk]'")])
def test_each_reason_why_there_is_no_gpu_has_its_line(stand_in, monkeypatch, versions, count, allocation, message):
    runtime = stand_in.cuda.runtime
    for name, value in (("driverGetVersion", lambda: versions[0]), ("runtimeGetVersion", lambda: versions[1]),
                        ("getDeviceCount", count or runtime.getDeviceCount)):
        monkeypatch.setattr(runtime, name, value)
    if allocation:
        monkeypatch.setattr(stand_in, "arange", allocation)
    with pytest.raises(tinynet.DeviceError) as error:
        backend.choose_device("gpu")
    assert str(error.value).startswith(f"no usable GPU: {message}")
    assert "\n" not in str(error.value)
    assert backend.choose_device("auto") == ("cpu", str(error.value).removeprefix("no usable GPU: "))


def test_a_cupy_that_does_not_load_says_why(monkeypatch):
    """It wraps the reason into a page of advice that begins with a line of its own."""
    def find_spec(name, *_):
        if name == "cupy":
            try:
                raise ImportError("libcudart.so.12: cannot open shared object file")
            except ImportError as error:
                raise ImportError("\n======\nFailed to import CuPy.\n\nOriginal error:\n  ...\n======\n") from error

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [type("Finder", (), {"find_spec": staticmethod(find_spec)}), *sys.meta_path])
    with pytest.raises(tinynet.DeviceError) as error:
        backend.choose_device("gpu")
    assert str(error.value) == ("no usable GPU: CuPy cannot be imported (libcudart.so.12: cannot open shared object "
                                "file); install it with: pip install -e '.[gpu]'")


# ---- batches on their way ------------------------------------------------------------------------------------------
def host_batches(log, count=5):
    for number in range(count):
        log.append(f"made {number}")
        yield np.full((2, 3), number, np.float32), np.array([number, 0])


@pytest.mark.parametrize("device, ahead", [("cpu", 0), ("gpu", 1)])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_prefetched_batches_are_the_same_and_asked_for_one_ahead(stand_in, device, ahead, count):
    log = []
    for number, (x, labels) in enumerate(backend.prefetch_to_device(host_batches(log, count), device)):
        assert isinstance(x, np.ndarray if device == "cpu" else stand_in.ndarray) and isinstance(labels, np.ndarray)
        np.testing.assert_array_equal(to_numpy(x), number)
        assert list(labels) == [number, 0]
        log.append(f"used {number}")
    made, used = ([f"{word} {number}" for number in range(count)] for word in ("made", "used"))
    first, rest = made[:ahead], made[ahead:] + [None] * min(ahead, count)
    assert log == first + [entry for pair in zip(rest, used) for entry in pair if entry]


def test_prefetching_copies_each_batch_once_and_neither_side_waits(stand_in):
    computing = stand_in.cuda.get_current_stream()
    for x, _ in backend.prefetch_to_device(host_batches([]), "gpu"):
        tinynet.cuda.relu_forward(x)
    assert stand_in.meter.to_device == [(2, 3)] * 5
    assert (stand_in.meter.to_host, stand_in.meter.synchronizations) == ([], 0)

    (copying,) = {stream for stream, *_ in stand_in.meter.told} - {computing}  # two threads: each in its own order
    there = [what for stream, *what in stand_in.meter.told if stream is copying]
    here = [what for stream, *what in stand_in.meter.told if stream is computing]
    assert [word for word, _ in there] == ["wait", "copy", "record"] * 5
    used = [place for place, (word, _) in enumerate(here) if word == "launch"]
    for number in range(5):
        before, copied = there[3 * number][1], there[3 * number + 2][1]
        if number >= 2:  # it may land in memory of the batch but one before, and waits until that is done with
            assert here.index(["record", before]) > used[number - 2]
        if number >= 1:  # but not for the batch before: with that it overlaps
            assert here.index(["record", before]) < used[number - 1]
        assert here.index(["wait", copied]) < used[number]  # nobody reads it before it is there


def test_a_batch_is_held_until_nothing_can_land_in_its_memory(stand_in):
    """The copy of the next may begin at any time: it was told to wait for what had been asked for before this one."""
    batches = backend.prefetch_to_device(host_batches([]), "gpu")
    x, _ = next(batches)
    held = weakref.ref(x)
    del x
    assert held() is not None
    next(batches)
    assert held() is None


def test_training_on_prefetched_pictures_moves_bytes_and_draws_in_and_nothing_out(stand_in):
    """The way of a batch as it should be on a GPU: pictures as bytes, one ahead; cut and shifted there; one step."""
    net, loss, sgd = small_network("gpu", "cuda")
    rng, mean = np.random.default_rng(0), backend.to_device(np.full((3, 21, 21), 128, np.float32), "gpu")
    how = Augmentation(colour="deviations", divide=1.1)
    host = [(rng.integers(0, 256, (2, 3, 21, 21)).astype(np.uint8), sample(rng, 2, 2, how, principal_axes(np.eye(3))),
             np.array([1, 2])) for _ in range(3)]
    train_step(net, loss, sgd, np.zeros((2, 3, 19, 19), np.float32), np.array([1, 2]))  # moves the velocity in
    stand_in.meter.reset()
    for pictures, drawn, labels in backend.prefetch_to_device(host, "gpu"):
        x = augment(pictures, drawn, mean, 19, how)
        value = train_step(net, loss, sgd, x, labels)
    pictures, draws, labels = (2, 3, 21, 21), [(2,), (2,), (2,), (2, 3)], (2,)
    assert sorted(stand_in.meter.to_device) == sorted(3 * [pictures, *draws, labels])
    assert (stand_in.meter.to_host, stand_in.meter.synchronizations) == ([], 0)
    assert np.isfinite(float(value))


def loaders_agree(count):
    """So many batches for the CPU and for a GPU, three pictures each; and those after a restart there and here."""
    how = tinynet.data.AUGMENTATIONS["code-2012"]
    source = tinynet.data.open_source("embedded", 24, quiet=True)
    statistics = tinynet.data.Statistics(np.full((3, 24, 24), 100, np.float32), np.eye(3) * 900)

    def batches(device):
        rng = np.random.default_rng(5)
        return tinynet.data.TrainingBatches(source.train, 3, 20, statistics, rng, how, device=device)

    def same(x, moved):
        np.testing.assert_allclose(to_numpy(moved[0]), x[0], rtol=1e-5, atol=1e-4)
        np.testing.assert_array_equal(moved[1], x[1])

    on_cpu, on_gpu = batches("cpu"), batches("gpu")
    for _ in range(count):
        same(next(on_cpu), next(on_gpu))
        assert on_cpu.state() == on_gpu.state()  # of the batch that was handed out, not of the one under way
    kept, then = on_gpu.state(), next(on_gpu)
    for again in (on_cpu, on_gpu):
        again.restore(kept)
        same([to_numpy(then[0]), then[1]], next(again))


def test_the_loader_feeds_a_gpu_with_bytes_and_the_same_batches(stand_in):
    loaders_agree(3)
    assert stand_in.meter.to_device.count((3, 3, 24, 24)) >= 5  # the three, one, and after the restart one
    assert (3, 3, 20, 20) not in stand_in.meter.to_device


def test_what_goes_wrong_with_a_batch_is_heard(stand_in):
    def broken():
        yield from host_batches([], 2)
        raise OSError("disk gone")

    for device in ("cpu", "gpu"):
        with pytest.raises(OSError, match="disk gone"):
            list(backend.prefetch_to_device(broken(), device))


def test_leaving_early_leaves_nothing_behind(stand_in):
    batches = backend.prefetch_to_device(host_batches([]), "gpu")
    next(batches)
    batches.close()
    assert list(batches) == []


# ---- from device to device -----------------------------------------------------------------------------------------
def test_weights_and_velocity_move_freely_between_devices(stand_in, tmp_path):
    """Two steps on the CPU, then two on the GPU from its file, then back: as if it had never moved."""
    rng = np.random.default_rng(3)
    batches = [(rng.standard_normal((4, 3, 19, 19)), rng.integers(0, 4, 4)) for _ in range(6)]

    def train(devices):
        net, loss, sgd = small_network("cpu", "ops", dropout=1.0, dtype="float64")
        for device in devices:
            net.save(tmp_path / "weights.npz")
            tinynet.checkpoint.save_arrays(tmp_path / "velocity.npz",
                                           {name: to_numpy(v) for name, v in sgd.velocity.items()})
            net, loss, sgd = small_network(device, "cuda" if device == "gpu" else "ops", dropout=1.0, dtype="float64",
                                           seed=9)
            net.load(tmp_path / "weights.npz")
            sgd.velocity = tinynet.checkpoint.load_arrays(tmp_path / "velocity.npz")
            for x, labels in batches[:2]:
                train_step(net, loss, sgd, x, labels)
            assert all(backend.array_module(v).__name__ == ("cupy_stand_in" if device == "gpu" else "numpy")
                       for v in sgd.velocity.values())
            batches.append(batches.pop(0))
            batches.append(batches.pop(0))
        return net, sgd

    stayed, stayed_sgd = train(["cpu", "cpu", "cpu"])
    moved, moved_sgd = train(["cpu", "gpu", "cpu"])
    for name, array in stayed.named_params().items():
        np.testing.assert_allclose(moved.named_params()[name], array, rtol=1e-9, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(moved_sgd.velocity[name], stayed_sgd.velocity[name], rtol=1e-8, atol=1e-12)


def test_a_network_can_turn_back_in_mid_run(stand_in):
    net, loss, sgd = small_network("gpu", "cuda")
    x, labels = np.ones((4, 3, 19, 19), np.float32), np.arange(4)
    train_step(net, loss, sgd, x, labels)
    net.to("cpu")
    train_step(net, loss, sgd, x, labels)
    assert all(isinstance(array, np.ndarray) for array in (*net.named_params().values(), *sgd.velocity.values()))


# ---- the training script -------------------------------------------------------------------------------------------
@pytest.fixture
def train(stand_in, monkeypatch, tmp_path, capsys):
    """examples/train_alexnet.py in this process, with a network that the emulator runs in no time."""
    def small(recipe, classes, size, rng):
        return small_network("cpu", "cpu", 1.0, classes=classes)[0]

    monkeypatch.setattr(tinynet, "AlexNet", small)
    monkeypatch.setattr(tinynet.alexnet, "require_fitting", lambda recipe, size: None)
    monkeypatch.chdir(tmp_path)
    make_colours(tmp_path / "colours", train=6, test=2)

    def run(*options):
        words = ["--data", "colours", "--image-size", "19", "--batch-size", "5", "--epochs", "2", *options]
        monkeypatch.setattr(sys, "argv", ["train_alexnet.py", *(options if "--resume" in options else words)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    yield run
    backend.on_compile = None


def ctrl_c_after(monkeypatch, steps):
    done, sgd_step = [], tinynet.SGD.step

    def step(sgd):
        sgd_step(sgd)
        done.append(sgd)
        if len(done) == steps:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(tinynet.SGD, "step", step)


@pytest.mark.parametrize("first, then", [("cpu", "gpu"), ("gpu", "cpu"), ("gpu:0", "gpu")])
def test_a_run_that_was_stopped_on_one_device_goes_on_on_another(train, stand_in, monkeypatch, first, then):
    """Its arrays, and the batches that it had still to see: bit for bit, where it comes back to the same device."""
    assert train("--device", then, "--out", "whole", "--quiet") == (None, "", "")
    for cache in (kernels._module, kernels._function):
        cache.cache_clear()
    with monkeypatch.context() as patch:
        ctrl_c_after(patch, 3)
        code, out, err = train("--device", first, "--out", "moved")
    assert code == 130 and f"device: {first[:3]} (" in out
    for file in ("conv", "augment"):
        assert (f"compiling {file}.cu for float" in err) == (first != "cpu")
    launches = stand_in.meter.launches
    code, out, _ = train("--device", then, "--out", "moved", "--resume")
    assert code is None and "continuing from moved/checkpoint-000003.npz: step 3 of 8" in out
    assert (stand_in.meter.launches > launches) == (then == "gpu")
    whole, moved = (read_metrics(folder) for folder in ("whole", "moved"))
    tolerance = 0 if first[:3] == then else 1e-3
    for column in ("loss", "test_loss", "train_error", "lr"):
        np.testing.assert_allclose(moved[column], whole[column], rtol=tolerance, err_msg=column)


def test_a_run_on_the_second_gpu_touches_no_other(train, stand_in, monkeypatch):
    monkeypatch.setattr(stand_in.cuda.runtime, "getDeviceCount", lambda: 2)
    stand_in.meter.reset()
    code, out, _ = train("--device", "gpu:1", "--steps", "2")
    assert code is None and "device: gpu (stand-in, number 1, " in out
    assert stand_in.meter.devices == {1}


def test_the_script_says_before_it_begins_that_the_batch_is_too_large(train, stand_in, monkeypatch):
    monkeypatch.setattr(stand_in.cuda.Device, "mem_info", (100 << 20, 1 << 30))
    code, _, err = train("--device", "gpu")
    assert code == 2 and err == ("train_alexnet.py: no usable GPU: about 0.3 GiB are needed, GPU 0 has 0.1 of 1.0 GiB "
                                 "free; lower --batch-size, or choose another GPU with --device gpu:N\n")
    code, out, _ = train("--device", "auto")
    assert code is None and "device: cpu (about 0.3 GiB are needed" in out


@pytest.mark.parametrize("shape", [(5, 3, 19, 19), (5, 6, 8, 8), (1, 6, 8, 8)])  # x; conv1 in training; in testing
def test_the_script_says_in_mid_run_which_batch_would_have_fitted(train, stand_in, monkeypatch, shape):
    empty = stand_in.empty
    monkeypatch.setattr(stand_in, "empty", lambda wanted, dtype: raises(MemoryError("Out of memory"))()
                        if wanted == shape else empty(wanted, dtype))
    code, _, err = train("--device", "gpu")
    N = shape[0]
    advice = "2 should fit: --batch-size 2" if N == 5 else "not even one image fits"
    assert code == 1
    assert err.splitlines()[-1] == f"train_alexnet.py: the GPU's memory is full with batches of {N}; {advice}"


# ---- how much fits -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("recipe", tinynet.RECIPES)
def test_the_estimate_knows_what_layers_keep(stand_in, recipe):
    gc.collect()  # what tests before this one have left would be counted when it goes
    net = tinynet.AlexNet(recipe, 10, 67, rng=np.random.default_rng(0))
    net.to("gpu")
    summary, x = net.summary(), np.ones((2, *net.in_shape), np.float32)
    stand_in.meter.reset()
    before = stand_in.meter.used_bytes
    logits = net.forward(backend.to_device(x, "gpu"))
    kept = stand_in.meter.used_bytes - before
    assert kept == pytest.approx(summary.training_bytes(2) - summary.training_bytes(0) - x.nbytes, rel=0.01)
    assert logits.shape == (2, 10)
    for layer in net.layers:
        if isinstance(layer, Conv2d):  # columns (C*KH*KW, positions), product (K, positions)
            rows = layer.params["w"][0].size * layer.groups
            assert tinynet.cuda.conv.COLUMN_BYTES * (1 + layer.K / rows) <= WORKSPACE_BYTES


def test_the_estimate_is_what_a_step_takes(stand_in, monkeypatch):
    monkeypatch.setattr("tinynet.cuda.conv.COLUMN_BYTES", 1)  # as good as no columns
    gc.collect()
    net = slim_alexnet("paper", share=2)  # beside fewer kernels, what else takes memory would count
    loss, sgd = tinynet.SoftmaxCrossEntropy(), tinynet.SGD(net)
    x, labels = np.ones((1, 3, 67, 67), np.float32), np.arange(1)
    implicit._tables.cache_clear()  # those of tests before this one
    stand_in.meter.reset()
    for _ in range(2):
        train_step(net, loss, sgd, x, labels)
    expected = net.summary().training_bytes(1) - WORKSPACE_BYTES - x.nbytes  # no next batch
    assert stand_in.meter.peak_bytes == pytest.approx(expected, rel=0.015)  # what is saved for backward is 3 %


class BestFitPool:
    """CuPy's memory pool for one stream: the smallest free block that is large enough is split, and free neighbours are
    joined. Sizes are rounded up to 512 bytes. Blocks that CUDA gave are never neighbours."""

    def __init__(self):
        self.total_bytes = self.end = 0
        self.free = {}  # {where a free block begins: its size}

    def take(self, memory):
        """Find a block for an array, until nobody has the array any more. A view has none of its own."""
        size = 512 * ceil_div(memory.nbytes, 512)
        if memory.base is not None or not size:
            return
        fitting = [(room, start) for start, room in self.free.items() if room >= size]
        if fitting:
            room, start = min(fitting)
            del self.free[start]
            if room > size:
                self.free[start + size] = room - size
        else:
            start, self.end, self.total_bytes = self.end, self.end + size + 1, self.total_bytes + size
        weakref.finalize(memory, self.give_back, start, size)

    def give_back(self, start, size):
        size += self.free.pop(start + size, 0)
        before = next((each for each, room in self.free.items() if each + room == start), start)
        self.free[before] = self.free.get(before, 0) + size


@pytest.mark.parametrize("recipe, images", [("paper", 64), ("paper", 512), ("code-2012", 128), ("owt", 128)])
def test_the_estimate_is_what_the_pool_of_cupy_takes(stand_in, monkeypatch, recipe, images):
    """A step at full size, of which only the arrays are made. When LRN saved its output, too, the pool took 2.0, 2.5 to
    2.8, 4.0 and 7.1 GiB on an H200 for `paper` and 64, 128, 256 and 512 images; here it took 1.8, 2.4, 4.0 and 7.1."""
    gc.collect()
    pool = BestFitPool()
    monkeypatch.setattr(stand_in.meter, "take", pool.take)
    monkeypatch.setattr(backend, "require_device", lambda device: None)  # its product would be wrong
    monkeypatch.setattr(kernels, "_function", lambda *_: lambda *_, **__: None)
    monkeypatch.setattr(stand_in, "matmul", lambda a, b, out: out)
    monkeypatch.setattr(stand_in.ndarray, "__matmul__", lambda a, b: stand_in.empty((len(a), b.shape[1]), a.dtype))
    monkeypatch.setattr("tinynet.init.gaussian", lambda rng, shape, std, dtype: np.zeros(shape, dtype))
    net = tinynet.AlexNet(recipe, rng=np.random.default_rng(0)).to("gpu")
    loss, sgd = tinynet.SoftmaxCrossEntropy(), tinynet.SGD(net)
    x, labels = np.zeros((images, *net.in_shape), np.float32), np.zeros(images, int)
    with np.errstate(all="ignore"):
        for _ in range(2):
            train_step(net, loss, sgd, x, labels)
    assert pool.total_bytes <= net.summary().gpu_bytes(images) <= 1.25 * pool.total_bytes


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_the_largest_batch_is_the_largest(batch_size):
    summary = small_network("cpu", "ops")[0].summary()
    enough = summary.gpu_bytes(batch_size)
    assert (summary.largest_batch(enough), summary.largest_batch(enough - 1)) == (batch_size, batch_size - 1)
    assert summary.largest_batch(0) == 0


@pytest.mark.parametrize("error, message", [
    (MemoryError("Out of memory allocating 5 bytes"), "should fit"),
    (RuntimeError("cudaErrorMemoryAllocation: out of memory"), "should fit"),
    (RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"), "should fit"),
    (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), "should fit"),
    (RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED"), "EXECUTION_FAILED"),
    (RuntimeError("call run.record"), "run.record")])
def test_each_error_that_means_a_full_memory_is_known(stand_in, monkeypatch, error, message):
    net, loss, sgd = small_network("gpu", "cuda")
    with pytest.raises(type(error) if message != "should fit" else MemoryError, match=message):
        with memory_advice(net, 8):
            raise error


def test_what_the_pool_holds_counts_as_free(stand_in, monkeypatch):
    monkeypatch.setattr(stand_in.cuda.Device, "mem_info", (100, 1000))
    held = stand_in.zeros(50, np.uint8)
    needed = 100 + stand_in.get_default_memory_pool().total_bytes()
    assert backend.choose_device("gpu", needed)[0] == "gpu" and held.nbytes == 50
    with pytest.raises(tinynet.DeviceError, match="are needed"):
        backend.choose_device("gpu", needed + 1)


def test_the_probe_ends_with_a_product(stand_in, monkeypatch):
    """Which loads cuBLAS: with a PyTorch for CUDA 13 beside a CuPy for CUDA 12 it cannot be found, all else works."""
    monkeypatch.setattr(stand_in.ndarray, "__matmul__", raises(ImportError("libcublas.so.12: cannot open")))
    assert backend.why_no_gpu().startswith("a test kernel failed: libcublas.so.12: cannot open")
    monkeypatch.setattr(stand_in.ndarray, "__matmul__", lambda a, b: a)
    assert backend.why_no_gpu().startswith("a test product gave a wrong sum")


@pytest.mark.parametrize("free, advice", [
    (20, "20 should fit: --batch-size 20"), (64, "32 should fit: --batch-size 32"), (0, "not even one image fits")])
def test_out_of_memory_says_what_would_have_fitted(stand_in, monkeypatch, free, advice):
    gc.collect()  # what goes while memory is being asked for would be counted twice
    net, loss, sgd = small_network("gpu", "cuda")
    x, labels = np.ones((64, 3, 19, 19), np.float32), np.zeros(64, int)
    total = net.summary().gpu_bytes(free)
    monkeypatch.setattr(stand_in.cuda.Device, "mem_info",
                        property(lambda _: (total - stand_in.meter.used_bytes, total)))
    monkeypatch.setattr(stand_in, "empty", raises(MemoryError("Out of memory allocating 1 bytes")))
    with pytest.raises(MemoryError) as error:
        train_step(net, loss, sgd, x, labels)
    assert str(error.value) == f"the GPU's memory is full with batches of 64; {advice}"


# ---- on a GPU: TINYNET_REQUIRE_GPU=1 python -m pytest -m gpu -------------------------------------------------------
@pytest.mark.gpu
def test_batches_arrive_whole_while_a_gpu_is_busy():
    batches = ((np.full((32, 3, 227, 227), number + 1, np.float32),) for number in range(20))
    seen = []
    for x, in backend.prefetch_to_device(batches, "gpu"):
        y = x
        for _ in range(30):
            y = tinynet.cuda.relu_forward(y)
        seen.append((y.min(), y.max()))  # read when all is over
    assert [(float(low), float(high)) for low, high in seen] == [(number + 1, number + 1) for number in range(20)]


@pytest.mark.gpu
def test_the_loader_feeds_a_gpu_with_the_same_batches():
    loaders_agree(50)


@pytest.mark.gpu
def test_the_script_trains_on_a_gpu_as_on_the_cpu(tmp_path):
    scripts_agree(tmp_path, "gpu")


def scripts_agree(folder, device):
    """As people run it, in a process of its own. Rounding differs; the numbers drawn do not."""
    make_colours(folder / "colours", train=8, test=2)
    losses = []
    for place in ("cpu", device):
        words = ["--data", "colours", "--out", f"on {place}", "--device", place, "--image-size", "67",
                 "--batch-size", "8", "--steps", "4"]
        ran = subprocess.run([sys.executable, str(SCRIPT), *words], cwd=folder, capture_output=True, text=True,
                             env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=600)
        assert ran.returncode == 0 and f"device: {place} (" in ran.stdout, ran.stderr
        losses.append(read_metrics(folder / f"on {place}")["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-2)


@pytest.fixture
def paper_on_a_gpu():
    """The paper's network, its loss and its update, on a GPU whose memory nobody else in this process holds."""
    backend.free_memory()
    net = tinynet.AlexNet("paper", rng=np.random.default_rng(0))
    net.to("gpu")
    yield net, tinynet.SoftmaxCrossEntropy(), tinynet.SGD(net)
    backend.free_memory()


@pytest.mark.gpu
def test_the_estimate_of_memory_holds_on_a_gpu(paper_on_a_gpu):
    import cupy
    net = paper_on_a_gpu[0]
    x, labels = np.zeros((128, *net.in_shape), np.float32), np.arange(128)
    for _ in range(3):
        train_step(*paper_on_a_gpu, x, labels)
    assert cupy.get_default_memory_pool().total_bytes() == pytest.approx(net.summary().gpu_bytes(128), rel=0.15)


@pytest.mark.gpu
def test_a_full_gpu_says_what_would_have_fitted(paper_on_a_gpu):
    import cupy
    net, pool = paper_on_a_gpu[0], cupy.get_default_memory_pool()
    pool.set_limit(size=net.summary().gpu_bytes(16))
    try:
        with pytest.raises(MemoryError, match="^the GPU's memory is full with batches of 128; .* --batch-size [0-9]+$"):
            train_step(*paper_on_a_gpu, np.zeros((128, *net.in_shape), np.float32), np.arange(128))
    finally:
        pool.set_limit(size=0)


@pytest.mark.gpu
def test_a_run_moves_between_a_gpu_and_the_cpu(tmp_path):
    x, labels = np.random.default_rng(0).standard_normal((4, 3, 19, 19)), np.arange(4)
    ends = []
    for devices in (("cpu", "cpu"), ("gpu", "cpu"), ("cpu", "gpu")):
        net, loss, sgd = small_network("cpu", "ops", dropout=1.0, dtype="float64")
        for device in devices:
            net.to(device)
            train_step(net, loss, sgd, x, labels)
            net.save(tmp_path / "weights.npz")
        ends.append(tinynet.checkpoint.load_arrays(tmp_path / "weights.npz"))
    for end in ends[1:]:
        for name, array in ends[0].items():
            np.testing.assert_allclose(end[name], array, rtol=1e-9, atol=1e-12, err_msg=name)
