"""Measure AlexNet's training step, layer by layer, beside the machine's limit and other libraries.

    python examples/benchmark.py
    python examples/benchmark.py --rungs cpu --against torch,compile --json step.json
    python examples/benchmark.py --rungs cpu --against onnxruntime --batch-size 1,8,32,128
    python examples/benchmark.py --rungs cpu --against torch --image-size 115,227 --threads 1,2
    python examples/benchmark.py --device gpu --against torch

The contenders take turns, one step each, `--repeats` times, so that other work on the machine slows
all of them. Each runs in a process of its own, whose threads are idle before the next one's turn
begins. The result is the median; the fastest and the slowest turn stand beside it. The limit of
each layer is measured in the same turns. On the CPU it is the bare matrix products of a convolution
or a fully connected layer, and for all other layers a copy of as many bytes as the layer has to
read and write. On a GPU it is the multiplications of the layer at the speed of one large matrix
product, or its bytes at the speed of one large copy, whichever takes longer; there everything is
measured twice, without and with TF32 where the GPU has it, and a turn is 20 steps in a row, of
which it is the mean. Peak memory is that of two steps, libraries included.

--batch-size, --image-size and --threads take several values. Every combination is measured, and a
table compares them at the end.

A share of 100 % means that the layer takes no longer than its products, or its copy, alone. On the
CPU it can be more, because Winograd's convolution needs fewer multiplications than the products.
"""

import argparse
import contextlib
import importlib.util
import itertools
import json
import math
import os
import pathlib
import re
import sys
import time

import numpy as np
import threadpoolctl
from contenders import AGAINST, OnnxRuntime, OwnProcess, Stopwatch, Tinynet, Torch
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
    machine, reports = why if device == "gpu" else processor(), []
    chart = args.json.with_suffix(".png")
    for setting in itertools.product(args.batch_sizes, args.image_sizes, args.thread_counts):
        chosen = dict(zip(("batch_size", "image_size", "threads"), setting))
        reports.append({"device": machine, "recipe": args.recipe, **chosen,
                        "repeats": args.repeats, "training": args.training,
                        "work": {}, "seconds": {}, "peak_bytes": {}, "failed": {}})
        measure_setting(argparse.Namespace(**vars(args) | chosen), device, reports[-1])
        with atomic_write(args.json) as file:  # after each setting, so that a fault loses nothing
            file.write(json.dumps(reports, indent=2).encode() + b"\n")
    if len(reports) > 1:
        print_settings(reports)
    draw(chart, reports)
    print(f"wrote {args.json} and {chart}")
    return int(any(report["failed"] for report in reports))


def require_cuda_of(against):
    """Raise Mistake, before anything is measured, if this PyTorch has no CUDA."""
    if "torch" in against or "compile" in against:
        import torch
        if not torch.cuda.is_available():
            raise Mistake(f"--against torch: PyTorch {torch.__version__} finds no GPU; install a "
                          "build with CUDA from pytorch.org")


def processor():
    """Return the name of the processor where Linux says it, and else "cpu"."""
    path = pathlib.Path("/proc/cpuinfo")
    found = path.exists() and re.search(r"model name\s*: (.*)", path.read_text())
    return found[1] if found else "cpu"


def measure_setting(args, device, report):
    """Measure one batch size, image size and number of threads, and print the tables."""
    print(f"{args.recipe}, {args.image_size} pixels, batches of {args.batch_size}, float32, "
          f"{report['device']}, {args.threads} threads, "
          f"{'training steps' if args.training else 'inference'}, median of {args.repeats}")
    os.environ["CUPY_TF32"] = "0"  # read by CuPy before its first product, and by our Torch
    measure(args, report)
    if device == "gpu" and not backend.has_tf32():
        print("no TF32: this GPU is older than compute capability 8.0")
    elif "cuda" in args.rungs:  # those of ops have three axes, for which CuPy has no TF32
        os.environ["CUPY_TF32"], args.rungs = "1", ["cuda"]
        measure(args, report, " tf32")
    print_totals(report)


def measure(args, report, suffix=""):
    """Let the contenders take turns, and write their times into the report, names with a suffix."""
    names, answers = [*args.rungs, *args.against, "limit"], {}
    with contextlib.ExitStack() as processes, console.Progress(
            (args.repeats + 1) * len(names), f"measuring{suffix}", "turns") as progress:
        contenders = {name: processes.enter_context(OwnProcess(make_contender, name, args))
                      for name in names}
        for method in ["warm_up", *["turn"] * args.repeats]:
            for name, contender in list(contenders.items()):
                try:
                    answers.setdefault(name, []).append(contender.call(method))
                except ChildProcessError as error:
                    if name == "limit":
                        raise
                    progress.say(f"{name}{suffix} failed: {error}")
                    report["failed"][name + suffix] = str(error)
                    del contenders[name], answers[name]
                progress.update(1, name)
        report["work"] = contenders["limit"].call("work")
    for name, (peak, *turns) in answers.items():
        report["seconds"][name + suffix] = median_and_spread(turns)
        if name != "limit":
            report["peak_bytes"][name + suffix] = peak
    for name in args.rungs:
        if name in answers:
            print_layers(report, name, suffix)


