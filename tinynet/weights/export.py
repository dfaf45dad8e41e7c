"""Write a network for other programs, as ONNX, safetensors, or PyTorch's .pth.

Arrays go out bit by bit as they are, under torchvision's names for the recipe owt and under Caffe's
for the others. The metadata, one JSON text under the key "tinynet", say which table the layers come
from, what the classes are called and how pictures are prepared: load() brings all of it back.
"""

import json
import os
import pathlib

from tinynet import backend
from tinynet.checkpoint import atomic_write
from tinynet.weights import safetensors_file, torch_file
from tinynet.weights.network import tensor_names
from tinynet.weights.onnx_graph import to_onnx
from tinynet.weights.tensors import WeightsError

ENDINGS = (".onnx", ".safetensors", ".pth")


def require_name(path):
    """Return the ending of a path that export can write to. Raises WeightsError for another."""
    ending = pathlib.Path(path).suffix
    if ending not in ENDINGS:
        raise WeightsError(f"{path}: the name must end in one of {', '.join(ENDINGS)}")
    if os.path.isdir(path):
        raise WeightsError(f"{path}: is a folder, not the name of a file")
    return ending


def export(pretrained, path):
    """Write a network, whole or not at all, in the format that the ending of the path names.

    Args     pretrained: a Pretrained whose layers come from a table of ours
    Raises   WeightsError, one line for the user; OSError where the disk is at fault
    Differs  PyTorch scales in training, the recipes paper and code-2012 at test: a module with
             their weights has to multiply the outputs of relu6 and relu7 by 0.5
    """
    ending = require_name(path)
    if pretrained.table is None:
        raise WeightsError(f"{pretrained.origin}: its layers are its own, not those of a recipe of "
                           "tinynet, and cannot be written")
    net, names = pretrained.net, tensor_names(pretrained.table)
    description = {**pretrained.table, "class_names": pretrained.class_names,
                   "image_size": net.in_shape[-1],
                   "preprocessing": pretrained.preprocessing.to_json()}
    metadata = {"tinynet": json.dumps(description)}
    arrays = {f"{names[layer.name]}.{word}": backend.to_numpy(layer.params[key])
              for layer in net.layers for key, word in (("w", "weight"), ("b", "bias"))
              if key in layer.params}
    if ending == ".onnx":
        content = to_onnx(net, names, metadata)
    with atomic_write(path) as file:
        if ending == ".onnx":
            file.write(content)
        else:
            writer = {".safetensors": safetensors_file, ".pth": torch_file}[ending]
            writer.write(file, arrays, metadata)
