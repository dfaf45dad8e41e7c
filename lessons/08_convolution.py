# %% [markdown]
# # 03 · Convolution (卷积)
#
# *45 minutes. Before it: 02, pictures as tensors. Beside it: the paper, section 3.5, and `tinynet/reference/conv.py`.*
#
# After this lesson you can say where any single number in a convolutional layer comes from, how large the layer's
# output is, why the paper's 224 pixels do not fit and what people did about it, what the two groups are, and how a
# weight learns what to do better.
#
# **In a sentence:** a small block of weights, the kernel (卷积核), is laid over a window of the picture; weights and
# pixels are multiplied one by one and added up; then the window moves on.

# %%
import inspect

import numpy as np

import tinynet
from tinynet import data, exercises, figures, layers, ops, reference, shapes
from tinynet.trace import Trace, explain

rng = np.random.default_rng(0)

# %% [markdown]
# ## One window, by hand
#
# A picture of 5 x 5 pixels and a kernel of 3 x 3 weights. Lay the kernel over the window at the top left, multiply,
# add up:

# %%
x = np.array([[1, 2, 0, 1, 0],
              [0, 3, 1, 0, 2],
              [4, 0, 2, 1, 1],
              [1, 0, 0, 3, 0],
              [0, 2, 1, 0, 5]], float)
w = np.array([[1, 0, -1],
              [2, 0, -2],
              [1, 0, -1]], float)

window = x[0:3, 0:3]
products = window * w
assert products.sum() == 1 + 0 - 0 + 0 + 0 - 2 + 4 + 0 - 2 == 1

figures.draw_numbers({"x": x, "w": w, "products, their sum is 1": products}, windows={"x": (0, 0, 3, 3)},
                     signs=["*", "="])

# %% [markdown]
# Now move the window. There are three places for it down and three across, so nine sums make the output, the feature
# map (特征图). Here is the window at row 1, column 2, and the number that it makes:

# %%
y = np.zeros((3, 3))
for i in range(3):
    for j in range(3):
        y[i, j] = np.sum(x[i:i + 3, j:j + 3] * w)

assert y[0, 0] == 1
assert y[1, 2] == (1 - 2) + 2 * (2 - 1) + (0 - 0) == 1
library = ops.conv2d_forward(x[None, None], w[None, None], b=np.zeros(1), stride=1, pad=0, groups=1)
assert (library[0, 0] == y).all()

figures.draw_numbers({"x": x, "w": w, "y": y}, windows={"x": (1, 2, 3, 3), "y": (1, 2, 1, 1)}, signs=["*", "="])

# %% [markdown]
# **No kernel is flipped.** In mathematics a convolution turns the kernel by 180 degrees first; what networks do is
# called cross-correlation (互相关) there. For a network it makes no difference, since it learns whichever it needs.
# For a check against somebody else's numbers it makes all the difference:

# %%
flipped = ops.conv2d_forward(x[None, None], w[None, None, ::-1, ::-1], np.zeros(1), 1, 0, 1)[0, 0]
assert (flipped == -y).all()  # this kernel is antisymmetric, so flipped it gives the opposite sign

# %% [markdown]
# ## What a kernel looks for
#
# The sum is large where the window looks like the kernel, and 0 where there is nothing that the kernel asks for: each
# of these kernels adds up to 0, so that an even area gives 0, whatever its brightness. (The blur is the exception: its
# weights add up to 1, and it gives back the mean.)

# %%
small = data.load_picture(figures.PHOTO, 114)              # uint8 (3, 114, 114), a portrait of Grace Hopper
grey = small.mean(axis=0)                                  # (114, 114): the mean of red, green and blue
kernels = {
    "left to right": np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4,
    "top to bottom": np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]]) / 4,
    "dot": np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]) / 8,
    "blur": np.ones((3, 3)) / 9,
}
w = np.stack(list(kernels.values()))[:, None]              # (4, 1, 3, 3): K kernels, 1 channel, KH, KW
maps = ops.conv2d_forward(grey[None, None], w, np.zeros(4), stride=1, pad=1, groups=1)[0]
assert maps.shape == (4, 114, 114)

