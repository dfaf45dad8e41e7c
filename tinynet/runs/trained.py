"""Load the network of a run, with all that is needed to show it a picture."""

import dataclasses
import pathlib

import numpy as np

from tinynet import checkpoint, data
from tinynet.alexnet import AlexNet
from tinynet.cifarnet import CifarNet
from tinynet.evaluation import predict
from tinynet.network import Sequential
from tinynet.runs import folder as files

NETWORKS = {  # by the name in config.json
    "AlexNet": lambda config, rng: AlexNet(config["recipe"], len(config["classes"]),
                                           config["image_size"], rng=rng),
    "CifarNet": lambda config, rng: CifarNet(len(config["classes"]), rng=rng),
}


class ZerosAtFirst(np.random.Generator):
    """A Generator that draws zeros while a network is built, whose weights are loaded afterwards.

    Drawing 61 million weights would take a second.
    """

    building = True

    def standard_normal(self, size=None, dtype=np.float64, out=None):
        """Return zeros of that size; once the network is built, what every Generator returns."""
        if self.building:
            return np.zeros(size, dtype)
        return super().standard_normal(size, dtype, out)


@dataclasses.dataclass
class Trained:
    """A network that was trained, and how its pictures are prepared.

    mean    (3, S, S) float32: the mean image of the training set; pictures are stored at S pixels
    origin  a line that says where the weights are from
    """

    net: Sequential
    class_names: list
    mean: np.ndarray
    origin: str

    def load_picture(self, file):
        """Return a picture file of any format as uint8 (3, S, S). Raises as data.load_picture."""
        return data.load_picture(file, self.mean.shape[-1], data.any_format())

    def prepare(self, pictures, ten_views=False):
        """Turn pictures uint8 (N, 3, S, S) into the input of the network.

        Returns  x (N, 3, s, s), the middle of each picture minus the mean image; or (N, 10, 3, s,
                 s), the paper's ten views (4.1)
        """
        size = self.net.in_shape[-1]
        x = data.ten_crops(pictures, size) if ten_views else data.center_crop(pictures, size)
        return x - data.center_crop(self.mean, size)

    def probabilities(self, pictures, ten_views=False):
        """Return probabilities (N, classes) for pictures uint8 (N, 3, S, S)."""
        return predict(self.net, self.prepare(pictures, ten_views))


def load(folder, path=None):
    """Load the network of a run: its final weights, or its newest checkpoint if it is not finished.

    Args     path: one of checkpoints(folder), to load that one instead
    Raises   RunError or CheckpointError, one line for the user
    """
    folder = pathlib.Path(folder)
    config = files.read_config(folder)
    try:
        classes = config["classes"]
        rng = ZerosAtFirst(np.random.PCG64(0))
        net = NETWORKS[config["network"]](config, rng)
        rng.building = False
    except (KeyError, TypeError, ValueError) as error:
        raise files.RunError(f"{folder / 'config.json'}: does not describe a network of tinynet "
                             f"({error})") from None
    mean = data.load_statistics(folder / "statistics.npz").mean
    if path is None and files.is_finished(folder):
        net.load(folder / "weights.npz")
        return Trained(net, classes, mean, f"{folder / 'weights.npz'}, of a finished run")
    path, state = (path, checkpoint.load_state(path)) if path else files.load_newest(folder)
    try:
        net.restore(state["network"])
    except (checkpoint.CheckpointError, KeyError, TypeError) as error:
        raise checkpoint.CheckpointError(f"{path}: made for another network ({error})") from None
    origin = f"{path}, after {state['step']} steps"
    if not files.is_finished(folder):
        origin += " of a run that is not finished"
    return Trained(net, classes, mean, origin)
