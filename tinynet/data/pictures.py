"""Decode one picture file into one square array."""

import contextlib
import ctypes
import errno
import io
import logging
import os
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tinynet.threads import fork_safe_lock

MAX_PIXELS = 100_000_000  # 300 MB once decoded; checked before memory is taken
EXTENSIONS = {".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif",
              ".tiff", ".webp"}
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # whatever the name of a file says
# Errors of the disk, not of one picture: the file is gone or the disk fails, and so it will for the
# next picture.
LOST = {errno.ENOENT, errno.ENOTDIR, errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO,
        errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EREMOTEIO}


class DataError(ValueError):
    """Data that cannot be used; the message is one line for the user."""


class UnreadablePicture(DataError):
    """A damaged picture, or a file that is no picture; str() is the reason."""


class DataLost(OSError):
    """Data that has disappeared since the start, or cannot be reached; one line for the user."""

    def __init__(self, where, reason):
        self.where, self.reason = where, reason
        super().__init__(f"{where}: {reason}; it was there at the start. Once the data is back, "
                         "the run can go on with --resume")


def any_format():
    """Return all formats that Pillow decodes by itself. For EPS it would run a program."""
    Image.init()
    return [name for name in Image.ID if name != "EPS"]


def square(image, size):
    """Return the middle of a picture as uint8 (3, size, size).

    It is cut before it is scaled: a picture of 1 x 9999 pixels would need too much memory scaled.
    """
    side = min(image.width, image.height)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    scaled = image.resize((size, size), Image.Resampling.BICUBIC,
                          box=(left, top, left + side, top + side))
    return np.ascontiguousarray(np.asarray(scaled).transpose(2, 0, 1))    # (3, size, size)


def shorter_side(image, size):
    """Scale the shorter side, bilinear with antialiasing, and return the middle (3, size, size).

    Source   torchvision's Resize and CenterCrop, with size = 256
    Differs  from square in the filter alone
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
    """Scale width and height to `size` pixels each, bilinear between four pixels: (3, size, size).

    Source   OpenCV's resize, with which Caffe's tutorial prepares its pictures. Like OpenCV this
             computes with whole numbers, in units of 1/2048, so it gives the same bytes
    Differs  from the others in that nothing is cut off, the proportions are lost, and there is no
             antialiasing
    """
    pixels = np.asarray(image)                                            # (H, W, 3)
    H, W, _ = pixels.shape
    top, bottom, above, below = _neighbours(H, size)
    left, right, before, after = _neighbours(W, size)
    rows = pixels[:, left] * before[:, None] + pixels[:, right] * after[:, None]
    rows >>= 4                           # int32 (H, size, 3), 1/128; the products fit in 32 bits
    above, below = above[:, None, None], below[:, None, None]             # (size, 1, 1)
    scaled = (rows[top] * above >> 16) + (rows[bottom] * below >> 16)     # (size, size, 3), 1/4
    return np.ascontiguousarray(((scaled + 2) >> 2).astype(np.uint8).transpose(2, 0, 1))


def _neighbours(length, size):
    """Return, for each of `size` new pixels, the two old ones around its middle, and their weights.

    The weights are whole numbers, in units of 1/2048.
    """
    place = ((np.arange(size) + 0.5) * (length / size) - 0.5).astype(np.float32)  # as in OpenCV
    first = np.floor(place)
    weights = [np.rint(part * np.float32(2048)).astype(np.int32)
               for part in (1 - (place - first), place - first)]
    inside = [each.astype(np.int64).clip(0, length - 1) for each in (first, first + 1)]
    return *inside, *weights


def warp_antialiased(image, size):
    """Scale width and height to `size` pixels each, bicubic with antialiasing: (3, size, size).

    Source   Pillow's resize, as the ONNX model zoo used it when it measured its AlexNet
    """
    scaled = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(scaled).transpose(2, 0, 1))    # (3, size, size)


FITS = {"paper": square, "shorter side": shorter_side, "warp": warp,      # ways to make a square
        "warp, antialiased": warp_antialiased}


def load_picture(file, size, formats=FORMATS, fit=square):
    """Read a picture as a square: scale its shorter side to `size` pixels, cut out the middle.

    Grey, palette, CMYK, 16-bit and transparent pictures become RGB (transparent ones on white), and
    a picture that the camera has turned is turned back.

    Paper    2, with size = 256
    Args     file: a path, or an object whose read() returns the bytes, as a picture in an archive;
             formats: names of Pillow, the only ones that are tried; fit: one of FITS
    Returns  uint8 (3, size, size)
    Raises   UnreadablePicture; OSError if the file is missing or the disk fails
    """
    if hasattr(file, "read"):
        file = io.BytesIO(file.read())
    elif os.path.exists(file) and not os.path.isfile(file):
        raise UnreadablePicture("not a regular file")  # opening a pipe could wait for ever
    try:
        with _silence, Image.open(file, formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadablePicture(f"{image.width} x {image.height} pixels are more than "
                                        f"{MAX_PIXELS:,}")
            image = _to_rgb(ImageOps.exif_transpose(image))
            return fit(image, size)
    except (UnreadablePicture, MemoryError):
        raise
    except UnidentifiedImageError:  # its message names the file, and so does the caller
        raise UnreadablePicture("cannot identify image file") from None
    except Exception as error:  # Pillow raises anything for damaged files, even struct.error
        if getattr(error, "errno", None) in LOST:
            raise
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadablePicture(reason.splitlines()[0]) from None


def _to_rgb(image):
    if image.mode.startswith("I"):  # mostly 16 bits; Pillow would clip the values at 255
        values = np.asarray(image).astype(np.int64)
        if image.mode != "I" or values.max(initial=0) > 255:
            values = values >> 8
        image = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    if image.mode == "F":
        raise UnreadablePicture("its pixels are floating-point numbers of unknown range")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


# ------------------------------------------------------------------------------- a silent Pillow

class _Silence:
    """Keep messages of Pillow off the terminal while any thread decodes a picture.

    A damaged file is reported by UnreadablePicture, and damage outside the pixels (EXIF) does not
    matter. Pillow gives Python warnings and log lines, and its library libtiff prints lines from C.
    What silences them belongs to the whole process, and threads overlap: the first one that comes
    in changes it, the last one that leaves changes it back.
    """

    def __init__(self):
        self.lock, self.inside = fork_safe_lock(), 0
        self.log = logging.getLogger("PIL")
        self.handler = logging.NullHandler()  # if there is no handler, Python prints to stderr

    def __enter__(self):
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                warnings.filterwarnings("ignore", module=r"PIL\.")
                self.filter = warnings.filters[0]
                self.log.addHandler(self.handler)
                self.tiff = _set_tiff_handler(None)

    def __exit__(self, *_):
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                _set_tiff_handler(self.tiff)
                self.log.removeHandler(self.handler)
                with contextlib.suppress(ValueError):  # if somebody has reset the filters
                    warnings.filters.remove(self.filter)


def _set_tiff_handler(handler):
    """Make a C function print the errors of libtiff, None for nobody; return the one before."""
    try:
        set_handler = ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler
    except (OSError, AttributeError):  # this Pillow has no libtiff, or hides it
        return None
    set_handler.restype, set_handler.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    return set_handler(handler)


_silence = _Silence()
