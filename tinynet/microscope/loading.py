"""A run's network and checkpoints, and pictures: the only file here that knows what a run is."""

import dataclasses
import pathlib

import numpy as np

from tinynet import checkpoint, cifarnet, data, runs
from tinynet.data.embedded import CLASS_NAMES, draw_picture
from tinynet.optim import SGD

MISTAKES = (runs.RunError, checkpoint.CheckpointError, data.DataError)  # one line for the user


@dataclasses.dataclass
class Network:
    """A trained network, and what trains it.

    net, class_names, origin  as runs.load has them
    mean                      float32 (3, H, W): what is subtracted from a picture of the net's size
    sgd                       an SGD with the run's rate, and the velocity where it was saved
    rate                      the run's first learning rate, where no checkpoint knows a later one
    trained                   as runs.load returns it
    loaded                    the step whose parameters the network has; None: as the run ended
    """

    folder: pathlib.Path
    net: object
    class_names: list
    origin: str
    mean: np.ndarray
    sgd: SGD
    rate: float
    trained: object
    loaded: int = None

    def picture(self, file):
        """Return the part of a picture that the network sees: uint8 (3, H, W)."""
        return data.center_crop(self.trained.load_picture(file)[None], self.net.in_shape[-1])[0]

    def drawn_picture(self, label, index):
        """Return a picture of the drawn test set: uint8 (3, H, W)."""
        size = self.trained.mean.shape[-1]
        drawn = draw_picture(CLASS_NAMES[label], np.random.default_rng((0, 1, index)), size)
        return data.center_crop(drawn[None], self.net.in_shape[-1])[0]

    @property
    def draws(self):
        """Return whether the network has learned from drawn pictures."""
        return list(self.class_names) == CLASS_NAMES

    @property
    def source(self):
        """Return where the parameters are from that the network has now, for people to read."""
        if self.loaded is None:
            return self.origin
        return str(self.folder / f"checkpoint-{self.loaded:06}.npz")

    def steps(self):
        """Return the steps of training whose checkpoints the folder holds, the first one first."""
        return [int(path.stem.rpartition("-")[2]) for path in runs.checkpoints(self.folder)]

    def load(self, step):
        """Take the parameters that the run had after `step`; None: those that it ended with.

        Raises   ValueError, one line, where there is no such checkpoint or it is damaged
        """
        if step == self.loaded:
            return
        if step is None:
            self.net.restore(runs.load(self.folder).net.state())
            self.sgd.lr, self.sgd.velocity = self.rate, zeros(self.net)
        elif step not in self.steps():
            raise runs.RunError(f"{self.folder}: there is no checkpoint of step {step}")
        else:
            state = checkpoint.load_state(self.folder / f"checkpoint-{step:06}.npz")
            self.net.restore(state["network"])
            self.sgd.restore(state["sgd"])
        self.loaded = step


def load(folder):
    """Return the Network of a run. Raises one of MISTAKES, one line for the user."""
    found = runs.load(folder)
    net, config = found.net, runs.read_config(folder)
    # here, somebody asks for the gradient of the picture
    next(iter(net.named_layers().values())).need_dx = True
    decay = cifarnet.WEIGHT_DECAY if config["network"] == "CifarNet" else 0.0005
    mean = data.center_crop(found.mean[None], net.in_shape[-1])[0].astype(net.dtype)
    rate = float(config.get("lr", 0.01))
    sgd = SGD(net, lr=rate, momentum=0.9, weight_decay=decay)
    return Network(pathlib.Path(folder), net, found.class_names, found.origin, mean, sgd, rate,
                   found)


def zeros(net):
    """Return velocities of 0 for all parameters, which take no memory until they are used."""
    return {name: np.zeros(w.shape, w.dtype) for name, w in net.named_params().items()}
