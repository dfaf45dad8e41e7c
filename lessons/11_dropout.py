# %% [markdown]
# # 11 · Dropout (随机失活)
#
# *30 minutes. Before it: 04, fully connected layers and softmax; 05, backpropagation. Beside it: the paper, section
# 4.2, and `tinynet/reference/dropout.py`.*
#
# After this lesson you can drop units by hand, forward and backward, derive the factor at test time, say which mean of
# which networks dropout computes, and explain why two conventions that look the same do not train in the same way.
#
# **In a sentence:** in training every unit of fc6 and fc7 is set to 0 with probability 1/2; at test every unit is used,
# multiplied by 1/2.

# %%
import inspect
import itertools

import numpy as np

import tinynet
from tinynet import exercises, figures, layers, ops, reference
from tinynet.trace import Trace, explain

rng = np.random.default_rng(0)

# %% [markdown]
# ## Why drop units?
#
# The predictions of several networks, averaged, are better than those of one. To get networks that differ, one can
# train each on another random sample of the training set; this is called **bagging**.
#
# **Predict:** suppose 25 independent networks were each wrong about a picture with probability 0.4. How often would the
# majority of them be wrong?

# %%
wrong = rng.random((100_000, 25)) < 0.4                    # (pictures, networks)
majority = (wrong.sum(axis=1) > 12).mean()
same = np.repeat(wrong[:, :1], 25, axis=1)                 # 25 copies of one network
print(f"one network: {wrong[:, 0].mean():.2f}; majority of 25: {majority:.2f}; "
      f"of 25 copies of one: {(same.sum(axis=1) > 12).mean():.2f}")
assert majority < 0.17 and (same.sum(axis=1) > 12).mean() > 0.39

# %% [markdown]
# Networks trained on similar data make similar mistakes, so the real gain is smaller. And one AlexNet took five to six
# days to train. Dropout is a cheap form of the same idea: for every picture it trains another network, and all of them
# share their weights. In contrast to bagging, these networks are not independent, and each is trained for a single
# step.

# %%
figures.draw_thinned([[1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 1, 1, 0, 1], [1, 1, 1]])

# %% [markdown]
# ## The formula, forward and backward
#
# For each unit $i$ a random number decides whether it is kept: the **mask** (掩码) $m_i$ is 1 with probability $p$ (the
# parameter `keep`, in the paper 1/2) and 0 otherwise. In training
#
# $$y_i = m_i \, x_i, \qquad \frac{\partial y_i}{\partial x_i} = m_i, \qquad \mathrm{d}x_i = m_i \, \mathrm{d}y_i$$
#
# Backward is the same product: a unit that was dropped had no influence on the loss, so its gradient is 0.
#
# **Predict** y and dx for the six units in the next cell:

# %%
x, mask = np.array([[2.0, 0, 5, 1, 3, 4]]), np.array([[1.0, 1, 0, 1, 0, 0]])
dy = np.array([[0.5, -1, 2, 0, 1, -2]])
y, dx = ops.dropout_forward(x, mask), ops.dropout_backward(dy, mask)
print("y: ", y)
print("dx:", dx + 0.0)
assert y.tolist() == [[2, 0, 0, 1, 0, 0]]
assert dx.tolist() == [[0.5, -1, 0, 0, 0, 0]]

figures.draw_numbers({"x": x, "mask": mask, "y": y}, signs=["*", "="])

# %% [markdown]
# The op does nothing else. The layer draws a new mask for every picture of every batch:

# %%
print(inspect.getsource(reference.dropout_forward))
print(inspect.getsource(layers.Dropout))

# %% [markdown]
# Here are four pictures with 4,096 units each, and their masks in training, each shown as a square of 64 x 64 units.
# Every picture has another mask, which keeps about half of the units (white).

# %%
net = tinynet.Sequential([layers.Dropout("drop6", keep=0.5)], (4096,), rng, "float64")
units = np.abs(rng.standard_normal((4, 4096)))
trace = Trace(net, units, dy=rng.standard_normal((4, 4096))).run()
masks = trace["drop6"].saved[0]
print("share of units that are kept:", masks.mean(axis=1).round(2))
assert set(np.unique(masks)) == {0, 1} and np.all(abs(masks.mean(axis=1) - 0.5) < 0.05)
assert all((a != b).mean() > 0.4 for a, b in itertools.combinations(masks, 2))

figures.draw_pictures([255 * m.reshape(64, 64) for m in masks], [f"picture {i}" for i in range(4)])

