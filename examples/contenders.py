"""The contenders of benchmark.py: the rungs of tinynet, PyTorch and ONNX Runtime.

Each contender has step() and infer(), which return {(layer, phase): seconds}. The key
("step", "total") is the whole step. On a GPU it is the mean of IN_A_ROW ordinary steps, and the
layers are timed in one more: the host launches the next step while the GPU computes this one.
"""

import os
import time

import numpy as np

import tinynet
from tinynet import backend
from tinynet.cpu import parallel
from tinynet.layers import LRN, Conv2d, Dropout, Flatten, Linear, MaxPool, ReLU
from tinynet.weights.onnx_graph import to_onnx

IN_A_ROW = 20  # steps on a GPU from one look at the clock to the next, as in training
AGAINST = {"torch": "torch", "compile": "torch", "onnxruntime": "onnxruntime"}  # name: package


def make_contender(name, net, x, labels):
    """Return a rung of tinynet, or one of AGAINST, on the device of the network."""
    if name == "onnxruntime":
        return OnnxRuntime(net, x)
    if name in AGAINST:
        return Torch(net, x, labels, compiled=name == "compile")
    return Tinynet(name, net, x, labels)


class Stopwatch:
    """Measures the time of calls, with the clock of the CPU or with events in the stream of a GPU.

    The events are read at the end, so that the host does not wait between layers and launches ahead
    of the GPU, as in training. PyTorch and CuPy use the same stream, the default one, so the same
    events serve both.
    """

    def __init__(self, device):
        self.device, self.marks = device, {}

    def timed(self, key, function, *args):
        """Call function(*args), and record when it began and ended."""
        started = self.now()
        result = function(*args)
        self.marks[key] = started, self.now()
        return result

    def now(self):
        if self.device == "cpu":
            return time.perf_counter()
        import cupy
        event = cupy.cuda.Event()
        event.record()
        return event

    def seconds(self):
        """Return {key: seconds} of all calls that were timed."""
        if self.device == "cpu":
            return {key: ended - started for key, (started, ended) in self.marks.items()}
        import cupy
        self.now().synchronize()  # the stream passes this event last
        return {key: cupy.cuda.get_elapsed_time(*marks) / 1000 for key, marks in self.marks.items()}


def whole_steps(device, step):
    """Return {("step", "total"): seconds} of an ordinary step, or of one of many in a row."""
    count, watch = IN_A_ROW if device == "gpu" else 1, Stopwatch(device)
    watch.timed(("step", "total"), lambda: [step() for _ in range(count)])
    return {key: seconds / count for key, seconds in watch.seconds().items()}


class Tinynet:
    """A rung of tinynet. On the CPU the total is the time from the first layer to the last."""

    def __init__(self, rung, net, x, labels):
        self.rung, self.net, self.labels = rung, net, labels
        self.x = backend.to_device(x, net.device)
        self.loss, self.sgd = tinynet.SoftmaxCrossEntropy(), tinynet.SGD(net)

    def step(self):
        self.net.use(self.rung)  # the rungs share one network and its memory
        self.net.train()
        watch = Stopwatch(self.net.device)
        watch.timed(("step", "total"), self.layer_by_layer, watch)
        times = watch.seconds()
        return times | whole_steps("gpu", self.whole) if self.net.device == "gpu" else times

    def whole(self):
        self.loss.forward(self.net.forward(self.x), self.labels)
        self.net.backward(self.loss.backward())
        self.sgd.step()

    def layer_by_layer(self, watch):
        y = self.forward(watch)
        watch.timed(("loss", "forward"), self.loss.forward, y, self.labels)
        dy = watch.timed(("loss", "backward"), self.loss.backward)
        for layer in reversed(self.net.layers):
            dy = watch.timed((layer.name, "backward"), layer.backward, dy)
        watch.timed(("all weights", "update"), self.sgd.step)

    def forward(self, watch):
        y = self.x
        for layer in self.net.layers:
            y = watch.timed((layer.name, "forward"), layer.forward, y)
        return y

    def infer(self):
        self.net.use(self.rung)
        self.net.eval()
        watch = Stopwatch(self.net.device)
        watch.timed(("step", "total"), self.forward, watch)
        times = watch.seconds()
        if self.net.device == "gpu":
            times |= whole_steps("gpu", lambda: self.net.forward(self.x))
        return times


