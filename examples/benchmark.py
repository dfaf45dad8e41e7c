"""Measure AlexNet's training step, layer by layer, against what the machine can do and against other libraries.

    python examples/benchmark.py
    python examples/benchmark.py --rungs ops,cpu --against torch,compile --batch-size 128 --json step.json
    python examples/benchmark.py --against onnxruntime --batch-size 8

How it measures: all contenders take turns, one step each, `--repeats` times, so that what else the machine does hits
all of them; what counts is the median, and beside it stand the fastest and the slowest. A layer's limit is measured in
the same turns: for convolutions and fully connected layers the bare matrix products of the same sizes, for all others a
copy of as many bytes as the layer has to read and write. Peak memory is that of a process of its own, for two steps.

What to look at: a share of 100 % means that the layer takes no longer than the products, or the copy, alone. It can be
more: Winograd's convolution does with fewer multiplications than the products have.
"""

import argparse
import importlib.util
import json
import math
import multiprocessing
import pathlib
import re
import resource
import sys
import time

import numpy as np
from matplotlib.figure import Figure

import tinynet
from tinynet import console, shapes
from tinynet.checkpoint import atomic_write
from tinynet.cpu import parallel
from tinynet.layers import LRN, Conv2d, Dropout, Flatten, Linear, LRNWithin, MaxPool, ReLU

RUNGS = ("reference", "ops", "cpu", "cuda")
AGAINST = {"torch": "torch", "compile": "torch", "onnxruntime": "onnxruntime"}  # contender: the package it needs
PHASES = ("forward", "backward", "update")
MILLISECONDS = 1000


class Mistake(ValueError):
    """Something asked for that cannot be measured; one line for the user."""


def main():
    args = parse_arguments()
    rng = np.random.default_rng(0)
    net = tinynet.AlexNet(args.recipe, image_size=args.image_size, rng=rng)
    x = rng.standard_normal((args.batch_size, *net.in_shape), np.float32)
    labels = rng.integers(0, 1000, args.batch_size)
    training = "onnxruntime" not in args.against

    contenders = {name: make_contender(name, args, net, x, labels) for name in (*args.rungs, *args.against)}
    limit = Limit(net, x.shape)
    print(f"{args.recipe}, {net.in_shape[1]} pixels, batches of {args.batch_size}, float32, "
          f"{parallel.thread_count()} cores, {'training steps' if training else 'inference'}, median of {args.repeats}")
    turns = {name: [] for name in (*contenders, "limit")}
    progress = console.Progress((args.repeats + 1) * len(contenders), "measuring", "steps")
    for turn in range(args.repeats + 1):
        for name, contender in contenders.items():
            times = contender.step() if training else contender.infer()
            if turn > 0:  # the first turn warms up: caches, buffers, compilation
                turns[name].append(times)
            progress.update(1, name)
        turns["limit"].append(limit.measure(training))
    progress.close()

    results = {name: median_and_spread(rows) for name, rows in turns.items()}
    report = {"recipe": args.recipe, "image_size": net.in_shape[1], "batch_size": args.batch_size,
              "threads": parallel.thread_count(), "repeats": args.repeats, "training": training,
              "work": limit.work(training), "seconds": results, "peak_bytes": {}}
    print_layers(report, args.rungs)
    for name in contenders:
        report["peak_bytes"][name] = peak_memory(name, args, training)
    print_totals(report, contenders)
    with atomic_write(args.json) as file:
        file.write(json.dumps(report, indent=2).encode() + b"\n")
    chart = args.json.with_suffix(".png")
    draw(chart, report, [name for name in contenders if len(results[name]) > 1])
    print(f"wrote {args.json} and {chart}")


# ----------------------------------------------------------------------------------------------------------- contenders
# Each has step() and infer(), which return {(layer, phase): seconds}; ("step", "total") is the whole.

