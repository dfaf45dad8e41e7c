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
tiles and all channels at once.

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

An inf or NaN spreads over all tiles that one product transforms: up to BAND_TILES tiles of a row,
and twice as many where it lies in two of these bands. To compute all layers without Winograd's
method, set TILES = {}; to compute only 5x5 kernels without it, remove the key 5.
"""

import functools
import math

import numpy as np

from tinynet.cpu.memory import empty, scratch
from tinynet.cpu.parallel import (
    MOST_SHARES,
    SMALL_PRODUCT,
    chunks,
    divisor,
    for_each,
    shares,
    sum_in_order,
)
from tinynet.shapes import ceil_div, pair

TILES = {3: 3, 5: 3}   # kernel size: outputs of a tile, down and across
LEAST_CHANNELS = 32    # of a group, in and out; with fewer, the transforms cost more than they save
LEAST_IMAGES = 4       # with fewer, transforming the kernels costs more than it saves
SHARE_IMAGES = 8       # of a share, at least: adding up dU of many shares takes long
SHARE_BYTES = 1 << 21  # of B^T d B of a share, if there are more than LEAST_SHARES: with less,
LEAST_SHARES = 8       # threads wait for each other
PIECE_BYTES = 1 << 23  # of B^T d B of a piece, at most
LEAST_PIECES = 2       # and shares, so that a second core has work
BAND_TILES = 10        # of a row that one product transforms
SMALL_KERNELS = 10_000  # kernels times channels of a group; up to here small products are faster
POINTS = (0, 1, -1, 2, -2, 0.5, -0.5)
ONE = POINTS.index(1)  # at this point, the value of a polynomial is the sum of its coefficients


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
    (N, K), (S, _) = y_shape[:2], pair(stride)
    w = _kernels_of_blocks(w, S)
    m, r = TILES[w.shape[2]], w.shape[2]
    A, G, B = matrices(m, r, x.dtype)
    by_group = _kernels_by_group(w, groups)                               # (G, K/G, C/G, r*r)
    U = _transformed_kernels(by_group.swapaxes(1, 2), G)                  # (t, t, G, C/G, K/G)
    inputs, outputs = _Tiling(x.shape, y_shape, m, B, S, pad), _Tiling(y_shape, y_shape, m, A.T)
    y = empty(y_shape, x.dtype)

    def work(images):
        V = inputs.spread(x[images], "V")                                 # (t, t, M, TH, TW, C)
        products = scratch("products", (*V.shape[:5], K), x.dtype)        # (t, t, M, TH, TW, K)
        _multiply(V, U, products)
        products[ONE, ONE] += b  # adds b to all outputs of a tile: row ONE of A is all ones
        outputs.gather(products, y[images])

    for_each(work, _pieces(slice(0, N), w, y_shape, groups, LEAST_PIECES))
    return y


def backward(dy, x, w, stride, pad, groups, need_dx):
    """Compute conv2d_backward: the transposed steps of forward, from last to first."""
    (N, K), (S, _), w_shape = dy.shape[:2], pair(stride), w.shape
    w = _kernels_of_blocks(w, S)
    m, r = TILES[w.shape[2]], w.shape[2]
    A, G, B = matrices(m, r, x.dtype)
    U = _transformed_kernels(_kernels_by_group(w, groups), G)             # (t, t, G, K/G, C/G)
    inputs, outputs = _Tiling(x.shape, dy.shape, m, B, S, pad), _Tiling(dy.shape, dy.shape, m, A.T)
    dx = empty(x.shape, x.dtype) if need_dx else None

    def work(share):
        dU, db = empty(U.shape, x.dtype), np.zeros(K, x.dtype)
        for images in _pieces(share, w, dy.shape, groups):
            V = inputs.spread(x[images], "V")                             # (t, t, M, TH, TW, C)
            dproducts = outputs.spread(dy[images], "products")            # (t, t, M, TH, TW, K)
            db += dproducts[ONE, ONE].reshape(-1, K).sum(axis=0)
            first = images.start == share.start
            product = dU if first else scratch("dU", U.shape, x.dtype)    # (t, t, G, K/G, C/G)
            np.matmul(_by_group(dproducts, groups).swapaxes(4, 5), _by_group(V, groups),
                      out=product[:, :, :, None])
            if not first:
                dU += product
            if need_dx:
                _multiply(dproducts, U, V)  # dV; V itself is no longer needed
                inputs.gather(V, dx[images])
        return [dU, db]

    most = max(LEAST_SHARES, N * _bytes_each(w, dy.shape, groups) // SHARE_BYTES)
    count = min(MOST_SHARES, max(LEAST_PIECES, N // SHARE_IMAGES), most)
    dU, db = sum_in_order(work, shares(N, count))
    return dx, _kernels_of_pixels(_kernels_gradient(dU, G, w.shape), w_shape), db


class _Tiling:
    """Cut images into tiles of size x size pixels, m pixels apart, and put them together again.

    Across, one product transforms the tiles of a row: the matrix is repeated in a band. With more
    than BAND_TILES tiles, it would have too many zeros. OpenBLAS takes transposed factors, so the
    same product turns channels first, as in x, into channels last, as the big products need them.

    Args     x_shape (N, C, H, W): of the images; pixels outside are zero;
             y_shape (N, K, OH, OW): there is a tile for every m x m outputs;
             matrix (size, t): a tile d becomes matrix^T d matrix, which is t x t numbers;
             S, pad: with a stride S above 1, pixels are blocks of S x S pixels, and C counts the
             pixels of all channels of a block
    """

    def __init__(self, x_shape, y_shape, m, matrix, S=1, pad=0):
        size, (TH, TW) = len(matrix), (ceil_div(length, m) for length in y_shape[2:])
        self.matrix, self.m, self.tiles, self.S, self.pad = matrix, m, (TH, TW), S, pad
        self.covered = (TH - 1) * m + size, (TW - 1) * m + size  # by all tiles: height and width
        if S == 1:
            W, (self.top, left) = x_shape[3], pair(pad)
        else:
            W, self.top, left = self.covered[1], 0, 0  # _blocks adds the padding
        self.to_tiles, self.to_pixels = [], []  # (tiles, pixels, the matrix from one to the other)
        for tiles in shares(TW, ceil_div(TW, BAND_TILES)):
            first, last = max(0, tiles.start * m - left), (tiles.stop - 1) * m + size - left
            pixels = slice(first, max(first, min(W, last)))
            self.to_tiles.append((tiles, pixels, _band(matrix, m, left, tiles, pixels)))
        for pixels in shares(W, ceil_div(W, BAND_TILES * m)):
            first, last = (pixels.start + left - size) // m + 1, (pixels.stop - 1 + left) // m
            tiles = slice(max(0, first), min(TW, last + 1))
            self.to_pixels.append((tiles, pixels, _band(matrix, m, left, tiles, pixels).T))

    def spread(self, x, name):
        """Return matrix^T d matrix for every tile d of x (M, C, H, W): (t, t, M, TH, TW, C).

        It is scratch memory of this name. First across, then down.
        """
        if self.S == 1:
            pixels = x.transpose(0, 2, 3, 1)                              # (M, H, W, C)
        else:
            pixels = _blocks(x, self.S, self.pad, *self.covered)
        (M, H, _, C), (size, t), (TH, TW) = pixels.shape, self.matrix.shape, self.tiles
        spread = scratch(name, (t, t, M, TH, TW, C), x.dtype)
        for some, reach, band in self.to_tiles:
            n = some.stop - some.start
            rows = scratch("rows", (M, self.covered[0], t * n, C), x.dtype)
            rows[:, :self.top], rows[:, self.top + H:] = 0, 0
            np.matmul(band, pixels[:, :, reach], out=rows[:, self.top:self.top + H])
            down = _windows(rows.reshape(M, -1, t, n * C), size, self.m)  # (M, TH, size, t, n*C)
            np.matmul(self.matrix.T, down.swapaxes(2, 3), out=_down(spread, some))
        return spread

    def gather(self, tiles, x):
        """Write matrix d matrix^T for every tile d, summed where tiles overlap, to x (M, C, H, W).

        This is the transpose of spread, from tiles (t, t, M, TH, TW, C): first down, then across.
        """
        (t, _, M, TH, _, C), size, m = tiles.shape, len(self.matrix), self.m
        if self.S == 1:
            pixels = x.transpose(0, 2, 3, 1)                              # (M, H, W, C)
        else:
            pixels = scratch("blocks", (M, *self.covered, C), x.dtype)
        H = pixels.shape[1]
        for some, reach, band in self.to_pixels:
            n = some.stop - some.start
            products = scratch("overlapping", (M, TH, size, t, n * C), x.dtype)
            np.matmul(self.matrix, _down(tiles, some), out=products.swapaxes(2, 3))
            rows = products if size == m else _overlapped(products, m)
            rows = rows.reshape(M, -1, t * n, C)[:, self.top:self.top + H]
            np.matmul(band, rows, out=pixels[:, :, reach])
        if self.S > 1:
            _copy_pixels(pixels, self.S, self.pad, x)


def _band(matrix, m, left, tiles, pixels):
    """Return matrix^T for each of these tiles of a row, at the place of its pixels: (t*n, pixels).

    Tile 0 begins `left` pixels before pixel 0. What lies outside these pixels is left out.
    """
    (size, t), n, W = matrix.shape, tiles.stop - tiles.start, pixels.stop - pixels.start
    band = np.zeros((t, n, W), matrix.dtype)
    for i in range(n):
        first = (tiles.start + i) * m - left - pixels.start
        inside = slice(max(0, first), max(0, first + size))
        rows = matrix[max(0, -first):max(0, W - first)]
        band[:, i, inside] = rows.T
    return band.reshape(t * n, W)


def _down(tiles, some):
    """Return some tiles of each row of (t, t, M, TH, TW, C) as (M, TH, t, t, n*C), a view.

    In the result the first t counts across and the second one down, so that a matrix on the left
    acts down.
    """
    t, _, M, TH, _, C = tiles.shape
    return tiles[..., some, :].reshape(t, t, M, TH, -1).transpose(2, 3, 1, 0, 4)


def _overlapped(tiles, m):
    """Add up tiles of size pixels that are m pixels apart, in scratch memory.

    (M, TH, size, ...) -> (M, TH - 1 + ceil(size / m), m, ...). The last rows may be in no tile. The
    first m pixels of all tiles do not overlap, nor do the next m.
    """
    M, TH, size, *rest = tiles.shape
    total = scratch("rows", (M, TH - 1 + ceil_div(size, m), m, *rest), tiles.dtype)
    total[:, :TH], total[:, TH:] = tiles[:, :, :m], 0
    for i in range(m, size, m):
        some = tiles[:, :, i:i + m]
        total[:, i // m:i // m + TH, :some.shape[2]] += some
    return total


def _windows(rows, size, step):
    """Return all windows of `size` rows: (M, H, ...) -> (M, count, size, ...), a view.

    It is what NumPy's sliding_window_view makes in 30 microseconds, in which other threads wait.
    """
    M, H, *rest = rows.shape
    stride, *others = rows.strides[1:]
    return np.ndarray((M, (H - size) // step + 1, size, *rest), rows.dtype, rows,
                      strides=(rows.strides[0], step * stride, stride, *others))


def _multiply(tiles, U, out):
    """Multiply tiles (t, t, M, TH, TW, X) by U (t, t, G, X/G, Y/G), into out (t, t, M, TH, TW, Y).

    If U is small, the tiles are cut into parts, so that OpenBLAS need not copy the factors of any
    product.
    """
    (groups, X, Y), parts = U.shape[2:], 1
    if X * Y <= SMALL_KERNELS:
        count = math.prod(tiles.shape[2:5])
        parts = count // divisor(count, SMALL_PRODUCT // (X * Y))
    np.matmul(_by_group(tiles, groups, parts), U[:, :, :, None], out=_by_group(out, groups, parts))


def _by_group(a, groups, parts=1):
    """Return (t, t, M, TH, TW, C) as (t, t, G, parts, M*TH*TW/parts, C/G), a view."""
    t, _, M, TH, TW, C = a.shape
    by_pixel = a.reshape(t, t, parts, M * TH * TW // parts, groups, C // groups)
    return by_pixel.transpose(0, 1, 4, 2, 3, 5)


def _kernels_by_group(w, groups):
    """Return w (K, C/G, r, r) as (G, K/G, C/G, r*r), a view."""
    K, CG, r, _ = w.shape
    return w.reshape(groups, K // groups, CG, r * r)


def _transformed_kernels(w, G):
    """Return G g G^T for every kernel g of w (groups, X, Y, r*r): (t, t, groups, X, Y).

    The Kronecker product of G with itself does both directions in one matrix product.
    """
    groups, X, Y, _ = w.shape
    U, GG = empty((len(G) ** 2, groups, X, Y), w.dtype), np.kron(G, G)    # GG (t*t, r*r)

    def work(piece):
        np.matmul(GG, w[:, piece].swapaxes(2, 3), out=U[:, :, piece].transpose(1, 2, 0, 3))

    for_each(work, shares(X, LEAST_SHARES))
    return U.reshape(len(G), len(G), groups, X, Y)


def _kernels_gradient(dU, G, w_shape):
    """Return dw (K, C/G, r, r): G^T dU G, the transpose of _transformed_kernels."""
    (K, CG, r, _), GG = w_shape, np.kron(G, G)                            # (t*t, r*r)
    dU, dw = dU.reshape(-1, K * CG), empty((K * CG, r * r), dU.dtype)

    def work(piece):
        np.matmul(dU[:, piece].T, GG, out=dw[piece])

    for_each(work, shares(K * CG, LEAST_SHARES))
    return dw.reshape(w_shape)


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


def _blocks(x, S, pad, height, width):
    """Return the blocks of S x S pixels of x: (M, height, width, C*S*S), in scratch memory.

    The S pixels of a row of a block are copied as one number of S times as many bytes.
    """
    (M, C, H, W), (PH, PW) = x.shape, pair(pad)
    pixels = scratch("pixels", (M, C, height * S, width * S), x.dtype)
    pixels[...] = 0
    inside = pixels[:, :, PH:PH + H, PW:PW + W]
    inside[...] = x[:, :, :inside.shape[2], :inside.shape[3]]  # the last ones may be in no window
    blocks = scratch("blocks", (M, height, width, C * S * S), x.dtype)
    rows = pixels.view(f"V{S * x.itemsize}").reshape(M, C, height, S, width)
    blocks.view(rows.dtype).reshape(M, height, width, C, S)[...] = rows.transpose(0, 2, 4, 1, 3)
    return blocks


def _copy_pixels(blocks, S, pad, x):
    """Copy blocks (M, height, width, C*S*S) to the pixels of x (M, C, H, W), as _blocks found them.

    Pixels of x that are in no block become 0.
    """
    (M, height, width, _), (_, C, H, W), (PH, PW) = blocks.shape, x.shape, pair(pad)
    pixels = scratch("pixels", (M, C, height * S, width * S), x.dtype)
    rows = pixels.view(f"V{S * x.itemsize}").reshape(M, C, height, S, width)
    rows.transpose(0, 2, 4, 1, 3)[...] = blocks.view(rows.dtype).reshape(M, height, width, C, S)
    inside = pixels[:, :, PH:PH + H, PW:PW + W]
    x[...] = 0
    x[:, :, :inside.shape[2], :inside.shape[3]] = inside


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
