"""Rung cuda, launchers and kernels together: on a stand-in for CuPy with kernels in the emulator, and on a GPU if there
is one. The kernels of all versions are tried over the shared table of shapes."""

import ast
import contextlib
import dataclasses
import importlib
import inspect
import pathlib
import re
import sys

import cupy_stand_in
import numpy as np
import pytest
from conftest import skip_unless_required
from shape_table import CASES, Case, cases, conv, logits, lrn, lrn_within, normal, pool
from slim import slim
from test_contract import MISFITS, a, contract_check, share_memory
from test_gradients import DIFFERENTIABLE, gradient_check
from test_parity import parity_check
from training import train_step

import tinynet
import tinynet.cuda
from tinynet import backend, data, emulator
from tinynet.backend import to_device, to_numpy
from tinynet.cuda import augment, earlier, kernels

VERSIONS = {"conv": (1, 2, 3), "pool": (1, 2, 3), "lrn": (1, 2, 3), "activation": (1, 2, 3), "dropout": (1, 2),
            "linear": (1, 2, 3), "softmax": (1, 2, 3), "sgd": (1, 2, 3), "augment": (1, 2)}
FILE_OF = {
    "conv2d": "conv", "im2col": "conv", "maxpool": "pool", "avgpool": "pool", "lrn": "lrn", "lrn_within": "lrn",
    "relu": "activation", "leaky_relu": "activation", "tanh": "activation", "sigmoid": "activation",
    "linear": "linear", "dropout": "dropout", "softmax_cross_entropy": "softmax", "sgd_step": "sgd", "sgd_step_": "sgd"}
EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
ALL = {version for versions in VERSIONS.values() for version in versions}


@contextlib.contextmanager
def version(number):
    """The rung that launches that version of each kernel, or the newest where there are not so many."""
    with pytest.MonkeyPatch.context() as patch:
        if number <= 2:  # of pooling and LRN: for windows other than AlexNet's
            patch.setattr("tinynet.cuda.lrn.WINDOW", None)
            patch.setattr("tinynet.cuda.pool.ALEXNET", None)
        if number == 1:
            for file in ("pool", "lrn"):  # whose version 1 is for what does not fit into shared memory
                patch.setattr(f"tinynet.cuda.{file}.SHARED_LIMIT", 0)
        yield earlier.rung(number)


def on_each_version(parameters):
    """Parameters (case, version), one for each version of the kernels of the case."""
    return [pytest.param(parameter.values[0], number, id=f"{parameter.id}-{number}")
            for parameter in parameters for number in VERSIONS[FILE_OF[parameter.values[0].op]]]


# ---- the launchers, on the stand-in --------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("case, number", on_each_version(cases()))
def test_parity(stand_in, case, number, dtype):
    with version(number) as rung:
        parity_check(rung, case, dtype, "gpu")
    if case.arrays() and next(iter(case.arrays().values())).size:
        assert stand_in.meter.launches > 0


@pytest.mark.parametrize("case, number", on_each_version(DIFFERENTIABLE))
def test_gradients(stand_in, case, number):
    with version(number) as rung:
        gradient_check(rung, case, "gpu", samples=4)


@pytest.mark.parametrize("case, number", on_each_version(cases()))
def test_contract(stand_in, case, number):
    with version(number) as rung:
        contract_check(rung, case, np.float32, "gpu")


@pytest.mark.parametrize("number", sorted(ALL))
def test_results_share_no_memory_with_arguments(stand_in, number):
    with version(number) as rung:
        for case in CASES:
            arrays = case.arrays(device="gpu")
            made = case.forward(rung, arrays)
            results = list(made.values())
            if case.has_backward:
                arrays["dy"] = case.upstream(results[0].shape, device="gpu")
                results += case.backward(rung, arrays["dy"], arrays, made).values()
            for result in results:
                assert not any(share_memory(result, array) for array in arrays.values()), case


@pytest.mark.parametrize("function, arguments, message", [
    pytest.param(*misfit, id=f"{misfit[0]}-{number}") for number, misfit in enumerate(MISFITS)])
def test_misfits_are_refused_in_words(stand_in, function, arguments, message):
    arguments = [to_device(each, "gpu") if isinstance(each, np.ndarray) else each for each in arguments]
    with pytest.raises(tinynet.ShapeError) as error:
        getattr(tinynet.cuda, function)(*arguments)
    assert str(error.value) == message.format(function)
    assert stand_in.meter.launches == 0


