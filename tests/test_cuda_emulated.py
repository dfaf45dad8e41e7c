"""Rung cuda, the kernels: what the emulator sees, what mutants of the kernels it catches, and offsets of 64 bits."""

import contextlib
import ctypes
import mmap
import re
from typing import NamedTuple

import cupy_stand_in
import numpy as np
import pytest
from shape_table import CASES
from test_cuda_launchers import FILE_OF, MORE_THAN_ONE_TILE, ONE_OF_EACH, VERSIONS, augmentation_check, version
from test_parity import parity_check

from tinynet import emulator
from tinynet.cuda import kernels
from tinynet.shapes import ceil_div

pytestmark = pytest.mark.usefixtures("kernels_run")
FLOAT = ("-Dreal=float", "-Dindex_t=int")


# ---- the emulator sees what it is there to see ---------------------------------------------------------------------
def run(body, threads=8, shared=0, length=8, parameters="const real* x, real* y", blocks=1):
    """What becomes of y where `body` runs on x = 0, 1, 2, ..."""
    x, y = np.arange(length, dtype=np.float32), np.zeros(length, np.float32)
    text = f'extern "C" __global__ void tried({parameters}) {{ int i = threadIdx.x; {body} }}'
    emulator.Module(text, FLOAT).kernels["tried"].launch((blocks,), (threads,), (x, y), shared)
    return y


TURN_ROUND = "extern __shared__ real a[]; a[i] = x[i]; __syncthreads(); y[i] = a[7 - i];"


@pytest.mark.parametrize("body, wanted", [
    ("y[i] = x[i] + blockDim.x * gridDim.x;", [8, 9, 10, 11, 12, 13, 14, 15]),
    (TURN_ROUND, [7, 6, 5, 4, 3, 2, 1, 0]),
    (TURN_ROUND.replace("extern __shared__ real a[]", "__shared__ real a[8]"), [7, 6, 5, 4, 3, 2, 1, 0]),
    ("__shared__ real a[8]; a[i] = 1; for (int half = 4; half > 0; half /= 2) { __syncthreads(); "
     "if (i < half) a[i] += a[i + half]; } __syncthreads(); y[i] = a[0];", [8] * 8),
    ("y[i] = x[i] + __shfl_xor_sync(~0u, x[i], 31) + 100 * __shfl_xor_sync(~0u, i, 1);",
     [31 + 100 * (i ^ 1) for i in range(32)]),
    ("y[i] = rsqrt((real)4) + max(1, min(2, 3)) + exp((real)0) + pow((real)2, (real)3);", [11.5] * 8)])
def test_the_emulator_computes(body, wanted):
    for _ in range(5):  # each time in another order
        np.testing.assert_array_equal(run(body, len(wanted), shared=32, length=len(wanted)), wanted)


@pytest.mark.parametrize("body, complaint", [
    ("y[i + 1] = 0;", r"thread 7 writes to y\[8\], past the end of y, which has 8 elements"),
    ("y[i] = x[i - 1];", r"thread 0 reads x\[-1\], before the start of x, which has 8 elements"),
    ("y[0] = x[i];", r"writes to y\[0\], which another thread wrote"),
    ("y[i] = x[i]; if (i < 7) y[i] = y[i + 1];", "another thread (wrote|read)"),
    ("((real*)x)[i] = 0;", "writes to x, which is const"),
    ("y[i] = *(const real*)((const char*)x + 2);", "not aligned"),
    (TURN_ROUND.replace("__syncthreads();", ""), "(with no barrier between|nobody wrote to)"),
    (TURN_ROUND.replace("a[i] =", "a[i + 1] ="), "outside of all arrays"),
    ("extern __shared__ real a[]; y[i] = a[i];", "reads shared memory that nobody wrote to"),
    ("extern __shared__ real a[]; a[0] = x[i]; y[i] = a[i];", "(another thread wrote|nobody wrote to)"),
    ("extern __shared__ real a[]; a[i] = 0; __syncthreads(); y[i] = a[0]; a[0] = i;", "another thread (read|wrote)"),
    ("__shared__ real a[4]; a[i] = 0; y[i] = 0;", r"index \d is past the end"),
    ("y[i] = __shfl_xor_sync(~0u, x[i], 1);", "waits for its warp at line 1, where only 8 threads of it come"),
    ("if (i < 4) __syncthreads(); y[i] = 0;", "while 4 threads of its block ended"),
    ("if (i < 4) { __syncthreads();\n } else { __syncthreads(); } y[i] = 0;", "another thread at that of line"),
    ("int big = 1 << 30; y[i] = big * (i + 2);", r"line 1: \* overflows"),
    ("int zero = i - i; y[i] = 5 / zero;", "division by zero"),
    ("this is not C++", "g\\+\\+ does not take it")])
