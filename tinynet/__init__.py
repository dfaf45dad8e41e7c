"""tinynet: AlexNet from the formulas up. See README.md."""

from tinynet import backend, checkpoint, evaluation, gradcheck, layers, metrics, ops, shapes, trace
from tinynet.alexnet import RECIPES, AlexNet
from tinynet.backend import DeviceError
from tinynet.checkpoint import CheckpointError
from tinynet.cifarnet import CifarNet
from tinynet.losses import SoftmaxCrossEntropy
from tinynet.network import Sequential
from tinynet.optim import SGD
from tinynet.schedules import SCHEDULES, Plateau, StepDecay, Timetable
from tinynet.shapes import ShapeError

__version__ = "0.1.0"
__all__ = ["RECIPES", "SCHEDULES", "SGD", "AlexNet", "CheckpointError", "CifarNet", "DeviceError",
           "Plateau", "Sequential", "ShapeError", "SoftmaxCrossEntropy", "StepDecay", "Timetable",
           "backend", "checkpoint", "evaluation", "gradcheck", "layers", "metrics", "ops", "shapes",
           "trace"]
