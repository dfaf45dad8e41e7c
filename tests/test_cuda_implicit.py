"""Convolution as products whose matrices are never written: every version, in every direction, on the stand-in for CuPy
and on a GPU if there is one; mutants of the kernel and of its tables; the command line that times them."""

import functools
import itertools
import re
import sys
import types

import numpy as np
import pytest
from shape_table import CASES, conv
from test_contract import contract_check
from test_cuda_emulated import source_of
from test_gradients import gradient_check
from test_parity import parity_check

from tinynet import backend, emulator, ops
from tinynet.backend import to_device, to_numpy
from tinynet.cuda import __main__ as ladder, conv as cuda_conv, implicit, kernels

SMALL = [case for case in CASES if case.op == "conv2d"]
LARGE = [conv("two tiles down, groups", (1, 4, 5, 4), (140, 2, 3, 3), pad=1, groups=2),  # 70 kernels of a group
         conv("two tiles across, sums in slices", (3, 4, 9, 8), (5, 4, 3, 3), pad=1)]    # 216 positions
FEW = ["stride that does not divide", "KH is not KW", "pair stride and pad", "groups 2 with a stride", "ceil and pad",
       "windows in nothing but padding", "ceil, stride over the end", "11x11 stride 4", "every second"]


@pytest.fixture
def stand_in(stand_in, monkeypatch):
    """The stand-in, with the tensor cores that the emulator has."""
    monkeypatch.setattr(stand_in.cuda.Device, "compute_capability", "80")
    return stand_in


def rung(version):
    """Convolution by that version."""
    return types.SimpleNamespace(**{name: functools.partial(getattr(implicit, name), version=version)
                                    for name in ("conv2d_forward", "conv2d_backward")})


def tf32_check(number, case):
    """A version for tensor cores agrees with ops to the 10 bits that it multiplies."""
    arrays = case.arrays(np.float32)
    y = ops.conv2d_forward(*arrays.values(), **case.settings)
    dy = case.upstream(y.shape).astype(np.float32)
    wanted = [y, *ops.conv2d_backward(dy, arrays["x"], arrays["w"], **case.settings)]
    on_gpu = {name: to_device(array, "gpu") for name, array in arrays.items()}
    version = rung(number)
    got = [version.conv2d_forward(*on_gpu.values(), **case.settings),
           *version.conv2d_backward(to_device(dy, "gpu"), on_gpu["x"], on_gpu["w"], **case.settings)]
    for name, mine, theirs in zip(("y", "dx", "dw", "db"), got, wanted):
        np.testing.assert_allclose(to_numpy(mine), theirs, rtol=0, atol=2e-3 * max(1e-3, abs(theirs).max()),
                                   err_msg=f"{case}: {name}")


def check(version, case):
    if version >= implicit.TENSOR_CORES:
        tf32_check(version, case)
    else:
        parity_check(rung(version), case, np.float64, "gpu")


# ---- results -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("case", SMALL, ids=str)
@pytest.mark.parametrize("version", [2, 7, 9])
def test_every_shape(stand_in, version, case):
    check(version, case)


@pytest.mark.parametrize("case", [*LARGE, *(case for case in SMALL if case.name in FEW[:5])], ids=str)
@pytest.mark.parametrize("version", implicit.VERSIONS)
def test_every_version(stand_in, version, case):
    check(version, case)


@pytest.mark.gpu
@pytest.mark.parametrize("case", [*SMALL, *LARGE], ids=str)
@pytest.mark.parametrize("version", implicit.VERSIONS)
def test_every_version_on_a_gpu(version, case):
    if version >= implicit.TENSOR_CORES and int(sys.modules["cupy"].cuda.Device().compute_capability) < 80:
        pytest.skip("this GPU has no tensor cores for TF32")
    check(version, case)


@pytest.mark.parametrize("case", [case for case in SMALL if case.name in FEW[:3]], ids=str)
def test_float32_contract_and_gradients(stand_in, case):
    parity_check(rung(7), case, np.float32, "gpu")
    contract_check(implicit, case, np.float32, "gpu")
    gradient_check(implicit, case, "gpu", samples=4)


