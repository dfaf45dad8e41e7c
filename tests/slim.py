"""Run a program with slim AlexNets: python tests/slim.py PROGRAM ARGUMENTS.

Their fully connected layers have 128 units in place of 4096. All else is as it was, but a step, a checkpoint and a
start take a tenth of the time: tests that stop and continue runs use them.
"""

import dataclasses
import runpy
import sys

from tinynet import alexnet
from tinynet.layers import Conv2d, Linear


def slim(layers, units=128, share=1):
    """Return the layers of a network, the fully connected ones with at most so many units, and of the kernels of the
    convolutions one in `share`.
    """
    for layer in layers:
        if isinstance(layer, Linear):
            layer.OUT = min(layer.OUT, units)
        elif isinstance(layer, Conv2d):
            layer.K //= share
    return layers


def slim_recipes():
    """Return alexnet.RECIPES with slim networks."""
    return {name: dataclasses.replace(recipe, layers=lambda classes, full=recipe.layers: slim(full(classes)))
            for name, recipe in alexnet.RECIPES.items()}


if __name__ == "__main__":
    alexnet.RECIPES.update(slim_recipes())
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