class Tinynet:
    """One of our rungs: every layer is timed by itself, and the whole is what passes from the first to the last."""

    def __init__(self, rung, net, x, labels):
        net.use(rung)
        self.rung, self.net, self.x, self.labels = rung, net, x, labels
        self.loss, self.sgd = tinynet.SoftmaxCrossEntropy(), tinynet.SGD(net)

    def step(self):
        self.net.use(self.rung)  # the rungs share a network: weights and their memory are there once
        self.net.train()
        times, started = {}, time.perf_counter()
        y = self.x
        for layer in self.net.layers:
            y = timed(times, (layer.name, "forward"), layer.forward, y)
        timed(times, ("loss", "forward"), self.loss.forward, y, self.labels)
        dy = timed(times, ("loss", "backward"), self.loss.backward)
        for layer in reversed(self.net.layers):
            dy = timed(times, (layer.name, "backward"), layer.backward, dy)
        timed(times, ("all weights", "update"), self.sgd.step)
        return times | {("step", "total"): time.perf_counter() - started}

    def infer(self):
        self.net.use(self.rung)
        self.net.eval()
        times, started = {}, time.perf_counter()
        y = self.x
        for layer in self.net.layers:
            y = timed(times, (layer.name, "forward"), layer.forward, y)
        return times | {("step", "total"): time.perf_counter() - started}


class Torch:
    """PyTorch: the whole is a step as everybody writes it; layers are timed in a second one, cut between layers."""

    def __init__(self, net, x, labels, compiled):
        import torch

        torch.set_num_threads(parallel.thread_count())
        torch.manual_seed(0)
        self.torch, self.compiled = torch, compiled
        self.names = [layer.name for layer in net.layers]
        self.modules = torch.nn.Sequential(*[self.module(layer) for layer in net.layers])
        self.x, self.labels = torch.from_numpy(x), torch.from_numpy(labels)
        self.loss = torch.nn.CrossEntropyLoss()
        self.sgd = torch.optim.SGD(self.modules.parameters(), lr=0.01, momentum=0.9, weight_decay=0.0005)
        self.forward = torch.compile(self.modules) if compiled else self.modules

    def module(self, layer):
        nn = self.torch.nn
        if isinstance(layer, Conv2d):
            C = layer.params["w"].shape[1] * layer.groups
            return nn.Conv2d(C, layer.K, layer.size, layer.stride, layer.pad, groups=layer.groups)
        if isinstance(layer, Linear):
            return nn.Linear(layer.params["w"].shape[1], layer.OUT)
        if isinstance(layer, MaxPool):
            return nn.MaxPool2d(layer.size, layer.stride, ceil_mode=layer.ceil)
        if isinstance(layer, LRN):
            return nn.LocalResponseNorm(layer.n, layer.alpha * layer.n, layer.beta, layer.k)  # it divides alpha by n
        if isinstance(layer, Dropout):
            return nn.Dropout(1 - layer.keep_probability)
        return {ReLU: nn.ReLU, Flatten: nn.Flatten}[type(layer)]()

    def step(self):
        self.modules.train()
        started = time.perf_counter()
        self.sgd.zero_grad()
        self.loss(self.forward(self.x), self.labels).backward()
        self.sgd.step()
        times = {("step", "total"): time.perf_counter() - started}
        return times if self.compiled else times | self.layer_by_layer()

    def layer_by_layer(self):
        times, pairs, y = {}, [], self.x
        self.sgd.zero_grad()
        for name, module in zip(self.names, self.modules):
            y_in = y.detach().requires_grad_(y is not self.x)  # a new leaf: the graph ends here
            y = timed(times, (name, "forward"), module, y_in)
            pairs.append((name, y_in, y))
        y = y.detach().requires_grad_()
        loss = timed(times, ("loss", "forward"), self.loss, y, self.labels)
        timed(times, ("loss", "backward"), loss.backward)
        dy = y.grad
        for name, y_in, y in reversed(pairs):
            timed(times, (name, "backward"), y.backward, dy)
            dy = y_in.grad
        timed(times, ("all weights", "update"), self.sgd.step)
        return times

    def infer(self):
        self.modules.eval()
        with self.torch.no_grad():
            started = time.perf_counter()
            self.forward(self.x)
            return {("step", "total"): time.perf_counter() - started}


