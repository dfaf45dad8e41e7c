"""How the numbers of a convolution are computed.

    N C H W  |  K kernels  KH KW kernel height, width  |  OH OW output  |  G groups
"""

import numpy as np

from tinynet.trace.explanation import added_up, explanation, host, pick, span, windows_with


def y(step, index):
    """Explain an activation: it comes from one window, all its channels, and one kernel."""
    n, o, i, j = index
    layer, (image,) = step.layer, host(step.x[n])
    w, b = host(*(layer.params[key][o] for key in "wb"))
    CG, KH, KW = w.shape
    channel = o // (layer.K // layer.groups) * CG                         # the first it sees
    top, left = i * layer.stride[0] - layer.pad[0], j * layer.stride[1] - layer.pad[1]
    start = channel, top, left
    places = [np.arange(first, first + size) for first, size in zip(start, w.shape)]
    x, inside = pick(image, *places)
    products = x * w                                                      # (C/G, KH, KW)
    where = (f"kernel {o} over {span('channel', channel, CG)}, {span('row', top, KH)}, "
             f"{span('column', left, KW)} of x[{n}]")
    if not inside.all():
        outside = np.sum(~inside[0])
        where = f"{where}; {outside} of its {KH * KW} pixels lie past the edge and are 0"
    sources = {"x": ("x", (n, *np.ix_(*places))),
               "w": ("w", (o, *np.ix_(*map(np.arange, w.shape)))),
               f"bias b[{o}]": ("b", (o,))}
    return explanation(where, ("channel", "row", "column"), start,
                       {"x": x, "w": w, "product": products},
                       [added_up(products), (f"bias b[{o}]", b),
                        ("y = sum + bias", products.sum() + b)], sources, inside=inside)


def dw(step, index):
    """Explain the gradient of a weight, which is multiplied by one pixel in every window."""
    o, c, u, v = index
    layer = step.layer
    CG = layer.params["w"].shape[1]
    channel = o // (layer.K // layer.groups) * CG + c
    x, dy = host(step.x[:, channel], step.dy[:, o])
    N, OH, OW = dy.shape
    rows = np.arange(OH) * layer.stride[0] + u - layer.pad[0]             # the pixel at this weight
    columns = np.arange(OW) * layer.stride[1] + v - layer.pad[1]          # in each window
    seen, inside = pick(x, np.arange(N), rows, columns)                   # (N, OH, OW)
    products = dy * seen
    where = (f"w[{o}, {c}, {u}, {v}] met channel {channel} of x in every one of {OH} x {OW} windows"
             + (f" of {N} pictures" if N > 1 else ""))
    n, down, across = np.ix_(*map(np.arange, dy.shape))
    sources = {"dy": ("dy", (n, o, down, across)),
               "x": ("x", (n, channel, *np.ix_([0], rows, columns)[1:]))}
    return explanation(where, ("image", "i", "j"), (0, 0, 0),
                       {"dy": dy, "x": seen, "product": products}, [added_up(products)], sources,
                       inside=inside)


def db(step, index):
    """Explain the gradient of a bias, which is added to a whole map."""
    o, = index
    dy, = host(step.dy[:, o])
    n, down, across = np.ix_(*map(np.arange, dy.shape))
    return explanation(f"b[{o}] was added to every activation of map {o}", ("image", "i", "j"),
                       (0, 0, 0), {"dy": dy}, [added_up(dy, "gradients")],
                       {"dy": ("dy", (n, o, down, across))})


def dx(step, index):
    """Explain the gradient of a pixel, which some windows see, with all kernels of its group."""
    n, channel, row, column = index
    layer, w, dy = step.layer, step.layer.params["w"], step.dy[n]
    K, CG, KH, KW = w.shape
    KG = K // layer.groups
    q, c = divmod(channel, CG)
    kernels = np.arange(q * KG, (q + 1) * KG)                             # the group's kernels
    i = windows_with(row + layer.pad[0], KH, layer.stride[0], dy.shape[1])
    j = windows_with(column + layer.pad[1], KW, layer.stride[1], dy.shape[2])
    u = row + layer.pad[0] - i * layer.stride[0]
    v = column + layer.pad[1] - j * layer.stride[1]
    w, dy = host(w[q * KG:(q + 1) * KG, c], dy[q * KG:(q + 1) * KG])
    above, under = dy[:, i[:, None], j], w[:, u[:, None], v]
    products = above * under                                              # (K/G, down, across)
    where = (f"{len(i)} x {len(j)} windows saw this pixel, each of them with "
             f"{span('kernel', q * KG, KG)}" if products.size else "no window saw this pixel")
    start = q * KG, *(int(a[0]) if a.size else 0 for a in (i, j))
    sources = {"dy": ("dy", (n, *np.ix_(kernels, i, j))),
               "w": ("w", (kernels[:, None, None], c, u[:, None], v))}
    return explanation(where, ("kernel", "i", "j"), start,
                       {"dy": above, "w": under, "product": products}, [added_up(products)],
                       sources)
