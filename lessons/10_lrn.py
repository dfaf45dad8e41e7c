# %% [markdown]
# # 10 · Local response normalisation (局部响应归一化, LRN)
#
# *40 minutes. Before it: 08, convolution; 09, pooling. Beside it: the paper, section 3.3, and
# `tinynet/reference/lrn.py`.*
#
# After this lesson you can compute an LRN by hand, derive its gradient, say what it does and how little it does in an
# untrained AlexNet, and explain why four programs with "the same" layer give four different results.
#
# **In a sentence:** each activation is divided by a power of the sum of squares of its neighbours in other maps, so a
# channel with large activations makes the activations of its neighbours smaller. In biology this is called lateral
# inhibition (侧抑制).

# %%
import inspect

import numpy as np

import tinynet
from tinynet import data, exercises, figures, gradcheck, layers, ops, reference
from tinynet.trace import Trace, explain

rng = np.random.default_rng(0)

# %% [markdown]
# ## The formula
#
# At each pixel, for channel $c$ of $C$:
#
# $$y_c = \frac{x_c}{s_c^{\beta}}, \qquad s_c = k + \alpha \sum_{j \in W(c)} x_j^2, \qquad
# W(c) = \left\{ j : |j - c| \le \lfloor n/2 \rfloor,\; 0 \le j < C \right\}$$
#
# with $k = 2$, $n = 5$, $\alpha = 10^{-4}$ and $\beta = 0.75$. We call the sum of squares the energy (能量) and $s$ the
# scale. The power $\beta$ is applied to the whole denominator, $k$ included. (In these [student's
# notes](notes_corrected.md) a bracket is missing there, and the constants.) The sum goes over **channels** at one
# pixel; the pixels around it do not matter. As a program:

# %%
print(inspect.getsource(reference.lrn_forward))

# %% [markdown]
# Here is one pixel with five channels, and simpler constants: $y = x / \sqrt{1 + \text{energy}}$ with windows of three
# channels. **Predict** the scale of channel 3 from x = 1, 2, 0, 3, -1:

# %%
x = np.array([1.0, 2, 0, 3, -1]).reshape(1, 5, 1, 1)       # (N, C, H, W)
simple = {"n": 3, "k": 1, "alpha": 1, "beta": 0.5}
y, scale = ops.lrn_forward(x, **simple)

energies = [1 + 4, 1 + 4 + 0, 4 + 0 + 9, 0 + 9 + 1, 9 + 1]  # of the window of 3 around each channel
print("scale:", scale.ravel())
assert np.allclose(scale.ravel(), [1 + energy for energy in energies])
assert np.allclose(y.ravel(), [1 / 6**0.5, 2 / 6**0.5, 0, 3 / 11**0.5, -1 / 11**0.5])

figures.draw_numbers({"x": x.reshape(1, 5), "scale": scale.reshape(1, 5), "y": y.reshape(1, 5)},
                     windows={"x": (0, 2, 1, 3), "scale": (0, 3, 1, 1), "y": (0, 3, 1, 1)})

# %% [markdown]
# At the edges the window is shorter: channel 0 has one neighbour, not two. `explain` shows how channel 3 is computed:

# %%
net = tinynet.Sequential([layers.LRN("lrn", **simple)], (5, 1, 1), rng, "float64")
trace = Trace(net, x, dy=np.array([1.0, 0, 2, -1, 0]).reshape(1, 5, 1, 1)).run()
seen = explain(trace, "lrn", (0, 3, 0, 0))
assert seen.start == (2,) and np.isclose(seen.value, 3 / 11**0.5)
print(seen)

# %% [markdown]
# ## A neighbour with a large activation
#
# Take five channels whose activations are all 1, and let the middle one grow to 3, 10 and 30. **Predict:** what happens
# to the y of the middle channel, of its neighbours, and of the two outer channels?

