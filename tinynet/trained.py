"""A network that a run has trained, with all it takes to show it a picture."""

import dataclasses
import pathlib

import numpy as np

from tinynet import backend, checkpoint, data, run
from tinynet.alexnet import AlexNet
from tinynet.cifarnet import CifarNet
from tinynet.losses import SoftmaxCrossEntropy
from tinynet.network import Sequential
from tinynet.train import evaluating, predict

NETWORKS = {  # by the name that a run has in its config.json
    "AlexNet": lambda config, **rest: AlexNet(config["recipe"], len(config["classes"]), config["image_size"], **rest),
    "CifarNet": lambda config, **rest: CifarNet(len(config["classes"]), **rest),
}


@dataclasses.dataclass
class Trained:
    """What load returns.

    mean    (3, S, S): the mean image of what the network has learnt from; pictures are kept at S pixels
    origin  where the weights are from, for people to read
    """

    net: Sequential
    class_names: list
    mean: np.ndarray
    origin: str

    def load_picture(self, file):
        """A picture of any format, as data.load_picture has it, of the size it takes: uint8 (3, S, S)."""
        return data.load_picture(file, self.mean.shape[-1], data.any_format())

    def probabilities(self, pictures, ten_views=False):
        """-> (N, classes) for uint8 (N, 3, S, S), of the middle of each or of the paper's ten views."""
        size = self.net.in_shape[-1]
        x = data.ten_crops(pictures, size) if ten_views else data.center_crop(pictures, size)
        x = x - data.center_crop(self.mean, size)
        with evaluating(self.net):  # the loss asks for labels, the probabilities do not depend on them
            return predict(self.net, SoftmaxCrossEntropy(), x, np.zeros(len(x), np.int64))[0]


def load(folder):
    """The network of a run; of one that is not finished, as its newest checkpoint has it.

    Raises   RunError or CheckpointError, one line for the user
    """
    folder = pathlib.Path(folder)
    config = run.read_config(folder)
    try:
        classes = config["classes"]
        net = NETWORKS[config["network"]](config, rng=np.random.default_rng(0))
    except (KeyError, TypeError, ValueError) as error:
        raise run.RunError(f"{folder / 'config.json'}: tells of no network that can be built ({error})") from None
    mean = data.Statistics(**checkpoint.load_arrays(folder / "statistics.npz")).mean
    if run.is_finished(folder):
        net.load(folder / "weights.npz")
        return Trained(net, classes, mean, f"{folder / 'weights.npz'}, of a finished run")
    path, arrays, state = run.load_newest(folder)
    for name, w in net.named_params().items():
        w[...] = backend.like(arrays[f"params/{name}"], w)
    return Trained(net, classes, mean, f"{path}, after {state['step']} steps of a run that is not finished")
