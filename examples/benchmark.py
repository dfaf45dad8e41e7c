"""Measure AlexNet's training step, layer by layer, beside the machine's limit and other libraries.

    python examples/benchmark.py
    python examples/benchmark.py --rungs ops,cpu --against torch,compile --json step.json
    python examples/benchmark.py --against onnxruntime --batch-size 8
    python examples/benchmark.py --device gpu --against torch

The contenders take turns, one step each, `--repeats` times, so that other work on the machine slows
all of them. The result is the median; the fastest and the slowest turn stand beside it. The limit
of each layer is measured in the same turns. On the CPU it is the bare matrix products of a
convolution or a fully connected layer, and for all other layers a copy of as many bytes as the
layer has to read and write. On a GPU it is the multiplications of the layer at the speed of one
large matrix product, or its bytes at the speed of one large copy, whichever takes longer; there
everything is measured twice, without and with TF32 where the GPU has it, and a turn is 20 steps in
a row, of which it is the mean. Peak memory is that of a separate process which makes two steps.

A share of 100 % means that the layer takes no longer than its products, or its copy, alone. On the
CPU it can be more, because Winograd's convolution needs fewer multiplications than the products.
"""

import importlib.util
import json
import math
import multiprocessing
import os
import pathlib
import re
import resource
import sys
import time

import numpy as np
from contenders import AGAINST, Stopwatch, Torch, make_contender
from matplotlib.figure import Figure

import tinynet
from tinynet import backend, console, shapes
from tinynet.checkpoint import atomic_write
from tinynet.cpu import parallel
from tinynet.layers import LRN, Conv2d, Dropout, Linear, LRNWithin, MaxPool, ReLU

RUNGS = {"cpu": ("ops", "cpu"), "gpu": ("ops", "cuda")}  # what each device can measure
PHASES = ("forward", "backward", "update")
MILLISECONDS = 1000


class Mistake(ValueError):
    """What was asked for cannot be measured; the message is one line for the user."""


def main():
    args = parse_arguments()
    device, why = backend.choose_device(args.device)
    if device == "gpu":
        require_cuda_of(args.against)
    size = tinynet.RECIPES[args.recipe].image_size if args.image_size is None else args.image_size
    report = {"device": why if device == "gpu" else "cpu", "recipe": args.recipe,
              "image_size": size, "batch_size": args.batch_size, "threads": parallel.thread_count(),
              "repeats": args.repeats, "training": "onnxruntime" not in args.against,
              "work": {}, "seconds": {}, "peak_bytes": {}}
    print(f"{args.recipe}, {size} pixels, batches of {args.batch_size}, float32, "
          f"{why if device == 'gpu' else f'{parallel.thread_count()} cores'}, "
          f"{'training steps' if report['training'] else 'inference'}, median of {args.repeats}")
    if device == "cpu":
        measure(args, report)
    else:
        os.environ["CUPY_TF32"] = "0"  # read by CuPy before its first product, and by our Torch
        report = in_a_fresh_process(measure, args, report)
        if not has_tf32():
            print("no TF32: this GPU is older than compute capability 8.0")
        elif "cuda" in args.rungs:  # those of ops have three axes, for which CuPy has no TF32
            os.environ["CUPY_TF32"], args.rungs = "1", ["cuda"]
            report = in_a_fresh_process(measure, args, report, " tf32")
    for name in report["seconds"]:
        if not name.startswith("limit"):
            report["peak_bytes"][name] = in_a_fresh_process(two_steps, name.split()[0], args,
                                                            report["training"])
    print_totals(report)
    with atomic_write(args.json) as file:
        file.write(json.dumps(report, indent=2).encode() + b"\n")
    chart = args.json.with_suffix(".png")
    draw(chart, report)
    print(f"wrote {args.json} and {chart}")


def require_cuda_of(against):
    """Raise Mistake, before anything is measured, if this PyTorch has no CUDA."""
    if "torch" in against or "compile" in against:
        import torch
        if not torch.cuda.is_available():
            raise Mistake(f"--against torch: PyTorch {torch.__version__} finds no GPU; install a "
                          "build with CUDA from pytorch.org")


def has_tf32():
    """Return whether the GPU in use has TF32. An older one would compute in float32, unasked."""
    import cupy
    return int(cupy.cuda.Device().compute_capability) >= 80