even = ops.conv2d_forward(np.full((1, 1, 5, 5), 100.0), w, np.zeros(4), 1, 0, 1)[0, :, 0, 0]
assert np.allclose(even, [0, 0, 0, 100])

figures.draw_maps(w[:, 0], list(kernels), weights=True)

# %%
figures.draw_pictures([small, grey], ["the photo, small", "in grey"])

# %% [markdown]
# Four kernels, four feature maps. Red is where the picture answers the kernel, blue where it shows the opposite:

# %%
figures.draw_maps(np.concatenate([maps[:3], maps[3:] - grey.mean()]), [*list(kernels)[:3], "blur, less the mean"],
                  share=False)

# %% [markdown]
# ## AlexNet's first layer
#
# Three things are new. A kernel spans **all channels** (通道): 11 x 11 pixels of red, green and blue, 363 weights. The
# window moves **four pixels** at a time, the stride (步长). And there are **96 kernels**, so 96 maps.
#
# A fresh network has random weights. To see something, two kernels are written by hand here; training makes kernels of
# just these two sorts (the paper's figure 3): number 0 is an edge that leans to the right, in all colours alike,
# number 1 a spot of red before blue.

# %%
net = tinynet.Sequential([layers.Conv2d("conv1", 96, 11, stride=4, std=0.01)], (3, 227, 227), rng)
conv1 = net["conv1"]
assert conv1.params["w"].shape == (96, 3, 11, 11) and conv1.params["b"].shape == (96,)

down, across = np.mgrid[-5:6, -5:6]                        # pixels from the middle of the kernel
spot = np.exp(-(down**2 + across**2) / 12)                 # (11, 11), bright in the middle
conv1.params["w"][0] = 0.01 * spot * np.sin(0.8 * (across + 0.5 * down))
conv1.params["w"][1] = 0.01 * spot * np.array([1, 0, -1]).reshape(3, 1, 1)

names = [f"kernel {k}, {colour}" for k in (0, 1) for colour in ("red", "green", "blue")]
figures.draw_maps(conv1.params["w"][:2].reshape(6, 11, 11), names, columns=3, weights=True)

# %% [markdown]
# Take one activation, kernel 0 at row 22, column 24 of its map. Which window is that? The stride says so: it begins at
# row 22 * 4 = 88 and column 24 * 4 = 96.

# %%
photo = data.load_picture(figures.PHOTO, 227)              # uint8 (3, 227, 227)
x = (photo - photo.mean()).astype(np.float32)[None]        # (1, 3, 227, 227), around 0
trace = Trace(net, x, dy=rng.standard_normal((1, 96, 55, 55), dtype=np.float32)).run()
i, j = 22, 24
top, left = 4 * i, 4 * j
assert (top, left) == (88, 96)

figures.draw_pictures([photo, photo[:, top:top + 11, left:left + 11]], ["the photo", "the window, 11 x 11 pixels"],
                      windows=[(top, left, 11, 11)])

# %% [markdown]
# `explain` takes that activation apart: the window, the weights, their products, for each channel. It adds up by
# itself and compares with what the layer computed; if they differed, it would stop with an error. Red products speak
# for the edge, blue ones against it.

# %%
seen = explain(trace, "conv1", (0, 0, i, j))
assert seen.terms["product"].shape == (3, 11, 11)
assert np.isclose(seen.value, trace["conv1"].y[0, 0, i, j], rtol=1e-4)

figures.draw_explanation(seen)

# %% [markdown]
# The same as a table. With 363 products it shows the largest:

# %%
print(seen)

# %% [markdown]
# All 3,025 windows of the two kernels make two maps of 55 x 55:

# %%
y = trace["conv1"].y
assert y.shape == (1, 96, 55, 55) and 55 * 55 == 3025

figures.draw_maps(y[0, :2], ["kernel 0: a leaning edge", "kernel 1: red before blue"], share=False)

# %% [markdown]
# ## How many windows fit?
#
# Of a picture of `size` pixels with `pad` pixels of zeros on both sides (填充), the first window takes `kernel`
# pixels; what is left is taken in steps of `stride`:
#
# $$\text{output} = \left\lfloor \frac{\text{size} + 2\,\text{pad} - \text{kernel}}{\text{stride}} \right\rfloor + 1$$
#
# The brackets say: round down. The Chinese notes have the formula without them, and that is enough where the division
# comes out even, as it does for every layer of AlexNet at 227 pixels.

