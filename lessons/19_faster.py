# %% [markdown]
# # 14 · Faster (性能优化)
#
# *40 minutes. Before it: 08, convolution, and 10, LRN. Beside it: the folders `reference`, `ops`, `cpu` and `cuda` of
# `tinynet`.*
#
# After this lesson you can read one formula on all four rungs (阶), say what each next one no longer does, count the
# bytes and the multiplications of a layer, and tell from the counts whether it waits for memory or for arithmetic.
#
# **In a sentence:** a program becomes fast by giving the processor long stretches of the same work, on numbers that are
# already near it, and by not doing what need not be done.
#
# There is no timing in this lesson: a time belongs to one machine and one afternoon. What is counted here is the same
# everywhere. To measure your own machine, run `python examples/benchmark.py`.

# %%
import inspect
import itertools
import re

import numpy as np

import tinynet
from tinynet import cpu, data, exercises, figures, ops, reference
from tinynet.cpu import parallel, winograd
from tinynet.cuda import kernels

rng = np.random.default_rng(0)
photo = data.load_picture(figures.PHOTO, 227)              # uint8 (3, 227, 227)
net = tinynet.AlexNet("paper", rng=rng)
conv1 = net["conv1"].forward((photo - photo.mean()).astype(np.float32)[None])
x = ops.relu_forward(conv1)                                # (1, 96, 55, 55): what the first LRN gets
paper = {"n": 5, "k": 2, "alpha": 1e-4, "beta": 0.75}

# %% [markdown]
# ## Rung 1: the formula
#
# LRN, one loop for each index. It is the definition, and everything below has to agree with it:

# %%
print(inspect.getsource(reference.lrn_forward))

# %% [markdown]
# How much does Python do for one number of the result? An array that counts: every time it is indexed, and every time
# NumPy computes with it, is a step of Python. It also adds up the bytes that NumPy reads and writes.

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
    """The result of function(a), how many steps Python took and how many bytes NumPy moved."""
    Counted.steps = Counted.moved = 0
    y = np.asarray(function(a.copy().view(Counted)))
    return y, Counted.steps, Counted.moved


piece = x[:, :12, 20:26, 20:26]                            # (1, 12, 6, 6)
y, steps, _ = count(lambda a: reference.lrn_forward(a, **paper)[0], piece)
neighbours = sum(min(11, c + 2) - max(0, c - 2) + 1 for c in range(12)) / 12
assert steps / y.size == neighbours + 1                    # each neighbour is looked up, and then x itself
print(f"{steps / y.size:g} look-ups in x for each number of y, and as many additions and squares, one at a time")

# %% [markdown]
# ## Rung 2: whole arrays
#
# The sum over five neighbours is the same sum for all activations, so it can be five additions of whole arrays, each
# shifted by a channel:

# %%
print(inspect.getsource(ops.lrn_forward))
print(inspect.getsource(ops.lrn.window_sum))

# %%
whole, steps, moved = count(lambda a: ops.lrn_forward(a, **paper)[0], x)
small, steps_small, _ = count(lambda a: ops.lrn_forward(a, **paper)[0], piece)
assert np.allclose(small, y, rtol=1e-5)                    # rung 2 agrees with rung 1
assert steps == steps_small < 30                           # the same for 432 numbers and for 290,400
print(f"{steps} steps of Python, for {piece.size} numbers as for {x.size:,}")

# %% [markdown]
# Python is out of the way. What is left to wait for is memory: every one of these passes reads whole arrays and writes
# one. An activation has 4 bytes, and this many are moved for each:

# %%
moved_each = moved / x.size
assert 60 < moved_each < 120
print(f"{moved_each:.0f} bytes moved for each activation; reading x and writing y and scale takes 12")

# %% [markdown]
# ## Rung 3: pieces that stay in the cache, and all cores
#
# A core reads its own cache (缓存) many times faster than main memory, and the cache holds a megabyte or so. `cpu` does
# the same additions on a piece of the picture at a time, some pixels with all their channels, so that everything
# between reading x and writing the result stays in the cache. And pieces are independent, so each core takes the next
# one that nobody has.

# %%
print(inspect.getsource(cpu.lrn_forward))

# %%
pieces = parallel.chunks(55 * 55, 96 * 4, cpu.lrn.PIECE_BYTES)
longest = max(p.stop - p.start for p in pieces)
assert 5 * longest * 96 * 4 <= 5 * 2**18                   # five arrays of a piece are in use at a time: 1.25 MiB
fast, _ = cpu.lrn_forward(x, **paper)
assert np.allclose(fast, whole, rtol=1e-5)                 # rung 3 agrees with rung 2
print(f"{len(pieces)} pieces of at most {longest} pixels for each picture")

