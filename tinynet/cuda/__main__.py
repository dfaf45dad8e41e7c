"""Check and time every version of the convolution at AlexNet's shapes, on a GPU.

    python -m tinynet.cuda conv           products in float32
    python -m tinynet.cuda conv --tf32    the products of cuBLAS in TF32, as in versions 8 and 9

Each version is first compared with the columns and cuBLAS in float64. Then its runs are queued one
after another, so that the GPU does not wait for Python between them. dw includes db; dx is what the
whole backward takes beyond that. TFLOP/s count two operations for each product of two numbers
that the formula has; on tiles that are wider than the matrix a version computes more.
"""

import functools
import itertools
import os
import statistics
import sys
import types

import numpy as np

from tinynet import backend, console
from tinynet.cuda import conv, earlier, implicit
from tinynet.shapes import conv2d_shape

LAYERS = {  # x of one picture, w, stride, pad, groups
    "conv1": ((3, 227, 227), (96, 3, 11, 11), 4, 0, 1),
    "conv2": ((96, 27, 27), (256, 48, 5, 5), 1, 2, 2),
    "conv3": ((256, 13, 13), (384, 256, 3, 3), 1, 1, 1),
    "conv4": ((384, 13, 13), (384, 192, 3, 3), 1, 1, 2),
    "conv5": ((384, 13, 13), (256, 192, 3, 3), 1, 1, 2)}
WHAT = {1: "one result per thread", 2: "shared tiles", 3: "eight results per thread",
        4: "8 x 8 results", 5: "four numbers a load", 6: "warp tiles", 7: "double buffering",
        8: "tensor cores, TF32", 9: "asynchronous copies, TF32"}
RUNS, PATIENCE = 20, 0.02    # a version that takes more seconds than this is run three times only
ROUNDING, TF32 = 1e-3, 1e-2  # no error is larger, in parts of the largest number of a result


def versions():
    """Return {name: something with conv2d_forward and conv2d_backward}, from slow to fast.

    On a GPU that is too old for tensor cores and TF32, the versions that need them are left out.
    """
    found = {"loops of conv.cu": earlier.rung(1)}
    for version in implicit.VERSIONS:
        if version >= implicit.TENSOR_CORES and not backend.has_tf32():
            continue
        found[f"{version} {WHAT[version]}"] = types.SimpleNamespace(**{
            name: functools.partial(getattr(implicit, name), version=version)
            for name in ("conv2d_forward", "conv2d_backward")})
    columns = types.SimpleNamespace(conv2d_forward=conv.forward_by_columns,
                                    conv2d_backward=conv.backward_by_columns)
    return found | {"columns and cuBLAS": columns, "what tinynet.cuda runs": conv}


class Problem:
    """One layer with random numbers, and its results in float64."""

    def __init__(self, layer, images, seed=0):
        x, w, *self.settings = LAYERS[layer]
        x = (images, *x)
        y = conv2d_shape(layer, x, w, *self.settings)
        rng = np.random.default_rng(seed)
        self.dy, self.x, self.w, self.b = (
            backend.to_device(rng.standard_normal(shape, np.float32), "gpu")
            for shape in (y, x, w, w[:1]))
        self.flops = 2 * np.prod(y) * np.prod(w[1:])
        self.has_dx = layer != "conv1"
        self.wanted = self.results(conv, np.float64)

    def results(self, version, dtype=np.float32):
        """Return {"forward": y, "dw": dw, "dx": dx or None} of one version."""
        dy, x, w, b = (array.astype(dtype) for array in (self.dy, self.x, self.w, self.b))
        y = version.conv2d_forward(x, w, b, *self.settings)
        dx, dw, _ = version.conv2d_backward(dy, x, w, *self.settings, need_dx=self.has_dx)
        return {"forward": y, "dw": dw, "dx": dx}

    def errors(self, version):
        """Return {direction: largest error, as a part of the largest number of the result}."""
        got = self.results(version)
        return {name: largest(got[name] - wanted) / largest(wanted)
                for name, wanted in self.wanted.items() if wanted is not None}

    def times(self, version):
        """Return {direction: seconds}, medians."""
        def backward(need_dx):
            version.conv2d_backward(self.dy, self.x, self.w, *self.settings, need_dx=need_dx)
        found = {"forward": timed(lambda: version.conv2d_forward(self.x, self.w, self.b,
                                                                 *self.settings)),
                 "dw": timed(lambda: backward(False))}
        if self.has_dx:
            found["dx"] = timed(lambda: backward(True)) - found["dw"]
        return found


def largest(array):
    """Return the largest number, whatever its sign."""
    return float((array * array).max()) ** 0.5


def timed(function):
    """Return the median of the seconds that the GPU takes, of several runs in a row."""
    cuda = sys.modules["cupy"].cuda

    def run(times):
        events = [cuda.Event() for _ in range(times + 1)]
        events[0].record()
        for event in events[1:]:
            function()
            event.record()
        events[-1].synchronize()
        return [cuda.get_elapsed_time(*pair) / 1000 for pair in itertools.pairwise(events)]
    run(1)  # compiles, and fills the memory pool
    once, = run(1)
    return statistics.median(run(3 if once > PATIENCE else RUNS))


def measure(images, tf32):
    """Print a line for each layer and version as soon as it is measured.

    Raises   ArithmeticError, at the end, if an error was more than rounding
    """
    wrong = []
    print(f"{images} pictures, {'TF32' if tf32 else 'float32'}, median of {RUNS} runs in a row; "
          "ms and TFLOP/s of forward, dw and dx; largest error")
    for layer in LAYERS:
        problem = Problem(layer, images)
        for name, version in versions().items():
            error = max(problem.errors(version).values())
            if not error <= (TF32 if tf32 or "TF32" in name else ROUNDING):  # nor is NaN
                wrong.append(f"{layer}, {name}: an error of {error:.1e} is no rounding")
            cells = "".join(f"{1000 * seconds:10.3f}{problem.flops / seconds / 1e12:7.1f}"
                            for seconds in problem.times(version).values())
            print(f"{layer}  {name:28}{cells:51}{error:10.1e}", flush=True)
    if wrong:
        raise ArithmeticError("; ".join(wrong))


def main():
    """Print the table."""
    parser = console.ArgumentParser(prog="python -m tinynet.cuda",
                                    description=__doc__.splitlines()[0])
    parser.add_argument("op", choices=["conv"], help="whose versions")
    parser.add_argument("--tf32", action="store_true", help="cuBLAS multiplies in TF32")
    parser.add_argument("--images", type=console.positive_int, default=128, metavar="N",
                        help="in a batch; the paper has 128")
    args = parser.parse_args()
    os.environ["CUPY_TF32"] = str(int(args.tf32))  # CuPy reads it before its first product
    backend.choose_device("gpu")
    if args.tf32 and not backend.has_tf32():
        raise backend.DeviceError("--tf32: this GPU has no TF32; it is older than compute "
                                  "capability 8.0")
    measure(args.images, args.tf32)


if __name__ == "__main__":
    console.execute(main, mistakes=backend.DeviceError, name="tinynet.cuda")