# %%
kept, dropped = np.flatnonzero(masks[0])[0], np.flatnonzero(masks[0] == 0)[0]
print(explain(trace, "drop6", (0, int(kept))))
print(explain(trace, "drop6", (0, int(dropped)), of="dx"))
assert explain(trace, "drop6", (0, int(dropped)), of="dx").value == 0

# %% [markdown]
# ## At test: the keep probability
#
# A prediction should not depend on chance, so at test all units are used. But the layer above was trained with about
# half of them, and a sum over twice as many terms would be twice as large. So each activation is replaced by its
# **expectation** (期望) under the mask:
#
# $$\mathbb{E}[m_i x_i] = p \cdot 1 \cdot x_i + (1 - p) \cdot 0 \cdot x_i = p \, x_i$$
#
# and because the expectation of a sum is the sum of the expectations, the unit above receives on average what it
# received in training: $\mathbb{E}\left[\sum_i w_i m_i x_i\right] = \sum_i w_i \, p \, x_i$.
#
# Some texts, such as these [student's notes](notes_corrected.md), say "multiply by the rate", the probability of being
# dropped. If the rate is 0.5, this is the same number. With a rate of 0.3 the correct factor is
# $p = 1 - \text{rate} = 0.7$.
#
# **Predict:** which of the two factors gives the mean over 20,000 masks?

# %%
w = np.array([0.5, -1, 2, 1, -0.5, 1])
keep = 0.7
sums = (rng.random((20_000, 6)) < keep) * x @ w            # what the unit above receives in training
wanted, mistaken = (x * keep) @ w, (x * (1 - keep)) @ w
print(f"mean over the masks {sums.mean():.2f}; times 0.7: {wanted[0]:.2f}; times 0.3: {mistaken[0]:.2f}")
assert abs(sums.mean() - wanted[0]) < 0.1 < abs(sums.mean() - mistaken[0])

layer = layers.Dropout("drop", keep=keep)
layer.training = False
assert np.allclose(layer.forward(x), keep * x)

figures.draw_bars({"sum in the unit above": {
    "training, mean of 20,000 masks": float(sums.mean()), "test, times keep = 0.7": float(wanted[0]),
    "test, times rate = 0.3": float(mistaken[0])}})

# %% [markdown]
# ## What it averages
#
# Each mask makes another network: with n units there are $2^n$ of them. The paper says that halving the activations is
# a reasonable approximation to the **geometric mean** (几何平均) of their predictions. With one softmax layer above the
# units it is exact. Let $z_k = \sum_i w_{ki} m_i x_i + b_k$ be the logits under a mask. The logarithm of a probability
# is
#
# $$\log p_k(m) = z_k(m) - \log \sum_l e^{z_l(m)}$$
#
# and the last term is the same for all classes. The geometric mean is the mean of the logarithms:
#
# $$\frac{1}{2^n} \sum_m \log p_k(m) = \frac{1}{2^n} \sum_m z_k(m) + \text{const}
# = \sum_i w_{ki} \tfrac{1}{2} x_i + b_k + \text{const}$$
#
# because each $m_i$ is 1 in half of all masks. These are the logits of the halved network; made to add up to 1, both
# are the same probabilities. With a layer of ReLUs in between it is an approximation.
#
# **Predict:** is the plain (arithmetic) mean of the probabilities the same, too? Here are all $2^{10}$ masks of ten
# units.

# %%
units, weights, bias = np.abs(rng.standard_normal(10)), rng.standard_normal((4, 10)), rng.standard_normal(4)


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


every_mask = np.array(list(itertools.product([0, 1], repeat=10)))                # (1024, 10)
each = softmax((every_mask * units) @ weights.T + bias)                          # (1024, 4): 1,024 networks
geometric = np.exp(np.log(each).mean(axis=0))
geometric /= geometric.sum()
arithmetic, halved = each.mean(axis=0), softmax((0.5 * units) @ weights.T + bias)
assert len(each) == 2**10
assert np.allclose(geometric, halved, rtol=1e-12)          # exactly
assert abs(arithmetic - halved).max() > 0.01               # the arithmetic mean is different
classes = [f"class {c}" for c in range(4)]

figures.draw_bars({name: dict(zip(classes, map(float, p))) for name, p in (
    ("geometric mean of 1,024", geometric), ("all units, halved", halved), ("arithmetic mean", arithmetic))})

# %% [markdown]
# ## Two conventions
#
# Caffe and PyTorch divide by keep in training and change nothing at test: **inverted** dropout.
#
# $$\text{paper: } y = m x, \quad \text{test } p x \qquad\qquad \text{inverted: } y = \frac{m x}{p}, \quad \text{test } x$$
#
# In both, training and test agree on average. Here they are side by side, for the same mask and units:

# %%
x, mask = np.array([[2.0, 0, 5, 1, 3, 4]]), np.array([[1.0, 1, 0, 1, 0, 0]])
paper, inverted = x * mask, x * mask / 0.5
assert np.allclose(inverted, 2 * paper)

figures.draw_numbers({"x": x.T, "paper: training": paper.T, "paper: test": 0.5 * x.T,
                      "inverted: training": inverted.T, "inverted: test": x.T})

# %% [markdown]
# Can one replace the other? Not with the same learning rate and initial weights: the layer above gets inputs that are
# twice as large. With the same weights its outputs are twice as large, and so is the gradient of its weights for the
# same dy:

# %%
w, b = rng.standard_normal((3, 6)), np.zeros(3)
dz = rng.standard_normal((1, 3))
_, dw_paper, _ = ops.linear_backward(dz, paper, w)
_, dw_inverted, _ = ops.linear_backward(dz, inverted, w)
print(f"gradient: {np.linalg.norm(dw_inverted) / np.linalg.norm(dw_paper):g} times as large")
assert np.allclose(ops.linear_forward(inverted, w, b), 2 * ops.linear_forward(paper, w, b))
assert np.allclose(dw_inverted, 2 * dw_paper)

# %% [markdown]
# **Predict:** which initial weights and which learning rate make an inverted network train like the paper's?
#
# It needs weights that are half as large, so steps half as large; and its gradients are twice as large. So the rate is
# a **quarter**. The cell makes two steps with both:

# %%
lr, w_paper, w_inverted = 0.1, w.copy(), w / 2
for _ in range(2):
    z_paper, z_inverted = paper @ w_paper.T, inverted @ w_inverted.T
    assert np.allclose(z_paper, z_inverted)
    w_paper -= lr * ops.linear_backward(z_paper - dz, paper, w_paper)[1]         # the gradient of a squared error
    w_inverted -= lr / 4 * ops.linear_backward(z_inverted - dz, inverted, w_inverted)[1]
print("inverted weights / paper's:", (w_inverted / w_paper).round(6).ravel()[:4], "...")
assert np.allclose(w_inverted, w_paper / 2)

# %% [markdown]
# ## Where
#
# Section 4.2 of the paper says "each hidden neuron" (隐藏层). In fact dropout is used in the first two fully connected
# layers only. Here are its places and its convention in each recipe:

# %%
for recipe in tinynet.RECIPES:
    rows = tinynet.RECIPES[recipe].layers(1000)
    places = [(rows[i - 1].name, "inverted" if row.inverted else "paper's") for i, row in enumerate(rows)
              if isinstance(row, layers.Dropout)]
    print(f"{recipe:<10}", places)
    if recipe != "owt":
        assert [place for place, _ in places] == ["relu6", "relu7"]

# %% [markdown]
# (`owt`, torchvision's network, drops the *inputs* of fc6 and fc7.) Nine tenths of the parameters are in fc6 and fc7
# (lesson 13), and there units can co-adapt (互适应): each is only useful together with certain others. If any of the
# others may be missing, a unit has to be useful by itself.
#
# The paper says that dropout needs about twice as many iterations to converge. Lesson 14 trains with and without
# dropout, and lesson 16 compares four runs of each.

# %% [markdown]
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/11_dropout.py).
#
# **1.** Forward in training. `kept` is the mask, True or False for each unit; `keep` is the probability of True;
# `inverted` says which convention.

# %%
import numpy as np

from tinynet import exercises


def drop(x, kept, keep, inverted):
    ...


exercises.check_drop(drop)

# %% [markdown]
# **2.** The same layer at test.

# %%
import numpy as np

from tinynet import exercises


def at_test(x, keep, inverted):
    ...


exercises.check_at_test(at_test)

# %% [markdown]
# **3.** Backward through exercise 1.

# %%
import numpy as np

from tinynet import exercises


def drop_gradient(dy, kept, keep, inverted):
    ...


exercises.check_drop_gradient(drop_gradient)

# %% [markdown]
# ## What to remember
#
# - A random mask, one number for each unit and picture; forward and backward multiply by it.
# - At test multiply by keep (the paper), or by nothing (inverted, where training divides by keep).
# - Halving gives exactly the geometric mean of all $2^n$ networks if one softmax layer follows.
# - The conventions differ by a factor of 2 in the inputs of the next layer, and of 4 in its learning rate.
#
# Next: [12, data augmentation](12_augmentation.ipynb). Read next:
# [reference/dropout.py](../tinynet/reference/dropout.py), and `Dropout` in [layers.py](../tinynet/layers.py).
