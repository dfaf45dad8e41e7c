"""Lesson 20: checks of CUDA kernels that the learner writes as text.

The emulator runs them: no GPU is needed.

Each check takes the source of one kernel, launches it several times with its threads in shuffled
order, and names the first thing that is wrong: an index, a race, a barrier, a result, an access to
memory that is not coalesced.
"""

import re

import numpy as np

from tinynet import emulator
from tinynet.exercises.check import verdict
from tinynet.shapes import ceil_div

STEPS = 1_000_000  # of one launch, after which the emulator takes a loop for endless
LAUNCHES = 3  # of each case, each with its threads in another order
MARGIN = 1 << 16  # bytes around every array: an index past its end cannot reach the next one
TILE = 16  # side of a tile of the product, and of its blocks
BLOCK = 128  # threads of a block in the sums

ADVICE = [  # part of what the emulator says, and what to do about it
    ("past the end of the array",
     "A shared array has as many places as its declaration says, and no more"),
    ("past the end of",
     "The last block has more threads than there is work: compare the index with the size first"),
    ("before the start of",
     "Print the index for the first thread by hand: where does it become negative?"),
    ("shared memory that another thread",
     "A missing __syncthreads(): the threads of a block run in any order, so put a barrier between "
     "the write and the access of the other thread"),
    ("shared memory that nobody wrote",
     "Each place has to be written before it is read, with 0 where there is nothing to load; is a "
     "__syncthreads() missing in between?"),
    ("which another thread",
     "Two threads use the same place, in any order; its index has to depend on the block, "
     "blockIdx.x, and on the thread, threadIdx.x"),
    ("threads of its block ended",
     "Every thread of a block has to reach the barrier: no return before it, and no if around it"),
    ("another thread at that of line",
     "Every thread of a block has to reach the same barrier: keep it out of the if"),
    ("which is const", "This array is only read; which one holds the result?"),
    ("is still running", "Does the loop end?"),
]


def check_map(source):
    """Check `relu(x, y, n)`: y[i] = max(x[i], 0).

    There is one thread for each i, in blocks of 64 threads.
    """
    def case(n):
        x = np.random.default_rng(n).standard_normal(n).astype(np.float32)
        arguments = [x, _empty(n), np.int32(n)]
        return _Case(f"n = {n}", ceil_div(n, 64), (64,), arguments, np.maximum(x, 0))
    return _judge(source, "relu", "const float* x, float* y, int n",
                  [case(64), case(128), case(100)])


def check_sum(source):
    """Check `block_sum(x, y, n)`.

    Each block of 128 threads adds up its 128 numbers of x into y[blockIdx.x].
    """
    def case(n):
        x = np.random.default_rng(n).integers(-9, 10, n).astype(np.float32)
        blocks = ceil_div(n, BLOCK)
        parts = np.pad(x, (0, blocks * BLOCK - n)).reshape(blocks, BLOCK).sum(axis=1)
        return _Case(f"n = {n}", blocks, (BLOCK,), [x, _empty(blocks), np.int32(n)], parts)
    return _judge(source, "block_sum", "const float* x, float* y, int n",
                  [case(128), case(256), case(300)], _shares)


def check_im2col(source):
    """Check `im2col(x, cols, H, W, K)`.

    It writes the K x K windows of one map x (H, W), 1 pixel apart, as columns: cols (K*K, OH*OW)
    with OH = H - K + 1 and OW = W - K + 1. There is one thread for each number, in blocks of 64.
    """
    def case(H, W, K):
        x = np.arange(1, H * W + 1, dtype=np.float32).reshape(H, W)
        windows = np.lib.stride_tricks.sliding_window_view(x, (K, K))     # (OH, OW, K, K)
        cols = windows.transpose(2, 3, 0, 1).reshape(K * K, -1)           # (K*K, OH*OW)
        arguments = [x, _empty(cols.size).reshape(cols.shape), *map(np.int32, (H, W, K))]
        return _Case(f"H = {H}, W = {W}, K = {K}", ceil_div(cols.size, 64), (64,), arguments, cols)
    return _judge(source, "im2col", "const float* x, float* cols, int H, int W, int K",
                  [case(3, 4, 2), case(5, 5, 3), case(18, 18, 3)])


def check_product(source):
    """Check `product(a, b, c, M, N, K)`: c (M, N) = a (M, K) times b (K, N).

    It uses tiles of 16 x 16 in shared memory. A block has 16 x 16 threads and makes one tile of c;
    blocks are numbered along the rows of tiles.
    """
    def case(M, N, K):
        rng = np.random.default_rng(M)
        a, b = (rng.integers(-3, 4, shape).astype(np.float32) for shape in ((M, K), (K, N)))
        blocks = ceil_div(M, TILE) * ceil_div(N, TILE)
        arguments = [a, b, _empty(M * N).reshape(M, N), *map(np.int32, (M, N, K))]
        return _Case(f"M = {M}, N = {N}, K = {K}", blocks, (TILE, TILE), arguments, a @ b)
    return _judge(source, "product",
                  "const float* a, const float* b, float* c, int M, int N, int K",
                  [case(16, 16, 16), case(32, 48, 32), case(20, 35, 18)], _reuses)


