"""Winograd's convolution: 3 x 3 outputs of a 3x3 kernel from 25 multiplications instead of 81.

    N images  C channels  |  K kernels  |  G groups  |  TH TW tiles down and across
    M images of a piece  |  m outputs and t = m + r - 1 pixels of a tile, r weights of a kernel,
    each in one direction

In one dimension, the two outputs of a kernel g of 3 weights over 4 pixels d are

    y0 = d0 g0 + d1 g1 + d2 g2                m0 = (d2 - d0) (-g0)           y0 = m0 + m1 + m2
    y1 = d1 g0 + d2 g1 + d3 g2                m1 = (d1 + d2) (g0+g1+g2)/2    y1 =      m1 - m2 + m3
                                              m2 = (d2 - d1) (g0-g1+g2)/2
    6 multiplications                         m3 = (d3 - d1) g2              4 multiplications

which is y = A^T [(G g) * (B^T d)] with three small matrices (Winograd 1980; for neural networks
Lavin and Gray 2015). In two dimensions it is done down and across:
Y = A^T [(G g G^T) * (B^T d B)] A. The product * multiplies element by element. With many channels
and kernels, each of the t x t elements becomes a matrix product, of kernels and channels, over all
tiles of some images. The products with A, G and B cost little, because each is computed for many
tiles at once, with the channels last, next to each other in memory.

The gradients are computed with the same matrices, transposed and in reverse order. Where the tiles
of the input overlap, their gradients are added.

With a stride of S, blocks of S x S pixels become one pixel of S*S times as many channels, and the
kernel is enlarged with zeros to whole blocks. So conv1, with 11x11 kernels, 3 channels and a stride
of 4, is a convolution of stride 1 with 3x3 kernels and 48 channels.

Larger tiles save more multiplications but have larger rounding errors: their points 2 and 1/2 lead
to large and small numbers that cancel. Relative errors in float32, measured on AlexNet's layers
against float64 (tests/test_cpu.py checks such bounds):

                                     y         dx         dw         multiplications per output
    direct sum                       3e-7      4e-7       3e-7       9 or 25
    2 x 2 tiles of a 3x3 kernel      5e-7      6e-7       6e-7       4
    3 x 3 tiles of a 3x3 kernel      2e-6      2e-6       2e-6       2.8
    4 x 4 tiles of a 3x3 kernel      3e-6      4e-6       4e-6       2.3
    3 x 3 tiles of a 5x5 kernel      3e-6      4e-6       4e-6       5.4

An inf or NaN in x spreads over its whole tile. To compute all layers without Winograd's method, set
TILES = {}; to compute only 5x5 kernels without it, remove the key 5.
"""

import functools
import math

import numpy as np

from tinynet.cpu.memory import empty, scratch
from tinynet.cpu.parallel import MOST_SHARES, chunks, for_each, shares, sum_in_order
from tinynet.shapes import ceil_div, pair

TILES = {3: 3, 5: 3}   # kernel size: outputs of a tile, down and across
LEAST_CHANNELS = 32    # of a group, in and out; with fewer, the transforms cost more than they save
LEAST_IMAGES = 4       # with fewer, transforming the kernels costs more than it saves
SHARE_IMAGES = 8       # of a share, at least: adding up dU of many shares takes long
SHARE_BYTES = 1 << 21  # of B^T d B of a share, if there are more than LEAST_SHARES: with less,
LEAST_SHARES = 8       # threads wait for each other
PIECE_BYTES = 1 << 23  # of B^T d B of a piece, at most
LEAST_PIECES = 2       # and shares, so that a second core has work
MAPS, ROWS = 48, 4     # that are copied at a time, to channels last and to channels first
POINTS = (0, 1, -1, 2, -2, 0.5, -0.5)