class OnnxRuntime:
    """ONNX Runtime with the same weights: inference only."""

    def __init__(self, net, x):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = parallel.thread_count()
        self.session = onnxruntime.InferenceSession(onnx_model(net), options, providers=["CPUExecutionProvider"])
        self.x = x
        net.eval()
        ours, theirs = net.forward(x[:1]), self.session.run(None, {"x": x[:1]})[0]
        if not np.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * np.abs(ours).max()):
            raise ArithmeticError(f"ONNX Runtime computes something else: {theirs[0, :3]}, not {ours[0, :3]}")

    def infer(self):
        started = time.perf_counter()
        self.session.run(None, {"x": self.x})
        return {("step", "total"): time.perf_counter() - started}


def onnx_model(net):
    """The network, as it is for testing, in ONNX: bytes."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights, y = [], [], "x"

    def add(kind, layer, *inputs, **settings):
        nodes.append(helper.make_node(kind, [y, *inputs], [layer.name], **settings))

    def weight(name, array):
        weights.append(numpy_helper.from_array(array, name))
        return name

    for layer in net.layers:
        params = [weight(f"{layer.name}.{key}", array) for key, array in layer.params.items()]
        if isinstance(layer, Conv2d):
            add("Conv", layer, *params, strides=layer.stride, pads=layer.pad * 2, group=layer.groups)
        elif isinstance(layer, Linear):
            add("Gemm", layer, *params, transB=1)
        elif isinstance(layer, MaxPool):
            add("MaxPool", layer, kernel_shape=layer.size, strides=layer.stride, ceil_mode=int(layer.ceil))
        elif isinstance(layer, LRN):
            add("LRN", layer, size=layer.n, alpha=layer.alpha * layer.n, beta=layer.beta, bias=layer.k)
        elif isinstance(layer, Dropout):
            keep = 1.0 if layer.inverted else layer.keep_probability
            add("Mul", layer, weight(f"{layer.name}.keep", np.float32([keep])))
        else:
            add({ReLU: "Relu", Flatten: "Flatten"}[type(layer)], layer)
        y = layer.name
    x_info = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *net.in_shape])
    y_info = helper.make_tensor_value_info(y, TensorProto.FLOAT, ["N", None])
    graph = helper.make_graph(nodes, "AlexNet", [x_info], [y_info], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def make_contender(name, args, net, x, labels):
    if name == "onnxruntime":
        return OnnxRuntime(net, x)
    if name in AGAINST:
        return Torch(net, x, labels, compiled=name == "compile")
    return Tinynet(name, net, x, labels)


def timed(times, key, function, *args):
    started = time.perf_counter()
    result = function(*args)
    times[key] = time.perf_counter() - started
    return result


# ---------------------------------------------------------------------------------------------- what the machine can do

class Limit:
    """For every layer, the least it has to do, done by itself: matrix products of its sizes, or a copy of its bytes."""

    def __init__(self, net, x_shape):
        self.net, self.N = net, x_shape[0]
        self.shapes, shape = {}, x_shape
        for layer in net.layers:
            self.shapes[layer.name] = shape, layer.output_shape(shape)
            shape = layer.output_shape(shape)
        largest = max(row["bytes"] for row in self.work(True).values())
        self.copied = [np.ones(min(largest, 1 << 28) // 8, np.float32) for _ in range(2)]

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

    def measure(self, training):
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


def peak_memory(name, args, training):
    """Bytes of memory that a fresh process needs at most for two steps of this contender alone."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(two_steps, (name, args, training))


def two_steps(name, args, training):
    rng = np.random.default_rng(0)
    net = tinynet.AlexNet(args.recipe, image_size=args.image_size, rng=rng)
    x = rng.standard_normal((args.batch_size, *net.in_shape), np.float32)
    contender = make_contender(name, args, net, x, rng.integers(0, 1000, args.batch_size))
    if isinstance(contender, Torch):
        del net  # its weights are not PyTorch's
        contender.layer_by_layer = dict  # the step as everybody writes it, nothing else
    for _ in range(2):
        contender.step() if training else contender.infer()
    return peak_bytes()


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


