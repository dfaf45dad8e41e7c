# %% [markdown]
# # 07 · Dropout (随机失活)
#
# *25 minutes. Before it: 04, fully connected layers and softmax. Beside it: the paper, section 4.2, and
# `tinynet/ops/dropout.py`.*
#
# After this lesson you can drop units by hand, forward and backward, say why the factor at test time is what it is, and
# why two conventions that compute "the same" do not train the same.
#
# **In a sentence:** in training every unit of fc6 and fc7 is silenced with probability 1/2, at test all of them speak,
# at half their strength.

# %%
import inspect
import itertools

import numpy as np

import tinynet
from tinynet import exercises, figures, layers, ops
from tinynet.trace import Trace, explain

rng = np.random.default_rng(0)

# %% [markdown]
# ## By hand
#
# Six activations of one picture, and a **mask** (掩码): for each unit a coin that says 1, speak, or 0, be silent.
# Forward is a product with the mask, and so is backward: a unit that was silent has done nothing, so it learns nothing.

# %%
x, mask = np.array([[2.0, 0, 5, 1, 3, 4]]), np.array([[1.0, 1, 0, 1, 0, 0]])
dy = np.array([[0.5, -1, 2, 0, 1, -2]])
y, dx = ops.dropout_forward(x, mask), ops.dropout_backward(dy, mask)
assert y.tolist() == [[2, 0, 0, 1, 0, 0]]
assert dx.tolist() == [[0.5, -1, 0, 0, 0, 0]]
figures.draw_numbers({"x": x, "mask": mask, "y": y}, signs=["*", "="])

# %% [markdown]
# The op has no more to it than that. The layer draws the mask, anew for every picture of every batch:

# %%
print(inspect.getsource(ops.dropout_forward))
print(inspect.getsource(layers.Dropout))

# %% [markdown]
# In the network: four pictures, 4,096 units each, and the masks of a training pass, each drawn as a square of 64 x 64
# units. No two pictures silence the same ones, and about half of each speaks.

# %%
net = tinynet.Sequential([layers.Dropout("drop6", keep=0.5)], (4096,), rng, "float64")
units = np.abs(rng.standard_normal((4, 4096)))
trace = Trace(net, units, dy=rng.standard_normal((4, 4096))).run()
masks = trace["drop6"].saved[0]
assert set(np.unique(masks)) == {0, 1} and np.all(abs(masks.mean(axis=1) - 0.5) < 0.05)
assert all((a != b).mean() > 0.4 for a, b in itertools.combinations(masks, 2))
figures.draw_pictures([255 * m.reshape(64, 64) for m in masks], [f"picture {i}" for i in range(4)])

# %%
speaks, silent = np.flatnonzero(masks[0])[0], np.flatnonzero(masks[0] == 0)[0]
print(explain(trace, "drop6", (0, int(speaks))))
print(explain(trace, "drop6", (0, int(silent)), of="dx"))
assert explain(trace, "drop6", (0, int(silent)), of="dx").value == 0

# %% [markdown]
# ## At test: the keep probability
#
# At test nobody wants a coin to decide. All units speak; but the layer above has learnt with about half of them, and a
# sum over twice as many terms would be twice as large. So each is multiplied by its **expectation** (期望) under the
# mask: 1 * keep + 0 * (1 - keep) = keep.
#
# The notes say "multiply by the rate" (乘以 rate), and with the rate of dropping 0.5 that is the same number. Take 0.3
# for the rate, and it is not: the factor is keep = 1 - rate = 0.7. Let 20,000 masks tell:

# %%
w = np.array([0.5, -1, 2, 1, -0.5, 1])
keep = 0.7
sums = (rng.random((20_000, 6)) < keep) * x @ w            # what the unit above gets in training
wanted, wrong = (x * keep) @ w, (x * (1 - keep)) @ w
assert abs(sums.mean() - wanted[0]) < 0.1 < abs(sums.mean() - wrong[0])

layer = layers.Dropout("drop", keep=keep)
layer.training = False
assert np.allclose(layer.forward(x), keep * x)
figures.draw_bars({"sum in the unit above": {
    "training, mean of 20,000 masks": float(sums.mean()), "test, times keep = 0.7": float(wanted[0]),
    "test, times rate = 0.3": float(wrong[0])}})

