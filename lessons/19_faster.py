# %% [markdown]
# # 19 · Faster (性能优化)
#
# *55 minutes. Before it: 08, convolution; 10, LRN; 11, dropout; 13, the whole network. Beside it: the folders
# `reference`, `ops`, `cpu` and `cuda` of `tinynet`.*
#
# After this lesson you can read one formula on all four rungs (阶), say what each rung saves, count the bytes and the
# multiplications of a layer, and say from these counts whether the layer is limited by memory or by arithmetic.
#
# **In a sentence:** a program becomes fast when the processor does the same operation on many numbers at a time, when
# these numbers are in a fast memory close to it, and when unnecessary work is left out.
#
# There are no times in this lesson, because a time is valid for one machine only. The counts are the same everywhere.
# Times that were measured, on CPU cores and on a GPU, are in [measured](measured/README.md). To measure your own
# machine, run `python examples/benchmark.py`.

# %%
import inspect
import itertools
import re

import numpy as np

import tinynet
from tinynet import cpu, data, exercises, figures, ops, reference, shapes
from tinynet.cpu import parallel, winograd
from tinynet.cuda import kernels

rng = np.random.default_rng(0)
photo = data.load_picture(figures.PHOTO, 227)              # uint8 (3, 227, 227)
net = tinynet.AlexNet("paper", rng=rng)
conv1 = net["conv1"].forward((photo - photo.mean()).astype(np.float32)[None])
x = ops.relu_forward(conv1)                                # (1, 96, 55, 55): the input of the first LRN
paper = {"n": 5, "k": 2, "alpha": 1e-4, "beta": 0.75}

# %% [markdown]
# ## Rung 1: the formula
#
# LRN, with one loop for each index:
#
# $$y_c = x_c \, s_c^{-\beta}, \qquad s_c = k + \alpha \sum_{j \in W(c)} x_j^2$$
#
# This rung is the definition. Every other rung is tested against it:

# %%
print(inspect.getsource(reference.lrn_forward))

# %% [markdown]
# How much does Python do for one number of the result? The next cell counts with a special array: every index, and
# every computation of NumPy, is a step of Python. It also adds up the bytes that NumPy reads and writes.
#
# **Predict** from the loop: how many look-ups in x does one number of y need?

# %%
class Counted(np.ndarray):
    steps = moved = 0

    def __getitem__(self, index):
        Counted.steps += 1
        return super().__getitem__(index)

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        arrays = [a.view(np.ndarray) if isinstance(a, Counted) else a for a in inputs]
        if out:
            options["out"] = tuple(a.view(np.ndarray) for a in out)
        result = getattr(ufunc, method)(*arrays, **options)
        Counted.steps += 1
        Counted.moved += sum(a.nbytes for a in (*arrays, result) if isinstance(a, np.ndarray))
        return result.view(Counted)


def count(function, a):
    """Return function(a), how many steps Python took and how many bytes NumPy moved."""
    Counted.steps = Counted.moved = 0
    y = np.asarray(function(a.copy().view(Counted)))
    return y, Counted.steps, Counted.moved


piece = x[:, :12, 20:26, 20:26]                            # (1, 12, 6, 6)
y, steps, _ = count(lambda a: reference.lrn_forward(a, **paper)[0], piece)
neighbours = sum(min(11, c + 2) - max(0, c - 2) + 1 for c in range(12)) / 12
print(f"{steps / y.size:g} look-ups in x for each number of y, and as many additions and squares, one at a time")
assert steps / y.size == neighbours + 1                    # each neighbour is looked up, and then x itself

# %% [markdown]
# ## Rung 2: whole arrays
#
# All activations have a sum over five neighbours, so it can be computed by four additions of whole arrays, shifted by
# one or two channels, up and down.
#
# **Predict:** how does the number of Python's steps grow with the number of activations?

# %%
print(inspect.getsource(ops.lrn_forward))
print(inspect.getsource(ops.lrn.window_sum))

# %%
whole, steps, moved = count(lambda a: ops.lrn_forward(a, **paper)[0], x)
small, steps_small, _ = count(lambda a: ops.lrn_forward(a, **paper)[0], piece)
print(f"{steps_small} steps of Python for {piece.size} numbers, {steps} for {x.size:,}")
assert np.allclose(small, y, rtol=1e-5)                    # rung 2 agrees with rung 1
assert steps == steps_small < 30                           # the same for 432 numbers and for 290,400