def print_layers(report, rungs):
    for rung in rungs:
        print(f"\n{rung:20} {'ms':>9} {'fastest':>9} {'slowest':>9} {'M MACs':>10} {'MB':>8} {'GFLOP/s':>8} "
              f"{'of limit':>8}")
        for key, (median, fastest, slowest) in report["seconds"][rung].items():
            work = report["work"].get(key, {"macs": 0, "bytes": 0})
            limit = report["seconds"]["limit"].get(key)
            if key == "step total" or not (work["macs"] or work["bytes"]):
                continue
            print(f"{key:20} {median * MILLISECONDS:9.1f} {fastest * MILLISECONDS:9.1f} {slowest * MILLISECONDS:9.1f} "
                  f"{work['macs'] / 1e6:10,.0f} {work['bytes'] / 1e6:8,.0f} {2 * work['macs'] / median / 1e9:8.1f} "
                  f"{limit[0] / median:8.0%}")


def print_totals(report, contenders):
    N, seconds = report["batch_size"], report["seconds"]
    products = sum(times[0] for key, times in seconds["limit"].items()
                   if report["work"].get(key, {}).get("macs"))
    print(f"\n{'in total':20} {'ms':>9} {'fastest':>9} {'slowest':>9} {'images/s':>10} {'ms/image':>9} {'peak MB':>8}")
    for name in contenders:
        median, fastest, slowest = seconds[name]["step total"]
        print(f"{name:20} {median * MILLISECONDS:9.1f} {fastest * MILLISECONDS:9.1f} {slowest * MILLISECONDS:9.1f} "
              f"{N / median:10.1f} {median / N * MILLISECONDS:9.2f} {report['peak_bytes'][name] / 1e6:8,.0f}")
    print(f"{'the products alone':20} {products * MILLISECONDS:9.1f}")
    rungs = [name for name in contenders if name not in AGAINST]
    for rung in rungs:
        mine = seconds[rung]["step total"][0]
        others = [f"{seconds[name]['step total'][0] / mine:.2f} times as fast as {name}"
                  for name in contenders if name != rung]
        print(f"{rung}: {', '.join([*others, f'{mine / products:.2f} times as long as its products'])}")


def draw(path, report, contenders):
    """Milliseconds per layer, forward and backward, a bar for each contender that was timed layer by layer."""
    seconds = report["seconds"]
    keys = [key for key in seconds[contenders[0]] if seconds["limit"].get(key) and key != "step total"]
    layers = list(dict.fromkeys(key.rsplit(" ", 1)[0] for key in keys))
    figure = Figure(figsize=(11, 5), layout="constrained")
    axes = figure.subplots()
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
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(edgecolor="none")
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)


# --------------------------------------------------------------------------------------------------------- command line

def parse_arguments():
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--recipe", default="paper", choices=tinynet.RECIPES, help="a table of alexnet.py")
    parser.add_argument("--batch-size", type=console.positive_int, default=128, metavar="N", help="the paper has 128")
    parser.add_argument("--image-size", type=console.positive_int, metavar="N", help="the recipe's own if not given")
    parser.add_argument("--rungs", default="ops,cpu", metavar="NAMES", help=f"which of {','.join(RUNGS)}")
    parser.add_argument("--against", default="", metavar="NAMES",
                        help=f"which of {','.join(AGAINST)}; with onnxruntime inference is measured, not training")
    parser.add_argument("--repeats", type=console.positive_int, default=5, metavar="N", help="turns of each contender")
    parser.add_argument("--json", type=pathlib.Path, default="benchmark.json", metavar="FILE",
                        help="where the numbers go; the chart goes beside it, as .png")
    args = parser.parse_args()
    args.rungs = names("--rungs", args.rungs, RUNGS)
    args.against = names("--against", args.against, AGAINST)
    args.json = pathlib.Path(args.json)
    if not args.rungs:
        raise Mistake("--rungs needs at least one name")
    if "reference" in args.rungs:
        raise Mistake("--rungs reference: its loops, one for each index, take hours for one step of AlexNet; "
                      "the lessons time it on a single small layer")
    if "cuda" in args.rungs:
        raise Mistake("--rungs cuda: this benchmark measures CPU cores only")
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
            raise Mistake(f"{option}: no {name!r}; there are {', '.join(known)}")
    return list(dict.fromkeys(chosen))


if __name__ == "__main__":
    console.run(main, mistakes=(Mistake, shapes.ShapeError))
