"""AlexNet: four recipes, each a table with one row for each layer.

The tables are made to be read beside the paper, and beside each other. `paper` is the text of
Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks"
(2012). The others differ from it: the comment behind a row says in what. Sizes are in pixels.
"""

import dataclasses
from collections.abc import Callable

from tinynet.layers import LRN, Conv2d, Dropout, Flatten, Linear, LRNWithin, MaxPool, ReLU
from tinynet.network import Sequential
from tinynet.shapes import ShapeError, require_whole


def paper(classes):
    """Return the layers of the text: sections 3.1 to 3.5; 4.2 for dropout, 5 for std and bias."""
    return [
        Conv2d("conv1", 96, 11, stride=4, std=0.01, bias=0, need_dx=False),
        ReLU("relu1"),
        LRN("lrn1", n=5, k=2, alpha=1e-4, beta=0.75),
        MaxPool("pool1", 3, stride=2),
        Conv2d("conv2", 256, 5, pad=2, groups=2, std=0.01, bias=1),
        ReLU("relu2"),
        LRN("lrn2", n=5, k=2, alpha=1e-4, beta=0.75),
        MaxPool("pool2", 3, stride=2),
        Conv2d("conv3", 384, 3, pad=1, std=0.01, bias=0),
        ReLU("relu3"),
        Conv2d("conv4", 384, 3, pad=1, groups=2, std=0.01, bias=1),
        ReLU("relu4"),
        Conv2d("conv5", 256, 3, pad=1, groups=2, std=0.01, bias=1),
        ReLU("relu5"),
        MaxPool("pool5", 3, stride=2),
        Flatten("flatten"),
        Linear("fc6", 4096, std=0.01, bias=1),
        ReLU("relu6"),
        Dropout("drop6", keep=0.5),
        Linear("fc7", 4096, std=0.01, bias=1),
        ReLU("relu7"),
        Dropout("drop7", keep=0.5),
        Linear("fc8", classes, std=0.01, bias=0),
    ]


def code_2012(classes):
    """Return the layers of the authors' program, layers-145.cfg.

    In every conv and fc row, biases learn twice as fast and do not decay.
    """
    twice = {"bias_lr": 2, "bias_decay": 0}
    return [
        Conv2d("conv1", 96, 11, stride=4, ceil=True, std=0.01, bias=0, **twice,   # ceil: 224 -> 55
               need_dx=False),
        LRN("lrn1", n=5, k=2, alpha=1e-4 / 5, beta=0.75, groups=2),  # before ReLU; alpha/n; per GPU
        MaxPool("pool1", 3, stride=2, ceil=True),                    # ceil
        ReLU("relu1"),                                               # after pooling: equal, cheaper
        Conv2d("conv2", 256, 5, pad=2, groups=2, ceil=True, std=0.01, bias=1, **twice),
        ReLU("relu2"),
        LRN("lrn2", n=5, k=2, alpha=1e-4 / 5, beta=0.75, groups=2),  # alpha/n; per GPU
        LRNWithin("within2", n=5, k=1, alpha=0.001 / 25, beta=0.75),  # not in the paper at all
        MaxPool("pool2", 3, stride=2, ceil=True),                    # ceil
        Conv2d("conv3", 384, 3, pad=1, ceil=True, std=0.03, bias=0, **twice),            # std 0.03
        ReLU("relu3"),
        Conv2d("conv4", 384, 3, pad=1, groups=2, ceil=True, std=0.03, bias=1, **twice),  # std 0.03
        ReLU("relu4"),
        Conv2d("conv5", 256, 3, pad=1, groups=2, ceil=True, std=0.03, bias=1, **twice),  # std 0.03
        MaxPool("pool5", 3, stride=2, ceil=True),                    # ceil
        ReLU("relu5"),                                               # after pooling: equal, cheaper
        Flatten("flatten"),
        Linear("fc6", 4096, std=0.01, bias=1, **twice),
        ReLU("relu6"),
        Dropout("drop6", keep=0.5),
        Linear("fc7", 4096, std=0.01, bias=1, **twice),
        ReLU("relu7"),
        Dropout("drop7", keep=0.5),
        Linear("fc8", classes, std=0.01, bias=0, **twice),
    ]


