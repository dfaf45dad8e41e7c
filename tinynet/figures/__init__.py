"""Pictures, of runs and in lessons. The only room that imports matplotlib, and it needs no screen."""

from tinynet.figures.data import draw_contact_sheet, draw_ten_crops
from tinynet.figures.lessons import (
    ACTIVATIONS,
    PHOTO,
    WEIGHTS,
    Drawing,
    draw_explanation,
    draw_maps,
    draw_numbers,
    draw_pictures,
)
from tinynet.figures.runs import draw_curves, draw_guesses, draw_kernels

__all__ = ["ACTIVATIONS", "PHOTO", "WEIGHTS", "Drawing", "draw_contact_sheet", "draw_curves", "draw_explanation",
           "draw_guesses", "draw_kernels", "draw_maps", "draw_numbers", "draw_pictures", "draw_ten_crops"]
