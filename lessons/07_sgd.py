# %% [markdown]
# # 07 · Stochastic gradient descent (随机梯度下降, SGD)
#
# *40 minutes. Before it: 05, backpropagation. Beside it: the paper, section 5, and
# `tinynet/reference/sgd.py`.*
#
# After this lesson you can compute a step of the paper by hand, say how momentum (动量) and weight decay (权重衰减)
# change it, explain why the loss may jump up just after the rate was cut, and predict whether a network will start to
# learn.
#
# **In a sentence:** compute the gradient of a few pictures, move the weights a little against it, keep nine tenths of
# the last step's velocity, and let each weight shrink a little.

# %%
import inspect
from itertools import pairwise

import numpy as np

import tinynet
from tinynet import data, exercises, figures, init, layers, ops, reference
from tinynet.data.embedded import EmbeddedSource
from tinynet.runs import StallHint
from tinynet.trace import Trace, explain

rng = np.random.default_rng(0)

# %% [markdown]
# ## A step, by hand
#
# Each weight w has a velocity (速度) v. The paper's rule for a step:
#
# $$v \leftarrow 0.9\, v - 0.0005 \cdot \mathrm{lr} \cdot w - \mathrm{lr} \cdot \mathrm{d}w, \qquad w \leftarrow w + v$$
#
# An example with one weight: w = 1 and the loss L = w², so dw = 2 w. The learning rate (lr) is 0.1. The decay is 0.5
# instead of 0.0005, so that its effect can be seen.
#
# **Predict:** will w pass 0?

# %%
lr, momentum, weight_decay = 0.1, 0.9, 0.5

v1 = 0.9 * 0.00 - 0.5 * 0.1 * 1.00 - 0.1 * 2.0             # no velocity yet; the decay; the gradient
w1 = 1.00 + v1
assert np.isclose(v1, -0.25) and np.isclose(w1, 0.75)

v2 = 0.9 * -0.25 - 0.5 * 0.1 * 0.75 - 0.1 * 1.5            # the decay uses 0.75, the w from before the step
w2 = 0.75 + v2
assert np.isclose(v2, -0.4125) and np.isclose(w2, 0.3375)

w, v, rows = np.ones(1), np.zeros(1), []
for _ in range(6):
    parts = momentum * v, -weight_decay * lr * w, -lr * 2 * w
    before, (w, v) = w, ops.sgd_step(w, v, 2 * w, lr, momentum, weight_decay)
    rows.append(np.concatenate([*parts, v, w]))
    assert np.isclose(v, sum(parts)) and np.isclose(w, before + v)
rows = np.array(rows)
print("w after each step:", rows[:, 4].round(3))
assert np.allclose(rows[:2, 3:], [[v1, w1], [v2, w2]])

figures.draw_numbers({"momentum * v": rows[:, :1], "- decay * lr * w": rows[:, 1:2], "- lr * dw": rows[:, 2:3],
                      "v": rows[:, 3:4], "new w": rows[:, 4:]}, signs=["+", "+", "=", "->"])

# %% [markdown]
# Each row is a step. The weight passes the minimum at 0, because the velocity goes on in the same direction for a
# while. Here is the rule as a program, number by number and on whole arrays. The decay uses w as it was before the
# step.

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
# The loss of a data set is the mean of the losses of its pictures, and so is its gradient:
#
# $$\mathrm{d}w = \frac{1}{M} \sum_{m=1}^{M} \mathrm{d}w_m \quad\text{for all M pictures}, \qquad
# \widehat{\mathrm{d}w} = \frac{1}{N} \sum_{n \in \text{batch}} \mathrm{d}w_n \quad\text{for a batch of N}$$
#
# A step uses one batch (128 pictures in the paper). Its gradient is an **estimate**: right on average. Here are the
# gradient of 640 pictures and those of its ten batches of 64, for one fully connected layer:

# %%
split = EmbeddedSource(16, quiet=True, counts=(640, 0)).train
pictures, _ = split.read(np.arange(640))
x = ((pictures - pictures.mean(axis=0)) / 60).astype(np.float32)  # (640, 3, 16, 16), standard deviation about 1
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
# (The figure shows the gradients of the weights from the red pixels to the class "ring".) How large is the error of a
# batch? The error of a mean of N falls with $1 / \sqrt{N}$: four times as many pictures make it half as large, and cost
# four times as much. This is why batches are small.
#
# **Predict:** how many times larger is the error of a batch of 4 than the error of a batch of 64?

# %%
sizes = [4, 16, 64]
errors = [np.mean([abs(gradient(rng.choice(640, size, replace=False)) - whole).mean() for _ in range(30)])
          for size in sizes]
ratios = [large / small for large, small in pairwise(errors)]
print("four times as many pictures, smaller by factors of", ", ".join(f"{ratio:.1f}" for ratio in ratios))
assert all(1.6 < ratio < 2.6 for ratio in ratios)

names = [str(size) for size in sizes]
figures.draw_lines({"the gradient of a batch": {"error of the gradient": (names, np.divide(errors, errors[0])),
                                                "1 / square root": (names, (np.array(sizes) / 4)**-0.5)}},
                   xlabel="pictures in the batch", ylabel="error, divided by that of 4 pictures")

# %% [markdown]
# ## Momentum: a narrow valley
#
# $L = (a^2 + 50\, b^2) / 2$ is a valley, fifty times steeper across than along. Without momentum the rate must be
# below 2 / 50, or b grows with each step; and with such a small rate a moves slowly.
#
# **Predict:** after 100 steps, how much lower does one get with momentum than without it?

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
without, with_momentum = (height(path)[-1] for path in paths.values())
best = height(descend(0.039, 0.0))[-1]
print(f"height after 100 steps: {without:.3f} without momentum, {with_momentum:.6f} with")
print(f"without momentum, at the rate 0.039: {best:.3f}")
assert with_momentum < without / 50 and round(best / with_momentum) == 18
assert best < height(descend(0.041, 0.0))[0] < height(descend(0.041, 0.0))[-1]

a, b = np.meshgrid(np.linspace(-11, 5, 80), np.linspace(-2.4, 2.4, 60))
figures.draw_lines({name: {name: tuple(path.T)} for name, path in paths.items()}, xlabel="a", ylabel="b",
                   ground=(a, b, (a**2 + 50 * b**2) / 2))

# %% [markdown]
# Both have the same rate and a hundred steps. With its best rate, near 0.039, descent without momentum comes to 0.021,
# still 18 times as high. To see what v is, put the rule into itself again and again (without the decay): it is a sum of
# all gradients so far, each older one counting nine tenths as much:
#
# $$v_t = -\mathrm{lr} \left( \mathrm{d}w_t + 0.9\, \mathrm{d}w_{t-1} + 0.9^2\, \mathrm{d}w_{t-2} + \dots \right)$$
#
# Across the valley the gradients change their sign, so they cancel in this sum. Along the valley they have the same
# sign, so they add up. If all gradients are equal, the sum is a geometric series:
#
# $$1 + 0.9 + 0.9^2 + \dots = \frac{1}{1 - 0.9} = 10 \quad\Rightarrow\quad v = -10\, \mathrm{lr} \cdot \mathrm{d}w$$

# %%
w, v = np.zeros(1), np.zeros(1)
for _ in range(200):
    w, v = ops.sgd_step(w, v, np.ones(1), lr=0.01, momentum=0.9, weight_decay=0.0)
print(f"v = {v[0]:.4f}")
assert np.isclose(v[0], -10 * 0.01)