def caffe(classes):
    """Return the layers of Caffe's models/bvlc_alexnet.

    In every conv and fc row, biases learn twice as fast and do not decay.
    """
    twice = {"bias_lr": 2, "bias_decay": 0}
    return [
        Conv2d("conv1", 96, 11, stride=4, std=0.01, bias=0, **twice, need_dx=False),
        ReLU("relu1"),
        LRN("lrn1", n=5, k=1, alpha=1e-4 / 5, beta=0.75),                  # k 1; alpha/n
        MaxPool("pool1", 3, stride=2, ceil=True),                          # ceil
        Conv2d("conv2", 256, 5, pad=2, groups=2, std=0.01, bias=0.1, **twice),  # bias 0.1
        ReLU("relu2"),
        LRN("lrn2", n=5, k=1, alpha=1e-4 / 5, beta=0.75),                  # k 1; alpha/n
        MaxPool("pool2", 3, stride=2, ceil=True),                          # ceil
        Conv2d("conv3", 384, 3, pad=1, std=0.01, bias=0, **twice),
        ReLU("relu3"),
        Conv2d("conv4", 384, 3, pad=1, groups=2, std=0.01, bias=0.1, **twice),  # bias 0.1
        ReLU("relu4"),
        Conv2d("conv5", 256, 3, pad=1, groups=2, std=0.01, bias=0.1, **twice),  # bias 0.1
        ReLU("relu5"),
        MaxPool("pool5", 3, stride=2, ceil=True),                          # ceil
        Flatten("flatten"),
        Linear("fc6", 4096, std=0.005, bias=0.1, **twice),                 # std 0.005; bias 0.1
        ReLU("relu6"),
        Dropout("drop6", keep=0.5, inverted=True),                         # inverted
        Linear("fc7", 4096, std=0.005, bias=0.1, **twice),                 # std 0.005; bias 0.1
        ReLU("relu7"),
        Dropout("drop7", keep=0.5, inverted=True),                         # inverted
        Linear("fc8", classes, std=0.01, bias=0, **twice),
    ]


def owt(classes):
    """Return the layers of torchvision's alexnet: one column of other widths, no groups, no LRN.

    It follows Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014).
    Every std is 1 / sqrt(3 * fan-in), that of PyTorch's default; here the weights are Gaussian and
    the biases 0.
    """
    return [
        Conv2d("conv1", 64, 11, stride=4, pad=2, std=0.0303, bias=0,  # 64 kernels; pad 2
               need_dx=False),
        ReLU("relu1"),
        MaxPool("pool1", 3, stride=2),                       # no LRN before it
        Conv2d("conv2", 192, 5, pad=2, std=0.0144, bias=0),  # 192 kernels; no groups; bias 0
        ReLU("relu2"),
        MaxPool("pool2", 3, stride=2),                       # no LRN before it
        Conv2d("conv3", 384, 3, pad=1, std=0.0139, bias=0),
        ReLU("relu3"),
        Conv2d("conv4", 256, 3, pad=1, std=0.0098, bias=0),  # 256 kernels; no groups; bias 0
        ReLU("relu4"),
        Conv2d("conv5", 256, 3, pad=1, std=0.0120, bias=0),  # no groups; bias 0
        ReLU("relu5"),
        MaxPool("pool5", 3, stride=2),
        Flatten("flatten"),
        Dropout("drop5", keep=0.5, inverted=True),           # before fc6, fc7, not after; inverted
        Linear("fc6", 4096, std=0.0060, bias=0),             # bias 0
        ReLU("relu6"),
        Dropout("drop6", keep=0.5, inverted=True),           # inverted
        Linear("fc7", 4096, std=0.0090, bias=0),             # bias 0
        ReLU("relu7"),
        Linear("fc8", classes, std=0.0090, bias=0),
    ]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A table of layers, and the side of the square pictures that it was made for."""

    layers: Callable
    image_size: int

    def stored_size(self, crop):
        """Return the side of the stored pictures from which crops of `crop` pixels are cut.

        Paper    4.1: 256 for crops of the recipe's own size; in proportion for others
        """
        return round(crop * 256 / self.image_size)


RECIPES = {
    "paper": Recipe(paper, 227),          # the text says 224, but (224 - 11) / 4 is no integer
    "code-2012": Recipe(code_2012, 224),
    "caffe": Recipe(caffe, 227),
    "owt": Recipe(owt, 224),
}


def AlexNet(recipe="code-2012", num_classes=1000, image_size=None, *, rng, dtype="float32"):
    """Build the network of a recipe, with fresh weights, as a Sequential.

    Args     recipe: "code-2012", the authors' program, is the default because it trains best;
             "paper" is the text of the paper; others are "caffe" and "owt";
             image_size: the side of a picture in pixels, None for the recipe's own;
             rng: numpy.random.Generator, for weights and dropout; dtype: "float32" or "float64"
    Raises   ValueError for an unknown recipe; ShapeError for a picture that is too small, with the
             name of the layer and the smallest size that fits
    """
    if recipe not in list(RECIPES):
        raise ValueError(f"no recipe {recipe!r}; there are {', '.join(RECIPES)}")
    chosen = RECIPES[recipe]
    size = chosen.image_size if image_size is None else image_size
    require_whole("AlexNet", num_classes=num_classes, image_size=size)
    require_fitting(recipe, size)
    return Sequential(chosen.layers(num_classes), (3, size, size), rng, dtype)


def require_fitting(recipe, size):
    """Refuse pictures of `size` pixels if they are too small for a recipe.

    Raises   ShapeError with the name of the layer and the smallest size that fits
    """
    layers = RECIPES[recipe].layers(1)  # for any number of classes
    try:
        _walk(layers, size)
    except ShapeError as error:
        fitting = size + 1
        while not _fits(layers, fitting):
            fitting += 1
        raise ShapeError(f"{error}: pictures of {size} pixels are too small for {recipe}, the "
                         f"smallest that fit are {fitting}") from None


def _walk(layers, size):
    shape = (1, 3, size, size)
    for layer in layers:
        shape = layer.output_shape(shape)


def _fits(layers, size):
    try:
        _walk(layers, size)
    except ShapeError:
        return False
    return True
