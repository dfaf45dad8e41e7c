"""Charts: curves, bars, dots, tables, rows of pictures, in the colours of the figures of runs."""

import matplotlib
import numpy as np

from tinynet.figures.canvas import (
    DROP,
    INK,
    LOSS,
    PADDING,
    TEST,
    TRAIN,
    WINDOW,
    Drawing,
    bare,
    done,
    outline,
)
from tinynet.shapes import ceil_div

STYLES = ((TRAIN, "-"), (TEST, "--"), ("#2ca02c", "-"), ("#ff7f0e", "--"), ("#9467bd", "-."),
          (INK, ":"))


def draw_lines(panels, xlabel="", ylabel="", log="", levels=(), drops=(), ground=None, dots=(),
               aspect="auto", path=None):
    """Draw curves in panels, up to three side by side, four in two rows.

    A label has the same colour and dashes in all panels.

    Args     panels: {title: {label: y, or (x, y)}}; log: the axes that are logarithmic, "x", "y"
             or "xy"; levels: {text: y}, thin horizontal lines; drops: where the rate was cut;
             ground: (x, y, z), contour lines of z behind the curves; dots: labels to draw as dots;
             aspect: "equal" where a unit has the same length on both axes
    """
    labels = list(dict.fromkeys(label for lines in panels.values() for label in lines))
    columns = len(panels) if len(panels) <= 3 else 2
    rows, width = ceil_div(len(panels), columns), 5.5 if columns == 1 else min(4.3, 11 / columns)
    figure = Drawing(figsize=(width * columns, 3.6 * rows), layout="constrained")
    all_axes = figure.subplots(rows, columns, squeeze=False)
    for axes, (title, lines) in zip(all_axes.flat, panels.items()):
        if ground is not None:
            axes.contour(*ground, levels=np.quantile(ground[2], np.linspace(0, 1, 12)**2),
                         colors=DROP, linewidths=0.8)
        for label, line in lines.items():
            x, y = line if isinstance(line, tuple) else (np.arange(len(line)), line)
            colour, dashes = STYLES[labels.index(label)]
            style = {"linestyle": "none", "marker": ".", "markersize": 3} if label in dots else {
                "marker": "o" if len(y) <= 40 else None, "markersize": 7 if len(y) == 1 else 3.5,
                "linewidth": 1.6, "linestyle": dashes}
            axes.plot(x, y, color=colour, label=label, **style)
        axes.set(xlabel=xlabel, ylabel=ylabel, **{f"{axis}scale": "log" for axis in log})
        for text, y in dict(levels).items():
            end = _free_end(axes, y)
            axes.axhline(y, color=DROP, linewidth=1, zorder=0)
            axes.annotate(text, (end, y), (3 - 6 * end, 2), xycoords=("axes fraction", "data"),
                          textcoords="offset points", ha="right" if end else "left", fontsize=8,
                          color=LOSS)
        for number, step in enumerate(drops):
            axes.axvline(step, color=DROP, linewidth=1, zorder=0,
                         label=None if number else "rate cut")
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_aspect(aspect)
        if np.asarray(x).dtype.kind in "iu" and "x" not in log:
            axes.xaxis.get_major_locator().set_params(integer=True)
        if len(lines) > 1 or drops:
            axes.legend(edgecolor="none", framealpha=0.9, fontsize=8)
    return done(figure, path)


def _free_end(axes, y):
    """Return the end of the level y that is farther from all curves: 0, left, or 1, right."""
    axes.autoscale_view()
    to_axes = (axes.transData + axes.transAxes.inverted()).transform
    points = np.concatenate([to_axes(line.get_xydata()) for line in axes.lines])
    away = abs(points[:, 1] - to_axes((axes.get_xlim()[1], y))[1])
    left, right = (np.nanmin(away[side], initial=1)
                   for side in (points[:, 0] < 0.3, points[:, 0] > 0.7))
    return int(right >= min(left, 0.1))


