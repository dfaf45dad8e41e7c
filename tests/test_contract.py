"""What every op on every rung promises beside the right numbers: its arguments stay as they were, its results keep the
dtype, order and device of x, a misfit is refused in words, and `ops` asks nothing of NumPy that CuPy does not have."""

import ast
import contextlib
import functools
import pathlib
from unittest import mock

import numpy as np
import pytest
from shape_table import CASES, LAYOUTS, RUNGS, cases, places, rung

import tinynet.ops
import tinynet.reference
from tinynet.backend import array_module, to_device, to_numpy
from tinynet.shapes import ShapeError


# ---- arguments and results -----------------------------------------------------------------------------------------
def contract_check(rung, case, dtype=np.float32, device="cpu"):
    """AssertionError if an argument is written to, or a result has another dtype, order or device than was promised."""
    arrays = case.arrays(dtype, device)
    before = {name: to_numpy(array).copy() for name, array in arrays.items()}
    made = case.forward(rung, arrays)
    results = {f"forward {name}": array for name, array in made.items()}
    if case.has_backward:
        dy = LAYOUTS[case.layout](case.upstream(next(iter(made.values())).shape, dtype, device))
        arrays, dy_before = {**arrays, "dy": dy}, to_numpy(dy).copy()
        before |= {"dy": dy_before} | {f"forward {name}": to_numpy(array).copy() for name, array in made.items()}
        gradients = case.backward(rung, dy, arrays, made)
        results |= {f"backward {name}": array for name, array in gradients.items()}
    for name, array in before.items():
        now = to_numpy(arrays[name] if name in arrays else results[name])
        np.testing.assert_array_equal(now, array, err_msg=f"{case}: {name} was written to")
    for name, array in results.items():
        kind = np.unsignedinteger if name == "forward argmax" else dtype
        assert np.issubdtype(array.dtype, kind), f"{case}: {name} is {array.dtype}"
        assert array.flags.c_contiguous, f"{case}: {name} is not C-contiguous"
        assert array_module(array) is array_module(next(iter(arrays.values()))), f"{case}: {name} is elsewhere"


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("name, device", places())
def test_contract(name, device, case, dtype):
    contract_check(rung(name), case, dtype, device)


@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("name", RUNGS)
def test_read_only_arrays_are_accepted(name, case):
    arrays = {key: read_only(array) for key, array in case.arrays().items()}
    made = {key: read_only(array) for key, array in case.forward(rung(name), arrays).items()}
    if case.has_backward:
        case.backward(rung(name), read_only(case.upstream(next(iter(made.values())).shape)), arrays, made)


def read_only(array):
    array = np.asarray(array).view()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("name, device", places())
def test_results_share_no_memory_with_arguments(name, device):
    for case in CASES:
        arrays = case.arrays(device=device)
        made = case.forward(rung(name), arrays)
        results = list(made.values())
        if case.has_backward:
            dy = case.upstream(results[0].shape, device=device)
            arrays["dy"] = dy
            results += case.backward(rung(name), dy, arrays, made).values()
        for result in results:
            for key, array in arrays.items():
                assert not share_memory(result, array), f"{case}: a result is {key} itself"


def share_memory(a, b):
    """Whether two arrays share memory. Each gets one more axis: for two without axes, CuPy 14 always says that they do
    (its kernel compares the addresses of two local copies)."""
    return array_module(a).shares_memory(a[None], b[None])


@pytest.mark.parametrize("case", cases("conv2d"))
@pytest.mark.parametrize("name, device", places())
def test_dx_is_left_out_on_request(name, device, case):
    a = case.arrays(device=device)
    dy = case.upstream(case.forward(rung(name), a)["y"].shape, device=device)
    _, dw, db = rung(name).conv2d_backward(dy, a["x"], a["w"], **case.settings)
    dx, same_dw, same_db = rung(name).conv2d_backward(dy, a["x"], a["w"], **case.settings, need_dx=False)
    assert dx is None
    np.testing.assert_array_equal(to_numpy(same_dw), to_numpy(dw))
    np.testing.assert_array_equal(to_numpy(same_db), to_numpy(db))


@pytest.mark.parametrize("name, device", places())
def test_sgd_step_in_place_writes_to_w_and_v_alone(name, device):
    w, v, dw = (to_device(np.ones((2, 2)), device) for _ in range(3))
    rung(name).sgd_step_(w, v, dw, lr=0.5, momentum=0.5, weight_decay=0.5)
    assert (to_numpy(v) == 0.5 - 0.25 - 0.5).all()
    assert (to_numpy(w) == 1 - 0.25).all()
    assert (to_numpy(dw) == 1).all()