class Torch:
    """PyTorch. The total is an ordinary step; the layers are timed in a second, divided step."""

    def __init__(self, net, x, labels, compiled):
        import torch

        torch.set_num_threads(parallel.thread_count())
        torch.manual_seed(0)
        torch.backends.cudnn.benchmark = True  # let it choose its fastest convolutions
        tf32 = os.environ.get("CUPY_TF32") == "1"  # one switch for CuPy and PyTorch
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        self.torch, self.device, self.compiled = torch, net.device, compiled
        place = "cpu" if net.device == "cpu" else "cuda"
        if net.device == "gpu":  # the same GPU as CuPy's
            import cupy
            torch.cuda.set_device(cupy.cuda.Device().id)
        self.names = [layer.name for layer in net.layers]
        self.modules = torch.nn.Sequential(*[self.module(layer) for layer in net.layers]).to(place)
        self.x, self.labels = torch.from_numpy(x).to(place), torch.from_numpy(labels).to(place)
        self.loss = torch.nn.CrossEntropyLoss()
        self.sgd = torch.optim.SGD(self.modules.parameters(), lr=0.01, momentum=0.9,
                                   weight_decay=0.0005)
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
            alpha = layer.alpha * layer.n  # PyTorch divides alpha by n
            return nn.LocalResponseNorm(layer.n, alpha, layer.beta, layer.k)
        if isinstance(layer, Dropout):
            return nn.Dropout(1 - layer.keep)
        return {ReLU: nn.ReLU, Flatten: nn.Flatten}[type(layer)]()

    def step(self):
        self.modules.train()
        times = whole_steps(self.device, self.whole)
        return times if self.compiled else times | self.layer_by_layer()

    def whole(self):
        self.sgd.zero_grad()
        self.loss(self.forward(self.x), self.labels).backward()
        self.sgd.step()

    def layer_by_layer(self):
        watch, pairs, y = Stopwatch(self.device), [], self.x
        self.sgd.zero_grad()
        for name, module in zip(self.names, self.modules):
            y_in = y.detach().requires_grad_(y is not self.x)  # a new leaf: the graph ends here
            y = watch.timed((name, "forward"), module, y_in)
            pairs.append((name, y_in, y))
        y = y.detach().requires_grad_()
        loss = watch.timed(("loss", "forward"), self.loss, y, self.labels)
        watch.timed(("loss", "backward"), loss.backward)
        dy = y.grad
        for name, y_in, y in reversed(pairs):
            watch.timed((name, "backward"), y.backward, dy)
            dy = y_in.grad
        watch.timed(("all weights", "update"), self.sgd.step)
        return watch.seconds()

    def infer(self):
        self.modules.eval()
        with self.torch.no_grad():
            return whole_steps(self.device, lambda: self.forward(self.x))


class OnnxRuntime:
    """ONNX Runtime with the same weights. Inference on the CPU only."""

    def __init__(self, net, x):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = parallel.thread_count()
        self.session = onnxruntime.InferenceSession(to_onnx(net), options,
                                                    providers=["CPUExecutionProvider"])
        self.x = x
        net.eval()
        ours, theirs = net.forward(x[:1]), self.session.run(["logits"], {"x": x[:1]})[0]
        if not np.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * np.abs(ours).max()):
            raise ArithmeticError("ONNX Runtime gives other numbers: "
                                  f"{theirs[0, :3]}, not {ours[0, :3]}")

    def infer(self):
        watch = Stopwatch("cpu")
        watch.timed(("step", "total"), self.session.run, ["logits"], {"x": self.x})
        return watch.seconds()