def draw_bars(panels, unit="", path=None):
    """Draw panels of horizontal bars, with names at the left and numbers at the ends of the bars.

    Args     panels: {title: {name: number}}, the same names in all; each has a scale of its own;
             unit: written after every number
    """
    names = list(next(iter(panels.values())))
    figure = Drawing(figsize=(1.2 + 3.4 * len(panels), 0.34 * len(names) + 0.7),
                     layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (title, bars) in zip(all_axes, panels.items()):
        drawn = axes.barh(names, [bars[name] for name in names], color=TRAIN)
        says = [f"{bars[name]:{',.0f' if abs(bars[name]) >= 100 else '.3g'}}{unit}"
                for name in names]
        axes.bar_label(drawn, says, padding=3, fontsize=9)
        axes.set(title=title, xticks=[], xlim=(0, 1.2 * max(bars.values())))
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.tick_params(length=0)
    axes.invert_yaxis()  # of all: they share it
    return done(figure, path)


def draw_table(table, rows, columns, words=("yes", "no"), path=None):
    """Draw a table of true and false, in colour.

    Args     table (R, C) bool; rows, columns: their names; words: what the cells say where true
             and where false
    """
    table = np.asarray(table, bool)
    figure = Drawing(figsize=(3.6 + 1.25 * len(columns), 0.36 * len(rows) + 0.9),
                     layout="constrained")
    axes = figure.subplots()
    axes.imshow(table, cmap=matplotlib.colors.ListedColormap([PADDING, WINDOW]), vmin=0, vmax=1,
                aspect="auto")
    for place, value in np.ndenumerate(table):
        axes.text(*place[::-1], words[0] if value else words[1], ha="center", va="center",
                  fontsize=9, color="white" if value else INK)
    axes.set_xticks(range(len(columns)), columns, fontsize=9)
    axes.set_yticks(range(len(rows)), rows, fontsize=9)
    axes.set_xticks(np.arange(1, len(columns)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(rows)) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0, top=False, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    return done(figure, path)


def draw_rows(rows, titles=(), marked=None, path=None):
    """Draw rows of small pictures, each row with its name at the left.

    Args     rows: {name: list of (3, H, W), uint8 or from 0 to 1}; titles: above the columns;
             marked: {name: list of bool}, which pictures to outline
    """
    columns = max(map(len, rows.values()))
    side = min(0.65, 11 / columns)
    figure = Drawing(figsize=(1.3 + side * columns, side * len(rows) + 0.4), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for number, (line, (name, pictures)) in enumerate(zip(grid, rows.items())):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        for axes in line:
            bare(axes)
            axes.spines[:].set_visible(False)
        for at, (axes, picture) in enumerate(zip(line, pictures)):
            axes.imshow(np.asarray(picture).transpose(1, 2, 0), interpolation="nearest")
            if number == 0 and at < len(titles):
                axes.set_title(titles[at], fontsize=7.5 if len(titles[at]) > 8 else 9)
            if marked and marked[name][at]:
                outline(axes, 0, 0, *np.shape(picture)[1:])
    return done(figure, path)


def draw_dots(panels, xlabel="", path=None):
    """Draw a row for each name, with a dot for each number and a bar at their mean.

    The range of the first name is shaded in all rows, for comparison.

    Args     panels: {title: {name: numbers}}, the same names in all
    """
    names = list(next(iter(panels.values())))
    figure = Drawing(figsize=(2.4 + 3.4 * len(panels), 0.36 * len(names) + 0.9),
                     layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (title, rows) in zip(all_axes, panels.items()):
        axes.axvspan(min(rows[names[0]]), max(rows[names[0]]), color=PADDING, zorder=0)
        for at, name in enumerate(names):
            axes.plot(rows[name], np.full(len(rows[name]), at), "o", color=TRAIN, alpha=0.6,
                      markeredgewidth=0)
            axes.plot([np.mean(rows[name])], [at], "|", color=INK, markersize=16)
        axes.set(title=title, xlabel=xlabel)
        axes.set_yticks(range(len(names)), names)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(len(names) - 0.5, -0.5)  # of all: they share it
    return done(figure, path)
