# %% [markdown]
# # 20 · Your own kernel
#
# *60 minutes. Before it: 08, convolution, and 19, faster. Beside it: the folder `tinynet/cuda`.*
#
# After this lesson you can write CUDA kernels, and find and mend their three most common mistakes. You write them as
# text and run them without a GPU. An emulator runs the threads of your kernel one after another, in a random order, and
# checks every access to memory. It reports mistakes that a real GPU would not show: an index past the end of an array,
# two threads that need a barrier, an access that is not coalesced.
#
# **In a sentence:** a kernel is the body of a loop; thousands of threads run it at the same time, in any order, and
# each computes its own index.
#
# The word *kernel* has two meanings. Here it is a function that runs on a GPU. In the other lessons it means the
# weights of one output map.

# %%
import re

import numpy as np

from tinynet import emulator, figures
from tinynet.cuda import kernels as ours
from tinynet.exercises import kernels

ready = emulator.why_not() is None
print("g++ was found: kernels can run." if ready else f"Kernels cannot run: {emulator.why_not()}.")

# %% [markdown]
# ## Threads and blocks
#
# On a CPU, ReLU is a loop: `for i in range(n): y[i] = max(x[i], 0)`. On a GPU there is no loop. It starts one thread
# for each `i`, in **blocks** of equal size, and each thread computes its own index from its block and its place in the
# block:
#
# $$ i = \text{blockIdx.x} \cdot \text{blockDim.x} + \text{threadIdx.x} $$
#
# Here are 20 numbers and blocks of 8 threads:

# %%
figures.draw_threads(20, block=8)

# %% [markdown]
# The number of blocks is n divided by the size of a block, rounded up. So the last block may have threads without a
# number, grey in the figure. They run, too, so they have to stop at once. This is the library's own kernel:

# %%
text = ours.source("activation")
print(re.search(r'extern "C" __global__ void relu_forward_1.*?\n}', text, re.DOTALL)[0])
assert "if (i >= total) return;" in text

# %% [markdown]
# **Predict:** the kernel below has no `if`. It runs on 64 numbers, then on 128, then on 100, in blocks of 64 threads.
# In which of the three cases is something wrong, and which threads read past the end?

# %%
verdict = kernels.check_map(r"""
extern "C" __global__ void relu(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    y[i] = x[i] > 0 ? x[i] : 0;
}
""")
assert not ready or "past the end of x, which has 100 elements" in verdict.message
verdict

# %% [markdown]
# With 64 and 128 numbers every thread has work. With 100, threads 36 to 63 of block 1 have none. On a GPU this kernel
# may seem to work: it reads and writes memory after the end of the arrays.
#
# The emulator names only the first thread that makes the mistake, and threads run in a random order. So it may name any
# of the 28.
#
# ## Two threads, one place
#
# **Predict:** what happens if `blockIdx.x * blockDim.x` is forgotten?

# %%
verdict = kernels.check_map(r"""
extern "C" __global__ void relu(const float* x, float* y, int n) {
    int i = threadIdx.x;
    if (i >= n) return;
    y[i] = x[i] > 0 ? x[i] : 0;
}
""")
assert not ready or "which another thread wrote" in verdict.message
verdict

# %% [markdown]
# Every block computes the first 64 numbers, and no block computes the others. If two threads write to the same place,
# it is a **race**: the result depends on which of them is last. Here both write the same number, but the emulator
# reports the race anyway.
#
# ## A sum, and the barrier
#
# To compute a sum, threads need numbers of other threads. The threads of one block can share numbers:
# `__shared__ float part[128];` is memory that all threads of a block can read and write (shared memory, 共享内存). A block
# adds up its numbers in a tree. In each step half of the threads add a number of the other half to their own:

# %%
figures.draw_reduction([3, 1, 4, 1, 5, 9, 2, 6])

# %% [markdown]
# So $n$ numbers need $\log_2 n$ steps instead of $n - 1$:
#
# $$ p_t \leftarrow p_t + p_{t + h}, \quad t < h, \qquad h = \tfrac{n}{2}, \tfrac{n}{4}, \dots, 1 $$

# %%
part, steps, half = np.arange(1, 129), 0, 64
while half:
    part[:half] += part[half:2 * half]
    half, steps = half // 2, steps + 1
