"""From a picture to what a network takes: all of it belongs to the weights."""

import base64
import dataclasses

import numpy as np

from tinynet import data
from tinynet.data.pictures import FITS
from tinynet.data.workers import in_order, pieces
from tinynet.weights.tensors import WeightsError, times


@dataclasses.dataclass
class Preprocessing:
    """How a network's makers prepared their pictures.

    fit       how a picture becomes a square, a key of FITS: "paper", "shorter side", "warp" or
              "warp, antialiased"
    stored    side of that square, in pixels
    crop      side of what is cut from its middle, in pixels
    channels  "RGB" or "BGR", the order in which the network takes them
    mean      subtracted from pixels of 0 to 255: (3,) or (3, crop, crop), in the order of channels
    scale     what the difference is divided by: (3,), in the order of channels
    """

    fit: str
    stored: int
    crop: int
    channels: str
    mean: np.ndarray
    scale: np.ndarray

    def load_picture(self, file):
        """Read a picture of any format as a square: uint8 (3, stored, stored), RGB."""
        return data.load_picture(file, self.stored, data.any_format(), FITS[self.fit])

    def prepare(self, pictures, ten_views=False):
        """Turn pictures into what the network takes.

        Args     pictures: uint8 (N, 3, stored, stored), RGB
        Returns  x float32 (N, 3, crop, crop), or (N, 10, 3, crop, crop) with ten views
        Raises   WeightsError for ten views where nothing is cropped: they would be two
        """
        if ten_views and self.stored == self.crop:
            raise WeightsError("these weights take whole pictures, without a crop: there are no "
                               "ten views of them")
        cut = data.ten_crops if ten_views else data.center_crop
        x = cut(pictures, self.crop)
        if self.channels == "BGR":
            x = x[..., ::-1, :, :]
        mean = self.mean.reshape(3, *self.mean.shape[1:] or (1, 1)).astype(np.float32)
        scale = self.scale.reshape(3, 1, 1).astype(np.float32)
        return np.ascontiguousarray((x - mean) / scale)

    def batches(self, split, batch_size, ten_views=False):
        """Yield (x, labels) over a split in order, read by threads.

        Raises   DataError where no picture can be read
        """
        def read(indices):
            pictures, readable = split.read(indices)
            return self.prepare(pictures, ten_views), split.labels[indices[readable]]

        count = 0
        for x, labels in in_order(read, pieces(np.arange(len(split)), batch_size)):
            count += len(labels)
            if len(labels):
                yield x, labels
        if not count:
            raise data.DataError(f"none of {len(split)} pictures can be read")

    def __str__(self):
        shorter, warped = (f"shorter side to {self.stored} pixels",
                           f"warped to {self.stored} x {self.stored} pixels")
        fit = {"paper": f"{shorter}, the middle (bicubic)",
               "shorter side": f"{shorter} (bilinear, antialiased)",
               "warp": f"{warped} (bilinear, no antialiasing)",
               "warp, antialiased": f"{warped} (bicubic, antialiased)"}[self.fit]
        mean = (f"minus a mean image of {times(self.mean.shape)}" if self.mean.ndim > 1 else
                f"minus {_numbers(self.mean)}")
        scale = "" if np.all(self.scale == 1) else f", divided by {_numbers(self.scale)}"
        return f"{fit}; {self.channels}, 0 to 255, {mean}{scale}; {self.crop} x {self.crop} pixels"

    def to_json(self):
        """Return a dict of JSON values, for the metadata of a file."""
        array = np.ascontiguousarray(self.mean, dtype="<f4")
        return {"fit": self.fit, "stored": self.stored, "crop": self.crop,
                "channels": self.channels, "scale": [float(value) for value in self.scale],
                "mean": base64.b64encode(array).decode(), "mean_shape": list(array.shape)}

    @classmethod
    def from_json(cls, entry):
        """Rebuild what to_json made. Raises WeightsError where it is damaged."""
        try:
            shape = tuple(entry["mean_shape"])
            crop, stored = entry["crop"], entry["stored"]
            mean = np.frombuffer(base64.b64decode(entry["mean"], validate=True), "<f4")
            scale = np.array(entry["scale"], np.float32)
            assert shape in ((3,), (3, crop, crop)) and scale.shape == (3,) and (scale > 0).all()
            assert type(crop) is type(stored) is int and 1 <= crop <= stored <= 4096
            assert entry["fit"] in FITS and entry["channels"] in ("RGB", "BGR")
            mean = mean.reshape(shape)
            assert np.isfinite(mean).all() and np.isfinite(scale).all()
            return cls(entry["fit"], stored, crop, entry["channels"], mean, scale)
        except (AssertionError, KeyError, TypeError, ValueError):
            raise WeightsError("is damaged: its metadata do not say how pictures are prepared"
                               ) from None


def _numbers(values):
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"
