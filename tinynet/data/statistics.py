"""Statistics of the training pictures: their mean image and the covariance of their colours."""

import dataclasses
import hashlib

import numpy as np

from tinynet.checkpoint import CheckpointError, load_arrays
from tinynet.console import Progress
from tinynet.data.pictures import DataError
from tinynet.data.workers import in_order, pieces

PIECE = 64  # pictures that are read at once


@dataclasses.dataclass
class Statistics:
    """The mean image (3, S, S) float32, from 0 to 255, and the covariance (3, 3) of R, G and B."""

    mean: np.ndarray
    covariance: np.ndarray

    def digest(self):
        """Return 16 hexadecimal digits that change when any number in it does."""
        return hashlib.sha256(self.mean.tobytes() + self.covariance.tobytes()).hexdigest()[:16]


@dataclasses.dataclass
class Sums:
    """Sums over pictures, from which Statistics are computed. Sums of parts can be added."""

    count: int = 0                                    # pictures
    pixels: np.ndarray | float = 0.0                  # (3, S, S)
    products: np.ndarray | float = 0.0                # (3, 3), of each colour and each other one

    @classmethod
    def of(cls, pictures):
        """Return the sums over pictures uint8 (M, 3, S, S)."""
        colours = pictures.transpose(1, 0, 2, 3).reshape(3, -1).astype(np.float32)  # (3, M*S*S)
        return cls(len(pictures), pictures.sum(axis=0, dtype=np.float64),
                   (colours @ colours.T).astype(float))

    def __add__(self, other):
        return Sums(self.count + other.count, self.pixels + other.pixels,
                    self.products + other.products)

    def statistics(self):
        """Return the Statistics of all pictures that were added."""
        mean = self.pixels / self.count                                   # (3, S, S)
        colour = mean.mean(axis=(1, 2))                                   # (3,)
        covariance = self.products / (self.count * mean[0].size) - np.outer(colour, colour)
        return Statistics(mean.astype(np.float32), covariance)


def compute_statistics(split, quiet=False):
    """Return the Statistics of a split. All its pictures are read, unless it has kept them.

    Paper    2 for the mean image; 4.1 for the covariance of RGB values over the training set
    Raises   DataError if no picture can be read
    """
    if getattr(split, "statistics", None) is not None:
        return split.statistics
    sums = Sums()

    def read(indices):
        return len(indices), Sums.of(split.read(indices)[0])

    with Progress(len(split), "mean image", "pictures", quiet) as progress:
        for asked, more in in_order(read, pieces(np.arange(len(split)), PIECE)):
            sums += more
            progress.update(asked)
    if not sums.count:
        raise DataError(f"none of {len(split)} pictures can be read")
    return sums.statistics()


def load_statistics(path):
    """Read Statistics that save_arrays has written as {"mean": ..., "covariance": ...}.

    Raises   CheckpointError, one line, if the file is missing, damaged, or holds anything else
    """
    arrays = load_arrays(path)
    found = {name: (array.shape, array.dtype.name) for name, array in arrays.items()}
    side = arrays["mean"].shape[-1:] if "mean" in arrays else ()
    if found != {"mean": ((3, *side, *side), "float32"), "covariance": ((3, 3), "float64")}:
        raise CheckpointError(f"{path}: not the statistics of a data set, which are a mean image, "
                              "float32 (3, S, S), and a covariance, float64 (3, 3)")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise CheckpointError(f"{path}: statistics that are not finite numbers")
    return Statistics(**arrays)