def test_indices_of_64_bits(stand_in, monkeypatch):
    monkeypatch.setattr(kernels, "LARGE", 0)
    for version in (1, 7, 9):
        check(version, LARGE[1])


def test_more_results_than_an_int_counts(stand_in, monkeypatch):
    """conv1 of 8,192 pictures has 2.4 billion; nothing is allocated, and nothing runs."""
    def huge(*shape, dtype=np.float32):
        return stand_in.ndarray(np.broadcast_to(dtype(0), shape))

    launched, N, P = [], 8192, 55 * 55
    monkeypatch.setattr(kernels, "_function", lambda *_: lambda grid, *_, **__: launched.append(grid))
    monkeypatch.setattr(implicit, "_tables", lambda *_: (
        *(huge(2, count, dtype=np.int64) for count in (96, 363, N * P)), (0, 0, 0)))
    sizes = implicit.Sizes(N, 3, 227, 227, 96, 3, 11, 11, 55, 55, 4, 4, 0, 0)
    implicit._multiply(8, implicit.forward_offsets, sizes, huge(96, 3, 11, 11), huge(N, 3, 227, 227),
                       huge(N, 96, 55, 55), huge(96))
    assert launched == [(N * P // 128,)]


def test_a_sum_in_slices_is_the_same_every_time(stand_in):
    """LARGE[1] has 216 positions: dw is cut, and its slices are added in order."""
    arrays = {name: to_device(array, "gpu") for name, array in LARGE[1].arrays(np.float32).items()}
    dy = to_device(np.random.default_rng(0).standard_normal((3, 5, 9, 8), np.float32), "gpu")
    first, second = (to_numpy(implicit.conv2d_backward(dy, arrays["x"], arrays["w"], 1, 1, 1)[1]) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_nothing_is_moved_twice(stand_in):
    """The tables of a shape go to the GPU once."""
    arrays = {name: to_device(array, "gpu") for name, array in SMALL[0].arrays(np.float32).items()}
    implicit.conv2d_forward(*arrays.values(), **SMALL[0].settings)
    stand_in.meter.reset()
    implicit.conv2d_forward(*arrays.values(), **SMALL[0].settings)
    assert (stand_in.meter.to_device, stand_in.meter.to_host, stand_in.meter.synchronizations) == ([], [], 0)


def test_empty_batches(stand_in):
    x, w, b = (to_device(np.ones(shape, np.float32), "gpu") for shape in ((0, 2, 5, 5), (4, 2, 3, 3), (4,)))
    y = implicit.conv2d_forward(x, w, b, 1, 0, 1)
    dx, dw, db = implicit.conv2d_backward(y, x, w, 1, 0, 1)
    assert (y.shape, dx.shape) == ((0, 4, 3, 3), x.shape)
    assert not to_numpy(dw).any() and not to_numpy(db).any()


def test_tensor_cores_are_never_replaced_silently(stand_in, monkeypatch):
    arrays = {name: to_device(array, "gpu") for name, array in SMALL[0].arrays(np.float64).items()}
    for version in (8, 9):
        with pytest.raises(TypeError, match=f"version {version} multiplies float32 only, not float64"):
            implicit.conv2d_forward(*arrays.values(), **SMALL[0].settings, version=version)
    monkeypatch.setattr(stand_in.cuda.Device, "compute_capability", "75")
    with pytest.raises(backend.DeviceError, match=r"version 8 needs tensor cores for TF32: .* 8\.0 or later"):
        implicit.conv2d_forward(*(array.astype(np.float32) for array in arrays.values()), **SMALL[0].settings,
                                version=8)


@pytest.mark.parametrize("rows, heights", [(96, (128, 128)), (192, (64, 128)), (48, (64, 64)), (128, (128, 128)),
                                           (384, (128, 128)), (256, (128, 128)), (1, (64, 64))])
def test_tiles_fit_the_matrix(rows, heights):
    """Kernels and channels of the groups of AlexNet."""
    assert (implicit.tile(7, rows).ROWS, implicit.tile(9, rows).ROWS) == heights


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tf32, capability", [("0", "80"), ("1", "80"), ("1", "75"), (None, "80")])
def test_what_runs_is_what_was_measured_to_be_faster(stand_in, monkeypatch, tf32, capability, dtype):
    monkeypatch.setattr(cuda_conv, "FASTER_WITHOUT", {"forward": ([3], [4]), "dw": ([4], [3]), "dw and dx": ([], [3])})
    monkeypatch.delenv("CUPY_TF32", raising=False)
    if tf32:
        monkeypatch.setenv("CUPY_TF32", tf32)
    monkeypatch.setattr(stand_in.cuda.Device, "compute_capability", capability)
    ran = []
    for name in ("conv2d_forward", "conv2d_backward"):
        monkeypatch.setattr(implicit, name, lambda *arguments, name=name: ran.append((name, *arguments[-2:])))
    for kernels_of_group in (2, 3, 4):
        arrays = conv("", (1, 2, 3, 3), (2 * kernels_of_group, 1, 2, 2), 1, 0, 2).arrays(dtype)
        x, w, b = (to_device(array, "gpu") for array in arrays.values())
        y = cuda_conv.forward_by_columns(x, w, b, 1, 0, 2)
        ran.append(kernels_of_group)
        cuda_conv.conv2d_forward(x, w, b, 1, 0, 2)
        cuda_conv.conv2d_backward(y, x, w, 1, 0, 2, need_dx=False)
        cuda_conv.conv2d_backward(y, x, w, 1, 0, 2)
    exact, fast = implicit.FASTEST
    forward, dw, dx = ((name, *rest) for name, *rest in (
        ("conv2d_forward", False), ("conv2d_backward", False), ("conv2d_backward", True)))
    if dtype == np.float64:
        assert ran == [2, 3, 4]
    elif (tf32, capability) == ("1", "80"):
        assert ran == [2, 3, (*dw, fast), (*dx, fast), 4, (*forward, fast)]
    else:
        assert ran == [2, 3, (*forward, exact), 4, (*dw, exact)]


# ---- the emulator's tensor cores -----------------------------------------------------------------------------------
FRAGMENTS = """
    int lane = threadIdx.x % 32, g = lane / 4, k = lane % 4;
    float a[4] = {x[g * 8 + k], x[(g + 8) * 8 + k], x[g * 8 + k + 4], x[(g + 8) * 8 + k + 4]};
    float b[2] = {w[k * 8 + g], w[(k + 4) * 8 + g]}, d[4] = {};
    mma(d, a, b);
    for (int e = 0; e < 4; ++e) y[(g + e / 2 * 8) * 8 + 2 * k + e % 2] = d[e];
"""


def run(body, threads=32):
    rng = np.random.default_rng(0)
    x, w, y = rng.integers(-9, 9, (16, 8)), rng.integers(-9, 9, (8, 8)), np.zeros((16, 8), np.float32)
    text = f'extern "C" __global__ void tried(const float* x, const float* w, float* y) {{ {body} }}'
    emulator.Module(text).kernels["tried"].launch((1,), (threads,), (x.astype(np.float32), w.astype(np.float32), y))
    return x @ w, y


@pytest.mark.usefixtures("kernels_run")
def test_the_emulator_multiplies_pieces_as_ptx_defines():
    for _ in range(3):  # each time in another order
        np.testing.assert_array_equal(*run(FRAGMENTS))
    twice = FRAGMENTS.replace("mma(d, a, b);", "mma(d, a, b); mma(d, a, b);")
    wanted, y = run(twice)
    np.testing.assert_array_equal(2 * wanted, y)


@pytest.mark.usefixtures("kernels_run")
@pytest.mark.parametrize("body, threads", [
    (FRAGMENTS.replace("mma(d, a, b);", "if (lane < 31) mma(d, a, b);"), 32),
    (FRAGMENTS.replace("mma(d, a, b);", "if (lane < 9) mma(d, a, b);\n else mma(d, a, b);"), 32), (FRAGMENTS, 24)])
def test_the_emulator_sees_that_a_warp_is_not_whole(body, threads):
    with pytest.raises(emulator.Misstep, match="waits for its warp at line"):
        run(body, threads)


@pytest.mark.usefixtures("kernels_run")
@pytest.mark.parametrize("body, wanted", [
    ("copy_later(&a[i], x + i, true); await_copies(); __syncthreads(); y[i] = a[(i + 1) % 32];",
     lambda x: np.roll(x, -1)),
    ("copy_later(&a[i], x + i, i < 3); await_copies(); y[i] = a[i];", lambda x: np.where(np.arange(32) < 3, x, 0)),
    ("copy_later(&a[i], x + i, true); y[i] = a[i];", lambda x: x * np.nan)])
def test_copies_of_the_emulator_arrive_when_they_are_waited_for(body, wanted):
    np.testing.assert_array_equal(copied(body), wanted(np.arange(32, dtype=np.float32)))


def copied(body):
    text = ('extern "C" __global__ void tried(const float* x, float* y) '
            f'{{ __shared__ float a[64]; int i = threadIdx.x; {body} }}')
    x, y = np.arange(32, dtype=np.float32), np.zeros(32, np.float32)
    emulator.Module(text).kernels["tried"].launch((1,), (32,), (x, y))
    return y


@pytest.mark.usefixtures("kernels_run")
@pytest.mark.parametrize("body, complaint", [
    ("copy_later(&a[i], x + i, true); await_copies(); y[i] = a[(i + 1) % 32];", "(wrote|nobody wrote)"),
    ("a[i] = 0; __syncthreads(); y[i] = a[31 - i]; copy_later(&a[i], x + i, true);", "another thread (read|wrote)"),
    ("copy_later(&a[i], x + i + 1, true);", r"reads x\[32\], past the end")])
def test_the_emulator_watches_copies(body, complaint):
    with pytest.raises(emulator.Misstep, match=complaint):
        copied(body)


@pytest.mark.usefixtures("kernels_run")
def test_the_emulator_rounds_to_tf32():
    text = 'extern "C" __global__ void tried(const float* x, float* y) { y[threadIdx.x] = to_tf32(x[threadIdx.x]); }'
    x = np.float32([1, 1 + 2**-11, 1 + 2**-12, -1 - 3 * 2**-11, 1e30, np.inf, np.nan, 0])
    y = np.zeros_like(x)
    emulator.Module(text).kernels["tried"].launch((1,), (8,), (x, y))
    np.testing.assert_array_equal(y[[0, 1, 2, 3, 5, 6, 7]], [1, 1 + 2**-10, 1, -1 - 2**-9, np.inf, np.nan, 0])
    assert y[4] == pytest.approx(1e30, rel=2**-11)


# ---- mutants -------------------------------------------------------------------------------------------------------
BARRIER = "__syncthreads();"
MUTANTS = [  # version, function, old, new
    (1, "a_row", "min(top + i, I - 1)", "top + i"),
    (1, "b_column", "min(left + j, J - 1)", "left + j"),
    (7, "void write(int", "if (i < I && j < J) ", ""),
    (7, "void write(int", "first == 0 ? sum + bias[i] : sum", "sum + bias[i]"),
    (1, "product_1", "r < p.last", "r < p.R"),
    (1, "product_1", "p.R + r", "r"),
    (2, "void read(", "r < p.last ? p.a[inner + rows[s]] : 0", "p.a[inner + rows[s]]"),
    (7, "void read(", "start + r_of_b + s * B_APART", "start + r_of_b + s"),
    (7, "void write(real", "(r_of_b + s * B_APART)", "(r_of_b + s)"),
    (7, "Share(const", "i + s * A_APART", "i"),
    (2, "product_2", BARRIER + "  // both tiles are complete", ""),
    (2, "product_2", BARRIER + "  // no thread reads them any more", ""),
    (3, "product_3", "i + m, j", "i, j"),
    (4, "product_4", "b[n] = b_tile[r * B_STEP + j + n]", "b[n] = b_tile[r * B_STEP + j]"),
    (5, "read_four", "four.z, to[3] = four.w", "four.w, to[3] = four.z"),
    (5, "product_5", "ROWS / 2, COLUMNS / 2", "4, COLUMNS / 2"),
    (5, "void add_products", "i + DOWN", "i + 4"),
    (5, "void write(const Product& p)", "m / 4 * DOWN", "m / 4 * 4"),
    (6, "warp_top", "* WARP_ROWS", "* 16"),
    (6, "warp_left", "% (COLUMNS / WARP_COLUMNS)", "/ (COLUMNS / WARP_COLUMNS)"),
    (6, "product_6", "lane % 8 * 4", "lane % 8"),
    (7, "product_7", "b_tiles[now]);\n        now = 1 - now;", "b_tiles[now]);"),
    (7, "product_7", "if (more) load.read(p, start + DEPTH);", "load.read(p, start);"),
    (7, "product_7", "// ... until here\n        " + BARRIER, ""),
    (8, "round_to_tf32", "load.b[s] = to_tf32(load.b[s])", "load.b[s] = 1"),
    (8, "void add_products(const float", "from[8 * A_ROW];", "from[4 * A_ROW];"),
    (9, "void add_products(const float", "from[4 * B_STEP]", "from[0]"),
    (8, "void write(const Product& p) const {\n        #pragma unroll\n        for (int m = 0; m < DOWN",
     "2 * k + e % 2", "k + 4 * (e % 2)"),
    (8, "product_8", "1, A_ROW);\n        }\n        " + BARRIER, "1, A_ROW);\n        }"),
    (9, "product_9", "await_copies();", ""),
    (9, "product_9", BARRIER, ""),
    (9, "product_9", "a_tiles[1 - now], b_tiles[1 - now]", "a_tiles[now], b_tiles[now]"),
    (9, "product_9", "start + DEPTH", "start"),
    (9, "void ask_for", "look_up(p, start + DEPTH);", ""),
    (9, "void ask_for", "start + r_of_b + s * B_APART < p.last", "true"),
    (9, "void look_up", "min(start + r_of_a, p.last - 1)", "start + r_of_a"),
    (9, "spread", "to_tf32(pixel)", "pixel"),
    (7, "spread", "down >= 0 && ", ""),
    (7, "spread", "down % SH == 0 && ", ""),
    (7, "spread", "\n                        && j < W", ""),
    (7, "spread", "blockIdx.x * HP * WP", "blockIdx.x * HP"),
    (7, "multiply", "(index_t)q * b_group", "(index_t)q * a_group"),
    (7, "multiply", "(index_t)slice * c_slice", "0"),
    (7, "multiply", "bias + q * I", "bias + q"),
    (7, "multiply", "min(R, (slice + 1) * length)", "R"),
]


def mutated(function, old, new):
    """The text of implicit.cu with the mutant: from the function to its end there is the old text once."""
    text = kernels.source("implicit")
    begins = re.search(rf"(?m)^( *)(__device__|extern).*\b{re.escape(function)}.*$", text)
    ends = begins.end() if begins[0].endswith("}") else text.index(f"\n{begins[1]}}}", begins.end())
    part = text[begins.start():ends]
    assert part.count(old) >= 1, f"{function} has no {old!r}"
    return text[:begins.start()] + part.replace(old, new, 1) + text[ends:]


def odd_numbers_check(version):
    """What is past the end of a sum must not meet the numbers in it: infinity times zero is NaN. TF32 is rounded."""
    def y(x, w):
        x, w, b = (to_device(np.float32(array).reshape(1, 1, 2, 2), "gpu") for array in (x, w, [0] * 4))
        return to_numpy(implicit.conv2d_forward(x, w, b.ravel()[:1], 1, 0, 1, version=version)).item()
    assert y([1, 1, 1, 1], [np.inf, 0, 0, 0]) == y([0, 0, 0, np.inf], [1, 1, 1, 1]) == np.inf
    if version >= implicit.TENSOR_CORES:
        one, more = [1, 0, 0, 0], [1 + 1.5 * 2**-11, 0, 0, 0]
        assert y(more, one) == y(one, more) == 1 + 2**-10


def objection(version):
    """What is said of the first case that does not come out right; None if all do."""
    try:
        odd_numbers_check(version)
        for case in [*LARGE, *(case for case in SMALL if case.name in ("11x11 stride 4", "ceil and pad"))]:
            check(version, case)
    except AssertionError as said:
        return str(said)
    return None


@pytest.mark.parametrize("version, function, old, new", MUTANTS,
                         ids=[re.sub(r"\W+", "_", f"{row[0]}_{row[1]}_{row[3] or row[2]}")[:60] for row in MUTANTS])
def test_mutant_is_caught(stand_in, version, function, old, new):
    with source_of("implicit", mutated(function, old, new)):
        assert objection(version), "nobody noticed"


def test_no_objection_without_a_mutant(stand_in):
    assert [objection(version) for version in (2, 7, 9)] == [None] * 3


@pytest.mark.parametrize("name, change", [
    ("forward_offsets", lambda s: s._replace(SH=1)), ("dx_offsets", lambda s: s._replace(PH=0)),
    ("dw_offsets", lambda s: s._replace(PW=s.PW + 1)), ("dx_offsets", lambda s: s._replace(KH=s.KW, KW=s.KH))])
def test_mutant_of_the_tables_is_caught(stand_in, monkeypatch, name, change):
    right = getattr(implicit, name)
    monkeypatch.setattr(implicit, name, lambda sizes: right(change(sizes)))
    with pytest.raises(AssertionError):
        parity_check(implicit, next(case for case in SMALL if case.name == "pair stride and pad"), np.float64, "gpu")


# ---- the command line ----------------------------------------------------------------------------------------------
TINY = {"conv1": ((3, 11, 9), (5, 3, 3, 3), 2, 0, 1), "conv2": ((4, 5, 5), (6, 2, 3, 3), 1, 1, 2)}


@pytest.fixture
def tiny_ladder(stand_in, monkeypatch):
    monkeypatch.setattr(ladder, "LAYERS", TINY)
    monkeypatch.setattr(ladder, "RUNS", 1)
    monkeypatch.setattr(ladder.implicit, "VERSIONS", [2, 8])
    monkeypatch.setenv("CUPY_TF32", "0")
    monkeypatch.setattr(sys, "argv", ["ladder", "conv", "--images", "2"])


def test_the_ladder_is_checked_and_timed(tiny_ladder, capsys):
    ladder.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 pictures, float32, median of 1 runs in a row; ms and TFLOP/s of forward, dw and dx")
    for line, (layer, name) in zip(lines[1:], itertools.product(TINY, ladder.versions()), strict=True):
        assert line.startswith(f"{layer}  {name} ")
        assert len(re.findall(r"-?\d+\.\d{3}", line)) == (2 if layer == "conv1" else 3)  # conv1 has no dx


def test_the_ladder_refuses_a_wrong_result(tiny_ladder, monkeypatch, capsys):
    wrong = types.SimpleNamespace(conv2d_forward=lambda x, w, b, *settings: ladder.conv.conv2d_forward(
        x * 1.01, w, b, *settings), conv2d_backward=ladder.conv.conv2d_backward)
    monkeypatch.setattr(ladder, "versions", lambda: {"mine": wrong, "right": ladder.conv})
    with pytest.raises(ArithmeticError, match="^conv1, mine: an error of .* is no rounding; conv2, mine: [^;]*$"):
        ladder.main()
    assert len(capsys.readouterr().out.splitlines()) == 5  # the others are timed all the same


def test_the_ladder_ends_before_tensor_cores_where_there_are_none(tiny_ladder, stand_in, monkeypatch):
    assert "8 tensor cores, TF32" in ladder.versions()
    monkeypatch.setattr(stand_in.cuda.Device, "compute_capability", "75")
    assert [name for name in ladder.versions() if name[0].isdigit()] == ["2 shared tiles"]
    monkeypatch.setattr(sys, "argv", ["ladder", "conv", "--tf32"])
    with pytest.raises(backend.DeviceError, match="^--tf32: this GPU has no TF32"):
        ladder.main()


def test_runs_are_queued_one_after_another(stand_in, monkeypatch):
    """The host waits for the last of them only."""
    monkeypatch.setattr(ladder, "RUNS", 7)
    monkeypatch.setattr(ladder, "PATIENCE", 60)
    stand_in.meter.reset()
    ran = []
    ladder.timed(lambda: ran.append(sum(what == "synchronize" for _, what, _ in stand_in.meter.told)))
    assert ran == [0, 1, 2, 2, 2, 2, 2, 2, 2]


def test_without_a_gpu_it_says_so_in_one_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ladder", "conv"])
    monkeypatch.setenv("CUPY_TF32", "0")
    monkeypatch.setattr(backend, "why_no_gpu", lambda number=None: "there is no driver")
    with pytest.raises(backend.DeviceError, match="no usable GPU: there is no driver"):
        ladder.main()
