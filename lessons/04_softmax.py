# %% [markdown]
# # 06 · Fully connected layers (全连接层), softmax and cross-entropy (交叉熵)
#
# *35 minutes. Before it: 08, convolution. Beside it: the paper, section 3.5, `tinynet/reference/linear.py` and
# `softmax.py`.*
#
# After this lesson you can compute the top of AlexNet by hand, from the last maps to the loss and back; you know where
# its parameters are, what the loss of a fresh network must be, and why the gradient of a logit is as simple as it is.
#
# **In a sentence:** every unit weighs all inputs; softmax makes shares of what comes out; the loss is minus the
# logarithm of the share that the right class got; and its gradient is what is believed less what is true.

# %%
import inspect
import math

import numpy as np

import tinynet
from tinynet import data, exercises, figures, layers, ops
from tinynet.data.embedded import EmbeddedSource
from tinynet.evaluation import evaluate
from tinynet.trace import Trace, explain

rng = np.random.default_rng(0)

# %% [markdown]
# ## Every unit weighs every input
#
# Two units (单元), three inputs: a row of weights for each unit, and a bias. The weights are (OUT, IN), the outputs
# y = x w^T + b:

# %%
x = np.array([[1.0, 2, -1]])                               # (N, IN): one picture
w = np.array([[2.0, 0, 1], [1, -1, 3]])                    # (OUT, IN)
b = np.array([1.0, 5])
y = ops.linear_forward(x, w, b)
assert y.tolist() == [[2 + 0 - 1 + 1, 1 - 2 - 3 + 5]] == [[2, 1]]

figures.draw_numbers({"x": x, "w, a row for each unit": w, "y": y}, windows={"w, a row for each unit": (0, 0, 1, 3),
                                                                             "y": (0, 0, 1, 1)})

# %% [markdown]
# It is a convolution whose kernel is as large as the map, so that there is one window only. AlexNet's fc6 could as well
# be called 4,096 kernels of 6 x 6 pixels over 256 maps:

# %%
maps = rng.standard_normal((2, 4, 3, 3))                   # 2 pictures, 4 maps of 3 x 3
weights = rng.standard_normal((5, 4 * 3 * 3))
units = ops.linear_forward(maps.reshape(2, 36), weights, np.zeros(5))
kernels = ops.conv2d_forward(maps, weights.reshape(5, 4, 3, 3), np.zeros(5), stride=1, pad=0, groups=1)
assert kernels.shape == (2, 5, 1, 1) and np.allclose(units, kernels[:, :, 0, 0])
assert 6 * 6 * 256 == 9216                                 # the inputs of fc6

# %% [markdown]
# ## Where the parameters are
#
# A convolution uses a weight in every window, a fully connected layer uses it once. So AlexNet has its work in the
# convolutions and its parameters (参数) above them:

# %%
shape, table = (1, 3, 227, 227), {}
for layer in tinynet.RECIPES["paper"].layers(1000):
    macs, shape = layer.macs(shape), layer.output_shape(shape)
    if macs:                                               # multiply-accumulates: each weight, once in every window
        table[layer.name] = macs // math.prod(shape[2:]) + shape[1], macs
parameters, work = map(sum, zip(*table.values()))
assert parameters == 60_965_224 and work == 724_406_816
for name, (count, macs) in table.items():
    print(f"{name:<6} {count:>11,} parameters {count / parameters:>6.1%} {'#' * round(40 * count / parameters):<26}"
          f"work {macs / work:>5.1%} {'#' * round(40 * macs / work)}".rstrip())

# %% [markdown]
# fc6 alone has more than three fifths of the parameters. Three corrections:
#
# - The paper's introduction, and the notes after it (每一卷积层中的参数量都少于 1%), give each convolutional layer
#   less than 1 % of them. conv3 has 1.45 % and conv4 1.09 %.
# - The paper's section 3.5 says that the fully connected layers have 4,096 units each. The third has 1,000, one for
#   each class.
# - The notes' 60 万 parameters are 6,000 万, 60 million.

# %%
share = {name: count / parameters for name, (count, _) in table.items()}
assert table["fc6"][0] == 37_752_832 and round(share["fc6"], 3) == 0.619
assert [name for name in share if name.startswith("conv") and share[name] > 0.01] == ["conv3", "conv4"]
assert round(100 * share["conv3"], 2) == 1.45 and round(100 * share["conv4"], 2) == 1.09
assert round(sum(share[f"fc{i}"] for i in (6, 7, 8)), 3) == 0.962
assert table["fc8"][0] == 4096 * 1000 + 1000