# %% [markdown]
# ## The same rule? Caffe and PyTorch
#
# Caffe stores h = -v and has the same rule with other signs. PyTorch stores a velocity without the rate, and multiplies
# by the rate at the end:
#
# $$\text{Caffe: } h \leftarrow 0.9\,h + \mathrm{lr}\,(\mathrm{d}w + \text{decay} \cdot w),\quad w \leftarrow w - h$$
#
# $$\text{PyTorch: } b \leftarrow 0.9\,b + (\mathrm{d}w + \text{decay} \cdot w),\quad w \leftarrow w - \mathrm{lr}\,b$$
#
# As long as the rate stays the same, all three give the same weights. If the rate is divided by 10, PyTorch's next step
# is ten times smaller at once. The paper's v was computed with the old rate and keeps its size for a while.
#
# **Predict:** if the rate is cut while w moves toward the minimum, which of the two moves past it?

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
print("the step after the cut:", ", ".join(f"{name} {step:.3f}" for name, step in steps_after.items()))
assert steps_after["paper"] > 5 * steps_after["pytorch"] > 0

figures.draw_lines({"one weight, the minimum is at 0": {"paper, Caffe": cut["paper"], "PyTorch": cut["pytorch"]}},
                   xlabel="step", ylabel="w", drops=[12])

# %% [markdown]
# ### The loss jumps right after a rate cut
#
# In training this looks like a fault. Batches are noisy, so the velocities are noisy, too. At the old rate the
# gradients corrected them. After the cut the old velocities go on for about ten steps, and the gradients, multiplied by
# a tenth of the rate, correct them only a little. Here is a weight with the loss w² / 2 and a noisy gradient, the mean
# of 2,000 runs; the rate is divided by 10 after 100 steps.
#
# **Predict:** in which of the two forms does the loss jump?

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
    assert of_paper[100:130].max() > 2 * before            # the loss rises first
    print(f"seed {seed}: highest after the cut, paper {of_paper[100:130].max() / before:.1f} times the loss before, "
          f"PyTorch {of_pytorch[100:130].max() / before:.1f} times")
    assert of_pytorch[100:130].max() < 1.3 * before
    assert of_paper[-20:].mean() < before / 4 and of_pytorch[-20:].mean() < before / 4  # then it falls, in both

figures.draw_lines({"noisy gradients": {"paper, Caffe": of_paper, "PyTorch": of_pytorch}}, xlabel="step",
                   ylabel="loss, mean of 2,000 runs", drops=[100])

# %% [markdown]
# So a jump of a dozen steps after a cut is normal with the paper's rule, and no reason to stop a run. A jump that does
# not go away is a reason.

# %% [markdown]
# ## Weight decay
#
# Where does the decay come from? Add a penalty for large weights to the loss, half the decay times the sum of their
# squares. Its gradient is the decay times the weight, and with this gradient in place of dw the plain rule becomes the
# paper's:
#
# $$L' = L + \frac{\text{decay}}{2} \sum_i w_i^2, \qquad
# \frac{\partial L'}{\partial w_i} = \mathrm{d}w_i + \text{decay} \cdot w_i$$
#
# Without any gradient of the loss itself, each step makes the weight smaller by 0.0005 * lr of itself, and momentum makes this ten times
# as much.
#
# **Predict:** with lr = 0.01, after how many steps is a weight halved that the loss does not need?
#
# $$w_t \approx w_0\, e^{-10 \cdot 0.0005 \cdot \mathrm{lr} \cdot t}, \qquad t_{1/2} = \frac{\ln 2}{10 \cdot 0.0005 \cdot \mathrm{lr}}$$
#
# %%
w, v = np.ones(1), np.zeros(1)
halved = 0
while w[0] > 0.5:
    w, v = ops.sgd_step(w, v, np.zeros(1), lr=0.01, momentum=0.9, weight_decay=0.0005)
    halved += 1
print(f"halved after {halved:,} steps")
assert 13_800 < halved < 13_950
assert np.isclose(np.log(2) / (10 * 0.01 * 0.0005), 13_863, rtol=1e-4)