# %%
print(inspect.getsource(shapes.output_size))

# %%
table = [("conv1", 227, 11, 4, 0), ("pool1", 55, 3, 2, 0), ("conv2", 27, 5, 1, 2), ("pool2", 27, 3, 2, 0),
         ("conv3", 13, 3, 1, 1), ("conv4", 13, 3, 1, 1), ("conv5", 13, 3, 1, 1), ("pool5", 13, 3, 2, 0)]
for name, size, kernel, stride, pad in table:
    assert (size + 2 * pad - kernel) % stride == 0         # comes out even
    print(f"{name}: ({size} + 2 * {pad} - {kernel}) / {stride} + 1 = {shapes.output_size(size, kernel, stride, pad)}")
assert [shapes.output_size(*row[1:]) for row in table] == [55, 27, 27, 13, 13, 13, 13, 6]

# %% [markdown]
# ## 224 or 227?
#
# The paper says 224 pixels and 55 x 55 outputs. But (224 - 11) / 4 = 53.25, and rounded down that makes 54 windows,
# not 55. Both of these are in use:
#
# 1. **227 pixels**, as in Caffe and in these notes: (227 - 11) / 4 = 54 exactly, so 55 windows. Our recipe `paper`.
# 2. **224 pixels, rounded up**, as in the authors' own program: a 55th window that reaches three pixels past the right
#    and the lower edge, where it reads zeros. Our recipe `code-2012`.
#
# (PyTorch's torchvision has a third: 224 pixels with 2 of padding.)

# %%
assert shapes.output_size(224, 11, 4) == 54
assert shapes.output_size(227, 11, 4) == 55                       # 1
assert shapes.output_size(224, 11, 4, ceil=True) == 55            # 2
assert shapes.output_size(224, 11, 4, pad=2) == 55                # torchvision
assert (tinynet.RECIPES["paper"].image_size, tinynet.RECIPES["code-2012"].image_size) == (227, 224)

# %% [markdown]
# The second says that the 2012 program is a 227-pixel network whose last three rows and columns are always 0. Is it
# so? Cut the photo to 224 pixels and compare: rounding up, against three rows and columns of zeros added by hand.

# %%
x224 = x[:, :, :224, :224]
parameters = conv1.params["w"], conv1.params["b"]
rounded_up = ops.conv2d_forward(x224, *parameters, stride=4, pad=0, groups=1, ceil=True)
with_zeros = np.pad(x224, ((0, 0), (0, 0), (0, 3), (0, 3)))
assert with_zeros.shape == (1, 3, 227, 227)
assert (rounded_up == ops.conv2d_forward(with_zeros, *parameters, stride=4, pad=0, groups=1)).all()

net224 = tinynet.Sequential([layers.Conv2d("conv1", 96, 11, stride=4, ceil=True)], (3, 224, 224), rng)
net224["conv1"].params.update(conv1.params)
last = explain(Trace(net224, x224).run(), "conv1", (0, 0, 54, 54))
assert last.start == (0, 216, 216)                         # its last row is 226, and the picture ends with 223
assert (~last.inside[0]).sum() == 11 * 11 - 8 * 8 == 57    # pixels that are not there

figures.draw_explanation(last)

# %% [markdown]
# ## Groups: two half networks
#
# The network of 2012 did not fit on one GPU, so it was laid out on two, and in conv2, conv4 and conv5 a kernel sees
# only the maps on its own GPU: one of two groups (分组卷积). The notes suggest to skip this; but it is what makes a
# kernel of conv2 5 x 5 x **48** and not 5 x 5 x 96, and with it half of the weights.

# %%
conv2 = tinynet.Sequential([layers.Conv2d("conv2", 256, 5, pad=2, groups=2)], (96, 27, 27), rng)["conv2"]
assert conv2.params["w"].shape == (256, 48, 5, 5)
assert conv2.params["w"].size + conv2.params["b"].size == 307_456
assert 256 * 96 * 5 * 5 + 256 == 614_656                   # in one group it would be

