# %% [markdown]
# # 08 · Convolution (卷积)
#
# *50 minutes. Before it: 02, pictures as tensors; 05, backpropagation. Beside it: the paper, section 3.5, and
# `tinynet/reference/conv.py`.*
#
# After this lesson you can say how any single number in a convolutional layer is computed, how large the layer's output
# is, why the paper's 224 pixels do not fit and which solutions are in use, and what the two groups are. You can derive
# the gradient of a weight and of a pixel.
#
# **In a sentence:** a small block of weights, the kernel (卷积核), is placed over a window of the picture; weights and
# pixels are multiplied one by one and added up; then the window moves on.

# %%
import inspect

import numpy as np

import tinynet
from tinynet import data, exercises, figures, gradcheck, layers, ops, reference, shapes
from tinynet.trace import Trace, explain

rng = np.random.default_rng(0)

# %% [markdown]
# ## Why not a fully connected layer?
#
# A unit of a fully connected layer has a weight for every pixel. Lesson 01 measured two properties of pictures that
# save weights. An edge looks the same in all parts of a picture, so one set of weights can be used at every place
# (stationarity, 统计的平稳性). Pixels depend mostly on their neighbours, so a unit only needs to see a small window
# (locality, 局部性). Compare the first layer of AlexNet with a fully connected layer that computes as many numbers:

# %%
outputs, pixels, window = 96 * 55 * 55, 3 * 227 * 227, 3 * 11 * 11
print(f"fully connected:      {outputs * pixels:>14,} weights")
print(f"own weights, windows: {outputs * window:>14,} weights")
print(f"convolution:          {96 * window:>14,} weights")
assert (outputs * pixels, outputs * window, 96 * window) == (44_892_064_800, 105_415_200, 34_848)

# %% [markdown]
# ## One window, by hand
#
# Here is a picture of 5 x 5 pixels and a kernel of 3 x 3 weights. Place the kernel over the window at the top left,
# multiply, and add up:

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
# map (特征图). **Predict:** which number does the window at row 1, column 2 give? Its three rows are 1 0 2, 2 1 1 and
# 0 3 0. Write it down, then run the cell.

# %%
y = np.zeros((3, 3))
for i in range(3):
    for j in range(3):
        y[i, j] = np.sum(x[i:i + 3, j:j + 3] * w)

print(f"y[1, 2] = {y[1, 2]:g}")
assert y[1, 2] == (1 - 2) + 2 * (2 - 1) + (0 - 0) == 1
library = ops.conv2d_forward(x[None, None], w[None, None], b=np.zeros(1), stride=1, pad=0, groups=1)
assert (library[0, 0] == y).all()

figures.draw_numbers({"x": x, "w": w, "y": y}, windows={"x": (1, 2, 3, 3), "y": (1, 2, 1, 1)}, signs=["*", "="])

# %% [markdown]
# **The kernel is not flipped.** In mathematics a convolution first turns the kernel by 180 degrees. Networks do not;
# what they compute is called cross-correlation (互相关). A network learns its kernels, so both work. But two programs
# give different results if one of them flips and the other does not:

# %%
flipped = ops.conv2d_forward(x[None, None], w[None, None, ::-1, ::-1], np.zeros(1), 1, 0, 1)[0, 0]
print("kernel as it is: ", y.ravel())
print("kernel flipped:  ", flipped.ravel())
assert (flipped == -y).all()  # this kernel is antisymmetric, so flipped it gives the opposite sign

# %% [markdown]
# ## What a kernel detects
#
# The sum is large where the window looks like the kernel. The weights of the first three kernels below add up to 0, so
# an area of one colour gives 0, however bright it is. The weights of the blur add up to 1, and it gives the mean.
#
# **Predict:** where on the photo does the kernel "left to right" give large numbers?

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

even = ops.conv2d_forward(np.full((1, 1, 5, 5), 100.0), w, np.zeros(4), 1, 0, 1)[0, :, 0, 0]
print("on an area where every pixel is 100:", dict(zip(kernels, even.round(6).tolist())))
assert np.allclose(even, [0, 0, 0, 100]) and maps.shape == (4, 114, 114)

