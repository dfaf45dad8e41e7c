"""A user's mistake in a network, its layers, its loss or its optimiser: one line that says what would be right."""

import numpy as np
import pytest

import tinynet
from tinynet import layers
from tinynet.layers import LRN, Conv2d, Dropout, LeakyReLU, Linear, LRNWithin, MaxPool, ReLU


def rng():
    return np.random.default_rng(0)


def net_of(*rows, in_shape=(3, 9, 9), **settings):
    return tinynet.Sequential(rows, in_shape, rng(), **settings)


def refuses(error, words, make):
    """Assert that make() fails with this error, in one line that has these words."""
    with pytest.raises(error) as caught:
        make()
    assert words in str(caught.value) and "\n" not in str(caught.value), caught.value


@pytest.mark.parametrize("make, words", [
    (lambda: Dropout(0.3), "it is 0.3: Dropout(name, keep=0.5, inverted=False)"),
    (lambda: LeakyReLU(0.2), "it is 0.2: LeakyReLU(name, slope=0.01)"),
    (lambda: LRN(9), "it is 9: LRN(name, n=5, k=2, alpha=0.0001, beta=0.75, groups=1)"),
    (lambda: Linear(10, 0.1), "it is 10: Linear(name, OUT, "),
    (lambda: ReLU(""), "must be a string and not empty, it is ''"),
    (lambda: ReLU(None), "it is None: ReLU(name)"),
    (lambda: tinynet.Sequential([], name=3), "it is 3: Sequential(layers, ")])
def test_a_name_is_a_name(make, words):
    refuses(TypeError, words, make)


@pytest.mark.parametrize("error, words, make", [
    (ValueError, "c: a size, stride or padding is a whole number", lambda: Conv2d("c", 4, 3.7)),
    (ValueError, "not 2.9", lambda: Conv2d("c", 4, 3, stride=2.9)),
    (ValueError, "not True", lambda: Conv2d("c", 4, 3, pad=True)),
    (ValueError, "not '3'", lambda: MaxPool("p", "3", 2)),
    (ValueError, "not (3, 3, 3)", lambda: MaxPool("p", (3, 3, 3), 2)),
    (ValueError, "not (2,)", lambda: layers.AvgPool("p", 3, (2,))),
    (ValueError, "c: K=0 must be at least 1", lambda: Conv2d("c", 0, 3)),
    (TypeError, "c: K=4.0 must be a whole number", lambda: Conv2d("c", 4.0, 3)),
    (ValueError, "c: groups=0 must be at least 1", lambda: Conv2d("c", 4, 3, groups=0)),
    (TypeError, "c: std='0.1' must be a number", lambda: Conv2d("c", 4, 3, std="0.1")),
    (ValueError, "c: std=-0.01 must be at least 0", lambda: Conv2d("c", 4, 3, std=-0.01)),
    (ValueError, "c: bias=nan must be finite", lambda: Conv2d("c", 4, 3, bias=float("nan"))),
    (ValueError, "f: OUT=0 must be at least 1", lambda: Linear("f", 0)),
    (TypeError, "f: OUT=True must be a whole number", lambda: Linear("f", True)),
    (TypeError, "f: bias_lr=[2] must be a number", lambda: Linear("f", 3, bias_lr=[2])),
    (ValueError, "n: n=0 must be at least 1", lambda: LRN("n", 0)),
    (TypeError, "n: n=2.5 must be a whole number", lambda: LRN("n", 2.5)),
    (ValueError, "n: n=4 must be odd", lambda: net_of(LRN("n", 4))),
    (ValueError, "w: n=4 must be odd", lambda: net_of(LRNWithin("w", 4))),
    (TypeError, "n: alpha='a' must be a number", lambda: LRN("n", alpha="a")),
    (ValueError, "n: groups=0 must be at least 1", lambda: LRN("n", groups=0)),
    (TypeError, "d: keep='half' must be a number", lambda: Dropout("d", "half")),
    (ValueError, "d: keep=0 must be above 0", lambda: Dropout("d", 0)),
    (ValueError, "l: slope=1 must lie between 0 and 1", lambda: LeakyReLU("l", 1))])
def test_sizes_and_settings_of_layers(error, words, make):
    refuses(error, words, make)


def test_integers_of_numpy_are_integers():
    conv = Conv2d("c", np.int64(4), np.int32(3), stride=(np.int64(2), 1))
    assert net_of(conv)["c"].params["w"].shape == (4, 3, 3, 3) and conv.stride == (2, 1)


SHARED = ReLU("a")