# %% [markdown]
# This is nearly one and a half epochs (轮) of ImageNet's 10,009 batches. A weight that the loss needs stops moving where
# the gradient and the decay cancel. With L = c (w - 1)² / 2:
#
# $$c\,(w - 1) + \text{decay} \cdot w = 0 \quad\Rightarrow\quad w = \frac{c}{c + \text{decay}}$$
#
# The larger c is, the nearer w stays to 1. Here the decay is 0.05, so that its effect can be seen:

# %%
c = np.array([1.0, 0.05, 0.0])                             # the loss depends on w strongly, a little, not at all
w, v, path = np.ones(3), np.zeros(3), []
for _ in range(600):
    w, v = ops.sgd_step(w, v, c * (w - 1), lr=0.02, momentum=0.9, weight_decay=0.05)
    path.append(w)
path = np.array(path)
print("w:", w.round(3), " c / (c + decay):", (c / (c + 0.05)).round(3))
assert np.allclose(w[:2], (c / (c + 0.05))[:2], atol=2e-3) and w[2] < 0.01

figures.draw_lines({"decay 0.05": {f"c = {number:g}": path[:, i] for i, number in enumerate(c)}},
                   xlabel="step", ylabel="w")

# %% [markdown]
# With the paper's 0.0005 the decay is weak. The paper says that it is more than regularisation (正则化): it made the
# **training** error smaller, too.

# %% [markdown]
# ## Biases
#
# The paper says that the rate was equal for all layers. In the authors' program biases learn twice as fast and have
# no decay; Caffe does the same. In this library each row of a recipe says so, and SGD multiplies:

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
# `explain` shows a step of any parameter of a network, for a trace that knows the optimiser: the three parts, the new
# velocity, and the new weight. Nothing is changed by looking.
#
# **Predict:** the network above has made one step. Which of the three parts is the largest in its next step, if the
# gradient becomes ten times smaller?

# %%
trace = Trace(small, np.ones((1, 1)), dy=np.full((1, 1), 0.2), sgd=sgd).run()
seen = explain(trace, "fc", (0, 0), of="update")
print(seen)
parts = 0.9 * -0.25, -0.5 * 0.1 * 0.75, -0.1 * 0.2         # v was -0.25, w is 0.75, dw is 0.2
assert np.isclose(seen.value, 0.75 + sum(parts)) and min(parts) == parts[0]
assert np.isclose(small["fc"].params["w"], 0.75)           # not updated

# %% [markdown]
# A rate of 0 freezes a parameter completely, decay included, as in the program of 2012. There conv1 was frozen from
# epoch 72 on.

# %%
sgd.lr_mult["fc.w"] = 0
frozen = small["fc"].params["w"].copy()
sgd.step()
print("the weights have not moved:", (small["fc"].params["w"] == frozen).all())
assert (small["fc"].params["w"] == frozen).all()

# %% [markdown]
# ## Initial weights
#
# The paper: "zero-mean Gaussian with standard deviation 0.01". Do not write this as N(0, 0.01): by convention the
# second number of N is the **variance** (方差), and with a variance of 0.01 the weights would be ten times too large. The
# standard deviation (标准差) is 0.01, the variance 0.0001.

# %%
right = init.gaussian(rng, (384, 192, 3, 3), std=0.01, dtype="float64")
wrong = init.gaussian(rng, (384, 192, 3, 3), std=0.01**0.5, dtype="float64")
print(f"std {right.std():.4f}, variance {right.var():.6f}; the other: std {wrong.std():.4f}, variance {wrong.var():.4f}")
assert np.isclose(right.std(), 0.01, rtol=0.01) and np.isclose(right.var(), 1e-4, rtol=0.01)
assert np.isclose(wrong.std(), 0.1, rtol=0.01) and np.isclose(wrong.var(), 0.01, rtol=0.01)