# ---- misfits -------------------------------------------------------------------------------------------------------
def a(*shape):
    return np.zeros(shape, np.float32)


AXES = "{0}: x needs 4 axes, x (3, 3) has 2"
MISFITS = [
    ("conv2d_forward", (a(128, 64, 27, 27), a(256, 48, 5, 5), a(256), 1, 2, 2),
     "conv2d_forward: w (256, 48, 5, 5) with groups=2 expects 96 input channels, x (128, 64, 27, 27) has 64"),
    ("conv2d_backward", (a(1, 4, 3, 3), a(1, 3, 5, 5), a(4, 2, 3, 3), 1, 0, 1),
     "conv2d_backward: w (4, 2, 3, 3) with groups=1 expects 2 input channels, x (1, 3, 5, 5) has 3"),
    ("conv2d_forward", (a(1, 3, 5, 5), a(4, 1, 3, 3), a(4), 1, 0, 3),
     "conv2d_forward: 4 kernels cannot be divided into groups=3"),
    ("conv2d_forward", (a(1, 3, 5, 5), a(4, 3, 3, 3), a(3), 1, 0, 1),
     "conv2d_forward: b must have shape (4,), b has (3,)"),
    ("conv2d_forward", (a(1, 3, 5, 5), a(4, 3, 7, 7), a(4), 1, 0, 1),
     "conv2d_forward: a window of 7 does not fit into 5 pixels, x is (1, 3, 5, 5)"),
    ("conv2d_forward", (a(1, 3, 5, 5), a(4, 3, 8, 8), a(4), 1, 1, 1, True),
     "conv2d_forward: a window of 8 does not fit into 5 pixels padded by 1, x is (1, 3, 5, 5)"),
    ("conv2d_forward", (a(1, 3, 5, 5), a(4, 3, 3, 3), a(4), 0, 0, 1),
     "conv2d_forward: size 5, kernel 3 and stride 0 must be at least 1, pad 0 at least 0, x is (1, 3, 5, 5)"),
    ("conv2d_forward", (a(1, 3, 5, 5), a(4, 3, 3, 3), a(4), 2.9, 0, 1),
     "conv2d_forward: a size, stride or padding is a whole number of pixels or a (height, width) pair of them, "
     "not 2.9, x is (1, 3, 5, 5)"),
    ("conv2d_forward", (a(3, 3), a(4, 3, 3, 3), a(4), 1, 0, 1), AXES),
    ("conv2d_forward", (a(1, 3, 5, 5), a(4, 27), a(4), 1, 0, 1), "conv2d_forward: w needs 4 axes, w (4, 27) has 2"),
    ("conv2d_backward", (a(1, 4, 5, 5), a(1, 3, 5, 5), a(4, 3, 3, 3), 1, 0, 1),
     "conv2d_backward: dy must have shape (1, 4, 3, 3), dy has (1, 4, 5, 5)"),
    ("im2col", (a(3, 3), 2, 2, 1, 0), AXES),
    ("im2col", (a(1, 1, 3, 3), 4, 2, 1, 0), "im2col: a window of 4 does not fit into 3 pixels, x is (1, 1, 3, 3)"),
    ("col2im", (a(4, 4), (3, 3), 2, 2, 1, 0), AXES),
    ("col2im", (a(4, 4), (1, 1, 3, 3), 4, 2, 1, 0),
     "col2im: a window of 4 does not fit into 3 pixels, x is (1, 1, 3, 3)"),
    ("maxpool_forward", (a(3, 3), 2, 2), AXES),
    ("maxpool_forward", (a(1, 1, 2, 9), 4, 2, 0, True),  # of 3 one window would fit, cut off at the end
     "maxpool_forward: a window of 4 does not fit into 2 pixels, x is (1, 1, 2, 9)"),
    ("maxpool_forward", (a(1, 1, 9, 9), (3, 2), 2, 2),
     "maxpool_forward: pad 2 must be smaller than the window of 2: a window in the padding alone has no largest pixel "
     "and no mean"),
    ("maxpool_forward", (a(1, 1, 9, 9), 3, 2, True),
     "maxpool_forward: a size, stride or padding is a whole number of pixels or a (height, width) pair of them, "
     "not True, x is (1, 1, 9, 9)"),
    ("maxpool_backward", (a(1, 1, 2, 2), a(1, 1, 2, 2), (3, 3), 2, 2), AXES),
    ("maxpool_backward", (a(1, 1, 3, 3), a(1, 1, 2, 2), (1, 1, 5, 5), 3, 2),
     "maxpool_backward: dy must have shape (1, 1, 2, 2), dy has (1, 1, 3, 3)"),
    ("maxpool_backward", (a(1, 1, 2, 2), a(1, 1, 3, 3), (1, 1, 5, 5), 3, 2),
     "maxpool_backward: argmax must have shape (1, 1, 2, 2), argmax has (1, 1, 3, 3)"),
    ("avgpool_forward", (a(3, 3), 2, 2), AXES),
    ("avgpool_forward", (a(1, 1, 2, 9), 4, 2, 0, True),
     "avgpool_forward: a window of 4 does not fit into 2 pixels, x is (1, 1, 2, 9)"),
    ("avgpool_backward", (a(1, 1, 4, 4), (1, 1, 5, 5), 2, 1, 2),
     "avgpool_backward: pad 2 must be smaller than the window of 2: a window in the padding alone has no largest pixel "
     "and no mean"),
    ("avgpool_backward", (a(1, 1, 2, 2), (3, 3), 2, 2), AXES),
    ("avgpool_backward", (a(1, 1, 3, 3), (1, 1, 5, 5), 3, 2),
     "avgpool_backward: dy must have shape (1, 1, 2, 2), dy has (1, 1, 3, 3)"),
    ("lrn_forward", (a(3, 3), 5, 2, 1e-4, 0.75), AXES),
    ("lrn_forward", (a(1, 5, 2, 2), 3, 2, 1e-4, 0.75, 2),
     "lrn_forward: 5 channels of x (1, 5, 2, 2) cannot be divided into groups=2"),
    ("lrn_backward", (a(1, 2, 2, 2), a(1, 4, 2, 2), a(1, 4, 2, 2), 5, 1e-4, 0.75),
     "lrn_backward: dy must have shape (1, 4, 2, 2), dy has (1, 2, 2, 2)"),
    ("lrn_within_forward", (a(3, 3), 5, 2, 1e-4, 0.75), AXES),
    ("lrn_within_backward", (a(1, 2, 2, 2), a(1, 4, 2, 2), a(1, 4, 2, 2), 5, 1e-4, 0.75),
     "lrn_within_backward: dy must have shape (1, 4, 2, 2), dy has (1, 2, 2, 2)"),
    ("linear_forward", (a(2, 5), a(3, 4), a(3)), "linear_forward: w (3, 4) expects 4 inputs, x (2, 5) has 5"),
    ("linear_forward", (a(2, 4), a(3, 4), a(4)), "linear_forward: b must have shape (3,), b has (4,)"),
    ("linear_forward", (a(2, 1, 2, 2), a(3, 4), a(3)), "linear_forward: x needs 2 axes, x (2, 1, 2, 2) has 4"),
    ("linear_backward", (a(2, 4), a(2, 4), a(3, 4)), "linear_backward: dy must have shape (2, 3), dy has (2, 4)"),
    ("dropout_forward", (a(2, 4), a(4)), "dropout_forward: mask must have shape (2, 4), mask has (4,)"),
    ("dropout_backward", (a(2, 4), a(4)), "dropout_backward: mask must have shape (2, 4), mask has (4,)"),
    ("softmax_cross_entropy_forward", (a(4), np.zeros(4, int)),
     "softmax_cross_entropy_forward: logits needs 2 axes, logits (4,) has 1"),
    ("softmax_cross_entropy_forward", (a(4, 3), np.zeros(3, int)),
     "softmax_cross_entropy_forward: labels must have shape (4,), labels has (3,)"),
    ("softmax_cross_entropy_backward", (a(4, 3), np.zeros((4, 3), int)),
     "softmax_cross_entropy_backward: labels must have shape (4,), labels has (4, 3)"),
    ("sgd_step", (a(4, 3), a(3), a(4, 3), 0.1, 0.9, 0), "sgd_step: v must have shape (4, 3), v has (3,)"),
    ("sgd_step_", (a(4, 3), a(4, 3), a(3), 0.1, 0.9, 0), "sgd_step: dw must have shape (4, 3), dw has (3,)"),
]