@pytest.mark.parametrize("error, words, make", [
    (ValueError, "network: dtype='int32' must be float32 or float64", lambda: net_of(dtype="int32")),
    (ValueError, "dtype=", lambda: net_of(dtype=None)),
    (TypeError, "rng must be a numpy.random.Generator, it is 0: np.random.default_rng(0)",
     lambda: tinynet.Sequential([], (3, 9, 9), 0)),
    (TypeError, "rng must be", lambda: tinynet.AlexNet("caffe", 10, rng=1)),
    (TypeError, "in_shape=3 must be the shape of an image", lambda: net_of(in_shape=3)),
    (ValueError, "in_shape[1]=0 must be at least 1", lambda: net_of(in_shape=(3, 0, 9))),
    (TypeError, "is not a layer of tinynet.layers", lambda: net_of(ReLU)),
    (ValueError, "used more than once: a", lambda: net_of(ReLU("a"), ReLU("a"))),
    (ValueError, "used more than once: b.a", lambda: net_of(tinynet.Sequential([ReLU("a")], name="b"), ReLU("b.a"))),
    (ValueError, "a layer is in it twice", lambda: net_of(SHARED, tinynet.Sequential([SHARED], name="b"))),
    (RuntimeError, "c: not built; put it into a Sequential", lambda: Conv2d("c", 4, 3)(np.zeros((1, 3, 9, 9)))),
    (RuntimeError, "f: not built", lambda: Linear("f", 4)(np.zeros((1, 3)))),
    (RuntimeError, "d: not built", lambda: Dropout("d")(np.zeros((1, 3)))),
    (TypeError, "dy must be an array, it is a list: use np.array(dy, 'float32')", lambda: net_of().backward([0.0])),
    (TypeError, "AlexNet: num_classes=2.5 must be a whole number",
     lambda: tinynet.AlexNet("paper", 2.5, rng=rng())),
    (ValueError, "AlexNet: image_size=-5 must be at least 1", lambda: tinynet.AlexNet("paper", 10, -5, rng=rng())),
    (ValueError, "no recipe 1000; there are paper, code-2012", lambda: tinynet.AlexNet(1000, rng=rng())),
    (ValueError, "no recipe ['paper']; there are", lambda: tinynet.AlexNet(["paper"], rng=rng())),
    (RuntimeError, "network: not built; give in_shape and rng", lambda: tinynet.Sequential([]).forward(np.ones(3))),
    (TypeError, "x must be an array, it is a list: use np.array(x, 'float32')", lambda: net_of().forward([[1.0]])),
    (TypeError, "x must be an array, it is a list", lambda: net_of().predict([[1.0]])),
    (TypeError, "the network computes in float32, x is float64", lambda: net_of().predict(np.zeros((1, 3, 9, 9)))),
    (TypeError, "logits must be an array, not a list", lambda: tinynet.SoftmaxCrossEntropy().forward([[0.0]], [0]))])
def test_networks_and_losses(error, words, make):
    refuses(error, words, make)


@pytest.mark.parametrize("given", [np.float64, np.dtype("float64"), "float64"])
def test_a_dtype_of_numpy_is_a_dtype(given):
    net = net_of(Linear("f", 2), in_shape=(3,), dtype=given)
    assert net.dtype == "float64" and net["f"].params["w"].dtype == np.float64
    assert net.summary().itemsize == 8


@pytest.mark.parametrize("error, words, settings", [
    (TypeError, "SGD: lr='a' must be a number", {"lr": "a"}), (TypeError, "lr=True", {"lr": True}),
    (TypeError, "SGD: momentum=None must be a number", {"momentum": None}),
    (TypeError, "SGD: weight_decay='0.1' must be a number", {"weight_decay": "0.1"}),
    (ValueError, "SGD: lr=nan must be finite", {"lr": float("nan")}),
    (ValueError, "momentum=1 at least 0 and below 1", {"momentum": 1}), (ValueError, "lr=-1", {"lr": -1})])
def test_optimisers(error, words, settings):
    refuses(error, words, lambda: tinynet.SGD(net_of(Linear("f", 2), in_shape=(3,)), **settings))


def test_a_gpu_does_not_compute_with_a_rung_of_the_cpu(stand_in):
    net = net_of(ReLU("a"))
    refuses(ValueError, "no rung 'cuda' for a network on the cpu; there are reference, ops, cpu",
            lambda: net.use("cuda"))
    net.to("gpu")
    refuses(ValueError, "no rung 'cpu' for a network on the gpu; there are ops, cuda", lambda: net.use("cpu"))
    refuses(ValueError, "no rung 'reference' for a network on the gpu", lambda: net.use("reference"))
    assert net.use("ops").ops is net["a"].ops is tinynet.ops
