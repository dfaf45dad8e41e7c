# %% [markdown]
# # 13 · The whole network (网络结构)
#
# *35 minutes. Before it: 08 to 12, the layers. Beside it: the paper, section 3, and `tinynet/alexnet.py`.*
#
# After this lesson you can compute the shape and the number of parameters of each layer by hand, say which layers have
# most of the parameters and which do most of the work, how much of a picture one unit sees, and what was sent between
# the two GPUs of 2012. Some numbers of the paper are corrected.
#
# **In a sentence:** five convolutions turn a picture of 227 x 227 pixels into 256 maps of 6 x 6, and three fully
# connected layers turn these into a decision.

# %%
import inspect

import numpy as np

import tinynet
from tinynet import alexnet, data, exercises, figures, layers, shapes

rng = np.random.default_rng(0)

# %% [markdown]
# ## The table
#
# This is the network as the text of the paper describes it, from the library's own source. Read it beside sections
# 3.1 to 3.5:

# %%
print(inspect.getsource(alexnet.paper))

# %%
net = tinynet.AlexNet("paper", num_classes=1000, rng=rng)
rows = {row.name: row for row in net.summary().rows}
learning = [name for name, row in rows.items() if row.params]
assert learning == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]

print(net.summary())

# %% [markdown]
# Here is the network as a drawing, from the picture at the top to the classes at the bottom, with the numbers of the
# layers, the shapes of their outputs, and their parameters.

# %%
figures.draw_stack(net)

# %% [markdown]
# ## One row by hand
#
# Take conv2. Its input is 96 maps of 27 x 27 pixels. It has 256 kernels of 5 x 5 pixels, 2 pixels of padding, and two
# groups, so each kernel spans 96 / 2 = 48 maps. For an input side H, kernel k, padding p, stride s, C channels, K
# kernels and g groups:
#
# $$H' = \Big\lfloor \frac{H + 2p - k}{s} \Big\rfloor + 1, \qquad
# \text{parameters} = K \cdot \frac{C}{g} \cdot k^2 + K, \qquad
# \text{work} = K \cdot H'^2 \cdot \frac{C}{g} \cdot k^2$$
#
# The work is counted in multiply-accumulates (乘加, MAC): for each activation, one for each weight of its kernel.
#
# **Predict:** the three numbers for conv2.

# %%
size = (27 + 2 * 2 - 5) // 1 + 1
parameters = 256 * 5 * 5 * 48 + 256
macs = 256 * 27 * 27 * (5 * 5 * 48)
print(f"{size} x {size} pixels, {parameters:,} parameters, {macs:,} multiply-accumulates")
assert rows["conv2"].output_shape == (256, size, size) == (256, 27, 27)
assert rows["conv2"].params == parameters == 307_456
assert rows["conv2"].macs == macs == 223_948_800

# %% [markdown]
# A fully connected layer is easier: fc6 has 4,096 units, and each of them has a weight for all 256 * 6 * 6 = 9,216
# numbers. Each weight is used once.
#
# **Predict:** how many parameters and how many multiply-accumulates are these?

# %%
print(f"{4096 * 9216 + 4096:,} parameters, {4096 * 9216:,} multiply-accumulates")
assert rows["fc6"].params == 4096 * 9216 + 4096 == 37_752_832
assert rows["fc6"].macs == 4096 * 9216 == 37_748_736

# %% [markdown]
# Now all eight layers, computed only from (kernels, size, stride, pad, groups). After conv1, conv2 and conv5 there is
# pooling with windows of 3 x 3, 2 pixels apart:

# %%
convs = {"conv1": (96, 11, 4, 0, 1), "conv2": (256, 5, 1, 2, 2), "conv3": (384, 3, 1, 1, 1),
         "conv4": (384, 3, 1, 1, 2), "conv5": (256, 3, 1, 1, 2)}
