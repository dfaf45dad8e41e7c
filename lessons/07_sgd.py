# %% [markdown]
# # 08 · Stochastic gradient descent (随机梯度下降, SGD)
#
# *40 minutes. Before it: 08, where gradients come from. Beside it: the paper, section 5, `tinynet/reference/sgd.py`.*
#
# After this lesson you can take a step of the paper's by hand, say what momentum (动量) and weight decay (权重衰减) do
# to it, explain why a loss may jump up just after the rate was cut, and see before training whether a network will
# start to learn at all.
#
# **In a sentence:** go a little way down the gradient of a few pictures, keep nine tenths of the last step's speed,
# and let every weight shrink a little.

# %%
import inspect
from itertools import pairwise

import numpy as np

import tinynet
from tinynet import data, exercises, figures, init, layers, ops, reference
from tinynet.data.embedded import EmbeddedSource
from tinynet.runs import StallHint

rng = np.random.default_rng(0)

# %% [markdown]
# ## A step, by hand
#
# The paper's rule, with the velocity (速度) v beside each weight w:
#
# $$v \leftarrow 0.9\, v - 0.0005 \cdot \mathrm{lr} \cdot w - \mathrm{lr} \cdot \mathrm{d}w, \qquad w \leftarrow w + v$$
#
# (The paper writes a capital L that section 3.5 maximises and section 5 goes down; read it as the loss, which is to
# become small.) One weight, w = 1, and the loss L = w², so that dw = 2w. With lr = 0.1, and a decay of 0.5 instead of
# 0.0005, so that it shows:

# %%
lr, momentum, weight_decay = 0.1, 0.9, 0.5

v1 = 0.9 * 0.00 - 0.5 * 0.1 * 1.00 - 0.1 * 2.0             # no speed yet; the decay; the gradient
w1 = 1.00 + v1
assert np.isclose(v1, -0.25) and np.isclose(w1, 0.75)

v2 = 0.9 * -0.25 - 0.5 * 0.1 * 0.75 - 0.1 * 1.5            # the decay looks at 0.75, the w from before the step
w2 = 0.75 + v2
assert np.isclose(v2, -0.4125) and np.isclose(w2, 0.3375)

w, v, rows = np.ones(1), np.zeros(1), []
for _ in range(6):
    parts = momentum * v, -weight_decay * lr * w, -lr * 2 * w
    before, (w, v) = w, ops.sgd_step(w, v, 2 * w, lr, momentum, weight_decay)
    rows.append(np.concatenate([*parts, v, w]))
    assert np.isclose(v, sum(parts)) and np.isclose(w, before + v)
rows = np.array(rows)
assert np.allclose(rows[:2, 3:], [[v1, w1], [v2, w2]])

figures.draw_numbers({"momentum * v": rows[:, :1], "- decay * lr * w": rows[:, 1:2], "- lr * dw": rows[:, 2:3],
                      "v": rows[:, 3:4], "new w": rows[:, 4:]}, signs=["+", "+", "=", "->"])

# %% [markdown]
# A row is a step. The weight runs past the minimum at 0 and turns round: a velocity does not stop at once. The same as
# a program, index by index and on whole arrays. The order of the lines is the order above: the decay is taken off
# before w moves.

# %%
print(inspect.getsource(reference.sgd.sgd_step_))
print(inspect.getsource(ops.sgd.sgd_step_))
six = np.arange(6.0).reshape(2, 3)
for one, other in zip(reference.sgd_step(six, six / 10, six - 2, lr, momentum, weight_decay),
                      ops.sgd_step(six, six / 10, six - 2, lr, momentum, weight_decay)):
    assert np.allclose(one, other, rtol=1e-12)

# %% [markdown]
# ## Stochastic: a few pictures instead of all
#
# The loss of a data set is the mean over its pictures, and so is its gradient. A step looks at one batch only (the
# paper's has 128 pictures): at an **estimate**. It is right on average. Here is the gradient of 640 pictures, for the
# smallest network there is, and those of its ten batches of 64:

