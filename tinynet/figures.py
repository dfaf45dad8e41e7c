"""Pictures of a run. The only module that imports matplotlib, and it needs no screen."""

import numpy as np
from matplotlib.figure import Figure

from tinynet.checkpoint import atomic_write

LOSS, TRAIN, TEST, DROP = "#7f7f7f", "#1f77b4", "#d62728", "#bbbbbb"


def draw_curves(path, rows):
    """The loss of every step, and the held-out error after each epoch; a vertical line where the rate was cut.

    Args     rows: of metrics.csv, dicts with step, lr, loss, and top1_error and top5_error (in [0, 1]) where measured
    """
    steps, losses, lrs = ([row[key] for row in rows] for key in ("step", "loss", "lr"))
    tests = [(row["step"], row["top1_error"], row["top5_error"]) for row in rows if "top1_error" in row]
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(steps, losses, color=LOSS, linewidth=0.6, label="each step")
    if len(losses) >= 20:
        width = max(5, len(losses) // 25)
        smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
        left.plot(steps[width - 1:], smooth, color=TRAIN, linewidth=1.8, label=f"mean of {width} steps")
    left.set(xlabel="step", ylabel="training loss (nats)", ylim=(0, None))
    if tests:
        at, top1, top5 = np.array(tests).T
        right.plot(at, 100 * top1, color=TEST, marker="o", markersize=4, label="top-1 error")
        right.plot(at, 100 * top5, color=TEST, marker="o", markersize=4, linestyle=":", label="top-5 error")
    right.set(xlabel="step", ylabel="held-out error (%)", ylim=(0, 100), xlim=left.get_xlim())
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