# %% [markdown]
# ## Softmax, by hand
#
# The last layer puts out a number for each class, the logits (未归一化得分), of any size and sign. Softmax makes
# probabilities (概率) of them: take exp of each, and divide by the sum. With logits that are logarithms of 1, 2 and 5
# it can be done in the head:

# %%
logits = np.log([[1.0, 2, 5]])                             # (1, 3): one picture, three classes
labels = np.array([1])                                     # the right class
loss, probs = ops.softmax_cross_entropy_forward(logits, labels)
assert np.allclose(probs, [[1 / 8, 2 / 8, 5 / 8]])
assert np.isclose(loss, -math.log(2 / 8))                  # cross-entropy: -log of what the right class got

figures.draw_numbers({"logits": logits, "exp": np.exp(logits), "probabilities": probs},
                     windows={"logits": (0, 1, 1, 1), "exp": (0, 1, 1, 1), "probabilities": (0, 1, 1, 1)})

# %% [markdown]
# The network of ten classes that follows makes the logits. `explain` on one probability, a share of all exponentials:

# %%
net = tinynet.Sequential([layers.Flatten("flatten"), layers.Linear("fc", 10, std=0.001)], (3, 16, 16), rng, "float64")
source = EmbeddedSource(16, quiet=True, counts=(1000, 500))
mean = data.compute_statistics(source.train, quiet=True).mean
pictures = (source.train.read(np.arange(1000))[0] - mean).astype(np.float64)  # (1000, 3, 16, 16)
truth = source.train.labels
trace = Trace(net, pictures[:4], truth[:4]).run()
seen = explain(trace, "loss", (3, 7), of="probs")
assert np.isclose(trace["loss"].layer.probs[3].sum(), 1)

figures.draw_explanation(seen)

# %% [markdown]
# ## Only differences count
#
# Add 100 to all logits of a picture and nothing changes: exp makes it a factor, and the factor cancels. For two classes
# the loss depends on one number, by how much the right logit leads. Wrong and sure is expensive, right and sure costs
# next to nothing, undecided costs ln 2:

# %%
assert np.allclose(ops.softmax_cross_entropy_forward(logits + 100, labels)[1], probs)

lead = np.linspace(-6, 6, 61)
pairs = np.stack([lead, np.zeros(61)], axis=1)             # (61, 2), the right class is 0
losses = np.array([ops.softmax_cross_entropy_forward(pair[None], np.array([0]))[0] for pair in pairs])
assert np.isclose(losses[30], math.log(2)) and 6 < losses[0] < 6.01 and losses[-1] < 0.01

figures.draw_lines({"two classes": {"loss": (lead, losses)}}, "lead of the right logit", "loss (nats)",
                   levels={"ln 2": math.log(2)})

# %% [markdown]
# ## exp is not to be trusted
#
# In float32 exp(89) is infinite. So a program that follows the formula to the letter breaks at logits of 89, and
# gives 0 / 0. Since only differences count, take the **largest** off first: then no exp is above 1.

# %%
large = np.array([[100.0, 95, 0]], np.float32)
with np.errstate(over="ignore", invalid="ignore"):
    naive = np.exp(large) / np.exp(large).sum()
assert np.isnan(naive).any()
loss, probs = ops.softmax_cross_entropy_forward(large, np.array([0]))
assert np.isfinite(probs).all() and 0.99 < probs[0, 0] < 1

# %% [markdown]
# The other end: class 2 got exp(-100), less than the smallest float32 number, so 0; and -log(0) is infinite. Do not
# take the logarithm of a probability, then; take it of the formula:
#
# $$-\log p_c = \log \sum_j e^{z_j} - z_c = \text{largest} + \log \sum_j e^{z_j - \text{largest}} - z_c$$

# %%
with np.errstate(divide="ignore"):
    assert probs[0, 2] < 1e-40 and -np.log(np.exp(np.float32(-110))) == np.inf
loss, _ = ops.softmax_cross_entropy_forward(large, np.array([2]))
assert abs(loss - 100.0067) < 0.001                        # 100 + log(1 + exp(-5) + exp(-100))
print(inspect.getsource(ops.softmax_cross_entropy_forward))