# %%
split = EmbeddedSource(16, quiet=True, counts=(640, 0)).train
pictures, _ = split.read(np.arange(640))
x = ((pictures - pictures.mean(axis=0)) / 60).astype(np.float32)  # (640, 3, 16, 16), numbers around 1
order = rng.permutation(640)
x, labels = x[order], split.labels[order]

net = tinynet.Sequential([layers.Flatten("flatten"), layers.Linear("fc", 10)], (3, 16, 16), rng)
loss = tinynet.SoftmaxCrossEntropy()


def gradient(some):
    loss.forward(net.forward(x[some]), labels[some])
    net.backward(loss.backward())
    return net["fc"].grads["w"]                            # (10, 768)


whole = gradient(slice(None))
tenths = [gradient(slice(start, start + 64)) for start in range(0, 640, 64)]
assert np.allclose(np.mean(tenths, axis=0), whole, atol=1e-6)

figures.draw_maps([whole[5].reshape(3, 16, 16)[0], tenths[0][5].reshape(3, 16, 16)[0],
                   tenths[1][5].reshape(3, 16, 16)[0]],
                  ["dw of 640 pictures", "of the first batch", "of the second batch"], weights=True)

# %% [markdown]
# (Shown are the weights between the red pixels and the class "ring".) How far off is a batch? Four times as many
# pictures make the estimate about twice as good, and cost four times as much: the square root is why batches are kept
# small.

# %%
sizes = [4, 16, 64]
errors = [np.mean([abs(gradient(rng.choice(640, size, replace=False)) - whole).mean() for _ in range(30)])
          for size in sizes]
ratios = [more / less for more, less in pairwise(errors)]
assert all(1.6 < ratio < 2.6 for ratio in ratios), ratios

names = [str(size) for size in sizes]
figures.draw_lines({"": {"error of the gradient": (names, np.divide(errors, errors[0])),
                         "1 / square root": (names, (np.array(sizes) / 4)**-0.5)}},
                   xlabel="pictures in the batch", ylabel="as a share of that with 4")

# %% [markdown]
# ## Momentum: a narrow valley
#
# L = (a² + 50 b²) / 2 is a valley, fifty times as steep across as along. Without momentum the rate must be small enough
# for the steep direction (below 2/50, or the weight is thrown out further each time), and then the flat one creeps:

# %%
steep = np.array([1.0, 50.0])


def descend(lr, momentum, steps=100):
    w, v = np.array([-10.0, 2.0]), np.zeros(2)
    path = [w]
    for _ in range(steps):
        w, v = ops.sgd_step(w, v, steep * w, lr, momentum, 0.0)
        path.append(w)
    return np.array(path)                                  # (steps + 1, 2)


def height(path):
    return (steep * path**2).sum(axis=-1) / 2


paths = {"no momentum": descend(0.01, 0.0), "momentum 0.9": descend(0.01, 0.9)}
creeping, running = (height(path)[-1] for path in paths.values())
assert running < creeping / 50
assert height(descend(0.039, 0.0))[-1] < height(descend(0.041, 0.0))[0] < height(descend(0.041, 0.0))[-1]

a, b = np.meshgrid(np.linspace(-11, 5, 80), np.linspace(-2.4, 2.4, 60))
figures.draw_lines({name: {name: tuple(path.T)} for name, path in paths.items()}, xlabel="a", ylabel="b",
                   ground=(a, b, (a**2 + 50 * b**2) / 2))

# %% [markdown]
# Both have the same rate and a hundred steps. Across the valley, gradients change their sign and cancel in v; along
# it, they add up. Where the gradient stays the same, the steps grow until what momentum loses, a tenth, is what the
# gradient adds: **ten times** lr * dw.

# %%
w, v = np.zeros(1), np.zeros(1)
for _ in range(200):
    w, v = ops.sgd_step(w, v, np.ones(1), lr=0.01, momentum=0.9, weight_decay=0.0)
assert np.isclose(v[0], -10 * 0.01)