# %% [markdown]
# The steps of Python no longer matter. Now the program waits for memory: each of these operations reads whole arrays
# and writes one. An activation has 4 bytes.
#
# **Predict:** how many bytes must be moved for each activation at least, and how many are moved here?

# %%
moved_each = moved / x.size
print(f"at least 12, to read x and write y and scale; here {moved_each:.0f}")
assert 60 < moved_each < 120

# %% [markdown]
# ## Rung 3: pieces that stay in the cache, and all cores
#
# A core reads its own cache (缓存) many times faster than main memory, but the cache holds only about a megabyte. `cpu`
# computes these sums, with three additions, on one piece of the picture at a time, some channels with all their pixels,
# which are next to each other in memory. So all intermediate arrays stay in the cache. Two channels on each side of a
# piece are squared twice, but the pieces are independent, so several cores can work: each takes the next free piece.

# %%
print(inspect.getsource(cpu.lrn_forward))

# %%
cores = parallel.thread_count()
parallel.set_thread_count(1)
pieces = cpu.lrn._pieces(x.reshape(1, 96, 55 * 55), paper["n"])
parallel.set_thread_count(cores)
longest = max(channels.stop - channels.start for _, channels in pieces)
assert 5 * longest * 55 * 55 * 4 <= 5 * 2**18              # five arrays of a piece are in use at a time: 1.25 MiB
fast, _ = cpu.lrn_forward(x, **paper)
print(f"{len(pieces)} pieces of at most {longest} channels for each picture")
assert np.allclose(fast, whole, rtol=1e-5)                 # rung 3 agrees with rung 2

# %% [markdown]
# There is less arithmetic, too. A power needs a logarithm and an exponential. A square root is one instruction of the
# processor, and two square roots are enough here:
#
# $$s^{-3/4} = \frac{1}{\sqrt{s} \, \sqrt{\sqrt{s}}}$$

# %%
print(inspect.getsource(cpu.lrn._power))
s = np.array([1, 16, 81], np.float32)
print(cpu.lrn._power(s, -0.75))
assert np.allclose(cpu.lrn._power(s, -0.75), [1, 1 / 8, 1 / 27])

# %% [markdown]
# Do threads help in Python? Only one thread at a time may run Python code, because of a lock (GIL). But NumPy releases
# that lock while it computes, and nearly all the time is spent in NumPy. A thread that finds the lock taken sleeps, and
# to wake it takes tens of microseconds, as long as a short operation. So with several threads the pieces are larger. A
# queue and a loop distribute the work:

# %%
print(inspect.getsource(parallel.for_each))

# %% [markdown]
# The order of additions changes the last digits of a sum of floating-point numbers. So with several cores gradients
# could differ from run to run. In this library they do not: the parts are added in the order of the pieces, whichever
# core is ready first, and the result has the same bits on one core and on three.
#
# **Predict** the two sums of the same three numbers in the next cell.

# %%
a, b, c = np.float32(1e8), np.float32(-1e8), np.float32(1)
print("(a + b) + c =", (a + b) + c, "  a + (b + c) =", a + (b + c))
assert (a + b) + c == 1 and a + (b + c) == 0               # the same three numbers

w = rng.standard_normal((8, 3, 5, 5), dtype=np.float32)
pictures = rng.standard_normal((6, 3, 40, 40), dtype=np.float32)
dy = rng.standard_normal((6, 8, 40, 40), dtype=np.float32)
cores, gradients = parallel.thread_count(), []
for threads in (1, 3):
    parallel.set_thread_count(threads)
    gradients.append(cpu.conv2d_backward(dy, pictures, w, 1, 2, 1)[1])
parallel.set_thread_count(cores)
print("one core and three give the same bits:", (gradients[0] == gradients[1]).all())
assert (gradients[0] == gradients[1]).all()

# %% [markdown]
# ## Rung 4: a thread for each number
#
# A GPU has thousands of arithmetic units, and needs tens of thousands of threads to use them. Here is the loop of rung
# 1 without the loops over c, h and w: each thread computes the index of its own number. (The kernels are shown as text:
# this lesson needs no GPU. The tests compare them with `reference`, in an emulator on the CPU, and on a GPU where there
# is one.)

# %%
def kernel(file, name):
    """The text of one kernel of a .cu file."""
    return re.search(rf'extern "C" __global__ void {name}\(.*?\n}}\n', kernels.source(file), re.DOTALL)[0]


