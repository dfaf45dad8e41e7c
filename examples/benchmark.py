"""Measure AlexNet's training step, layer by layer, against what the machine can do and against other libraries.

    python examples/benchmark.py
    python examples/benchmark.py --rungs ops,cpu --against torch,compile --batch-size 128 --json step.json
    python examples/benchmark.py --against onnxruntime --batch-size 8
    python examples/benchmark.py --device gpu --against torch

How it measures: all contenders take turns, one step each, `--repeats` times, so that what else the machine does hits
all of them; what counts is the median, and beside it stand the fastest and the slowest. A layer's limit is measured in
the same turns. On the CPU: for convolutions and fully connected layers the bare matrix products of the same sizes, for
all others a copy of as many bytes as the layer has to read and write. On a GPU: what the layer has to multiply at the
speed of one large matrix product, or what it has to read and write at the speed of one large copy, whichever takes
longer. There everything is measured twice, without and with TF32, each time for all contenders. Peak memory is that of
a process of its own, for two steps.

What to look at: a share of 100 % means that the layer takes no longer than the products, or the copy, alone. On the CPU
it can be more: Winograd's convolution does with fewer multiplications than the products have.
"""

import argparse
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

RUNGS = {"cpu": ("ops", "cpu"), "gpu": ("ops", "cuda")}  # that can be measured on each device
PHASES = ("forward", "backward", "update")
MILLISECONDS = 1000


class Mistake(ValueError):
    """Something asked for that cannot be measured; one line for the user."""


def main():
    args = parse_arguments()
    device, why = backend.choose_device(args.device)
    if device == "gpu":
        require_cuda_of(args.against)
    size = tinynet.RECIPES[args.recipe].image_size if args.image_size is None else args.image_size
    report = {"device": why if device == "gpu" else "cpu", "recipe": args.recipe, "image_size": size,
              "batch_size": args.batch_size, "threads": parallel.thread_count(), "repeats": args.repeats,
              "training": "onnxruntime" not in args.against, "work": {}, "seconds": {}, "peak_bytes": {}}
    print(f"{args.recipe}, {size} pixels, batches of {args.batch_size}, float32, "
          f"{why if device == 'gpu' else f'{parallel.thread_count()} cores'}, "
          f"{'training steps' if report['training'] else 'inference'}, median of {args.repeats}")
    if device == "cpu":
        measure(args, report)
    else:
        os.environ["CUPY_TF32"] = "0"  # both CuPy, which looks at it before its first product, and contenders.Torch
        report = in_a_fresh_process(measure, args, report)
        if "cuda" in args.rungs:  # the products of ops, of three axes, know no TF32
            os.environ["CUPY_TF32"], args.rungs = "1", ["cuda"]
            report = in_a_fresh_process(measure, args, report, " tf32")
    for name in report["seconds"]:
        if not name.startswith("limit"):
            report["peak_bytes"][name] = in_a_fresh_process(two_steps, name.split()[0], args, report["training"])
    print_totals(report)
    with atomic_write(args.json) as file:
        file.write(json.dumps(report, indent=2).encode() + b"\n")
    chart = args.json.with_suffix(".png")
    draw(chart, report)
    print(f"wrote {args.json} and {chart}")


def require_cuda_of(against):
    """PyTorch comes with CUDA or without; which is better known before anything is measured."""
    if "torch" in against or "compile" in against:
        import torch
        if not torch.cuda.is_available():
            raise Mistake(f"--against torch: PyTorch {torch.__version__} finds no GPU; pytorch.org has one that does")


def measure(args, report, suffix=""):
    """Let the contenders take turns, and enter what comes out into the report. suffix: of their names there."""
    net, x, labels = make_task(args)
    training, names = report["training"], [*args.rungs, *args.against]
    contenders = {name: make_contender(name, net, x, labels) for name in names}
    limit = (CPULimit if net.device == "cpu" else GPULimit)(net, x.shape)
    turns = {name: [] for name in (*names, "limit")}
    with console.Progress((args.repeats + 1) * len(names), f"measuring{suffix}", "steps") as progress:
        backend.on_compile = progress.say
        for turn in range(args.repeats + 1):
            for name, contender in contenders.items():
                times = contender.step() if training else contender.infer()
                if turn > 0:  # the first turn warms up: caches, buffers, compilation
                    turns[name].append(times)
                progress.update(1, name)
            turns["limit"].append(limit.measure(training))
    report["work"] = limit.work(training)
    report["seconds"] |= {name + suffix: median_and_spread(rows) for name, rows in turns.items()}
    for name in args.rungs:
        print_layers(report, name, suffix)
    return report


