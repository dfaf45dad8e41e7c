"""Figures of runs, of data and in lessons. Only this room imports matplotlib. It needs no screen.

Each function takes a path to save at, or None, and returns a Drawing, which a notebook shows.
"""

from tinynet.figures.canvas import Drawing
from tinynet.figures.charts import (
    draw_bars,
    draw_dots,
    draw_lines,
    draw_rows,
    draw_table,
)
from tinynet.figures.data import draw_contact_sheet, draw_ten_crops
from tinynet.figures.drawings import (
    draw_crops,
    draw_graph,
    draw_kernel,
    draw_network,
    draw_neuron,
    draw_stack,
    draw_thinned,
    draw_windows,
)
from tinynet.figures.lessons import (
    ACTIVATIONS,
    PHOTO,
    WEIGHTS,
    draw_explanation,
    draw_maps,
    draw_numbers,
    draw_pictures,
)
from tinynet.figures.runs import draw_curves, draw_guesses, draw_kernels
from tinynet.figures.threads import draw_access, draw_reduction, draw_threads

__all__ = ["ACTIVATIONS", "PHOTO", "WEIGHTS", "Drawing", "draw_access", "draw_bars",
           "draw_contact_sheet", "draw_crops", "draw_curves", "draw_dots", "draw_explanation",
           "draw_graph", "draw_guesses", "draw_kernel", "draw_kernels", "draw_lines", "draw_maps",
           "draw_network", "draw_neuron", "draw_numbers", "draw_pictures", "draw_reduction",
           "draw_rows", "draw_stack", "draw_table", "draw_ten_crops",
           "draw_thinned", "draw_threads", "draw_windows"]
