"""Figures of arrays: pictures, maps, numbers in cells, and the terms of an explanation.

Each function takes a path to save at, or None, and returns a Drawing, which a notebook shows.
"""

import math
import pathlib

import matplotlib
import numpy as np

from tinynet.figures.canvas import INK, PADDING, WINDOW, Drawing, bare, done, outline
from tinynet.figures.words import wrapped
from tinynet.language import translate
from tinynet.shapes import ceil_div

ACTIVATIONS, WEIGHTS = "RdBu_r", "PuOr_r"  # both white at 0
WIDEST = 11  # inches; a page shows a wider figure smaller, with its letters
PHOTO = pathlib.Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg"


def draw_pictures(pictures, titles=None, windows=(), path=None):
    """Draw pictures side by side, with windows outlined in the first.

    Args     pictures: a list of (3, H, W) uint8, or (H, W) in grey;
             windows: (top, left, height, width), in pixels
    """
    side = min(2.7, WIDEST / len(pictures))
    figure = Drawing(figsize=(side * len(pictures), side + 0.2), layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0, 1, 0.98))  # or titles lose their upper edge
    all_axes = figure.subplots(1, len(pictures), squeeze=False)[0]
    for axes, picture, title in zip(all_axes, pictures, titles or [None] * len(pictures)):
        picture = np.asarray(picture)
        axes.imshow(picture.transpose(1, 2, 0) if picture.ndim == 3 else picture, cmap="gray",
                    interpolation="nearest")
        axes.set_title(title, fontsize=10)
        bare(axes)
    for window in windows:
        outline(all_axes[0], *window)
    return done(figure, path)