figures.draw_maps(w[:, 0], list(kernels), weights=True)

# %% [markdown]
# Four kernels, four feature maps. Red is where the picture looks like the kernel, blue where it looks like the
# opposite of the kernel:

# %%
figures.draw_maps(np.concatenate([maps[:3], maps[3:] - grey.mean()]), [*list(kernels)[:3], "blur, minus the mean"],
                  share=False)

# %% [markdown]
# ## The formula
#
# A picture has several **channels** (通道): red, green and blue. A kernel spans all of them, so it is a block with
# three dimensions. At each place it still gives one number:

# %%
figures.draw_kernel(channels=3, size=6, kernel=3, at=(1, 2))

# %% [markdown]
# A layer has $K$ kernels, and each makes a map of its own. The window moves $S$ pixels at a time, the stride (步长).
# A frame of $P$ pixels of zeros may be put around the picture, the padding (填充). For kernel $o$ and the output at row
# $i$, column $j$:
#
# $$y_{o,i,j} = b_o + \sum_{c=0}^{C-1} \sum_{u=0}^{KH-1} \sum_{v=0}^{KW-1}
# w_{o,c,u,v} \; x_{c,\; iS+u-P,\; jS+v-P}, \qquad x = 0 \text{ outside the picture}$$
#
# Here is the library's own source. `reference` has one loop for each index of the formula, in the same order:

# %%
print(inspect.getsource(reference.conv2d_forward))

# %% [markdown]
# ## AlexNet's first layer
#
# Its kernels have 11 x 11 pixels of three channels, 363 weights each. The stride is 4. There are 96 kernels, so 96
# maps.
#
# A new network has random weights, which show no structure. So two kernels are written by hand here. Kernel 0 is a
# diagonal edge, the same in all colours. Kernel 1 is a spot, positive in red and negative in blue. Training gives
# kernels of these two kinds (the paper's figure 3).

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
# Take one activation, kernel 0 at row 22, column 24 of its map. **Predict:** at which pixel does its window begin?

# %%
photo = data.load_picture(figures.PHOTO, 227)              # uint8 (3, 227, 227)
x = (photo - photo.mean()).astype(np.float32)[None]        # (1, 3, 227, 227), around 0
trace = Trace(net, x, dy=rng.standard_normal((1, 96, 55, 55), dtype=np.float32)).run()
i, j = 22, 24
top, left = 4 * i, 4 * j
print(f"row {top}, column {left}")
assert (top, left) == (88, 96)

figures.draw_pictures([photo, photo[:, top:top + 11, left:left + 11]], ["the photo", "the window, 11 x 11 pixels"],
                      windows=[(top, left, 11, 11)])

# %% [markdown]
# `explain` shows the window, the weights and their products, for each channel. It adds the products up by itself and
# compares the sum with what the layer computed; if they differed, it would raise an error. Red products make the sum
# larger, blue ones smaller.

# %%
seen = explain(trace, "conv1", (0, 0, i, j))
assert seen.terms["product"].shape == (3, 11, 11)
assert np.isclose(seen.value, trace["conv1"].y[0, 0, i, j], rtol=1e-4)

figures.draw_explanation(seen)

# %% [markdown]
# Here is the same explanation as a table, which shows the largest of the 363 products:

# %%
print(seen)

# %% [markdown]
# All 3,025 windows of the two kernels make two maps of 55 x 55:

# %%
y = trace["conv1"].y
assert y.shape == (1, 96, 55, 55) and 55 * 55 == 3025

figures.draw_maps(y[0, :2], ["a diagonal edge", "red minus blue"], share=False)

# %% [markdown]
# ## How many windows fit?
#
# Take a picture of `size` pixels with `pad` pixels of zeros on both sides. The first window takes `kernel` pixels, and
# the others follow in steps of `stride`:
#
# $$\text{output} = \left\lfloor \frac{\text{size} + 2\,\text{pad} - \text{kernel}}{\text{stride}} \right\rfloor + 1$$
#
# The brackets mean: round down. (A [student's notes](notes_corrected.md), which these lessons correct here and there,
# leave them out.) Rounding makes no difference where the division has no remainder, as in every layer of AlexNet at
# 227 pixels.