@pytest.mark.parametrize("function, arguments, message", [
    pytest.param(*misfit, id=f"{misfit[0]}-{number}") for number, misfit in enumerate(MISFITS)])
@pytest.mark.parametrize("name, device", places())
def test_misfits_are_refused_in_words(name, device, function, arguments, message):
    arguments = [to_device(each, device) if isinstance(each, np.ndarray) else each for each in arguments]
    with pytest.raises(ShapeError) as error:
        getattr(rung(name), function)(*arguments)
    assert str(error.value) == message.format(function)


@pytest.mark.parametrize("function", ["lrn_forward", "lrn_within_forward"])
@pytest.mark.parametrize("n", [4, 0, -1])
@pytest.mark.parametrize("name, device", places())
def test_lrn_wants_an_odd_window(name, device, function, n):
    with pytest.raises(ValueError) as error:
        getattr(rung(name), function)(to_device(a(1, 4, 2, 2), device), n, 2, 1e-4, 0.75)
    assert str(error.value) == f"{function}: n={n} must be odd, so that the window has a middle"


# ---- ops asks nothing of NumPy that CuPy does not have -------------------------------------------------------------
# Read off cupy/__init__.py and the methods of cupy.ndarray. If ops begins to use a function that is not here, the test
# fails: look it up in CuPy's documentation, then add it.
CUPY_FUNCTIONS = {
    "absolute", "add", "arange", "ascontiguousarray", "bitwise_and", "bitwise_or", "broadcast_to", "concatenate",
    "copyto", "divide", "einsum", "empty", "empty_like", "equal", "exp", "full", "full_like", "greater",
    "greater_equal", "isnan", "less", "less_equal", "log", "log1p", "logical_and", "matmul", "maximum", "minimum",
    "moveaxis", "multiply", "negative", "not_equal", "ones", "ones_like", "power", "reciprocal", "reshape",
    "sqrt", "square", "stack", "subtract", "tanh", "tensordot", "transpose", "where", "zeros", "zeros_like"}
