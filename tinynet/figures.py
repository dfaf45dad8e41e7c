"""Pictures of a run. The only module that imports matplotlib, and it needs no screen."""

import io
import math
import os
import pathlib
import textwrap

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tinynet import console, run
from tinynet.checkpoint import atomic_write

LOSS, TRAIN, TEST, DROP = "#7f7f7f", "#1f77b4", "#d62728", "#bbbbbb"


def draw_curves(path, metrics):
    """The loss of every step; training error, and the held-out errors after each pass; lines where the rate was cut.

    Args     metrics: columns of metrics.csv, {name: one number a step}, nan where there is none; errors in [0, 1]
    """
    steps, losses, lrs, errors = (np.array(metrics[key], float) for key in ("step", "loss", "lr", "train_error"))
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(steps, losses, color=LOSS, linewidth=0.6, label="each step")
    width = max(5, len(losses) // 25)
    if len(losses) >= 20:
        left.plot(steps[width - 1:], _running_mean(losses, width), color=TRAIN, linewidth=1.8,
                  label=f"mean of {width} steps")
        right.plot(steps[width - 1:], 100 * _running_mean(errors, width), color=TRAIN, linewidth=1.2,
                   label=f"training, top-1, mean of {width} steps")
    left.set(xlabel="step", ylabel="training loss (nats)", ylim=(0, None))
    for key, style, label in (("top1_error", "-", "held out, top-1"), ("top5_error", ":", "held out, top-5")):
        values = np.array(metrics[key], float)
        measured = np.isfinite(values)
        if measured.any():
            right.plot(steps[measured], 100 * values[measured], color=TEST, marker="o", markersize=4, linestyle=style,
                       label=label)
    right.set(xlabel="step", ylabel="error (%)", ylim=(0, 100), xlim=left.get_xlim())
    drops = [step for step, before, after in zip(steps[1:], lrs, lrs[1:]) if after < before]
    for axes in (left, right):
        for i, step in enumerate(drops):
            axes.axvline(step, color=DROP, linewidth=1, zorder=0, label=None if i else "rate cut")
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(edgecolor="none", framealpha=1)
    _save(figure, path)


def draw_kernels(path, weights, groups=1, columns=16):
    """First-layer kernels as colour tiles, as the paper's figure 3: those of the first group on top.

    Args     weights (K, 3, KH, KW); groups: leave a gap between the kernels of one and of the next
    Source   one scale for all kernels, from the least weight (black) to the greatest, as the authors' shownet.py
    """
    K, _, KH, KW = weights.shape
    low, high = float(weights.min()), float(weights.max())
    tiles = (weights - low) / max(high - low, np.finfo(np.float32).tiny)
    figure = Figure(figsize=(columns * 0.5, -(-K // columns) * 0.5 + 0.2 * groups), layout="constrained")
    for axes, group in zip(np.atleast_1d(figure.subplots(groups, 1)), np.split(tiles, groups)):
        axes.imshow(_tile(group.transpose(0, 2, 3, 1), columns), interpolation="nearest")
        axes.set_axis_off()
    _save(figure, path)


def _running_mean(values, width):
    return np.convolve(values, np.ones(width) / width, mode="valid")


def _tile(pictures, columns, gap=1):
    """(M, H, W, 3) in [0, 1] -> one picture with rows of `columns`, white between them."""
    M, H, W, _ = pictures.shape
    rows = -(-M // columns)
    sheet = np.ones((rows * (H + gap) - gap, columns * (W + gap) - gap, 3))
    for i, picture in enumerate(pictures):
        top, left = i // columns * (H + gap), i % columns * (W + gap)
        sheet[top:top + H, left:left + W] = picture
    return sheet


def _save(figure, path):
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)


# ------------------------------------------------------------------------------------------------- figures in lessons
# Each takes a path to be saved at, or none, and returns a Drawing, which a notebook shows.

ACTIVATIONS, WEIGHTS = "RdBu_r", "PuOr_r"  # both white at 0
PHOTO = pathlib.Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg"  # which matplotlib brings along
WINDOW, PADDING, INK = "#00a651", "#d9d9d9", "#333333"


class Drawing(Figure):
    """A figure that a notebook shows as it is, without pyplot."""

    def _repr_png_(self):
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=100, metadata={"Software": None})
        return file.getvalue()


def draw_pictures(pictures, titles=None, windows=(), path=None):
    """Pictures side by side, with windows outlined in the first.

    Args     pictures: a list of (3, H, W) uint8, or (H, W) in grey; windows: (top, left, height, width), in pixels
    """
    figure = Drawing(figsize=(2.7 * len(pictures), 2.9), layout="constrained")
    all_axes = figure.subplots(1, len(pictures), squeeze=False)[0]
    for axes, picture, title in zip(all_axes, pictures, titles or [None] * len(pictures)):
        picture = np.asarray(picture)
        axes.imshow(picture.transpose(1, 2, 0) if picture.ndim == 3 else picture, cmap="gray", interpolation="nearest")
        axes.set_title(title, fontsize=10)
        _bare(axes)
    for window in windows:
        _outline(all_axes[0], *window)
    return _done(figure, path)


def draw_maps(maps, titles=None, columns=4, weights=False, share=True, path=None):
    """Maps as colours around 0 with a scale: red above, blue below; weights orange above, purple below.

    The scale of large maps leaves out the largest hundredth of the numbers, or a few would make the rest pale; its ends
    are pointed then.

    Args     maps (M, H, W); share: one scale for all, so that they can be compared
    """
    maps = np.asarray(maps, np.float64)
    columns = min(columns, len(maps))
    rows = -(-len(maps) // columns)
    width = 2.4 if columns > 1 else 5
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
        _bare(axes)
        if not share:
            figure.colorbar(shown, ax=axes, shrink=0.8, extend=extend)
    if share:
        figure.colorbar(shown, ax=grid, shrink=0.8, aspect=30, extend=extend)
    return _done(figure, path)


def draw_numbers(arrays, windows=None, signs=None, path=None):
    """Small arrays with their numbers written into the cells.

    Args     arrays: {title: (H, W)}, weights have a title that begins with w or dw; windows: {title: (top, left,
             height, width)} to be outlined; signs: what stands before the second, the third ...: ["*", "="]
    """
    arrays = {title: np.atleast_2d(a) for title, a in arrays.items()}
    widths = [a.shape[1] for a in arrays.values()]
    tallest = max(a.shape[0] for a in arrays.values())
    figure = Drawing(figsize=(0.62 * sum(widths) + 0.8 * len(widths), 0.62 * tallest + 0.6), layout="constrained")
    all_axes = figure.subplots(1, len(arrays), squeeze=False, width_ratios=widths)[0]
    for number, (axes, (title, a)) in enumerate(zip(all_axes, arrays.items())):
        _show(axes, a, _colours(title), abs(a).max(), numbers=True)
        axes.set_title(title, fontsize=10)
        _bare(axes)
        if signs and number:
            axes.set_ylabel(signs[number - 1], rotation=0, fontsize=16, labelpad=14, va="center")
        if windows and title in windows:
            _outline(axes, *windows[title])
    return _done(figure, path)


def draw_explanation(explanation, path=None):
    """An Explanation of tinynet.trace: its terms side by side (window, weights, products), below them the arithmetic.

    Maps where terms have rows and columns, bars where they have one axis, the curve of an activation function; padding
    is grey, what was picked is outlined.
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
    figure.suptitle(textwrap.fill(f"{explanation.name}: {explanation.where}", characters), fontsize=11)
    steps = [f"{text}: {number + 0.0:.5g}" for text, number in explanation.lines]
    figure.supxlabel(textwrap.fill(",   ".join(steps), characters), fontsize=10)
    return _done(figure, path)


def _draw_terms_as_maps(explanation):
    """A column of maps for each array of terms: one below the other if they are few, on one sheet if many."""
    shape = explanation.last.shape
    count, (H, W) = int(np.prod(shape[:-2])), shape[-2:]
    few = count <= 4
    figure = Drawing(figsize=(3.1 * max(2, len(explanation.terms)), (2.3 * count if few else 3.1) + 1.3),
                     layout="constrained")
    grid = figure.subplots(count if few else 1, len(explanation.terms), squeeze=False)
    for column, (name, array) in zip(grid.T, explanation.terms.items()):
        if explanation.inside is not None and name in ("x", "product"):  # what weighs them is there all the same
            array = np.where(explanation.inside, array, np.nan)
        maps = array.reshape(count, H, W)
        top = abs(np.nan_to_num(maps)).max() or 1.0
        for number, axes in enumerate(column):
            tile = maps[number] if few else _sheet(maps)
            shown = _show(axes, tile, _colours(name), top, numbers=few and H * W <= 25)
            _bare(axes)
            if few:
                _number(axes, explanation, H, W)
                if len(shape) > 2:
                    axes.set_ylabel(f"{explanation.axes[0]} {explanation.start[0] + number}")
        column[0].set_title(name if few else f"{name}, {count} {explanation.axes[0]}s", fontsize=10)
        figure.colorbar(shown, ax=column, orientation="horizontal", shrink=0.8, aspect=30, ticks=[-top, 0, top],
                        format=lambda value, _: f"{value:.3g}")
        if explanation.picked is not None and few:
            for place in np.argwhere(explanation.picked):
                _outline(column[0], *place, 1, 1)
    return figure


def _draw_terms_as_bars(explanation):
    figure = Drawing(figsize=(3.4 * len(explanation.terms), 3.4), layout="constrained")
    for axes, (name, array) in zip(figure.subplots(1, len(explanation.terms), squeeze=False)[0],
                                   explanation.terms.items()):
        at = np.arange(array.size) + explanation.start[0]
        colours = matplotlib.colormaps[_colours(name)](np.where(array < 0, 0.15, 0.85))
        if array.size <= 40:
            picked = np.zeros(array.size, bool) if explanation.picked is None else explanation.picked
            axes.bar(at, array, color=colours, edgecolor=np.where(picked, WINDOW, "none"), linewidth=2)
        else:
            axes.vlines(at, 0, array, color=colours, linewidth=0.7)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set(title=name, xlabel=explanation.axes[0])
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_one_term(explanation):
    """A unit by itself: its numbers in a row, and above them the curve that leads from x to y, if there is one."""
    curve = explanation.curve
    figure = Drawing(figsize=(6.5, 4.2 if curve else 2.2), layout="constrained")
    rows = figure.subplots(2 if curve else 1, 1, squeeze=False, height_ratios=[3, 1] if curve else [1])[:, 0]
    if curve:
        xs, ys = curve
        x = float(explanation.terms["x"])
        rows[0].plot(xs, ys, color=INK, linewidth=1.6)
        rows[0].plot([x], [np.interp(x, xs, ys)], marker="o", markersize=9, color=WINDOW)
        rows[0].set(xlabel="x", ylabel="y" if "y" in explanation.terms else "slope")
        rows[0].grid(color="#eeeeee")
        rows[0].spines[["top", "right"]].set_visible(False)
    numbers = np.array(list(explanation.terms.values())).reshape(1, -1)
    _show(rows[-1], numbers, ACTIVATIONS, abs(numbers).max(initial=1e-9), numbers=True)
    rows[-1].set_xticks(range(numbers.size), explanation.terms)
    rows[-1].set_yticks([])
    rows[-1].tick_params(length=0)
    return figure


def _show(axes, a, colours, top, numbers=False):
    """a as colours from -top to top, grey where it is not a number."""
    top = top or 1.0
    colours = matplotlib.colormaps[colours].with_extremes(bad=PADDING)
    shown = axes.imshow(a, cmap=colours, vmin=-top, vmax=top, interpolation="nearest")
    if numbers:
        texts = {tuple(place): f"{a[tuple(place)] + 0.0:{'.0f' if abs(a[tuple(place)]) >= 999.5 else '.3g'}}"
                 for place in np.argwhere(~np.isnan(a))}
        if a.shape[1] <= 3 or max(map(len, texts.values())) <= 6:  # else they would run into each other
            for place, text in texts.items():
                axes.text(*place[::-1], text, ha="center", va="center", fontsize=9 if len(text) <= 4 else 7.5,
                          color="white" if abs(a[place]) > 0.65 * top else INK)
    return shown


def _number(axes, explanation, H, W):
    """Ticks with the rows and columns of the array that the terms were taken from: the first and the last."""
    top, left = explanation.start[-2:]
    for ticks, size, start in ((axes.set_yticks, H, top), (axes.set_xticks, W, left)):
        ends = sorted({0, size - 1})
        ticks(ends, [str(start + end) for end in ends], fontsize=8)


def _sheet(maps, gap=1):
    """(M, H, W) -> one map, tiled as a square, with gaps of 0, which is white."""
    M, H, W = maps.shape
    columns = math.ceil(math.sqrt(M * H / W))
    sheet = np.zeros((-(-M // columns) * (H + gap) - gap, columns * (W + gap) - gap))
    for i, a in enumerate(maps):
        top, left = i // columns * (H + gap), i % columns * (W + gap)
        sheet[top:top + H, left:left + W] = a
    return sheet


def _colours(name):
    return WEIGHTS if name.startswith(("w", "dw", "mask", "slope", "truth")) else ACTIVATIONS


def _outline(axes, top, left, height, width):
    axes.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=WINDOW, linewidth=2.2,
                             clip_on=False))


def _bare(axes):
    axes.set(xticks=[], yticks=[])


def _done(figure, path):
    if path is not None:
        _save(figure, path)
    return figure


def draw_bars(panels, unit="", path=None):
    """Panels of horizontal bars side by side, with the same names down the left and the numbers behind the bars.

    Args     panels: {title: {name: number}}, each with a scale of its own; unit: behind every number
    """
    names = list(next(iter(panels.values())))
    figure = Drawing(figsize=(1.2 + 3.4 * len(panels), 0.34 * len(names) + 0.7), layout="constrained")
    for axes, (title, bars) in zip(figure.subplots(1, len(panels), squeeze=False, sharey=True)[0], panels.items()):
        drawn = axes.barh(names, [bars[name] for name in names], color=TRAIN)
        says = [f"{bars[name]:{',.0f' if abs(bars[name]) >= 100 else '.3g'}}{unit}" for name in names]
        axes.bar_label(drawn, says, padding=3, fontsize=9)
        axes.set(title=title, xticks=[], xlim=(0, 1.2 * max(bars.values())))
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.tick_params(length=0)
    axes.invert_yaxis()  # of all: they share it
    return _done(figure, path)


def draw_streams(stages, path=None):
    """A network on two GPUs, from left to right, as the paper's figure 2; green where one reads what the other made.

    Args     stages: (name, what it says below, side in pixels, places, whether each reads both streams); places: 1 for
             GPU 1, -1 for GPU 2, 0 for what is on neither
    """
    figure = Drawing(figsize=(1.2 * len(stages), 3.6), layout="constrained")
    axes, before = figure.subplots(), ()
    for at, (name, says, side, here, both) in enumerate(stages):
        for y in here:
            height = 0.25 + 1.4 * side / max(stage[2] for stage in stages)
            axes.add_patch(Rectangle((at - 0.15, y - height / 2), 0.3, height, facecolor=PADDING, edgecolor=INK))
            for source in before:
                crosses = both and source != y
                if crosses or source in (0, y):
                    axes.plot([at - 0.85, at - 0.15], [source, y], color=WINDOW if crosses else INK,
                              linewidth=2.2 if crosses else 1, solid_capstyle="butt")
        axes.text(at, 2.1, name, ha="center", fontsize=11)
        axes.text(at, -2, says, ha="center", va="top", fontsize=8.5)
        before = here
    for y, name in ((1, "GPU 1"), (-1, "GPU 2")):
        axes.text(0, y, name, ha="center", va="center", color=LOSS)
    axes.set(xlim=(-0.6, len(stages) - 0.4), ylim=(-2.9, 2.4))
    axes.set_axis_off()
    return _done(figure, path)


def draw_loglog(curves, xlabel, ylabel, levels=None, path=None):
    """Curves on logarithmic axes.

    Args     curves: {label: (xs, ys)}; levels: {label: y}, dashed lines across
    """
    figure = Drawing(figsize=(6.5, 3.8), layout="constrained")
    axes = figure.subplots()
    for (label, (xs, ys)), colour in zip(curves.items(), (TRAIN, TEST, LOSS, WINDOW)):
        axes.plot(xs, ys, color=colour, marker="o", markersize=3.5, linewidth=1.4, label=label)
    for label, y in (levels or {}).items():
        axes.axhline(y, color=INK, linewidth=1, linestyle="--")
        axes.annotate(label, (1, y), (-4, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
                      ha="right", fontsize=9)
    axes.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(edgecolor="none", fontsize=9)
    return _done(figure, path)


def draw_table(table, rows, columns, words=("yes", "no"), path=None):
    """A table of true and false, in colour.

    Args     table (R, C) bool; rows, columns: their names; words: what the cells say where true and where false
    """
    table = np.asarray(table, bool)
    figure = Drawing(figsize=(3.6 + 1.25 * len(columns), 0.36 * len(rows) + 0.9), layout="constrained")
    axes = figure.subplots()
    axes.imshow(table, cmap=matplotlib.colors.ListedColormap([PADDING, WINDOW]), vmin=0, vmax=1, aspect="auto")
    for place, value in np.ndenumerate(table):
        axes.text(*place[::-1], words[0] if value else words[1], ha="center", va="center", fontsize=9,
                  color="white" if value else INK)
    axes.set_xticks(range(len(columns)), columns, fontsize=9)
    axes.set_yticks(range(len(rows)), rows, fontsize=9)
    axes.set_xticks(np.arange(1, len(columns)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(rows)) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0, top=False, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    return _done(figure, path)


def draw_rows(rows, titles=(), marked=None, path=None):
    """Rows of small pictures, each row with its name at the left.

    Args     rows: {name: list of (3, H, W), uint8 or from 0 to 1}; titles: above the columns; marked: {name: list of
             bool}, which to outline
    """
    columns = max(map(len, rows.values()))
    side = min(0.65, 11 / columns)
    figure = Drawing(figsize=(1.3 + side * columns, side * len(rows) + 0.4), layout="constrained")
    for number, (line, (name, pictures)) in enumerate(zip(figure.subplots(len(rows), columns, squeeze=False),
                                                          rows.items())):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        for axes in line:
            _bare(axes)
            axes.spines[:].set_visible(False)
        for at, (axes, picture) in enumerate(zip(line, pictures)):
            axes.imshow(np.asarray(picture).transpose(1, 2, 0), interpolation="nearest")
            if number == 0 and at < len(titles):
                axes.set_title(titles[at], fontsize=7.5 if len(titles[at]) > 8 else 9)
            if marked and marked[name][at]:
                _outline(axes, 0, 0, *np.shape(picture)[1:])
    return _done(figure, path)


def draw_predictions(pictures, probs, labels, names, path=None):
    """Pictures with the five most probable classes below, as the paper's figure 4; the right class in green.

    Args     pictures: list of (3, H, W) uint8; probs (M, classes); labels (M,); names of the classes
    """
    figure = Drawing(figsize=(1.4 * len(pictures), 3), layout="constrained")
    above, below = figure.subplots(2, len(pictures), squeeze=False, height_ratios=[1.2, 1])
    for axes, bars, picture, p, label in zip(above, below, pictures, probs, labels):
        axes.imshow(np.asarray(picture).transpose(1, 2, 0), interpolation="nearest")
        axes.set_title(names[label], fontsize=9)
        _bare(axes)
        five = np.argsort(-p, kind="stable")[:5]
        bars.barh(range(5), p[five], color=[WINDOW if c == label else PADDING for c in five])
        for place, c in enumerate(five):
            bars.text(0.03, place, names[c], va="center", fontsize=8.5, color=INK)
        bars.set(xlim=(0, 1), ylim=(4.6, -0.6), xticks=[], yticks=[])
        bars.spines[["top", "right", "bottom"]].set_visible(False)
    return _done(figure, path)


def main():
    """python -m tinynet.figures RUN: draw curves.png of a run anew from its log, at any time, also while it goes."""
    parser = console.ArgumentParser(prog="python -m tinynet.figures", description="Draw the curves of a run.")
    parser.add_argument("run", help="the folder of a run")
    folder = parser.parse_args().run
    path = os.path.join(folder, "curves.png")
    draw_curves(path, run.read_metrics(folder))
    print(path)


if __name__ == "__main__":
    console.run(main, mistakes=run.RunError, name="tinynet.figures")