def test_the_emulator_sees(body, complaint):
    with pytest.raises(emulator.Misstep, match=complaint):
        run(body, shared=32)


def test_an_endless_loop_ends_after_a_limit_of_steps():
    text = 'extern "C" __global__ void tried(float* y) { for (int i = 0; true; i = 1 - i) y[0] += 1; }'
    with pytest.raises(emulator.Misstep, match="thread 0 is still running after 10000 steps"):
        emulator.Module(text, steps=10_000).kernels["tried"].launch((1,), (1,), (np.zeros(1, np.float32),))


@pytest.mark.parametrize("index, sectors, least", [("i", 8, 8), ("0", 2, 2), ("2 * i", 16, 8), ("32 * (i % 32)", 64, 8),
                                                   ("63 - i", 8, 8)])
def test_the_emulator_counts_sectors_of_warps(index, sectors, least):
    """64 threads are two warps; a sector has 8 numbers of float32."""
    text = f'extern "C" __global__ void tried(const float* x, float* y) {{ int i = threadIdx.x; y[i] = x[{index}]; }}'
    x, y = np.zeros(1024, np.float32), np.zeros(64, np.float32)
    traffic = emulator.Module(text, steps=10_000).kernels["tried"].launch((1,), (64,), (x, y))
    assert [traffic["x"].accesses, traffic["x"].requests] == [64, 2]
    assert (traffic["x"].sectors, traffic["x"].least) == (sectors, least)
    assert (traffic["y"].sectors, traffic["y"].least) == (8, 8)


def test_the_emulator_sees_wrong_arguments():
    kernel = emulator.Module('extern "C" __global__ void tried(const real* x, int n, index_t m, real a) {}',
                             FLOAT).kernels["tried"]
    x, n, m, one = np.zeros(3, np.float32), np.int32(3), np.int32(3), np.float32(1)
    kernel.launch((1,), (8,), (x, n, m, one))
    for arguments in ((x, n, m), (x, n, m, one, one), (x.astype(float), n, m, one), (x, np.int64(3), m, one),
                      (x, 3, m, one), (x, n, m, np.float64(1)), (x, n, m, 1.0), (n, x, m, one), (x[::2], n, m, one)):
        with pytest.raises(emulator.Misstep):
            kernel.launch((1,), (8,), arguments)
    for grid, block, shared in (((0,), (8,), 0), ((1,), (1025,), 0), ((1,), (64, 32), 0), ((2**31,), (8,), 0),
                                ((1, 70000), (8,), 0), ((1,), (8,), 50000), ((1.0,), (8,), 0)):
        with pytest.raises(emulator.Misstep):
            kernel.launch(grid, block, (x, n, m, one), shared)


# ---- offsets past 2^31 ---------------------------------------------------------------------------------------------
def huge(count, dtype):
    """An array of zeros that takes memory only where it is touched."""
    size = count * np.dtype(dtype).itemsize
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    return np.frombuffer(mmap.mmap(-1, size, flags=flags), dtype)


HUGE = 2**31 + 1000  # elements, which no int can count


@pytest.mark.parametrize("file, kernel, extra", [
    ("activation", "relu_forward_1", ()), ("activation", "relu_forward_2", ()),
    ("dropout", "multiply_by_number_2", ("real",))])
def test_elements_past_2_to_the_31(file, kernel, extra):
    if ctypes.sizeof(ctypes.c_void_p) < 8:
        pytest.skip("needs 64-bit addresses")
    x, y = huge(HUGE, np.float32), huge(HUGE, np.float32)
    x[-300:] = np.arange(1, 301)
    module = emulator.Module(kernels.source(file), ("-Dreal=float", "-Dindex_t=long long"))
    blocks = ceil_div(HUGE, 256)
    arguments = (np.int64(HUGE), x, y, *[np.float32(1) for _ in extra])
    module.kernels[kernel].launch((blocks,), (256,), arguments, blocks=(blocks - 2, blocks))
    np.testing.assert_array_equal(y[-232:], x[-232:])  # what the last two blocks reach


