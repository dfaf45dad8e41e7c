"""A network of layers in a row."""

import dataclasses
import importlib
import math

import numpy as np

from tinynet import backend, checkpoint, shapes

RUNGS = ("reference", "ops", "cpu", "cuda")
FASTEST = {"cpu": "cpu", "gpu": "cuda"}  # the rung a network computes with on each device, unless told otherwise

# What a training step takes of a GPU's memory: layers that keep their input, and their output, and what beside them.
KEEP_X = ("Conv2d", "Linear", "LRN", "LRNWithin")
KEEP_Y = ("ReLU", "LeakyReLU", "Tanh", "Sigmoid", "LRN", "LRNWithin")
KEPT_BESIDE = {"LRN": 1, "LRNWithin": 1, "Dropout": 1, "MaxPool": 0.25}  # scale, mask, argmax; y is 1
WORKSPACE_BYTES = 350 << 20  # of cuda/conv.py: 256 MiB of columns, and what they are multiplied into


class Sequential:
    """Layers, each fed by the one before.

    Args     layers: of tinynet.layers, with names of their own; in_shape (C, H, W) of one image;
             rng: numpy.random.Generator, for the initial weights and the dropout masks; dtype: "float32" or "float64"
    """

    def __init__(self, layers, in_shape, rng, dtype="float32"):
        self.layers, self.in_shape, self.rng, self.dtype = list(layers), tuple(in_shape), rng, dtype
        names = [layer.name for layer in self.layers]
        if len(set(names)) < len(names):
            repeated = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"layers need names of their own, these repeat: {', '.join(repeated)}")
        shape = (1, *self.in_shape)
        for layer in self.layers:
            layer.build(shape, rng, dtype)
            shape = layer.output_shape(shape)
        self.device = "cpu"
        self.use(FASTEST[self.device])

    def __getitem__(self, name):
        """net["conv1"]: the layer of that name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"no layer {name!r}; there are {', '.join(layer.name for layer in self.layers)}")

    def forward(self, x):
        """x (N, *in_shape) -> what the last layer puts out.

        Raises   ShapeError in the name of the layer where shapes part; TypeError for another dtype than the network's
        """
        if x.dtype != self.dtype:
            raise TypeError(f"the network computes in {self.dtype}, x is {x.dtype}: use x.astype({self.dtype!r})")
        shapes.require_shape("the network", "x", x.shape, (*x.shape[:1], *self.in_shape))
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dy):
        """dL/dy of the last layer -> dL/dx of the first (None if that has need_dx=False). Fills every layer's grads."""
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy

    def train(self):
        """From now on forward keeps what backward needs, and dropout drops."""
        for layer in self.layers:
            layer.training = True

    def eval(self):
        """From now on forward keeps nothing, and dropout lets every unit speak."""
        for layer in self.layers:
            layer.training = False

    def use(self, rung):
        """Compute with another rung: "reference", "ops", "cpu"; on a GPU "ops" or "cuda". ValueError for any other."""
        if rung not in RUNGS:
            raise ValueError(f"no rung {rung!r}; there are {', '.join(RUNGS)}")
        for layer in self.layers:
            layer.ops = importlib.import_module(f"tinynet.{rung}")

    def to(self, device):
        """Move parameters and buffers to "cpu" or "gpu", and use the rung that is fastest there.

        Raises   DeviceError, with the remedy, where there is no usable GPU
        """
        backend.require_device(device)
        for layer in self.layers:
            layer.params = {key: backend.to_device(array, device) for key, array in layer.params.items()}
            layer.buffers = {key: backend.to_device(array, device) for key, array in layer.buffers.items()}
            layer.grads = {}
        self.device = device
        self.use(FASTEST[device])

    def named_params(self):
        """{"conv1.w": array, ...}, the arrays themselves: to write to them is to change the network."""
        return {f"{layer.name}.{key}": array for layer in self.layers for key, array in layer.params.items()}

    def named_grads(self):
        """{"conv1.w": dL/dw, ...} as the last backward left them."""
        return {f"{layer.name}.{key}": array for layer in self.layers for key, array in layer.grads.items()}

    def named_buffers(self):
        """Return {"norm1.mean": array, ...}: the arrays of layers that no gradient changes."""
        return {f"{layer.name}.{key}": array for layer in self.layers
                for key, array in layer.buffers.items()}

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
        """Return everything that training changes here, as a copy on the host.

        Returns  {"params": {"conv1.w": array, ...}, "buffers": {...}, "generator": the state of rng}
        """
        return {"params": _on_host(self.named_params()), "buffers": _on_host(self.named_buffers()),
                "generator": self.rng.bit_generator.state}

    def restore(self, state):
        """Put back what state() returned, in place.

        Raises   CheckpointError, with the first difference; the network is then unchanged
        """
        checkpoint.restore_arrays("the saved state", self._arrays(), state["params"] | state["buffers"])
        self.rng.bit_generator.state = state["generator"]

    def _arrays(self):
        return self.named_params() | self.named_buffers()

    def summary(self):
        """Output shape, parameters, multiply-accumulates and memory of every layer, for one image; print() it."""
        rows, shape, itemsize = [], (1, *self.in_shape), 4 if self.dtype == "float32" else 8
        for layer in self.layers:
            macs, shape = layer.macs(shape), layer.output_shape(shape)
            params = sum(array.size for array in layer.params.values())
            rows.append(SummaryRow(layer.name, type(layer).__name__, shape[1:], params, macs,
                                   math.prod(shape) * itemsize))
        return Summary(self.in_shape, rows, itemsize)


