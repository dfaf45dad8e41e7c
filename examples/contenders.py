"""The contenders of benchmark.py and race.py: the rungs of tinynet, PyTorch and ONNX Runtime.

Each lives in a process of its own (`OwnProcess`), so that it has its own memory, and a crash ends
no other. In `turn` a contender makes its step twice, first divided into layers, then whole, and
returns {(layer, phase): seconds}. The key ("step", "total") is the whole step. On a GPU it is the
mean of IN_A_ROW ordinary steps: the host launches the next step while the GPU computes this one.
"""

import contextlib
import multiprocessing
import os
import pathlib
import re
import resource
import signal
import sys
import time

import numpy as np

import tinynet
from tinynet import backend, shapes
from tinynet.cpu import parallel
from tinynet.layers import LRN, AvgPool, Conv2d, Dropout, Flatten, Linear, MaxPool, ReLU, Tanh
from tinynet.weights.onnx_graph import to_onnx

IN_A_ROW = 20  # steps on a GPU from one look at the clock to the next, as in training
AGAINST = {"torch": "torch", "compile": "torch", "onnxruntime": "onnxruntime"}  # name: package


# -------------------------------------------------------------------------- a process for each one

class OwnProcess:
    """An object in a process of its own, which uses no processor while it waits to be called.

    Args     make, *args: make(*args), called in the new process, returns the object
    """

    def __init__(self, make, *args):
        context = multiprocessing.get_context("spawn")  # CUDA and threads do not survive a fork
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, make, args), daemon=True)
        self.process.start()
        theirs.close()  # now the pipe ends where the process ends

    def call(self, method):
        """Return what a method of the object returns.

        Raises   ChildProcessError if it raises or crashes; a ShapeError stays one
        """
        try:
            self.pipe.send(method)
            answer = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            raise ChildProcessError("its process ended with exit code "
                                    f"{self.process.exitcode}") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pipe.close()  # it ends by itself, unless it is at work
        self.process.join(10)
        self.process.terminate()
        self.process.join()


