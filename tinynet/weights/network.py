"""From what a file holds to a network: is it an AlexNet, which one, and does every array fit?"""

import json
import re

import numpy as np

from tinynet.alexnet import RECIPES
from tinynet.cifarnet import CifarNet
from tinynet.layers import LRN, Conv2d, Dropout, Flatten, Linear, MaxPool, ReLU
from tinynet.network import Sequential
from tinynet.shapes import output_size
from tinynet.weights.tensors import WeightsError, times

MAX_SIDE, MAX_CLASSES = 1024, 100_000
WEIGHTED = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
TORCHVISION = {**{f"conv{i}": f"features.{place}" for i, place in enumerate((0, 3, 6, 8, 10), 1)},
               "fc6": "classifier.1", "fc7": "classifier.4", "fc8": "classifier.6"}
CAFFE = {name: name for name in WEIGHTED}
NUMBERED = {Conv2d: "conv", LRN: "lrn", MaxPool: "pool", ReLU: "relu", Linear: "fc",
            Dropout: "drop"}


def of_tensors(tensors):
    """Build the network of a file that holds arrays by name and says nothing about layers.

    Args     tensors: {name: Tensor}
    Returns  net, the recipe's name
    Raises   WeightsError, which names the array that is at fault
    """
    tensors = {name.replace("module.", ""): tensor for name, tensor in tensors.items()}
    table = max((TORCHVISION, CAFFE), key=lambda names: len(
        {f"{theirs}.{key}" for theirs in names.values() for key in ("weight", "bias")}
        & tensors.keys()))
    wanted = {f"{theirs}.{key}": f"{ours}.{key[0]}" for ours, theirs in table.items()
              for key in ("weight", "bias")}
    conv1 = tensors.get(f"{table['conv1']}.weight")
    weights = sorted(((name, tensor.shape) for name, tensor in tensors.items()
                      if len(tensor.shape) > 1), key=lambda weight: _place(*weight))
    if conv1 is not None or len(weights) > len(WEIGHTED) or len(wanted.keys() & tensors.keys()) < 8:
        require_alexnet(weights)  # else it is one of which conv1's weights are missing
    for name in [*wanted, *tensors]:
        if name not in tensors:
            raise WeightsError(f"{name} is missing")
        if name not in wanted:
            raise WeightsError(f"{name} is in it, which AlexNet does not have")
    owt = tensors[f"{table['conv1']}.weight"].shape[0] == 64
    recipe = "owt" if owt else "caffe"
    last = tensors[f"{table['fc8']}.weight"].shape
    layers = RECIPES[recipe].layers(min(last[0], MAX_CLASSES))
    found = {ours: (name, tensors[name]) for name, ours in wanted.items()}
    return assemble(layers, found, RECIPES[recipe].image_size, f"the recipe {recipe}"), recipe


def of_rows(rows, image_size):
    """Build the network of a file that describes its layers.

    Args     rows: [Row]; image_size: side of its pictures
    Returns  net, the name of the recipe that has exactly these layers, or None
    Raises   WeightsError, which names the layer that is at fault
    """
    require_alexnet([(row.name, row.w.shape) for row in rows if row.w])
    kinds = [row.kind for row in rows if row.w]
    if kinds != [Conv2d] * 5 + [Linear] * 3:
        raise WeightsError(f"this is not an AlexNet: {kinds.count(Conv2d)} convolutions and "
                           f"{kinds.count(Linear)} fully connected layers")
    layers, found, number, side = [], {}, 0, image_size
    for row in rows:
        arguments = dict(row.arguments)
        if row.kind in (Conv2d, Linear):
            number += 1
        if row.kind is Flatten or row.kind is Linear and not any(
                isinstance(layer, Flatten) for layer in layers):
            layers.append(Flatten("flatten"))
        if row.kind is Flatten:
            continue
        name = f"{NUMBERED[row.kind]}{number}"
        try:
            _require_bounded(row)
            if row.kind is MaxPool:
                arguments = _as_ceil(arguments, side)
            if row.kind in (Conv2d, MaxPool):
                kernel = row.w.shape[-1] if row.w else max(arguments["size"])
                side = output_size(side, kernel, max(arguments["stride"]),
                                   max(arguments.get("pad", (0,))), arguments.get("ceil", False))
            if row.kind is Conv2d:
                arguments |= {"K": row.w.shape[0], "size": row.w.shape[2:], "need_dx": number > 1}
            if row.kind is Linear:
                arguments["OUT"] = row.w.shape[0]
            layers.append(row.kind(name, **arguments))
        except (ValueError, TypeError, OverflowError) as error:
            raise WeightsError(f"{row.name}: {error}") from None
        for key, tensor in (("w", row.w), ("b", row.b)):
            if tensor:
                found[f"{name}.{key}"] = f"{row.name}'s {key}", tensor
    recipe = next((name for name, entry in RECIPES.items()
                   if not _first_difference(layers, entry.layers(count_classes(layers)))), None)
    if recipe:  # it also says how layers are trained, which files do not
        layers = RECIPES[recipe].layers(count_classes(layers))
    return assemble(layers, found, image_size, "what its own layers make of it"), recipe


