"""Lesson 08: sizes, parameters, the sliding window, the gradient of a kernel.

H W  KH KW kernel  OH OW output
"""

import numpy as np

from tinynet import ops
from tinynet.exercises.check import Case, judge, slope_of
from tinynet.shapes import ceil_div, output_size as right_size

# -------------------------------------------------------------------------------------- output_size

SIZE_MISTAKES = {
    "nearly: n steps of a window make n + 1 places, so add 1": lambda size, kernel, stride, pad:
        (size + 2 * pad - kernel) // stride,
    "the padding lies on both sides, so it counts twice": lambda size, kernel, stride, pad:
        (size + pad - kernel) // stride + 1,
    "the padding is forgotten": lambda size, kernel, stride, pad: (size - kernel) // stride + 1,
    "a last window that does not fit completely does not count: round down":
        lambda size, kernel, stride, pad:
        ceil_div(size + 2 * pad - kernel, stride) + 1,
    "round() goes to the nearest whole number, up as well as down; // always rounds down":
        lambda size, kernel, stride, pad: round((size + 2 * pad - kernel) / stride) + 1,
}


def check_output_size(output_size):
    """Check output_size(size, kernel, stride, pad).

    It returns how many windows fit, an int.
    """
    def case(says, *numbers):
        return Case(says, dict(zip(("size", "kernel", "stride", "pad"), numbers)),
                    right_size(*numbers))
    return judge(output_size, [
        case("AlexNet's conv1 at 227 pixels", 227, 11, 4, 0), case("conv2", 27, 5, 1, 2),
        case("conv3", 13, 3, 1, 1),
        case("at 224 pixels the stride does not divide", 224, 11, 4, 0),
        case("one window exactly", 11, 11, 4, 0),
        case("at 226 pixels the rest is nearly a stride", 226, 11, 4, 0),
        case("half a stride is left", 8, 3, 2, 0),
        case("a small one", 7, 3, 2, 1)], SIZE_MISTAKES)


# ---------------------------------------------------------------------------------- conv_parameters