def test_arrays_that_the_kernels_cannot_take_are_refused(stand_in):
    x, other = to_device(a(2, 3), "gpu"), to_device(np.zeros((2, 3)), "gpu")
    for call, message in (
            (lambda: tinynet.cuda.relu_forward(a(2, 3)), "relu_forward: x is not on the GPU"),
            (lambda: tinynet.cuda.relu_backward(x, other), "relu_backward: y is float64, dy is float32"),
            (lambda: tinynet.cuda.relu_forward(x.astype(np.float16)), "relu_forward: x is float16"),
            (lambda: tinynet.cuda.softmax_cross_entropy_forward(x, np.zeros(2, int)), "labels is not on the GPU")):
        with pytest.raises(TypeError, match=message):
            call()


# ---- large arrays and small limits ---------------------------------------------------------------------------------
ONE_OF_EACH = [
    conv("3x3, groups", (2, 4, 6, 7), (6, 2, 3, 3), 2, 1, 2), pool("3x3", (3, 2, 7, 6)), lrn("n 5", (2, 6, 3, 4)),
    lrn_within("n 5", (2, 2, 7, 6)),
    *[next(case for case in CASES if case.op == op) for op in (
        "relu", "leaky_relu", "tanh", "sigmoid", "linear", "dropout", "softmax_cross_entropy", "sgd_step")]]


@pytest.mark.parametrize("number", sorted(ALL))
@pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)
def test_indices_of_64_bits(stand_in, monkeypatch, case, number):
    monkeypatch.setattr(kernels, "LARGE", 0)
    with version(number) as rung:
        parity_check(rung, case, np.float64, "gpu")


@pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)
def test_threads_go_on_to_further_elements(stand_in, monkeypatch, case):
    """With one block in the grid, most elements are reached by the grid-stride loop alone."""
    monkeypatch.setattr(kernels, "BLOCKS", 1)
    if FILE_OF[case.op] != "softmax":  # whose tree needs all of its threads
        monkeypatch.setattr(kernels, "THREADS", 8)
    parity_check(tinynet.cuda, case, np.float32, "gpu")


@pytest.mark.parametrize("case", [*ONE_OF_EACH[:4], *(case for case in CASES if case.op == "conv2d")], ids=str)
def test_when_shared_memory_or_columns_do_not_suffice(stand_in, monkeypatch, case):
    for file in ("pool", "lrn"):
        monkeypatch.setattr(f"tinynet.cuda.{file}.SHARED_LIMIT", 16)
    monkeypatch.setattr("tinynet.cuda.conv.COLUMN_BYTES", 1200)
    parity_check(tinynet.cuda, case, np.float64, "gpu")


@pytest.mark.parametrize("images, column_bytes, lengths", [
    (128, 1 << 28, [44, 44, 40]), (128, 5 << 22, [4] * 32), (128, 5 << 20, [1] * 128), (7, 1 << 28, [7]),
    (128, 0, [1] * 128), (0, 1 << 28, [])])
def test_pieces_are_even_and_begin_where_tensor_cores_can_read(monkeypatch, images, column_bytes, lengths):
    """Columns of conv1 take 4.2 MiB an image, and have an odd number of columns an image."""
    monkeypatch.setattr("tinynet.cuda.conv.COLUMN_BYTES", column_bytes)
    x = np.broadcast_to(np.float32(0), (images, 3, 227, 227))
    pieces = tinynet.cuda.conv._pieces(x, np.broadcast_to(np.float32(0), (96, 3, 11, 11)), 55 * 55, 1)
    assert [len(range(images)[piece]) for piece in pieces] == lengths
    assert [image for piece in pieces for image in range(images)[piece]] == list(range(images))


def test_windows_too_large_for_shared_memory(stand_in):
    parity_check(tinynet.cuda, lrn_within("n 95", (1, 1, 4, 5), n=95, alpha=0.1), np.float64, "gpu")
    parity_check(tinynet.cuda, pool("80 x 80", (1, 1, 80, 80), 3, 9), np.float64, "gpu")


