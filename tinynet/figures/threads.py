"""Figures of how a GPU's threads share the work: blocks, access to memory, a sum in a tree."""

import numpy as np
from matplotlib.patches import Rectangle

from tinynet.figures.canvas import INK, PADDING, TRAIN, WINDOW, Drawing, bare, done

SECTOR = 8  # numbers of float32 in a sector of 32 bytes


def draw_threads(n, block, path=None):
    """Draw the threads of enough blocks for n numbers: a row for each block.

    A thread that has no number is grey.
    """
    blocks = -(-n // block)
    figure = Drawing(figsize=(0.5 * block + 1.2, 0.55 * blocks + 0.5), layout="constrained")
    axes = figure.add_subplot()
    for i in range(blocks * block):
        row, column = divmod(i, block)
        _box(axes, column, -row, "white" if i < n else PADDING, TRAIN, i)
    for row in range(blocks):
        axes.text(-0.7, -row, f"block {row}", ha="right", va="center", color=INK)
    for column in range(block):
        axes.text(column, 0.75, column, ha="center", va="center", color=INK, fontsize=8)
    axes.text(-0.7, 0.75, "thread", ha="right", va="center", color=INK, fontsize=8)
    axes.set(xlim=(-2.6, block - 0.3), ylim=(-blocks + 0.3, 1.2), aspect="equal")
    axes.axis("off")
    return done(figure, path)


def draw_access(patterns, path=None):
    """Draw which sectors of memory the threads of a warp touch: {title: index of each thread}."""
    figure = Drawing(figsize=(9, 1.7 * len(patterns)), layout="constrained")
    numbers = max(max(indices) for indices in patterns.values()) + 1
    sectors = -(-numbers // SECTOR)
    for axes, (title, indices) in zip(figure.subplots(len(patterns), squeeze=False)[:, 0],
                                      patterns.items()):
        touched = {index // SECTOR for index in indices}
        width = sectors * SECTOR / len(indices)
        for sector in range(sectors):
            axes.add_patch(Rectangle((sector * SECTOR, 0), SECTOR, 1, edgecolor=INK, linewidth=0.8,
                                     facecolor=WINDOW if sector in touched else "white", alpha=0.6))
        for thread, index in enumerate(indices):
            left = thread * width
            axes.add_patch(Rectangle((left, 3), width, 0.8, facecolor="white", edgecolor=TRAIN,
                                     linewidth=0.8))
            axes.plot([left + width / 2, index + 0.5], [3, 1], color=TRAIN, linewidth=0.7)
            axes.plot(index + 0.5, 0.5, ".", color=INK, markersize=3)
        axes.set_title(f"{title}: {len(touched)} sectors", fontsize=10, loc="left", color=INK)
        axes.set(xlim=(-0.5, sectors * SECTOR + 0.5), ylim=(-0.2, 4))
        bare(axes)
        axes.axis("off")
    return done(figure, path)


def draw_reduction(values, path=None):
    """Draw the sum of a power of two of values in a tree: a row for each step.

    Between two rows is a barrier.
    """
    values, row = np.array(values, float), 0
    n = len(values)
    steps = n.bit_length() - 1
    figure = Drawing(figsize=(0.8 * n + 1.5, 1.1 * (steps + 1)), layout="constrained")
    axes = figure.add_subplot()
    half = n
    while True:
        for i in range(n):
            _box(axes, i, -2 * row, "white" if i < half else PADDING, TRAIN, f"{values[i]:g}")
        half //= 2
        if not half:
            break
        for i in range(half):
            for source in (i, i + half):
                axes.annotate("", (i, -2 * row - 1.55), (source, -2 * row - 0.45),
                              arrowprops={"arrowstyle": "->", "color": TRAIN, "linewidth": 1.1})
        axes.axhline(-2 * row - 1, color=WINDOW, linewidth=1.2, linestyle="--", zorder=0)
        axes.text(n - 0.4, -2 * row - 0.9, "barrier", ha="left", va="bottom", color=WINDOW,
                  fontsize=9)
        values[:half] += values[half:2 * half]
        row += 1
    axes.set(xlim=(-0.8, n + 0.8), ylim=(-2 * steps - 0.7, 0.7), aspect="equal")
    axes.axis("off")
    return done(figure, path)


def _box(axes, column, row, fill, edge, text):
    axes.add_patch(Rectangle((column - 0.42, row - 0.42), 0.84, 0.84, facecolor=fill,
                             edgecolor=edge, linewidth=1))
    axes.text(column, row, text, ha="center", va="center", fontsize=9, color=INK)
