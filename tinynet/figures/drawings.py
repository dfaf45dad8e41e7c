"""Drawings of how a network is built: its layers, a kernel, a neuron, windows, crops, gradients.

Blue are activations, orange are weights, green is the part that the text speaks about. Each
function takes a path to save at, or None, and returns a Drawing, which a notebook shows. Numbers
in the drawing of a network come from the network.
"""

import math

import numpy as np
from matplotlib.patches import Circle, FancyBboxPatch, Polygon, Rectangle

from tinynet import layers, shapes
from tinynet.figures.canvas import INK, LOSS, PADDING, WINDOW, Drawing, done

MAPS, KERNELS = "#cfe2f3", "#fbd9b5"  # light forms of the colours of activations and weights
EDGE = {"edgecolor": INK, "linewidth": 0.9, "joinstyle": "round"}
LINE = 1.1
ARROW = {"arrowstyle": "-|>", "linewidth": LINE, "mutation_scale": 10, "shrinkA": 0, "shrinkB": 0}
CELL, BEHIND = 0.27, (0.3, 0.22)  # a pixel, and the way to the map behind it, in inches
FILLS = {layers.Conv2d: KERNELS, layers.Linear: KERNELS, layers.ReLU: "#f4f4f4",
         layers.LRN: "#e3d4ee", layers.LRNWithin: "#e3d4ee", layers.MaxPool: "#d5ecd4",
         layers.AvgPool: "#d5ecd4", layers.Dropout: PADDING, layers.Flatten: "#ffffff"}