# %%
large = np.ones((1, 5, 1, 4))
large[0, 2, 0] = [1, 3, 10, 30]
y, _ = ops.lrn_forward(large, **simple)
print("middle:   ", y[0, 2, 0].round(3))
print("neighbour:", y[0, 1, 0].round(3))
print("outer:    ", y[0, 0, 0].round(3))
assert (np.diff(y[0, 2, 0]) > 0).all() and (np.diff(y[0, 1, 0]) < 0).all()
assert (y[0, 0] == y[0, 0, 0, 0]).all()                    # channel 0 is two away, outside the window of 3
assert y[0, 2, 0, 3] < 1                                   # with these constants nothing exceeds 1

figures.draw_numbers({"x: channels down": large[0, :, 0], "y": y[0, :, 0]})

# %% [markdown]
# Could max-pooling suppress neighbours instead (“可以直接最大池化”, as the notes say)? It does something else. Max-pooling
# **selects** one activation of a window and drops the others. LRN keeps all of them and **divides** each by a power of
# the energy around it. And pooling compares pixels of one map, while LRN compares maps at one pixel:

# %%
pooled, _ = ops.maxpool_forward(large, (1, 2), (1, 2))
print("pooled, by pixels:  ", large[0, 1, 0], "->", pooled[0, 1, 0])
print("LRN, by channels:   ", large[0, 1, 0], "->", y[0, 1, 0].round(3))
assert (pooled[0, 1] == 1).all() and (y[0, 1, 0] < 1).all()

# %% [markdown]
# ## In the network
#
# Here are eight kernels that detect edges, each turned a little further than the one before, applied to the photo;
# then ReLU. Neighbouring channels detect similar directions, so they are large at the same places:

# %%
photo = data.load_picture(figures.PHOTO, 114)              # uint8 (3, 114, 114)
grey = (photo.mean(axis=0) - photo.mean())[None, None]     # (1, 1, 114, 114), around 0
down, across = np.mgrid[-3:4, -3:4]
turns = np.pi / 8 * np.arange(8)
w = np.stack([np.exp(-(down**2 + across**2) / 6) * np.sin(np.cos(a) * across + np.sin(a) * down) for a in turns])
w /= abs(w).sum(axis=(1, 2), keepdims=True)
edges = ops.conv2d_forward(grey, w[:, None], np.zeros(8), stride=2, pad=0, groups=1)
x = ops.relu_forward(edges)
assert x.shape == (1, 8, 54, 54)

figures.draw_maps(x[0], [f"{22.5 * c:g} degrees" for c in range(8)], columns=4)

# %% [markdown]
# Now LRN with n = 5. Alpha is a hundred times the paper's here, so that the effect can be seen.
#
# **Predict:** does the ratio of strong to weak activations grow or fall? Which maps become smaller than the others?

# %%
y, scale = ops.lrn_forward(x, n=5, k=2, alpha=1e-2, beta=0.75)
strong, weak = np.quantile(x[x > 0], [0.99, 0.5])
strong_after, weak_after = np.quantile(y[y > 0], [0.99, 0.5])
kept = y[0].sum(axis=(1, 2)) / x[0].sum(axis=(1, 2))       # (8,): the sum after / before
print(f"strong / weak: {strong / weak:.1f} before, {strong_after / weak_after:.1f} after")
print("sum of each map, after / before:", kept.round(2))
assert 0 < y.max() < x.max() and strong_after / weak_after < 0.6 * strong / weak
assert kept[[0, 7]].min() > kept[2:6].max()

figures.draw_maps(y[0], [f"{22.5 * c:g} degrees" for c in range(8)], columns=4)

# %% [markdown]
# The first and the last maps keep more than the others, because a part of their windows is missing. Strong edges stay
# where they are, but the ratio of strong to weak falls. So the statement that large responses become larger relative to
# small ones is only half right. **Within a window** of channels all activations have nearly the same denominator, so
# their order stays. **From pixel to pixel** large responses are divided by more, and differences shrink. Here is how
# the largest activation is computed. The bars are its neighbours in other maps.

