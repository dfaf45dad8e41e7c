"""Winograd's convolution: a tile of 2 x 2 outputs of a 3x3 kernel with 16 multiplications instead of 36.

    N images  C channels  |  K kernels  |  G groups  |  TH TW tiles down and across  |  M images of a piece

In one dimension: two outputs of a kernel g of 3 weights, over 4 pixels d, are

    y0 = d0 g0 + d1 g1 + d2 g2                m0 = (d2 - d0) (-g0)           y0 = m0 + m1 + m2
    y1 = d1 g0 + d2 g1 + d3 g2                m1 = (d1 + d2) (g0+g1+g2)/2    y1 =      m1 - m2 + m3
                                              m2 = (d2 - d1) (g0-g1+g2)/2
    6 multiplications                         m3 = (d3 - d1) g2              4 multiplications

or y = A^T [(G g) * (B^T d)] with three small matrices (Winograd 1980; for networks Lavin and Gray 2015). In two
dimensions the same is done down and across: Y = A^T [(G g G^T) * (B^T d B)] A. The product * is pixel by pixel, and
between channels and kernels it is a matrix product: 16 of them, each over all tiles of some images. The products with
A, G and B cost little, since each is over many tiles at once, with the channels last, next to each other in memory.

The gradients go through the same matrices transposed, in reverse order; what was overlapped is added up.

Larger tiles save more and round worse: their points 2 and 1/2 make large and small numbers that cancel. Relative error
in float32, measured on AlexNet's layers against float64 (tests/test_cpu.py holds these bounds):

    direct sum                       y 3e-7    dx 4e-7    dw 3e-7    multiplications per output: 9 or 25
    2 x 2 tiles of a 3x3 kernel      y 5e-7    dx 6e-7    dw 4e-7    4
    3 x 3 tiles of a 5x5 kernel      y 3e-6    dx 4e-6    dw 4e-6    5.4

An inf or NaN in x spreads over its tile. TILES = {} does without, for all kernels; without 5, for 5x5 kernels.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tinynet.cpu.memory import empty, scratch
from tinynet.cpu.parallel import MOST_SHARES, chunks, for_each, shares, sum_in_order
from tinynet.shapes import pair

TILES = {3: 2, 5: 3}   # kernel size: outputs of a tile, down and across
LEAST_CHANNELS = 32    # of a group, in and out: below, the transforms cost more than they save
LEAST_IMAGES = 4       # below, so does that of the kernels
SHARE_IMAGES = 4       # whose dU is added up at a time
PIECE_BYTES = 1 << 23  # of B^T d B
POINTS = (0, 1, -1, 2, -2, 0.5, -0.5)


def pays(x, w, y_shape, stride):
    """Whether this is faster than columns: square kernels moved by 1, wide enough, over enough images."""
    K, CG, KH, KW = w.shape
    return (KH == KW and KH in TILES and pair(stride) == (1, 1) and x.shape[0] >= LEAST_IMAGES
            and CG >= LEAST_CHANNELS and K * CG // x.shape[1] >= LEAST_CHANNELS)


def matrices(m, r, dtype):
    """A (m + r - 1, m), G (m + r - 1, r), B (m + r - 1, m + r - 1) for m outputs of r weights.

    Two polynomials of degrees m - 1 and r - 1 are multiplied by evaluating both at m + r - 1 points, one of them
    infinity, and interpolating (Toom and Cook). Convolution by a kernel is that multiplication transposed.
    """
    points = POINTS[:m + r - 2]
    A = np.array([[p**i for i in range(m)] for p in points] + [[0.0] * (m - 1) + [1.0]])
    G = np.array([[p**j for j in range(r)] for p in points] + [[0.0] * (r - 1) + [1.0]])
    B = np.zeros((m + r - 1, m + r - 1))
    for k, p in enumerate(points):
        others = [q for q in points if q != p]
        B[:-1, k] = np.poly(others)[::-1]                                 # zero at all other points
        G[k] /= np.prod([p - q for q in others])
    B[:, -1] = np.poly(points)[::-1]
    return A.astype(dtype), G.astype(dtype), B.astype(dtype)


def forward(x, w, b, pad, groups, y_shape):
    """conv2d_forward with stride 1."""
    (N, K, OH, OW), m, r = y_shape, TILES[w.shape[2]], w.shape[2]
    A, G, B = matrices(m, r, x.dtype)
    U = _transformed_kernels(w, G, groups)                                # (t*t, G, K/G, C/G), t = m + r - 1
    y = empty(y_shape, x.dtype)

    def work(images):
        V = _transformed_images(x[images], B, pad, y_shape, m)            # (t, t, M, TH, TW, C)
        products = scratch("products", (*V.shape[:5], K), x.dtype)        # (t, t, M, TH, TW, K)
        np.matmul(_by_group(V, groups), U.swapaxes(2, 3), out=_by_group(products, groups))
        outputs = _gathered(products, A)[:, :OH, :OW]                     # (M, OH, OW, K)
        outputs += b
        y[images] = outputs.transpose(0, 3, 1, 2)                         # (M, K, OH, OW)

    for_each(work, _pieces(slice(0, N), x, y_shape, m, r))
    return y


def backward(dy, x, w, pad, groups, need_dx):
    """conv2d_backward with stride 1: forward's steps transposed, last to first."""
    (N, K), m, r, (PH, PW) = dy.shape[:2], TILES[w.shape[2]], w.shape[2], pair(pad)
    A, G, B = matrices(m, r, x.dtype)
    U = _transformed_kernels(w, G, groups)                                # (t*t, G, K/G, C/G)
    dx = empty(x.shape, x.dtype) if need_dx else None

    def work(share):
        dU, db = np.zeros(U.shape, x.dtype), np.zeros(K, x.dtype)
        product = scratch("dU", U.shape, x.dtype)
        for images in _pieces(share, x, dy.shape, m, r):
            V = _transformed_images(x[images], B, pad, dy.shape, m)       # (t, t, M, TH, TW, C)
            M, TH, TW = V.shape[2:5]
            outputs = _padded(dy[images], (0, 0), TH * m, TW * m)         # (M, TH*m, TW*m, K)
            db += outputs.reshape(-1, K).sum(axis=0)
            dproducts = _spread(outputs, A.T, m, "products")              # (t, t, M, TH, TW, K)
            dproducts_by_group, V_by_group = _by_group(dproducts, groups), _by_group(V, groups)
            np.matmul(dproducts_by_group.swapaxes(2, 3), V_by_group, out=product)
            dU += product                                                 # (t*t, G, K/G, C/G)
            if need_dx:
                np.matmul(dproducts_by_group, U, out=V_by_group)          # (t*t, G, M*TH*TW, C/G); V has served
                seen = _added_up(V, B, m)[:, PH:PH + x.shape[2], PW:PW + x.shape[3]]    # (M, H, W, C)
                dx[images] = seen.transpose(0, 3, 1, 2)
        return [dU, db]

    dU, db = sum_in_order(work, shares(N, min(MOST_SHARES, N // SHARE_IMAGES)))
    return dx, _kernels_gradient(dU, G, w.shape), db


def _transformed_kernels(w, G, groups):
    """G g G^T for every kernel g: (t*t, G, K/G, C/G). Down and across in one product, with the Kronecker product."""
    K, CG, r, _ = w.shape
    U, w, GG = np.empty((len(G) ** 2, K * CG), w.dtype), w.reshape(K * CG, r * r), np.kron(G, G)  # GG (t*t, r*r)
    for_each(lambda piece: np.matmul(GG, w[piece].T, out=U[:, piece]), shares(K * CG))
    return U.reshape(-1, groups, K // groups, CG)


def _kernels_gradient(dU, G, w_shape):
    """The transpose of _transformed_kernels: G^T dU G, (K, C/G, r, r)."""
    (K, CG, r, _), GG = w_shape, np.kron(G, G)                            # (t*t, r*r)
    dU, dw = dU.reshape(-1, K * CG), np.empty((K * CG, r * r), dU.dtype)
    for_each(lambda piece: np.matmul(dU[:, piece].T, GG, out=dw[piece]), shares(K * CG))
    return dw.reshape(w_shape)


def _transformed_images(x, B, pad, y_shape, m):
    """B^T d B for every tile d of x (M, C, H, W), m apart and overlapping: (t, t, M, TH, TW, C), in scratch memory."""
    TH, TW = -(-y_shape[2] // m), -(-y_shape[3] // m)
    return _spread(_padded(x, pair(pad), TH * m + len(B) - m, TW * m + len(B) - m), B, m, "V")


def _padded(x, pad, height, width):
    """x (M, C, H, W) as (M, height, width, C) among zeros, in scratch memory."""
    (M, C, H, W), (PH, PW) = x.shape, pad
    padded = scratch("padded", (M, height, width, C), x.dtype)
    padded[...] = 0
    padded[:, PH:PH + H, PW:PW + W] = x.transpose(0, 2, 3, 1)
    return padded


def _spread(a, matrix, m, name):
    """matrix^T d matrix for every window d of a (M, height, width, C), m apart: (t, t, M, TH, TW, C), in scratch."""
    (M, height, width, C), (size, t) = a.shape, matrix.shape
    TH, TW = (height - size) // m + 1, (width - size) // m + 1
    rows = scratch("rows", (M, TH, t, width, C), a.dtype)
    down = sliding_window_view(a.reshape(M, height, width * C), size, axis=1)[:, ::m].swapaxes(2, 3)
    np.matmul(matrix.T, down, out=rows.reshape(M, TH, t, width * C))
    spread = scratch(name, (t, t, M, TH, TW, C), a.dtype)
    across = sliding_window_view(rows, size, axis=3)[:, :, :, ::m].swapaxes(4, 5)   # (M, TH, t, TW, size, C)
    np.matmul(matrix.T, across, out=spread.transpose(2, 3, 0, 4, 1, 5))
    return spread


def _gathered(products, A):
    """A^T p A for every tile, put together: (t, t, M, TH, TW, K) -> (M, TH*m, TW*m, K), in scratch memory."""
    (t, _, M, TH, TW, K), m = products.shape, A.shape[1]
    rows = scratch("rows", (m, t, M, TH, TW, K), products.dtype)
    np.matmul(A.T, products.reshape(t, -1), out=rows.reshape(m, -1))
    tiles = scratch("padded", (M, TH, m, TW, m, K), products.dtype)
    np.matmul(A.T, rows.transpose(2, 3, 0, 4, 1, 5), out=tiles)           # (M, TH, m, TW, m, K)
    return tiles.reshape(M, TH * m, TW * m, K)


def _added_up(dV, B, m):
    """_spread transposed: B d B^T for every tile, added up where tiles overlap: (M, height, width, C), in scratch."""
    t, _, M, TH, TW, C = dV.shape
    height, width = TH * m + t - m, TW * m + t - m
    tiles = np.matmul(B, dV.reshape(t, -1), out=scratch("rows", (t, dV.size // t), dV.dtype)).reshape(dV.shape)
    down = scratch("down", (t, M, height, TW, C), dV.dtype)
    down[...] = 0
    for i in range(t):
        down[:, :, i:i + TH * m:m] += tiles[i]
    tiles = np.matmul(B, down.reshape(t, -1), out=scratch("rows", (t, down.size // t), dV.dtype)).reshape(down.shape)
    added = scratch("padded", (M, height, width, C), dV.dtype)
    added[...] = 0
    for j in range(t):
        added[:, :, j:j + TW * m:m] += tiles[j]
    return added


def _by_group(a, groups):
    """(t, t, M, TH, TW, C) -> (t*t, G, M*TH*TW, C/G), a view."""
    t, _, M, TH, TW, C = a.shape
    return a.reshape(t * t, M * TH * TW, groups, C // groups).swapaxes(1, 2)


def _pieces(images, x, y_shape, m, r):
    """Slices of these images whose B^T d B takes at most PIECE_BYTES; one image at least."""
    tiles = -(-y_shape[2] // m) * -(-y_shape[3] // m)
    bytes_each = (m + r - 1) ** 2 * tiles * max(x.shape[1], y_shape[1]) * x.dtype.itemsize
    return [slice(images.start + piece.start, images.start + piece.stop)
            for piece in chunks(images.stop - images.start, bytes_each, PIECE_BYTES)]