CUPY_METHODS = {"argmax", "astype", "copy", "max", "mean", "min", "ravel", "reshape", "sum", "swapaxes", "transpose"}
CUPY_KEYWORDS = {"axis", "dtype", "keepdims", "out"}  # CuPy's ufuncs have no `order`, its reductions no `initial`
WITHOUT_KERNELS = ["ops"]  # the rungs whose one source runs on NumPy and CuPy arrays
NO_ARRAY_INVOLVED = {"inf", "min_scalar_type"}  # what a module of ops may take from NumPy itself


class NotOnCuPy(AssertionError):
    pass


class Strict(np.ndarray):
    """A NumPy array that allows what a CuPy array allows, and no float64."""

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        return call(name, getattr(ufunc, method), inputs, keywords, CUPY_FUNCTIONS)

    def __array_function__(self, function, types, args, keywords):
        return call(function.__name__, function, args, keywords, CUPY_FUNCTIONS)

    def __getitem__(self, index):
        return np.ndarray.view(np.asarray(np.ndarray.__getitem__(plain(self), plain(index))), Strict)

    def _round_trip(self, *args, **keywords):
        raise NotOnCuPy("an array was brought to the host")

    __array__ = __bool__ = __complex__ = __float__ = __index__ = __int__ = __iter__ = _round_trip
    item = tolist = tobytes = _round_trip


def _method(name):
    function = getattr(np.ndarray, name)

    @functools.wraps(function)
    def strict(self, *args, **keywords):
        return call(name, function, (self, *args), keywords, CUPY_METHODS)
    return strict


for _name in dir(np.ndarray):
    if not _name.startswith("_") and _name not in vars(Strict) and callable(getattr(np.ndarray, _name)):
        setattr(Strict, _name, _method(_name))


class StrictNumPy:
    """Stands in for `xp`: every function is looked up among CuPy's, every result is Strict."""

    def __getattr__(self, name):
        value = getattr(np, name)
        return lambda *args, **keywords: call(name, value, args, keywords, CUPY_FUNCTIONS)


def call(name, function, args, keywords, known):
    if name not in known:
        raise NotOnCuPy(f"{name} is not among the names that are known to be in CuPy")
    if keywords.keys() - CUPY_KEYWORDS:
        raise NotOnCuPy(f"{name} is called with {', '.join(sorted(keywords.keys() - CUPY_KEYWORDS))}")
    result = function(*plain(args), **{key: plain(value) for key, value in keywords.items()})
    out = keywords.get("out")
    if out is not None:
        result = out[0] if isinstance(out, tuple) else out
    if isinstance(result, np.ndarray | np.generic):
        assert result.dtype.kind != "f" or result.dtype == np.float32, f"{name} made a {result.dtype}"
        return np.ndarray.view(np.asarray(plain(result)), Strict)  # CuPy has no scalars: arrays of 0 axes
    return result