def pays(x, w, y_shape, stride):
    """Return whether Winograd's method is faster than columns for these arrays.

    It is for square kernels of a size in TILES, counted in blocks of stride x stride pixels, with
    enough channels and enough images.
    """
    (K, CG, KH, KW), (SH, SW) = w.shape, pair(stride)
    return (KH == KW and SH == SW and ceil_div(KH, SH) in TILES and x.shape[0] >= LEAST_IMAGES
            and CG * SH * SW >= LEAST_CHANNELS and K * CG // x.shape[1] >= LEAST_CHANNELS)


@functools.cache
def matrices(m, r, dtype):
    """Return Winograd's matrices for m outputs of a kernel of r weights.

    Toom and Cook multiply two polynomials of degrees m - 1 and r - 1 by evaluating both at
    m + r - 1 points, one of them infinity, and interpolating. Convolution with a kernel is the
    transpose of that multiplication.

    Returns  A (m + r - 1, m), G (m + r - 1, r), B (m + r - 1, m + r - 1)
    """
    points = POINTS[:m + r - 2]
    A = np.array([[p**i for i in range(m)] for p in points] + [[0.0] * (m - 1) + [1.0]])
    G = np.array([[p**j for j in range(r)] for p in points] + [[0.0] * (r - 1) + [1.0]])
    B = np.zeros((m + r - 1, m + r - 1))
    for k, p in enumerate(points):
        others = [q for q in points if q != p]
        B[:-1, k] = np.poly(others)[::-1]                                 # 0 at all other points
        G[k] /= np.prod([p - q for q in others])
    B[:, -1] = np.poly(points)[::-1]
    return A.astype(dtype), G.astype(dtype), B.astype(dtype)


def forward(x, w, b, stride, pad, groups, y_shape):
    """Compute conv2d_forward."""
    (N, K, OH, OW), (S, _) = y_shape, pair(stride)
    w = _kernels_of_blocks(w, S)
    m, r = TILES[w.shape[2]], w.shape[2]
    A, G, B = matrices(m, r, x.dtype)
    U = _transformed_kernels(w, G, groups)                                # (t*t, G, K/G, C/G)
    y = empty(y_shape, x.dtype)

    def work(images):
        V = _transformed_images(x[images], B, S, pad, y_shape, m)         # (t, t, M, TH, TW, C)
        products = scratch("products", (*V.shape[:5], K), x.dtype)        # (t, t, M, TH, TW, K)
        np.matmul(_by_group(V, groups), U.swapaxes(2, 3), out=_by_group(products, groups))
        outputs = _gathered(products, A)[:, :OH, :OW]                     # (M, OH, OW, K)
        outputs += b
        _copy_channels_first(outputs, y[images])                          # (M, K, OH, OW)

    for_each(work, _pieces(slice(0, N), w, y_shape, groups, LEAST_PIECES))
    return y


def backward(dy, x, w, stride, pad, groups, need_dx):
    """Compute conv2d_backward: the transposed steps of forward, from last to first."""
    (N, K), (S, _), w_shape = dy.shape[:2], pair(stride), w.shape
    w = _kernels_of_blocks(w, S)
    m, r = TILES[w.shape[2]], w.shape[2]
    A, G, B = matrices(m, r, x.dtype)
    U = _transformed_kernels(w, G, groups)                                # (t*t, G, K/G, C/G)
    dx = empty(x.shape, x.dtype) if need_dx else None

    def work(share):
        dU, db = empty(U.shape, x.dtype), np.zeros(K, x.dtype)
        for images in _pieces(share, w, dy.shape, groups):
            V = _transformed_images(x[images], B, S, pad, dy.shape, m)    # (t, t, M, TH, TW, C)
            M, TH, TW = V.shape[2:5]
            outputs = _padded(dy[images], (0, 0), TH * m, TW * m)         # (M, TH*m, TW*m, K)
            db += outputs.reshape(-1, K).sum(axis=0)
            dproducts = _spread(outputs, A.T, m, "products")              # (t, t, M, TH, TW, K)
            dproducts_by_group, V_by_group = _by_group(dproducts, groups), _by_group(V, groups)
            first = images.start == share.start
            product = dU if first else scratch("dU", U.shape, x.dtype)    # (t*t, G, K/G, C/G)
            np.matmul(dproducts_by_group.swapaxes(2, 3), V_by_group, out=product)
            if not first:
                dU += product
            if need_dx:
                # V is no longer needed: its memory takes the gradient with respect to V.
                np.matmul(dproducts_by_group, U, out=V_by_group)          # (t*t, G, M*TH*TW, C/G)
                _copy_pixels(_added_up(V, B, m), S, pad, dx[images])      # (M, C, H, W)
        return [dU, db]

    most = max(LEAST_SHARES, N * _bytes_each(w, dy.shape, groups) // SHARE_BYTES)
    count = min(MOST_SHARES, max(LEAST_PIECES, N // SHARE_IMAGES), most)
    dU, db = sum_in_order(work, shares(N, count))
    return dx, _kernels_of_pixels(_kernels_gradient(dU, G, w.shape), w_shape), db


def _transformed_kernels(w, G, groups):
    """Return G g G^T for every kernel g: (t*t, G, K/G, C/G).

    The Kronecker product of G with itself does both directions in one matrix product.
    """
    K, CG, r, _ = w.shape
    U, w = empty((len(G) ** 2, K * CG), w.dtype), w.reshape(K * CG, r * r)
    GG = np.kron(G, G)                                                    # (t*t, r*r)

    def work(piece):
        np.matmul(GG, w[piece].T, out=U[:, piece])

    for_each(work, shares(K * CG, LEAST_SHARES))
    return U.reshape(-1, groups, K // groups, CG)


def _kernels_gradient(dU, G, w_shape):
    """Return dw (K, C/G, r, r): G^T dU G, the transpose of _transformed_kernels."""
    (K, CG, r, _), GG = w_shape, np.kron(G, G)                            # (t*t, r*r)
    dU, dw = dU.reshape(-1, K * CG), empty((K * CG, r * r), dU.dtype)

    def work(piece):
        np.matmul(dU[:, piece].T, GG, out=dw[piece])

    for_each(work, shares(K * CG, LEAST_SHARES))
    return dw.reshape(w_shape)


def _transformed_images(x, B, S, pad, y_shape, m):
    """Return B^T d B for every tile d of x (M, C, H, W): (t, t, M, TH, TW, C), in scratch memory.

    The tiles are t x t pixels and m pixels apart, so they overlap. With a stride S above 1, pixels
    are blocks, and C counts the pixels of all channels of a block.
    """
    TH, TW = ceil_div(y_shape[2], m), ceil_div(y_shape[3], m)
    height, width = TH * m + len(B) - m, TW * m + len(B) - m
    padded = _padded(x, pair(pad), height, width) if S == 1 else _blocks(x, S, pad, height, width)
    return _spread(padded, B, m, "V")


def _padded(x, pad, height, width):
    """Return x (M, C, H, W) as (M, height, width, C), padded with zeros, in scratch memory.

    Some maps at a time are copied: the processor fetches ahead from only a few places at once.
    """
    (M, C, H, W), (PH, PW) = x.shape, pad
    padded = scratch("padded", (M, height, width, C), x.dtype)
    padded[...] = 0
    for some in shares(C, ceil_div(C, MAPS)):
        padded[:, PH:PH + H, PW:PW + W, some] = x[:, some].transpose(0, 2, 3, 1)
    return padded


def _blocks(x, S, pad, height, width):
    """Return the blocks of S x S pixels of x: (M, height, width, C*S*S), in scratch memory.

    The S pixels of a row of a block are copied as one number of S times as many bytes.
    """
    (M, C, H, W), (PH, PW) = x.shape, pair(pad)
    pixels = scratch("pixels", (M, C, height * S, width * S), x.dtype)
    pixels[...] = 0
    inside = pixels[:, :, PH:PH + H, PW:PW + W]
    inside[...] = x[:, :, :inside.shape[2], :inside.shape[3]]  # the last ones may be in no window
    blocks = scratch("padded", (M, height, width, C * S * S), x.dtype)
    rows = pixels.view(f"V{S * x.itemsize}").reshape(M, C, height, S, width)
    blocks.view(rows.dtype).reshape(M, height, width, C, S)[...] = rows.transpose(0, 2, 4, 1, 3)
    return blocks


def _copy_pixels(blocks, S, pad, x):
    """Copy blocks (M, height, width, C*S*S) to the pixels of x (M, C, H, W), as _blocks found them.

    Pixels of x that are in no block become 0.
    """
    (M, height, width, _), (_, C, H, W), (PH, PW) = blocks.shape, x.shape, pair(pad)
    if S == 1:
        return _copy_channels_first(blocks[:, PH:PH + H, PW:PW + W], x)
    pixels = scratch("pixels", (M, C, height * S, width * S), x.dtype)
    rows = pixels.view(f"V{S * x.itemsize}").reshape(M, C, height, S, width)
    rows.transpose(0, 2, 4, 1, 3)[...] = blocks.view(rows.dtype).reshape(M, height, width, C, S)
    inside = pixels[:, :, PH:PH + H, PW:PW + W]
    x[...] = 0
    x[:, :, :inside.shape[2], :inside.shape[3]] = inside


def _copy_channels_first(a, x):
    """Copy a (M, H, W, C) to x (M, C, H, W), a few rows at a time.

    Adjacent numbers of a are channels. The first-level cache keeps 16 channels of a few rows until
    they have all been copied.
    """
    for rows in shares(a.shape[1], ceil_div(a.shape[1], ROWS)):
        x[:, :, rows] = a[:, rows].transpose(0, 3, 1, 2)


def _kernels_of_blocks(w, S):
    """Return kernels (K, C/G, size, size) as kernels of blocks: (K, C/G*S*S, r, r).

    Weights are zero where the last blocks reach past the kernel.
    """
    if S == 1:
        return w
    K, CG, size, _ = w.shape
    r = ceil_div(size, S)
    pixels = np.zeros((K, CG, r * S, r * S), w.dtype)
    pixels[:, :, :size, :size] = w
    blocks = pixels.reshape(K, CG, r, S, r, S).transpose(0, 1, 3, 5, 2, 4)
    return blocks.reshape(K, CG * S * S, r, r)


def _kernels_of_pixels(blocks, w_shape):
    """Return kernels of blocks (K, C/G*S*S, r, r) as kernels of pixels, of shape w_shape."""
    (K, CG, size, _), r = w_shape, blocks.shape[2]
    S = math.isqrt(blocks.shape[1] // CG)
    pixels = blocks.reshape(K, CG, S, S, r, r).transpose(0, 1, 4, 2, 5, 3)
    return np.ascontiguousarray(pixels.reshape(K, CG, r * S, r * S)[:, :, :size, :size])


def _spread(a, matrix, m, name):
    """Return matrix^T d matrix for every window d of a (M, height, width, C), in scratch memory.

    The windows are m pixels apart. The result has the shape (t, t, M, TH, TW, C).
    """
    (M, height, width, C), (size, t) = a.shape, matrix.shape
    TH, TW = (height - size) // m + 1, (width - size) // m + 1
    rows = scratch("rows", (M, TH, t, width, C), a.dtype)
    down = _windows(a.reshape(M, height, width * C), 1, size, m)          # (M, TH, size, width*C)
    np.matmul(matrix.T, down, out=rows.reshape(M, TH, t, width * C))
    spread = scratch(name, (t, t, M, TH, TW, C), a.dtype)
    across = _windows(rows, 3, size, m)                                   # (M, TH, t, TW, size, C)
    np.matmul(matrix.T, across, out=spread.transpose(2, 3, 0, 4, 1, 5))
    return spread


def _windows(a, axis, size, step):
    """Return all windows along an axis, (..., length, ...) -> (..., count, size, ...), a view.

    It is what NumPy's sliding_window_view makes in 30 microseconds, in which other threads wait.
    """
    count = (a.shape[axis] - size) // step + 1
    shape = *a.shape[:axis], count, size, *a.shape[axis + 1:]
    strides = *a.strides[:axis], step * a.strides[axis], *a.strides[axis:]
    return np.ndarray(shape, a.dtype, a, strides=strides)


def _gathered(products, A):
    """Return A^T p A for every tile p, joined into images, in scratch memory.

    (t, t, M, TH, TW, K) -> (M, TH*m, TW*m, K)
    """
    (t, _, M, TH, TW, K), m = products.shape, A.shape[1]
    rows = _times(A.T, products.reshape(t, t * M * TH, TW * K)).reshape(m, t, M, TH, TW, K)
    tiles = scratch("padded", (M, TH, m, TW, m, K), products.dtype)
    np.matmul(A.T, rows.transpose(2, 3, 0, 4, 1, 5), out=tiles)           # (M, TH, m, TW, m, K)
    return tiles.reshape(M, TH * m, TW * m, K)


def _added_up(dV, B, m):
    """Return B d B^T for every tile d, summed where tiles overlap, in scratch memory.

    This is the transpose of _spread: (t, t, M, TH, TW, C) -> (M, height, width, C).
    """
    t, _, M, TH, TW, C = dV.shape
    rows = _times(B, dV.reshape(t, t * M * TH, TW * C))
    down = _overlapped(rows.reshape(t, t * M, TH, TW * C), m, "down")     # (t*M, height, TW*C)
    height = down.shape[1]
    columns = _times(B, down.reshape(t, M * height, TW * C))
    added = _overlapped(columns.reshape(t, M * height, TW, C), m, "padded")
    return added.reshape(M, height, -1, C)                                # (M, height, width, C)


def _times(matrix, a):
    """Return the product of a small matrix (s, t) and a (t, X, Y): (s, X, Y), in scratch memory.

    OpenBLAS copies the factors of a large product into an order of its own. X small products, for
    which it leaves that out, are faster.
    """
    product = scratch("rows", (len(matrix), *a.shape[1:]), a.dtype)
    np.matmul(matrix, a.swapaxes(0, 1), out=product.swapaxes(0, 1))       # X times (s, Y)
    return product


def _overlapped(tiles, m, name):
    """Add up tiles of t pixels that are m pixels apart, in scratch memory.

    (t, A, tiles, B) -> (A, pixels, B): pixels is a multiple of m, and the last may belong to no
    tile. The first m pixels of all tiles do not overlap, nor do the next m.
    """
    t, A, T, B = tiles.shape
    total = scratch(name, (A, T - 1 + ceil_div(t, m), m, B), tiles.dtype)
    pixels = tiles.transpose(1, 2, 0, 3)                                  # (A, tiles, t, B)
    total[:, :T], total[:, T:] = pixels[:, :, :m], 0
    for i in range(m, t, m):
        some = pixels[:, :, i:i + m]                                      # (A, tiles, up to m, B)
        total[:, i // m:i // m + T, :some.shape[2]] += some
    return total.reshape(A, -1, B)


def _by_group(a, groups):
    """Return (t, t, M, TH, TW, C) as (t*t, G, M*TH*TW, C/G), a view."""
    t, _, M, TH, TW, C = a.shape
    return a.reshape(t * t, M * TH * TW, groups, C // groups).swapaxes(1, 2)


def _pieces(images, w, y_shape, groups, least=1):
    """Cut these images into slices whose B^T d B takes at most PIECE_BYTES, or of one image."""
    N, bytes_each = images.stop - images.start, _bytes_each(w, y_shape, groups)
    return [slice(images.start + piece.start, images.start + piece.stop)
            for piece in shares(N, max(least, len(chunks(N, bytes_each, PIECE_BYTES))))]


def _bytes_each(w, y_shape, groups):
    """Return how many bytes B^T d B of an image takes, or the products, if they take more."""
    (K, CG, r, _), m = w.shape, TILES[w.shape[2]]
    tiles = ceil_div(y_shape[2], m) * ceil_div(y_shape[3], m)
    return (m + r - 1) ** 2 * tiles * max(CG * groups, K) * w.itemsize