def measure(args, report, suffix=""):
    """Let the contenders take turns, and write their times into the report, names with a suffix."""
    net, x, labels = make_task(args)
    training, names = report["training"], [*args.rungs, *args.against]
    contenders = {name: make_contender(name, net, x, labels) for name in names}
    limit = (CPULimit if net.device == "cpu" else GPULimit)(net, x.shape)
    turns = {name: [] for name in (*names, "limit")}
    steps = (args.repeats + 1) * len(names)
    with console.Progress(steps, f"measuring{suffix}", "steps") as progress:
        backend.on_compile = progress.say
        for turn in range(args.repeats + 1):
            for name, contender in contenders.items():
                times = contender.step() if training else contender.infer()
                if turn > 0:  # the first turn warms up: caches, buffers, compilation
                    turns[name].append(times)
                progress.update(1, name)
            limits = limit.measure(training)
            if turn > 0:
                turns["limit"].append(limits)
    report["work"] = limit.work(training)
    report["seconds"] |= {name + suffix: median_and_spread(rows) for name, rows in turns.items()}
    for name in args.rungs:
        print_layers(report, name, suffix)
    return report


def make_task(args):
    """Return a network on its device, and a batch of pictures and labels."""
    rng = np.random.default_rng(0)
    net = tinynet.AlexNet(args.recipe, image_size=args.image_size, rng=rng)
    device, _ = backend.choose_device(args.device, net.summary().gpu_bytes(args.batch_size))
    net.to(device)
    x = rng.standard_normal((args.batch_size, *net.in_shape), np.float32)
    return net, x, rng.integers(0, 1000, args.batch_size)


def in_a_fresh_process(function, *args):
    """Return function(*args), computed in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(call, (function, args))


def call(function, args):
    """Return function(*args). CuPy's own MemoryError cannot be sent to another process."""
    try:
        return function(*args)
    except MemoryError as error:
        raise MemoryError(str(error)) from None


# ------------------------------------------------------------------------ what the machine can do

class Work:
    """The least that every layer has to multiply, read and write."""

    def __init__(self, net, x_shape):
        self.net, self.N = net, x_shape[0]
        self.shapes, shape = {}, x_shape
        for layer in net.layers:
            self.shapes[layer.name] = shape, layer.output_shape(shape)
            shape = layer.output_shape(shape)

    def work(self, training):
        """Return {"conv1 forward": {"macs": ..., "bytes": ...}, ...}."""
        rows = {}
        for layer in self.net.layers:
            in_shape, out_shape = self.shapes[layer.name]
            x, y = math.prod(in_shape), math.prod(out_shape)
            params = sum(p.size for p in layer.params.values())
            macs = layer.macs(in_shape)
            need_dx = getattr(layer, "need_dx", True)
            forward, backward = {
                Conv2d: (x + params + y, y + x + 2 * params + need_dx * x),  # dy, x, w -> dx, dw
                Linear: (x + params + y, y + x + 2 * params + x),
                MaxPool: (x + y + y / 4, y + y / 4 + x),                     # argmax is a byte
                LRN: (3 * x, 5 * x), LRNWithin: (3 * x, 5 * x),  # y, scale; dy, x, y, scale -> dx
                Dropout: (3 * x, 3 * x), ReLU: (2 * x, 3 * x),
            }.get(type(layer), (0, 0))
            rows[f"{layer.name} forward"] = {"macs": macs, "bytes": int(4 * forward)}
            if training:
                rows[f"{layer.name} backward"] = {"macs": macs * (1 + need_dx),
                                                  "bytes": int(4 * backward)}
        if training:
            weights = sum(p.size for p in self.net.named_params().values())
            rows["all weights update"] = {"macs": 0, "bytes": 4 * 5 * weights}  # w, v, dw -> w, v
        return rows