# %% [markdown]
# ## The same rule? Caffe and PyTorch
#
# Caffe keeps h = -v, and writes the same rule with other signs. PyTorch leaves the rate out of what it remembers, and
# multiplies by it at the end:
#
# $$\text{Caffe: } h \leftarrow 0.9\,h + \mathrm{lr}\,(\mathrm{d}w + \text{decay} \cdot w),\quad w \leftarrow w - h
# \qquad
# \text{PyTorch: } b \leftarrow 0.9\,b + (\mathrm{d}w + \text{decay} \cdot w),\quad w \leftarrow w - \mathrm{lr}\,b$$
#
# As long as lr stays the same, all three go the same way. At a cut by 10, PyTorch's next step is ten times smaller at
# once, since lr * b is; the paper's v was built with the old rate, and rolls on.

# %%
def paper(w, v, dw, lr):
    return ops.sgd_step(w, v, dw, lr, 0.9, 0.0005)


def caffe(w, h, dw, lr):
    h = 0.9 * h + lr * (dw + 0.0005 * w)
    return w - h, h


def pytorch(w, b, dw, lr):
    b = 0.9 * b + (dw + 0.0005 * w)
    return w - lr * b, b


def walk(rule, cut, steps=60, lr=0.02):
    w, memory = np.array([-10.0]), np.zeros(1)
    path = [w[0]]
    for t in range(steps):
        w, memory = rule(w, memory, w, lr if t < cut else lr / 10)  # L = w² / 2, so dw = w
        path.append(w[0])
    return np.array(path)


unbroken = [walk(rule, cut=60) for rule in (paper, caffe, pytorch)]
assert np.allclose(unbroken[0], unbroken[1]) and np.allclose(unbroken[0], unbroken[2])
cut = {rule.__name__: walk(rule, cut=12) for rule in (paper, caffe, pytorch)}
assert np.allclose(cut["paper"], cut["caffe"])
assert np.allclose(cut["paper"][:13], cut["pytorch"][:13]) and not np.allclose(cut["paper"], cut["pytorch"])
steps_after = {name: path[13] - path[12] for name, path in cut.items()}
assert steps_after["paper"] > 5 * steps_after["pytorch"] > 0

figures.draw_lines({"": {"paper, Caffe": cut["paper"], "PyTorch": cut["pytorch"]}}, xlabel="step", ylabel="w",
                   drops=[12])

# %% [markdown]
# ### The loss jumps right after a rate cut
#
# It rolls past the minimum, and comes back late. In training that looks like a fault: batches are noisy, so each v is
# noisy, too. At the old rate, gradients held it back; cut the rate, and for ten steps or so the old velocities roll on
# with little to hold them. A weight in a bowl, its gradient with noise, the mean of 2,000 runs, the rate cut by 10
# after 100 steps:

# %%
def noisy(rule, cut=100, steps=200, lr=0.1, runs=2000, seed=0):
    rng = np.random.default_rng(seed)
    w, memory = rng.standard_normal(runs), np.zeros(runs)
    heights = []
    for t in range(steps):
        w, memory = rule(w, memory, w + rng.standard_normal(runs), lr if t < cut else lr / 10)
        heights.append((w**2).mean() / 2)
    return np.array(heights)


for seed in range(3):
    of_paper, of_pytorch = noisy(paper, seed=seed), noisy(pytorch, seed=seed)
    before = of_paper[80:100].mean()
    assert of_paper[100:130].max() > 2 * before            # up first
    assert of_pytorch[100:130].max() < 1.3 * before        # not so there
    assert of_paper[-20:].mean() < before / 4 and of_pytorch[-20:].mean() < before / 4  # and then down, in both

figures.draw_lines({"": {"paper, Caffe": of_paper, "PyTorch": of_pytorch}}, xlabel="step", ylabel="loss, mean of 2,000",
                   drops=[100])

# %% [markdown]
# So a jump of a dozen steps after a cut belongs to the paper's form and is no reason to stop a run; one that stays is.

# %% [markdown]
# ## Weight decay
#
# With no gradient at all, what is left of the rule? Each step takes 0.0005 * lr of the weight away, and momentum
# makes that ten times as much. At lr = 0.01 a weight that nobody needs is halved in about 14,000 steps, a pass and a
# half over ImageNet's 10,009 batches:

# %%
w, v = np.ones(1), np.zeros(1)
halved = 0
while w[0] > 0.5:
    w, v = ops.sgd_step(w, v, np.zeros(1), lr=0.01, momentum=0.9, weight_decay=0.0005)
    halved += 1
assert 13_800 < halved < 13_950
assert np.isclose(np.log(2) / (10 * 0.01 * 0.0005), 13_863, rtol=1e-4)

# %% [markdown]
# A weight that the loss does need stays. It comes to rest where the two pulls cancel: with L = c (w - 1)² / 2, where
# c (w - 1) + decay * w = 0, that is at w = c / (c + decay). The larger c, the more it matters, the nearer to 1. To
# see it, a decay of 0.05:

# %%
c = np.array([1.0, 0.05, 0.0])                             # matters, matters little, does not matter
w, v, path = np.ones(3), np.zeros(3), []
for _ in range(600):
    w, v = ops.sgd_step(w, v, c * (w - 1), lr=0.02, momentum=0.9, weight_decay=0.05)
    path.append(w)
path = np.array(path)
assert np.allclose(w[:2], (c / (c + 0.05))[:2], atol=2e-3) and w[2] < 0.01

figures.draw_lines({"": {f"c = {number:g}": path[:, i] for i, number in enumerate(c)}}, xlabel="step", ylabel="w")

# %% [markdown]
# With the paper's 0.0005 that is a gentle pull, and the paper says it is more than regularisation (正则化): it made the
# **training** error smaller, too.

# %% [markdown]
# ## Biases
#
# "Equal for all layers", says the paper of the rate, and 学习率在每一层都相同 the notes. In the authors' program biases
# learn twice as fast (epsB = 0.02) and never decay; Caffe took both over. Our recipes say so in each row, and SGD
# multiplies:

# %%
for recipe in ("paper", "code-2012", "caffe"):
    conv2 = next(row for row in tinynet.RECIPES[recipe].layers(1000) if row.name == "conv2")
    print(f"{recipe:<10} bias rate x {conv2.lr_mult['b']}, bias decay x {conv2.decay_mult['b']}")
    assert (conv2.lr_mult["b"], conv2.decay_mult["b"]) == ((1, 1) if recipe == "paper" else (2, 0))

small = tinynet.Sequential([layers.Linear("fc", 1, std=0, bias=1, bias_lr=2, bias_decay=0)], (1,), rng, "float64")
small["fc"].params["w"][:] = 1
sgd = tinynet.SGD(small, lr=0.1, momentum=0.9, weight_decay=0.5)
assert (sgd.lr_mult, sgd.decay_mult) == ({"fc.b": 2}, {"fc.w": 1, "fc.b": 0})
small["fc"].grads = {"w": np.array([[2.0]]), "b": np.array([2.0])}
sgd.step()
assert np.isclose(small["fc"].params["w"], 1 - 0.5 * 0.1 * 1 - 0.1 * 2)  # the hand-made step from above
assert np.isclose(small["fc"].params["b"], 1 - 0.2 * 2)    # twice the rate, no decay

# %% [markdown]
# A rate of 0 freezes a parameter whole, decay included, as in the program of 2012, whose conv1 stood still from the
# 72nd pass on:

# %%
sgd.lr_mult["fc.w"] = 0
frozen = small["fc"].params["w"].copy()
sgd.step()
assert (small["fc"].params["w"] == frozen).all()

# %% [markdown]
# ## Initial weights
#
# "Zero-mean Gaussian with standard deviation 0.01". The notes write N(0, 0.01), and as the second number is by custom
# the **variance** (方差), this would be ten times too wide: the standard deviation (标准差) is 0.01, the variance
# 0.0001.

# %%
right = init.gaussian(rng, (384, 192, 3, 3), std=0.01, dtype="float64")
wrong = init.gaussian(rng, (384, 192, 3, 3), std=0.01**0.5, dtype="float64")
assert np.isclose(right.std(), 0.01, rtol=0.01) and np.isclose(right.var(), 1e-4, rtol=0.01)
assert np.isclose(wrong.std(), 0.1, rtol=0.01) and np.isclose(wrong.var(), 0.01, rtol=0.01)

