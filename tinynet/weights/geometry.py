"""The same weights in three networks: fc6 takes them all in silence.

Caffe's AlexNet has been run in other programs with other rounding, padding and sizes of pictures.
In each of them maps of 6 x 6 come out of pool5: every array fits, and the probabilities differ.
"""

import copy

from tinynet.layers import Conv2d, MaxPool
from tinynet.weights.tensors import WeightsError

GEOMETRIES = {  # side of the pictures, padding of conv1, whether pool1 and pool2 round up
    "Caffe": (227, 0, True),
    "the ONNX model zoo": (224, 0, False),
    "Guerzhoy's TensorFlow script": (227, 4, False),
}


def same_weights(net):
    """Build the three networks on the same arrays: {who: Sequential}.

    Args     net: with the layers of the recipe caffe
    Raises   WeightsError where it has others
    """
    pools = [layer.name for layer in net.layers if isinstance(layer, MaxPool)]
    if pools != ["pool1", "pool2", "pool5"]:
        raise WeightsError("only a network with Caffe's layers has the other two geometries")
    made = {}
    for who, (size, pad, ceil) in GEOMETRIES.items():
        other = copy.copy(net)
        other.layers = [copy.copy(layer) for layer in net.layers]
        other.in_shape = 3, size, size
        other["conv1"].pad = pad, pad
        other["pool1"].ceil = other["pool2"].ceil = ceil
        other["pool5"].ceil = True  # of 12 pixels it needs rows that are not there
        made[who] = other
    return made


def sides(net):
    """Return the sides of the maps in pixels after conv1 and after each pooling."""
    shape, found = (1, *net.in_shape), []
    for layer in net.layers:
        shape = layer.output_shape(shape)
        if isinstance(layer, MaxPool) or isinstance(layer, Conv2d) and layer.name == "conv1":
            found.append(shape[-1])
    return found