def draw_network(net, path=None):
    """Draw a network on two GPUs from left to right, as figure 2 of the paper does.

    A volume is what a layer with weights computes, drawn once for each GPU. Its height and depth
    grow with the square root of the number of pixels of a side, its width with that of the number
    of maps. Green lines lead where a layer reads maps that the other GPU computed. The last layer
    is on GPU 1.

    Args     net: a Sequential of Conv2d and Linear layers and what follows each of them, in which
             a convolution with one group reads both GPUs and one with two groups reads its own
    """
    stages = _stages(net)
    step, picture = 1.24, net.summary().in_shape
    figure, axes = _inches(step * (len(stages) + 1), 5.9)
    top, bottom = 4.65, 2.95
    middle = (top + bottom) / 2
    x = step / 2 - 0.05
    before = [_volume(axes, x, middle, picture)]
    _column(axes, x, "picture", [f"{_times(picture[1:])}", f"{picture[0]} channels"])
    for number, stage in enumerate(stages):
        x += step
        layer, shape = stage["layer"], stage["shape"]
        last = number == len(stages) - 1
        half = shape if last else (shape[0] // 2, *shape[1:])
        here = [_volume(axes, x, y, half) for y in ((top,) if last else (top, bottom))]
        both = getattr(layer, "groups", 1) == 1
        for i, source in enumerate(before):
            for j, target in enumerate(here):
                crosses = number > 0 and i != j
                if both or not crosses:
                    colour, width = (WINDOW, 1.8) if crosses else (INK, LINE)
                    axes.annotate("", target["left"], source["right"], zorder=1, arrowprops={
                        **ARROW, "color": colour, "linewidth": width})
        for source in before:
            if len(stage["reads"]) == 3:
                _window_on(axes, source, layer.size, stage["reads"][1:])
        maps = "units" if len(shape) == 1 else "maps"
        count = f"{shape[0]:,}" if last else f"{half[0]:,} + {half[0]:,}"
        size = [_times(shape[1:]), f"{count} {maps}"] if len(shape) == 3 else [count, maps]
        _column(axes, x, layer.name, size, stage["kernel"], stage["then"])
        before = here
    for y, name in ((top, "GPU 1"), (bottom, "GPU 2")):
        axes.text(step / 2, y + math.copysign(0.62, y - middle), name, color=LOSS, fontsize=10,
                  ha="center", va="center")
    return done(figure, path)


def draw_stack(net, path=None):
    """Draw a network as a stack of its layers, the picture on top: a box for each layer.

    At the left are the numbers of the layers that have weights. At the right are the shape of what
    a layer computes, where it changes or the layer has weights, and how many parameters it learns.

    Args     net: a Sequential
    """
    summary, height, step = net.summary(), 0.27, 0.355
    rows = [(None, f"picture, {_times(summary.in_shape[1:])} pixels", summary.in_shape, 0)]
    for layer, row in zip(net.layers, summary.rows):
        rows.append((layer, _says(layer, rows[-1][2]), row.output_shape, row.params))
    figure, axes = _inches(9.4, step * len(rows) + 0.5)
    left, width = 1.2, 4.85
    tops = [step * (len(rows) - at) + 0.02 for at in range(len(rows))]
    for x, name in ((left + width + 1.45, "output"), (left + width + 3.1, "parameters")):
        axes.text(x, tops[0] + 0.22, name, ha="right", va="center", fontsize=9.5, color=LOSS)
    for at, (top, (layer, text, shape, params)) in enumerate(zip(tops, rows)):
        line = {"y": top - height / 2, "va": "center_baseline", "fontsize": 9.5}
        axes.add_patch(FancyBboxPatch((left, top - height), width, height, edgecolor=INK,
                                      facecolor=FILLS.get(type(layer), "white") if at else MAPS,
                                      linewidth=0.9, boxstyle="round,pad=0,rounding_size=0.06"))
        axes.text(left + 0.95, s=text, **line)
        if at:
            axes.text(left + 0.12, s=layer.name, weight="bold" if params else "normal", **line)
            axes.annotate("", (left + width / 2, top), (left + width / 2, top + step - height),
                          arrowprops={**ARROW, "mutation_scale": 6, "color": INK})
        if not at or params or shape != rows[at - 1][2]:
            axes.text(left + width + 1.45, s=_times(shape), ha="right", **line)
        if params:
            axes.text(left + width + 3.1, s=f"{params:,}", ha="right", **line)
    first = [at for at, row in enumerate(rows) if row[3]]
    for number, (at, following) in enumerate(zip(first, [*first[1:], len(rows)]), start=1):
        bottom, x = tops[following - 1] - height, left - 0.12
        axes.plot([x, x - 0.08, x - 0.08, x], [tops[at], tops[at], bottom, bottom], color=LOSS,
                  linewidth=LINE)
        axes.text(x - 0.18, (tops[at] + bottom) / 2, f"layer {number}", ha="right",
                  va="center_baseline", fontsize=9.5, color=LOSS)
    return done(figure, path)


def draw_kernel(channels=3, size=6, kernel=3, stride=1, at=(1, 2), path=None):
    """Draw a kernel in three dimensions, the window that it covers, and the number it makes.

    Args     channels, size, kernel, stride: of x and of the kernel, in maps and pixels;
             at: (row, column) of the number of the output that is marked
    """
    out = shapes.output_size(size, kernel, stride)
    across, up = (channels - 1) * BEHIND[0], (channels - 1) * BEHIND[1]
    gap, base, x = 0.95, 0.75, 0.45
    widths = [size * CELL + across, kernel * CELL + across, out * CELL]
    figure, axes = _inches(sum(widths) + 2 * gap + 0.9, base + size * CELL + up + 0.25)
    middle = base + (size * CELL + up) / 2
    window = at[0] * stride, at[1] * stride, kernel, kernel
    _sheets(axes, x, base, channels, (size, size), MAPS, window, shade=0.25)
    _below(axes, x + widths[0] / 2, base, "x", f"{channels} channels of {_times((size, size))}")
    axes.text(x + widths[0] + gap / 2, middle, "$*$", fontsize=22, ha="center", va="center")
    x += widths[0] + gap
    _sheets(axes, x, middle - (kernel * CELL + up) / 2, channels, (kernel, kernel), KERNELS,
            (0, 0, kernel, kernel))
    _below(axes, x + widths[1] / 2, base, "w, one kernel",
           f"{_times((channels, kernel, kernel))} = {channels * kernel**2} weights")
    axes.text(x + widths[1] + gap / 2, middle, "$=$", fontsize=22, ha="center", va="center")
    x += widths[1] + gap
    _sheets(axes, x, middle - out * CELL / 2, 1, (out, out), MAPS, (*at, 1, 1), shade=0.9)
    _below(axes, x + widths[2] / 2, base, "y, one map", _times((out, out)))
    return done(figure, path)


def draw_neuron(inputs=3, function="f", path=None):
    """Draw one neuron: the weighted sum of its inputs, a bias, and a function of the sum.

    Args     inputs: how many; function: the name of the activation function
    """
    tall = 0.72 * inputs + 0.75
    figure, axes = _inches(7.6, tall)
    middle = tall / 2 + 0.15
    sum_at, function_at = (3.5, middle), (5.1, middle)
    for i in range(inputs):
        y = middle + 0.72 * ((inputs - 1) / 2 - i)
        axes.annotate("", _towards(sum_at, (0.75, y), 0.34), _towards((0.75, y), sum_at, 0.24),
                      arrowprops={**ARROW, "color": INK})
        _circle(axes, (0.75, y), 0.24, MAPS, f"$x_{i + 1}$")
        place = 0.75 + 0.45 * 2.75, y + 0.45 * (middle - y)
        axes.text(*place, f"$w_{i + 1}$", ha="center", va="center", fontsize=12, bbox={
            "facecolor": KERNELS, "edgecolor": INK, "linewidth": 0.9, "boxstyle": "round,pad=0.25"})
    bottom = middle - 0.36 * (inputs - 1) - 0.4
    axes.annotate("", (3.5, middle - 0.34), (3.5, bottom + 0.17),
                  arrowprops={**ARROW, "color": INK})
    axes.text(3.5, bottom, "$b$", ha="center", va="center", fontsize=12, bbox={
        "facecolor": KERNELS, "edgecolor": INK, "linewidth": 0.9, "boxstyle": "round,pad=0.25"})
    axes.annotate("", (4.76, middle), (3.84, middle), arrowprops={**ARROW, "color": INK})
    axes.text(4.3, middle + 0.14, "$z$", ha="center", fontsize=12)
    axes.annotate("", (6.36, middle), (5.44, middle), arrowprops={**ARROW, "color": INK})
    _circle(axes, sum_at, 0.34, "white", r"$\sum$")
    _circle(axes, function_at, 0.34, "white", f"${function}$")
    _circle(axes, (6.6, middle), 0.24, MAPS, "$y$")
    axes.text(5.6, bottom, rf"$z = \sum_i w_i x_i + b \qquad y = {function}(z)$", ha="center",
              va="center", fontsize=12)
    return done(figure, path)


def draw_thinned(masks, path=None):
    """Draw a network and, beside it, what a dropout mask leaves of it.

    Args     masks: for each layer of units from the input on, a list of 1 for a unit that is kept
             and 0 for a dropped one
    """
    masks = [np.asarray(mask, bool) for mask in masks]
    tallest = max(map(len, masks))
    tall, across = 0.52 * tallest + 0.75, 1.25 * (len(masks) - 1)
    figure, axes = _inches(2 * across + 3.2, tall)
    everything = [np.ones_like(mask) for mask in masks]
    for start, kept, title in ((0.7, everything, "at test: every unit"),
                                (across + 2.5, masks, "in training: what one mask leaves")):
        places = [[(start + 1.25 * layer, (tall - 0.4) / 2 + 0.52 * ((len(mask) - 1) / 2 - unit))
                   for unit in range(len(mask))] for layer, mask in enumerate(masks)]
        for layer in range(len(masks) - 1):
            for a, first in zip(kept[layer], places[layer]):
                for b, second in zip(kept[layer + 1], places[layer + 1]):
                    if a and b:
                        axes.plot(*zip(first, second), color=INK, linewidth=0.7, zorder=1)
        for mask, row in zip(kept, places):
            for on, place in zip(mask, row):
                axes.add_patch(Circle(place, 0.17, facecolor=MAPS if on else "white", zorder=2,
                                      edgecolor=INK if on else "#aaaaaa", linewidth=LINE,
                                      linestyle="-" if on else (0, (2, 2))))
                if not on:
                    for sign in (1, -1):
                        axes.plot([place[0] - 0.09, place[0] + 0.09],
                                  [place[1] - 0.09 * sign, place[1] + 0.09 * sign],
                                  color="#aaaaaa", linewidth=LINE, zorder=3)
        axes.text(start + across / 2, tall - 0.2, title, ha="center", va="center", fontsize=11)
    return done(figure, path)


def draw_graph(nodes, arrays, path=None):
    """Draw how a network computes, forward along the top and backward along the bottom.

    Args     nodes: (name, parameters, what it saves) of each function, such as
             ("linear", ["w_1", "b_1"], "x"); arrays: the names of what flows between them, in
             mathtext, one more than there are nodes, the loss last
    """
    step, width, height = 2.0, 1.2, 0.62
    figure, axes = _inches(step * len(nodes) + 1.1, 2.6)
    middle, x = 1.3, 0.95
    for number, name in enumerate(arrays):
        start, end = x + step * (number - 1) + width, x + step * number
        start = start if number else 0.15
        forward, backward = middle + 0.14, middle - 0.14
        axes.annotate("", (end, forward), (start, forward), arrowprops={**ARROW, "color": INK})
        axes.annotate("", (start, backward), (end, backward), arrowprops={
            **ARROW, "color": WINDOW, "linewidth": 1.8})
        axes.text((start + end) / 2, forward + 0.09, f"${name}$", ha="center", fontsize=12)
        gradient = rf"d{name}" if number < len(arrays) - 1 else "1"
        axes.text((start + end) / 2, backward - 0.09, rf"${gradient}$", ha="center", va="top",
                  fontsize=12, color=WINDOW)
    for number, (name, parameters, saves) in enumerate(nodes):
        left = x + step * number
        centre = left + width / 2
        axes.add_patch(FancyBboxPatch((left, middle - height / 2), width, height,
                                      facecolor="#f4f4f4", edgecolor=INK, linewidth=LINE,
                                      boxstyle="round,pad=0,rounding_size=0.08"))
        axes.text(centre, middle + (0.1 if saves else 0), name, ha="center", va="center",
                  fontsize=11)
        if saves:
            axes.text(centre, middle - 0.14, f"saves ${saves}$", ha="center", va="center",
                      fontsize=9, color=LOSS)
        if parameters:
            names = ",\\ ".join(parameters)
            gradients = ",\\ ".join(rf"d{each}" for each in parameters)
            axes.annotate("", (centre, middle + height / 2), (centre, middle + 0.82),
                          arrowprops={**ARROW, "color": INK})
            axes.text(centre, middle + 1, f"${names}$", ha="center", va="center", fontsize=12,
                      bbox={"facecolor": KERNELS, "edgecolor": INK, "linewidth": 0.9,
                            "boxstyle": "round,pad=0.25"})
            axes.annotate("", (centre, middle - 0.82), (centre, middle - height / 2), arrowprops={
                **ARROW, "color": WINDOW, "linewidth": 1.8})
            axes.text(centre, middle - 1, f"${gradients}$", ha="center", va="center", fontsize=12,
                      color=WINDOW)
    return done(figure, path)


def draw_crops(picture, crop, starts, path=None):
    """Draw crops on a picture, and the square in which the first pixel of every crop lies.

    Args     picture: uint8 (3, S, S); crop: the side of a crop, in pixels;
             starts: (top, left) of the crops to outline
    """
    S = picture.shape[-1]
    places = S - crop + 1
    figure = Drawing(figsize=(2.4 * (len(starts) + 1), 2.7), layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0, 1, 0.98))  # or titles lose their upper edge
    all_axes = figure.subplots(1, len(starts) + 1)
    all_axes[0].imshow(picture.transpose(1, 2, 0))
    all_axes[0].add_patch(Rectangle((-0.5, -0.5), places, places, facecolor=WINDOW, alpha=0.55))
    all_axes[0].set_title(f"first pixels: {_times((places, places))}",
                          fontsize=10)
    for number, (top, left) in enumerate(starts):
        all_axes[0].add_patch(Rectangle((left - 0.5, top - 0.5), crop, crop, fill=False,
                                        edgecolor=WINDOW, linewidth=1.8,
                                        linestyle=("-", "--", ":")[number % 3]))
        all_axes[number + 1].imshow(picture[:, top:top + crop, left:left + crop]
                                    .transpose(1, 2, 0))
        all_axes[number + 1].set_title(f"{_times((crop, crop))} from {top}, {left}",
                                       fontsize=10)
    for axes in all_axes:
        axes.set(xticks=[], yticks=[])
    return done(figure, path)