# %%
net = tinynet.Sequential([layers.LRN("lrn", n=5, k=2, alpha=1e-2, beta=0.75)], (8, 54, 54), rng, "float64")
trace = Trace(net, x, dy=rng.standard_normal(x.shape)).run()
largest = tuple(int(i) for i in np.unravel_index(x.argmax(), x.shape))
seen = explain(trace, "lrn", largest)
assert np.isclose(seen.value, y[largest])

figures.draw_explanation(seen)

# %% [markdown]
# **Predict:** with the paper's alpha of 0.0001 and an untrained conv1, by which factor does LRN multiply a typical
# activation?

# %%
conv1 = tinynet.Sequential([layers.Conv2d("conv1", 96, 11, stride=4, std=0.01)], (3, 114, 114), rng)
fresh = ops.relu_forward(conv1.forward((photo - photo.mean()).astype(np.float32)[None]))
y, scale = ops.lrn_forward(fresh, n=5, k=2, alpha=1e-4, beta=0.75)
positive = fresh > 0
factor = float(np.median(y[positive] / fresh[positive]))
print(f"mean scale {scale.mean():.2f}, median factor {factor:.2f}; with no energy at all 2^-0.75 = {2**-0.75:.3f}")
assert 2 < scale.mean() < 2.1 and 0.95 < factor / 2**-0.75 <= 1

# %% [markdown]
# The energy has hardly any effect: the scale is close to k = 2. Channels compete only where activations are large.
#
# ## What LRN is for
#
# It is sometimes said that the outputs of ReLU have no bound and therefore **need** to be normalised. The paper says
# the opposite: ReLUs do not saturate, so they need no normalisation. LRN was added because it helped generalisation: in
# the authors' comparison it lowered the top-1 error by 1.4 points and the top-5 error by 1.2 (section 3.3).
# torchvision's AlexNet, which follows Krizhevsky's paper of 2014, has no LRN.
#
# ## Four programs, four layers
#
# | | k | factor of the sum of squares | a window ends at | order |
# |---|---|---|---|---|
# | the paper's text | 2 | 10^-4 | the last channel | ReLU, LRN, pool |
# | the authors' program, layer 1 | 2 | 10^-4 / 5 | the border between GPUs | LRN, pool, ReLU |
# | Caffe's bvlc_alexnet | 1 | 10^-4 / 5 | the last channel | ReLU, LRN, pool |
# | torchvision | no LRN | | | |
#
# The authors' program divides alpha by n, and so do Caffe and PyTorch. Our recipes have all four, with alpha as it is
# used:

# %%
lrn1 = {}
for recipe in tinynet.RECIPES:
    rows = tinynet.RECIPES[recipe].layers(1000)
    lrn1[recipe] = next((row for row in rows if row.name == "lrn1"), None)
    first = [row.name for row in rows[1:4]]
    row = lrn1[recipe]
    print(f"{recipe:<10}", f"k={row.k:g} alpha={row.alpha:g} groups={row.groups}" if row else "no LRN", first)
assert (lrn1["paper"].k, lrn1["paper"].alpha, lrn1["paper"].groups) == (2, 1e-4, 1)
assert (lrn1["code-2012"].k, lrn1["code-2012"].alpha, lrn1["code-2012"].groups) == (2, 1e-4 / 5, 2)
assert (lrn1["caffe"].k, lrn1["caffe"].alpha, lrn1["caffe"].groups) == (1, 1e-4 / 5, 1)
assert lrn1["owt"] is None

# %% [markdown]
# In Caffe's diagrams these layers are called norm1 and norm2, and norm does mean normalisation (the notes doubt it:
# 图中的normal并不是normalization的意思). A diagram that has them after pooling shows CaffeNet, a variant of AlexNet.
# AlexNet normalises first. ReLU and max-pooling can be exchanged (lesson 09).
#
# **Predict:** can LRN be exchanged with the ReLU, or with pooling?

# %%
signed = rng.standard_normal((1, 8, 9, 9))


def pool(a):
    return ops.maxpool_forward(a, 3, 2)[0]


def normalise(a):
    return ops.lrn_forward(a, **simple)[0]