print(kernel("lrn", "lrn_forward_1"))

# %% [markdown]
# A thread reads five neighbours and its own number, and writes two numbers. But each number is read by the threads of
# its neighbours, too. In version 2 a block of threads copies 32 channels of 32 pixels, and two channels on each side,
# into memory that the block shares (共享内存), and squares each number once.
#
# **Predict:** how many bytes does each version read and write for each activation?

# %%
print(kernel("lrn", "lrn_forward_2"))
version_1 = (5 + 1 + 2) * 4                                # bytes for each activation: 5 and itself in, 2 out
version_2 = (36 / 32 + 1 + 2) * 4                          # 36 rows for 32, itself, 2 out
assert (version_1, version_2) == (32, 16.5)

figures.draw_bars({"CPU: bytes of main memory": {"ops: whole arrays": moved_each, "cpu: pieces in the cache": 12}})

# %%
figures.draw_bars({"GPU: bytes used by the threads": {"cuda, version 1": version_1, "cuda, version 2": version_2}})

# %% [markdown]
# These are two kinds of bytes, so there are two figures. The first counts what main memory has to move for each
# activation. The second counts what the threads read and write; the cache of the GPU delivers a part of version 1's 32
# bytes, so the ratio of the times is smaller.
#
# ## Convolution, rungs 1 and 2
#
# The operation that matters most has seven loops on rung 1 and one matrix product on rung 2; lesson 08 shows both:
#
# $$Y = W X_{\text{col}}, \qquad W: (K,\; C \cdot KH \cdot KW), \qquad X_{\text{col}}: (C \cdot KH \cdot KW,\;
# OH \cdot OW)$$
#
# Advantage: Python makes one step for a hundred million multiplications. Disadvantage: the columns (im2col) hold a copy
# of each pixel for every window that contains it.
#
# **Predict** from kernel and stride: for which layer is this worst?

# %%
print(inspect.getsource(ops.im2col))

# %%
names = ["conv1", "conv2", "conv3", "conv4", "conv5"]
shape, inputs, columns = (1, 3, 227, 227), {}, {}
for layer in net.layers:
    if layer.name in names:
        _, K, OH, OW = layer.output_shape(shape)
        inputs[layer.name] = np.prod(shape)
        columns[layer.name] = shape[1] * np.prod(layer.size) * OH * OW
    shape = layer.output_shape(shape)
made = ops.im2col(pictures[:1, :, :27, :27], 5, 5, stride=1, pad=2)
assert made.size == 3 * 25 * 27 * 27                       # as in conv2, for 3 channels of its 96
growth = {name: columns[name] / inputs[name] for name in names}
print({name: round(float(growth[name]), 2) for name in names})
assert [round(growth[name], 2) for name in names] == [7.1, 25, 9, 9, 9]

figures.draw_bars({"numbers in the columns / in x": growth})

# %% [markdown]
# With stride 1 a pixel is in 25 windows of 5 x 5 or in 9 of 3 x 3. The windows of conv1 are four pixels apart, so there
# are only about seven copies of each pixel: $KH \cdot KW / S^2 = 121 / 16 \approx 7.6$, a little fewer at the edges.
# For a batch of 128, all columns together would take 2.1 GiB until the backward pass. `ops` makes them for a few
# pictures at a time, and once more in the backward pass:

# %%
kept = 128 * 4 * sum(columns.values())
print(f"all columns: {kept / 2**20:,.0f} MiB; of one piece: at most {ops.conv.COLUMN_BYTES / 2**20:.0f} MiB (or 1 picture)")
assert round(kept / 2**30, 1) == 2.1

# %% [markdown]
# ## Which layers wait for memory?
#
# Divide the operations of a layer by the bytes that it has to move: its input, weights and output, once each. This is
# its arithmetic intensity (计算强度) $I$, in operations per byte. A machine that can do $F$ operations and move $B$ bytes
# in a second needs $F / B$ operations for each byte to be busy all the time. A layer with a smaller intensity waits for
# memory:
#
# $$\text{operations per second} \le \min(F,\; I \cdot B)$$
#
# For a fully connected layer with $N$ pictures, for example, $I = \dfrac{2 \, N \cdot IN \cdot OUT}{4 \, (N \cdot IN +
# IN \cdot OUT + N \cdot OUT)}$, which is about $N / 2$ as long as $N$ is small compared with $IN$ and $OUT$.
#
# By NVIDIA's data the authors' GTX 580 has 512 units at 1.544 GHz, each with a multiplication and an addition at a
# time, and 192.4 GB/s: 8 operations per byte. An H100 (SXM) has 67 TFLOP/s in float32 and 3.35 TB/s: 20 operations per
# byte.
#
# **Predict:** which layers wait for memory, with one picture and with 128?