PARAMETER_MISTAKES = {
    "each kernel has a bias too": lambda channels, kernels, size, groups:
        kernels * channels // groups * size**2,
    "there is one bias for each kernel, not for each weight or only one":
        lambda channels, kernels, size, groups: kernels * channels // groups * size**2 + 1,
    "a kernel sees only the channels of its group: channels // groups of them":
        lambda channels, kernels, size, groups: kernels * channels * size**2 + kernels,
    "groups divide the channels that a kernel sees; they do not divide the kernels as well, all "
    "of which are there": (
        lambda channels, kernels, size, groups:
            kernels // groups * (channels // groups) * size**2 + kernels,
        lambda channels, kernels, size, groups:
            kernels // groups * ((channels // groups) * size**2 + 1)),
    "a kernel is size pixels high and size pixels wide":
        lambda channels, kernels, size, groups: kernels * channels // groups * size + kernels,
    "each kernel spans all channels of its group, it is not one map":
        lambda channels, kernels, size, groups: kernels * size**2 + kernels,
}


def check_conv_parameters(conv_parameters):
    """Check conv_parameters(channels, kernels, size, groups).

    It returns how many numbers the layer learns, an int.
    """
    def case(says, *numbers):
        channels, kernels, size, groups = numbers
        return Case(says, dict(zip(("channels", "kernels", "size", "groups"), numbers)),
                    kernels * (channels // groups) * size**2 + kernels)
    return judge(conv_parameters, [
        case("conv1", 3, 96, 11, 1), case("conv3", 256, 384, 3, 1),
        case("conv2, in two groups", 96, 256, 5, 2),
        case("conv4, in two groups", 384, 384, 3, 2)], PARAMETER_MISTAKES)


# ----------------------------------------------------------------------------------------- convolve

def _right_convolve(x, w, stride):
    return ops.conv2d_forward(x[None, None], w[None, None], np.zeros(1, x.dtype), stride, 0, 1)[0,
                                                                                                0]


def _starts_at_i(x, w, stride):
    """Make the mistake that windows begin at i and j, not at i * stride and j * stride."""
    return _right_convolve(x, w, 1)[:_right_convolve(x, w, stride).shape[0],
                                    :_right_convolve(x, w, stride).shape[1]]


CONVOLVE_MISTAKES = {
    "looks like the kernel was flipped: here w[0, 0] meets the window's first pixel, x[i * "
    "stride, j * stride]":
        lambda x, w, stride: _right_convolve(x, w[::-1, ::-1], stride),
    "looks like the kernel was transposed: w[u, v] has the row first": lambda x, w, stride:
        _right_convolve(x, np.ascontiguousarray(w.T), stride),
    "the stride is ignored: the next window begins `stride` pixels further": lambda x, w, stride:
        _right_convolve(x, w, 1),
    "there are as many windows as there should be, but they begin at i and j: begin at i * stride "
    "and j * stride":
        _starts_at_i,
    "add up the products; this is their mean":
        lambda x, w, stride: _right_convolve(x, w, stride) / w.size,
    "one row and one column of windows are missing: n steps make n + 1 windows":
        lambda x, w, stride:
        _right_convolve(x, w, stride)[:-1, :-1],
}


def check_convolve(convolve):
    """Check convolve(x, w, stride).

    It returns y (OH, OW), for one map x (H, W) and one kernel w (KH, KW), without padding.
    """
    rng = np.random.default_rng(3)

    def case(says, x, w, stride):
        return Case(says, {"x": x, "w": w, "stride": stride}, _right_convolve(x, w, stride))

    def random(dtype, H, W, KH, KW, stride):
        return case("random numbers", rng.standard_normal((H, W)).astype(dtype),
                    rng.standard_normal((KH, KW)).astype(dtype), stride)

    by_hand = Case("worked out by hand", {"x": np.array([[1.0, 2, 0], [0, 3, 1], [4, 0, 2]]),
                                          "w": np.array([[1.0, 0], [2, -1]]), "stride": 1},
                   np.array([[-2.0, 7], [8, 1]]))
    return judge(convolve,
                 [by_hand, random("float64", 6, 7, 3, 2, 1), random("float64", 7, 9, 3, 3, 2),
                            random("float64", 8, 9, 2, 3, 3), random("float32", 7, 5, 3, 3, 2)],
                            CONVOLVE_MISTAKES)


# ---------------------------------------------------------------------------------- kernel_gradient

def _right_kernel_gradient(dy, x, w, stride):
    return ops.conv2d_backward(dy[None, None], x[None, None], w[None, None], stride, 0, 1)[1][0, 0]


def _unstrided(dy, x, w, stride):
    OH, OW = dy.shape
    return np.array([[np.sum(dy * x[u:u + OH, v:v + OW]) for v in range(w.shape[1])]
                     for u in range(w.shape[0])])


GRADIENT_MISTAKES = {
    "looks like the result is flipped: the weight w[u, v] met the pixels u rows and v columns "
    "into each window":
        lambda dy, x, w, stride: _right_kernel_gradient(dy, x, w, stride)[::-1, ::-1],
    "looks like the result is transposed: dw has w's shape, and the row is its first index":
        lambda dy, x, w, stride: _right_kernel_gradient(dy, x, w, stride).T,
    "a weight is used in every window, and its gradients add up; this is their mean":
        lambda dy, x, w, stride: _right_kernel_gradient(dy, x, w, stride) / dy.size,
    "only the last window counts: add with +=, do not assign with =":
        lambda dy, x, w, stride: dy[-1, -1] * x[(dy.shape[0] - 1) * stride:,
                                                (dy.shape[1] - 1) * stride:][
            :w.shape[0], :w.shape[1]],
    "the windows lie next to each other: window (i, j) begins at i * stride, j * stride":
        _unstrided,
    "dL/dw is dy times x, the number that w was multiplied with; your result has w as a factor":
        lambda dy, x, w, stride: _right_kernel_gradient(dy, x, w, stride) * w,
    "you left out dy: how much L changes also depends on the layers above": lambda dy, x, w, stride:
        _right_kernel_gradient(np.ones_like(dy), x, w, stride),
}


def check_kernel_gradient(kernel_gradient):
    """Check kernel_gradient(dy, x, w, stride).

    It returns dw (KH, KW), for y = convolve(x, w, stride) and dL/dy = dy (OH, OW).
    """
    rng = np.random.default_rng(4)

    def random(H, W, KH, KW, stride, dtype="float64"):
        x, w = (rng.standard_normal(shape).astype(dtype) for shape in ((H, W), (KH, KW)))
        dy = rng.standard_normal(_right_convolve(x, w, stride).shape).astype(dtype)
        return {"dy": dy, "x": x, "w": w, "stride": stride}

    def case(says, arguments):
        return Case(says, arguments, _right_kernel_gradient(**arguments), 1e-5)

    by_hand = Case("worked out by hand", {"dy": np.array([[1.0, 0], [0, 2]]),
                                          "x": np.array([[1.0, 2, 0], [0, 3, 1], [4, 0, 2]]),
                                          "w": np.array([[1.0, 0], [2, -1]]), "stride": 1},
                   np.array([[7.0, 4], [0, 7]]))
    last = random(7, 6, 3, 2, 2)
    slope = slope_of(lambda: _right_convolve(last["x"], last["w"], 2), last["w"], last["dy"])
    return judge(kernel_gradient, [by_hand, case("random numbers", random(5, 6, 3, 2, 1)),
                                   case("with a stride", random(7, 9, 3, 3, 2)),
                                   case("in float32", random(7, 9, 3, 3, 2, "float32")),
                                   Case("against finite differences", last, slope)],
                                   GRADIENT_MISTAKES)