edges = np.linspace(-0.25, 0.25, 101)
middles = (edges[1:] + edges[:-1]) / 2
counts = [np.histogram(w, edges, density=True)[0] for w in (right, wrong)]
figures.draw_lines({"initial weights": {"std 0.01": (middles, counts[0]), "variance 0.01": (middles, counts[1])}},
                   xlabel="weight of conv4", ylabel="density")

# %% [markdown]
# ## Will it start to learn?
#
# The activations of a new network must differ from picture to picture, or the gradients of different classes cancel. So
# measure how much each unit varies **between pictures**, divided by its mean. For N pictures and the activations
# $y_{nu}$ of unit u:
#
# $$\text{signal} = \frac{\operatorname{mean}_u\, \operatorname{std}_n\, y_{nu}}{\operatorname{mean}_u\, \operatorname{mean}_n\, y_{nu}}$$
#
# Twelve crops of the photo and one drawn picture of each class go through new AlexNets. (The layers of AlexNet are
# explained from lesson 08 on. Here it only matters that these networks are untrained.)

# %%
photo = data.load_picture(figures.PHOTO, 600)
crops = [photo[:, top:top + 227, left:left + 227] for top, left in rng.integers(0, 373, (12, 2))]
drawn = EmbeddedSource(227, quiet=True, counts=(10, 0)).train.read(np.arange(10))[0]
shown = np.stack([*crops, *drawn])                         # (22, 3, 227, 227)
x227 = shown - shown.mean(axis=(0, 2, 3), keepdims=True, dtype=np.float32)

figures.draw_pictures([picture[:, ::3, ::3] for picture in (crops[0], drawn[5], drawn[8])],
                      ["a crop of the photo", "a drawn ring", "a drawn star"])

# %% [markdown]
# **Predict:** the recipes `paper`, `code-2012` and `caffe` differ in their initial weights and biases. In which network
# is the signal at relu7 the smallest?

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
print("at relu7:", ", ".join(f"{recipe} {numbers[-1]:.3f}" for recipe, numbers in signal.items()))
assert signal["paper"][-1] < 0.03
assert signal["code-2012"][-1] > 5 * signal["paper"][-1]
assert signal["caffe"][-1] > 3 * signal["paper"][-1]

figures.draw_lines({"untrained networks": {recipe: (names, numbers) for recipe, numbers in signal.items()}},
                   ylabel="signal: spread between pictures / mean", log="y")

# %% [markdown]
# The curves separate at relu4. With weights of standard deviation 0.01 the sums of conv4 are small, and its bias of
# 1, meant to give the ReLUs positive inputs at the start, is much larger: the activations of every picture are nearly
# the constant 1, and each layer above adds its own bias. The authors' program has 0.03 in conv3, conv4 and conv5, which
# the paper does not mention. Caffe has biases of 0.1, and its authors say why: with 1 the loss stayed flat.

# %%
for recipe in signal:
    rows = {row.name: row for row in tinynet.RECIPES[recipe].layers(1000)}
    print(f"{recipe:<10}", [f"{name}: std {rows[name].std:g}, bias {rows[name].bias:g}"
                            for name in ("conv3", "conv4", "conv5", "fc6", "fc7")])

# %% [markdown]
# ### A stall, and a hint that notices it
#
# AlexNet is too slow for a lesson, so here is a narrow network with six hidden layers, all fully connected. What counts
# is not the standard deviation alone. Take a sum of m inputs with independent weights of mean 0 and variance
# $\sigma^2$. The variances of independent terms add up:
#
# $$z = \sum_{j=1}^{m} w_j x_j, \qquad
# \mathbb{E}[z^2] = \sum_{j=1}^{m} \mathbb{E}[w_j^2]\, x_j^2 = m\, \sigma^2 \cdot \frac{1}{m} \sum_{j=1}^{m} x_j^2$$
#
# So the sums are $\sigma \sqrt{m}$ times as large as the inputs (root mean squares). A ReLU sets half of the sums to 0,
# and with them half of the squares. To keep the size from layer to layer, $\sigma = \sqrt{2 / m}$ (lesson 03 has met
# this factor, and lesson 15 uses it). For conv4, which has 1,728 inputs, $\sigma \sqrt{m}$ is 0.42 with a standard
# deviation of 0.01, and 1.25 with 0.03; $\sqrt{2}$ is 1.41.
#
# **Predict:** which of two networks with these numbers learns within 250 steps?