# %% [markdown]
# Less arithmetic, too. A power is a logarithm and an exponential, a square root is an instruction of the processor, and
# s^-0.75 needs two of them:

# %%
print(inspect.getsource(cpu.lrn._power))
s = np.array([1, 16, 81], np.float32)
assert np.allclose(cpu.lrn._power(s, -0.75), [1, 1 / 8, 1 / 27])

# %% [markdown]
# Threads in Python? Only one thread at a time may run Python, but NumPy lets go of that lock (GIL) while it computes,
# and nearly all the work is inside NumPy. How it is shared out is a queue and a loop:

# %%
print(inspect.getsource(parallel.for_each))

# %% [markdown]
# One thing has to be watched: who adds first. With floating-point numbers the order of a sum changes its last digits,
# so gradients could differ from run to run. Here they do not: parts are added in the order of the pieces, whoever is
# ready first, and the result is the same bits on one core as on three.

# %%
a, b, c = np.float32(1e8), np.float32(-1e8), np.float32(1)
assert (a + b) + c == 1 and a + (b + c) == 0               # the same three numbers

w = rng.standard_normal((8, 3, 5, 5), dtype=np.float32)
pictures = rng.standard_normal((6, 3, 40, 40), dtype=np.float32)
dy = rng.standard_normal((6, 8, 40, 40), dtype=np.float32)
cores, gradients = parallel.thread_count(), []
for threads in (1, 3):
    parallel.set_thread_count(threads)
    gradients.append(cpu.conv2d_backward(dy, pictures, w, 1, 2, 1)[1])
parallel.set_thread_count(cores)
assert (gradients[0] == gradients[1]).all()

# %% [markdown]
# ## Rung 4: a thread for each number
#
# A GPU has thousands of arithmetic units, and wants tens of thousands of threads. Here is the loop of rung 1 again,
# without the loops over c, h and w: each thread finds out which number is its own. (The kernels are shown as text: this
# lesson needs no GPU. `tests/test_cuda_emulated.py` runs them, on the CPU, against `reference`.)

# %%
def kernel(file, name):
    """The text of one kernel of a .cu file."""
    return re.search(rf'extern "C" __global__ void {name}\(.*?\n}}\n', kernels.source(file), re.DOTALL)[0]


print(kernel("lrn", "lrn_forward_1"))

# %% [markdown]
# Five neighbours and itself are read, two numbers written. But channel 7 at this pixel is also a neighbour of four
# other channels, whose threads read it again. Version 2 lets a block of threads copy 32 channels of 32 pixels, and two
# channels on either side, into memory that the block shares (共享内存), squared once:

# %%
print(kernel("lrn", "lrn_forward_2"))
version_1 = (5 + 1 + 2) * 4                                # bytes for each activation: 5 and itself in, 2 out
version_2 = (36 / 32 + 1 + 2) * 4                          # 36 rows for 32, itself, 2 out
assert (version_1, version_2) == (32, 16.5)

figures.draw_bars({"LRN: bytes for each activation": {
    "ops: whole arrays": moved_each, "cpu: pieces in the cache": 12, "cuda, version 1": version_1,
    "cuda, version 2": version_2}})

# %% [markdown]
# (Part of version 1's 32 bytes come out of the GPU's cache, so the ratio of times will be less.) The same four rungs
# for the operation that matters most: convolution.

# %% [markdown]
# ## Convolution, rungs 1 and 2
#
# Seven loops, and then one matrix product: lesson 08 shows both. What the product buys: Python takes one step for a
# hundred million multiplications. What it costs: the columns (im2col), in which each pixel is copied once for every
# window that sees it. How many times more is that, layer by layer?

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
assert [round(growth[name], 2) for name in names] == [7.1, 25, 9, 9, 9]

figures.draw_bars({"numbers in the columns, for each number of x": growth})

# %% [markdown]
# Where windows lie one pixel apart, a pixel is in 25 windows of 5 x 5 or 9 of 3 x 3; conv1's are four apart, so that
# 121 pixels of a window make only seven copies. For a batch of 128, kept until the backward pass, all columns would
# take 2.1 GiB. `ops` makes them for a few pictures at a time, and once more for the backward pass:

# %%
kept = 128 * 4 * sum(columns.values())
assert round(kept / 2**30, 1) == 2.1
print(f"kept: {kept / 2**30:.1f} GiB; of one piece: {ops.conv.COLUMN_BYTES / 2**20:.0f} MiB at most, or one picture")

