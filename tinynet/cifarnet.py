"""The authors' small network for CIFAR-10, which they called "80 seconds".

Its table is layers-80sec.cfg of cuda-convnet. Section 3.1 and figure 1 of the paper use a network
of this kind. It trains in minutes, and it has two things that AlexNet does not have: average
pooling, and initial weights so small (1e-4 in conv1) that the pictures need no scaling.
"""

from tinynet.layers import AvgPool, Conv2d, Flatten, Linear, MaxPool, ReLU
from tinynet.network import Sequential
from tinynet.shapes import require_whole

IMAGE_SIZE = 32
LR, MOMENTUM, WEIGHT_DECAY = 0.001, 0.9, 0.004  # for the table below; its Linear rows decay at 0.03


def CifarNet(num_classes=10, *, rng, dtype="float32"):
    """Build the network with fresh weights, as a Sequential: 145,578 parameters for ten classes.

    Args     rng: numpy.random.Generator, for the weights; dtype: "float32" or "float64"
    """
    require_whole("CifarNet", num_classes=num_classes)
    biases = {"bias_lr": 2, "bias_decay": 0}
    more_decay = 0.03 / WEIGHT_DECAY
    return Sequential([
        Conv2d("conv1", 32, 5, pad=2, std=1e-4, **biases, need_dx=False),
        MaxPool("pool1", 3, stride=2, ceil=True),  # 32 -> 16: ceil, as in the authors' code
        ReLU("relu1"),
        Conv2d("conv2", 32, 5, pad=2, std=0.01, **biases),
        ReLU("relu2"),
        AvgPool("pool2", 3, stride=2, ceil=True),  # 16 -> 8
        Conv2d("conv3", 64, 5, pad=2, std=0.01, **biases),
        ReLU("relu3"),
        AvgPool("pool3", 3, stride=2, ceil=True),  # 8 -> 4
        Flatten("flatten"),
        Linear("fc4", 64, std=0.1, decay=more_decay, **biases),
        ReLU("relu4"),
        Linear("fc5", num_classes, std=0.1, decay=more_decay, **biases),
    ], (3, IMAGE_SIZE, IMAGE_SIZE), rng, dtype)
