"""From a split to batches (x, labels): x float32 (N, 3, s, s), less the mean image; labels (N,)."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tinynet.console import Progress
from tinynet.data.augment import center_crop, crop_and_flip, draw_crops
from tinynet.data.pictures import DataError


def mean_image(split, quiet=False):
    """The mean of every pixel over a split.

    Paper    2
    Returns  float32 (3, S, S), in 0 to 255
    Raises   DataError where not one picture can be read
    """
    total, count = 0.0, 0
    with Progress(len(split), "mean image", "pictures", quiet) as progress:
        for indices in _runs(np.arange(len(split)), 256):
            pictures, _ = split.read(indices)
            total = total + pictures.sum(axis=0, dtype=np.float64)        # (3, S, S)
            count += len(pictures)
            progress.update(len(indices))
    if not count:
        raise DataError(f"not one of {len(split)} pictures can be read")
    return (total / count).astype(np.float32)


def training_batches(split, batch_size, size, mean, rng):
    """Batches without end: pass after pass in a new order, each picture once a pass, cut and mirrored at random.

    The last batch of a pass may be short; a picture that cannot be read is left out. A thread prepares one batch
    ahead, but all draws from rng are made by the caller's: which batch gets which does not depend on timing.

    Args     size: of the crops, in pixels; mean (3, S, S): its middle is taken off every crop, wherever that was cut,
             as in the 2012 code (Caffe takes off the part of the mean that lies under the crop)
    Raises   DataError where not one picture can be read
    """
    def prepare(indices, tops, lefts, flips):
        pictures, readable = split.read(indices)
        crops = crop_and_flip(pictures, tops[readable], lefts[readable], flips[readable], size)
        return crops - center_crop(mean, size), split.labels[indices[readable]]

    margin = mean.shape[-1] - size
    ahead = None
    with ThreadPoolExecutor(1) as thread:
        while len(split.unreadable) < len(split):
            for indices in _runs(rng.permutation(len(split)), batch_size):
                following = thread.submit(prepare, indices, *draw_crops(rng, len(indices), margin))
                if ahead is not None:
                    x, labels = ahead.result()
                    if len(labels):
                        yield x, labels
                ahead = following
    raise DataError(f"not one of {len(split)} pictures can be read")


def test_batches(split, batch_size, size, mean):
    """One pass in order, the middle of each picture: the single view of the paper's section 6 footnote.

    Raises   DataError where not one picture can be read
    """
    count = 0
    for indices in _runs(np.arange(len(split)), batch_size):
        pictures, readable = split.read(indices)
        count += len(pictures)
        if readable.any():
            yield center_crop(pictures, size) - center_crop(mean, size), split.labels[indices[readable]]
    if not count:
        raise DataError(f"not one of {len(split)} pictures can be read")


def _runs(order, length):
    return [order[start:start + length] for start in range(0, len(order), length)]