# %% [markdown]
# ## Which layers wait for memory?
#
# Divide what a layer computes by what it must move at least, its input, weights and output once: operations per byte,
# the arithmetic intensity (计算强度). A machine that does F operations and moves B bytes a second needs at least F / B
# operations for each byte to be busy. Below that it waits for memory, and cannot do more than intensity times B:
#
# $$\text{operations per second} \le \min(F,\ \text{intensity} \cdot B)$$
#
# For the authors' GTX 580 NVIDIA gives 512 units at 1.544 GHz, each with a multiplication and an addition, and 192.4
# GB/s: 8 operations a byte. For an H100 (SXM): 67 TFLOP/s in float32 and 3.35 TB/s, 20 a byte.

# %%
def intensities(N):
    """{layer: operations per byte} of a forward pass of N pictures; x, weights and y are each moved once."""
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
assert round(gtx_580, 1) == 8.2 and 67e12 / 3.35e12 == 20
assert all(many[name] > 60 for name in names if name in many)
assert all(many[name] < 3 for name in ("relu1", "lrn1", "pool1"))
assert one["fc6"] < 0.6 and many["fc6"] > 50

figures.draw_bars({"operations per byte, 1 picture": one, "a batch of 128": many})

# %% [markdown]
# (Two scales: look at the numbers.) Convolutions compute; ReLU, LRN and pooling move. With one picture the fully
# connected layers move, too: each weight is read for one multiplication. That is what a batch is for: 128 pictures use
# each weight 128 times. Here are the roof of the GTX 580 and four layers under it:

# %%
F, B = 512 * 2 * 1.544e9, 192.4e9
axis = np.array([0.1, gtx_580, 1000])
figures.draw_lines({"at most, on a GTX 580": {"the roof": (axis, np.minimum(F, axis * B) / 1e9), **{
    label: (np.array([intensity]), np.array([min(F, intensity * B) / 1e9])) for label, intensity in (
        ("conv2, 128 pictures", many["conv2"]), ("fc6, 128 pictures", many["fc6"]), ("fc6, 1 picture", one["fc6"]),
        ("lrn1", many["lrn1"]))}}}, "operations per byte", "10⁹ operations a second", log="xy")

# %% [markdown]
# ## Rung 3: bands, and a bias for nothing
#
# A GPU or a core can do that only if the product's numbers come from near by. `cpu` cuts the columns into bands of
# output rows that fit into the second-level cache, makes a band, multiplies it, and uses the same memory for the next:
# the columns as a whole never exist.

# %%
print(inspect.getsource(cpu.conv.conv2d_forward))

# %%
conv_1 = net["conv1"]
bands = cpu.conv._bands(np.empty((1, 3, 227, 227), np.float32), conv_1.params["w"], (1, 96, 55, 55))
assert len(bands) == 3 and 363 * 4 * 55 * max(b.stop - b.start for b in bands) <= 2**21
patch = (photo[None, :, :43, :43] - photo.mean()).astype(np.float32)
weights, bias = conv_1.params["w"][:4], conv_1.params["b"][:4]
results = [rung.conv2d_forward(patch, weights, bias, 4, 0, 1) for rung in (reference, ops, cpu)]
assert all(np.allclose(results[0], result, rtol=1e-4, atol=1e-3) for result in results)

figures.draw_maps([result[0, 0] for result in results], ["reference", "ops", "cpu"], columns=3)

# %% [markdown]
# ## Fewer multiplications
#
# Two outputs next to each other of a kernel of three weights take six multiplications. Winograd (1980) does it with
# four, since part of the work is the same for both. Worked out with pixels 1, 2, 0, 3 and weights 2, 1, -1:

# %%
print(inspect.getdoc(winograd).split("or y =")[0])

# %%
d, g = np.array([1.0, 2, 0, 3]), np.array([2.0, 1, -1])
direct = [1 * 2 + 2 * 1 + 0 * -1, 2 * 2 + 0 * 1 + 3 * -1]
m = [(d[2] - d[0]) * -g[0], (d[1] + d[2]) * (g[0] + g[1] + g[2]) / 2, (d[2] - d[1]) * (g[0] - g[1] + g[2]) / 2,
     (d[3] - d[1]) * g[2]]
assert direct == [4, 1] == [m[0] + m[1] + m[2], m[1] - m[2] + m[3]]

A, G, B_ = winograd.matrices(2, 3, "float64")
assert np.allclose(A.T @ ((G @ g) * (B_.T @ d)), direct)   # the same, as three matrices
figures.draw_numbers({"B^T, for pixels": B_.T, "w: G, for weights": G, "A^T, for results": A.T})