def draw_maps(maps, titles=None, columns=4, weights=False, share=True, path=None):
    """Draw maps as colours: red above 0, blue below it; for weights orange above, purple below.

    In large maps a few numbers would make the rest pale, so the scale leaves out the largest 1 %.
    Its ends are then pointed.

    Args     maps (M, H, W); weights: use the colours of weights; share: use one scale for all
             maps, so that they can be compared
    """
    maps = np.asarray(maps, np.float64)
    columns = min(columns, len(maps))
    rows = ceil_div(len(maps), columns)
    width = min(2.4, WIDEST / columns) if columns > 1 else 5
    height = width * rows * maps.shape[1] / maps.shape[2] + 0.5
    figure = Drawing(figsize=(width * columns, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(maps):]:
        axes.set_axis_off()
    for number, (axes, a) in enumerate(zip(grid.flat, maps)):
        scaled = abs(maps if share else a)
        top = np.quantile(scaled, 0.99) if maps[0].size > 400 else scaled.max()
        extend = "both" if scaled.max() > top else "neither"
        shown = _show(axes, a, WEIGHTS if weights else ACTIVATIONS, top)
        axes.set_title(titles[number] if titles else None, fontsize=10)
        bare(axes)
        if not share:
            figure.colorbar(shown, ax=axes, shrink=0.8, extend=extend)
    if share:
        figure.colorbar(shown, ax=grid, shrink=0.8, aspect=30, extend=extend)
    return done(figure, path)


def draw_numbers(arrays, windows=None, signs=None, path=None):
    """Draw small arrays with their numbers in the cells.

    Args     arrays: {title: (H, W)}; weights have a title that begins with w or dw;
             windows: {title: (top, left, height, width)}, outlined;
             signs: what is written before the second array, the third ...: ["*", "="]
    """
    arrays = {title: np.atleast_2d(a) for title, a in arrays.items()}
    widths = [a.shape[1] for a in arrays.values()]
    tallest = max(a.shape[0] for a in arrays.values())
    cell = min(0.62, (WIDEST - 0.8 * len(widths)) / sum(widths))
    figure = Drawing(figsize=(cell * sum(widths) + 0.8 * len(widths), cell * tallest + 0.6),
                     layout="constrained")
    room = min(0.75 * figure.get_figwidth() / sum(widths),
               (figure.get_figheight() - 0.3) / tallest)  # of a cell; less where titles need it
    all_axes = figure.subplots(1, len(arrays), squeeze=False, width_ratios=widths)[0]
    for number, (axes, (title, a)) in enumerate(zip(all_axes, arrays.items())):
        _show(axes, a, _colours(title), abs(a).max(), room)
        axes.set_title(title, fontsize=10)
        bare(axes)
        if signs and number:
            axes.set_ylabel(signs[number - 1], rotation=0, fontsize=16, labelpad=14,
                            va="center")
        if windows and title in windows:
            outline(axes, *windows[title])
    return done(figure, path)


def draw_explanation(explanation, path=None):
    """Draw an Explanation of tinynet.trace: its terms side by side, and the arithmetic below them.

    Terms with rows and columns are drawn as maps, terms with one axis as bars, an activation
    function as a curve. Padding is grey. What was picked, such as a maximum, is outlined.
    """
    if not explanation.last.size:  # a pixel that no window saw
        figure = Drawing(figsize=(6.5, 1.2), layout="constrained")
    elif len(explanation.axes) > 1:
        figure = _draw_terms_as_maps(explanation)
    elif explanation.axes:
        figure = _draw_terms_as_bars(explanation)
    else:
        figure = _draw_one_term(explanation)
    characters = int(12 * figure.get_figwidth())
    where = f"{explanation.name}: {translate(explanation.where)}"
    figure.suptitle(wrapped(where, characters), fontsize=11)
    steps = [f"{translate(text)}: {number + 0.0:.5g}" for text, number in explanation.lines]
    figure.supxlabel(wrapped(",   ".join(steps), characters), fontsize=10)
    return done(figure, path)


def _draw_terms_as_maps(explanation):
    """Draw a column of maps for each array of terms, or one sheet where there are many maps."""
    shape = explanation.last.shape
    count, (H, W) = int(np.prod(shape[:-2])), shape[-2:]
    few = count <= 4
    columns = len(explanation.terms)
    width = min(3.1, WIDEST / columns)
    figure = Drawing(figsize=(width * max(2, columns), (2.3 * count if few else 3.1) + 1.3),
                     layout="constrained")
    grid = figure.subplots(count if few else 1, columns, squeeze=False)
    for column, (name, array) in zip(grid.T, explanation.terms.items()):
        if explanation.inside is not None and name in ("x", "product"):  # weights have no padding
            array = np.where(explanation.inside, array, np.nan)
        maps = array.reshape(count, H, W)
        top = abs(np.nan_to_num(maps)).max() or 1.0
        for number, axes in enumerate(column):
            tile = maps[number] if few else _sheet(maps)
            shown = _show(axes, tile, _colours(name), top, 1.6 / W if few and H * W <= 25 else None)
            bare(axes)
            if few:
                _number(axes, explanation, H, W)
                if len(shape) > 2:
                    axes.set_ylabel(f"{explanation.axes[0]} {explanation.start[0] + number}")
        column[0].set_title(name if few else f"{name}, {count} {explanation.axes[0]}s",
                            fontsize=10)
        figure.colorbar(shown, ax=column, orientation="horizontal", shrink=0.8, aspect=30,
                        ticks=[-top, 0, top], format=lambda value, _: f"{value:.3g}")
        if explanation.picked is not None and few:
            for place in np.argwhere(explanation.picked):
                outline(column[0], *place, 1, 1)
    return figure


def _draw_terms_as_bars(explanation):
    width = min(3.4, WIDEST / len(explanation.terms))
    figure = Drawing(figsize=(width * len(explanation.terms), 3.4), layout="constrained")
    all_axes = figure.subplots(1, len(explanation.terms), squeeze=False)[0]
    for axes, (name, array) in zip(all_axes, explanation.terms.items()):
        at = np.arange(array.size) + explanation.start[0]
        colours = matplotlib.colormaps[_colours(name)](np.where(array < 0, 0.15, 0.85))
        if array.size <= 40:
            picked = explanation.picked
            picked = np.zeros(array.size, bool) if picked is None else picked
            axes.bar(at, array, color=colours, edgecolor=np.where(picked, WINDOW, "none"),
                     linewidth=2)
        else:
            axes.vlines(at, 0, array, color=colours, linewidth=0.7)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set(title=name, xlabel=explanation.axes[0])
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_one_term(explanation):
    """Draw the numbers of one unit in a row, and above them the curve of its function, if any."""
    curve = explanation.curve
    figure = Drawing(figsize=(6.5, 4.2 if curve else 2.2), layout="constrained")
    ratios = [3, 1] if curve else [1]
    rows = figure.subplots(len(ratios), 1, squeeze=False, height_ratios=ratios)[:, 0]
    if curve:
        xs, ys = curve
        x = float(explanation.terms["x"])
        rows[0].plot(xs, ys, color=INK, linewidth=1.6)
        rows[0].plot([x], [np.interp(x, xs, ys)], marker="o", markersize=9, color=WINDOW)
        rows[0].set(xlabel="x", ylabel="y" if "y" in explanation.terms else "slope")
        rows[0].grid(color="#eeeeee")
        rows[0].spines[["top", "right"]].set_visible(False)
    numbers = np.array(list(explanation.terms.values())).reshape(1, -1)
    _show(rows[-1], numbers, ACTIVATIONS, abs(numbers).max(initial=1e-9), cell=0.7)
    rows[-1].set_xticks(range(numbers.size), explanation.terms)
    rows[-1].set_yticks([])
    rows[-1].tick_params(length=0)
    return figure


def _show(axes, a, colours, top, cell=None):
    """Show an array as colours from -top to top, and in grey where it is not a number.

    Args     cell: the width of a cell in inches, where numbers are to be written into the cells;
             nothing is written where it would have to be too small
    """
    top = top or 1.0
    colours = matplotlib.colormaps[colours].with_extremes(bad=PADDING)
    shown = axes.imshow(a, cmap=colours, vmin=-top, vmax=top, interpolation="nearest")
    if cell is not None:
        texts = {}
        for place in map(tuple, np.argwhere(~np.isnan(a))):
            texts[place] = f"{a[place] + 0.0:{'.0f' if abs(a[place]) >= 999.5 else '.3g'}}"
        longest = max(map(len, texts.values()), default=1)
        size = min(9, 0.95 * 72 * cell / (0.6 * longest))  # points; a digit is 0.6 wide
        for place, text in texts.items() if size >= 6 else ():
            axes.text(*place[::-1], text, ha="center", va="center", fontsize=size,
                      color="white" if abs(a[place]) > 0.65 * top else INK)
    return shown


def _number(axes, explanation, H, W):
    """Label the first and last row and column with their numbers in the array they are from."""
    top, left = explanation.start[-2:]
    for ticks, size, start in ((axes.set_yticks, H, top), (axes.set_xticks, W, left)):
        ends = sorted({0, size - 1})
        ticks(ends, [str(start + end) for end in ends], fontsize=8)


def _sheet(maps, gap=1):
    """Put maps (M, H, W) into one map, tiled as a square, with gaps of 0, which is white."""
    M, H, W = maps.shape
    columns = math.ceil(math.sqrt(M * H / W))
    sheet = np.zeros((ceil_div(M, columns) * (H + gap) - gap, columns * (W + gap) - gap))
    for i, a in enumerate(maps):
        top, left = i // columns * (H + gap), i % columns * (W + gap)
        sheet[top:top + H, left:left + W] = a
    return sheet


def _colours(name):
    return WEIGHTS if name.startswith(("w", "dw", "mask", "slope", "truth")) else ACTIVATIONS