print(f"128 numbers, {steps} steps, the sum is {part[0]}")
assert steps == 7 and part[0] == 128 * 129 // 2

# %% [markdown]
# In NumPy a line is finished before the next one begins. In a kernel this is not so: one thread may be in step 3 while
# another has not begun step 1. `__syncthreads()` is a **barrier**: no thread of the block goes on until all of them
# have reached it. It is needed between a write and another thread's access to the same place (dashed lines in the
# figure).
#
# **Predict:** this kernel has no barrier inside its loop. What does the emulator say?

# %%
verdict = kernels.check_sum(r"""
extern "C" __global__ void block_sum(const float* x, float* y, int n) {
    __shared__ float part[128];
    int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
    part[t] = i < n ? x[i] : 0;
    __syncthreads();
    for (int half = 64; half > 0; half /= 2)
        if (t < half) part[t] += part[t + half];
    if (t == 0) y[blockIdx.x] = part[0];
}
""")
assert not ready or "with no barrier between" in verdict.message
verdict

# %% [markdown]
# Such a kernel may pass a hundred tests on one GPU and fail on another, whose threads run in another order. The
# emulator always finds the mistake: for every place it stores which thread wrote it, and whether there was a barrier
# since.
#
# A barrier inside an `if` is the opposite mistake. Some threads wait for others that never reach it:

# %%
verdict = kernels.check_sum(r"""
extern "C" __global__ void block_sum(const float* x, float* y, int n) {
    __shared__ float part[128];
    int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
    part[t] = i < n ? x[i] : 0;
    __syncthreads();
    for (int half = 64; half > 0; half /= 2)
        if (t < half) {
            part[t] += part[t + half];
            __syncthreads();
        }
    if (t == 0) y[blockIdx.x] = part[0];
}
""")
assert not ready or "waits at the barrier" in verdict.message
verdict

# %% [markdown]
# ## Neighbouring threads, neighbouring numbers
#
# A GPU runs 32 threads together, a **warp**, and reads memory in **sectors** of 32 bytes, eight numbers of float32. If
# the threads of a warp read neighbouring numbers, four sectors are enough. This is a coalesced access (合并访问):
#
# $$ \frac{32 \text{ threads} \cdot 4 \text{ bytes}}{32 \text{ bytes}} = 4 \text{ sectors} $$
#
# Above are the threads, below the sectors of memory; a green one is read, and each dot is a number that is used:

# %%
figures.draw_access({"x[i]": range(32), "x[4 * i]": range(0, 128, 4)})

# %% [markdown]
# In the second row the 32 numbers are in 16 sectors: memory moves four times as many bytes. With a stride of 8 or more,
# each thread reads a sector of its own. The emulator counts the sectors.
#
# **Predict** the number for strides of 1, 2, 8 and 32, with 64 threads.

# %%
def sectors(stride):
    """The sectors that 64 threads, two warps, touch with x[stride * i]."""
    source = f"""extern "C" __global__ void read(const float* x, float* y) {{
        y[threadIdx.x] = x[{stride} * threadIdx.x];
    }}"""
    x, y = np.zeros(64 * stride, np.float32), np.zeros(64, np.float32)
    return emulator.Module(source, steps=1000).kernels["read"].launch((1,), (64,), (x, y))["x"].sectors


if ready:
    counted = {stride: sectors(stride) for stride in (1, 2, 8, 32)}
    print(", ".join(f"stride {stride}: {number} sectors" for stride, number in counted.items()))
    assert list(counted.values()) == [8, 16, 64, 64]

# %% [markdown]
# **Predict:** this kernel gives the right result. What is wrong with it?

# %%
verdict = kernels.check_map(r"""
extern "C" __global__ void relu(const float* x, float* y, int n) {
    int i = threadIdx.x * gridDim.x + blockIdx.x;
    if (i < n) y[i] = x[i] > 0 ? x[i] : 0;
}
""")
assert not ready or "the access to x is not coalesced" in verdict.message
verdict

