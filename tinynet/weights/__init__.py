"""Other people's AlexNets in, ours out.

    net = weights.load("alexnet-owt-7be5be79.pth")       # what it is shows in what it holds
    net.probabilities(np.stack([net.load_picture("cat.jpg")]))

Nobody sets a flag: what belongs to the weights, from the order of the colours to the rounding of
sizes, comes from the file or from the preset of its source (presets.py).
"""

import dataclasses
import os

import numpy as np

from tinynet import backend, data, runs
from tinynet.network import Sequential
from tinynet.weights import formats, network, presets
from tinynet.weights.preprocessing import Preprocessing
from tinynet.weights.tensors import Contents, WeightsError

__all__ = ["Pretrained", "Preprocessing", "WeightsError", "load"]


@dataclasses.dataclass
class Pretrained:
    """A network with weights, and all that belongs to them.

    class_names    a list; output 3 is class_names[3]
    preprocessing  from a picture to what the network takes
    origin         where the weights are from, for people to read
    notes          [text]: what was converted or assumed, and what else the weights could be
    published      presets.Published, the accuracy that someone has measured with them, or None
    table          {"network": "AlexNet", "recipe": "owt"}, the table of ours that the layers come
                   from; None where they are no table's
    """

    net: Sequential
    class_names: list
    preprocessing: Preprocessing
    origin: str
    notes: list
    published: presets.Published | None = None
    table: dict | None = None

    def load_picture(self, file):
        """Read a picture of any format as uint8 (3, S, S), as the network's makers did."""
        return self.preprocessing.load_picture(file)

    def probabilities(self, pictures, ten_views=False):
        """Return (N, classes) for uint8 (N, 3, S, S): of the middle, or of the ten views of 4.1."""
        return self.predict(self.preprocessing.prepare(pictures, ten_views))

    def predict(self, x):
        """Return (N, classes) for x (N, 3, s, s), or (N, V, 3, s, s): the average over V views."""
        N, views = len(x), x.shape[1] if x.ndim == 5 else 1
        x = backend.to_device(x.reshape(-1, *self.net.in_shape), self.net.device)  # (N*V, C, H, W)
        probs = backend.to_numpy(self.net.predict(x))                     # (N*V, classes)
        return probs.reshape(N, views, -1).mean(axis=1)                    # (N, classes)


def load(path):
    """Read an AlexNet from safetensors, PyTorch, ONNX, Caffe, or Guerzhoy's bvlc_alexnet.npy.

    Nothing in the file is executed, and shapes are checked before memory is taken.

    Args     path: of a file; or the folder of a run, whose network it then is
    Raises   WeightsError, RunError or CheckpointError, one line for the user
    Memory   up to three times the size of the file
    """
    if os.path.isdir(path):
        return of_run(path)
    try:
        return of_contents(formats.read(path), path)
    except WeightsError as error:
        raise WeightsError(str(error) if str(error).startswith(f"{path}: ") else f"{path}: {error}"
                           ) from None
    except (MemoryError, RecursionError) as error:
        raise WeightsError(f"{path}: cannot be read ({type(error).__name__})") from None


def of_run(folder):
    """Load the network of a run, with its mean image. Raises RunError or CheckpointError."""
    trained, config = runs.load(folder), runs.read_config(folder)
    size, mean = trained.net.in_shape[-1], trained.mean
    preprocessing = Preprocessing("paper", mean.shape[-1], size, "RGB",
                                  data.center_crop(mean, size), np.ones(3, np.float32))
    table = {key: config[key] for key in ("network", "recipe") if key in config}
    trained.net.eval()
    return Pretrained(trained.net, trained.class_names, preprocessing, trained.origin, [],
                      table=table)


