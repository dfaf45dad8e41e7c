"""The gradient checker itself: right gradients pass, wrong ones are named with element, values and index."""

import numpy as np
import pytest
from test_network import small_net

import tinynet
from tinynet import gradcheck, layers
from tinynet.gradcheck import check_layer, check_network, compare, numeric_gradient, rounding


def built(layer, in_shape):
    layer.build(in_shape, np.random.default_rng(0), "float64")
    return layer


LAYERS = [
    layers.Conv2d("conv", 4, (3, 2), stride=(2, 1), pad=(1, 0), groups=2, std=0.5, ceil=True),
    layers.MaxPool("pool", 3, 2), layers.MaxPool("ceil", (2, 3), 2, ceil=True),
    layers.AvgPool("mean", 3, 2, ceil=True), layers.MaxPool("padded", (2, 3), 2, pad=1),
    layers.AvgPool("padded mean", 3, (2, 1), pad=(1, 2), ceil=True),
    layers.LRN("lrn", n=5, k=2, alpha=0.5), layers.LRN("groups", n=3, k=1, alpha=0.3, groups=2),
    layers.LRNWithin("within", n=3, k=1, alpha=0.2), layers.ReLU("relu"), layers.LeakyReLU("leaky", slope=0.2),
    layers.Tanh("tanh"), layers.Sigmoid("sigmoid"), layers.Flatten("flatten"), layers.Dropout("drop", keep=0.6),
    layers.Dropout("inverted", keep=0.6, inverted=True), layers.Layer("nothing")]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_every_layer_passes(layer):
    x = np.random.default_rng(1).permutation(3 * 4 * 6 * 7).reshape(3, 4, 6, 7) / 100 - 2.4975  # no ties, no zeros
    for report in check_layer(built(layer, x.shape), x, np.random.default_rng(2)):
        assert report.ok, report


def test_linear_passes():
    x = np.random.default_rng(1).standard_normal((3, 5))
    reports = check_layer(built(layers.Linear("fc", 4, std=0.5), x.shape), x, np.random.default_rng(2))
    assert [report.name for report in reports] == ["fc.dx", "fc.dw", "fc.db"]
    assert all(report.ok for report in reports)


@pytest.mark.parametrize("recipe", ["paper", "code-2012", "caffe", "owt"])
def test_whole_network_sampled(recipe):
    net = tinynet.AlexNet(recipe, 5, 67, rng=np.random.default_rng(0), dtype="float64")
    for name in ("conv3", "conv4", "conv5", "fc6", "fc7", "fc8"):
        net[name].params["w"] *= 2  # so that gradients are not lost in rounding before they reach conv1
    x = 10 * np.random.default_rng(1).standard_normal((2, 3, 67, 67))
    for report in check_network(net, tinynet.SoftmaxCrossEntropy(), x, np.array([1, 4]), np.random.default_rng(2),
                                samples=3, tolerance=1e-5):
        assert report.ok, report


def test_small_network_in_full():
    net = small_net()
    x = np.random.default_rng(1).standard_normal((2, 3, 13, 11))
    loss, rng = tinynet.SoftmaxCrossEntropy(), np.random.default_rng(2)
    reports = check_network(net, loss, x, np.array([0, 2]), rng, samples=None)
    assert [report.name for report in reports] == [*net.named_params(), "x"]
    for report in reports:
        assert report.ok, report


def test_a_wrong_gradient_is_named():
    class Wrong(layers.Tanh):
        def backward(self, dy):
            dx = super().backward(dy)
            dx[1, 2] *= 3
            return dx

    report, = check_layer(Wrong("tanh"), np.random.default_rng(1).standard_normal((2, 4)), np.random.default_rng(2))
    assert not report.ok and report.index == (1, 2)
    assert report.analytic == pytest.approx(3 * report.numeric, rel=1e-6)
    assert str(report).startswith("tanh.dx: WRONG, relative error ") and "worst at (1, 2): analytic " in str(report)


def test_gradients_that_are_missing_or_not_numbers_fail():
    class NoBias(layers.Linear):
        def backward(self, dy):
            dx = super().backward(dy)
            del self.grads["b"]
            return dx

    x = np.random.default_rng(1).standard_normal((2, 3))
    with pytest.raises(ValueError, match="fc: backward left no db"):
        check_layer(built(NoBias("fc", 2), x.shape), x, np.random.default_rng(2))
    assert not compare("nan", np.array([1.0, np.nan]), np.array([1.0, 2.0])).ok
    assert not compare("zero", np.array([0.0, 1e-9]), np.zeros(2)).ok
    assert compare("zero", np.zeros(2), np.zeros(2)).ok
    with pytest.raises(ValueError, match=r"has shape \(2, 1\), it should have \(2,\)"):
        compare("shape", np.zeros((2, 1)), np.zeros(2))