def _on_host(arrays):
    """Return copies of named arrays, as NumPy arrays."""
    return {name: np.array(backend.to_numpy(array)) for name, array in arrays.items()}


@dataclasses.dataclass
class SummaryRow:
    """One layer: output_shape without the batch; params; macs and activation_bytes of one image."""

    name: str
    kind: str
    output_shape: tuple
    params: int
    macs: int
    activation_bytes: int


@dataclasses.dataclass
class Summary:
    """What Sequential.summary() returns: the rows, their totals, and a table for print()."""

    in_shape: tuple
    rows: list
    itemsize: int

    @property
    def params(self):
        return sum(row.params for row in self.rows)

    @property
    def macs(self):
        return sum(row.macs for row in self.rows)

    @property
    def activation_bytes(self):
        return sum(row.activation_bytes for row in self.rows)

    def training_bytes(self, N):
        """An estimate of the GPU memory that a training step of N images takes.

        Weights, velocities and gradients, those of one layer twice: new ones are made before the old ones go. The batch
        and the next one. All that layers keep until backward comes. The columns of a piece of the batch.
        """
        params = 3 * self.params + max(row.params for row in self.rows)
        following = [*(row.kind for row in self.rows[1:]), ""]
        kept = sum(row.activation_bytes * ((row.kind in KEEP_Y or then in KEEP_X) + KEPT_BESIDE.get(row.kind, 0))
                   for row, then in zip(self.rows, following))
        return int(self.itemsize * (params + 2 * N * math.prod(self.in_shape)) + N * kept) + WORKSPACE_BYTES

    def largest_batch(self, available_bytes):
        """How many images training_bytes lets into so much memory; 0 if not one."""
        fixed = self.training_bytes(0)
        return max(0, (available_bytes - fixed) // (self.training_bytes(1) - fixed))

    def __str__(self):
        def line(name, kind, shape, params, macs, size):
            return f"{name:<10} {kind:<10} {shape:>14} {params:>12} {macs:>14} {size:>12}"

        def numbers(entry):
            return f"{entry.params:,}", f"{entry.macs:,}", f"{entry.activation_bytes / 1024:,.0f} KiB"

        def times(shape):
            return " x ".join(str(size) for size in shape)

        head = line("layer", "kind", "output", "parameters", "MACs", "activations")
        rows = [line(row.name, row.kind, times(row.output_shape), *numbers(row)) for row in self.rows]
        return "\n".join([head, line("input", "", times(self.in_shape), "", "", ""), *rows,
                          "-" * len(head), line("total", "", "", *numbers(self))])

    __repr__ = __str__
