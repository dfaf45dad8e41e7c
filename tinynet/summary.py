"""The table of a network, layer by layer, and an estimate of the GPU memory that training takes."""

import dataclasses
import math

from tinynet.language import columns, pad, translate

WORKSPACE_BYTES = 350 << 20  # of cuda/conv.py: 256 MiB of columns, and the products made from them
# What CuPy's memory pool holds beyond the arrays in use, at most, for each byte that layers save:
# it splits large free blocks into fragments that are too small for the next array. The pool is
# simulated in tests/test_cuda_devices.py, which also says how near the simulation came to a GPU.
FRAGMENTS = 0.8


def summarize(layers, in_shape, itemsize):
    """Walk through layers, without computing anything, and return a Summary.

    Args     layers: {"conv1": layer, ...}, built; in_shape (C, H, W) of one image;
             itemsize: the bytes of one number of the network
    """
    rows, shape = [], (1, *in_shape)
    for name, layer in layers.items():
        saved = layer.saved_bytes(shape, itemsize)
        macs, shape = layer.macs(shape), layer.output_shape(shape)
        params = sum(array.size for array in layer.params.values())
        rows.append(SummaryRow(name, type(layer).__name__, shape[1:], params, macs,
                               math.prod(shape) * itemsize, saved))
    return Summary(tuple(in_shape), rows, itemsize)


@dataclasses.dataclass
class SummaryRow:
    """One layer. output_shape is without the batch; macs and the bytes are of one image.

    saved_bytes  what the layer saves for backward: {"x": bytes, "mask": bytes, ...}
    """

    name: str
    kind: str
    output_shape: tuple
    params: int
    macs: int
    activation_bytes: int
    saved_bytes: dict


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
        """Estimate the bytes of all arrays in a training step of N images on a GPU.

        Counted are: weights, velocities and gradients; the gradients of the largest layer once
        more, since new ones are made before the old ones are freed; this batch and the next one;
        all that layers save for backward; the workspace of a convolution.
        """
        params = 3 * self.params + max((row.params for row in self.rows), default=0)
        batches = 2 * N * math.prod(self.in_shape)
        return self.itemsize * (params + batches) + N * self._saved_bytes() + WORKSPACE_BYTES

    def gpu_bytes(self, N):
        """Estimate the GPU memory, in bytes, that a training step of N images takes.

        It is that of the arrays and of the fragments in CuPy's memory pool.
        """
        return self.training_bytes(N) + N * int(FRAGMENTS * self._saved_bytes())

    def _saved_bytes(self):
        """Count what all layers save of one image. An output that two of them save counts once."""
        total = 0
        for row, above in zip(self.rows, [*self.rows[1:], None]):
            if "y" in row.saved_bytes or above and "x" in above.saved_bytes:
                total += row.activation_bytes
            total += sum(size for name, size in row.saved_bytes.items() if name not in ("x", "y"))
        return total

    def largest_batch(self, available_bytes):
        """Return how many images gpu_bytes allows in so much memory; 0 where none fits."""
        fixed = self.gpu_bytes(0)
        return max(0, (available_bytes - fixed) // (self.gpu_bytes(1) - fixed))

    def __str__(self):
        widths = max([10, *(len(row.name) for row in self.rows)]), 10, -14, -12, -14, -12

        def line(*cells):
            return " ".join(map(pad, cells, widths))

        def numbers(entry):
            kib = entry.activation_bytes / 1024
            return f"{entry.params:,}", f"{entry.macs:,}", f"{kib:,.0f} KiB"

        def times(shape):
            return " x ".join(str(size) for size in shape)

        words = "layer", "kind", "output", "parameters", "MACs", "activations"
        head = line(*map(translate, words))
        rows = [line(row.name, row.kind, times(row.output_shape), *numbers(row))
                for row in self.rows]
        first = line(translate("input"), "", times(self.in_shape), "", "", "")
        last = line(translate("total"), "", "", *numbers(self))
        return "\n".join([head, first, *rows, "-" * columns(head), last])

    __repr__ = __str__