C, side, total, work = 3, 227, 0, 0
for name, (K, kernel, stride, pad, groups) in convs.items():
    side = (side + 2 * pad - kernel) // stride + 1
    weights = K * (C // groups) * kernel**2
    assert (rows[name].output_shape, rows[name].params) == ((K, side, side), weights + K)
    total, work, C = total + weights + K, work + weights * side**2, K
    if name in ("conv1", "conv2", "conv5"):
        side = (side - 3) // 2 + 1
units = C * side * side
assert units == 9216
for name, OUT in {"fc6": 4096, "fc7": 4096, "fc8": 1000}.items():
    assert rows[name].params == OUT * units + OUT
    total, work, units = total + OUT * units + OUT, work + OUT * units, OUT
print(f"all eight layers: {total:,} parameters, {work:,} multiply-accumulates")
assert total == net.summary().params == 60_965_224
assert work == net.summary().macs == 724_406_816

# %% [markdown]
# These are **sixty million** parameters. (650,000, another number in the abstract, is the number of neurons; see
# below.) With K classes instead of 1,000 there are
#
# $$56{,}868{,}224 + 4{,}097\,K$$

# %%
for K in (10, 100):
    few = tinynet.AlexNet("paper", num_classes=K, rng=rng).summary().params
    print(f"{K} classes: {few:,}")
    assert few == 56_868_224 + 4097 * K
assert 56_868_224 + 4097 * 1000 == 60_965_224

# %% [markdown]
# ## Which layers have the parameters, and which do the work
#
# A kernel is used in every window, a weight of a fully connected layer once.
#
# **Predict:** what share of the work do the five convolutions have?

# %%
share = {name: 100 * rows[name].params / total for name in learning}
effort = {name: 100 * rows[name].macs / work for name in learning}
in_convs = [sum(each[name] for name in convs) for each in (share, effort)]
print(f"convolutions: {in_convs[0]:.1f} % of the parameters, {in_convs[1]:.1f} % of the work")
assert in_convs[0] < 4 and in_convs[1] > 91                # per cent of the parameters, of the work

figures.draw_bars({"% of all parameters": share, "% of all multiply-accumulates": effort})

# %% [markdown]
# The introduction of the paper says that each convolutional layer has "no more than 1 %" of the parameters. This is
# false for two of the five:

# %%
assert [name for name in convs if share[name] > 1] == ["conv3", "conv4"]
print({name: f"{share[name]:.2f} %" for name in convs})
assert (round(share["conv3"], 2), round(share["conv4"], 2)) == (1.45, 1.09)

# %% [markdown]
# ## How many neurons?
#
# A neuron (神经元) is one activation. The caption of figure 2 in the paper lists them: 150,528 for the picture, then
# 253,440, 186,624, 64,896, 64,896, 43,264, 4,096, 4,096 and 1,000. Compare with the shapes.
#
# **Predict:** which of these numbers is wrong?

# %%
printed = dict(zip(learning, [253_440, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]))
neurons = {name: int(np.prod(rows[name].output_shape)) for name in learning}
assert [name for name in learning if neurons[name] != printed[name]] == ["conv1"]
print({name: count for name, count in neurons.items()})
assert neurons["conv1"] == 96 * 55 * 55 == 290_400
assert printed["conv1"] == 96 * 55 * 48                    # as if one 55 had become a 48
assert 224 * 224 * 3 == 150_528

# %% [markdown]
# The abstract says 650,000 neurons. The sum of the printed list is smaller. With 290,400 for conv1, the five
# convolutional layers together give the number of the abstract:

# %%
print(f"printed {sum(printed.values()):,}; five layers {sum(neurons[name] for name in convs):,}; "
      f"all {sum(neurons.values()):,}")
assert sum(printed.values()) == 622_312
assert sum(neurons[name] for name in convs) == 650_080
assert sum(neurons.values()) == 659_272

# %% [markdown]
# ## What a training step needs in memory
#
# For each parameter three numbers are stored: the weight, its gradient, and its velocity. For each of the 128 pictures
# of a batch (批), the arrays are stored that the layers save for the backward pass.
#
# **Predict:** which needs more memory, all of the first or all of the second?

# %%
MiB = 2**20
weights = 4 * total / MiB                                  # four bytes each
for_one = (net.summary().training_bytes(1) - net.summary().training_bytes(0)) / MiB
print(f"weights, gradients, velocities: {3 * weights:.0f} MiB; saved for backward: {128 * for_one:.0f} MiB")
assert round(weights, 1) == 232.6 and 6.1 < for_one < 6.3

figures.draw_bars({"MiB, for a batch of 128": {"weights": weights, "gradients": weights, "velocities": weights,
                                               "saved for backward": 128 * for_one}})

# %% [markdown]
# So the batch needs more memory than the weights. A program could also keep the columns of im2col (lesson 08). How much
# memory would they need?

# %%
columns, C, side = 0, 3, 227
for name, (K, kernel, stride, pad, _) in convs.items():
    side = shapes.output_size(side, kernel, stride, pad)
    columns, C = columns + C * kernel**2 * side**2, K      # of one picture
    side = shapes.output_size(side, 3, 2) if name in ("conv1", "conv2") else side
GiB = 2**30
everything_else = net.summary().training_bytes(128) / MiB
print(f"columns: {128 * columns * 4 / MiB:,.0f} MiB; everything else: {everything_else:,.0f} MiB")
assert columns == 4_405_179
assert 2.1 < 128 * columns * 4 / GiB < 2.2
assert 1.9 < net.summary().training_bytes(128) / GiB < 2   # this library's estimate, without them
assert net.summary().training_bytes(128) + 128 * columns * 4 > 3 * GiB

# %% [markdown]
# This library computes the columns again, a few pictures at a time, and needs a little less than 2 GiB. A GTX 580 has 3
# GB. The paper gives memory as the reason for two of them (section 3.2): 1.2 million pictures are enough to train
# networks "which are too big to fit on one GPU". By our count this one would fit; what else the authors' program kept
# in memory is not counted here. Speed was not the reason. Training on two GPUs took only "slightly less time" than
# training the half network on one.

# %% [markdown]
# ## How much of the picture does a unit see?
#
# A unit of conv1 sees 11 pixels, and the window of the next unit begins 4 pixels further on: call this the **jump**. A
# window of 3 in the next layer covers three units, each one jump further on. So, layer after layer:
#
# $$\text{field} \leftarrow \text{field} + (\text{kernel} - 1) \cdot \text{jump}, \qquad
# \text{jump} \leftarrow \text{jump} \cdot \text{stride}$$
#
# The field at the end is called the receptive field (感受野).
#
# **Predict:** how many of the 227 pixels does a unit of pool5 see?

# %%
field, jump, start = 1, 1, 0                               # start: the first pixel that unit 0 sees
seen = {}
for layer in net.layers:
    if isinstance(layer, layers.Conv2d | layers.MaxPool):
        kernel, stride, pad = layer.size[0], layer.stride[0], layer.pad[0] if hasattr(layer, "pad") else 0
        field, start, jump = field + (kernel - 1) * jump, start - pad * jump, jump * stride
        seen[layer.name] = field, jump, start
        print(f"{layer.name}: {field:>3} pixels, {jump:>2} apart, the first from pixel {start}")
assert [seen[name][0] for name in seen] == [11, 19, 51, 67, 99, 131, 163, 195]
assert seen["pool5"] == (195, 32, -64)

# %% [markdown]
# (A pixel number below 0 is padding.) On the photo, this is what the unit in the middle of some layers sees:

# %%
photo = data.load_picture(figures.PHOTO, 227)              # uint8 (3, 227, 227)
windows = []
for name, (field, jump, start) in seen.items():
    middle = rows[name].output_shape[1] // 2
    windows.append((start + middle * jump, start + middle * jump, field, field))
assert windows[-1] == (32, 32, 195, 195)                   # pool5, unit (3, 3): up to pixel 226, the last one

def part(name):
    top, left, height, width = windows[list(seen).index(name)]
    return photo[:, top:top + height, left:left + width]


figures.draw_pictures([photo, part("conv2"), part("conv3"), part("pool5")],
                      ["conv1, pool1 ... pool5", "conv2: 51 pixels", "conv3: 99 pixels", "pool5: 195 pixels"],
                      windows=windows)

# %% [markdown]
# This was computed from shapes. Now test it on the network itself: put a gradient on unit (3, 3) of pool5, in all 256
# maps and nowhere else, go back to the pixels, and see which of them get a gradient.

# %%
front = tinynet.Sequential(alexnet.paper(1000)[:15], (3, 227, 227), rng)   # up to pool5
front["conv1"].need_dx = True                              # here the gradient of the pixels is wanted
x = (photo - photo.mean()).astype(np.float32)[None]


def pixels_behind(maps, row, column):
    """|dL/dx| of each pixel, for a gradient on one place of these maps of pool5."""
    dy = np.zeros_like(front.forward(x))
    dy[0, maps, row, column] = 1
    return abs(front.backward(dy)[0]).sum(axis=0)          # (227, 227)


def box(pixels):
    """(top, left, height, width) of the part that is not 0."""
    down, across = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    return tuple(int(n) for n in (down[0], across[0], down[-1] - down[0] + 1, across[-1] - across[0] + 1))


assert front.layers[-1].name == "pool5"
every = pixels_behind(slice(None), 3, 3)
print("top, left, height, width:", box(every))
assert box(every) == (32, 32, 195, 195)                    # to the pixel

# %% [markdown]
# In a single map the part is smaller: pooling passes the gradient only to the largest unit of its window. For **this**
# picture it is the field of one unit of conv5, 163 pixels, at the place of the largest.

# %%
single = pixels_behind(7, 3, 3)
top, left, height, width = box(single)
print("top, left, height, width:", (top, left, height, width))
assert (height, width) == (163, 163)
assert top in (32, 48, 64) and left in (32, 48, 64)        # a unit of conv5 is 16 pixels from the next

figures.draw_maps([every / every.max(), single / single.max()],
                  ["pool5, unit (3, 3), all maps", "map 7 only"], columns=2)

# %% [markdown]
# Not all pixels of the field have the same influence: pixels in its middle are in many windows, pixels at its edge in
# few.
#
# **Predict:** what share of the gradient is in the middle ninth of the 195 x 195 pixels, a square of 65?

# %%
middle = every[32 + 65:32 + 130, 32 + 65:32 + 130].sum() / every.sum()
print(f"{middle:.0%} of the gradient in 11% of the pixels")
assert middle > 1.5 / 9

# %% [markdown]
# The field of a unit at the corner of pool5 extends beyond the picture, where there is only padding:

# %%
assert seen["pool5"][2] + 195 == 131                       # unit (0, 0): of its 195 pixels the last is number 130
corner = box(pixels_behind(slice(None), 0, 0))
print("unit (0, 0): top, left, height, width:", corner)
assert corner == (0, 0, 131, 131)

# %% [markdown]
# ## Two GPUs
#
# Each GPU had half of the maps of each layer. Which layers read the half of the other GPU? To find out, give each layer
# the photo's maps, change the inputs from GPU 1 (the first half of the channels), and see which half of the outputs
# changes.
#
# **Predict:** which of conv2 to conv5 read both halves?

# %%
def halves_that_notice(layer, x):
    """For a change in the first half of x: did the first half of y change, did the second?"""
    before = layer.forward(x)
    changed = x.copy()
    changed[:, :x.shape[1] // 2] += 1
    first, second = np.split(layer.forward(changed) != before, 2, axis=1)
    return bool(first.any()), bool(second.any())


crosses, a = {}, x
for layer in front.layers:
    if layer.name in ("conv2", "conv3", "conv4", "conv5"):
        crosses[layer.name] = halves_that_notice(layer, a) == (True, True)
        assert halves_that_notice(layer, a)[0]
    a = layer.forward(a)
print(crosses)
assert crosses == {"conv2": False, "conv3": True, "conv4": False, "conv5": False}
for name, units in (("fc6", 9216), ("fc7", 4096), ("fc8", 4096)):
    assert halves_that_notice(net[name], rng.random((1, units), dtype=np.float32)) == (True, True)

# %% [markdown]
# Here is the paper's figure 2, complete, with everything that crosses between the GPUs in green. Both GPUs saw the
# whole picture; fc8 and the softmax were on one of them.

# %%
figures.draw_network(net)

# %% [markdown]
# How many bytes are sent for each picture? If a layer reads both halves, each GPU sends its half to the other; for fc8
# one GPU sends to the other. A number has four bytes, and as many gradients are sent back.
#
# **Predict:** how many times as many bytes would it be if all layers read both halves?

# %%
numbers = {"conv3": 256 * 13 * 13, "fc6": 256 * 6 * 6, "fc7": 4096, "fc8": 4096 // 2}
print(f"{4 * sum(numbers.values()):,} bytes forward for each picture")
assert 4 * sum(numbers.values()) == 234_496                # bytes forward
more = {"conv2": 96 * 27 * 27, "conv4": 384 * 13 * 13, "conv5": 384 * 13 * 13}
ratio = (sum(numbers.values()) + sum(more.values())) / sum(numbers.values())
print(f"if all layers read both halves: {ratio:.1f} times as many")
assert 4.3 < ratio < 4.5

# %% [markdown]
# It would be more than four times as many. Groups also save work: without them there are hardly more parameters, but
# 57 % more multiplications:

# %%
whole = alexnet.paper(1000)
for layer in whole:
    if isinstance(layer, layers.Conv2d):
        layer.groups = 1
whole = tinynet.Sequential(whole, (3, 227, 227), rng).summary()
assert (whole.params, whole.macs) == (62_378_344, 1_135_256_096)
print(f"without groups: {whole.params:,} parameters, {whole.macs:,} multiply-accumulates")
assert whole.params / total < 1.03 and round(100 * (whole.macs / work - 1)) == 57

# %% [markdown]
# In the recipe `paper` the windows of **LRN** also cross the border between the GPUs; in the program of 2012 they did
# not. Change maps 46 and 47, the last two on GPU 1, and look at their neighbours 48 and 49 on GPU 2:

# %%
for recipe, noticed in (("paper", [48, 49]), ("code-2012", [])):
    lrn1 = next(layer for layer in tinynet.RECIPES[recipe].layers(1000) if layer.name == "lrn1")
    maps = rng.standard_normal((1, 96, 4, 4)).astype(np.float32)
    before = lrn1.forward(maps).copy()
    maps[0, 46:48] += 10
    changed = np.flatnonzero((lrn1.forward(maps) != before).any(axis=(0, 2, 3)))
    print(f"{recipe}: maps of GPU 2 that change: {changed[changed >= 48].tolist()}")
    assert changed[changed >= 48].tolist() == noticed

# %% [markdown]
# What did two GPUs bring? The errors are lower by 1.7 (top-1) and 1.2 points (top-5) than those of a network with half
# as many kernels on one GPU (section 3.2). But that network was not exactly half: footnote 2 says that its conv5 and
# its fully connected layers kept their size, so that both have about the same number of parameters:

# %%
half = {"conv1": 48, "conv2": 128, "conv3": 192, "conv4": 192}
table = alexnet.paper(1000)
for layer in table:
    if isinstance(layer, layers.Conv2d):
        layer.K, layer.groups = half.get(layer.name, layer.K), 1
count = tinynet.Sequential(table, (3, 227, 227), rng).summary().params
print(f"the \"half\" network: {count:,} parameters, {count / total:.0%} of the other")
assert count == 59_798_312

# %% [markdown]
# ## Four networks of that name
#
# "AlexNet" may mean any of these. Here are the differences from the text of the paper, layer by layer:

# %%
def settings(recipe):
    """{"conv1": {"K": 96, ...}, ...}: what each row of the table sets."""
    others = ("name", "params", "grads", "training", "ops", "rng", "device", "_saved", "buffers",
              "need_dx")
    return {layer.name: {key: value for key, value in vars(layer).items() if key not in others}
            for layer in tinynet.RECIPES[recipe].layers(1000)}


text = settings("paper")
differences = {recipe: {name: {key: value for key, value in layer.items() if text.get(name, {}).get(key, {}) != value}
                        for name, layer in settings(recipe).items()} for recipe in ("code-2012", "caffe", "owt")}
for recipe, changes in differences.items():
    print(f"{recipe}, {tinynet.RECIPES[recipe].image_size} pixels")
    for name in ("conv1", "lrn1", "conv2", "within2", "conv3", "drop5", "drop6"):
        if name in changes or name in text:
            print(f"   {name}: {changes.get(name, 'there is none') or 'as in the paper'}")
assert differences["code-2012"]["conv3"]["std"] == 0.03 and differences["caffe"]["conv2"]["bias"] == 0.1
assert "lrn1" not in differences["owt"] and "within2" in differences["code-2012"]
assert list(settings("code-2012"))[:4] == ["conv1", "lrn1", "pool1", "relu1"]   # another order, too

# %% [markdown]
# All rows are in [tinynet/alexnet.py](../tinynet/alexnet.py), each with a comment on the change. All four have 9,216
# inputs to fc6 and about 61 million parameters. `code-2012` is what the authors ran (layers-145.cfg). `owt` is a later
# network, with other widths, in one column (lesson 18).

# %%
for recipe in ("code-2012", "caffe", "owt"):
    summary = tinynet.AlexNet(recipe, rng=rng).summary()
    assert next(row for row in summary.rows if row.name == "flatten").output_shape == (9216,)
    print(f"{recipe:<10} {summary.params:,} parameters")
    assert summary.params == {"code-2012": total, "caffe": total, "owt": 61_100_840}[recipe]

# %% [markdown]
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/13_alexnet.py).
#
# **1.** How many multiply-accumulates does a convolutional layer need for one picture? The input has `channels`;
# `kernels` of `size` x `size` pixels in `groups` make maps of `out` x `out`.

# %%
import numpy as np

from tinynet import exercises


def conv_macs(channels, kernels, size, groups, out):
    ...


exercises.check_conv_macs(conv_macs)

# %% [markdown]
# **2.** How many pixels does a unit at the end see? `windows` is a list of (kernel, stride), from the first layer on.

# %%
import numpy as np

from tinynet import exercises


def receptive_field(windows):
    ...


exercises.check_receptive_field(receptive_field)

# %% [markdown]
# **3.** How many numbers does a network of this kind learn? `convs` is a list of (kernels, size, groups); the first
# layer reads `channels`. `side` is the side of the last maps, and all of them are the input of the first fully
# connected layer. `units` is a list of the sizes of the fully connected layers.

# %%
import numpy as np

from tinynet import exercises


def network_parameters(channels, convs, side, units):
    ...


exercises.check_network_parameters(network_parameters)

# %% [markdown]
# ## What to remember
#
# - 60,965,224 parameters, 96 % of them in three fully connected layers; 724 million multiply-accumulates for a
#   picture, 92 % of them in five convolutions.
# - conv1 has 290,400 neurons, not 253,440; conv3 and conv4 have more than 1 % of the parameters.
# - A unit of pool5 sees 195 pixels of 227; most of its gradient goes to their middle.
# - Two GPUs were used because of memory. Only conv3, fc6, fc7 and fc8 read the activations of the other GPU.
#
# Next: [14, training](14_training.ipynb). Read next: [alexnet.py](../tinynet/alexnet.py), four tables beside each
# other, and [network.py](../tinynet/network.py), which goes through them.