# %% [markdown]
# ## What it averages
#
# Each mask makes another network, and all share their weights: with n units there are 2^n of them (the paper calls
# training them all "a very efficient version of model combination"). The paper says that halving is a reasonable
# approximation to the **geometric mean** (几何平均) of what they predict. For one softmax layer on top it is not an
# approximation: take all 2^10 masks of ten units, the geometric mean of their probabilities, and let it add up to 1.

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
assert abs(arithmetic - halved).max() > 0.01               # not so the plain mean
classes = [f"class {c}" for c in range(4)]
figures.draw_bars({name: dict(zip(classes, map(float, p))) for name, p in (
    ("geometric mean of 1,024", geometric), ("all units, halved", halved), ("arithmetic mean", arithmetic))})

# %% [markdown]
# Why: the logarithm of a softmax is a logit less something that all classes share, logits are sums, and the mean of a
# sum over all masks is the sum with every unit at 1/2. With a second layer of ReLUs between, it is an approximation.
#
# ## Two conventions
#
# Caffe and PyTorch divide by keep in training and leave the test alone: **inverted** dropout. The expectation is right
# again, now on both sides. Two columns for the same mask and units:

# %%
x, coin = np.array([[2.0, 0, 5, 1, 3, 4]]), np.array([[1.0, 1, 0, 1, 0, 0]])
paper, inverted = x * coin, x * coin / 0.5
assert np.allclose(inverted, 2 * paper)
figures.draw_numbers({"x": x.T, "paper: training": paper.T, "paper: test": 0.5 * x.T,
                      "inverted: training": inverted.T, "inverted: test": x.T})

# %% [markdown]
# Are they interchangeable? Not at fixed hyper-parameters: the layer above sees inputs twice as large. With the same
# weights its outputs are twice as large, and so is the gradient of its weights for the same dy:

# %%
w, b = rng.standard_normal((3, 6)), np.zeros(3)
dz = rng.standard_normal((1, 3))
_, dw_paper, _ = ops.linear_backward(dz, paper, w)
_, dw_inverted, _ = ops.linear_backward(dz, inverted, w)
assert np.allclose(ops.linear_forward(inverted, w, b), 2 * ops.linear_forward(paper, w, b))
assert np.allclose(dw_inverted, 2 * dw_paper)

# %% [markdown]
# To train like the paper's, an inverted net needs half the initial weights, and then steps that are half as large on
# weights whose gradient is twice as large: a **quarter of the learning rate**. Two steps, side by side; the inverted
# net's weights stay half of the paper's, and its outputs the same:

# %%
lr, w_paper, w_inverted = 0.1, w.copy(), w / 2
for _ in range(2):
    z_paper, z_inverted = paper @ w_paper.T, inverted @ w_inverted.T
    assert np.allclose(z_paper, z_inverted)
    w_paper -= lr * ops.linear_backward(z_paper - dz, paper, w_paper)[1]         # the gradient of a squared error
    w_inverted -= lr / 4 * ops.linear_backward(z_inverted - dz, inverted, w_inverted)[1]
assert np.allclose(w_inverted, w_paper / 2)

# %% [markdown]
# ## Where
#
# The paper's section 4.2 speaks of "each hidden neuron", and the notes of the hidden layers (隐藏层). It is the first
# two fully connected layers only. Each recipe says so itself, and which convention it has:

# %%
for recipe in tinynet.RECIPES:
    rows = tinynet.RECIPES[recipe].layers(1000)
    places = [(rows[i - 1].name, "inverted" if row.inverted else "paper's") for i, row in enumerate(rows)
              if isinstance(row, layers.Dropout)]
    print(f"{recipe:<10}", places)
    if recipe != "owt":
        assert [place for place, _ in places] == ["relu6", "relu7"]

# %% [markdown]
# (`owt`, torchvision's net, drops the *inputs* of fc6 and fc7.) There are the parameters: fc6 and fc7 have nine tenths
# of them (lesson 13), and it is there that units can co-adapt (互适应): rely on one another to be right together. A
# unit that may be alone at any moment has to be useful by itself.
#
# The price, says the paper, is about twice as many iterations to converge. Lesson 14 trains with and without, and
# lesson 16 shows what four runs of each could tell.
#
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/11_dropout.py).
#
# **1.** Forward in training: `speaks` are the coins, True or False, one a unit; `keep` the probability of True;
# `inverted` which convention.

# %%
import numpy as np

from tinynet import exercises


def drop(x, speaks, keep, inverted):
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


def drop_gradient(dy, speaks, keep, inverted):
    ...


exercises.check_drop_gradient(drop_gradient)

# %% [markdown]
# ## What to remember
#
# - A mask of coins, one a unit and picture; forward and backward multiply by it.
# - At test multiply by keep (the paper) or by nothing (inverted: then training divides by keep).
# - Halving is exactly the geometric mean of all 2^n networks where one softmax layer follows.
# - The conventions differ by 2 in the scale of the next layer, and by 4 in its learning rate.