# %%
def intensities(N):
    """Return {layer: operations per byte} of a forward pass of N pictures; x, weights and y move once."""
    result, shape = {}, (N, 3, 227, 227)
    for layer in net.layers:
        after = layer.output_shape(shape)
        numbers = np.prod(shape) + sum(a.size for a in layer.params.values()) + np.prod(after)
        work = 2 * layer.macs(shape)
        if layer.name.startswith("lrn"):
            work = np.prod(after) * (2 * 5 + 3)            # 5 squares and additions, alpha, k, the product; no power
        if layer.name.startswith("pool"):
            work = np.prod(after) * 9                      # comparisons
        if layer.name.startswith("relu"):
            work = np.prod(after)
        result[layer.name], shape = work / (4 * numbers), after
    return result


shown = ["conv1", "conv2", "conv3", "conv5", "fc6", "fc8", "relu1", "lrn1", "pool1"]
one, many = ({name: intensities(N)[name] for name in shown} for N in (1, 128))
gtx_580 = 512 * 2 * 1.544e9 / 192.4e9
print(f"GTX 580: {gtx_580:.1f} operations per byte; H100: {67e12 / 3.35e12:.0f}")
assert round(gtx_580, 1) == 8.2 and 67e12 / 3.35e12 == 20
assert all(many[name] > 60 for name in names if name in many)
assert all(many[name] < 3 for name in ("relu1", "lrn1", "pool1"))
assert one["fc6"] < 0.6 and many["fc6"] > 50

figures.draw_bars({"operations per byte, 1 picture": one, "a batch of 128": many})

# %% [markdown]
# (The two panels have different scales: look at the numbers.) Convolutions are limited by arithmetic; ReLU, LRN and
# pooling by memory. With one picture the fully connected layers are limited by memory, too: each weight is read for one
# multiplication. In a batch of 128 pictures each weight is used 128 times. Here are the limit of the GTX 580, called
# its roof, and four layers under it:

# %%
F, B = 512 * 2 * 1.544e9, 192.4e9
axis = np.array([0.1, gtx_580, 1000])
figures.draw_lines({"at most, on a GTX 580": {"the roof": (axis, np.minimum(F, axis * B) / 1e9), **{
    label: (np.array([intensity]), np.array([min(F, intensity * B) / 1e9])) for label, intensity in (
        ("conv2, 128 pictures", many["conv2"]), ("fc6, 128 pictures", many["fc6"]), ("fc6, 1 picture", one["fc6"]),
        ("lrn1", many["lrn1"]))}}}, "operations per byte", "10⁹ operations a second", log="xy")

# %% [markdown]
# ## Convolution, rung 3: bands that fit into the cache
#
# A core reaches the roof only if the numbers of the product come from a cache. `cpu` divides the columns into bands of
# output rows that fit into the second-level cache. It makes a band, multiplies it, and uses the same memory for the
# next band, so the columns never exist as a whole.

# %%
print(inspect.getsource(cpu.conv.conv2d_forward))

# %%
conv_1 = net["conv1"]
bands = cpu.conv._bands(np.empty((1, 3, 227, 227), np.float32), conv_1.params["w"], (1, 96, 55, 55))
print(f"{len(bands)} bands for conv1")
assert len(bands) == 3 and 363 * 4 * 55 * max(b.stop - b.start for b in bands) <= 2**21
patch = (photo[None, :, :43, :43] - photo.mean()).astype(np.float32)
weights, bias = conv_1.params["w"][:4], conv_1.params["b"][:4]
results = [rung.conv2d_forward(patch, weights, bias, 4, 0, 1) for rung in (reference, ops, cpu)]
assert all(np.allclose(results[0], result, rtol=1e-4, atol=1e-3) for result in results)

figures.draw_maps([result[0, 0] for result in results], ["reference", "ops", "cpu"], columns=3)

