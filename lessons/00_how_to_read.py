# %% [markdown]
# # 00 · How to read this (怎样阅读)
#
# *20 minutes. Before it: some Python and NumPy. Beside it: nothing yet.*
#
# After this lesson you know where a formula is written down and how often, what the letters mean, how to step through
# a network, and how to ask where a number comes from. Terms in English and Chinese are in the [glossary](glossary.md).

# %%
import inspect

import numpy as np

import tinynet
from tinynet import cpu, data, figures, layers, ops, reference
from tinynet.trace import Trace, explain

# %% [markdown]
# ## One formula, several times
#
# Everything that AlexNet computes is written down several times, on rungs (阶) of a ladder. The files and the
# functions have the same names on each:
#
# | rung | what it is | read it to |
# |---|---|---|
# | `tinynet/reference/` | the formula, one loop for each index | understand |
# | `tinynet/ops/` | the same on whole arrays | see how NumPy does it |
# | `tinynet/cpu/` | the same, made fast on CPU cores | see what speed costs |
#
# Here is the shortest of all formulas, max(0, x), on the first two:

# %%
print(inspect.getsource(reference.relu_forward))
print(inspect.getsource(ops.relu_forward))

# %%
x = np.array([[-2.0, -0.5, 0, 1, 3]])
answers = [rung.relu_forward(x) for rung in (reference, ops, cpu)]
assert all((answer == [[0, 0, 0, 1, 3]]).all() for answer in answers)

figures.draw_numbers({"x": x, "y = max(0, x)": answers[0]}, signs=["->"])

# %% [markdown]
# ## Letters and shapes
#
# Arrays (数组) have small letters, sizes have capitals, so that nothing is called the same:
#
# | | |
# |---|---|
# | x, y | what goes into a layer and what comes out |
# | w, b | weights (权重) and biases (偏置): what is learned |
# | dx, dy, dw, db | the gradients (梯度): how the loss L changes with each of these numbers |
# | N, C, H, W | pictures in the batch (批), channels (通道), height, width |
# | K, KH, KW | kernels (卷积核) of a layer, their height and width |
# | OH, OW | height and width of the output |
#
# The shape (形状) of a batch of pictures is (N, C, H, W): the picture first, then the channel, then row and column. A
# picture file has its channels last, so the first thing that happens to it is a transposition.

# %%
photo = data.load_picture(figures.PHOTO, 67)
assert photo.shape == (3, 67, 67) and photo.dtype == np.uint8
batch = (photo - photo.mean()).astype(np.float32)[None]    # (1, 3, 67, 67): N = 1
assert batch.shape == (1, 3, 67, 67)

figures.draw_pictures([photo, *photo], ["(3, 67, 67)", "channel 0: red", "channel 1: green", "channel 2: blue"])

# %% [markdown]
# ## The network is a table
#
# `AlexNet` makes a row of layers out of a table, which you can read beside the paper. Its summary says what shape
# comes out of each layer, how many numbers it learns and how many multiplications a picture takes:

# %%
net = tinynet.AlexNet("paper", num_classes=1000, rng=np.random.default_rng(0))
summary = net.summary()
assert summary.params == 60_965_224                        # 60 million; the notes' 近60万 is a hundred times too few
assert summary.macs == 724_406_816
print(summary)

# %% [markdown]
# ## Layers keep, ops compute
#
# A layer (层) only keeps things: its parameters, and what its backward pass will need. The arithmetic is a plain
# function, an op, that gets everything as an argument and returns everything as a result. That is why you can call any
# of them by itself, as above.

# %%
print(inspect.getsource(layers.ReLU))

# %% [markdown]
# ## Step through
#
# `Trace` walks a network one layer at a time, forward to the loss and back again, and keeps every number on the way. A
# small network, so that all of it fits on the screen:

# %%
net = tinynet.Sequential(
    [layers.Conv2d("conv1", 8, 11, stride=4, std=0.01), layers.ReLU("relu1"), layers.LRN("lrn1"),
     layers.MaxPool("pool1", 3, 2), layers.Flatten("flatten"), layers.Linear("fc2", 10, std=0.01)],
    in_shape=(3, 67, 67), rng=np.random.default_rng(0))
trace = Trace(net, batch, labels=[3])
for step in trace:
    print(step)
assert trace["pool1"].y.shape == (1, 8, 7, 7)

# %%
figures.draw_maps(trace["relu1"].y[0], [f"map {k} of relu1" for k in range(8)], columns=4)

# %% [markdown]
# ## Where does this number come from?
#
# `explain` takes one number of any layer apart, forward (`y`) or backward (`dx`, `dw`, `db`), does the arithmetic once
# more by itself, and stops if the layer has something else. As a table:

# %%
seen = explain(trace, "loss", (0, 3), of="dx")
probs = trace["loss"].layer.probs
assert np.isclose(seen.value, probs[0, 3] - 1)
print(seen)

# %% [markdown]
# The gradient of a logit is what is believed less what is true; lesson 04 says why. And as a figure:

# %%
figures.draw_explanation(seen)

# %%
figures.draw_explanation(explain(trace, "conv1", (0, 2, 7, 7)))

# %% [markdown]
# ## Mistakes get a sentence
#
# Do something that cannot be, and the library says what was wrong, where, and what would fit:

# %%
try:
    net.forward(batch[:, :, :60])
except tinynet.ShapeError as error:
    print(error)
    assert str(error) == "the network: x must have shape (1, 3, 67, 67), x has (1, 3, 60, 67)"

# %% [markdown]
# ## How a lesson goes
#
# Each cell asks one thing, and an `assert` holds its answer fast: if it were wrong, the lesson would stop there.
# Change numbers and run a cell again; that is what they are for. At the end are exercises: a function to fill in and a
# check that runs it and names the first thing that is wrong. Next: [01, pictures as tensors](02_pictures.ipynb).