MORE_THAN_ONE_TILE = [
    conv("more kernels and pixels than a tile", (1, 3, 8, 7), (18, 3, 3, 3), 1, 1),
    lrn("more channels than a block", (1, 35, 5, 7)), lrn("groups across blocks", (1, 66, 3, 11), groups=2),
    lrn_within("more pixels than a block", (1, 1, 18, 19)), pool("more pixels than threads", (1, 1, 19, 20)),
    Case("linear", "more of all than a tile", normal(x=(17, 33), w=(32, 33), b=(32,)), {}),
    Case("softmax_cross_entropy", "more classes than threads", logits(2, 300), {}),
    Case("softmax_cross_entropy", "the largest is the last, or with a late thread", lambda rng: {
        "logits": 1e4 * (np.arange(300) == np.array([[299], [200]])), "labels": np.array([299, 0])}, {}),
]


@pytest.mark.parametrize("number", sorted(ALL))
@pytest.mark.parametrize("case", MORE_THAN_ONE_TILE, ids=str)
def test_more_than_one_tile(stand_in, case, number):
    with version(number) as rung:
        parity_check(rung, case, np.float64, "gpu")


@pytest.mark.parametrize("classes", [255, 256, 257])
def test_more_classes_and_images_than_threads(stand_in, classes):
    rng = np.random.default_rng(classes)
    N = 300 if classes == 256 else 3
    x, labels = rng.standard_normal((N, classes)), rng.integers(0, classes, N)
    loss, probs = tinynet.ops.softmax_cross_entropy_forward(x, labels)
    got, got_probs = tinynet.cuda.softmax_cross_entropy_forward(to_device(x, "gpu"), to_device(labels, "gpu"))
    assert float(got) == pytest.approx(float(loss), rel=1e-13)
    np.testing.assert_allclose(to_numpy(got_probs), probs, rtol=1e-12)


@pytest.mark.parametrize("number", sorted(ALL))
def test_a_label_that_is_no_class_makes_the_loss_nan(stand_in, number):
    with version(number) as rung:
        for wrong in (4, -1):
            loss, _ = rung.softmax_cross_entropy_forward(to_device(a(2, 4), "gpu"),
                                                                 to_device(np.array([0, wrong]), "gpu"))
            assert np.isnan(float(loss))


@pytest.mark.parametrize("number", sorted(ALL))
def test_nan_and_infinities(stand_in, number):
    with version(number) as rung:
        x = np.zeros((1, 1, 3, 5))
        x[0, 0, 1, 0] = x[0, 0, 2, 1] = np.nan
        y, argmax = rung.maxpool_forward(to_device(x, "gpu"), 3, 2)
        np.testing.assert_array_equal(to_numpy(y), [[[[np.nan, 0]]]])
        np.testing.assert_array_equal(to_numpy(argmax), [[[[7, 0]]]])
        odd = to_device(np.array([-np.inf, np.nan, np.inf]), "gpu")
        for name, limits in (("relu", (0, np.inf)), ("tanh", (-1, 1)), ("sigmoid", (0, 1))):
            y = getattr(rung, f"{name}_forward")(odd)
            np.testing.assert_array_equal(to_numpy(y), [limits[0], np.nan, limits[1]])


def test_empty_batches_launch_nothing(stand_in):
    x = to_device(np.zeros((0, 2, 5, 5), np.float32), "gpu")
    assert tinynet.cuda.relu_forward(x).shape == x.shape
    assert tinynet.cuda.maxpool_forward(x, 3, 2)[0].shape == (0, 2, 2, 2)
    w, b = to_device(a(4, 2, 3, 3), "gpu"), to_device(a(4), "gpu")
    assert tinynet.cuda.conv2d_forward(x, w, b, 1, 0, 1).shape == (0, 4, 3, 3)
    assert stand_in.meter.launches == 0


