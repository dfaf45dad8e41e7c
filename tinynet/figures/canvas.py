"""What all pictures share."""

import io
import warnings

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tinynet.checkpoint import atomic_write

warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a class name in a script that no font here has
WINDOW, PADDING, INK = "#00a651", "#d9d9d9", "#333333"
LOSS, TRAIN, TEST, DROP = "#7f7f7f", "#1f77b4", "#d62728", "#bbbbbb"


class Drawing(Figure):
    """A figure that a notebook shows as it is, without pyplot."""

    def _repr_png_(self):
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=100, metadata={"Software": None})
        return file.getvalue()


def bare(axes):
    """No ticks: what is in the frame says it all."""
    axes.set(xticks=[], yticks=[])


def done(figure, path):
    """The figure; and as a PNG file, whole or not at all, unless path is None."""
    if path is not None:
        with atomic_write(path) as file:
            figure.savefig(file, format="png", dpi=120)
    return figure


def outline(axes, top, left, height, width):
    """A frame around pixels of a picture."""
    axes.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=WINDOW, linewidth=2.2,
                             clip_on=False))


def tile(pictures, columns, gap=1):
    """(M, H, W, 3) in [0, 1] -> one picture with rows of `columns`, white between them."""
    M, H, W, _ = pictures.shape
    rows = -(-M // columns)
    sheet = np.ones((rows * (H + gap) - gap, columns * (W + gap) - gap, 3))
    for i, picture in enumerate(pictures):
        top, left = i // columns * (H + gap), i % columns * (W + gap)
        sheet[top:top + H, left:left + W] = picture
    return sheet
