"""Pictures with labels: where they come from, and how they become batches.

A source is what open_source returns:

    name         for people to read
    class_names  a list; label 3 is class_names[3]
    train, test  a split each:
        labels          (N,) int64
        len(split)      N
        read(indices)   -> pictures uint8 (M, 3, S, S), readable (len(indices),) bool: M of the pictures asked for, in
                        order, without those that cannot be read
        unreadable      {file: reason} of those met so far
"""

from tinynet.data.augment import center_crop, crop_and_flip, draw_crops
from tinynet.data.batches import mean_image, test_batches, training_batches
from tinynet.data.embedded import EmbeddedSource
from tinynet.data.folder import FolderSource
from tinynet.data.pictures import DataError, UnreadablePicture, load_picture

__all__ = ["DataError", "EmbeddedSource", "FolderSource", "UnreadablePicture", "center_crop", "crop_and_flip",
           "draw_crops", "load_picture", "mean_image", "open_source", "test_batches", "training_batches"]


def open_source(spec, size, seed=0, quiet=False):
    """The pictures that `spec` names, as squares of `size` pixels.

    Args     spec: "embedded", or the path of a folder with a sub-folder for each class; seed: of the drawings, or of
             the split where the folder has none; quiet: show no progress and name no unreadable file
    Raises   DataError, one line for the user
    """
    if spec == "embedded":
        return EmbeddedSource(size, seed, quiet=quiet)
    return FolderSource(spec, size, seed, quiet=quiet)