# %% [markdown]
# ## Fewer multiplications
#
# Two neighbouring outputs of a kernel of three weights need six multiplications. Winograd's method (1980) needs four,
# because part of the work is the same for both outputs. For pixels $d_0, \ldots, d_3$ and weights $g_0, g_1, g_2$:
#
# $$y_0 = d_0 g_0 + d_1 g_1 + d_2 g_2 = m_0 + m_1 + m_2, \qquad y_1 = d_1 g_0 + d_2 g_1 + d_3 g_2 = m_1 - m_2 + m_3$$
#
# $$m_0 = (d_2 - d_0) (-g_0), \quad m_1 = (d_1 + d_2) \, \frac{g_0 + g_1 + g_2}{2}, \quad
# m_2 = (d_2 - d_1) \, \frac{g_0 - g_1 + g_2}{2}, \quad m_3 = (d_3 - d_1) \, g_2$$
#
# To check this, multiply out: $m_1 + m_2 = d_1 g_1 + d_2 g_0 + d_2 g_2$, and adding $m_0$ replaces $d_2 g_0$ by $d_0
# g_0$. In the same way $m_1 - m_2 = d_2 g_1 + d_1 g_0 + d_1 g_2$, and adding $m_3$ replaces $d_1 g_2$ by $d_3 g_2$. The
# factors with $g$ are the same in every window, so they are computed once for each kernel.
#
# **Predict** the two outputs for the pixels 1, 2, 0, 3 and the weights 2, 1, -1.

# %%
print(inspect.getdoc(winograd).split("which is y")[0])

# %%
d, g = np.array([1.0, 2, 0, 3]), np.array([2.0, 1, -1])
direct = [1 * 2 + 2 * 1 + 0 * -1, 2 * 2 + 0 * 1 + 3 * -1]
m = [(d[2] - d[0]) * -g[0], (d[1] + d[2]) * (g[0] + g[1] + g[2]) / 2, (d[2] - d[1]) * (g[0] - g[1] + g[2]) / 2,
     (d[3] - d[1]) * g[2]]
print("direct:", direct, "  with four products:", [float(m[0] + m[1] + m[2]), float(m[1] - m[2] + m[3])])
assert direct == [4, 1] == [m[0] + m[1] + m[2], m[1] - m[2] + m[3]]

A, G, B_ = winograd.matrices(2, 3, "float64")
assert np.allclose(A.T @ ((G @ g) * (B_.T @ d)), direct)   # the same, as three matrices
figures.draw_numbers({"$B^T$": B_.T, "$G$": G, "$A^T$": A.T})

# %% [markdown]
# In two dimensions the method is applied down and across: a tile of 2 x 2 outputs needs 4 * 4 = 16 multiplications
# instead of 4 * 9 = 36, and a tile of 3 x 3 outputs, which `cpu` uses, 5 * 5 = 25 instead of 81. With matrices $A$, $B$
# and $G$ for the three steps, and $\odot$ for the product number by number:
#
# $$Y = A^T \left[ (G g G^T) \odot (B^T d B) \right] A$$
#
# Here it is for a tile of the photo.

# %%
tile, sobel = photo.mean(axis=0)[100:104, 60:64].round(), np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
by_tile = A.T @ ((G @ sobel @ G.T) * (B_.T @ tile @ B_)) @ A
assert np.allclose(by_tile, ops.conv2d_forward(tile[None, None], sobel[None, None], np.zeros(1), 1, 0, 1)[0, 0])
figures.draw_numbers({"tile d": tile, "w: kernel g": sobel, "outputs Y": by_tile})

# %% [markdown]
# conv1 has a stride of 4. But it too can be a convolution of stride 1: take every block of 4 x 4 pixels as one pixel
# of 16 times as many channels. Three blocks cover the 11 x 11 kernel, if it gets a row and a column of zeros.

