"""What all pictures share."""

import warnings

from tinynet.checkpoint import atomic_write

warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a class name in a script that no font here has


def bare(axes):
    """No ticks: what is in the frame says it all."""
    axes.set(xticks=[], yticks=[])


def save(figure, path):
    """As a PNG file, whole or not at all."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)