# %%
print(inspect.getsource(shapes.output_size))

# %%
table = [("conv1", 227, 11, 4, 0), ("pool1", 55, 3, 2, 0), ("conv2", 27, 5, 1, 2), ("pool2", 27, 3, 2, 0),
         ("conv3", 13, 3, 1, 1), ("conv4", 13, 3, 1, 1), ("conv5", 13, 3, 1, 1), ("pool5", 13, 3, 2, 0)]
for name, size, kernel, stride, pad in table:
    assert (size + 2 * pad - kernel) % stride == 0         # no remainder
    print(f"{name}: ({size} + 2 * {pad} - {kernel}) / {stride} + 1 = {shapes.output_size(size, kernel, stride, pad)}")
assert [shapes.output_size(*row[1:]) for row in table] == [55, 27, 27, 13, 13, 13, 13, 6]

# %% [markdown]
# ## 224 or 227?
#
# The paper says 224 pixels and 55 x 55 outputs. But (224 - 11) / 4 = 53.25, and rounded down that gives 54 windows,
# not 55. Three solutions are in use:
#
# 1. **227 pixels**, as in Caffe: (227 - 11) / 4 = 54 exactly, so 55 windows. Our recipe `paper`.
# 2. **224 pixels, rounded up**, as in the authors' own program: the 55th window reaches three pixels past the right
#    and the lower edge, where it reads zeros. Our recipe `code-2012`.
# 3. **224 pixels with 2 pixels of padding**, as in torchvision. Our recipe `owt`.

# %%
print("224, rounded down:", shapes.output_size(224, 11, 4))
print("227:              ", shapes.output_size(227, 11, 4))
print("224, rounded up:  ", shapes.output_size(224, 11, 4, ceil=True))
print("224, padding 2:   ", shapes.output_size(224, 11, 4, pad=2))
assert shapes.output_size(224, 11, 4) == 54 and shapes.output_size(227, 11, 4) == 55
assert shapes.output_size(224, 11, 4, ceil=True) == shapes.output_size(224, 11, 4, pad=2) == 55
assert (tinynet.RECIPES["paper"].image_size, tinynet.RECIPES["code-2012"].image_size) == (227, 224)

# %% [markdown]
# By the second solution, the program of 2012 computes what a network for 227 pixels computes when the last three rows
# and columns are 0. To check this, cut the photo to 224 pixels and compare rounding up with three rows and columns of
# zeros that are added by hand.

# %%
x224 = x[:, :, :224, :224]
parameters = conv1.params["w"], conv1.params["b"]
rounded_up = ops.conv2d_forward(x224, *parameters, stride=4, pad=0, groups=1, ceil=True)
with_zeros = np.pad(x224, ((0, 0), (0, 0), (0, 3), (0, 3)))
same = rounded_up == ops.conv2d_forward(with_zeros, *parameters, stride=4, pad=0, groups=1)
print(f"{same.sum():,} of {same.size:,} activations are the same")
assert with_zeros.shape == (1, 3, 227, 227) and same.all()

net224 = tinynet.Sequential([layers.Conv2d("conv1", 96, 11, stride=4, ceil=True)], (3, 224, 224), rng)
net224["conv1"].params.update(conv1.params)
last = explain(Trace(net224, x224).run(), "conv1", (0, 0, 54, 54))
assert last.start == (0, 216, 216)                         # its last row is 226, and the picture ends with 223
assert (~last.inside[0]).sum() == 11 * 11 - 8 * 8 == 57    # pixels that are outside, drawn in grey

figures.draw_explanation(last)