edges = np.linspace(-0.25, 0.25, 101)
middles = (edges[1:] + edges[:-1]) / 2
counts = [np.histogram(w, edges, density=True)[0] for w in (right, wrong)]
figures.draw_lines({"": {"std 0.01": (middles, counts[0]), "variance 0.01": (middles, counts[1])}},
                   xlabel="weight of conv4", ylabel="density")

# %% [markdown]
# ## Will it start to learn?
#
# A fresh network must tell pictures apart, or the gradients of different classes cancel. So ask of each unit: how much
# does it vary **between pictures**, as a share of its mean? Twelve crops of the photo and a picture each of ten drawn
# classes, through fresh AlexNets:

# %%
photo = data.load_picture(figures.PHOTO, 600)
crops = [photo[:, top:top + 227, left:left + 227] for top, left in rng.integers(0, 373, (12, 2))]
drawn = EmbeddedSource(227, quiet=True, counts=(10, 0)).train.read(np.arange(10))[0]
shown = np.stack([*crops, *drawn])                         # (22, 3, 227, 227)
x227 = shown - shown.mean(axis=(0, 2, 3), keepdims=True, dtype=np.float32)

figures.draw_pictures([picture[:, ::3, ::3] for picture in (crops[0], drawn[5], drawn[8])])

# %%
names = ["relu1", "relu2", "relu3", "relu4", "relu5", "relu6", "relu7"]


def signals(recipe, seed=0):
    net = tinynet.AlexNet(recipe, 1000, rng=np.random.default_rng(seed))
    net.eval()
    found, x = {}, x227[..., :net.in_shape[1], :net.in_shape[2]]
    for layer in net.layers:
        x = layer.forward(x)
        found[layer.name] = x.std(axis=0).mean() / x.mean(axis=0).mean()
    return np.array([found[name] for name in names])


signal = {recipe: signals(recipe) for recipe in ("paper", "code-2012", "caffe")}
assert signal["paper"][-1] < 0.03                          # at relu7 pictures differ by a hundredth of what they share
assert signal["code-2012"][-1] > 5 * signal["paper"][-1]
assert signal["caffe"][-1] > 3 * signal["paper"][-1]

figures.draw_lines({"": {recipe: (names, numbers) for recipe, numbers in signal.items()}},
                   ylabel="spread between pictures / mean", log="y")

# %% [markdown]
# They part at relu4. With weights of std 0.01 conv4's sums are small, and its bias of 1, meant to give the ReLUs
# "positive inputs" at the start, drowns them: every picture looks like the constant 1, and each layer above adds its
# own. The authors' program has 0.03 in conv3, conv4 and conv5, which the paper does not mention; Caffe has biases of
# 0.1, and says why: with 1 the loss stayed flat.

# %%
for recipe in signal:
    rows = {row.name: row for row in tinynet.RECIPES[recipe].layers(1000)}
    print(f"{recipe:<10}", [f"{name}: std {rows[name].std:g}, bias {rows[name].bias:g}"
                            for name in ("conv3", "conv4", "conv5", "fc6", "fc7")])

# %% [markdown]
# ### A stall, and what notices it
#
# Full-size training is beyond a lesson, so here is a narrow network of six layers. What counts is not the std alone but
# std * sqrt(inputs): how much louder a layer's sums are than its input. conv4 has 1,728 inputs:

# %%
assert round(0.01 * 1728**0.5, 2) == 0.42 and round(0.03 * 1728**0.5, 2) == 1.25


def six_layers(loudness, bias, seed):
    rows = [layers.Flatten("flatten")]
    for i in range(6):
        inputs = 128 if i else 768
        rows += [layers.Linear(f"fc{i + 1}", 128, std=loudness / inputs**0.5, bias=bias), layers.ReLU(f"relu{i + 1}")]
    return tinynet.Sequential([*rows, layers.Linear("fc7", 10, std=0.01)], (3, 16, 16), np.random.default_rng(seed))


