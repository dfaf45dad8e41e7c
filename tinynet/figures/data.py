"""Figures of data: the pictures of each class, and the ten views of a picture."""

import textwrap

import numpy as np

from tinynet.figures.canvas import Drawing, bare, done, outline, tile


def draw_contact_sheet(path, classes):
    """Draw a few pictures of each class, one row for each class.

    Args     classes: {name: pictures uint8 (M, 3, S, S)}; M may differ between classes, and be 0
    """
    columns = max(1, *(len(pictures) for pictures in classes.values()))
    S = max(pictures.shape[-1] for pictures in classes.values())
    rows = np.ones((len(classes), columns, S, S, 3))
    for row, pictures in zip(rows, classes.values()):
        row[:len(pictures)] = pictures.transpose(0, 2, 3, 1) / 255
    gap = max(1, S // 32)
    figure = Drawing(figsize=(0.9 * columns + 1.6, 0.9 * len(classes) + 0.2),
                     layout="constrained")
    axes = figure.subplots()
    axes.imshow(tile(rows.reshape(-1, S, S, 3), columns, gap), interpolation="antialiased")
    names = [textwrap.fill(textwrap.shorten(name, 60, placeholder=" ..."), 22)
             for name in classes]
    axes.set_yticks(S / 2 + (S + gap) * np.arange(len(classes)), names, fontsize=9)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return done(figure, path)


# in the order of data.ten_crops
CROPS = ("top left", "top right", "middle", "bottom left", "bottom right")


def draw_ten_crops(path, picture, crops):
    """Draw a picture and the ten views of it whose predictions are averaged, with their names.

    Args     picture uint8 (3, S, S); crops uint8 (10, 3, s, s), from data.ten_crops
    """
    figure = Drawing(figsize=(13, 4.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 2.2))
    axes = left.subplots()
    axes.imshow(picture.transpose(1, 2, 0))
    far, s = picture.shape[-1] - crops.shape[-1], crops.shape[-1]
    for top, start in ((0, 0), (0, far), (far // 2, far // 2), (far, 0), (far, far)):
        outline(axes, top, start, s, s)
    axes.set_title(f"{picture.shape[-1]} pixels, and five squares of {s}", fontsize=10)
    bare(axes)
    for i, (axes, crop) in enumerate(zip(right.subplots(2, 5).flat, crops)):
        axes.imshow(crop.transpose(1, 2, 0))
        axes.set_title(f"{CROPS[i % 5]}{', mirrored' if i >= 5 else ''}", fontsize=9)
        bare(axes)
    return done(figure, path)