def of_contents(contents, path):
    """Build what Contents of a file describe. Raises WeightsError."""
    origin, notes = f"{path}: {contents.format}", _conversions(contents)
    if "tinynet" in contents.metadata:
        net, entry = network.of_description(contents.metadata["tinynet"], contents.tensors)
        preprocessing = Preprocessing.from_json(entry["preprocessing"])
        if preprocessing.crop != net.in_shape[-1]:
            raise WeightsError("is damaged: its pictures do not have the size of its network")
        named = ", recipe ".join(entry[key] for key in ("network", "recipe") if key in entry)
        table = {key: entry[key] for key in ("network", "recipe") if key in entry}
        return Pretrained(net, entry["class_names"], preprocessing, f"{origin}, {named} by tinynet",
                          notes, table=table)
    if contents.rows:
        return _described(contents, origin, notes)
    if not contents.tensors:
        raise WeightsError("holds no weights")
    net, recipe = network.of_tensors(contents.tensors)
    classes = presets.class_names(network.count_classes(net))
    table = {"network": "AlexNet", "recipe": recipe}
    if recipe == "owt":
        return Pretrained(net, classes, presets.torchvision(), f"{origin}, torchvision's alexnet",
                          [*notes, "its shapes are those of torchvision's alexnet alone"],
                          presets.PUBLISHED["torchvision"], table)
    if "npy" not in contents.format:
        notes.append("its shapes are those of the recipes caffe, paper and code-2012 alike, and it "
                     "does not say which: taken as Caffe's bvlc_alexnet")
    return Pretrained(net, classes, presets.caffe(), f"{origin}, Caffe's bvlc_alexnet",
                      notes + [SAME_WEIGHTS], presets.PUBLISHED["bvlc_alexnet"], table)


SAME_WEIGHTS = ("fc6 takes 9,216 numbers, and maps of 6 x 6 come out of more than one geometry: "
                "with the same weights, sides after conv1, pool1, pool2 and pool5 are 55-27-13-6 "
                "in Caffe at 227 pixels, 54-26-12-6 in the ONNX model zoo at 224, 57-28-13-6 in "
                "Guerzhoy's script")


def _described(contents, origin, notes):
    """Build the network of a file that describes its layers."""
    size = contents.image_size or 227
    if contents.image_size is None:
        notes.append("it does not say how large its pictures are: taken as 227 pixels")
    net, recipe = network.of_rows(contents.rows, size)
    table = {"network": "AlexNet", "recipe": recipe} if recipe else None
    classes = presets.class_names(network.count_classes(net))
    if net["conv1"].params["w"].shape[0] == 64:
        return Pretrained(net, classes, dataclasses.replace(presets.torchvision(), crop=size),
                          f"{origin}, after torchvision's alexnet", notes,
                          presets.PUBLISHED["torchvision"] if size == 224 else None, table)
    names = [layer.name for layer in net.layers]
    pools_first = "lrn1" in names and names.index("pool1") < names.index("lrn1")
    what = "CaffeNet, which pools before it normalises" if pools_first else (
        "bvlc_alexnet, which normalises before it pools")
    preprocessing, published = presets.caffe(size), None
    if size == 227:
        published = presets.PUBLISHED["caffenet" if pools_first else "bvlc_alexnet"]
    else:
        notes.append(f"runs at {size} pixels, as its file says; Caffe trained these weights at 227")
    if size == 224 and not pools_first:
        preprocessing, published = presets.onnx_zoo(), presets.PUBLISHED["onnx zoo"]
        notes.append("pictures are prepared as for the accuracy on the ONNX model zoo's page; "
                     "Caffe crops 227 pixels from 256, and does not smooth before it scales")
    return Pretrained(net, classes, preprocessing, f"{origin}, after Caffe's {what}",
                      [*notes, SAME_WEIGHTS], published, table)


def _conversions(contents: Contents):
    """Say which numbers are converted to float32."""
    tensors = [*contents.tensors.values(), *(tensor for row in contents.rows
                                             for tensor in (row.w, row.b) if tensor)]
    others = sorted({tensor.dtype for tensor in tensors} - {"float32"})
    return [f"its numbers are {', '.join(others)}, converted to float32"] if others else []