def losses_of(net, hint, steps=250, seed=0):
    rng, sgd = np.random.default_rng(seed), tinynet.SGD(net, lr=0.01)
    values, said = [], None
    for _ in range(steps):
        some = rng.choice(640, 64, replace=False)
        values.append(float(loss.forward(net.forward(x[some]), labels[some])))
        net.backward(loss.backward())
        sgd.step()
        said = said or hint.update(values[-1])
    return np.array(values), said


stalled, said = losses_of(six_layers(0.42, 1, seed=0), StallHint(10, patience=50))
learning, silent = losses_of(six_layers(1.25, 1, seed=0), StallHint(10, patience=50))
assert stalled[-50:].mean() > 2.25 and learning[-50:].mean() < 1
assert said and silent is None
print(said)

figures.draw_lines({"": {"0.42, as with std 0.01": stalled, "1.25, as with std 0.03": learning,
                         "ln 10: guessing": np.full(250, np.log(10))}}, xlabel="step", ylabel="loss")

# %% [markdown]
# Same rate, same biases of 1, three times the weights. `StallHint` watches for a loss that sits at ln(classes), which
# is what guessing costs. (A small network is not AlexNet: here all six layers are too quiet, and then biases of 0.1 do
# not help.)

# %%
quiet, _ = losses_of(six_layers(0.42, 0.1, seed=0), StallHint(10))
assert quiet[-50:].mean() > 2.25

# %% [markdown]
# ## When to cut the rate
#
# The notes: 在每次结果不再改变时减小10倍，三次之后终止. Two things are off. What is watched is the **validation
# error**, not "the result". And training does not end with the third cut: three cuts make four levels, from 0.01 to
# 0.00001, and it goes on at the last, to about 90 passes in all. `Plateau` does what the authors did by hand; here
# with errors that never improve:

# %%
schedule = tinynet.Plateau(sgd, patience=3)
sgd.lr = 0.01
rates = [sgd.lr]
for _ in range(20):
    schedule.end_epoch(test_error=0.5)
    rates.append(sgd.lr)
assert np.allclose(sorted(set(np.round(rates, 9))), [1e-5, 1e-4, 1e-3, 1e-2])
assert np.isclose(rates[-1], 1e-5) and rates.count(rates[-1]) > 5  # no fourth cut, and no end

figures.draw_lines({"": {"lr": rates}}, xlabel="pass", ylabel="learning rate", log="y")

# %% [markdown]
# Lesson 14 does it with a real validation error.
#
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/07_sgd.py).
#
# **1.** The new velocity, by the paper's rule. `w`, `v` and `dw` are arrays of one shape; do not change them.

# %%
import numpy as np

from tinynet import exercises


def new_velocity(w, v, dw, lr, momentum, weight_decay):
    ...


exercises.check_new_velocity(new_velocity)

# %% [markdown]
# **2.** PyTorch's rule without decay. From `w`, at rest, take a step for each gradient in `dws` (T, ...), at its own
# rate in `lrs` (T,). The result is the last w.

# %%
import numpy as np

from tinynet import exercises


def pytorch_steps(w, dws, lrs, momentum):
    ...


exercises.check_pytorch_steps(pytorch_steps)

# %% [markdown]
# **3.** The spread between pictures, as a share of the mean, of activations `y` (N, units): the mean of the units'
# standard deviations over the N pictures, divided by the mean of their means.

# %%
import numpy as np

from tinynet import exercises


def signal_between(y):
    ...


exercises.check_signal_between(signal_between)

# %% [markdown]
# ## What to remember
#
# - v <- 0.9 v - 0.0005 lr w - lr dw; w <- w + v. The decay sees the old w, and the rate is inside v.
# - So at a cut of the rate the old velocity rolls on: the loss may jump for a dozen steps. PyTorch's rate is outside.
# - Momentum 0.9 makes steady steps ten times longer. Decay halves what nobody needs.
# - std 0.01 with biases of 1 stalls where pictures differ by 1 % at fc7; the authors had 0.03 in conv3 to conv5.
#
# Read next: [optim.py](../tinynet/optim.py), and beside it [ops/sgd.py](../tinynet/ops/sgd.py).