# %%
def in_blocks(a, S=4):
    """(N, C, H, W) -> (N, C*S*S, H/S, W/S)"""
    N, C, H, W = a.shape
    blocks = a.reshape(N, C, H // S, S, W // S, S).transpose(0, 1, 3, 5, 2, 4)
    return blocks.reshape(N, C * S * S, H // S, W // S)


whole = np.pad(weights, ((0, 0), (0, 0), (0, 1), (0, 1)))              # 11 x 11 -> 12 x 12
with_stride = ops.conv2d_forward(patch[..., :40, :40], weights, bias, 4, 0, 1)
without = ops.conv2d_forward(in_blocks(patch[..., :40, :40]), in_blocks(whole), bias, 1, 0, 1)
print("pixels:", patch[..., :40, :40].shape, "-> blocks:", in_blocks(patch[..., :40, :40]).shape)
print("kernels:", weights.shape, "->", in_blocks(whole).shape)
print("the same outputs:", np.allclose(with_stride, without, rtol=1e-4, atol=1e-3))
assert np.allclose(with_stride, without, rtol=1e-4, atol=1e-3)

# %% [markdown]
# **Predict:** how many times fewer multiplications does each layer of AlexNet need?

# %%
macs = {row.name: row.macs for row in net.summary().rows if row.name in names}
fewer = {}
for name in names:
    K, CG, size, _ = net[name].params["w"].shape
    S, side = net[name].stride[0], {"conv1": 55, "conv2": 27}.get(name, 13)
    r = shapes.ceil_div(size, S)                           # the kernel counted in blocks
    m = winograd.TILES[r]
    tiles = shapes.ceil_div(side, m)                       # down and across; t * t products each, t = m + r - 1
    fewer[name] = K * CG * S * S * (tiles * (m + r - 1))**2
print({name: f"{macs[name] / fewer[name]:.1f} times fewer" for name in names})
assert fewer["conv2"] == 256 * 48 * 81 * 49 and macs["conv2"] / fewer["conv2"] > 4.5
assert 2.4 < macs["conv3"] / fewer["conv3"] < 81 / 25      # 13 outputs need 5 tiles of 3: the last two rows are lost

bars = {}
for name in names:
    bars |= {name: macs[name] / 1e6, f"{name}, in tiles": fewer[name] / 1e6}
figures.draw_bars({"multiplications, millions": bars})

# %% [markdown]
# The disadvantage: larger tiles add and subtract larger numbers, so rounding errors grow. The next cell compares the
# direct sum and Winograd's method, both in float32, with float64, on a layer of 64 channels.
#
# **Predict:** for which kernel size is the error larger?

# %%
wide = rng.standard_normal((4, 64, 12, 12))
exact, error = {}, {}
for size in (3, 5):
    w = rng.standard_normal((32, 64, size, size)) / 8
    exact = ops.conv2d_forward(wide, w, np.zeros(32), 1, 0, 1)
    low = [a.astype(np.float32) for a in (wide, w, np.zeros(32))]
    assert winograd.pays(low[0], low[1], exact.shape, 1)
    for rung in (ops, cpu):
        off = rung.conv2d_forward(*low, 1, 0, 1) - exact
        error[rung, size] = np.linalg.norm(off) / np.linalg.norm(exact)
print("relative errors below 1e-5:", max(error.values()) < 1e-5)
print("5 x 5 kernels: error of tiles more than 3 times that of the direct sum:", error[cpu, 5] > 3 * error[ops, 5])
assert max(error.values()) < 1e-5 and error[cpu, 5] > 3 * error[ops, 5]

# %% [markdown]
# ## Rung 4: the ladder of conv.cu
#
# conv.cu has three versions. The first is the loop again, with one thread for each output. The second multiplies in
# tiles. The third writes columns and leaves the product to cuBLAS, NVIDIA's library. (implicit.cu has a ladder of its
# own, from one result per thread to tensor cores in nine versions; read it after this one.) The comments say what each
# one changes:

# %%
print(kernels.source("conv").split("//\n//            The kernels that move")[0])

# %%
print(kernel("conv", "conv2d_forward_2"))

# %% [markdown]
# **Predict:** how many times fewer numbers does version 2 read than version 1?
#
# Count for one tile of conv2: 16 kernels by 16 positions, so 256 threads. A column of conv2 has R = 48 * 5 * 5 = 1,200
# numbers. Version 1 reads a weight and a pixel for every product, $2 \cdot T^2 \cdot R$ numbers for a tile of side $T$.
# Version 2 reads, in $R / T = 75$ rounds, a tile of 16 x 16 weights and one of 16 x 16 pixels, together
# $2 \cdot T^2 \cdot R / T$: each number that is read serves $T$ threads.

# %%
R, TILE = 48 * 5 * 5, 16
reads = {"version 1": 256 * R * 2, "version 2": R // TILE * 2 * TILE * TILE}
print(reads)
assert reads == {"version 1": 614_400, "version 2": 38_400} and reads["version 1"] == TILE * reads["version 2"]

# %% [markdown]
# Memory does not deliver single numbers but sectors of 32 bytes, 8 neighbouring numbers. The 32 threads of a warp read
# at the same time. The next cell counts the sectors that they need, from the addresses that the kernels compute, in the
# first tile (for version 1 only for the 25 products of the first channel).

# %%
def sectors(addresses):
    """Return how many sectors of 8 numbers a warp touches."""
    return len({address // 8 for address in addresses})


H = W = OW = 27
warp = range(32)
first, second = [], []
for u, v in itertools.product(range(5), range(5)):         # version 1: 32 outputs in a row, the same kernel
    pixels = [(n // OW + u - 2) * W + n % OW + v - 2 for n in warp]
    inside = [0 <= n // OW + u - 2 < H and 0 <= n % OW + v - 2 < W for n in warp]
    first.append(1 + sectors(itertools.compress(pixels, inside)))            # and one weight, for all of them
for start, row in itertools.product(range(0, R, TILE), range(0, TILE, 2)):   # version 2: a warp fills two rows of 16
    weights_read = [(row + lane // 16) * R + start + lane % 16 for lane in warp]
    pixels = []
    for lane in warp:
        r, p = start + row + lane // 16, lane % 16         # row of the columns; position
        i, j = r // 5 % 5 - 2, p + r % 5 - 2
        if i >= 0 and j >= 0:
            pixels.append(r // 25 * H * W + i * W + j)
    second.append(sectors(weights_read) + sectors(pixels))
products = R * 8                                           # of each of the 8 warps, 1,200
each = {"version 1": np.mean(first), "version 2": sum(second) / products}
assert 3 < each["version 1"] < 6 and each["version 2"] < 0.6
assert each["version 1"] > 7 * each["version 2"]

figures.draw_bars({"numbers read, thousands": {name: reads[name] / 1000 for name in reads},
                   "sectors for each product of a warp": each})

# %% [markdown]
# In version 1 the 32 outputs of a warp are neighbours, and so are its pixels: its access is coalesced (合并访问).
# Otherwise more sectors would be needed.
#
# **Predict:** in conv1, where windows are 4 pixels apart, in how many sectors are the 32 pixels of a warp?

# %%
print("side by side:", sectors(n for n in warp), "sectors; 4 apart:", sectors(4 * n for n in warp))
assert sectors(4 * n for n in warp) == 16 and sectors(n for n in warp) == 4

# %% [markdown]
# Three quarters of the numbers in those 16 sectors are not used.
#
# Version 3 uses columns again, which are 25 times as large as the input of conv2. It moves more bytes, but its product
# is the optimised one of NVIDIA's library. Only a measurement on a GPU can show which effect is larger; measure yours
# with `python -m tinynet.cuda conv`.
#
# ## Random numbers for every thread
#
# Dropout needs a random number for each activation (lesson 11). NumPy's generator, PCG64 (O'Neill, 2014), makes them
# one after another. It has a state s, a whole number of 128 binary digits, and a step is
#
# $$s_{t+1} = (a \, s_t + c) \bmod 2^{128}$$
#
# with a constant multiplier $a$ and an increment $c$ that belongs to the seed. Each new state gives 64 random bits: its
# two halves are combined by exclusive or, and the result is rotated by as many places as the six highest bits of the
# state say. Python's whole numbers have as many digits as are needed, so this is all of it:

# %%
BITS, a = 2**128, 47026247687942121848144207491837523525   # the multiplier of PCG64
generator = np.random.default_rng(2012)
start, c = (generator.bit_generator.state["state"][name] for name in ("state", "inc"))


def bits_of(s):
    """Return the 64 random bits of a state."""
    mixed, turn = (s >> 64 ^ s) % 2**64, s >> 122
    return (mixed >> turn | mixed << 64 - turn) % 2**64


s, by_hand = start, []
for _ in range(3):
    s = (a * s + c) % BITS
    by_hand.append(bits_of(s))
of_numpy = np.random.default_rng(2012).bit_generator.random_raw(3).tolist()
print("by hand:", by_hand[0], "  NumPy:", of_numpy[0])
assert by_hand == of_numpy

# %% [markdown]
# Each state needs the one before. So must a thread that wants the millionth number make a million steps? No. Two steps
# in a row are again a multiplication and an addition, so they are **one step of the same form**, with another
# multiplier and another increment:
#
# $$a \, (a \, s + c) + c = a^2 s + (a + 1) \, c$$
#
# And two of these are four steps, two of those eight. Every number n is a sum of powers of two, so a leap over n steps
# needs one doubling for each binary digit of n (Brown, 1994).
#
# **Predict:** how many doublings does the leap over a million steps need?

# %%
def leap(n, a, c):
    """Return the multiplier and the increment of n steps at once, and how many doublings it took."""
    multiplier, increment, doublings = 1, 0, 0             # of no step
    while n:
        if n % 2:
            multiplier, increment = a * multiplier % BITS, (a * increment + c) % BITS
        a, c = a * a % BITS, (a + 1) * c % BITS            # of twice as many steps
        n, doublings = n // 2, doublings + 1
    return multiplier, increment, doublings


multiplier, increment, doublings = leap(10**6, a, c)
far = np.random.default_rng(2012).bit_generator.advance(10**6)
print(f"a million steps in {doublings} doublings")
assert doublings == 20 and (multiplier * start + increment) % BITS == far.state["state"]["state"]

# %% [markdown]
# Now a mask of 64 x 64 units. Each of 2,048 threads leaps to its own place and draws 64 bits, which are two numbers of
# float32: each takes the upper 24 of 32 bits, the lower half first. The threads run in any order, and none waits for
# another. On the left is NumPy's mask, on the right the mask of the threads:

# %%
def two_of_thread(thread, keep=0.5):
    """Return the two elements of the mask that belong to a thread."""
    multiplier, increment, _ = leap(thread + 1, a, c)
    bits = bits_of((multiplier * start + increment) % BITS)
    return [(half >> 8) / 2**24 < keep for half in (bits % 2**32, bits >> 32)]


mask = np.empty((2048, 2), bool)
for thread in rng.permutation(2048).tolist():
    mask[thread] = two_of_thread(thread)
one_by_one = np.random.default_rng(2012).random(4096, dtype=np.float32) < 0.5
print(f"{(mask.ravel() == one_by_one).sum():,} of 4,096 are the same")
assert (mask.ravel() == one_by_one).all()

figures.draw_pictures([255 * m.reshape(64, 64) for m in (one_by_one, mask)], ["one after another", "by threads"])

# %% [markdown]
# Whole numbers are not rounded, so not one bit differs. This is why a network trains with the same masks on a CPU and on
# a GPU, and why nothing has to be copied from one to the other. Here is the kernel. A GPU has no numbers of 128 bits, so
# the file defines their sum and product from two halves; the rest is the program from above:

# %%
print(kernel("pcg64", "bernoulli_1"))
print(re.search(r"__device__ Leap leap_of.*?\n}\n", kernels.source("pcg64"), re.DOTALL)[0])

# %% [markdown]
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/19_faster.py).
#
# **1.** How many bytes do the columns of a layer take, in float32? N pictures of C channels and `size` x `size` pixels;
# windows of `kernel` x `kernel`.

# %%
import numpy as np

from tinynet import exercises


def column_bytes(N, C, size, kernel, stride, pad):
    ...


exercises.check_column_bytes(column_bytes)

# %% [markdown]
# **2.** Operations per byte of a fully connected layer in float32, forward: N pictures, IN inputs, OUT units. A
# multiplication and an addition are two operations; x and w are read once, y is written once; ignore the bias.

# %%
import numpy as np

from tinynet import exercises


def linear_intensity(N, IN, OUT):
    ...


exercises.check_linear_intensity(linear_intensity)

# %% [markdown]
# **3.** How many numbers does a block of version 2 read, for tiles of T x T and R products for each output? A last
# round that is not full is a round.

# %%
import numpy as np

from tinynet import exercises


def tile_reads(T, R):
    ...


exercises.check_tile_reads(tile_reads)

# %% [markdown]
# ## What to remember
#
# - Whole arrays save steps of Python; pieces save memory traffic; threads use all cores.
# - Convolutions are limited by arithmetic, ReLU, LRN and pooling by memory; in a batch each weight is used many times.
# - im2col makes 7 to 25 copies of each number; Winograd's method saves multiplications and has larger rounding errors.
# - The first version of a kernel is the loop of `reference`; a tile of T x T reads each number once for T results.
# - n steps of a generator are one step with another multiplier, found by doubling; so every thread can begin anywhere.
#
# Next: [20, your own kernel](20_your_own_kernel.ipynb). Read next: [cpu/conv.py](../tinynet/cpu/conv.py),
# [cuda/conv.cu](../tinynet/cuda/conv.cu), then [cuda/implicit.cu](../tinynet/cuda/implicit.cu), and
# [examples/benchmark.py](../examples/benchmark.py), which measures your machine.
