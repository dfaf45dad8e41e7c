"""A network of layers in a row."""

import contextlib
import importlib

import numpy as np

from tinynet import backend, checkpoint, shapes
from tinynet.layers import Layer
from tinynet.summary import summarize

RUNGS = {  # what a network can compute with on each device; the last one is the fastest
    "cpu": ("reference", "ops", "cpu"),
    "gpu": ("ops", "cuda"),
}
DTYPES = ("float32", "float64")


class Sequential(Layer):
    """Layers in a row: each one receives what the one before it puts out.

    With in_shape and rng it is a network, whose parameters are made at once. Without them it is
    a layer for another Sequential, which builds it; its layers are then named "block.conv1".

    Args     layers: of tinynet.layers, each with its own name; in_shape (C, H, W) of one image;
             rng: numpy.random.Generator, for the initial weights and the dropout masks;
             dtype: "float32" or "float64"; name: of the layer that it is in another Sequential
    Raises   TypeError or ValueError, in one line; ShapeError, which names the layer
    """

    def __init__(self, layers, in_shape=None, rng=None, dtype="float32", name="network"):
        super().__init__(name)
        self.layers = list(layers)
        self.in_shape = self.rng = self.dtype = None
        for layer in self.layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"{name}: {layer!r} is not a layer of tinynet.layers")
        names, layers = zip(*self._walk()) if self.layers else ((), ())
        if len(set(names)) < len(names):
            repeated = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"{name}: each layer needs its own name, used more than once: "
                             f"{', '.join(repeated)}")
        if len(set(map(id, layers))) < len(layers):
            raise ValueError(f"{name}: a layer is in it twice; each place needs a layer of its own")
        if in_shape is not None:
            if not isinstance(in_shape, tuple | list):
                raise TypeError(f"{name}: in_shape={in_shape!r} must be the shape of an image, "
                                "(C, H, W)")
            self.build((1, *in_shape), rng, dtype)
            self.use(RUNGS[self.device][-1])

    def build(self, in_shape, rng, dtype):
        """Make the parameters of all layers, for inputs of in_shape (N, C, H, W).

        Raises   ValueError where that was done before: trained weights would be lost
        """
        if self.in_shape is not None:
            raise ValueError(f"{self.name}: built before; a Sequential for use in another one "
                             "takes layers and a name, without in_shape")
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"{self.name}: rng must be a numpy.random.Generator, it is {rng!r}: "
                            "np.random.default_rng(0)")
        dtype = getattr(dtype, "__name__", str(dtype))  # numpy.float32 is "float32" here
        if dtype not in DTYPES:
            raise ValueError(f"{self.name}: dtype={dtype!r} must be float32 or float64")
        shapes.require_whole(self.name, **{f"in_shape[{i}]": size
                                           for i, size in enumerate(in_shape[1:])})
        self.in_shape, self.rng, self.dtype = tuple(in_shape[1:]), rng, dtype
        for layer in self.layers:
            layer.build(in_shape, rng, dtype)
            in_shape = layer.output_shape(in_shape)

    def __len__(self):
        return len(self.layers)

    def __iter__(self):
        return iter(self.layers)

    def __getitem__(self, which):
        """Return a layer by name or position: net["conv1"], net["block.conv1"], net[0], net[-1]."""
        if not isinstance(which, str):
            return self.layers[which]
        found = dict(self._walk())
        if which not in found:
            raise KeyError(f"no layer {which!r}; there are {', '.join(found)}")
        return found[which]

    def __repr__(self):
        """Return one line for each layer; the layers of a nested Sequential are indented."""
        lines = [line for layer in self.layers for line in repr(layer).splitlines()]
        return "\n".join([f"Sequential({self.name!r}, in_shape={self.in_shape})",
                          *(f"    {line}" for line in lines)])

    def _walk(self, prefix=""):
        """Yield (name, layer) in order; a Sequential in this one comes before its own layers."""
        for layer in self.layers:
            yield prefix + layer.name, layer
            if isinstance(layer, Sequential):
                yield from layer._walk(f"{prefix}{layer.name}.")

    def named_layers(self):
        """Return {"conv1": layer, "block.conv2": layer, ...}, in the order of computation."""
        return {name: layer for name, layer in self._walk() if not isinstance(layer, Sequential)}

    def _all(self):
        """Return this network and everything in it."""
        return [self, *(layer for _, layer in self._walk())]

    def output_shape(self, in_shape):
        for layer in self.layers:
            in_shape = layer.output_shape(in_shape)
        return in_shape

    def macs(self, in_shape):
        total = 0
        for layer in self.layers:
            total += layer.macs(in_shape)
            in_shape = layer.output_shape(in_shape)
        return total

    def forward(self, x):
        """Compute what the last layer puts out, from x (N, *in_shape).

        Raises   ShapeError, which names the layer where shapes do not fit; TypeError where x is not
                 an array of the network's dtype
        """
        self._require_input(x)
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def _require_input(self, x):
        if self.in_shape is None:
            raise RuntimeError(f"{self.name}: not built; give in_shape and rng, or put it into "
                               "another Sequential")
        self._require_array("x", x)
        if x.dtype != self.dtype:
            raise TypeError(f"the network computes in {self.dtype}, x is {x.dtype}: use "
                            f"x.astype({self.dtype!r})")
        shapes.require_shape("the network", "x", x.shape, (*x.shape[:1], *self.in_shape))

    def _require_array(self, name, x):
        if not hasattr(x, "dtype"):
            raise TypeError(f"the network: {name} must be an array, it is a {type(x).__name__}: "
                            f"use np.array({name}, {self.dtype!r})")

    def backward(self, dy):
        """Compute dL/dx from dL/dy, and fill the grads of every layer.

        Returns  dL/dx, or None where the first layer has need_dx=False
        Raises   TypeError or ShapeError for another dy; RuntimeError where there was no forward
                 pass in training mode
        """
        self._require_array("dy", dy)
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy

    def predict(self, x):
        """Return the probabilities of the classes, computed in evaluation mode.

        Args     x (N, *in_shape), on either device
        Returns  (N, classes), on the host: the softmax of what the last layer puts out
        Raises   as forward; ShapeError where the last layer does not put out (N, classes)
        """
        self._require_input(x)
        with self.evaluating():
            logits = self.forward(backend.to_device(x, self.device))
        labels = backend.like(np.zeros(len(logits), np.int64), logits)  # probabilities ignore them
        _, probs = self.ops.softmax_cross_entropy_forward(logits, labels)
        return backend.to_numpy(probs)

    def train(self):
        """Switch to training mode: forward saves what backward needs, and dropout drops units."""
        for layer in self._all():
            layer.training = True
        return self

    def eval(self):
        """Switch to evaluation mode: forward saves nothing, and dropout keeps all units."""
        for layer in self._all():
            layer.training = False
        return self

    @contextlib.contextmanager
    def evaluating(self):
        """Be in evaluation mode inside a with block; then give each layer its old mode back."""
        modes = [(layer, layer.training) for layer in self._all()]
        self.eval()
        try:
            yield self
        finally:
            for layer, mode in modes:
                layer.training = mode

    def use(self, rung):
        """Compute with another rung: "reference", "ops" or "cpu"; on a GPU "ops" or "cuda".

        A loss that was made for this network, SoftmaxCrossEntropy(net), computes with it too.

        Raises   ValueError for a rung that cannot compute where the network is
        """
        if rung not in RUNGS[self.device]:
            raise ValueError(f"no rung {rung!r} for a network on the {self.device}; there are "
                             f"{', '.join(RUNGS[self.device])}")
        for layer in self._all():
            layer.ops = importlib.import_module(f"tinynet.{rung}")
        return self

    def to(self, device):
        """Move parameters and buffers to "cpu" or "gpu", and use the rung that is fastest there.

        Raises   DeviceError, with the remedy, where there is no usable GPU
        """
        backend.require_device(device)
        for layer in self._all():
            for arrays in (layer.params, layer.buffers):
                arrays.update({key: backend.to_device(arrays[key], device) for key in arrays})
            layer.grads, layer.device = {}, device
        return self.use(RUNGS[device][-1])

    def named_params(self):
        """Return {"conv1.w": array, ...}. To write into these arrays is to change the network."""
        return self._named("params")

    def named_grads(self):
        """Return {"conv1.w": dL/dw, ...}, as the last backward computed them."""
        return self._named("grads")

    def named_buffers(self):
        """Return {"norm1.mean": array, ...}: the arrays of layers that no gradient changes."""
        return self._named("buffers")

    def _named(self, kind):
        return {f"{name}.{key}": array for name, layer in self._walk()
                for key, array in getattr(layer, kind).items()}

    def _arrays(self):
        return self.named_params() | self.named_buffers()

    def save(self, path):
        """Write parameters and buffers to an .npz file, completely or not at all."""
        arrays = self._arrays()
        checkpoint.save_arrays(path, {name: backend.to_numpy(arrays[name]) for name in arrays})

    def load(self, path):
        """Read what save wrote for a network of the same shapes.

        Raises   CheckpointError, with the first difference; the network is then unchanged
        """
        checkpoint.restore_arrays(path, self._arrays(), checkpoint.load_arrays(path))

    def state(self):
        """Return everything that training changes in the network, as a copy on the host.

        Returns  {"params": {"conv1.w": array, ...}, "buffers": {...}, "generator": state of rng}
        """
        return {"params": _on_host(self.named_params()), "buffers": _on_host(self.named_buffers()),
                "generator": self.rng.bit_generator.state}

    def restore(self, state):
        """Put back what state() returned, in place.

        Raises   CheckpointError, with the first difference; the network is then unchanged
        """
        arrays = state["params"] | state["buffers"]
        checkpoint.restore_arrays("the saved state", self._arrays(), arrays)
        self.rng.bit_generator.state = state["generator"]

    def summary(self):
        """Return shapes, parameters, multiply-accumulates and memory of each layer; print() it."""
        return summarize(self.named_layers(), self.in_shape, np.dtype(self.dtype).itemsize)


def _on_host(arrays):
    """Return copies of named arrays, as NumPy arrays."""
    return {name: np.array(backend.to_numpy(array)) for name, array in arrays.items()}