sees = np.zeros((256, 96))                                 # which kernel sees which channel
for o in range(256):
    first = o // 128 * 48
    sees[o, first:first + 48] = 1
figures.draw_maps([sees.T], ["across: the 256 kernels; down: the 96 channels"], weights=True)

# %% [markdown]
# The picture is a claim; here is the test. Disturb a channel of the first group, and see which maps notice:

# %%
x96 = rng.standard_normal((1, 96, 27, 27), dtype=np.float32)
before = conv2.forward(x96)
x96[0, 7] += 1
noticed = (conv2.forward(x96) != before).any(axis=(0, 2, 3))
assert noticed.shape == (256,)
assert noticed[:128].all() and not noticed[128:].any()

# %% [markdown]
# ## Backward: what one weight has done
#
# Training asks of every weight: if you were a little larger, how would the loss L change? That is the gradient (梯度).
# We write `dw` for dL/dw, and what comes from the layer above is `dy` = dL/dy, a number for each activation.
#
# A weight is used in **every** window, each time multiplied with the pixel under it. Where it makes y larger by that
# pixel, it makes L larger by dy times that pixel; and all of these add up:
#
# $$\mathrm{d}w[u, v] = \sum_{i, j} \mathrm{d}y[i, j] \cdot x[i + u, j + v]$$
#
# By hand, for the middle weight of a 3 x 3 kernel on 4 x 4 pixels, where there are four windows:

# %%
x = np.array([[1, 2, 0, 1],
              [0, 3, 1, 0],
              [4, 0, 2, 1],
              [1, 0, 0, 3]], float)
w = np.array([[1, 0, -1], [2, 1, -2], [1, 0, -1]], float)
dy = np.array([[1, -1],
               [0, 2]], float)

met = x[1:3, 1:3]                                          # the pixel under w[1, 1], in each of the four windows
by_hand = 1 * 3 + -1 * 1 + 0 * 0 + 2 * 2
assert by_hand == np.sum(dy * met) == 6
dx, dw, db = ops.conv2d_backward(dy[None, None], x[None, None], w[None, None], stride=1, pad=0, groups=1)
assert dw[0, 0, 1, 1] == by_hand

figures.draw_numbers({"x": x, "dy": dy, "dy * x, its sum is 6": dy * met}, windows={"x": (1, 1, 2, 2)},
                     signs=["*", "="])

# %% [markdown]
# Do not believe it; nudge the weight and look. L is here the sum of y * dy, so that dL/dy is dy:

# %%
def L(w):
    y = ops.conv2d_forward(x[None, None], w[None, None], np.zeros(1), 1, 0, 1)
    return np.sum(y * dy)


nudge = np.zeros((3, 3))
nudge[1, 1] = 1e-4
slope = (L(w + nudge) - L(w - nudge)) / 2e-4
assert abs(slope - by_hand) < 1e-6

# %% [markdown]
# In the photo the same weight meets 3,025 pixels. `explain` shows them all: what came from above (random here), the
# pixel that the weight met in each window, and the products whose sum is the gradient.

# %%
seen = explain(trace, "conv1", (0, 0, 5, 5), of="dw")
assert seen.last.size == 3025
assert np.isclose(seen.value, conv1.grads["w"][0, 0, 5, 5], rtol=1e-3)

figures.draw_explanation(seen)

# %% [markdown]
# The **pixel's** gradient asks the other way round: which windows saw me, and with which weight? In the small example
# the pixel in row 1, column 1 lies in all four windows, under another weight in each:

# %%
assert dx[0, 0, 1, 1] == dy[0, 0] * w[1, 1] + dy[0, 1] * w[1, 0] + dy[1, 0] * w[0, 1] + dy[1, 1] * w[0, 0] == 1

net = tinynet.Sequential([layers.Conv2d("conv", 1, 3)], (1, 4, 4), rng, "float64")
net["conv"].params["w"][0, 0] = w
small = Trace(net, x[None, None], dy=dy[None, None]).run()
seen = explain(small, "conv", (0, 0, 1, 1), of="dx")
assert seen.value == 1

figures.draw_explanation(seen)