# %% [markdown]
# ## Groups: two half networks
#
# The authors divided their network between two GPUs, for lack of memory (section 3.2). In conv2, conv4 and conv5 a
# kernel sees only the maps on its own GPU: the maps are divided into two groups (分组卷积). This is why a kernel of conv2
# has 5 x 5 x **48** weights and not 5 x 5 x 96, and why the layer has half as many weights. With $G$ groups,
# kernel $o$ belongs to group $q$ and sees $C/G$ channels:
#
# $$q = \left\lfloor \frac{o}{K/G} \right\rfloor, \qquad
# x_{c,\ldots} \text{ in the formula becomes } x_{q\,C/G + c,\ldots}, \quad c = 0, \ldots, C/G - 1$$

# %%
conv2 = tinynet.Sequential([layers.Conv2d("conv2", 256, 5, pad=2, groups=2)], (96, 27, 27), rng)["conv2"]
count = conv2.params["w"].size + conv2.params["b"].size
print(f"parameters in two groups: {count:,}; in one group: {256 * 96 * 5 * 5 + 256:,}")
assert conv2.params["w"].shape == (256, 48, 5, 5)
assert (count, 256 * 96 * 5 * 5 + 256) == (307_456, 614_656)

sees = np.zeros((256, 96))                                 # which kernel sees which channel
for o in range(256):
    first = o // 128 * 48
    sees[o, first:first + 48] = 1
figures.draw_maps([sees.T], ["across: the 256 kernels; down: the 96 channels"], weights=True)

# %% [markdown]
# **Predict:** which of the 256 maps change when channel 7 changes?

# %%
x96 = rng.standard_normal((1, 96, 27, 27), dtype=np.float32)
before = conv2.forward(x96)
x96[0, 7] += 1
changed = np.flatnonzero((conv2.forward(x96) != before).any(axis=(0, 2, 3)))
print(f"maps {changed[0]} to {changed[-1]}, {len(changed)} in all")
assert changed.tolist() == list(range(128))

# %% [markdown]
# ## Backward: three gradients
#
# The gradient (梯度) of a number says how the loss $L$ changes if the number becomes a little larger. We write `dw` for
# $\partial L / \partial w$. The layer above passes down `dy`, a number for each activation. The chain rule says: **add
# up, over all $y$ that contain the number, dy times the slope of that $y$**. The formula above is a sum of products, so
# every slope is the other factor of the product.
#
# **The weight.** $w_{o,c,u,v}$ is a factor in every window of its map, and the other factor is the pixel under it:
#
# $$\mathrm{d}w_{o,c,u,v} = \sum_{i,j} \mathrm{d}y_{o,i,j} \, \frac{\partial y_{o,i,j}}{\partial w_{o,c,u,v}}
# = \sum_{i,j} \mathrm{d}y_{o,i,j} \; x_{c,\; iS+u-P,\; jS+v-P}$$
#
# **The pixel.** $x_{c,a,e}$ is a factor wherever a window covers it, that is for all $i, u$ with $iS+u-P=a$ and all
# $j, v$ with $jS+v-P=e$. The other factor is the weight over it:
#
# $$\mathrm{d}x_{c,a,e} = \sum_{o} \; \sum_{(i,u):\, iS+u-P=a} \; \sum_{(j,v):\, jS+v-P=e}
# \mathrm{d}y_{o,i,j} \; w_{o,c,u,v}$$
#
# **The bias.** $b_o$ is added to every activation of its map, each time with slope 1:
#
# $$\mathrm{d}b_o = \sum_{i,j} \mathrm{d}y_{o,i,j}$$
#
# With a batch, dw and db are also summed over the pictures. The program does not search for the windows of a pixel. It
# visits every product of the forward pass again and adds to the gradients of both factors:

# %%
source = inspect.getsource(reference.conv2d_backward)
print(source[source.index("    for image in"):])

# %% [markdown]
# By hand, for the middle weight of a 3 x 3 kernel on 4 x 4 pixels, where there are four windows. **Predict** dw[1, 1]
# from the four pixels that it met, 3 1 and 0 2, and their dy:

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
dx, dw, db = ops.conv2d_backward(dy[None, None], x[None, None], w[None, None], stride=1, pad=0, groups=1)
print(f"dw[1, 1] = {dw[0, 0, 1, 1]:g}")
assert dw[0, 0, 1, 1] == by_hand == np.sum(dy * met) == 6

