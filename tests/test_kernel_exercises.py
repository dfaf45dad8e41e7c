"""Kernels that learners write: a stub fails politely, the solution passes, each typical mistake is named."""

import pathlib
import re
import runpy

import pytest

from tinynet import emulator
from tinynet.exercises import kernels

LESSONS = pathlib.Path(__file__).parents[1] / "lessons"
LESSON = (LESSONS / "20_your_own_kernel.py").read_text(encoding="utf-8")
SOLUTIONS = {name: text for name, text in runpy.run_path(str(LESSONS / "solutions" / "20_your_own_kernel.py")).items()
             if name[0] != "_"}
CHECK = {"relu": kernels.check_map, "block_sum": kernels.check_sum, "im2col": kernels.check_im2col,
         "product": kernels.check_product}
ADD = "        if (t < half) part[t] += part[t + half];\n        __syncthreads();\n"
MULTIPLY = "        for (int k = 0; k < 16; ++k) sum += tile_a[u][k] * tile_b[k][v];\n"


@pytest.mark.parametrize("name", CHECK)
def test_the_solution_passes(name, kernels_run):
    assert repr(CHECK[name](SOLUTIONS[name])) == "Right: 3 of 3 cases."


@pytest.mark.parametrize("name, said, old, new", [
    ("relu", r"past the end of x, which has 100 elements\. The last block", "    if (i >= n) return;\n", ""),
    ("relu", r"reads x\[100\], past the end", "i >= n", "i > n"),
    ("relu", r"writes to y\[\d+\], which another thread wrote\.", "blockIdx.x * blockDim.x + ", ""),
    ("relu", r"the access to x is not coalesced: the warps touched 50 sectors of 32 bytes, and 22 would do",
     "blockIdx.x * blockDim.x + threadIdx.x", "threadIdx.x * gridDim.x + blockIdx.x"),
    ("relu", r"g\+\+ finds an error in line 4: expected ';' before '}' token", "x[i] : 0;", "x[i] : 0"),
    ("relu", r"y\[0\] is 0\.5\d+; it should be 0\.", ": 0", ": -x[i]"),
    ("relu", r"nothing was written to y\[\d+\]; is there a thread for it\?\n", "i >= n", "i >= n / 2"),
    ("relu", r"the kernel has to begin with\nextern", "int n", "long long n"),
    ("relu", r"is still running after 1000000 steps\. Does the loop end\?\n", "y[i] =", "while (true) y[i] ="),
    ("relu", r"writes to x, which is const", "y[i] =", "((float*)x)[i] ="),
    ("block_sum", r"nobody wrote to\. Each place", "0;\n    __syncthreads();\n", "0;\n"),
    ("block_sum", r"with no barrier between\. A missing __syncthreads\(\)", ADD, ADD.replace("__syncthreads();", "")),
    ("block_sum", r"waits at the barrier of line 7, while 64 threads of its block ended", ADD,
     "        if (t < half) { part[t] += part[t + half]; __syncthreads(); }\n"),
    ("block_sum", r"waits at the barrier of line 5, while 84 threads of its block ended\. Every", "    part[t] = i < n",
     "    if (i >= n) return; part[t] = i < n"),
    ("block_sum", r"reads x\[\d+\], past the end of x, which has 300 elements", "i < n ? x[i] : 0", "x[i]"),
    ("block_sum", r"in line 7: index \d+ is past the end of the array\. A shared array", "half = 64", "half = 128"),
    ("block_sum", r"writes to y\[0\], which another thread wrote", "if (t == 0) ", ""),
    ("block_sum", r"y\[0\] is -?\d+; it should be", "half > 0", "half > 1"),
    ("block_sum", r"single threads read many numbers of x",
     "    for (int half = 64; half > 0; half /= 2) {\n" + ADD + "    }\n    if (t == 0) y[blockIdx.x] = part[0];",
     "    if (t == 0) {\n        float sum = 0;\n        for (int j = i; j < i + 128 && j < n; ++j) sum += x[j];\n"
     "        y[blockIdx.x] = sum;\n    }"),
    ("im2col", r"cols\[0, 2\] is 5; it should be 3", "i % (OH * OW), place = i / (OH * OW)",
     "i / (K * K), place = i % (K * K)"),
    ("im2col", r"cols\[1, 0\] is 5; it should be 2", "place / K, column = window % OW + place % K",
     "place % K, column = window % OW + place / K"),
    ("im2col", r"the access to cols is not coalesced|the access to x is not coalesced",
     "i % (OH * OW), place = i / (OH * OW);", "i / (K * K), place = i % (K * K); i = place * OH * OW + window;"),
    ("product", r"thread \(\d+, \d+\) reads shared memory that nobody wrote to",
     "        __syncthreads();\n" + MULTIPLY, MULTIPLY),
    ("product", r"with no barrier between", MULTIPLY + "        __syncthreads();\n", MULTIPLY),
    ("product", r"reads a\[\d+\], past the end of a, which has 360 elements", " && first + v < K", ""),
    ("product", r"past the end of c, which has 700 elements|writes to c\[\d+\], which another thread",
     "if (i < M && j < N) c", "c"),
    ("product", r"the access to a is not coalesced", "u = threadIdx.y, v = threadIdx.x",
     "u = threadIdx.x, v = threadIdx.y"),
    ("product", r"a and b are read \d+ times, as often as without tiles", "    float sum = 0;\n",
     "    float sum = 0;\n    if (i < M && j < N) {\n        for (int k = 0; k < K; ++k) sum += a[i * K + k] * "
     "b[k * N + j];\n        c[i * N + j] = sum;\n    }\n    return;\n")])
def test_each_mistake_is_named(name, said, old, new, kernels_run):
    assert SOLUTIONS[name].count(old) == 1, old
    answer = CHECK[name](SOLUTIONS[name].replace(old, new))
    assert not answer and repr(answer).startswith("Not yet: ") and re.search(said, repr(answer)), answer


def test_each_advice_is_given_to_somebody():
    """Every line of ADVICE has a mistake above, or one of the emulator's own tests, that it belongs to."""
    source = pathlib.Path(emulator.__file__).with_name("runtime.cpp").read_text(encoding="utf-8")
    said = " ".join(re.findall(r'"([^"]*)"', source)).replace("%s ", "").replace("%zu ", "")
    for part, _ in kernels.ADVICE:
        assert part in said, part


@pytest.mark.parametrize("cell", [text for text in re.split(r"^# %%.*$", LESSON, flags=re.MULTILINE)
                                  if "    ...\n" in text])
def test_an_exercise_runs_by_itself_and_fails_politely(cell, kernels_run):
    names = {}
    exec(cell.rpartition("\nkernels.")[0], names)
    check, name = re.search(r"kernels\.(check_\w+)\((\w+)\)", cell).groups()
    assert repr(getattr(kernels, check)(names[name])) == "Not yet: replace the ... by your kernel."
    assert CHECK[name] is getattr(kernels, check)


def test_without_a_compiler_one_line_says_so(monkeypatch):
    monkeypatch.setattr(emulator, "why_not", lambda: "there is no g++")
    answer = kernels.check_map(SOLUTIONS["relu"])
    assert not answer and repr(answer) == "The kernel was not run: there is no g++."
