"""Errors over a set: averaged over views, over batches of any size, and nothing of the network changed by it."""

import numpy as np
import pytest

import tinynet
from tinynet.evaluation import evaluate
from tinynet.layers import Dropout, Flatten, Linear


@pytest.fixture
def net():
    layers = [Flatten("flatten"), Linear("fc1", 8, std=0.5), Dropout("drop1"), Linear("fc2", 7, std=0.5)]
    return tinynet.Sequential(layers, (3, 4, 4), np.random.default_rng(0))


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("views", [1, 10])
def test_probabilities_are_averaged_over_views_before_they_are_ranked(net, views):
    """Paper, 4.1; the loss is that of the average, as the 2012 code has it."""
    rng = np.random.default_rng(1)
    x, labels = rng.standard_normal((30, views, 3, 4, 4), dtype=np.float32), rng.integers(0, 7, 30)
    net.eval()
    probs = softmax(net.forward(x.reshape(-1, 3, 4, 4)).astype(float)).reshape(30, views, 7).mean(axis=1)  # (30, 7)
    ranks = (probs > probs[np.arange(30), labels][:, None]).sum(axis=1)                                    # (30,)
    batches = [(x[:20], labels[:20]), (x[20:], labels[20:])]
    if views == 1:
        batches = [(x[:, 0], labels) for x, labels in batches]
    net.train()
    found = evaluate(net, tinynet.SoftmaxCrossEntropy(), batches)
    assert found.top1_error == (ranks >= 1).mean() and found.top5_error == (ranks >= 5).mean()
    assert found.loss == pytest.approx(-np.log(probs[np.arange(30), labels]).mean(), rel=1e-5)
    assert found.images == 30 and all(layer.training for layer in net.layers)


def test_a_fault_in_the_middle_leaves_the_network_in_training(net):
    def batches():
        yield np.zeros((1, 3, 4, 4), np.float32), np.array([0])
        raise OSError("disk.png: gone")

    net.train()
    with pytest.raises(OSError, match="disk.png: gone"):
        evaluate(net, tinynet.SoftmaxCrossEntropy(), batches())
    assert all(layer.training for layer in net.layers)


def test_not_one_picture_is_an_error(net):
    with pytest.raises(ValueError, match="there is no picture"):
        evaluate(net, tinynet.SoftmaxCrossEntropy(), [])