def _require_bounded(row):
    """Refuse sizes that no array in the file bounds, and that would take memory or time."""
    if row.kind is LRN and row.arguments["n"] > MAX_SIDE:
        raise WeightsError(f"{row.name}: normalises over {row.arguments['n']:,} maps, more than "
                           f"{MAX_SIDE:,}")
    if row.kind is Conv2d and max(row.arguments["pad"]) >= max(row.w.shape[2:]):
        raise WeightsError(f"{row.name}: pads by {max(row.arguments['pad']):,} pixels, its kernels "
                           f"have {max(row.w.shape[2:])}")


def _as_ceil(arguments, side):
    """Turn padding below and at the right alone into ceil, if that gives the same windows."""
    arguments = dict(arguments)
    padded = arguments.pop("padded_below", None)
    if padded is None:
        return arguments
    size, stride = max(arguments["size"]), max(arguments["stride"])
    wanted = (side + padded[0] - size) // stride + 1
    arguments["ceil"] = wanted == output_size(side, size, stride, ceil=True)
    if not arguments["ceil"] and wanted != output_size(side, size, stride):
        raise WeightsError(f"pads {side} pixels by {padded}, which neither floor nor ceil does")
    return arguments


def count_classes(layers):
    """Return the number of outputs of the last fully connected layer."""
    return [layer for layer in layers if isinstance(layer, Linear)][-1].OUT


def require_alexnet(weights):
    """See that weights are convolutions and then matrices, the first with kernels of 11 pixels.

    Args     weights: [(name, shape)] of all arrays with more than one axis, in the order of layers
    Raises   WeightsError, with what they are instead
    """
    kinds = [len(shape) for _, shape in weights]
    first = f"{weights[0][0]} is {times(weights[0][1])}" if weights else "it has no weights"
    if len(weights) > len(WEIGHTED) or weights and weights[0][1][1:] != (3, 11, 11):
        raise WeightsError(f"{len(weights)} layers with weights; this is not an AlexNet: {first}")
    if not weights or any(kind not in (2, 4) for kind in kinds) or kinds != sorted(kinds)[::-1]:
        raise WeightsError(f"this is not an AlexNet: {first}")


def assemble(layers, found, image_size, expected_by):
    """Build a network and give it the arrays of a file, shapes first.

    Args     layers: of a table, without parameters; found: {"conv1.w": (name in the file, Tensor)};
             image_size: side of the pictures; expected_by: who wants the shapes, for the message
    Raises   WeightsError, which names the first array that does not fit
    """
    if not 1 <= image_size <= MAX_SIDE:
        raise WeightsError(f"its pictures have {image_size} pixels, more than {MAX_SIDE}")
    shape = (1, 3, image_size, image_size)
    for layer in layers:
        try:
            if isinstance(layer, Conv2d | Linear):
                w_shape = (layer.weight_shape(shape) if isinstance(layer, Conv2d) else
                           (layer.OUT, *shape[1:]))
                _require(found, f"{layer.name}.w", w_shape, expected_by)
                _require(found, f"{layer.name}.b", w_shape[:1], expected_by)
            shape = layer.output_shape(shape)
        except WeightsError:
            raise
        except ValueError as error:
            raise WeightsError(str(error)) from None
    try:
        net = Sequential(layers, (3, image_size, image_size), np.random.default_rng(0))
    except ValueError as error:  # a layer that is there twice
        raise WeightsError(str(error)) from None
    fill(net, found)
    net.eval()
    return net