def test_columns_past_2_to_the_31():
    """im2col of 1024 images of conv1 and more: the last window of the last channel of the last image."""
    M, C, H, W, KH, OH, SH = 2100, 3, 227, 227, 11, 55, 4
    x, cols = huge(M * C * H * W, np.float32), huge(C * KH * KH * M * OH * OH, np.float32)
    assert cols.size > 2**31
    x[-11:] = np.arange(1, 12)  # the last row of the last window
    module = emulator.Module(kernels.source("conv"), ("-Dreal=float", "-Dindex_t=long long"))
    total = C * M * OH * OH
    blocks = ceil_div(total, 256)
    sizes = [np.int32(size) for size in (M, C, H, W, KH, KH, OH, OH, SH, SH, 0, 0)]
    arguments = (np.int64(total), x, cols, *sizes)
    module.kernels["im2col_2"].launch((blocks,), (256,), arguments, blocks=(blocks - 1, blocks))
    rows = cols.reshape(C * KH * KH, -1)
    np.testing.assert_array_equal(rows[-11:, -1], np.arange(1, 12))
    back, blocks = huge(x.size, np.float32), ceil_div(x.size, 256)
    arguments = (np.int64(x.size), cols, back, *sizes)
    module.kernels["col2im_2"].launch((blocks,), (256,), arguments, blocks=(blocks - 1, blocks))
    np.testing.assert_array_equal(back[-3:], [9, 10, 11])  # conv1 reaches the last pixels once only


# ---- mutants -------------------------------------------------------------------------------------------------------
class Mutant(NamedTuple):
    """A text in one function of a .cu file replaced by another; `version` runs that function."""

    file: str
    version: int
    function: str
    old: str
    new: str

    def __str__(self):
        return re.sub(r"\W+", "_", f"{self.file}-{self.function}-{self.new or 'without ' + self.old}")[:80]