def make_contender(name, args):
    """Return a contender or the limit, on its device; call it in a process of its own."""
    backend.on_compile = lambda line: print(line, file=sys.stderr)
    parallel.set_thread_count(args.threads)
    threadpoolctl.threadpool_limits(args.threads)  # of BLAS, where a rung does not limit it to one
    rng = np.random.default_rng(0)
    net = tinynet.AlexNet(args.recipe, image_size=args.image_size, rng=rng)
    device, _ = backend.choose_device(args.device, net.summary().gpu_bytes(args.batch_size))
    net.to(device)
    x = rng.standard_normal((args.batch_size, *net.in_shape), np.float32)
    labels = rng.integers(0, 1000, args.batch_size)
    if name == "limit":
        return (CPULimit if device == "cpu" else GPULimit)(net, x.shape, args.training)
    if name == "onnxruntime":
        return OnnxRuntime(net, x)
    if name in AGAINST:
        return Torch(net, x, labels, args.training, compiled=name == "compile")
    return Tinynet(name, net, x, labels, args.training)


# ------------------------------------------------------------------------ what the machine can do

class Limit:
    """The least that every layer has to multiply, read and write, and the time that this takes."""

    def __init__(self, net, x_shape, training):
        self.net, self.training = net, training
        self.shapes, shape = {}, x_shape
        for layer in net.layers:
            self.shapes[layer.name] = shape, layer.output_shape(shape)
            shape = layer.output_shape(shape)

    def warm_up(self):
        self.turn()

    def work(self):
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
                LRN: (3 * x, 4 * x), LRNWithin: (3 * x, 4 * x),  # x -> y, scale; dy, x, scale -> dx
                Dropout: (3 * x, 3 * x), ReLU: (2 * x, 3 * x),
            }.get(type(layer), (0, 0))
            rows[f"{layer.name} forward"] = {"macs": macs, "bytes": int(4 * forward)}
            if self.training:
                rows[f"{layer.name} backward"] = {"macs": macs * (1 + need_dx),
                                                  "bytes": int(4 * backward)}
        if self.training:
            weights = sum(p.size for p in self.net.named_params().values())
            rows["all weights update"] = {"macs": 0, "bytes": 4 * 5 * weights}  # w, v, dw -> w, v
        return rows


