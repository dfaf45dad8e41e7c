"""Ten classes of pictures that are generated from a seed: data that needs no download."""

import hashlib
import math

import numpy as np
from PIL import Image, ImageDraw

from tinynet.console import Progress
from tinynet.data.pictures import DataError

CLASS_NAMES = ["checkerboard", "columns", "cross", "disk", "dots", "ring", "rows", "spiral", "star",
               "triangle"]
TRAIN, TEST = 3000, 1000


class EmbeddedSource:
    """Generated pictures: a figure of any colour, size and place, slightly rotated.

    The background has other colours, clutter and noise. A linear classifier on the pixels has a
    test error of 79 % (README), guessing has 90 %.

    Each picture has its own random generator, made from (seed, split, index), so it does not depend
    on the pictures before it.

    Args     size: side of the pictures, in pixels
    Raises   DataError if they need more memory than there is
    Memory   all pictures: 150 MB for 4,000 of 112 pixels
    """

    def __init__(self, size, seed=0, quiet=False, counts=(TRAIN, TEST)):
        self.name = "embedded"
        self.class_names = CLASS_NAMES
        with Progress(sum(counts), "generating", "pictures", quiet) as progress:
            self.train, self.test = (EmbeddedSplit(part, size, (seed, split), count, progress)
                                     for split, (part, count) in enumerate(
                                         zip(("train", "test"), counts)))


class EmbeddedSplit:
    """Generated pictures, of each class in turn. tinynet.data has the methods of a split."""

    def __init__(self, part, size, seed, count, progress):
        self.labels = np.arange(count) % len(CLASS_NAMES)                 # (N,)
        self.names = [f"{part}/{CLASS_NAMES[label]}/{index}"
                      for index, label in enumerate(self.labels)]
        self.unreadable = {}
        try:
            self._pictures = np.empty((count, 3, size, size), np.uint8)
        except MemoryError:
            raise DataError(f"{count:,} generated pictures of {size} x {size} pixels need "
                            f"{3e-9 * count * size**2:,.0f} GB of memory, which is more than there "
                            "is; choose smaller pictures") from None
        for index, label in enumerate(self.labels):
            rng = np.random.default_rng((*seed, index))
            self._pictures[index] = draw_picture(CLASS_NAMES[label], rng, size)
            progress.update(1)

    def __len__(self):
        return len(self.labels)

    def read(self, indices):
        return self._pictures[indices], np.ones(len(indices), bool)

    def digest(self):
        """Return the SHA-256 of all pictures."""
        return hashlib.sha256(self._pictures).hexdigest()


def draw_picture(name, rng, size):
    """Return a picture of class `name`, uint8 (3, size, size)."""
    background = rng.integers(0, 256, 3)
    shades = _clip(background + rng.normal(0, 22, (3, 3, 3)))                 # nine shades, blended
    picture = Image.fromarray(shades).resize((size, size), Image.Resampling.BICUBIC)
    _draw_clutter(ImageDraw.Draw(picture), background, rng, size)
    colour = rng.integers(0, 256, 3)
    while np.abs(colour - background).sum() < 280:  # until the figure stands out
        colour = rng.integers(0, 256, 3)
    picture.paste(tuple(colour.tolist()), mask=draw_figure(name, rng, size))
    noise = rng.normal(0, rng.uniform(4, 16), (size, size, 3))
    return _clip(np.asarray(picture) + noise).transpose(2, 0, 1)          # (3, size, size)


def draw_figure(name, rng, size):
    """Return the shape of a figure as a mask, 255 inside.

    It is drawn at twice the size and then halved, which makes the edges smooth.

    Raises   ValueError if there is no class `name`
    """
    S = 2 * size
    radius = rng.uniform(0.30, 0.46) * S
    middle_x, middle_y = rng.uniform(0.85 * radius, S - 0.85 * radius, 2)
    turn = rng.uniform(-0.35, 0.35)
    mask = Image.new("L", (S, S))
    pen = ImageDraw.Draw(mask)

    def place(points):
        """Move points from the unit disk of the figure into the picture."""
        return [(middle_x + radius * (x * math.cos(turn) - y * math.sin(turn)),
                 middle_y + radius * (x * math.sin(turn) + y * math.cos(turn)))
                for x, y in points]

    def disk(x, y, r, fill=255):
        (x, y), r = place([(x, y)])[0], r * radius
        pen.ellipse((x - r, y - r, x + r, y + r), fill)

    def box(left, top, right, bottom):
        pen.polygon(place([(left, top), (right, top), (right, bottom), (left, bottom)]), 255)

    match name:
        case "disk":
            disk(0, 0, 1)
        case "ring":
            disk(0, 0, 1)
            disk(0, 0, rng.uniform(0.5, 0.72), fill=0)
        case "triangle":
            pen.polygon(place(_corners([1, 1, 1])), 255)
        case "star":
            pen.polygon(place(_corners([1, rng.uniform(0.35, 0.45)] * 5)), 255)
        case "cross":
            half = rng.uniform(0.2, 0.3)
            box(-1, -half, 1, half)
            box(-half, -1, half, 1)
        case "rows" | "columns":
            count = int(rng.integers(3, 6))
            for i in range(count):
                start, end = 2 * i / count - 1, (2 * i + 1) / count - 1
                box(*((-0.95, start, 0.95, end) if name == "rows" else
                      (start, -0.95, end, 0.95)))
        case "checkerboard":
            count = int(rng.integers(3, 6))
            for row, column in np.ndindex(count, count):
                if (row + column) % 2 == 0:
                    box(*(1.6 * np.array([column, row, column + 1, row + 1]) / count - 0.8))
        case "dots":
            count = int(rng.integers(3, 5))
            for row, column in np.ndindex(count, count):
                x, y = (1.7 * (place + 0.5) / count - 0.85 for place in (column, row))
                disk(x, y, 0.5 / count)
        case "spiral":
            turns = rng.uniform(2.2, 3.2)
            line = [(t * math.cos(2 * math.pi * turns * t),
                     t * math.sin(2 * math.pi * turns * t)) for t in np.linspace(0.05, 1, 90)]
            pen.line(place(line), 255, max(2, round(0.13 * radius)), joint="curve")
        case _:
            raise ValueError(f"no figure called {name!r}")
    return mask.reduce(2)


def _corners(radii):
    """Return points at these distances from the middle, in directions spaced evenly."""
    angles = [2 * math.pi * i / len(radii) for i in range(len(radii))]
    return [(r * math.cos(angle), r * math.sin(angle)) for r, angle in zip(radii, angles)]


def _draw_clutter(pen, background, rng, size):
    """Draw a few short strokes in colours near the one of the background."""
    for _ in range(rng.integers(3, 9)):
        x, y = rng.uniform(0, size, 2)
        angle, length = rng.uniform(0, math.pi), rng.uniform(0.05, 0.16) * size
        colour = _clip(background + rng.normal(0, 70, 3))
        end = x + length * math.cos(angle), y + length * math.sin(angle)
        pen.line((x, y, *end), tuple(colour.tolist()), int(rng.integers(1, 4)))


def _clip(values):
    return np.clip(values, 0, 255).astype(np.uint8)