for name, one, other in (
        ("ReLU and pooling", pool(ops.relu_forward(signed)), ops.relu_forward(pool(signed))),
        ("ReLU and LRN", normalise(ops.relu_forward(signed)), ops.relu_forward(normalise(signed))),
        ("LRN and pooling", pool(normalise(ops.relu_forward(signed))), normalise(pool(ops.relu_forward(signed))))):
    print(f"{name}: largest difference {abs(one - other).max():.3f}")
    assert np.allclose(one, other) == (name == "ReLU and pooling")

# %% [markdown]
# LRN before the ReLU adds the squares of negative numbers, too. LRN after pooling adds the squares of maxima, which may
# come from different pixels.
#
# Now the border between the GPUs: channels 0 to 47 of conv1 were on one and 48 to 95 on the other. With groups = 2 a
# window around channel 47 ends at the border.

# %%
net = tinynet.Sequential([layers.LRN("whole"), layers.LRN("halves", groups=2)], (96, 2, 2), rng, "float64")
trace = Trace(net, rng.standard_normal((1, 96, 2, 2))).run()
for name, last in (("whole", 49), ("halves", 47)):
    seen = explain(trace, name, (0, 47, 0, 0))
    print(f"{name}: channels {seen.start[0]} to {seen.start[0] + seen.last.size - 1}")
    assert (seen.start, seen.last.size) == ((45,), last - 45 + 1)

# %% [markdown]
# The authors' program has one more layer, which the paper does not mention: after the second LRN, a normalisation
# **within** each map, over 5 x 5 pixels. The formula is the same, with another window, k = 1 and alpha = 0.001 / 25. It
# makes an activation depend less on the contrast of the picture around it:

# %%
net = tinynet.Sequential([layers.LRNWithin("within")], (8, 54, 54), rng, "float64")
trace = Trace(net, x).run()
seen = explain(trace, "within", largest)
assert seen.last.shape == (5, 5)

figures.draw_explanation(seen)

# %% [markdown]
# ## Backward, step by step
#
# Which $y$ depend on $x_c$? Its own $y_c$, in the numerator and in the energy, and the $y_j$ of every neighbour, whose
# energy contains $x_c^2$. First the slopes of the scales, which are sums of squares:
#
# $$\frac{\partial s_j}{\partial x_c} = 2 \alpha \, x_c \quad \text{if } c \in W(j), \text{ otherwise } 0$$
#
# Then the slopes of $y_j = x_j \, s_j^{-\beta}$, by the product rule; $[j = c]$ is 1 if $j = c$ and 0 otherwise:
#
# $$\frac{\partial y_j}{\partial x_c} = [j = c] \; s_j^{-\beta} - \beta \, x_j \, s_j^{-\beta - 1} \,
# \frac{\partial s_j}{\partial x_c}
# = [j = c] \; s_j^{-\beta} - 2 \alpha \beta \, x_c \, x_j \, s_j^{-\beta - 1}$$
#
# Now the chain rule, a sum over all $j$ with $c \in W(j)$:
#
# $$\mathrm{d}x_c = \sum_j \mathrm{d}y_j \, \frac{\partial y_j}{\partial x_c}
# = \mathrm{d}y_c \, s_c^{-\beta} - 2 \alpha \beta \, x_c \sum_{j \in W(c)} \mathrm{d}y_j \, x_j \, s_j^{-\beta - 1}$$
#
# For an odd $n$, $c \in W(j)$ exactly if $j \in W(c)$: being neighbours is mutual. So $j$ runs over the same channels
# as in the forward pass. The layer saves $x$ and $s$ for this, but not $y$, because $y$ is $x \, s^{-\beta}$, and
# computing it again is cheaper than keeping it. Here is the loop:

# %%
source = inspect.getsource(reference.lrn_backward)
print(source[source.index("    dx = "):])

# %% [markdown]
# Channel 3 of the small example, by hand, with $y_j / s_j$ for $x_j \, s_j^{-\beta - 1}$:

# %%
x5, dy5 = np.array([1.0, 2, 0, 3, -1]), np.array([1.0, 0, 2, -1, 0])
y5, scale5 = (a.ravel() for a in ops.lrn_forward(x5.reshape(1, 5, 1, 1), **simple))
own = dy5[3] * scale5[3]**-0.5
others = 2 * 1 * 0.5 * x5[3] * (dy5[2] * y5[2] / scale5[2] + dy5[3] * y5[3] / scale5[3] + dy5[4] * y5[4] / scale5[4])
print(f"own {own:.4f} - others {others:.4f} = {own - others:.4f}")

net = tinynet.Sequential([layers.LRN("lrn", **simple)], (5, 1, 1), rng, "float64")
trace = Trace(net, x5.reshape(1, 5, 1, 1), dy=dy5.reshape(1, 5, 1, 1)).run()
seen = explain(trace, "lrn", (0, 3, 0, 0), of="dx")
assert np.isclose(seen.value, own - others)

figures.draw_explanation(seen)

# %% [markdown]
# A program without the second term still trains, with slightly wrong gradients. With the paper's small alpha few tests
# find this mistake.
#
# **Predict:** in the untrained conv1 above, how large is the second term, compared with the first?
#
# So check gradients where alpha times the energy is about as large as k:

# %%
dy = rng.standard_normal(fresh.shape).astype(np.float32)
_, scale = ops.lrn_forward(fresh, n=5, k=2, alpha=1e-4, beta=0.75)
whole = ops.lrn_backward(dy, fresh, scale, n=5, alpha=1e-4, beta=0.75)
first = dy * scale**-0.75
print(f"paper's alpha: the second term is {np.linalg.norm(whole - first) / np.linalg.norm(first):.1%} of the first")
assert np.linalg.norm(whole - first) < 0.05 * np.linalg.norm(first)

layer = layers.LRN("lrn", n=5, k=2, alpha=0.5)
report, = gradcheck.check_layer(layer, rng.standard_normal((2, 7, 3, 3)), rng)
print(str(report).split(",")[0])
assert report.ok, report

# %% [markdown]
# ## On whole arrays
#
# The sum over n neighbours takes n - 1 additions of arrays that are shifted by 1, 2, ... channels, up and down. In
# `lrn_backward` the power is computed once: at first `dx` is dy * scale^-beta, so `dx * x` is dy * y.

# %%
print(inspect.getsource(ops.lrn_forward))
print(inspect.getsource(ops.lrn.window_sum))
print(inspect.getsource(ops.lrn_backward))
assert np.allclose(reference.lrn_forward(x[:, :, :4, :4], 5, 2, 1e-2, 0.75)[0],
                   ops.lrn_forward(x[:, :, :4, :4], 5, 2, 1e-2, 0.75)[0], rtol=1e-12)

# %% [markdown]
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/10_lrn.py).
#
# **1.** Forward, for the channels `x` (C, H, W) of one picture. A loop over channels is enough.

# %%
import numpy as np

from tinynet import exercises


def lrn(x, n, k, alpha, beta):
    ...


exercises.check_lrn(lrn)

# %% [markdown]
# **2.** Backward: `dy` and the result have the shape of `x`. You will need scale again.

# %%
import numpy as np

from tinynet import exercises


def lrn_gradient(dy, x, n, k, alpha, beta):
    ...


exercises.check_lrn_gradient(lrn_gradient)

# %% [markdown]
# ## What to remember
#
# - A channel is divided by (k + alpha times the energy of n channels around it) to the power beta; windows end at the
#   first and the last channel.
# - In an untrained network LRN is little more than a multiplication by 0.595. Its gradient still has two terms.
# - LRN divides, max-pooling selects; LRN cannot be exchanged with ReLU or with pooling.
# - Check in every other program: is alpha divided by n? What is k? Is LRN before or after the ReLU?
#
# Next: [11, dropout](11_dropout.ipynb). Read next: [reference/lrn.py](../tinynet/reference/lrn.py) beside
# [ops/lrn.py](../tinynet/ops/lrn.py).
