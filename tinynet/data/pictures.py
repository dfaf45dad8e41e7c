"""One picture file -> one square array."""

import errno
import io
import os
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 100_000_000  # 300 MB once decoded; checked before memory is taken
EXTENSIONS = {".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # whatever the name says; Pillow's EPS runs a program
# What a disk says that has gone or fails: no fault of the one picture, and the next will fare no better.
LOST = {errno.ENOENT, errno.ENOTDIR, errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ETIMEDOUT,
        errno.ENOTCONN, errno.EHOSTDOWN, errno.EREMOTEIO}

Image.MAX_IMAGE_PIXELS = None  # we refuse on our own account, in one line and at one size
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # damaged EXIF: the pixels are what counts


class DataError(ValueError):
    """Data that cannot be used; one line for the user."""


class UnreadablePicture(DataError):
    """A file that is no picture, or a damaged one; str() is the reason."""


class DataLost(OSError):
    """Data that was there at the start and is gone, or cannot be reached any more; one line for the user."""

    def __init__(self, where, reason):
        self.where, self.reason = where, reason
        super().__init__(f"{where}: {reason}; it was there at the start. Once the data is back, the run can go on with "
                         "--resume")


def any_format():
    """All that Pillow reads by itself: not EPS, for which it runs a program."""
    Image.init()
    return [name for name in Image.ID if name != "EPS"]


def load_picture(file, size, formats=FORMATS, fit=None):
    """Read a picture, scale its shorter side to `size` pixels, cut out the middle.

    Paper    2, with size = 256
    Args     file: a path, or a picture in an archive, whose read() gives the bytes; of one of formats. Grey, palette,
             CMYK, 16-bit and transparent pictures become RGB (on white), and a camera's rotation is undone;
             fit: how the picture becomes a square, one of FITS if not as in the paper
    Returns  uint8 (3, size, size)
    Raises   UnreadablePicture; OSError where the disk is at fault, or the file is not there
    """
    if hasattr(file, "read"):
        file = io.BytesIO(file.read())
    elif os.path.exists(file) and not os.path.isfile(file):
        raise UnreadablePicture("not a regular file")  # to open a pipe is to wait for ever
    try:
        with Image.open(file, formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadablePicture(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS:,}")
            image = _to_rgb(ImageOps.exif_transpose(image))
            return (fit or square)(image, size)
    except (UnreadablePicture, MemoryError):
        raise
    except UnidentifiedImageError:  # its own words name the file, as the caller will
        raise UnreadablePicture("cannot identify image file") from None
    except Exception as error:  # on damaged files Pillow's readers raise anything, struct.error and IndexError too
        if getattr(error, "errno", None) in LOST:
            raise
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadablePicture(reason.splitlines()[0]) from None


def square(image, size):
    """The middle of a picture as uint8 (3, size, size). Cut first, or a picture of 1 x 9999 pixels would explode."""
    side = min(image.width, image.height)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    scaled = image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return np.ascontiguousarray(np.asarray(scaled).transpose(2, 0, 1))    # (3, size, size)


def shorter_side(image, size):
    """Scale the shorter side, bilinear with antialiasing, and cut out the middle: uint8 (3, size, size).

    Differs  from square in the filter alone; torchvision prepares pictures like this, with size = 256
    """
    width, height = image.size
    if max(width, height) > 64 * min(width, height):
        raise UnreadablePicture(f"{width} x {height} pixels are too narrow to be scaled whole")
    if width <= height:
        width, height = size, int(size * height / width)
    else:
        width, height = int(size * width / height), size
    scaled = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = int(round((width - size) / 2)), int(round((height - size) / 2))
    scaled = scaled.crop((left, top, left + size, top + size))
    return np.ascontiguousarray(np.asarray(scaled).transpose(2, 0, 1))    # (3, size, size)


def warp(image, size):
    """Scale width and height to `size` pixels each, bilinear between four pixels: uint8 (3, size, size).

    Differs  no antialiasing, and the proportions are lost: OpenCV's resize, with which Caffe's tutorial prepared its
             pictures; that rounds in fixed point, so that one pixel in a thousand may differ by one grey level
    """
    pixels = np.asarray(image, np.float32)                                # (H, W, 3)
    (top, bottom, down), (left, right, across) = (_neighbours(length, size) for length in pixels.shape[:2])
    down, across = down[:, None, None], across[:, None]                   # (size, 1, 1), (size, 1)
    rows = pixels[top] * (1 - down) + pixels[bottom] * down               # (size, W, 3)
    scaled = rows[:, left] * (1 - across) + rows[:, right] * across       # (size, size, 3)
    return np.ascontiguousarray(np.floor(scaled + 0.5).astype(np.uint8).transpose(2, 0, 1))


def _neighbours(length, size):
    """For each of `size` new pixels, the two old ones that its middle lies between, and how far from the first."""
    place = ((np.arange(size) + 0.5) * (length / size) - 0.5).clip(0, length - 1)
    first = place.astype(np.int64)
    return first, np.minimum(first + 1, length - 1), (place - first).astype(np.float32)


FITS = {"paper": square, "shorter side": shorter_side, "warp": warp}  # how a picture becomes a square


def _to_rgb(image):
    if image.mode.startswith("I"):  # 16 bits a pixel, or where it is "I" perhaps 8; Pillow would clip them at 255
        high = np.asarray(image).astype(np.int64)
        high = high if image.mode == "I" and high.max(initial=0) <= 255 else high >> 8
        image = Image.fromarray(high.clip(0, 255).astype(np.uint8))
    if image.mode == "F":
        raise UnreadablePicture("its pixels are floating-point numbers of unknown range")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