def make_task(args):
    """A network where it is to compute, and a batch for it."""
    rng = np.random.default_rng(0)
    net = tinynet.AlexNet(args.recipe, image_size=args.image_size, rng=rng)
    device, _ = backend.choose_device(args.device, net.summary().training_bytes(args.batch_size))
    net.to(device)
    x = rng.standard_normal((args.batch_size, *net.in_shape), np.float32)
    return net, x, rng.integers(0, 1000, args.batch_size)


def in_a_fresh_process(function, *args):
    """function(*args), in a process that has done nothing before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(call, (function, args))


def call(function, args):
    """function(*args). CuPy's own MemoryError would not survive the way to another process."""
    try:
        return function(*args)
    except MemoryError as error:
        raise MemoryError(str(error)) from None


# ---------------------------------------------------------------------------------------------- what the machine can do

class Work:
    """What every layer has to do at least."""

    def __init__(self, net, x_shape):
        self.net, self.N = net, x_shape[0]
        self.shapes, shape = {}, x_shape
        for layer in net.layers:
            self.shapes[layer.name] = shape, layer.output_shape(shape)
            shape = layer.output_shape(shape)

    def work(self, training):
        """{"conv1 forward": {"macs", "bytes"}}: what must be multiplied, and what must be read and written at least."""
        rows = {}
        for layer in self.net.layers:
            in_shape, out_shape = self.shapes[layer.name]
            x, y, params = math.prod(in_shape), math.prod(out_shape), sum(p.size for p in layer.params.values())
            macs = layer.macs(in_shape)
            need_dx = getattr(layer, "need_dx", True)
            forward, backward = {
                Conv2d: (x + params + y, y + x + 2 * params + need_dx * x),  # dy, x, w -> dx, dw, db
                Linear: (x + params + y, y + x + 2 * params + x),
                MaxPool: (x + y + y / 4, y + y / 4 + x),                     # argmax is a byte
                LRN: (3 * x, 5 * x), LRNWithin: (3 * x, 5 * x),              # y, scale; dy, x, y, scale -> dx
                Dropout: (3 * x, 3 * x), ReLU: (2 * x, 3 * x),
            }.get(type(layer), (0, 0))
            rows[f"{layer.name} forward"] = {"macs": macs, "bytes": int(4 * forward)}
            if training:
                rows[f"{layer.name} backward"] = {"macs": macs * (1 + need_dx), "bytes": int(4 * backward)}
        if training:
            weights = sum(p.size for p in self.net.named_params().values())
            rows["all weights update"] = {"macs": 0, "bytes": 4 * 5 * weights}  # w, v, dw -> w, v
        return rows