# %% [markdown]
# Neighbouring threads are `gridDim.x` numbers apart, here two, because the index counts blocks first and threads
# second.
#
# ## Read once, use sixteen times
#
# A product of matrices (M, K) and (K, N) uses every number of the first matrix N times, and every number of the second
# M times. If each thread reads its own numbers, there are $2MNK$ reads of memory. A block that computes a tile of 16 x
# 16 results loads 16 x 16 numbers of each matrix into shared memory, where 16 threads use each of them:
#
# $$ \text{reads} = 2 \, M N K \quad \longrightarrow \quad \frac{2 \, M N K}{16} $$
#
# Two barriers are needed: one after loading, so that no thread multiplies numbers that are not loaded yet; and one
# after multiplying, so that no thread overwrites a tile that another thread still uses.
#
# **Predict:** how many million reads does conv2 need for one picture, without tiles and with them?

# %%
M, N, K = 256, 27 * 27, 1200                 # conv2: the kernels of both groups, windows, products of each result
each_for_itself, in_tiles = 2 * M * N * K, 2 * M * N * K // 16
print(f"{each_for_itself / 1e6:.0f} million reads, or {in_tiles / 1e6:.0f} million in tiles of 16")
assert round(each_for_itself / 1e6) == 448 and round(in_tiles / 1e6) == 28

# %% [markdown]
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. Lines are counted from the one with `__global__`. Each
# kernel is launched several times on three sizes, each time with its threads in another order. The checks need g++, and
# say so if it is missing. [Solutions](solutions/20_your_own_kernel.py).
#
# **1. A map.** `y[i]` is the larger of `x[i]` and 0, for `i` from 0 to n - 1. Blocks of 64 threads, one thread for each
# number.

# %%
from tinynet.exercises import kernels

relu = r"""
extern "C" __global__ void relu(const float* x, float* y, int n) {
    ...
}
"""

kernels.check_map(relu)

# %% [markdown]
# **2. A sum.** Each block of 128 threads adds up its 128 numbers of `x`, in a tree, into `y[blockIdx.x]`. The last
# block may have fewer numbers than threads.

# %%
from tinynet.exercises import kernels

block_sum = r"""
extern "C" __global__ void block_sum(const float* x, float* y, int n) {
    __shared__ float part[128];
    ...
}
"""

kernels.check_sum(block_sum)

# %% [markdown]
# **3. im2col.** The K x K windows of one map `x` (H, W), with stride 1, as columns: `cols` (K*K, OH*OW), where
# OH = H - K + 1 and OW = W - K + 1. Row `u * K + v` has pixel (u, v) of every window. Blocks of 64 threads, one thread
# for each number of `cols`; neighbouring threads should read and write neighbouring numbers.

# %%
from tinynet.exercises import kernels

im2col = r"""
extern "C" __global__ void im2col(const float* x, float* cols, int H, int W, int K) {
    int OH = H - K + 1, OW = W - K + 1;
    ...
}
"""

kernels.check_im2col(im2col)

# %% [markdown]
# **4. A tiled product.** `c` (M, N) is `a` (M, K) times `b` (K, N). A block has 16 x 16 threads, `threadIdx.y` and
# `threadIdx.x`, and makes one tile of `c`. Blocks count the tiles of `c` along its rows: there are (N + 15) / 16 of
# them in each row of tiles. M, N and K need not be multiples of 16.

# %%
from tinynet.exercises import kernels

product = r"""
extern "C" __global__ void product(const float* a, const float* b, float* c, int M, int N, int K) {
    __shared__ float tile_a[16][16], tile_b[16][16];
    ...
}
"""

kernels.check_product(product)

# %% [markdown]
# ## What to remember
#
# - A thread computes its index from its block and its place in the block, and first checks whether there is work for
#   it.
# - A barrier is needed between a write and another thread's access to the same place; all threads of the block must
#   reach it.
# - The threads of a warp should use neighbouring numbers: 4 sectors instead of up to 32.
# - A number that is read once into shared memory can be used by all threads of a block.
#
# Next: [21, two GPUs](21_two_gpus.ipynb). Read next: [conv.cu](../tinynet/cuda/conv.cu), whose version 2 is exercise 4
# for the windows of an image; [implicit.cu](../tinynet/cuda/implicit.cu), which continues from there; and
# [the emulator](../tinynet/emulator/__init__.py).