# %%
print(f"std 0.01: {0.01 * 1728**0.5:.2f}, std 0.03: {0.03 * 1728**0.5:.2f}")
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

figures.draw_lines({"six layers, biases of 1": {"0.42, as with std 0.01": stalled, "1.25, as with std 0.03": learning}},
                   xlabel="step", ylabel="loss", levels={"ln 10: guessing": np.log(10)})

# %% [markdown]
# Both have the same rate and the same biases of 1; the second has weights three times as large. `StallHint` looks for a
# loss that stays at ln(classes), the loss of guessing. (This network differs from AlexNet: the weights of all six
# layers are small, and then biases of 0.1 do not help.)

# %%
quiet, _ = losses_of(six_layers(0.42, 0.1, seed=0), StallHint(10))
print(f"loss {quiet[-50:].mean():.2f}")
assert quiet[-50:].mean() > 2.25

# %% [markdown]
# ## When to cut the rate
#
# The paper divides the rate by 10 when the **validation error** (错误率) stops improving, three times in all, and trains
# for about 90 epochs. The authors did it by hand; `Plateau` does it by a rule. Here the errors never improve.
#
# **Predict:** how many different rates will there be in 20 epochs?

# %%
schedule = tinynet.Plateau(sgd, patience=3)
sgd.lr = 0.01
rates = [sgd.lr]
for _ in range(20):
    schedule.end_epoch(test_error=0.5)
    rates.append(sgd.lr)
print("the rates:", sorted(set(np.round(rates, 9).tolist()), reverse=True))
assert np.allclose(sorted(set(np.round(rates, 9))), [1e-5, 1e-4, 1e-3, 1e-2])
assert np.isclose(rates[-1], 1e-5) and rates.count(rates[-1]) > 5  # no fourth cut, and no end

figures.draw_lines({"errors that never improve": {"lr": rates}}, xlabel="epoch", ylabel="learning rate", log="y")

# %% [markdown]
# There are four rates, from 0.01 to 0.00001, and training goes on at the last one. Lesson 14 uses a measured error.
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
# **2.** PyTorch's rule without decay. Start from `w` with no velocity and do one step for each gradient in `dws` (T,
# ...), with its own rate in `lrs` (T,). Return the last w.

# %%
import numpy as np

from tinynet import exercises


def pytorch_steps(w, dws, lrs, momentum):
    ...


exercises.check_pytorch_steps(pytorch_steps)

# %% [markdown]
# **3.** The signal between pictures in activations `y` (N, units): the mean over the units of their standard
# deviations over the N pictures, divided by the mean of their means.

# %%
import numpy as np

from tinynet import exercises


def signal_between(y):
    ...


exercises.check_signal_between(signal_between)

# %% [markdown]
# ## What to remember
#
# - v <- 0.9 v - 0.0005 lr w - lr dw; w <- w + v. The decay uses the old w, and the rate is inside v.
# - So after a cut of the rate the old velocity goes on: the loss may jump for a dozen steps. In PyTorch the rate is
#   outside.
# - Momentum 0.9 makes steps in a constant direction ten times longer. Decay shrinks weights that the loss does not
#   need.
# - Standard deviation 0.01 with biases of 1 stalls, because at relu7 pictures differ by only 1 %. The authors had 0.03
#   in conv3 to conv5.
#
# Next: [08, convolution](08_convolution.ipynb). Read next: [optim.py](../tinynet/optim.py), and beside it
# [ops/sgd.py](../tinynet/ops/sgd.py).