figures.draw_numbers({"x": x, "dy": dy, "dy * x, its sum is 6": dy * met}, windows={"x": (1, 1, 2, 2)},
                     signs=["*", "="])

# %% [markdown]
# Check the derivation. Make the weight a little larger and a little smaller, and look at the loss. Here the loss is the
# sum of y * dy, because its gradient with respect to y is dy. `check_layer` (lesson 06) then does the same for every
# weight, pixel and bias:

# %%
def L(w):
    y = ops.conv2d_forward(x[None, None], w[None, None], np.zeros(1), 1, 0, 1)
    return np.sum(y * dy)


step = np.zeros((3, 3))
step[1, 1] = 1e-4
slope = (L(w + step) - L(w - step)) / 2e-4
print(f"measured slope: {slope:.6f}")
assert abs(slope - by_hand) < 1e-6

layer = layers.Conv2d("conv", 4, 3, stride=2, pad=1, groups=2)
layer.build((2, 4, 7, 6), rng, "float64")
for report in gradcheck.check_layer(layer, rng.standard_normal((2, 4, 7, 6)), rng):
    print(str(report).split(",")[0])
    assert report.ok

# %% [markdown]
# On the photo a weight of conv1 is multiplied by 3,025 pixels. `explain` shows them all: dy (random here), the pixel
# under the weight in each window, and the products whose sum is the gradient.

# %%
seen = explain(trace, "conv1", (0, 0, 5, 5), of="dw")
assert seen.last.size == 3025
assert np.isclose(seen.value, conv1.grads["w"][0, 0, 5, 5], rtol=1e-3)

figures.draw_explanation(seen)

# %% [markdown]
# The pixel in row 1, column 1 of the small example lies in all four windows, under another weight in each:

# %%
assert dx[0, 0, 1, 1] == dy[0, 0] * w[1, 1] + dy[0, 1] * w[1, 0] + dy[1, 0] * w[0, 1] + dy[1, 1] * w[0, 0] == 1

net = tinynet.Sequential([layers.Conv2d("conv", 1, 3)], (1, 4, 4), rng, "float64")
net["conv"].params["w"][0, 0] = w
small_trace = Trace(net, x[None, None], dy=dy[None, None]).run()
seen = explain(small_trace, "conv", (0, 0, 1, 1), of="dx")
assert seen.value == 1

figures.draw_explanation(seen)

# %% [markdown]
# Look at the four weights: 1 2 above 0 1. In the kernel they are 1 0 above 2 1, so they are in the opposite order. With
# $u = a + P - iS$ and $v = e + P - jS$ the formula of dx has only dy and the kernel in it, and for a stride of 1 it is
# a convolution again:
#
# $$\mathrm{d}x_{c,a,e} = \sum_{o} \sum_{i,j} \mathrm{d}y_{o,i,j} \; w_{o,c,\;a+P-i,\;e+P-j}$$
#
# When i grows, the index of the weight becomes smaller: this convolution runs over dy, padded by KH - 1 - P, with the
# kernel **turned by 180 degrees**, and with inputs and outputs exchanged. (Here the kernel is flipped after all.)
#
# **Predict:** how many pixels of padding are needed here, for a kernel of 3 x 3 without padding in the forward pass?

# %%
turned = w[::-1, ::-1][None, None]
by_convolution = ops.conv2d_forward(dy[None, None], turned, np.zeros(1), stride=1, pad=3 - 1 - 0, groups=1)
print("dx by a convolution of dy is the same:", (by_convolution == dx).all())
assert (by_convolution == dx).all()

figures.draw_numbers({"dy, 2 pixels of padding": np.pad(dy, 2), "w, turned": w[::-1, ::-1], "dx": dx[0, 0]},
                     windows={"dy, 2 pixels of padding": (1, 1, 3, 3), "dx": (1, 1, 1, 1)}, signs=["*", "="])