class CPULimit(Limit):
    """Measures the matrix products of each layer, or a copy of its bytes, without the layer."""

    def __init__(self, net, x_shape, training):
        super().__init__(net, x_shape, training)
        largest = max(row["bytes"] for row in self.work().values())
        self.copied = [np.ones(min(largest, 1 << 28) // 8, np.float32) for _ in range(2)]

    def turn(self):
        """Return {(layer, phase): seconds}."""
        times = {}
        for key, work in self.work().items():
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


class GPULimit(Limit):
    """Estimates each layer at the speed of one large matrix product or of one large copy.

    Both are of random numbers: a GPU computes faster with ones, which switch fewer transistors.
    """

    SIDE, BYTES = 8192, 1 << 30  # of the matrices; of the copy, read and written

    def __init__(self, net, x_shape, training):
        import cupy
        super().__init__(net, x_shape, training)
        self.cupy = cupy
        numbers = np.random.default_rng(0).standard_normal(self.SIDE**2, np.float32)
        self.matrix = cupy.asarray(numbers.reshape(self.SIDE, self.SIDE))
        self.product = cupy.empty(self.matrix.shape, np.float32)
        self.source = cupy.asarray(np.resize(numbers, self.BYTES // 8))
        self.target = cupy.empty(self.source.shape, np.float32)

    def turn(self):
        """Return {(layer, phase): seconds}, and the seconds of one multiply-accumulate and byte."""
        watch, matrix = Stopwatch("gpu"), self.matrix
        watch.timed("product", lambda: self.cupy.matmul(matrix, matrix, out=self.product))
        watch.timed("copy", lambda: self.cupy.copyto(self.target, self.source))
        seconds = watch.seconds()
        of_a_mac, of_a_byte = seconds["product"] / self.SIDE**3, seconds["copy"] / self.BYTES
        times = {tuple(key.rsplit(" ", 1)): max(work["macs"] * of_a_mac, work["bytes"] * of_a_byte)
                 for key, work in self.work().items()}
        return times | {("step", "total"): sum(times.values()), ("machine", "mac"): of_a_mac,
                        ("machine", "byte"): of_a_byte}


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
        products = seconds_of_products(report, suffix)
        print(f"{'the products alone' + suffix:24} {products * MILLISECONDS:.3f}")
        for rung in [name for name in beside if name.split()[0] not in AGAINST]:
            mine = seconds[rung]["step total"][0]
            others = [f"{seconds[name]['step total'][0] / mine:.2f} times as fast as {name}"
                      for name in beside if name != rung]
            others.append(f"{mine / products:.2f} times as long as its products")
            print(f"{rung}: {', '.join(others)}")
    print()


def seconds_of_products(report, suffix=""):
    """Return the seconds of all bare products of matrices, or their estimate on a GPU."""
    return sum(times[0] for key, times in report["seconds"]["limit" + suffix].items()
               if report["work"].get(key, {}).get("macs"))


def print_settings(reports):
    """Print a row for each setting: ms of the products, ms and peak MB of every contender."""
    names = list(dict.fromkeys(name for report in reports for name in report["peak_bytes"]))
    print(f"{'batch':>5} {'pixels':>6} {'threads':>7} {'products':>9}",
          *(f"{name:>11} {'peak MB':>8}" for name in names))
    for report in reports:
        print(f"{report['batch_size']:5} {report['image_size']:6} {report['threads']:7} "
              f"{MILLISECONDS * seconds_of_products(report):9.1f}",
              *(f"{MILLISECONDS * report['seconds'][name]['step total'][0]:11.1f} "
                f"{report['peak_bytes'][name] / 1e6:8,.0f}" if name in report["peak_bytes"]
                else f"{'failed':>11} {'':8}" for name in names))


def draw(path, reports):
    """Draw the milliseconds of each layer in the last setting, and the images per second of all."""
    figure = Figure(figsize=(12 + len(reports), 5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(5, len(reports)))
    names = list(dict.fromkeys(name for report in reports for name in report["peak_bytes"]))
    colours = {name: f"C{i}" for i, name in enumerate(names)}
    draw_layers(left, reports[-1], colours)
    places = np.arange(len(reports))
    for i, (name, colour) in enumerate(colours.items()):
        speeds = [report["batch_size"] / report["seconds"][name]["step total"][0]
                  if name in report["peak_bytes"] else 0 for report in reports]
        right.bar(places + (i + 0.5) * 0.8 / len(names) - 0.4, speeds, 0.8 / len(names),
                  color=colour, label=name)
    right.set_xticks(places, [f"{report['batch_size']} x {report['image_size']} px\n"
                              f"{report['threads']} threads" for report in reports], rotation=60)
    right.set_ylabel("images/s")
    right.legend(loc="lower left", bbox_to_anchor=(0, 1), edgecolor="none")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)


def draw_layers(axes, report, colours):
    """Draw the milliseconds of each layer for each contender whose layers were timed."""
    seconds = report["seconds"]
    names = [name for name in report["peak_bytes"] if len(seconds[name]) > 1]
    layers = list(dict.fromkeys(key.rsplit(" ", 1)[0] for key in report["work"]
                                if seconds["limit"].get(key)))
    places, width = np.arange(len(layers)), 0.8 / max(1, len(names))
    for i, name in enumerate(names):
        bottom = np.zeros(len(layers))
        for phase, alpha in zip(PHASES, (1, 0.6, 0.3)):
            height = MILLISECONDS * np.array([seconds[name].get(f"{layer} {phase}", (0,))[0]
                                              for layer in layers])
            if height.any():
                axes.bar(places + (i + 0.5) * width - 0.4, height, width, bottom, alpha=alpha,
                         color=colours[name], label=f"{name} {phase}")
            bottom += height
    limits = [sum(seconds["limit"].get(f"{layer} {phase}", (0,))[0] for phase in PHASES)
              for layer in layers]
    axes.hlines(np.array(limits) * MILLISECONDS, places - 0.45, places + 0.45, "black",
                label="products or copy alone")
    axes.set_xticks(places, layers, rotation=60)
    axes.set_ylabel(f"ms for {report['batch_size']} images")
    axes.legend(edgecolor="none")


# ----------------------------------------------------------------------------------- command line

def parse_arguments():
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=console.HelpFormatter)
    parser.add_argument("--recipe", default="paper", choices=tinynet.RECIPES,
                        help="a table of alexnet.py")
    parser.add_argument("--batch-size", type=positive_ints, default="128", metavar="N,...",
                        dest="batch_sizes", help="the paper has 128")
    parser.add_argument("--image-size", type=positive_ints, metavar="N,...", dest="image_sizes",
                        help="default: the recipe's own")
    parser.add_argument("--threads", type=positive_ints, metavar="N,...", dest="thread_counts",
                        help="default: TINYNET_THREADS or one for each core")
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
    args.training = "onnxruntime" not in args.against
    args.image_sizes = args.image_sizes or [tinynet.RECIPES[args.recipe].image_size]
    args.thread_counts = args.thread_counts or [parallel.thread_count()]
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


def positive_ints(text):
    """Convert the text of an option, "1,8,32", to a list (an argparse type)."""
    return [console.positive_int(part) for part in text.split(",")]


def names(option, text, known):
    chosen = [name for name in text.split(",") if name]
    for name in chosen:
        if name not in known:
            raise Mistake(f"{option}: no {name!r} here; there are {', '.join(known)}")
    return list(dict.fromkeys(chosen))


if __name__ == "__main__":
    console.execute(main, mistakes=(Mistake, console.FolderError, shapes.ShapeError,
                                    backend.DeviceError))