# %% [markdown]
# ## The gradient: what is believed less what is true
#
# L = log sum exp z - z[label]. How does the first part change with z[c]? By exp z[c] / sum exp z, which is p[c]. The
# second by 1 if c is the label. And L is the **mean** over N pictures, so everything is divided by N:
#
# $$\mathrm{d}z = \frac{p - \text{onehot}}{N}$$
#
# For the three classes above, with one-hot (独热) label 1:

# %%
loss, probs = ops.softmax_cross_entropy_forward(logits, labels)
dz = ops.softmax_cross_entropy_backward(probs, labels)
assert np.allclose(dz, [[1 / 8, 2 / 8 - 1, 5 / 8]])
assert np.isclose(dz.sum(), 0)                             # what one class gains the others lose

for c in range(3):                                         # nudge each logit, and look
    nudge = np.zeros((1, 3))
    nudge[0, c] = 1e-6
    up, down = (ops.softmax_cross_entropy_forward(logits + sign * nudge, labels)[0] for sign in (1, -1))
    assert np.isclose((up - down) / 2e-6, dz[0, c], atol=1e-8)

figures.draw_numbers({"p": probs, "truth": np.array([[0.0, 1, 0]]), "dz": dz}, signs=["-", "="])

# %% [markdown]
# The same for a picture of the batch of four: the label pulls its logit up, every other class is pushed down by what it
# was given.

# %%
seen = explain(trace, "loss", (3, 3), of="dx")
assert truth[3] == 3 and seen.value < 0                    # negative: a larger logit, a smaller loss
assert np.isclose(seen.value, (trace["loss"].layer.probs[3, 3] - 1) / 4)

figures.draw_explanation(seen)

# %% [markdown]
# **Why divide by N?** So that a learning rate means the same for every batch size. Show each picture twice, and dz is
# halved, but there are twice as many: the gradient of the weights is as before. (The program of 2012 hands p - onehot
# on undivided and divides where weights get their gradients. The result is the same.)

# %%
def weight_gradient(x, labels):
    out = net.forward(x)
    loss = tinynet.SoftmaxCrossEntropy()
    loss.forward(out, labels)
    net.backward(loss.backward())
    return net["fc"].grads["w"]


once = weight_gradient(pictures[:4], truth[:4])
twice = weight_gradient(np.concatenate([pictures[:4]] * 2), np.concatenate([truth[:4]] * 2))
assert np.allclose(once, twice)

# %% [markdown]
# **The sign.** Section 3.5 of the paper *maximises* the mean logarithm of the right class's probability; section 5
# *subtracts* the derivative of its "objective". Taken together, training would make things worse. Read the L of
# section 5 as the loss, the negative: to climb J and to descend L = -J is the same step.

# %%
def J(z):
    return np.mean(np.log(ops.softmax_cross_entropy_forward(z, labels)[1][0, labels]))


step = 0.1
uphill, downhill = logits + step * -dz, logits - step * dz
assert np.isclose(J(logits), -loss) and (uphill == downhill).all()
assert J(downhill) > J(logits)                             # the objective grows
assert J(logits + step * dz) < J(logits)                   # the two sections taken literally

# %% [markdown]
# ## The first loss is ln K
#
# A fresh network with small weights knows nothing, gives each of K classes about 1 / K, and has a loss of ln K: 6.91
# for 1,000 classes, 2.30 for ten. Look at it first: a much larger loss says that the logits are too large, a
# smaller one that labels leak. If logits are random with standard deviation s, about s^2 / 2 is added while s is small:

# %%
assert round(math.log(1000), 2) == 6.91 and round(math.log(10), 2) == 2.30
spreads = np.linspace(0, 1.5, 16)
noise, any_labels = rng.standard_normal((4000, 10)), rng.integers(0, 10, 4000)
first = [ops.softmax_cross_entropy_forward(s * noise, any_labels)[0] for s in spreads]
assert np.isclose(first[0], math.log(10))
assert abs(first[5] - math.log(10) - 0.5**2 / 2) < 0.05    # s = 0.5

figures.draw_lines({"ten classes, random logits": {"loss": (spreads, first),
                                                   "ln 10 + s^2 / 2": (spreads, math.log(10) + spreads**2 / 2)}},
                   "s, standard deviation of the logits", "loss (nats)", levels={"ln 10": math.log(10)})