@pytest.mark.parametrize("number", sorted(ALL))
@pytest.mark.parametrize("recipe", ["paper", "code-2012"])
def test_a_batch_of_1024_stays_within_the_limits_of_a_launch(stand_in, monkeypatch, recipe, number):
    """Every launch of a step at full size, but for its run: arrays that nobody touches take no memory."""
    launched = []

    def function(xp, file, kernel, options):
        def launch(grid, block, args, *, shared_mem=0):
            emulator._check_limits(kernel, grid, block, shared_mem)
            largest = max(each.size for each in args if isinstance(each, stand_in.ndarray))
            assert largest <= 2**31 - 2**24 or "-Dindex_t=long long" in options  # a grid-stride is up to 2^24
            launched.append(kernel)
        return launch

    monkeypatch.setattr(kernels, "_function", function)
    monkeypatch.setattr(stand_in, "matmul", lambda a, b, out: out)
    net = tinynet.AlexNet(recipe, rng=np.random.default_rng(0))
    net.to("gpu")
    monkeypatch.setattr(stand_in.ndarray, "__matmul__", lambda a, b: 0)
    x = stand_in.empty((1024, *net.in_shape), np.float32)
    with version(number) as rung:
        for layer in net.layers:
            layer.ops = rung
            x = layer.forward(x)
        for layer in reversed(net.layers):
            x = layer.backward(x)
    assert len(launched) > 2 * len(net.layers)


def test_what_no_gpu_takes_is_refused(monkeypatch):
    for blocks, block, shared in ((2**31, 256, 0), (-1, 256, 0), (1, (64, 32), 0), (1, 256, 49153)):
        with pytest.raises(ValueError, match="more than a GPU takes"):
            kernels.launch_blocks("lrn", "lrn_forward_2", blocks, block, shared=shared)


def test_each_file_is_compiled_once_and_says_so(stand_in, monkeypatch):
    lines = []
    monkeypatch.setattr(backend, "on_compile", lines.append)
    for cache in (kernels._module, kernels._function):
        cache.cache_clear()
    for dtype in (np.float32, np.float64, np.float32):
        x = to_device(np.ones((2, 3), dtype), "gpu")
        tinynet.cuda.tanh_backward(tinynet.cuda.tanh_forward(x), x)
    assert lines == ["compiling activation.cu for float", "compiling activation.cu for double"]


# ---- augmentation --------------------------------------------------------------------------------------------------
HOWS = [data.Augmentation(), data.Augmentation(mean_at="crop", divide=1.1),
        data.Augmentation(colour="deviations", spread=20, divide=1.1)]


def augmentation(how, dtype=np.float64, N=5, S=9, size=6):
    """Arguments of augment, by name, on the host."""
    rng = np.random.default_rng(0)
    return {"pictures": rng.integers(0, 256, (N, 3, S, S)).astype(np.uint8),
            "drawn": data.sample(rng, N, S - size, how, data.principal_axes(np.eye(3))),
            "mean": rng.uniform(0, 255, (3, S, S)).astype(dtype), "size": size, "how": how}


def on_the_gpu(given):
    return given | {name: to_device(given[name], "gpu") for name in ("pictures", "mean")}