def _serve(pipe, make, args):
    """Make the object, and call its methods until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C stops the program, and that stops us
    with contextlib.suppress(EOFError, ConnectionError):  # the program that asked has ended
        try:
            made = make(*args)
            while True:
                answer = getattr(made, pipe.recv())()
                wait_until_idle()
                pipe.send(answer)
        except (EOFError, ConnectionError):
            raise
        except shapes.ShapeError as error:
            pipe.send(error)
        except Exception as error:  # of any library
            first_line, *_ = str(error).splitlines() or [""]
            pipe.send(ChildProcessError(f"{type(error).__name__}: {first_line}"))


def wait_until_idle(pause=0.1, most=50):
    """Wait until the threads of this process use less than 1 % of a core.

    Those of OpenBLAS, OpenMP and ONNX Runtime spin for a while after their work.
    """
    for _ in range(most):
        before = time.process_time()  # of all threads together
        time.sleep(pause)
        if time.process_time() - before < 0.01 * pause:
            return
    raise TimeoutError(f"its threads still spin {pause * most:.0f} s after their work")


# ------------------------------------------------------------------------------------- measurement

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


class Contender:
    """What the contenders share. Each has whole(), an ordinary step of training or inference."""

    def warm_up(self):
        """Return the peak memory of two ordinary steps, in bytes; then take the first turn."""
        forget_peak()
        self.whole()
        self.whole()
        peak = self.peak_bytes()
        self.turn()
        return peak

    def turn(self):
        """Return {(layer, phase): seconds} of a divided step and the whole one that follows it."""
        watch = Stopwatch(self.device)
        self.divided(watch)
        times = watch.seconds()
        count, watch = IN_A_ROW if self.device == "gpu" else 1, Stopwatch(self.device)
        watch.timed(("step", "total"), lambda: [self.whole() for _ in range(count)])
        return times | {key: seconds / count for key, seconds in watch.seconds().items()}

    def divided(self, watch):
        """Make a step whose layers are timed, or an ordinary one where they cannot be."""
        self.whole()

    def peak_bytes(self):
        """Return the peak memory of this process, or what it took from the GPU."""
        if self.device == "gpu":
            import cupy
            return cupy.get_default_memory_pool().total_bytes()
        status = pathlib.Path("/proc/self/status")
        if status.exists():  # on Linux getrusage would count the parent process too
            return 1024 * int(re.search(r"VmHWM:\s*(\d+)", status.read_text()).group(1))
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak():
    """Let the peak memory of this process begin anew. Outside Linux it counts from the start."""
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5")


# ---------------------------------------------------------------------------------- the contenders

class Tinynet(Contender):
    """A rung of tinynet."""

    def __init__(self, rung, net, x, labels, training):
        self.device, self.training = net.device, training
        self.net = (net.train() if training else net.eval()).use(rung)
        self.x, self.labels = backend.to_device(x, net.device), labels
        self.loss, self.sgd = tinynet.SoftmaxCrossEntropy(), tinynet.SGD(net)

    def whole(self):
        y = self.net.forward(self.x)
        if self.training:
            self.loss.forward(y, self.labels)
            self.net.backward(self.loss.backward())
            self.sgd.step()

    def divided(self, watch):
        y = self.x
        for layer in self.net.layers:
            y = watch.timed((layer.name, "forward"), layer.forward, y)
        if self.training:
            watch.timed(("loss", "forward"), self.loss.forward, y, self.labels)
            dy = watch.timed(("loss", "backward"), self.loss.backward)
            for layer in reversed(self.net.layers):
                dy = watch.timed((layer.name, "backward"), layer.backward, dy)
            watch.timed(("all weights", "update"), self.sgd.step)


class Torch(Contender):
    """PyTorch, with the weights of a network of tinynet."""

    def __init__(self, net, x, labels, training, compiled=False):
        import torch

        torch.set_num_threads(parallel.thread_count())
        torch.manual_seed(0)
        torch.backends.cudnn.benchmark = True  # let it choose its fastest convolutions
        tf32 = os.environ.get("CUPY_TF32") == "1"  # one switch for CuPy and PyTorch
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        self.torch, self.device = torch, net.device
        self.training, self.compiled = training, compiled
        place = "cpu" if net.device == "cpu" else "cuda"
        if net.device == "gpu":  # the same GPU as CuPy's
            import cupy
            torch.cuda.set_device(cupy.cuda.Device().id)
        self.names = [layer.name for layer in net.layers]
        self.modules = torch.nn.Sequential(*map(torch_module, net.layers)).to(place).train(training)
        self.x, self.labels = torch.from_numpy(x).to(place), torch.from_numpy(labels).to(place)
        self.loss = torch.nn.CrossEntropyLoss()
        self.sgd = torch.optim.SGD(self.modules.parameters(), lr=0.01, momentum=0.9,
                                   weight_decay=0.0005)
        self.forward = torch.compile(self.modules) if compiled else self.modules

    def whole(self):
        with self.torch.set_grad_enabled(self.training):
            y = self.forward(self.x)
        if self.training:
            self.sgd.zero_grad()
            self.loss(y, self.labels).backward()
            self.sgd.step()

    def divided(self, watch):
        if self.compiled or not self.training:
            return self.whole()
        pairs, y = [], self.x
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

    def peak_bytes(self):
        if self.device == "gpu":
            return self.torch.cuda.max_memory_reserved()
        return super().peak_bytes()


def torch_module(layer):
    """Return a layer of tinynet as a module of PyTorch with the same parameters."""
    from torch import from_numpy, nn, no_grad
    if isinstance(layer, Conv2d):
        K, C, *_ = layer.params["w"].shape
        module = nn.Conv2d(C * layer.groups, K, layer.size, layer.stride, layer.pad,
                           groups=layer.groups)
    elif isinstance(layer, Linear):
        module = nn.Linear(layer.params["w"].shape[1], layer.OUT)
    elif isinstance(layer, MaxPool):
        module = nn.MaxPool2d(layer.size, layer.stride, layer.pad, ceil_mode=layer.ceil)
    elif isinstance(layer, AvgPool):
        module = nn.AvgPool2d(layer.size, layer.stride, layer.pad, ceil_mode=layer.ceil,
                              count_include_pad=False)
    elif isinstance(layer, LRN):
        alpha = layer.alpha * layer.n  # PyTorch divides alpha by n
        module = nn.LocalResponseNorm(layer.n, alpha, layer.beta, layer.k)
    elif isinstance(layer, Dropout):
        module = nn.Dropout(1 - layer.keep)
    else:
        module = {ReLU: nn.ReLU, Tanh: nn.Tanh, Flatten: nn.Flatten}[type(layer)]()
    with no_grad():
        for key, name in {"w": "weight", "b": "bias"}.items():
            if key in layer.params:
                getattr(module, name).copy_(from_numpy(backend.to_numpy(layer.params[key])))
    return module


class OnnxRuntime(Contender):
    """ONNX Runtime with the same weights. Inference on the CPU only."""

    device = "cpu"

    def __init__(self, net, x):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = parallel.thread_count()
        self.session = onnxruntime.InferenceSession(to_onnx(net), options,
                                                    providers=["CPUExecutionProvider"])
        self.x = x
        ours, theirs = net.eval().forward(x[:1]), self.session.run(["logits"], {"x": x[:1]})[0]
        if not np.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * np.abs(ours).max()):
            raise ArithmeticError("ONNX Runtime gives other numbers: "
                                  f"{theirs[0, :3]}, not {ours[0, :3]}")

    def whole(self):
        self.session.run(["logits"], {"x": self.x})