BARRIER = "__syncthreads();"
MUTANTS = [Mutant(*row) for row in [
    ("activation", 1, "relu_forward_1", "if (i >= total) return;", ""),
    ("activation", 1, "relu_forward_1", "i >= total", "i > total"),
    ("activation", 1, "relu_forward_1", "i >= total", "i >= total - 1"),
    ("activation", 1, "relu_backward_1", "y[i] > 0", "dy[i] > 0"),
    ("activation", 2, "relu_backward_2", "y[i] > 0", "y[i] >= 0"),
    ("activation", 2, "relu_forward_2", "i < total", "i <= total"),
    ("activation", 2, "grid_stride", "gridDim.x * blockDim.x", "gridDim.x"),
    ("activation", 2, "first_element", "* blockDim.x + threadIdx.x", "+ threadIdx.x"),
    ("activation", 2, "leaky_relu_backward_2", "slope * dy[i]", "slope"),
    ("activation", 2, "tanh_backward_2", "1 - y[i] * y[i]", "1 - y[i]"),
    ("activation", 2, "sigmoid_forward_2", "half * tanh(half", "half * tanh(2 * half"),
    ("activation", 2, "sigmoid_backward_2", "(1 - y[i])", "y[i]"),
    ("activation", 3, "relu_forward_3", "blockDim.x * EACH", "blockDim.x"),
    ("activation", 3, "relu_forward_3", "if (i < total) y[i]", "y[i]"),
    ("activation", 3, "relu_backward_3", "output[e] > 0", "output[e] >= 0"),
    ("activation", 3, "relu_backward_3", "if (i < total) { gradient", "if (i <= total) { gradient"),
    ("dropout", 1, "multiply_1", "mask[i]", "mask[0]"),
    ("dropout", 2, "multiply_2", "i < total", "i < total - 1"),
    ("dropout", 2, "multiply_2", "x[i] * mask[i]", "x[i]"),
    ("dropout", 2, "multiply_by_number_2", "* number", "/ number"),
    ("sgd", 1, "sgd_step_1", "w[i] + v[i]", "v[i]"),
    ("sgd", 1, "sgd_step_1", "weight_decay * lr", "weight_decay"),
    ("sgd", 2, "sgd_step_2", "w[i] += step", "w[i] = step"),
    ("sgd", 2, "sgd_step_2", "w[i] += step", "w[first] += step"),
    ("sgd", 2, "sgd_step_2", "- lr * dw[i]", "+ lr * dw[i]"),
    ("sgd", 3, "sgd_step_3", "weight[e] + step", "step"),
    ("sgd", 3, "sgd_step_3", "if (i >= total) return;", ""),
    ("sgd", 3, "sgd_step_3", "weight_decay * lr", "weight_decay"),
    ("linear", 1, "linear_forward_1", "w[o * IN + i]", "w[i * OUT + o]"),
    ("linear", 1, "linear_dx_1", "o < OUT", "o < OUT - 1"),
    ("linear", 1, "linear_dw_1", "sum +=", "sum ="),
    ("linear", 1, "linear_db_1", "image * OUT + o", "image + o * N"),
    ("linear", 3, "linear_db_3", BARRIER, ""),
    ("linear", 3, "linear_db_3", "image < N && o < OUT", "image < N"),
    ("linear", 3, "linear_db_3", "threadIdx.y > 0 || o >= OUT", "threadIdx.y > 0"),
    ("linear", 3, "linear_db_3", "threadIdx.y > 0 || ", ""),
    ("linear", 3, "linear_db_3", "int share = 1", "int share = 2"),
    ("linear", 3, "linear_db_3", "image += SHARES", "image += 2 * SHARES"),
    ("linear", 3, "add_bias_2", "i % OUT", "i / OUT"),
    ("linear", 2, "matmul_2", BARRIER + "  // both tiles are complete", ""),
    ("linear", 2, "matmul_2", BARRIER + "  // no thread reads them any more", ""),
    ("linear", 2, "matmul_2", "b_tile[t][threadIdx.x]", "b_tile[threadIdx.x][t]"),
    ("linear", 2, "matmul_2", "across < INNER", "across <= INNER"),
    ("linear", 2, "matmul_2", "down < INNER && column < COLUMNS", "down < INNER"),
    ("linear", 2, "matmul_2", "(COLUMNS + TILE - 1) / TILE", "COLUMNS / TILE + 1"),
    ("linear", 2, "matmul_2", "t < TILE", "t <= TILE"),
    ("softmax", 1, "softmax_forward_1", "row[c] - largest) / sum", "row[c]) / sum"),
    ("softmax", 1, "softmax_forward_1", "int c = 1; c < C", "int c = 1; c < C - 1"),
    ("softmax", 2, "softmax_backward_1", "labels[i / C]", "labels[i % N]"),
    ("softmax", 2, "softmax_backward_1", "/ N", "/ C"),
    ("softmax", 2, "block_sum", "scratch[threadIdx.x] = value;\n    " + BARRIER, "scratch[threadIdx.x] = value;"),
    ("softmax", 2, "block_sum", "scratch[threadIdx.x] += scratch[threadIdx.x + half];\n        " + BARRIER,
     "scratch[threadIdx.x] += scratch[threadIdx.x + half];"),
    ("softmax", 2, "block_sum", "threadIdx.x < half", "threadIdx.x <= half"),
    ("softmax", 2, "block_max", "THREADS / 2", "THREADS / 4"),
    ("softmax", 2, "block_max", "real largest = scratch[0];\n    " + BARRIER, "real largest = scratch[0];"),
    ("softmax", 2, "softmax_forward_2", "sum += prob[c]", "sum = prob[c]"),
    ("softmax", 2, "softmax_forward_2", "if (threadIdx.x == 0) {", "{"),
    ("softmax", 2, "mean_2", "sum / N", "sum"),
    ("softmax", 3, "warp_sum", "WARP / 2", "WARP / 4"),
    ("softmax", 3, "warp_max", "other > value", "other < value"),
    ("softmax", 3, "sum_of_warps", "if (lane == 0) ", ""),
    ("softmax", 3, "sum_of_warps", "lane < THREADS / WARP ?", "lane <= THREADS / WARP ?"),
    ("softmax", 3, "sum_of_warps", "    " + BARRIER + "\n    value", "    value"),
    ("softmax", 3, "max_of_warps", BARRIER + "\n    value", "value"),
    ("softmax", 3, "max_of_warps", BARRIER + "\n    return", "return"),
    ("softmax", 3, "max_of_warps", "lane % (THREADS / WARP)", "0"),
    ("softmax", 3, "softmax_forward_3", "sum += part", "sum = part"),
    ("softmax", 3, "softmax_forward_3", "if (threadIdx.x == 0) {", "{"),
    ("softmax", 3, "mean_3", "sum / N", "sum"),
    ("lrn", 1, "lrn_forward_1", "start + CG - 1", "C - 1"),
    ("lrn", 1, "lrn_forward_1", "(index_t)(j - c) * HW", "(j - c)"),
    ("lrn", 1, "lrn_backward_1", "cross +=", "cross ="),
    ("lrn", 1, "lrn_within_forward_1", "row - h) * W", "row - h) * H"),
    ("lrn", 1, "lrn_within_backward_1", "min(W - 1", "min(W"),
    ("lrn", 2, "lrn_forward_2", BARRIER, ""),
    ("lrn", 2, "lrn_backward_2", BARRIER, ""),
    ("lrn", 2, "lrn_within_forward_2", BARRIER, ""),
    ("lrn", 2, "lrn_within_backward_2", BARRIER, ""),
    ("lrn", 2, "lrn_forward_2", "row < CHANNELS + n - 1", "row < CHANNELS + n - 2"),
    ("lrn", 2, "lrn_forward_2", "row < CHANNELS + n - 1", "row < CHANNELS + n"),
    ("lrn", 2, "lrn_forward_2", "c < C && at.pixel < HW", "c < C"),
    ("lrn", 1, "lrn_backward_1", "beta + 1", "beta"),
    ("lrn", 1, "lrn_within_backward_1", "beta + 1", "beta"),
    ("lrn", 2, "lrn_backward_2", "power(scale[i], beta) * x[i] /", "x[i] /"),
    ("lrn", 2, "lrn_backward_2", "x[i] / scale[i] : 0", "x[i] : 0"),
    ("lrn", 2, "lrn_within_backward_2", "power(scale[i], beta) * x[i] /", "x[i] /"),
    ("lrn", 2, "lrn_backward_2", "if (at.pixel >= HW) continue;", ""),
    ("lrn", 2, "window_sum", "c / CG * CG", "0"),
    ("lrn", 2, "window_sum", "(j - top) * PIXELS + threadIdx.x", "(j - top) + threadIdx.x * PIXELS"),
    ("lrn", 2, "place_of_block", "(HW + PIXELS - 1) / PIXELS", "HW / PIXELS"),
    ("lrn", 2, "square_sum", "j < n", "j < n - 1"),
    ("lrn", 2, "square_of_block", "/ across % down", "% down"),
    ("lrn", 2, "lrn_within_forward_2", "t / width, column", "t % width, column"),
    ("lrn", 2, "power", "rsqrt(s) * sqrt(rsqrt(s))", "rsqrt(s) * rsqrt(s)"),
    ("lrn", 2, "power", "pow(s, -beta)", "pow(s, beta)"),
    ("lrn", 3, "walk_of", "number / pieces * CG", "number * CG"),
    ("lrn", 3, "walk_of", "min(first + steps, start + CG)", "first + steps"),
    ("lrn", 3, "walk_of", "start, start + CG", "0, C"),
    ("lrn", 3, "walk_of", "/ walks * C * HW", "* HW"),
    ("lrn", 3, "value_at", "walk.start <= c && ", ""),
    ("lrn", 3, "lrn_forward_3", "walk.first - HALF + t - 1", "walk.first - HALF + t"),
    ("lrn", 3, "lrn_forward_3", "t < WINDOW; ++t) energy", "t < WINDOW - 1; ++t) energy"),
    ("lrn", 3, "lrn_forward_3", "window[HALF] *", "window[0] *"),
    ("lrn", 3, "neighbour_at", "c >= walk.end", "c > walk.end"),
    ("lrn", 3, "neighbour_at", "c < walk.start || ", ""),
    ("lrn", 3, "neighbour_at", "own * value / s", "own * value"),
    ("lrn", 3, "neighbour_at", "own * value / s", "own / s"),
    ("lrn", 3, "neighbour_at", "{own,", "{own / s,"),
    ("lrn", 3, "lrn_backward_3", "window[t - 1] = window[t]", "window[t] = window[t - 1]"),
    ("lrn", 3, "lrn_backward_3", "window[HALF].own", "window[WINDOW - 1].own"),
    ("lrn", 3, "lrn_backward_3", "window[HALF].x", "window[WINDOW - 1].x"),
    ("pool", 1, "maxpool_forward_1", "o / OW / OH * H * W", "o / OW / OH * OH * OW"),
    ("pool", 1, "maxpool_backward_1", "p / W / H * OH * OW", "p / W / H * H * W"),
    ("pool", 1, "largest_of_window", "value > largest", "value >= largest"),
    ("pool", 1, "largest_of_window", "&& top + u < H", ""),
    ("pool", 2, "largest_of_window", "&& left + v < W", ""),
    ("pool", 1, "largest_of_window", "max(0, -top)", "0"),
    ("pool", 2, "largest_of_window", "max(0, -left)", "0"),
    ("pool", 2, "largest_of_window", "KW * first_u + first_v", "0"),
    ("pool", 1, "maxpool_backward_1", "% H + PH", "% H"),
    ("pool", 2, "maxpool_backward_2", "p % W + PW", "p % W"),
    ("pool", 2, "largest_of_window", "KW * u + v", "KH * v + u"),
    ("pool", 2, "largest_of_window", " || value != value", ""),
    ("pool", 2, "gradient_of_pixel", "sum += dy", "sum = dy"),
    ("pool", 2, "gradient_of_pixel", "min(row / SH, OH - 1)", "row / SH"),
    ("pool", 2, "gradient_of_pixel", "(row - KH) / SH + 1", "(row - KH) / SH + 2"),
    ("pool", 2, "gradient_of_pixel", "(column - KW) / SW + 1", "(column - KW) / SW + 2"),
    ("pool", 2, "gradient_of_pixel", "row - i * SH", "row - i * SW"),
    ("pool", 2, "maxpool_forward_2", BARRIER, ""),
    ("pool", 2, "maxpool_backward_2", BARRIER, ""),
    ("pool", 2, "maxpool_forward_2", "p < H * W", "p < H * W - 1"),
    ("pool", 2, "maxpool_forward_2", "o / OW, o % OW", "o % OW, o / OW"),
    ("pool", 2, "maxpool_backward_2", "gradients + OH * OW)", "gradients + OH)"),
    ("pool", 1, "avgpool_forward_1", "o / OW / OH * H * W", "o / OW / OH * OH * OW"),
    ("pool", 1, "avgpool_backward_1", "p / W / H * OH * OW", "p / W / H * H * W"),
    ("pool", 2, "mean_of_window", "max(j * SW - PW, 0)", "j * SW"),
    ("pool", 2, "mean_of_window", "/ (height * width)", "/ (KH * KW)"),
    ("pool", 1, "pixels_inside", "min(i * S - P + K, length)", "(i * S - P + K)"),
    ("pool", 2, "pixels_inside", "max(i * S - P, 0)", "(i * S - P)"),
    ("pool", 2, "share_of_pixel", "sum += dy", "sum = dy"),
    ("pool", 2, "share_of_pixel", "pixels_inside(i, H, KH, SH, PH)", "KH"),
    ("pool", 2, "share_of_pixel", "pixels_inside(j, W, KW, SW, PW)", "KW"),
    ("pool", 1, "avgpool_backward_1", "p % W + PW", "p % W"),
    ("pool", 2, "avgpool_backward_2", "p / W + PH", "p / W"),
    ("pool", 2, "share_of_pixel", "min(row / SH, OH - 1)", "row / SH"),
    ("pool", 2, "avgpool_forward_2", BARRIER, ""),
    ("pool", 2, "avgpool_backward_2", BARRIER, ""),
    ("pool", 3, "maxpool_forward_3", "o / OW / OH * H * W", "o / OW / OH * OH * OW"),
    ("pool", 3, "maxpool_forward_3", "o >= total", "o > total"),
    ("pool", 3, "maxpool_backward_3", "(H + 1) / STRIDE", "H / STRIDE"),
    ("pool", 3, "maxpool_backward_3", "row < 0 || ", ""),
    ("pool", 3, "maxpool_backward_3", "row >= OH || ", ""),
    ("pool", 3, "maxpool_backward_3", "column >= OW", "column > OW"),
    ("pool", 3, "maxpool_backward_3", "\n                            && v + STRIDE - STRIDE * b < WINDOW", ""),
    ("pool", 3, "maxpool_backward_3", "sums[u][v] += gradient", "sums[u][v] = gradient"),
    ("pool", 3, "maxpool_backward_3", "STRIDE * j + v < W) to", "true) to"),
    ("pool", 3, "maxpool_backward_3", "(map * H + STRIDE * i) * W", "(map * OH + STRIDE * i) * W"),
    ("conv", 1, "conv2d_forward_1", "q * CG + c", "c"),
    ("conv", 1, "conv2d_forward_1", "row < H && 0 <= column &&", "row < H &&"),
    ("conv", 1, "conv2d_forward_1", "i * SH + u - PH", "i * SH - u + PH"),
    ("conv", 1, "conv2d_dx_1", "|| down % SH || across % SW", ""),
    ("conv", 1, "conv2d_dx_1", "i < OH && j < OW", "i < OH"),
    ("conv", 1, "conv2d_dx_1", "o < (q + 1) * KG", "o < KG"),
    ("conv", 1, "conv2d_dw_1", "sum +=", "sum ="),
    ("conv", 1, "conv2d_db_1", "p < P", "p < P - 1"),
    ("conv", 2, "conv2d_forward_2", BARRIER + "  // both tiles are complete", ""),
    ("conv", 2, "conv2d_forward_2", BARRIER + "  // no thread reads them any more", ""),
    ("conv", 2, "conv2d_forward_2", "o < KG && r < R ?", "r < R ?"),
    ("conv", 2, "conv2d_forward_2", "p < P && r < R &&", "p < P &&"),
    ("conv", 2, "conv2d_forward_2", "sum + b[q * KG + o]", "sum + b[o]"),
    ("conv", 2, "conv2d_forward_2", "pixels[t][threadIdx.x]", "pixels[threadIdx.x][t]"),
    ("conv", 2, "conv2d_forward_2", "if (o < KG && p < P) ", ""),
    ("conv", 2, "conv2d_db_2", "sums[threadIdx.x] = sum;\n    " + BARRIER, "sums[threadIdx.x] = sum;"),
    ("conv", 2, "conv2d_db_2", "sums[threadIdx.x] += sums[threadIdx.x + half];\n        " + BARRIER,
     "sums[threadIdx.x] += sums[threadIdx.x + half];"),
    ("conv", 2, "conv2d_db_2", "half > 0", "half > 1"),
    ("conv", 3, "conv2d_db_3", "of_warps[threadIdx.x / WARP] = sum;\n    " + BARRIER,
     "of_warps[threadIdx.x / WARP] = sum;"),
    ("conv", 3, "conv2d_db_3", "n += THREADS", "n += WARP"),
    ("conv", 3, "conv2d_db_3", "warp_sum(of_warps[lane])", "of_warps[lane]"),
    ("conv", 3, "warp_sum", "WARP / 2", "WARP / 4"),
    ("conv", 1, "im2col_1", "r / KW % KH, c", "r / KH % KW, c"),
    ("conv", 3, "im2col_2", "row < H && 0 <= column", "row <= H && 0 <= column"),
    ("conv", 3, "im2col_2", "c * KH * KW * width", "c * KH * width"),
    ("conv", 3, "im2col_2", "to += width", "to += OH * OW"),
    ("conv", 1, "col2im_1", "sum +=", "sum ="),
    ("conv", 3, "col2im_2", "sum +=", "sum ="),
    ("conv", 3, "col2im_2", "min(column / SW, OW - 1)", "column / SW"),
    ("conv", 3, "col2im_2", "(row - KH) / SH + 1", "(row - KH) / SH"),
    ("conv", 3, "place_product_3", "(index_t)o * M + image", "(index_t)o * K + image"),
    ("conv", 3, "place_product_3", "+ b[o]", "+ b[0]"),
    ("conv", 3, "lay_out_like_product_3", "blockIdx.x % K", "blockIdx.x / M"),
    ("augment", 1, "augment_1", "n >= total", "n > total"),
    ("augment", 2, "augment_2", "n += stride", "n += total"),
    ("augment", 1, "pixel_of_crop", "size - 1 - column", "size - column"),
    ("augment", 2, "pixel_of_crop", "(flips[image] ? size - 1 - column : column)", "column"),
    ("augment", 2, "pixel_of_crop", "under_crop ? from_row", "1 ? from_row"),
    ("augment", 2, "pixel_of_crop", "under_crop ? from_column :", ""),
    ("augment", 2, "pixel_of_crop", "(S - size) / 2 + row", "row"),
    ("augment", 2, "pixel_of_crop", "shifts[image * 3 + c]", "shifts[c]"),
    ("augment", 2, "pixel_of_crop", "+ shifts", "- shifts"),
    ("augment", 2, "pixel_of_crop", "(c * S + mean_row)", "mean_row"),
    ("augment", 2, "pixel_of_crop", " / divisor", ""),
]]


