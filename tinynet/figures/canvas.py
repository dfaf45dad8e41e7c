"""What all figures share: colours, saving, a frame around pixels, tiles."""

import io
import warnings

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.patches import Rectangle

from tinynet.checkpoint import atomic_write
from tinynet.figures.words import translate_words, words_of
from tinynet.shapes import ceil_div

WINDOW, PADDING, INK = "#00a651", "#d9d9d9", "#333333"
LOSS, TRAIN, TEST, DROP = "#7f7f7f", "#1f77b4", "#d62728", "#bbbbbb"


class Drawing(Figure):
    """A matplotlib figure that a notebook shows as it is, without pyplot."""

    def _repr_png_(self):
        """Return the figure as a PNG file, in which its words also stand as text."""
        translate_words(self)
        canvas = FigureCanvasAgg(self)
        canvas.draw()  # savefig() would draw once more, for the layout
        file = io.BytesIO()
        imsave(file, canvas.buffer_rgba(), format="png", dpi=self.dpi,
               metadata={"Software": None, "Description": " | ".join(words_of(self))})
        return file.getvalue()


def bare(axes):
    """Remove the ticks of axes that show a picture or a map."""
    axes.set(xticks=[], yticks=[])


def done(figure, path):
    """Return the figure, and save it as a PNG file unless path is None.

    The file is written whole or not at all.
    """
    if path is not None:
        translate_words(figure)
        with atomic_write(path) as file, warnings.catch_warnings():
            # class names may be in a script that no font has
            warnings.filterwarnings("ignore", "Glyph .* missing from")
            figure.savefig(file, format="png", dpi=120)
    return figure


def outline(axes, top, left, height, width):
    """Draw a green frame around pixels of a picture."""
    axes.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False,
                             edgecolor=WINDOW, linewidth=2.2, clip_on=False))


def tile(pictures, columns, gap=1):
    """Put M pictures into rows of `columns` pictures, with white gaps, and return one picture.

    Args     pictures (M, H, W, 3), from 0 to 1; gap: in pixels
    """
    M, H, W, _ = pictures.shape
    rows = ceil_div(M, columns)
    sheet = np.ones((rows * (H + gap) - gap, columns * (W + gap) - gap, 3))
    for i, picture in enumerate(pictures):
        top, left = i // columns * (H + gap), i % columns * (W + gap)
        sheet[top:top + H, left:left + W] = picture
    return sheet
