"""Where the numbers of a convolution come from.   N C H W  |  K kernels  KH KW  |  OH OW output  |  G groups"""

import numpy as np

from tinynet.trace.explanation import added_up, explanation, host, pick, span, windows_with


def y(step, index):
    """An activation: one window, all its channels, one kernel."""
    n, o, i, j = index
    layer, (image, w, b) = step.layer, host(step.x[n], *(step.layer.params[key] for key in "wb"))
    CG, KH, KW = w.shape[1:]
    channel = o // (w.shape[0] // layer.groups) * CG                      # the first that this kernel sees
    top, left = i * layer.stride[0] - layer.pad[0], j * layer.stride[1] - layer.pad[1]
    start = channel, top, left
    x, inside = pick(image, *(np.arange(first, first + size) for first, size in zip(start, w.shape[1:])))
    products = x * w[o]                                                   # (C/G, KH, KW)
    where = (f"kernel {o} over {span('channel', channel, CG)}, {span('row', top, KH)}, "
             f"{span('column', left, KW)} of x[{n}]")
    if not inside.all():
        where += f"; {np.sum(~inside[0])} of its {KH * KW} pixels lie past the edge and are 0"
    return explanation(where, ("channel", "row", "column"), start, {"x": x, "w": w[o], "product": products},
                       [added_up(products), (f"bias b[{o}]", b[o]), ("y = sum + bias", products.sum() + b[o])],
                       inside=inside)


def dw(step, index):
    """A weight met one pixel in every window."""
    o, c, u, v = index
    layer, (x, dy) = step.layer, host(step.x, step.dy)
    K, CG = layer.params["w"].shape[:2]
    channel = o // (K // layer.groups) * CG + c
    N, _, OH, OW = dy.shape
    rows = np.arange(OH) * layer.stride[0] + u - layer.pad[0]             # the pixel under this weight, per window
    columns = np.arange(OW) * layer.stride[1] + v - layer.pad[1]
    seen, inside = pick(x[:, channel], np.arange(N), rows, columns)       # (N, OH, OW)
    products = dy[:, o] * seen
    where = (f"w[{o}, {c}, {u}, {v}] met channel {channel} of x in every one of {OH} x {OW} windows"
             + (f" of {N} pictures" if N > 1 else ""))
    return explanation(where, ("image", "i", "j"), (0, 0, 0), {"dy": dy[:, o], "x": seen, "product": products},
                       [added_up(products)], inside=inside)


def db(step, index):
    """A bias was added to a whole map."""
    o, = index
    dy, = host(step.dy[:, o])
    return explanation(f"b[{o}] was added to every activation of map {o}", ("image", "i", "j"), (0, 0, 0), {"dy": dy},
                       [added_up(dy, "gradients")])


def dx(step, index):
    """A pixel was seen by some windows, each of them with all kernels of its group."""
    n, channel, row, column = index
    layer, (w, dy) = step.layer, host(step.layer.params["w"], step.dy[n])
    K, CG, KH, KW = w.shape
    KG = K // layer.groups
    q, c = divmod(channel, CG)
    kernels = np.arange(q * KG, (q + 1) * KG)                             # those of the group see this channel
    i = windows_with(row + layer.pad[0], KH, layer.stride[0], dy.shape[1])
    j = windows_with(column + layer.pad[1], KW, layer.stride[1], dy.shape[2])
    u, v = row + layer.pad[0] - i * layer.stride[0], column + layer.pad[1] - j * layer.stride[1]
    above, under = dy[np.ix_(kernels, i, j)], w[np.ix_(kernels, [c], u, v)][:, 0]
    products = above * under                                              # (K/G, windows down, windows across)
    where = (f"{len(i)} x {len(j)} windows saw this pixel, each of them with {span('kernel', q * KG, KG)}"
             if products.size else "no window saw this pixel")
    return explanation(where, ("kernel", "i", "j"), (q * KG, *(int(a[0]) if a.size else 0 for a in (i, j))),
                       {"dy": above, "w": under, "product": products}, [added_up(products)])
