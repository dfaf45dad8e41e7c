"""The table of a network, and the estimate of the memory that a training step takes."""

import numpy as np
import pytest

import tinynet
from tinynet import layers

KINDS = [
    layers.Conv2d("conv", 5, 3, pad=1), layers.MaxPool("pool", 3, 2), layers.MaxPool("large", 17, 2, pad=8),
    layers.AvgPool("mean", 3, 2), layers.LRN("lrn"), layers.LRNWithin("within"), layers.ReLU("relu"),
    layers.LeakyReLU("leaky"), layers.Tanh("tanh"), layers.Sigmoid("sigmoid"), layers.Flatten("flatten"),
    layers.Dropout("drop"), layers.Linear("fc", 7), layers.Layer("nothing")]


@pytest.mark.parametrize("recipe, one, many, largest", [
    ("paper", 1_256_051_352, 2_075_929_824, 185), ("code-2012", 1_257_375_680, 2_245_443_808, 151),
    ("caffe", 1_256_051_352, 2_075_929_824, 185), ("owt", 1_254_911_200, 1_723_311_584, 347)])
def test_estimates_of_the_recipes(recipe, one, many, largest):
    """They agree with what a step takes: tests/test_cuda_devices.py measures it."""
    summary = tinynet.AlexNet(recipe, rng=np.random.default_rng(0)).summary()
    assert (summary.training_bytes(1), summary.training_bytes(128)) == (one, many)
    assert summary.largest_batch(3 << 30) == largest


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", KINDS, ids=lambda layer: layer.name)
def test_layers_save_what_they_say(layer, dtype):
    x = np.random.default_rng(0).standard_normal((2, 300) if layer.name == "fc" else (2, 4, 19, 18)).astype(dtype)
    layer.build(x.shape, np.random.default_rng(0), dtype)
    layer.forward(x)
    saved = [array.nbytes for array in layer._saved or () if isinstance(array, np.ndarray)]
    assert list(layer.saved_bytes(x.shape, x.itemsize).values()) == saved


class Scaled(layers.Conv2d):
    """A layer of somebody else, which computes what Conv2d does."""


def test_a_subclass_counts_as_what_it_is():
    def estimate(kind):
        net = tinynet.Sequential([layers.ReLU("relu1"), layers.MaxPool("pool1", 3, 2), kind("conv2", 6, 3),
                                  layers.Tanh("tanh2")], (3, 21, 21), np.random.default_rng(0))
        return net.summary().training_bytes(10)
    assert estimate(Scaled) == estimate(layers.Conv2d)


def test_an_output_that_two_layers_save_counts_once():
    def estimate(*kinds):
        net = tinynet.Sequential([kind(f"layer{i}") for i, kind in enumerate(kinds)], (8, 9, 9),
                                 np.random.default_rng(0))
        summary = net.summary()
        return (summary.training_bytes(1) - summary.training_bytes(0)) / (4 * 8 * 9 * 9) - 2  # two batches
    assert estimate(layers.ReLU) == 1
    assert estimate(layers.ReLU, layers.LRN) == 1 + 1  # relu's y, which is lrn's x; scale
    assert estimate(layers.Layer, layers.LRN) == 1 + 1


def test_the_table_has_room_for_long_names():
    block = tinynet.Sequential([layers.Tanh("a_rather_long_name")], name="block")
    text = str(tinynet.Sequential([block], (3, 5, 5), np.random.default_rng(0)).summary())
    lines = text.splitlines()
    assert "block.a_rather_long_name Tanh " in text and len({len(line) for line in lines}) == 1
    assert str(tinynet.Sequential([], (3,), np.random.default_rng(0)).summary()).count("\n") == 3