def augmentation_check(number, dtype=np.float64):
    function = {1: earlier.augment_1, 2: augment.augment}[number]
    for how in HOWS:
        given = augmentation(how, dtype)
        x = function(**on_the_gpu(given))
        assert x.dtype == dtype
        np.testing.assert_allclose(to_numpy(x), data.augment(**given), rtol=1e-6,
                                   atol=1e-4 if dtype == np.float32 else 1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("number", VERSIONS["augment"])
def test_augmentation_is_that_of_the_data(stand_in, number, dtype):
    augmentation_check(number, dtype)


def test_augmentation_refuses_what_does_not_fit(stand_in):
    given = on_the_gpu(augmentation(HOWS[0]))
    drawn, mean = given["drawn"], given["mean"]
    for wrong, error, message in (
            ({"drawn": dataclasses.replace(drawn, tops=np.arange(5))}, ValueError,
             "augment: tops must lie between 0 and 3, they go from 0 to 4"),
            ({"drawn": dataclasses.replace(drawn, lefts=-np.arange(5))}, ValueError,
             "augment: lefts must lie between 0 and 3, they go from -4 to 0"),
            ({"drawn": drawn[:4]}, tinynet.ShapeError, r"augment: tops must have shape \(5,\), tops has \(4,\)"),
            ({"size": 10}, tinynet.ShapeError, "augment: a crop of 10 pixels does not fit into pictures of 9"),
            ({"mean": mean[:, 1:, 1:]}, tinynet.ShapeError, r"augment: mean must have shape \(3, 9, 9\)"),
            ({"pictures": mean[None]}, TypeError, "augment: pictures must be uint8"),
            ({"pictures": np.zeros((5, 3, 9, 9), np.uint8)}, TypeError, "augment: pictures is not on the GPU")):
        with pytest.raises(error, match=message):
            augment.augment(**given | wrong)
    assert stand_in.meter.launches == 0


def test_augmentation_brings_in_what_was_drawn_and_nothing_out(stand_in):
    given = on_the_gpu(augmentation(HOWS[2]))
    stand_in.meter.reset()
    augment.augment(**given)
    assert stand_in.meter.to_device == [(5,), (5,), (5,), (5, 3)]
    assert (stand_in.meter.to_host, stand_in.meter.synchronizations) == ([], 0)


# ---- a training step: what moves, who waits ------------------------------------------------------------------------
def small_network(device, rung, dropout=0.5, dtype="float32", seed=0, classes=4):
    """Every kind of layer that AlexNet has, at a size that the emulator runs in no time."""
    from tinynet.layers import LRN, Conv2d, Dropout, Flatten, Linear, MaxPool, ReLU
    layers = [Conv2d("conv1", 6, 5, stride=2, std=0.1, need_dx=False), ReLU("relu1"), LRN("lrn1", alpha=0.1),
              MaxPool("pool1", 3, 2), Conv2d("conv2", 8, 3, pad=1, groups=2, std=0.1, bias=0.1), ReLU("relu2"),
              MaxPool("pool2", 3, 2, ceil=True), Flatten("flatten"), Linear("fc3", 16, std=0.1, bias=0.1),
              ReLU("relu3"), Dropout("drop3", dropout), Linear("fc4", classes, std=0.1)]
    net = tinynet.Sequential(layers, (3, 19, 19), np.random.default_rng(seed), dtype)
    net.to(device)
    for each in [net, *net.layers]:
        each.ops = importlib.import_module(f"tinynet.{rung}") if isinstance(rung, str) else rung
    return net, tinynet.SoftmaxCrossEntropy(net), tinynet.SGD(net, lr=0.05, momentum=0.9, weight_decay=0.0005)


def train(device, rung, steps=5, dtype="float32"):
    """The losses of a few steps, and the weights after them."""
    net, loss, sgd = small_network(device, rung, dtype=dtype)
    rng = np.random.default_rng(1)
    losses = []
    for _ in range(steps):
        x, labels = rng.standard_normal((6, 3, 19, 19)).astype(dtype), rng.integers(0, 4, 6)
        losses.append(float(train_step(net, loss, sgd, x, labels)))
    return losses, {name: to_numpy(array) for name, array in net.named_params().items()}


def same_trajectory(rung, dtype, tolerance):
    losses, weights = train("cpu", "ops", dtype=dtype)
    got_losses, got_weights = train("gpu", rung, dtype=dtype)
    np.testing.assert_allclose(got_losses, losses, rtol=tolerance)
    for name, array in weights.items():
        np.testing.assert_allclose(got_weights[name], array, rtol=tolerance, atol=tolerance * np.abs(array).max())


@pytest.mark.parametrize("number", sorted(ALL))
def test_trajectory_is_that_of_the_cpu(stand_in, number):
    with version(number) as rung:
        same_trajectory(rung, "float64", 1e-10)


def step_and_meter(stand_in, net, loss, sgd, x, labels):
    """The second step, and what it moved: the first one also moves the velocity in."""
    train_step(net, loss, sgd, x, labels)
    stand_in.meter.reset()
    value = train_step(net, loss, sgd, x, labels)
    return value, stand_in.meter


@pytest.mark.parametrize("rung", ["ops", "cuda"])
def test_a_step_moves_the_batch_in_and_nothing_out(stand_in, rung):
    net, loss, sgd = small_network("gpu", rung)
    x, labels = np.ones((6, 3, 19, 19), np.float32), np.arange(6) % 4
    value, meter = step_and_meter(stand_in, net, loss, sgd, x, labels)
    assert meter.to_device == [x.shape, labels.shape]
    assert meter.to_host == []
    assert meter.synchronizations == 0
    assert np.isfinite(float(value))
    assert (meter.to_host, meter.synchronizations) == ([()], 1)


def slim_alexnet(recipe, share=8):
    """A recipe with all its layers, all of them slim: the emulator is no GPU."""
    layers = slim(tinynet.RECIPES[recipe].layers(10), units=64, share=share)
    net = tinynet.Sequential(layers, (3, 67, 67), np.random.default_rng(0))
    net.to("gpu")
    return net


@pytest.mark.parametrize("recipe", ["paper", "code-2012"])
def test_a_step_of_alexnet_moves_the_batch_in_and_nothing_out(stand_in, recipe):
    net = slim_alexnet(recipe)
    loss, sgd = tinynet.SoftmaxCrossEntropy(), tinynet.SGD(net)
    x, labels = np.ones((2, 3, 67, 67), np.float32), np.array([0, 4])
    value, meter = step_and_meter(stand_in, net, loss, sgd, x, labels)
    assert meter.to_device == [x.shape, labels.shape]
    assert (meter.to_host, meter.synchronizations) == ([], 0)
    assert np.isfinite(float(value))


def test_the_loss_follows_its_logits(stand_in):
    loss, logits, labels = tinynet.SoftmaxCrossEntropy(), a(2, 3), np.array([0, 2])
    on_the_host = loss.forward(logits, labels), loss.backward()
    assert stand_in.meter.launches == 0
    on_the_gpu = loss.forward(to_device(logits, "gpu"), labels), loss.backward()
    assert stand_in.meter.launches == 3
    for host, device in zip(on_the_host, on_the_gpu):
        np.testing.assert_allclose(to_numpy(device), host, rtol=1e-5, atol=1e-7)
    net = tinynet.Sequential([], (3,), np.random.default_rng(0)).to("gpu").use("ops")
    tinynet.SoftmaxCrossEntropy(net).forward(to_device(logits, "gpu"), labels)
    assert stand_in.meter.launches == 3  # ops launches no kernels of ours


def test_the_stand_in_refuses_what_cupy_refuses(stand_in):
    x, host = stand_in.zeros((2, 3)), np.zeros((2, 3))
    for meeting in (lambda: x + host, lambda: host + x, lambda: np.maximum(x, 0), lambda: np.asarray(x),
                    lambda: stand_in.maximum(x, host), lambda: x.__setitem__(0, host[0]), lambda: x @ host.T,
                    lambda: stand_in.where(host > 0, x, x), lambda: np.concatenate([x, x])):
        with pytest.raises(TypeError):
            meeting()
    assert stand_in.meter.to_host == []
    for wait in (lambda: float(x.sum()), lambda: bool(x[0, 0]), lambda: int(x[0, 0]), lambda: x.get()):
        before = stand_in.meter.synchronizations
        wait()
        assert stand_in.meter.synchronizations == before + 1


# ---- the real CuPy, and none at all ---------------------------------------------------------------------------------
def test_without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert backend.why_no_gpu().endswith("install it with: pip install -e '.[gpu]'")


@pytest.fixture
def real_cupy():
    """The installed package. TINYNET_REQUIRE_CUPY=1 turns the skip into a failure."""
    try:
        return importlib.import_module("cupy")
    except ImportError as error:
        skip_unless_required("TINYNET_REQUIRE_CUPY", f"CuPy is not installed ({error}); pip install cupy-cuda12x")


def test_without_a_driver_cupy_says_so_and_there_is_nothing_to_free(real_cupy, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", real_cupy)
    if real_cupy.cuda.runtime.driverGetVersion() > 0:
        pytest.skip("there is a driver")
    for call in (real_cupy.get_default_memory_pool().total_bytes, real_cupy.cuda.get_current_stream,
                 lambda: real_cupy.zeros(3), real_cupy.cuda.runtime.getDeviceCount):
        with pytest.raises(real_cupy.cuda.runtime.CUDARuntimeError, match="^cudaErrorInsufficientDriver: "):
            call()
    real_cupy.RawModule(code="this is no kernel", options=())
    assert backend.gpu_count() == 0 and backend.why_no_gpu().startswith("there is no NVIDIA driver")
    backend.free_memory()


def names_of(path):
    """(dotted name, keywords) of what a file takes from CuPy: after `xp.`, `cupy.`, `array_module(...).`, or `cuda.`"""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    keywords = {node.func: tuple(each.arg for each in node.keywords)
                for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        found = re.fullmatch(r"(?:(?:xp|(?:self\.)?cupy|_cupy\(\)|array_module\(\w+\))\.)?((?:(?<=\.)|cuda\.)[\w.]+)",
                             ast.unparse(node))
        if isinstance(node, ast.Attribute) and found:
            yield found[1], keywords.get(node, ())


def used_of_cupy():
    names = ["data.augment", *(f"{rung}.{file}" for rung in ("ops", "cuda") for file in FILE_OF.values())]
    modules = [backend, kernels, augment, *(importlib.import_module(f"tinynet.{name}") for name in names)]
    paths = [pathlib.Path(module.__file__) for module in modules]
    return sorted({used for path in [*paths, *EXAMPLES.glob("*.py")] for used in names_of(path)})


def resolved(package, name):
    for part in name.split("."):
        package = getattr(package, part)
    return package


def test_every_name_and_argument_exists_in_cupy(real_cupy):
    used = used_of_cupy()
    assert ("RawModule", ("code", "options")) in used and ("matmul", ("out",)) in used  # the search finds things
    assert ("cuda.Stream", ("non_blocking",)) in used and ("cuda.get_elapsed_time", ()) in used
    for name, keys in used:
        function = resolved(real_cupy, name)
        text = f"{getattr(function, '__doc__', '')} {accepted_by(function)}"
        for key in keys:
            assert re.search(rf"\b{key}\b", text), f"cupy.{name} takes no {key}"


def accepted_by(function):
    try:
        return str(inspect.signature(function))
    except (TypeError, ValueError):  # a compiled function or a ufunc: its docstring has to do
        return ""


def test_the_stand_in_has_only_what_cupy_has(real_cupy):
    for name in cupy_stand_in.__all__:
        assert hasattr(real_cupy, name), name
    for name in vars(cupy_stand_in.ndarray):
        assert name.startswith(("_memory", "__")) or hasattr(real_cupy.ndarray, name), name
    for name in [*vars(cupy_stand_in.cuda), *(f"runtime.{name}" for name in vars(cupy_stand_in.cuda.runtime))]:
        resolved(real_cupy.cuda, name)
    for kind in ("Device", "Event", "Stream"):
        for name in vars(getattr(cupy_stand_in.cuda, kind)):
            assert name.startswith("__") or hasattr(getattr(real_cupy.cuda, kind), name), f"{kind}.{name}"
    assert hasattr(real_cupy.get_default_memory_pool(), "total_bytes")


# ---- on a GPU: TINYNET_REQUIRE_GPU=1 python -m pytest -m gpu ---------------------------------------------------------
@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("case, number", on_each_version(cases()))
def test_parity_on_a_gpu(case, number, dtype):
    with version(number) as rung:
        parity_check(rung, case, dtype, "gpu")


@pytest.mark.gpu
@pytest.mark.parametrize("number", sorted(ALL))
@pytest.mark.parametrize("case", [*MORE_THAN_ONE_TILE, *ONE_OF_EACH], ids=str)
def test_more_than_one_tile_and_64_bits_on_a_gpu(monkeypatch, case, number):
    with version(number) as rung:
        parity_check(rung, case, np.float64, "gpu")
        monkeypatch.setattr(kernels, "LARGE", 0)
        parity_check(rung, case, np.float64, "gpu")


@pytest.mark.gpu
@pytest.mark.parametrize("number", VERSIONS["augment"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_augmentation_on_a_gpu(number, dtype):
    augmentation_check(number, dtype)


@pytest.mark.gpu
@pytest.mark.parametrize("rung", ["ops", "cuda"])
def test_trajectory_on_a_gpu_is_that_of_the_cpu(rung):
    same_trajectory(rung, "float64", 1e-9)
    same_trajectory(rung, "float32", 1e-3)


@pytest.mark.gpu
def test_a_gpu_computes_the_same_bits_every_time():
    (losses, weights), (again, weights_again) = train("gpu", "cuda"), train("gpu", "cuda")
    assert losses == again
    for name, array in weights.items():
        np.testing.assert_array_equal(array, weights_again[name], err_msg=name)


@pytest.mark.gpu
def test_memory_of_a_gpu_stays_flat():
    import cupy
    net, loss, sgd = small_network("gpu", "cuda")
    x, labels = np.ones((6, 3, 19, 19), np.float32), np.arange(6) % 4
    used = []
    for _ in range(30):
        train_step(net, loss, sgd, x, labels)
        used.append(cupy.get_default_memory_pool().used_bytes())
    assert max(used[5:]) == used[4], used