def _require(found, ours, shape, expected_by):
    if ours not in found:
        raise WeightsError(f"{ours} is missing")
    name, tensor = found[ours]
    if tuple(tensor.shape) != tuple(shape):
        raise WeightsError(f"{name} is {times(tensor.shape)}, {expected_by} has {times(shape)}")


def fill(net, found):
    """Copy the arrays of a file into a network. Raises WeightsError with an array's name."""
    for ours, array in net.named_params().items():
        name, tensor = found[ours]
        try:
            array[...] = tensor.values()
        except WeightsError as error:
            raise WeightsError(f"{name} {error}") from None


def of_description(text, tensors):
    """Build the network of a file that tinynet has written, from the description in its metadata.

    Args     text: JSON; tensors: {name: Tensor}
    Returns  net, the description as a dict
    Raises   WeightsError
    """
    try:
        entry = json.loads(text)
        classes, size = entry["class_names"], entry["image_size"]
        assert type(size) is int and 1 <= size <= MAX_SIDE and 1 <= len(classes) <= MAX_CLASSES
        assert all(isinstance(name, str) for name in classes)
        assert isinstance(entry["preprocessing"], dict)
        names = tensor_names(entry)
        layers = LAYERS[entry["network"]](entry, len(classes))
    except (AssertionError, KeyError, TypeError, ValueError, RecursionError):
        raise WeightsError("is damaged: its metadata describe no network of tinynet") from None
    found = {f"{ours}.{key[0]}": (f"{theirs}.{key}", tensors[f"{theirs}.{key}"])
             for ours, theirs in names.items() for key in ("weight", "bias")
             if f"{theirs}.{key}" in tensors}
    if len(found) < len(tensors):
        known = {name for name, _ in found.values()}
        raise WeightsError(f"{min(tensors.keys() - known)} is in it, which its network has not")
    return assemble(layers, found, size, "its network"), entry


# The tables of the networks that a run may have trained, without drawing weights for them.
LAYERS = {
    "AlexNet": lambda entry, classes: RECIPES[entry["recipe"]].layers(classes),
    "CifarNet": lambda entry, classes: CifarNet(classes, rng=np.random.default_rng(0)).layers,
}


def tensor_names(entry):
    """Say what layers are called in files: torchvision's names for owt, else our own."""
    if entry["network"] == "AlexNet":
        return TORCHVISION if entry["recipe"] == "owt" else CAFFE
    return {name: name for name in ("conv1", "conv2", "conv3", "fc4", "fc5")}


def _place(name, shape):
    """Return a key that sorts kernels before matrices, and features.10 after features.3."""
    parts = re.split(r"([0-9]+)", name)  # text and digits in turn
    return -len(shape), [(int(part[:9]), "") if place % 2 else (0, part)
                         for place, part in enumerate(parts)]


def not_these(net):
    """Say of each recipe that a network cannot be why not: {recipe: first difference}."""
    found = {}
    for recipe, entry in RECIPES.items():
        if reason := _first_difference(net, entry.layers(count_classes(net))):
            found[recipe] = reason
    return found


def _at_test(layers):
    """Return {name: layer} of the layers that do something at test."""
    return {layer.name: layer for layer in layers
            if not isinstance(layer, Dropout) or not layer.inverted}


def _first_difference(layers, table):
    ours, table = _at_test(layers), _at_test(table).values()
    for layer in table:
        if layer.name not in ours:
            return f"it has no {layer.name}"
        for key in SETTINGS:
            if getattr(layer, key, None) != getattr(ours[layer.name], key, None):
                return (f"its {layer.name} has {key}={getattr(ours[layer.name], key, None)}, "
                        f"the recipe {getattr(layer, key, None)}")
    if names := [name for name in ours if name not in {layer.name for layer in table}]:
        return f"it has {names[0]}, the recipe has not"
    order = [layer.name for layer in table]
    if list(ours) != order:
        place = next(i for i, name in enumerate(ours) if name != order[i])
        return f"it has {list(ours)[place]} where the recipe has {order[place]}"
    return None


SETTINGS = ("K", "OUT", "size", "stride", "pad", "groups", "ceil", "n", "k", "alpha", "beta",
            "inverted")