class CPULimit(Work):
    """For every layer, the least it has to do, done by itself: matrix products of its sizes, or a copy of its bytes."""

    def __init__(self, net, x_shape):
        super().__init__(net, x_shape)
        largest = max(row["bytes"] for row in self.work(True).values())
        self.copied = [np.ones(min(largest, 1 << 28) // 8, np.float32) for _ in range(2)]

    def measure(self, training):
        """{(layer, phase): seconds}"""
        times = {}
        for key, work in self.work(training).items():
            name, phase = key.rsplit(" ", 1)
            if work["macs"]:
                times[name, phase] = self.products(self.net[name], phase)
            elif work["bytes"]:
                times[name, phase] = self.copy(work["bytes"])
        return times | {("step", "total"): sum(times.values())}

    def products(self, layer, phase):
        """Seconds for the layer's matrix products on matrices that are there already, each core with its own."""
        in_shape, out_shape = self.shapes[layer.name]
        if isinstance(layer, Linear):
            count = parallel.thread_count()
            sizes = *in_shape, -(-out_shape[1] // count)
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
        """Seconds for copying size / 2 bytes: as many are read as are written."""
        source, target = self.copied
        started = time.perf_counter()
        left = size // 8
        while left > 0:
            n = min(left, source.size)
            parallel.for_each_block(lambda a, b: np.copyto(b, a), source[:n], target[:n])
            left -= n
        return time.perf_counter() - started


class GPULimit(Work):
    """For every layer, what it would take at the speed of one large matrix product, or of one large copy."""

    SIDE, BYTES = 8192, 1 << 30  # of the matrices; of the copy, read and written

    def __init__(self, net, x_shape):
        import cupy
        super().__init__(net, x_shape)
        self.cupy = cupy
        self.matrices = [cupy.ones((self.SIDE, self.SIDE), np.float32) for _ in range(3)]
        self.copied = [cupy.ones(self.BYTES // 8, np.float32) for _ in range(2)]

    def measure(self, training):
        """{(layer, phase): seconds}, and the seconds of one multiply-accumulate and of one byte."""
        watch, (a, b, c) = Stopwatch("gpu"), self.matrices
        watch.timed("product", lambda: self.cupy.matmul(a, b, out=c))
        watch.timed("copy", lambda: self.cupy.copyto(*self.copied))
        seconds = watch.seconds()
        of_a_mac, of_a_byte = seconds["product"] / self.SIDE**3, seconds["copy"] / self.BYTES
        times = {tuple(key.rsplit(" ", 1)): max(work["macs"] * of_a_mac, work["bytes"] * of_a_byte)
                 for key, work in self.work(training).items()}
        return times | {("step", "total"): sum(times.values()), ("machine", "mac"): of_a_mac,
                        ("machine", "byte"): of_a_byte}


def two_steps(name, args, training):
    """Bytes of memory that two steps of this contender alone need at most: call it in a process of its own."""
    net, x, labels = make_task(args)
    contender, device = make_contender(name, net, x, labels), net.device
    if isinstance(contender, Torch):
        del net  # its weights are not PyTorch's
        contender.layer_by_layer = dict  # the step as everybody writes it, nothing else
    for _ in range(2):
        contender.step() if training else contender.infer()
    if device == "cpu":
        return peak_bytes()
    if isinstance(contender, Torch):
        return contender.torch.cuda.max_memory_reserved()
    import cupy
    return cupy.get_default_memory_pool().total_bytes()


def peak_bytes():
    """The most memory that this process ever had. Linux's getrusage would count what its parent had before, too."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        return 1024 * int(re.search(r"VmHWM:\s*(\d+)", status.read_text()).group(1))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# -------------------------------------------------------------------------------------------------------------- results

def median_and_spread(rows):
    """[{key: seconds}] -> {"conv1 forward": (median, fastest, slowest)}"""
    return {" ".join(key): (float(np.median(values)), min(values), max(values))
            for key in rows[0] for values in [[row[key] for row in rows]]}


def print_layers(report, rung, suffix):
    """What each layer took, and what share of the machine that is."""
    limits = report["seconds"]["limit" + suffix]
    print(f"\n{rung + suffix:20} {'ms':>9} {'fastest':>9} {'slowest':>9} {'M MACs':>10} {'MB':>8} {'GFLOP/s':>9} "
          f"{'GB/s':>7} {'of limit':>8}")
    for key, times in report["seconds"][rung + suffix].items():
        work = report["work"].get(key, {"macs": 0, "bytes": 0})
        if work["macs"] or work["bytes"]:
            print(f"{key:20} {milliseconds(times)} {work['macs'] / 1e6:10,.0f} {work['bytes'] / 1e6:8,.0f} "
                  f"{2 * work['macs'] / times[0] / 1e9:9,.1f} {work['bytes'] / times[0] / 1e9:7,.1f} "
                  f"{limits[key][0] / times[0]:8.0%}")
    if "machine mac" in limits:
        print(f"{'the limit':20} {2 / limits['machine mac'][0] / 1e9:,.0f} GFLOP/s in a product of {GPULimit.SIDE} x "
              f"{GPULimit.SIDE}, {1 / limits['machine byte'][0] / 1e9:,.0f} GB/s in a copy")


def milliseconds(times):
    return " ".join(f"{MILLISECONDS * time:9.3f}" for time in times)


def print_totals(report):
    """The whole of every contender, and how they compare with those that were measured beside them."""
    N, seconds = report["batch_size"], report["seconds"]
    print(f"\n{'in total':20} {'ms':>9} {'fastest':>9} {'slowest':>9} {'images/s':>10} {'ms/image':>9} {'peak MB':>8}")
    for name, peak in report["peak_bytes"].items():
        times = seconds[name]["step total"]
        print(f"{name:20} {milliseconds(times)} {N / times[0]:10.1f} {times[0] / N * MILLISECONDS:9.3f} "
              f"{peak / 1e6:8,.0f}")
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
            print(f"{rung}: {', '.join([*others, f'{mine / products:.2f} times as long as its products'])}")


def draw(path, report):
    """Milliseconds per layer, a bar for each contender that was timed layer by layer; and images a second of all."""
    seconds = report["seconds"]
    contenders = [name for name in report["peak_bytes"] if len(seconds[name]) > 1]
    keys = [key for key in seconds[contenders[0]] if report["work"].get(key)]
    layers = list(dict.fromkeys(key.rsplit(" ", 1)[0] for key in keys if seconds["limit"].get(key)))
    figure = Figure(figsize=(13, 5), layout="constrained")
    axes, right = figure.subplots(1, 2, width_ratios=(5, 1))
    width = 0.8 / len(contenders)
    for i, name in enumerate(contenders):
        places, bottom = np.arange(len(layers)) + (i - (len(contenders) - 1) / 2) * width, np.zeros(len(layers))
        for phase, alpha in zip(PHASES, (1, 0.6, 0.3)):
            height = np.array([seconds[name].get(f"{layer} {phase}", (0,))[0] * MILLISECONDS for layer in layers])
            if height.any():
                axes.bar(places, height, width, bottom, color=f"C{i}", alpha=alpha, label=f"{name} {phase}")
            bottom += height
    limits = [sum(seconds["limit"].get(f"{layer} {phase}", (0,))[0] for phase in PHASES) for layer in layers]
    axes.hlines(np.array(limits) * MILLISECONDS, np.arange(len(layers)) - 0.45, np.arange(len(layers)) + 0.45, "black",
                label="products or copy alone")
    axes.set_xticks(range(len(layers)), layers, rotation=60)
    axes.set_ylabel(f"ms for {report['batch_size']} images")
    axes.legend(edgecolor="none")
    for i, name in enumerate([*contenders, *(name for name in report["peak_bytes"] if name not in contenders)]):
        right.bar(name, report["batch_size"] / seconds[name]["step total"][0], color=f"C{i}")
    right.tick_params(axis="x", rotation=60)
    right.set_ylabel("images/s")
    for part in (axes, right):
        part.spines[["top", "right"]].set_visible(False)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)


# --------------------------------------------------------------------------------------------------------- command line

def parse_arguments():
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--recipe", default="paper", choices=tinynet.RECIPES, help="a table of alexnet.py")
    parser.add_argument("--batch-size", type=console.positive_int, default=128, metavar="N", help="the paper has 128")
    parser.add_argument("--image-size", type=console.positive_int, metavar="N", help="the recipe's own if not given")
    parser.add_argument("--device", default="cpu", metavar="cpu|gpu|gpu:N", help="where to measure")
    parser.add_argument("--rungs", metavar="NAMES", help=f"all of {','.join(RUNGS['cpu'])}, on a GPU "
                                                         f"{','.join(RUNGS['gpu'])}, if not given")
    parser.add_argument("--against", default="", metavar="NAMES",
                        help=f"which of {','.join(AGAINST)}; with onnxruntime inference is measured, not training")
    parser.add_argument("--repeats", type=console.positive_int, default=5, metavar="N", help="turns of each contender")
    parser.add_argument("--json", type=pathlib.Path, default="benchmark.json", metavar="FILE",
                        help="where the numbers go; the chart goes beside it, as .png")
    args = parser.parse_args()
    place = args.device.partition(":")[0]
    if place == "auto":
        raise Mistake("--device auto: say which, cpu or gpu, so that numbers can be compared")
    if place not in RUNGS:
        raise Mistake(f"--device {args.device}: cpu, gpu or gpu:N")
    args.rungs = list(RUNGS[place]) if args.rungs is None else names("--rungs", args.rungs, RUNGS[place])
    args.against = names("--against", args.against, AGAINST)
    args.json = pathlib.Path(args.json)
    if not args.rungs:
        raise Mistake("--rungs needs at least one name")
    if place == "gpu" and "onnxruntime" in args.against:
        raise Mistake("--against onnxruntime is measured on the CPU only")
    for name in args.against:
        if importlib.util.find_spec(AGAINST[name]) is None:
            raise Mistake(f"--against {name}: {AGAINST[name]} is not installed; pip install {AGAINST[name]}")
    if "onnxruntime" in args.against and importlib.util.find_spec("onnx") is None:
        raise Mistake("--against onnxruntime: onnx is not installed; pip install onnx")
    if args.against and args.recipe == "code-2012":
        raise Mistake("--recipe code-2012 cannot be compared: other libraries have no such layer as within2, "
                      "nor conv1's sizes")
    if args.json.is_dir() or not args.json.parent.is_dir() or args.json.suffix == ".png":
        raise Mistake(f"--json {args.json}: not a file in a folder that exists")
    return args


def names(option, text, known):
    chosen = [name for name in text.split(",") if name]
    for name in chosen:
        if name not in known:
            raise Mistake(f"{option}: no {name!r} here; there are {', '.join(known)}")
    return list(dict.fromkeys(chosen))


if __name__ == "__main__":
    console.execute(main, mistakes=(Mistake, shapes.ShapeError, backend.DeviceError))