# %% [markdown]
# And the **bias** was added to every activation of its map, so its gradient is the sum of dy:

# %%
assert db[0] == dy.sum() == 2
print(explain(small, "conv", 0, of="db"))

# %% [markdown]
# ## The formula as a program
#
# This is the library's own source, not a copy. `reference` has one loop for each index of the formula: read it once
# from top to bottom, and you have read everything above.

# %%
print(inspect.getsource(reference.conv2d_forward))

# %% [markdown]
# ## im2col: all windows at once
#
# Seven loops in Python take an age. The way out: copy every window into a **column** (im2col), write every kernel as a
# **row**, and all the sums are one matrix product, which every computer is very good at.

# %%
cols = ops.im2col(x[None, None], 3, 3, stride=1, pad=0)
assert cols.shape == (9, 4)                                # a row for each pixel of a window, a column for each window
assert (cols[:, 3] == x[1:4, 1:4].ravel()).all()           # the last column is the window at row 1, column 1
row = w.reshape(1, 9)
product = row @ cols                                       # (1, 4)
assert (product.reshape(2, 2) == ops.conv2d_forward(x[None, None], w[None, None], np.zeros(1), 1, 0, 1)[0, 0]).all()

figures.draw_numbers({"w as a row": row, "cols: a column for each window": cols, "y": product},
                     windows={"cols: a column for each window": (0, 3, 9, 1), "y": (0, 3, 1, 1)}, signs=["@", "="])

# %% [markdown]
# The price is memory: neighbouring windows share pixels, and each has its own copy. conv1's columns hold 363 x 3,025
# numbers, seven times as many as the picture. So `ops` makes them for a few pictures at a time, and makes them anew
# for the backward pass instead of keeping them.

# %%
numbers, copies = 3 * 227 * 227, 363 * 3025
assert (numbers, copies) == (154_587, 1_098_075) and 7 < copies / numbers < 7.2
assert ops.im2col(x := photo[None].astype(np.float32), 11, 11, stride=4, pad=0).size == copies

print(inspect.getsource(ops.conv2d_forward))

# %% [markdown]
# And the work? Every activation of conv1 takes 363 multiplications, whichever way they are arranged:

# %%
assert 96 * 55 * 55 * 363 == 105_415_200
assert tinynet.Sequential([layers.Conv2d("conv1", 96, 11, stride=4)], (3, 227, 227), rng).summary().macs == 105_415_200

# %% [markdown]
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/08_convolution.py).
#
# **1.** How many windows fit?

# %%
import numpy as np

from tinynet import exercises


def output_size(size, kernel, stride, pad):
    ...


exercises.check_output_size(output_size)

# %% [markdown]
# **2.** How many numbers does a convolutional layer learn? `channels` come in; there are `kernels` of `size` x `size`
# pixels, in `groups`.

# %%
import numpy as np

from tinynet import exercises


def conv_parameters(channels, kernels, size, groups):
    ...


exercises.check_conv_parameters(conv_parameters)

# %% [markdown]
# **3.** The sliding window, for one map `x` (H, W) and one kernel `w` (KH, KW), without padding. The result has the
# dtype of `x`.

# %%
import numpy as np

from tinynet import exercises


def convolve(x, w, stride):
    ...


exercises.check_convolve(convolve)

# %% [markdown]
# **4.** The gradient of the kernel: `dy` has the shape of `convolve(x, w, stride)`, the result that of `w`.

# %%
import numpy as np

from tinynet import exercises


def kernel_gradient(dy, x, w, stride):
    ...


exercises.check_kernel_gradient(kernel_gradient)

# %% [markdown]
# ## What to remember
#
# - An activation is the sum of window times kernel, over all channels of the group, plus a bias. Nothing is flipped.
# - Output size: (size + 2 pad - kernel) / stride, rounded down, plus 1. 224 pixels need rounding up, or 227.
# - A weight's gradient adds up dy times the pixel it met, over all windows; a pixel's, dy times the weight it met.
# - im2col makes all of it one matrix product, and pays with memory.
#
# Read next: [reference/conv.py](../tinynet/reference/conv.py), backward as well, and beside it
# [ops/conv.py](../tinynet/ops/conv.py).