# %% [markdown]
# Down and across, a tile of 2 x 2 outputs takes 16 multiplications instead of 36. Of the photo, and of AlexNet's
# layers; conv1 moves by 4 and keeps the direct sum:

# %%
tile, sobel = photo.mean(axis=0)[100:104, 60:64], np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
by_tile = A.T @ ((G @ sobel @ G.T) * (B_.T @ tile @ B_)) @ A
assert np.allclose(by_tile, ops.conv2d_forward(tile[None, None], sobel[None, None], np.zeros(1), 1, 0, 1)[0, 0])

macs = {row.name: row.macs for row in net.summary().rows if row.name in names}
fewer = {"conv1": macs["conv1"]}
for name in names[1:]:
    K, CG, r, _ = net[name].params["w"].shape
    m, side = winograd.TILES[r], 27 if name == "conv2" else 13
    fewer[name] = K * CG * (-(-side // m) * (m + r - 1))**2  # tiles down and across, t * t products each
assert fewer["conv2"] == 256 * 48 * 81 * 49 and macs["conv2"] / fewer["conv2"] > 4.5
assert 1.9 < macs["conv3"] / fewer["conv3"] < 36 / 16      # 13 outputs need 7 tiles of 2, so that a bit is lost

bars = {"conv1": macs["conv1"] / 1e6}
for name in names[1:]:
    bars |= {name: macs[name] / 1e6, f"{name}, in tiles": fewer[name] / 1e6}
figures.draw_bars({"multiplications, millions": bars})

# %% [markdown]
# Nothing is free: larger tiles add and subtract larger numbers, and round worse. Against float64, the direct sum and
# Winograd's, both in float32, on a layer of 64 channels:

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
assert max(error.values()) < 1e-5
assert error[cpu, 5] > 3 * error[ops, 5]
print("relative errors below 1e-5; of 5 x 5 kernels larger with tiles than without")

# %% [markdown]
# ## Rung 4: the ladder of conv.cu
#
# Three versions. The first is the loop again, a thread an output; the second multiplies in tiles; the third writes
# columns and leaves the product to cuBLAS, NVIDIA's library. The heads say what each changes:

# %%
print(kernels.source("conv").split("// The kernels that move")[0])

# %%
print(kernel("conv", "conv2d_forward_2"))

# %% [markdown]
# Count for one tile of conv2: 16 kernels by 16 positions, 256 threads. A column of conv2 has R = 48 * 5 * 5 = 1,200
# numbers. Version 1 reads a weight and a pixel for every product. Version 2 reads, in 75 rounds, a tile of 16 x 16
# weights and one of 16 x 16 pixels, and each of these numbers serves 16 threads:

# %%
R, TILE = 48 * 5 * 5, 16
reads = {"version 1": 256 * R * 2, "version 2": R // TILE * 2 * TILE * TILE}
assert reads == {"version 1": 614_400, "version 2": 38_400} and reads["version 1"] == TILE * reads["version 2"]

# %% [markdown]
# Memory does not deliver numbers but sectors of 32 bytes, 8 numbers that lie side by side. The 32 threads of a warp ask
# together; what they need is counted here from the addresses that they compute, in the first tile, for the first
# channel's 25 products:

# %%
def sectors(addresses):
    """How many sectors of 8 numbers a warp touches."""
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
# In version 1 a warp's 32 outputs lie side by side, and so do its pixels (coalesced, 合并访问): bad would be worse. In
# conv1, whose windows are 4 pixels apart, its 32 pixels lie in 16 sectors, of which three quarters are for nothing:

# %%
assert sectors(4 * n for n in warp) == 16 and sectors(n for n in warp) == 4

# %% [markdown]
# Version 3 goes back to the columns, at 25 times conv2's input: it moves more, and wins by a product that is tuned to
# the last register. Which of two counts decides is a question for a measurement, on your GPU:
# `python examples/benchmark.py --device gpu`.

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
# **2.** Operations per byte of a fully connected layer in float32, forward: N pictures, IN units in, OUT units out. A
# multiplication and an addition are two operations; x and w are read once, y is written once, the bias left out.

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
# - Loops to arrays takes Python out; arrays to pieces takes memory out; pieces to threads uses all cores.
# - Convolutions compute, everything else moves; a batch lets each weight be used many times.
# - im2col pays with 7 to 25 times the numbers; Winograd saves multiplications and pays in the last digits.
# - The first version of a kernel is the loop of `reference`; a tile of T x T reads each number once for T results.
#
# Read next: [cpu/conv.py](../tinynet/cpu/conv.py), [cuda/conv.cu](../tinynet/cuda/conv.cu), and
# [examples/benchmark.py](../examples/benchmark.py), which says what your machine makes of all this.