# ---- what all of them share ----------------------------------------------------------------------

class _Case:
    """A launch and its expected result. The kernel writes to the one array that is not const."""

    def __init__(self, says, blocks, threads, arguments, expected):
        self.says, self.blocks, self.threads, self.expected = says, blocks, threads, expected
        self.arguments = [_guarded(argument) if isinstance(argument, np.ndarray) else argument
                          for argument in arguments]
        self.result = next(a for a in self.arguments
                           if isinstance(a, np.ndarray) and np.isnan(a).all())


def _judge(source, name, parameters, cases, habits=lambda case, traffic, source: None):
    """Run the kernel on the cases, in order, and name the first thing that is wrong.

    Args     habits: a function that looks for bad habits in the kernel's memory traffic
    """
    if emulator.why_not():
        return verdict(False, "The kernel was not run: {0}.", emulator.why_not())
    source = source.lstrip("\n")  # so that line 1 is the kernel's first
    head = f'extern "C" __global__ void {name}({parameters})'
    if "..." in re.sub(r"//[^\n]*", "", source):
        return verdict(False, "Not yet: replace the ... by your kernel.")
    try:
        kernel = emulator.Module(source, steps=STEPS).kernels.get(name)
    except emulator.Misstep as error:
        found = re.search(r"\.cpp:(\d+):\d+: (?:fatal )?error: (.*)", str(error))
        said = f"g++ finds an error in line {found[1]}: {found[2]}." if found else f"{error}"
        return verdict(False, "Not yet: {0}", said)
    expected = _parameters(parameters)
    if kernel is None or [p[:3] for p in kernel.parameters] != [p[:3] for p in expected]:
        return verdict(False, "Not yet: the kernel has to begin with\n{0}", head)
    for case in cases:
        for _ in range(LAUNCHES):
            case.result[...] = np.nan
            try:
                traffic = kernel.launch((case.blocks,), case.threads, case.arguments)
            except emulator.Misstep as error:
                return _wrong(_explained(str(error)), case)
            objection = _objection(case.result, case.expected, kernel.parameters)
            if objection:
                return _wrong(objection, case)
    objection = habits(case, traffic, source) or _uncoalesced(traffic)
    if objection:
        return _wrong(objection, case)
    return verdict(True, "Right: {0} of {1} cases.", len(cases), len(cases))


def _parameters(text):
    return [emulator._parameter(part, {}) for part in text.split(",")]


def _wrong(what, case):
    blocks = "1 block" if case.blocks == 1 else f"{case.blocks} blocks"
    text = "Not yet: {0}.\n(Case: {1}, {2} of {3} threads)"
    if what.endswith("?"):
        text = "Not yet: {0}\n(Case: {1}, {2} of {3} threads)"
    return verdict(False, text, what, case.says, blocks, " x ".join(map(str, case.threads)))


def _explained(said):
    said = said.partition(": ")[2]
    return next((f"{said}. {advice}" for part, advice in ADVICE if part in said), said)


def _objection(result, expected, parameters):
    name = next(name for _, pointer, const, name in parameters if pointer and not const)
    wrong = ~np.isclose(result, expected)
    if not wrong.any():
        return None
    place = tuple(map(int, np.unravel_index(np.argmax(wrong), result.shape)))
    index = ", ".join(map(str, place))
    if np.isnan(result[place]):
        return f"nothing was written to {name}[{index}]; is there a thread for it?"
    return f"{name}[{index}] is {result[place]:g}; it should be {expected[place]:g}"


def _uncoalesced(traffic):
    """Name the array whose accesses touch at least twice as many sectors as they would need."""
    for name, counted in traffic.items():
        if counted.sectors >= 2 * counted.least:
            return (f"the result is right, but the access to {name} is not coalesced: the warps "
                    f"touched {counted.sectors} sectors of 32 bytes, and {counted.least} would do. "
                    "Let neighbouring threads use neighbouring numbers")
    return None


def _shares(case, traffic, source):
    if traffic["x"].requests > 2 * ceil_div(case.arguments[0].size, 32):
        return ("the result is right, but single threads read many numbers of x one after another; "
                "let each read one")
    return None


def _reuses(case, traffic, source):
    M, N, K = (int(size) for size in case.arguments[3:])
    reads = traffic["a"].accesses + traffic["b"].accesses
    if reads >= M * N * K:
        return (f"the result is right, but a and b are read {reads} times, as often as without "
                f"tiles; load a tile of each into shared memory, and each number serves {TILE} "
                "threads")
    return None


def _empty(n):
    return np.full(n, np.nan, np.float32)


def _guarded(array):
    """Return a copy with unused memory on both sides of it."""
    memory = np.zeros(array.nbytes + 2 * MARGIN, np.uint8)
    copy = memory[MARGIN:MARGIN + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