def mutated(mutant):
    """The text of the file with the mutant in it. The old text has to be there, in its function, once."""
    text = kernels.source(mutant.file)
    head = rf"^\S[^\n]*\b{mutant.function}\("
    function = re.search(rf"(?ms){head}.*?^}}$|{head}[^\n]*}}$", text)[0]
    assert function.count(mutant.old) == 1, f"{mutant.function} has {mutant.old!r} {function.count(mutant.old)} times"
    return text.replace(function, function.replace(mutant.old, mutant.new))


@contextlib.contextmanager
def source_of(file, text):
    """While it lasts, the launchers of one file find another text in the place of their .cu file."""
    whole = kernels.source
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "source", lambda name: text if name == file else whole(name))
        for cache in (kernels._module, kernels._function):
            cache.cache_clear()
        yield
        for cache in (kernels._module, kernels._function):
            cache.cache_clear()


def nan_check(file, rung):
    """The one promise that no table of numbers can hold: NaN goes through."""
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 1] = np.nan
    if file == "pool":
        assert np.isnan(rung.maxpool_forward(cupy_stand_in.asarray(x), 3, 2)[0].get())


def first_objection(file, number):
    """What is said of the first case that does not come out right; None if all do."""
    with version(number) as rung:
        for case in [*MORE_THAN_ONE_TILE, *ONE_OF_EACH, *CASES]:
            if FILE_OF[case.op] == file:
                try:
                    with np.errstate(all="ignore"):
                        parity_check(rung, case, np.float64, "gpu")
                except AssertionError as objection:
                    return str(objection)
        try:
            nan_check(file, rung)
            if file == "augment":
                augmentation_check(number)
        except AssertionError as objection:
            return str(objection) or "NaN does not go through"
    return None


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_mutant_is_caught(stand_in, monkeypatch, mutant):
    if mutant.file in ("activation", "augment", "dropout", "sgd") and mutant.version >= 2:
        monkeypatch.setattr(kernels, "THREADS", 8)  # so that the loop goes round, and there is more than one block
        monkeypatch.setattr(kernels, "BLOCKS", 2)
    with source_of(mutant.file, mutated(mutant)):
        assert first_objection(mutant.file, mutant.version), "nobody noticed"


@pytest.mark.parametrize("file, number", [(file, number) for file in VERSIONS for number in VERSIONS[file]])
def test_no_objection_without_a_mutant(stand_in, file, number):
    assert first_objection(file, number) is None


def test_every_kernel_has_a_mutant():
    texts = {file: kernels.source(file) for file in VERSIONS}
    named = {(mutant.file, mutant.function) for mutant in MUTANTS}
    for file, text in texts.items():
        for name, _ in emulator._signatures(text):
            called = re.search(rf"(?ms)\b{name}\(.*?^}}$|\b{name}\([^\n]*}}$", text)[0]
            helpers = {helper for _, helper in named if f"{helper}(" in called}
            assert (file, name) in named or helpers, f"{name} of {file}.cu has no mutant"