# %% [markdown]
# A fresh network, pixels as in the paper, weights of 0.01 / 64 and of 0.01: the first is right, the second is sure of
# itself without knowing anything.

# %%
for std in (0.01 / 64, 0.01):
    fresh = tinynet.Sequential([layers.Flatten("flatten"), layers.Linear("fc", 10, std=std)], (3, 16, 16),
                               np.random.default_rng(0), "float64")
    value = ops.softmax_cross_entropy_forward(fresh.forward(pictures), truth)[0]
    print(f"std {std:.5f}: the first loss is {'about ln 10' if value < 1.02 * math.log(10) else 'far above ln 10'}")
    assert value < 1.02 * math.log(10) if std < 0.001 else value > 2 * math.log(10)

# %% [markdown]
# ## Weights are templates
#
# One fully connected layer on the pixels, and nothing else. A class's row of weights has the shape of a picture, and
# its logit is large where the picture looks like it. What does the first step make of weights that are 0? Then p is
# 1/10 for all, and dw = dz^T x says: add the pictures of the class, take off a tenth of all. Since the mean was taken
# off, what remains is the **mean picture of the class** (here its green channel):

# %%
fc = net["fc"]
fc.params["w"][:] = 0
dw = weight_gradient(pictures, truth)                      # (10, 768)
class_means = np.stack([pictures[truth == c].mean(axis=0) for c in range(10)])  # (10, 3, 16, 16)
assert np.allclose(dw, -class_means.reshape(10, -1) / 10, atol=1e-3)

figures.draw_maps(-dw.reshape(10, 3, 16, 16)[:, 1], source.class_names, columns=5, weights=True)

# %% [markdown]
# Train it for a while, and the templates learn the training pictures by heart: there are 768 weights a class and 100
# pictures. On held-out pictures it stays poor. The figures lie anywhere and have any colour, and one template a class
# cannot follow them. That is what the convolutions below are for.

# %%
loss, sgd = tinynet.SoftmaxCrossEntropy(), tinynet.SGD(net, lr=0.05, momentum=0.9, weight_decay=0.01)
scaled = pictures / 64
for _ in range(60):                                        # all 1,000 pictures in each step
    loss.forward(net.forward(scaled), truth)
    net.backward(loss.backward())
    sgd.step()
held_out = (source.test.read(np.arange(500))[0] - mean).astype(np.float64) / 64
seen_before = evaluate(net, loss, [(scaled, truth)]).top1_error
unseen = evaluate(net, loss, [(held_out, source.test.labels)]).top1_error
assert unseen > 0.7 and seen_before < unseen - 0.2         # guessing: 0.9
print("held-out top-1 error: above 70 %, and far above that of the training pictures")

# %% [markdown]
# ## The formula as a program

# %%
print(inspect.getsource(ops.linear_forward))
print(inspect.getsource(ops.linear_backward))
print(inspect.getsource(ops.softmax_cross_entropy_backward))

# %% [markdown]
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/04_softmax.py).
#
# **1.** The probabilities (N, C) of `logits` (N, C), however large these are.

# %%
import numpy as np

from tinynet import exercises


def softmax_rows(logits):
    ...


exercises.check_softmax_rows(softmax_rows)

# %% [markdown]
# **2.** The loss, a mean over the batch, of `logits` (N, C) and `labels` (N,).

# %%
import numpy as np

from tinynet import exercises


def cross_entropy(logits, labels):
    ...


exercises.check_cross_entropy(cross_entropy)

# %% [markdown]
# **3.** Its gradient, with the shape of `logits`.

# %%
import numpy as np

from tinynet import exercises


def softmax_gradient(logits, labels):
    ...


exercises.check_softmax_gradient(softmax_gradient)

# %% [markdown]
# ## What to remember
#
# - A fully connected layer is one matrix product; fc6 has 62 % of AlexNet's parameters, and all three 96 %.
# - Softmax: take the largest off, exp, divide by the sum. Loss: -log p[label], averaged. Gradient: (p - onehot) / N.
# - The first loss of K classes is ln K, or something is wrong.
#
# Read next: [reference/softmax.py](../tinynet/reference/softmax.py) beside [ops/softmax.py](../tinynet/ops/softmax.py).