class CPULimit(Work):
    """Measures the matrix products of each layer, or a copy of its bytes, without the layer."""

    def __init__(self, net, x_shape):
        super().__init__(net, x_shape)
        largest = max(row["bytes"] for row in self.work(True).values())
        self.copied = [np.ones(min(largest, 1 << 28) // 8, np.float32) for _ in range(2)]

    def measure(self, training):
        """Return {(layer, phase): seconds}."""
        times = {}
        for key, work in self.work(training).items():
            name, phase = key.rsplit(" ", 1)
            if work["macs"]:
                times[name, phase] = self.products(self.net[name], phase)
            elif work["bytes"]:
                times[name, phase] = self.copy(work["bytes"])
        return times | {("step", "total"): sum(times.values())}

    def products(self, layer, phase):
        """Return the seconds of a layer's products on ready matrices, each core with its own."""
        in_shape, out_shape = self.shapes[layer.name]
        if isinstance(layer, Linear):
            count = parallel.thread_count()
            sizes = *in_shape, shapes.ceil_div(out_shape[1], count)
        else:
            G, (K, CG, KH, KW) = layer.groups, layer.params["w"].shape
            count, sizes = in_shape[0] * G, (K // G, CG * KH * KW, math.prod(out_shape[2:]))
        (A, B, C), need_dx = sizes, getattr(layer, "need_dx", True)
        a, b, c = (np.ones(shape, np.float32) for shape in ((A, B), (B, C), (A, C)))
        free = [[np.empty(shape, np.float32) for shape in ((A, C), (A, B), (B, C))]
                for _ in range(parallel.thread_count())]

        def work(_):
            out = free.pop()
            if phase == "forward":
                np.matmul(a, b, out=out[0])
            else:
                np.matmul(c, b.T, out=out[1])
                if need_dx:
                    np.matmul(a.T, c, out=out[2])
            free.append(out)

        started = time.perf_counter()
        parallel.for_each(work, range(count))
        return time.perf_counter() - started

    def copy(self, size):
        """Return the seconds of a copy that reads size / 2 bytes and writes as many."""
        source, target = self.copied
        started = time.perf_counter()
        left = size // 8
        while left > 0:
            n = min(left, source.size)
            parallel.for_each_block(lambda a, b: np.copyto(b, a), source[:n], target[:n])
            left -= n
        return time.perf_counter() - started


class GPULimit(Work):
    """Estimates each layer at the speed of one large matrix product or of one large copy.

    Both are of random numbers: a GPU computes faster with ones, which switch fewer transistors.
    """

    SIDE, BYTES = 8192, 1 << 30  # of the matrices; of the copy, read and written

    def __init__(self, net, x_shape):
        import cupy
        super().__init__(net, x_shape)
        self.cupy = cupy
        numbers = np.random.default_rng(0).standard_normal(self.SIDE**2, np.float32)
        self.matrix = cupy.asarray(numbers.reshape(self.SIDE, self.SIDE))
        self.product = cupy.empty(self.matrix.shape, np.float32)
        self.source = cupy.asarray(np.resize(numbers, self.BYTES // 8))
        self.target = cupy.empty(self.source.shape, np.float32)

    def measure(self, training):
        """Return {(layer, phase): seconds}, and the seconds of one multiply-accumulate and byte."""
        watch, matrix = Stopwatch("gpu"), self.matrix
        watch.timed("product", lambda: self.cupy.matmul(matrix, matrix, out=self.product))
        watch.timed("copy", lambda: self.cupy.copyto(self.target, self.source))
        seconds = watch.seconds()
        of_a_mac, of_a_byte = seconds["product"] / self.SIDE**3, seconds["copy"] / self.BYTES
        times = {tuple(key.rsplit(" ", 1)): max(work["macs"] * of_a_mac, work["bytes"] * of_a_byte)
                 for key, work in self.work(training).items()}
        return times | {("step", "total"): sum(times.values()), ("machine", "mac"): of_a_mac,
                        ("machine", "byte"): of_a_byte}


def two_steps(name, args, training):
    """Return the peak bytes of two steps of one contender; call it in a new process."""
    net, x, labels = make_task(args)
    contender, device = make_contender(name, net, x, labels), net.device
    if isinstance(contender, Torch):
        del net  # its weights are not PyTorch's
        contender.layer_by_layer = dict  # the ordinary step and nothing else
    for _ in range(2):
        contender.step() if training else contender.infer()
    if device == "cpu":
        return peak_bytes()
    if isinstance(contender, Torch):
        return contender.torch.cuda.max_memory_reserved()
    import cupy
    return cupy.get_default_memory_pool().total_bytes()


def peak_bytes():
    """Return the peak memory of this process. On Linux, getrusage would count its parent too."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        return 1024 * int(re.search(r"VmHWM:\s*(\d+)", status.read_text()).group(1))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# ---------------------------------------------------------------------------------------- results

def median_and_spread(rows):
    """Return {"conv1 forward": (median, fastest, slowest)} of rows [{key: seconds}, ...]."""
    return {" ".join(key): (float(np.median(values)), min(values), max(values))
            for key in rows[0] for values in [[row[key] for row in rows]]}


def print_layers(report, rung, suffix):
    """Print the time of each layer and its share of the limit."""
    limits = report["seconds"]["limit" + suffix]
    print(f"\n{rung + suffix:20} {'ms':>9} {'fastest':>9} {'slowest':>9} {'M MACs':>10} {'MB':>8} "
          f"{'GFLOP/s':>9} {'GB/s':>7} {'of limit':>8}")
    for key, times in report["seconds"][rung + suffix].items():
        work = report["work"].get(key, {"macs": 0, "bytes": 0})
        if work["macs"] or work["bytes"]:
            flops, bandwidth = 2 * work["macs"] / times[0], work["bytes"] / times[0]
            print(f"{key:20} {milliseconds(times)} {work['macs'] / 1e6:10,.0f} "
                  f"{work['bytes'] / 1e6:8,.0f} {flops / 1e9:9,.1f} {bandwidth / 1e9:7,.1f} "
                  f"{limits[key][0] / times[0]:8.0%}")
    if "machine mac" in limits:
        print(f"{'the limit':20} {2 / limits['machine mac'][0] / 1e9:,.0f} GFLOP/s in a product of "
              f"{GPULimit.SIDE} x {GPULimit.SIDE}, "
              f"{1 / limits['machine byte'][0] / 1e9:,.0f} GB/s in a copy")


def milliseconds(times):
    return " ".join(f"{MILLISECONDS * time:9.3f}" for time in times)


def print_totals(report):
    """Print the total of every contender, and compare those that were measured together."""
    N, seconds = report["batch_size"], report["seconds"]
    print(f"\n{'in total':20} {'ms':>9} {'fastest':>9} {'slowest':>9} {'images/s':>10} "
          f"{'ms/image':>9} {'peak MB':>8}")
    for name, peak in report["peak_bytes"].items():
        times = seconds[name]["step total"]
        print(f"{name:20} {milliseconds(times)} {N / times[0]:10.1f} "
              f"{times[0] / N * MILLISECONDS:9.3f} {peak / 1e6:8,.0f}")
    for suffix in ("", " tf32"):
        beside = [name for name in report["peak_bytes"] if name.endswith(" tf32") == bool(suffix)]
        if not beside:
            continue
        products = sum(times[0] for key, times in seconds["limit" + suffix].items()
                       if report["work"].get(key, {}).get("macs"))
        print(f"{'the products alone' + suffix:24} {products * MILLISECONDS:.3f}")
        for rung in [name for name in beside if name.split()[0] not in AGAINST]:
            mine = seconds[rung]["step total"][0]
            others = [f"{seconds[name]['step total'][0] / mine:.2f} times as fast as {name}"
                      for name in beside if name != rung]
            others.append(f"{mine / products:.2f} times as long as its products")
            print(f"{rung}: {', '.join(others)}")


def draw(path, report):
    """Draw the milliseconds of each layer for each contender, and the images per second of all."""
    seconds = report["seconds"]
    contenders = [name for name in report["peak_bytes"] if len(seconds[name]) > 1]
    keys = [key for key in seconds[contenders[0]] if report["work"].get(key)]
    layers = list(dict.fromkeys(key.rsplit(" ", 1)[0] for key in keys if seconds["limit"].get(key)))
    figure = Figure(figsize=(13, 5), layout="constrained")
    axes, right = figure.subplots(1, 2, width_ratios=(5, 1))
    width = 0.8 / len(contenders)
    for i, name in enumerate(contenders):
        places = np.arange(len(layers)) + (i - (len(contenders) - 1) / 2) * width
        bottom = np.zeros(len(layers))
        for phase, alpha in zip(PHASES, (1, 0.6, 0.3)):
            height = MILLISECONDS * np.array([seconds[name].get(f"{layer} {phase}", (0,))[0]
                                              for layer in layers])
            if height.any():
                axes.bar(places, height, width, bottom, color=f"C{i}", alpha=alpha,
                         label=f"{name} {phase}")
            bottom += height
    limits = [sum(seconds["limit"].get(f"{layer} {phase}", (0,))[0] for phase in PHASES)
              for layer in layers]
    places = np.arange(len(layers))
    axes.hlines(np.array(limits) * MILLISECONDS, places - 0.45, places + 0.45, "black",
                label="products or copy alone")
    axes.set_xticks(range(len(layers)), layers, rotation=60)
    axes.set_ylabel(f"ms for {report['batch_size']} images")
    axes.legend(edgecolor="none")
    others = [name for name in report["peak_bytes"] if name not in contenders]
    for i, name in enumerate([*contenders, *others]):
        right.bar(name, report["batch_size"] / seconds[name]["step total"][0], color=f"C{i}")
    right.tick_params(axis="x", rotation=60)
    right.set_ylabel("images/s")
    for part in (axes, right):
        part.spines[["top", "right"]].set_visible(False)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)


# ----------------------------------------------------------------------------------- command line

def parse_arguments():
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=console.HelpFormatter)
    parser.add_argument("--recipe", default="paper", choices=tinynet.RECIPES,
                        help="a table of alexnet.py")
    parser.add_argument("--batch-size", type=console.positive_int, default=128, metavar="N",
                        help="the paper has 128")
    parser.add_argument("--image-size", type=console.positive_int, metavar="N",
                        help="default: the recipe's own")
    parser.add_argument("--device", default="cpu", metavar="cpu|gpu|gpu:N", help="where to measure")
    parser.add_argument("--rungs", metavar="NAMES",
                        help=f"default: {','.join(RUNGS['cpu'])}; on a GPU "
                             f"{','.join(RUNGS['gpu'])}")
    parser.add_argument("--against", default="", metavar="NAMES",
                        help=f"which of {','.join(AGAINST)}; with onnxruntime, inference is "
                             "measured instead of training")
    parser.add_argument("--repeats", type=console.positive_int, default=5, metavar="N",
                        help="turns of each contender")
    parser.add_argument("--json", type=pathlib.Path, default="benchmark.json", metavar="FILE",
                        help="the numbers; the chart is written beside it, as .png")
    args = parser.parse_args()
    place = args.device.partition(":")[0]
    if place == "auto":
        raise Mistake("--device auto: say which, cpu or gpu, so that numbers can be compared")
    if place not in RUNGS:
        raise Mistake(f"--device {args.device}: cpu, gpu or gpu:N")
    args.rungs = (list(RUNGS[place]) if args.rungs is None
                  else names("--rungs", args.rungs, RUNGS[place]))
    args.against = names("--against", args.against, AGAINST)
    args.json = pathlib.Path(args.json)
    if not args.rungs:
        raise Mistake("--rungs needs at least one name")
    if place == "gpu" and "onnxruntime" in args.against:
        raise Mistake("--against onnxruntime is measured on the CPU only")
    for name in args.against:
        if importlib.util.find_spec(AGAINST[name]) is None:
            package = AGAINST[name]
            raise Mistake(f"--against {name}: {package} is not installed; pip install {package}")
    if "onnxruntime" in args.against and importlib.util.find_spec("onnx") is None:
        raise Mistake("--against onnxruntime: onnx is not installed; pip install onnx")
    if args.against and args.recipe == "code-2012":
        raise Mistake("--recipe code-2012 cannot be compared: other libraries have no such layer "
                      "as within2, nor conv1's sizes")
    if args.json.is_dir() or args.json.suffix == ".png":
        raise Mistake(f"--json {args.json}: not the name of a JSON file")
    console.writable_folder(args.json.parent, "--json")
    return args


def names(option, text, known):
    chosen = [name for name in text.split(",") if name]
    for name in chosen:
        if name not in known:
            raise Mistake(f"{option}: no {name!r} here; there are {', '.join(known)}")
    return list(dict.fromkeys(chosen))


if __name__ == "__main__":
    console.execute(main, mistakes=(Mistake, console.FolderError, shapes.ShapeError,
                                    backend.DeviceError))
