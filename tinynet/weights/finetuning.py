"""Prepare a pretrained network to learn other classes from the pictures of tinynet.data."""

import numpy as np

from tinynet import backend, weights
from tinynet.layers import Linear
from tinynet.weights.tensors import WeightsError


def load(path, recipe=None, image_size=None):
    """Load an AlexNet that a run is to fine-tune.

    Args     path: of a file or a run; recipe, image_size: what the user expects, None for anything
    Returns  a Pretrained whose layers come from a recipe
    Raises   WeightsError, RunError or CheckpointError, one line for the user
    """
    pretrained = weights.load(path)
    table = pretrained.table or {}
    if table.get("network") != "AlexNet":
        raise WeightsError(f"{path}: its layers are not those of a recipe of AlexNet; a run of "
                           "other layers could not be loaded again")
    found = {"--recipe": (recipe, table["recipe"]),
             "--image-size": (image_size, pretrained.net.in_shape[-1])}
    for option, (wanted, actual) in found.items():
        if wanted not in (None, actual):
            raise WeightsError(f"{path}: these weights are for {option} {actual}, not {wanted}; "
                               f"leave {option} out")
    return pretrained


def fine_tune(pretrained, num_classes, rate=0.1, *, rng):
    """Give a network a new last layer, and let all other layers learn at a lower rate.

    The convention is that of Caffe's fine-tuning example, where fc8 has ten times the rate of the
    others: here the rate of training is that of the new layer, and the others have `rate` of it.

    Loaders of ours give RGB pixels of 0 to 255 minus a mean image. What else the pretrained network
    wants, the order of its colours and their scale, is moved into conv1: its outputs stay what they
    were. The rate and the decay of conv1.w change with its scale, so that its steps do too.

    Args     pretrained: its network is changed in place; rate: 0 freezes the other layers;
             rng: numpy.random.Generator, for the weights of the new layer and for dropout
    Returns  net, mean: the Sequential, and the mean image float32 (3, S, S) that its pictures need
    Raises   WeightsError where there is no last layer that could be replaced
    """
    net, preprocessing = pretrained.net, pretrained.preprocessing
    last = net.layers[-1]
    if not isinstance(last, Linear):
        raise WeightsError(f"{last.name}, the last layer, is not fully connected")
    mean = _into_conv1(net.layers[0], preprocessing)
    fresh = Linear(last.name, num_classes, std=last.std, bias=last.bias)
    fresh.lr_mult, fresh.decay_mult = dict(last.lr_mult), dict(last.decay_mult)
    fresh.build((1, last.params["w"].shape[1]), rng, net.dtype)
    for layer in net.layers[:-1]:
        for key in layer.params:
            layer.lr_mult[key] = layer.lr_mult.get(key, 1) * rate
        if getattr(layer, "rng", None) is not None:
            layer.rng = rng
    fresh.ops, fresh.training = last.ops, last.training
    net.layers[-1], net.rng = fresh, rng
    net.train()
    S, s = preprocessing.stored, preprocessing.crop
    if mean.ndim == 1:
        return net, np.ascontiguousarray(np.broadcast_to(mean[:, None, None], (3, S, S)))
    before = (S - s) // 2  # beyond the middle the mean image is unknown: as at its edge
    return net, np.pad(mean, [(0, 0), *[(before, S - s - before)] * 2], mode="edge")


def _into_conv1(conv1, preprocessing):
    """Let conv1 take RGB minus the mean, unscaled; return the mean in that order."""
    order = slice(None, None, -1 if preprocessing.channels == "BGR" else 1)
    scale = preprocessing.scale.astype(np.float64)
    w = backend.to_numpy(conv1.params["w"]) / scale[:, None, None]        # (K, 3, KH, KW)
    conv1.params["w"][...] = backend.like(w[:, order].astype(np.float32), conv1.params["w"])
    typical = float(scale.mean())
    conv1.lr_mult["w"] = conv1.lr_mult.get("w", 1) / typical**2
    conv1.decay_mult["w"] = conv1.decay_mult.get("w", 1) * typical**2
    return preprocessing.mean.astype(np.float32)[order]