# %% [markdown]
# The gradient of the bias:

# %%
assert db[0] == dy.sum() == 2
print(explain(small_trace, "conv", 0, of="db"))

# %% [markdown]
# ## im2col: all windows at once
#
# Seven loops in Python are far too slow. The solution: copy every window into a **column** (im2col) and write every
# kernel as a **row**. Then all the sums are one matrix product, for which every computer has a fast program:
#
# $$Y = W X_{\text{col}}, \qquad \mathrm{d}W = \mathrm{d}Y \, X_{\text{col}}^T, \qquad
# \mathrm{d}X_{\text{col}} = W^T \, \mathrm{d}Y$$
#
# with $W$ of shape $(K, C \cdot KH \cdot KW)$ and $X_{\text{col}}$ of shape $(C \cdot KH \cdot KW, OH \cdot OW)$. The
# last product gives a gradient for every copy of a pixel; `col2im` adds the copies up.

# %%
cols = ops.im2col(x[None, None], 3, 3, stride=1, pad=0)
assert cols.shape == (9, 4)                                # a row for each pixel of a window, a column for each window
assert (cols[:, 3] == x[1:4, 1:4].ravel()).all()           # the last column is the window at row 1, column 1
row = w.reshape(1, 9)
product = row @ cols                                       # (1, 4)
assert (product.reshape(2, 2) == ops.conv2d_forward(x[None, None], w[None, None], np.zeros(1), 1, 0, 1)[0, 0]).all()
assert (dy.reshape(1, 4) @ cols.T == dw.reshape(1, 9)).all()
assert (ops.col2im(row.T @ dy.reshape(1, 4), (1, 1, 4, 4), 3, 3, 1, 0) == dx).all()

figures.draw_numbers({"w as a row": row, "cols: a column for each window": cols, "y": product},
                     windows={"cols: a column for each window": (0, 3, 9, 1), "y": (0, 3, 1, 1)}, signs=["@", "="])

# %% [markdown]
# This costs memory. Neighbouring windows share pixels, and each window has its own copy.
#
# **Predict:** how many times as many numbers as the picture do the columns of conv1 hold?

# %%
numbers, copies = 3 * 227 * 227, 363 * 3025
print(f"the picture: {numbers:,} numbers; its columns: {copies:,}, {copies / numbers:.1f} times as many")
assert (numbers, copies) == (154_587, 1_098_075) and 7 < copies / numbers < 7.2
assert ops.im2col(photo[None].astype(np.float32), 11, 11, stride=4, pad=0).size == copies

# %% [markdown]
# So `ops` makes the columns for a few pictures at a time, and makes them again in the backward pass instead of keeping
# them:

# %%
print(inspect.getsource(ops.conv2d_forward))

# %% [markdown]
# The work stays the same: every activation of conv1 takes 363 multiplications, however they are arranged.

# %%
macs = tinynet.Sequential([layers.Conv2d("conv1", 96, 11, stride=4)], (3, 227, 227), rng).summary().macs
print(f"multiplications: {macs:,}")
assert macs == 96 * 55 * 55 * 363 == 105_415_200

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
# **2.** How many numbers does a convolutional layer learn? The input has `channels`; the layer has `kernels` of `size`
# x `size` pixels, in `groups`.

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
# - An activation is the sum of window times kernel, over all channels of the group, plus a bias. The kernel is not
#   flipped.
# - Output size: (size + 2 pad - kernel) / stride, rounded down, plus 1. 224 pixels need rounding up, padding, or 227.
# - Gradients: of a weight, the sum of dy times the pixel under it, over all windows; of a pixel, the sum of dy times
#   the weight over it; of a bias, the sum of dy.
# - im2col turns a convolution into one matrix product, and costs memory.
#
# Next: [09, overlapping pooling](09_pooling.ipynb). Read next: [reference/conv.py](../tinynet/reference/conv.py) and
# beside it [ops/conv.py](../tinynet/ops/conv.py).