def draw_windows(panels, side, path=None):
    """Draw the windows of pooling over side x side pixels, and in how many each pixel lies.

    Args     panels: {title: (size, stride)}, in pixels
    """
    cell = 0.36
    step = side * cell + 0.7
    figure, axes = _inches(step * len(panels) + 0.2, side * cell + 0.75)
    for number, (title, (size, stride)) in enumerate(panels.items()):
        x, base = 0.45 + step * number, 0.2
        starts = range(0, side - size + 1, stride)
        lies_in = np.zeros((side, side), int)
        for top in starts:
            for left in starts:
                lies_in[top:top + size, left:left + size] += 1
        for (row, column), windows in np.ndenumerate(lies_in):
            corner = x + column * cell, base + (side - 1 - row) * cell
            shade = (PADDING, MAPS, "#9fc5e8", "#9fc5e8", "#6fa8dc")[min(windows, 4)]
            axes.add_patch(Rectangle(corner, cell, cell, facecolor=shade, edgecolor="white",
                                     linewidth=1))
            axes.text(corner[0] + cell / 2, corner[1] + cell / 2, str(windows), ha="center",
                      va="center_baseline", fontsize=10)
        for i, top in enumerate(starts):
            for j, left in enumerate(starts):
                inset = 0.025 + 0.045 * ((i + j) % 2)  # so that neighbours do not hide each other
                axes.add_patch(FancyBboxPatch(
                    (x + left * cell + inset, base + (side - top - size) * cell + inset),
                    size * cell - 2 * inset, size * cell - 2 * inset, fill=False, linewidth=1.6,
                    edgecolor=WINDOW if (i + j) % 2 == 0 else INK,
                    boxstyle="round,pad=0,rounding_size=0.05"))
        axes.text(x + side * cell / 2, base + side * cell + 0.25, title, ha="center", va="center",
                  fontsize=11)
    return done(figure, path)


