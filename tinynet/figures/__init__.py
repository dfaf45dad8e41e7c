"""Pictures, of runs and in lessons. The only room that imports matplotlib, and it needs no screen.

Each takes a path to be saved at, or None, and returns a Drawing, which a notebook shows.
"""

from tinynet.figures.canvas import Drawing
from tinynet.figures.charts import draw_bars, draw_dots, draw_lines, draw_rows, draw_streams, draw_table
from tinynet.figures.data import draw_contact_sheet, draw_ten_crops
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

__all__ = ["ACTIVATIONS", "PHOTO", "WEIGHTS", "Drawing", "draw_bars", "draw_contact_sheet", "draw_curves", "draw_dots",
           "draw_explanation", "draw_guesses", "draw_kernels", "draw_lines", "draw_maps", "draw_numbers",
           "draw_pictures", "draw_rows", "draw_streams", "draw_table", "draw_ten_crops"]