def plain(value):
    if isinstance(value, Strict):
        return np.ndarray.view(value, np.ndarray)
    if isinstance(value, tuple | list):
        return type(value)(plain(each) for each in value)
    return value


@contextlib.contextmanager
def strict_numpy(rung):
    """While it lasts, the functions of this rung find Strict NumPy where they ask for the module of an array."""
    with contextlib.ExitStack() as stack:
        for name in tinynet.reference.__all__:
            names = getattr(rung, name).__globals__
            if "array_module" in names:
                stack.enter_context(mock.patch.dict(names, array_module=lambda x: StrictNumPy()))
        yield


def strict_check(rung, case):
    """AssertionError if the op, given float32, makes a float64 on the way or needs what CuPy does not have."""
    with strict_numpy(rung):
        arrays = {name: np.ndarray.view(array, Strict) for name, array in case.arrays(np.float32).items()}
        made = case.forward(rung, arrays)
        if case.has_backward:
            dy = np.ndarray.view(case.upstream(next(iter(made.values())).shape, np.float32), Strict)
            case.backward(rung, dy, arrays, made)


@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("name", WITHOUT_KERNELS)
def test_nothing_but_cupy_and_float32(name, case):
    strict_check(rung(name), case)


@pytest.mark.parametrize("name", WITHOUT_KERNELS)
def test_nothing_of_numpy_itself(name):
    for path in pathlib.Path(rung(name).__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("np", "numpy"):
                assert node.attr in NO_ARRAY_INVOLVED, f"{path.name}, line {node.lineno}: np.{node.attr} is on the host"


SINS = {
    "NumPy has it, CuPy does not": lambda x, xp: xp.spacing(x),
    "past xp": lambda x, xp: np.spacing(x),
    "a method": lambda x, xp: x.searchsorted(x),
    "a keyword": lambda x, xp: xp.divide(x, 3, order="C"),
    "a method's keyword": lambda x, xp: x.max(initial=0),
    "ufunc.at": lambda x, xp: np.add.at(x, [0, 0], 1),
    "float()": lambda x, xp: float(x.sum()),
    "if": lambda x, xp: 1 if x[0] > 0 else 2,
    "for": lambda x, xp: list(x),
    "item": lambda x, xp: x.item(0),
    "float64 for want of a dtype": lambda x, xp: xp.zeros(3),
    "float64 on purpose": lambda x, xp: x.sum(dtype="float64"),
    "float64 from a NumPy scalar": lambda x, xp: x * np.float64(2),
    "float64 from the other side": lambda x, xp: x + np.zeros(3),
    "float64 from integers": lambda x, xp: xp.arange(3) / 2,
}


@pytest.mark.parametrize("sin", SINS.values(), ids=SINS.keys())
def test_strict_numpy_sees_each_sin(sin):
    with pytest.raises(AssertionError):
        sin(np.arange(3, dtype=np.float32).view(Strict), StrictNumPy())


def test_strict_numpy_lets_good_code_through():
    x, xp = np.arange(6, dtype=np.float32).reshape(2, 3).view(Strict), StrictNumPy()
    y = 2 * xp.maximum(x, 0).T + xp.zeros(2, x.dtype)
    y += x.sum(axis=1)
    y[xp.arange(2), :1] *= 3
    np.testing.assert_array_equal(plain(y), [[9, 18], [15, 20], [7, 22]])


@pytest.mark.parametrize("name", ["reference", "ops", "cpu"])
def test_an_empty_batch_is_a_batch(name):
    """Of no pictures come no activations, forward and backward, whatever the layer."""
    ops, x = rung(name), np.zeros((0, 4, 6, 5), np.float32)
    w, b = np.zeros((2, 2, 3, 3), np.float32), np.zeros(2, np.float32)
    for stride, OH, OW in ((1, 6, 5), (2, 3, 3)):
        y = ops.conv2d_forward(x, w, b, stride, 1, 2)
        dx, dw, db = ops.conv2d_backward(y, x, w, stride, 1, 2)
        assert y.shape == (0, 2, OH, OW) and dx.shape == x.shape and not dw.any() and not db.any()
    y, scale = ops.lrn_forward(x, 3, 2.0, 1e-4, 0.75)
    assert y.shape == ops.lrn_backward(x, x, scale, 3, 1e-4, 0.75).shape == x.shape
    y, argmax = ops.maxpool_forward(x, 3, 2)
    assert y.shape == (0, 4, 2, 2) and ops.maxpool_backward(y, argmax, x.shape, 3, 2).shape == x.shape
    assert ops.relu_backward(x, ops.relu_forward(x)).shape == x.shape
