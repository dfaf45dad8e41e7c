"""Figures of a training run: curves, kernels, guesses."""

import numpy as np

from tinynet.figures.canvas import DROP, LOSS, TEST, TRAIN, Drawing, done, tile
from tinynet.shapes import ceil_div

RIGHT, OTHER = "#f4a6c0", "#a9cbe8"  # bars, light enough for black text


def draw_curves(path, metrics):
    """Draw the loss of every step, and the training and test errors, with lines at rate cuts.

    Args     metrics: the columns of metrics.csv, {name: one number for each step}, nan where a
             step has none; errors from 0 to 1
    """
    steps, losses, lrs, errors = (np.array(metrics[key], float)
                                  for key in ("step", "loss", "lr", "train_error"))
    figure = Drawing(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(steps, losses, color=LOSS, linewidth=0.6, label="each step")
    width = max(5, len(losses) // 25)
    if len(losses) >= 20:
        left.plot(steps[width - 1:], _running_mean(losses, width), color=TRAIN, linewidth=1.8,
                  label=f"mean of {width} steps")
        right.plot(steps[width - 1:], 100 * _running_mean(errors, width), color=TRAIN,
                   linewidth=1.2, label=f"training, top-1, mean of {width} steps")
    left.set(xlabel="step", ylabel="training loss (nats)", ylim=(0, None))
    for key, style, label in (("top1_error", "-", "test, top-1"),
                              ("top5_error", ":", "test, top-5")):
        values = np.array(metrics[key], float)
        measured = np.isfinite(values)
        if measured.any():
            right.plot(steps[measured], 100 * values[measured], color=TEST, marker="o",
                       markersize=4, linestyle=style, label=label)
    right.set(xlabel="step", ylabel="error (%)", ylim=(0, 100), xlim=left.get_xlim())
    drops = [step for step, before, after in zip(steps[1:], lrs, lrs[1:]) if after < before]
    for axes in (left, right):
        for i, step in enumerate(drops):
            axes.axvline(step, color=DROP, linewidth=1, zorder=0,
                         label=None if i else "rate cut")
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(edgecolor="none", framealpha=1)
    return done(figure, path)


def draw_kernels(path, weights, groups=1, columns=16):
    """Draw the kernels of the first layer as colour tiles, the first group on top.

    Paper    figure 3
    Args     weights (K, 3, KH, KW); groups: there is a gap between the kernels of two groups
    Source   one scale for all kernels, from the smallest weight (black) to the largest, as in the
             authors' shownet.py
    """
    K, _, KH, KW = weights.shape
    low, high = float(weights.min()), float(weights.max())
    tiles = (weights - low) / max(high - low, np.finfo(np.float32).tiny)
    figure = Drawing(figsize=(columns * 0.5, ceil_div(K, columns) * 0.5 + 0.2 * groups),
                     layout="constrained")
    for axes, group in zip(np.atleast_1d(figure.subplots(groups, 1)), np.split(tiles, groups)):
        axes.imshow(tile(group.transpose(0, 2, 3, 1), columns), interpolation="nearest")
        axes.set_axis_off()
    return done(figure, path)


def draw_guesses(path, pictures, probs, class_names, titles, labels=None, columns=4):
    """Draw pictures, and below each the five classes that the network finds most probable.

    Paper    figure 4
    Args     pictures: uint8 (M, 3, H, W); probs (M, classes); titles: M lines; labels (M,): the
             right classes, whose bars are red; None if they are unknown
    """
    columns = min(columns, len(pictures))
    rows = ceil_div(len(pictures), columns)
    figure = Drawing(figsize=(2.3 * columns, 3.9 * rows), layout="constrained")
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[2, 1.25] * rows)
    for axes in grid.flat:
        axes.set_axis_off()
    for i, (picture, own, title) in enumerate(zip(pictures, probs, titles)):
        row, column = 2 * (i // columns), i % columns
        grid[row, column].imshow(picture.transpose(1, 2, 0), interpolation="nearest")
        grid[row, column].set_title(_short(title, 28), fontsize=9, parse_math=False)
        _draw_bars(grid[row + 1, column], own, class_names,
                   None if labels is None else labels[i])
    return done(figure, path)


def _draw_bars(axes, own, class_names, label):
    """Draw the five largest of the probabilities (classes,) as bars with names, sorted."""
    best = np.argsort(-own, kind="stable")[:5]
    axes.barh(range(len(best)), own[best], height=0.86,
              color=[RIGHT if k == label else OTHER for k in best])
    for place, k in enumerate(best):
        axes.text(0.02, place, _short(class_names[k], 24), va="center_baseline", fontsize=8,
                  parse_math=False)
        axes.text(1, place, f"{own[k]:.1%}", va="center_baseline", ha="right", fontsize=7)
    axes.set(xlim=(0, 1), ylim=(4.5, -0.5))


def _short(text, length):
    """Cut text to length. Bytes of a file name that are no characters become question marks."""
    text = text.encode(errors="replace").decode()
    return text if len(text) <= length else text[:length - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _running_mean(values, width):
    return np.convolve(values, np.ones(width) / width, mode="valid")
