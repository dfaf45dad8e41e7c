# %% [markdown]
# # 00 · How to read this (怎样阅读)
#
# *20 minutes. Before it: some Python and NumPy.*
#
# After this lesson you know where a formula is written down and how often, what the letters mean, how to step through
# a network, and how to find out where a number comes from. The terms in English and Chinese are in the
# [glossary](glossary.md).
#
# Start Jupyter at the root of the repository (`jupyter notebook --notebook-dir=. lessons/00_how_to_read.ipynb`), so
# that links to the source, such as [tinynet/ops](../tinynet/ops/activation.py), open.
#
# The words for layers (convolution, pooling, softmax) each have a lesson of their own later on. Here you see only how
# the library shows them.
#
# ## Touch it first
#
# Before you read any code, open [microscope.html](microscope.html) in a browser (save the file if your browser shows
# its text). It holds an AlexNet that was trained on generated pictures, in the middle of one training step, with one
# picture. Click any number to see how it was computed. At the end of this lesson are five questions about this page.

# %%
import inspect

import numpy as np

import tinynet
from tinynet import cpu, data, figures, layers, ops, reference
from tinynet.trace import Trace, explain

# %% [markdown]
# ## One formula, several times
#
# Everything that AlexNet computes is written down several times, on rungs (阶) of a ladder. Files and functions have
# the same names on each rung:
#
# | rung | what it is | read it to |
# |---|---|---|
# | `tinynet/reference/` | the formula, one loop for each index | understand |
# | `tinynet/ops/` | the formula on whole arrays | see how NumPy does it |
# | `tinynet/cpu/` | the formula, made fast on CPU cores | see what has to be done for speed |
# | `tinynet/cuda/` | the formula, as kernels for a GPU | see how many threads share the work |
#
# Here is the shortest formula on the first two rungs:
#
# $$y = \max(0, x)$$

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
# Arrays (数组) have small letters, sizes have capitals:
#
# | | |
# |---|---|
# | x, y | the input of a layer and its output |
# | w, b | weights (权重) and biases (偏置): the numbers that are learned |
# | dx, dy, dw, db | the gradients (梯度): how the loss L changes with each of these numbers, $\mathrm{d}w = \partial L / \partial w$ |
# | N, C, H, W | pictures in the batch (批), channels (通道), height, width |
# | K, KH, KW | kernels (卷积核) of a layer, their height and width |
# | OH, OW | height and width of the output |
#
# The shape (形状) of a batch of pictures is (N, C, H, W): the picture first, then the channel, then row and column. A
# picture file has its channels last, so the library moves the channel axis to the front.

# %%
photo = data.load_picture(figures.PHOTO, 67)
print(photo.shape, photo.dtype)
assert photo.shape == (3, 67, 67) and photo.dtype == np.uint8
batch = (photo - photo.mean()).astype(np.float32)[None]    # (1, 3, 67, 67): N = 1
assert batch.shape == (1, 3, 67, 67)

figures.draw_pictures([photo, *photo], ["(3, 67, 67)", "channel 0: red", "channel 1: green", "channel 2: blue"])

# %% [markdown]
# ## The network is a table
#
# `AlexNet` builds a row of layers from a table, which you can read beside the paper. Its summary gives, for
# each layer, the shape of its output, how many numbers it learns, and how many multiplications it needs for a picture.
#
# **Predict:** how many numbers does AlexNet learn?

# %%
net = tinynet.AlexNet("paper", num_classes=1000, rng=np.random.default_rng(0))
summary = net.summary()
assert summary.params == 60_965_224                        # 60 million
assert summary.macs == 724_406_816
print(summary)

# %% [markdown]
# ## Layers remember, ops compute
#
# A layer (层) holds its parameters, and between forward and backward the arrays that its backward pass needs. The
# arithmetic is in plain functions, the ops. An op gets everything as arguments and returns everything as results, so
# you can call it alone, as above.

# %%
print(inspect.getsource(layers.ReLU))

# %% [markdown]
# ## Step through
#
# `Trace` goes through a network one layer at a time, forward to the loss and back again, and keeps all numbers. This
# network is small, so that everything fits on the screen:

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
# `explain` shows how one number of any layer was computed, forward (`y`) or backward (`dx`, `dw`, `db`). It computes
# the number again by itself, and raises an error if the layer has another result. As a table:

# %%
seen = explain(trace, "loss", (0, 3), of="dx")
probs = trace["loss"].layer.probs
assert np.isclose(seen.value, probs[0, 3] - 1)
print(seen)

# %% [markdown]
# The gradient of a logit is the probability minus the truth; lesson 04 derives this. And as a figure:

# %%
figures.draw_explanation(seen)

# %%
figures.draw_explanation(explain(trace, "conv1", (0, 2, 7, 7)))

# %% [markdown]
# ## Mistakes get a sentence
#
# If you ask for something impossible, the library says what is wrong, where, and what would be right:

# %%
try:
    net.forward(batch[:, :, :60])
except tinynet.ShapeError as error:
    print(error)
    assert str(error) == "the network: x must have shape (1, 3, 67, 67), x has (1, 3, 60, 67)"

# %% [markdown]
# ## Questions
#
# Find the answers in [microscope.html](microscope.html), by clicking.
#
# 1. The page opens at `conv1.y[0, 53, 16, 16]`. Which of the three colours of the window gives most of its value?
# 2. Follow one of its terms down to the picture. What is the number of a pixel there?
# 3. Choose a number of `pool1`. How many terms does it have, and how many of them decide its value?
# 4. Choose `drop6`. What is the output of about half of its units, and what gradient do they pass back (tab
#    *backward*)?
# 5. Choose a weight and then a bias of `conv2`, tab *update*. Which part of the step does the bias not have?
#
# <details><summary>Answers</summary>
#
# 1. Green, channel 1: the edge of the star separates red from green, and the kernel has learned such an edge.
# 2. The pixel minus the mean image of the training set, so it can be negative.
# 3. Nine, and only the largest decides. It alone gets the gradient.
# 4. Their mask is 0, so their output is 0, and they pass back a gradient of 0.
# 5. Weight decay. In the authors' program biases do not decay, and they learn at twice the rate.
#
# </details>

# %% [markdown]
# ## How a lesson works
#
# Each code cell answers one question. It prints the answer, and an `assert` checks that the text is true; if it were
# not, the cell would fail. Change numbers and run a cell again. Where the text says **Predict**, write down your
# answer before you run the next cell; you learn most where you were wrong. At the end of most lessons are exercises:
# a function to fill in, and a check that runs it and tells you the first thing that is wrong. Each exercise cell runs
# by itself, so you can do the exercises without running the lesson first.
#
# Next: [01, why 2012](01_2012.ipynb).