class BatchNorm(layers.Layer):
    """Each channel minus its mean over the batch, divided by its standard deviation."""

    axes = (0, 2, 3)

    def forward(self, x):
        std = np.sqrt(x.var(self.axes, keepdims=True) + 1e-5)
        y = (x - x.mean(self.axes, keepdims=True)) / std
        self.save_for_backward(y, std)
        return y

    def backward(self, dy):
        y, std = self.saved()
        return (dy - self.mean(dy) - y * (dy * y).mean(self.axes, keepdims=True)) / std

    def mean(self, dy):
        return dy.mean(self.axes, keepdims=True)


class NoMean(BatchNorm):
    """The bug that makes the gradient of a bias below it wrong: it should be 0."""

    def mean(self, dy):
        return 0


@pytest.mark.parametrize("eps", [1e-4, 1e-5, 1e-6])
@pytest.mark.parametrize("seed", range(3))
def test_a_gradient_of_zero_is_right_and_a_wrong_one_is_not(seed, eps):
    def reports(norm):
        rng = np.random.default_rng(seed)
        net = tinynet.Sequential(
            [layers.Conv2d("conv1", 6, 3, std=0.5, bias=1), norm("norm1"), layers.ReLU("relu1"),
             layers.Conv2d("conv2", 4, 3, std=0.3), norm("norm2"), layers.Flatten("flatten"),
             layers.Linear("fc3", 5, std=0.5)], (3, 9, 9), rng, "float64")
        x = rng.standard_normal((4, 3, 9, 9))
        checked = check_network(net, tinynet.SoftmaxCrossEntropy(), x, np.array([0, 3, 2, 4]), rng, eps=eps)
        return {report.name: report for report in checked}

    right = reports(BatchNorm)
    if eps > 1e-6:  # at 1e-6 rounding alone exceeds the tolerance in other gradients too
        assert all(report.ok for report in right.values()), right
    for name in ("conv1.b", "conv2.b"):
        assert right[name].ok and abs(right[name].numeric) < 1e-8, right[name]
        assert not reports(NoMean)[name].ok


def test_the_floor_follows_eps_and_the_size_of_the_loss():
    tiny, zero = np.array([0.0, 1e-10]), np.zeros(2)
    assert not compare("loss of 1", tiny, zero, floor=rounding(0.01)).ok
    assert compare("loss of 100", tiny, zero, floor=rounding(100)).ok
    assert not compare("larger eps", tiny, zero, floor=rounding(100, eps=1e-2)).ok
    assert not compare("wrong", np.array([0.0, 1e-7]), zero, floor=rounding(100)).ok


def test_samples_are_of_the_array_asked_for():
    x = np.random.default_rng(1).standard_normal((4, 50))
    report, = check_layer(layers.Tanh("tanh"), x, np.random.default_rng(2), samples=7)
    assert report.checked == 7 and report.ok
    with pytest.raises(TypeError, match="need float64"):
        numeric_gradient(lambda: 0.0, np.zeros(2, np.float32))


def test_an_upstream_of_ones_would_not_see_a_rotated_kernel():
    """Why the upstream is random: dx of a convolution with the kernel turned round, under both upstreams."""
    class Rotated(layers.Conv2d):
        def backward(self, dy):
            right = self.params["w"]
            self.params["w"] = right[:, :, ::-1, ::-1].copy()
            dx = super().backward(dy)
            self.params["w"] = right
            return dx

    conv = built(Rotated("conv", 2, 3), (1, 1, 5, 5))
    conv.params["w"] = conv.params["w"] + conv.params["w"].mean(axis=(2, 3), keepdims=True)
    x = np.random.default_rng(1).standard_normal((1, 1, 5, 5))
    middle = [(0, 0, 2, 2)]  # seen through the whole kernel: with ones upstream, its gradient is the kernel's sum
    conv.forward(x)
    analytic = conv.backward(np.ones((1, 2, 3, 3)))
    numeric = numeric_gradient(lambda: conv.forward(x).sum(), x, indices=middle)
    assert gradcheck.compare("ones", analytic, numeric, middle).ok
    dx = check_layer(conv, x, np.random.default_rng(2))[0]
    assert dx.name == "conv.dx" and not dx.ok