def _inches(width, height):
    """Return a figure of this size and its axes, whose unit is an inch."""
    figure = Drawing(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    return figure, axes


def _times(shape):
    return " × ".join(f"{size:,}" for size in shape)


def _stages(net):
    """Return the layers with weights, each with its shapes and with words for what follows it."""
    stages, shape = [], net.summary().in_shape
    for layer, row in zip(net.layers, net.summary().rows):
        if row.params:
            kernel = []
            if isinstance(layer, layers.Conv2d):
                pad = f", pad {layer.pad[0]}" if any(layer.pad) else ""
                kernel = [_times((*layer.size, layer.params["w"].shape[1])),
                          f"stride {layer.stride[0]}{pad}"]
            stages.append({"layer": layer, "reads": shape, "shape": row.output_shape,
                           "kernel": kernel, "then": []})
        elif not isinstance(layer, layers.Flatten):
            stages[-1]["then"] += _short(layer)
        shape = row.output_shape
    return stages


def _short(layer):
    if isinstance(layer, layers.MaxPool | layers.AvgPool):
        kind = "max-pool" if isinstance(layer, layers.MaxPool) else "mean-pool"
        return [f"{kind} {_times(layer.size)}", f"stride {layer.stride[0]}"]
    if isinstance(layer, layers.LRN):
        return [f"LRN over {layer.n} maps"]
    return ["dropout" if isinstance(layer, layers.Dropout) else type(layer).__name__]


def _says(layer, shape):
    """Return what a layer of a stack does, in words and numbers, for inputs of this shape."""
    if isinstance(layer, layers.Conv2d):
        pad = f", padding {layer.pad[0]}" if any(layer.pad) else ""
        groups = f", {layer.groups} groups" if layer.groups > 1 else ""
        size = _times((*layer.size, shape[0] // layer.groups))
        return f"{layer.K} kernels {size}, stride {layer.stride[0]}{pad}{groups}"
    if isinstance(layer, layers.MaxPool | layers.AvgPool):
        kind = "largest" if isinstance(layer, layers.MaxPool) else "mean"
        return f"{kind} of {_times(layer.size)} pixels, stride {layer.stride[0]}"
    if isinstance(layer, layers.LRN):
        return f"normalise over {layer.n} maps"
    if isinstance(layer, layers.LRNWithin):
        return f"normalise over {_times((layer.n, layer.n))} pixels of a map"
    if isinstance(layer, layers.Linear):
        return f"{layer.OUT:,} units, each of {shape[0]:,} inputs"
    if isinstance(layer, layers.Dropout):
        return f"each unit is kept with probability {layer.keep:g}"
    if isinstance(layer, layers.ReLU):
        return "max(0, x)"
    return "maps become units" if isinstance(layer, layers.Flatten) else type(layer).__name__


def _volume(axes, x, y, shape):
    """Draw maps (C, H, W), or units, centred at x, y. Return where lines come in and go out."""
    if len(shape) == 1:
        height, thick, depth = 0.16 + 0.021 * math.sqrt(shape[0]), 0.13, 0.07
    else:
        height, thick, depth = 0.107 * math.sqrt(shape[1]), 0.034 * math.sqrt(shape[0]), None
        depth = 0.38 * height
    left, base = x - (thick + depth) / 2, y - (height + depth * 0.75) / 2
    right, up = left + thick, base + height
    behind = np.array([depth, depth * 0.75])
    front = np.array([(left, base), (right, base), (right, up), (left, up)])
    for face, fill in ((front, MAPS), ([front[3], front[2], front[2] + behind, front[3] + behind],
                                       "#e4eff9"),
                       ([front[1], front[1] + behind, front[2] + behind, front[2]], "#b4d0ea")):
        axes.add_patch(Polygon(face, facecolor=fill, zorder=2, **EDGE))
    return {"left": (left - 0.02, y), "corner": front[1], "behind": behind, "height": height,
            "right": (right + depth / 2 + 0.05, y)}


def _window_on(axes, volume, size, sides):
    """Outline a window of a kernel on the right face of a volume."""
    share_down, share_across = size[0] / sides[0], size[1] / sides[1]
    up = np.array([0, volume["height"]])
    start = volume["corner"] + 0.5 * (1 - share_down) * up \
        + 0.5 * (1 - share_across) * volume["behind"]
    across, down = share_across * volume["behind"], share_down * up
    axes.add_patch(Polygon([start, start + across, start + across + down, start + down],
                           facecolor=WINDOW, edgecolor=WINDOW, linewidth=1, alpha=0.85, zorder=3))


def _column(axes, x, name, size, kernel=(), then=()):
    """Write what a column of draw_network is: its name, sizes, kernel and what follows."""
    axes.text(x, 5.65, name, ha="center", va="center", fontsize=11, weight="bold")
    for start, lines, colour in ((1.9, size, INK), (1.44, kernel, "#b45f06"), (0.98, then, LOSS)):
        for number, line in enumerate(lines):
            axes.text(x, start - 0.185 * number, line, ha="center", va="center", fontsize=8.5,
                      color=colour)


def _sheets(axes, x, base, channels, size, colour, window, shade=0.0):
    """Draw maps one behind the other, and the frame of a window through all of them.

    Args     window: (top, left, height, width), in pixels; shade: the opacity of its green
    """
    rows, columns = size
    top, left, high, wide = window
    place = np.array([x + left * CELL, base + (rows - top - high) * CELL])
    for channel in reversed(range(channels)):
        x0, y0 = x + channel * BEHIND[0], base + channel * BEHIND[1]
        above = {"zorder": 2 + 0.1 * (channels - channel)}
        axes.add_patch(Rectangle((x0, y0), columns * CELL, rows * CELL, facecolor=colour, **EDGE,
                                 **above))
        axes.vlines(x0 + CELL * np.arange(1, columns), y0, y0 + rows * CELL, "white",
                    linewidth=0.9, **above)
        axes.hlines(y0 + CELL * np.arange(1, rows), x0, x0 + columns * CELL, "white",
                    linewidth=0.9, **above)
        axes.add_patch(Rectangle((x0, y0), columns * CELL, rows * CELL, fill=False, **EDGE,
                                 **above))
        corner = place + channel * np.array(BEHIND)
        axes.add_patch(Rectangle(corner, wide * CELL, high * CELL, facecolor=WINDOW, alpha=shade,
                                 linewidth=0, **above))
        axes.add_patch(Rectangle(corner, wide * CELL, high * CELL, fill=False, edgecolor=WINDOW,
                                 linewidth=1.8, **above))
    for across in (0, wide):
        for up in (0, high):
            start = place + CELL * np.array([across, up])
            axes.plot(*zip(start, start + (channels - 1) * np.array(BEHIND)), color=WINDOW,
                      linewidth=LINE, linestyle=(0, (3, 2)), zorder=4)


def _below(axes, x, base, name, size):
    axes.text(x, base - 0.25, name, ha="center", va="center", fontsize=11)
    axes.text(x, base - 0.48, size, ha="center", va="center", fontsize=9.5, color=LOSS)


def _circle(axes, place, radius, fill, text):
    axes.add_patch(Circle(place, radius, facecolor=fill, edgecolor=INK, linewidth=LINE, zorder=2))
    axes.text(*place, text, ha="center", va="center", fontsize=13, zorder=3)


def _towards(start, end, distance):
    """Return the point at this distance from start on the way to end."""
    start, end = np.array(start), np.array(end)
    return start + distance * (end - start) / np.linalg.norm(end - start)
