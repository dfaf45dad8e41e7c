# %% [markdown]
# # 04 · Fully connected layers (全连接层), softmax and cross-entropy (交叉熵)
#
# *35 minutes. Before it: 03, neurons. Beside it: the paper, section 3.5, `tinynet/reference/linear.py` and
# `softmax.py`.*
#
# After this lesson you can compute the top of AlexNet by hand, from its last hidden layer to the loss, and you know
# where its parameters are, what the loss of a fresh network must be, and why the gradient of a logit is so simple.
#
# **In a sentence:** each unit computes a weighted sum of all inputs; softmax turns the outputs into probabilities; the
# loss is minus the logarithm of the probability of the right class; and its gradient is the probabilities minus the
# truth.

# %%
import inspect
import math

import numpy as np

import tinynet
from tinynet import data, exercises, figures, layers, ops, reference
from tinynet.data.embedded import EmbeddedSource
from tinynet.evaluation import evaluate
from tinynet.trace import Trace, explain

rng = np.random.default_rng(0)

# %% [markdown]
# ## Every unit has a weight for every input
#
# Two units (单元), three inputs: a row of weights for each unit, and a bias. The weights w have the shape (OUT, IN):
#
# $$y_{ni} = \sum_j w_{ij}\, x_{nj} + b_i, \qquad\text{as a product of matrices}\qquad y = x\,w^T + b$$
#
# Outlined is what the first output is made of.

# %%
x = np.array([[1.0, 2, -1]])                               # (N, IN): one picture
w = np.array([[2.0, 0, 1], [1, -1, 3]])                    # (OUT, IN)
b = np.array([1.0, 5])
y = ops.linear_forward(x, w, b)
assert y.tolist() == [[2 + 0 - 1 + 1, 1 - 2 - 3 + 5]] == [[2, 1]]

figures.draw_numbers({"x": x, "w, a row for each unit": w, "b": b[:, None], "y": y},
                     windows={"x": (0, 0, 1, 3), "w, a row for each unit": (0, 0, 1, 3), "b": (0, 0, 1, 1),
                              "y": (0, 0, 1, 1)})

# %% [markdown]
# The first fully connected layer of AlexNet, fc6, has 4,096 units. Its inputs are 256 small maps of 6 x 6 numbers,
# written into one row (展平, flatten).

# %%
assert 256 * 6 * 6 == 9216                                 # the inputs of fc6
print(f"fc6: {4096 * 9216 + 4096:,} parameters")

# %% [markdown]
# ## Where the parameters are
#
# Lesson 01 has shown that a convolution uses each weight in many places. A fully connected layer uses each weight
# once. So AlexNet has most of its work in the convolutions and most of its parameters (参数) above them.
#
# **Predict:** what share of the parameters is in fc6 alone?

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
# fc6 has more than three fifths of the parameters. With these numbers two sentences of the paper can be corrected:
#
# - The introduction says that each convolutional layer has no more than 1 % of the parameters. conv3 has 1.45 % and
#   conv4 1.09 %.
# - Section 3.5 says that the fully connected layers have 4,096 units each. The third one has 1,000, one for each
#   class.

# %%
share = {name: count / parameters for name, (count, _) in table.items()}
print({name: f"{100 * value:.2f} %" for name, value in share.items()})
assert table["fc6"][0] == 37_752_832 and round(share["fc6"], 3) == 0.619
assert [name for name in share if name.startswith("conv") and share[name] > 0.01] == ["conv3", "conv4"]
assert round(100 * share["conv3"], 2) == 1.45 and round(100 * share["conv4"], 2) == 1.09
assert round(sum(share[f"fc{i}"] for i in (6, 7, 8)), 3) == 0.962
assert table["fc8"][0] == 4096 * 1000 + 1000

# %% [markdown]
# ## Softmax, by hand
#
# The last layer gives one number for each class, the logits (未归一化得分), of any size and sign. Softmax turns them into
# probabilities (概率), and the loss looks at the probability of the right class c only:
#
# $$p_c = \frac{e^{z_c}}{\sum_j e^{z_j}}, \qquad L = -\log p_c$$
#
# With logits that are the logarithms of 1, 2 and 5 you can do it in your head:

# %%
logits = np.log([[1.0, 2, 5]])                             # (1, 3): one picture, three classes
labels = np.array([1])                                     # the right class
loss, probs = ops.softmax_cross_entropy_forward(logits, labels)
assert np.allclose(probs, [[1 / 8, 2 / 8, 5 / 8]])
assert np.isclose(loss, -math.log(2 / 8))                  # cross-entropy: -log of what the right class got

figures.draw_numbers({"logits": logits, "exp": np.exp(logits), "probabilities": probs},
                     windows={"logits": (0, 1, 1, 1), "exp": (0, 1, 1, 1), "probabilities": (0, 1, 1, 1)})

# %% [markdown]
# Now a network of ten classes. `explain` shows how one of its probabilities is computed: one exponential, divided by
# the sum of all.

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
# Add 100 to all logits of a picture and nothing changes: exp turns the 100 into a factor, and the factor cancels. For
# two classes the loss depends on one number, the right logit minus the other. The loss is large where the network is
# sure and wrong, almost 0 where it is sure and right, and ln 2 where both probabilities are one half.

# %%
assert np.allclose(ops.softmax_cross_entropy_forward(logits + 100, labels)[1], probs)

lead = np.linspace(-6, 6, 61)
pairs = np.stack([lead, np.zeros(61)], axis=1)             # (61, 2), the right class is 0
losses = np.array([ops.softmax_cross_entropy_forward(pair[None], np.array([0]))[0] for pair in pairs])
assert np.isclose(losses[30], math.log(2)) and 6 < losses[0] < 6.01 and losses[-1] < 0.01

figures.draw_lines({"two classes": {"loss": (lead, losses)}}, "right logit - other logit", "loss (nats)",
                   levels={"ln 2": math.log(2)})

# %% [markdown]
# ## Overflow
#
# In float32, exp(89) is infinite.
#
# **Predict:** what does a program that follows the formula literally give for the logits 100, 95 and 0?

# %%
large = np.array([[100.0, 95, 0]], np.float32)
with np.errstate(over="ignore", invalid="ignore"):
    naive = np.exp(large) / np.exp(large).sum()
loss, probs = ops.softmax_cross_entropy_forward(large, np.array([0]))
print("literally:", naive[0], " largest subtracted:", probs[0].round(4))
assert np.isnan(naive).any()
assert np.isfinite(probs).all() and 0.99 < probs[0, 0] < 1

# %% [markdown]
# It gives infinity / infinity for the logit of 100, which is not a number (nan). Since only differences count, subtract
# the **largest** logit first. Then no exponential is larger than 1.
#
# At the other end, class 2 gets exp(-100), which is 0 or nearly 0 in float32, and -log(0) is infinite. So do not take
# the logarithm of a computed probability. Simplify the formula first (m is the largest logit):
#
# $$-\log p_c = \log \sum_j e^{z_j} - z_c = m + \log \sum_j e^{z_j - m} - z_c$$

# %%
with np.errstate(divide="ignore"):
    assert probs[0, 2] < 1e-40 and -np.log(np.exp(np.float32(-110))) == np.inf
loss, _ = ops.softmax_cross_entropy_forward(large, np.array([2]))
print(f"the loss of label 2: {loss:.3f}")
assert abs(loss - 100.0067) < 0.001                        # 100 + log(1 + exp(-5) + exp(-100))
print(inspect.getsource(ops.softmax_cross_entropy_forward))

# %% [markdown]
# ## The gradient: probabilities minus truth
#
# The loss of one picture with label c, and its derivatives:
#
# $$L = \log \sum_j e^{z_j} - z_c, \qquad
# \frac{\partial}{\partial z_i} \log \sum_j e^{z_j} = \frac{e^{z_i}}{\sum_j e^{z_j}} = p_i, \qquad
# \frac{\partial z_c}{\partial z_i} = [i = c]$$
#
# So the gradient is $p_i - [i = c]$. The loss of a batch is the **mean** over its N pictures, so everything is
# divided by N. With the one-hot (独热) row of the label:
#
# $$\mathrm{d}z = \frac{p - \text{onehot}}{N}$$
#
# Here is the gradient for the three classes above, with label 1. Each logit is also moved a little, to check the
# formula.

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
# The same for a picture in a batch of four. The gradient is negative for the right class, so a step against the
# gradient makes its logit larger. All other logits become smaller, each in proportion to its probability.

# %%
seen = explain(trace, "loss", (3, 3), of="dx")
assert truth[3] == 3 and seen.value < 0                    # negative: a larger logit, a smaller loss
assert np.isclose(seen.value, (trace["loss"].layer.probs[3, 3] - 1) / 4)

figures.draw_explanation(seen)

# %% [markdown]
# **Why divide by N?** So that a learning rate has the same meaning for every batch size. Show each picture twice, and
# dz is halved, but there are twice as many rows: the gradient of the weights stays the same. (The program of 2012
# passes p - onehot on without dividing, and divides where the gradients of the weights are computed. The result is
# the same.)
#
# **Predict:** four pictures, or the same four pictures twice: how do the two gradients of the weights differ?

# %%
def weight_gradient(x, labels):
    out = net.forward(x)
    loss = tinynet.SoftmaxCrossEntropy()
    loss.forward(out, labels)
    net.backward(loss.backward())
    return net["fc"].grads["w"]


once = weight_gradient(pictures[:4], truth[:4])
twice = weight_gradient(np.concatenate([pictures[:4]] * 2), np.concatenate([truth[:4]] * 2))
print("the same gradient:", np.allclose(once, twice))
assert np.allclose(once, twice)

# %% [markdown]
# **The sign.** Section 3.5 of the paper *maximises* the mean logarithm of the right class's probability, J. Section 5
# *subtracts* the derivative of its objective. Both together would make training go the wrong way. Read the L of
# section 5 as the loss, L = -J: climbing J and descending L are the same step.

# %%
def J(z):
    return np.mean(np.log(ops.softmax_cross_entropy_forward(z, labels)[1][0, labels]))


step = 0.1
uphill, downhill = logits + step * -dz, logits - step * dz
print(f"J now {J(logits):.4f}, after a step down L {J(downhill):.4f}, with the wrong sign {J(logits + step * dz):.4f}")
assert np.isclose(J(logits), -loss) and (uphill == downhill).all()
assert J(downhill) > J(logits)                             # the objective grows
assert J(logits + step * dz) < J(logits)                   # the two sections taken literally

# %% [markdown]
# ## The first loss is ln K
#
# A new network with small weights gives each of K classes a probability of about 1 / K, so its loss is ln K: 6.91 for
# 1,000 classes, 2.30 for ten. Look at this number first. A much larger loss means that the logits are too large;
# a smaller one, that labels have leaked into the input. For random logits with standard deviation s the loss grows by
# about $s^2 / 2$ while s is small:

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
# Now two new networks on pixels as in the paper, with weights of standard deviation 0.01 / 64 and 0.01.
#
# **Predict:** what is the first loss of each?

# %%
for std in (0.01 / 64, 0.01):
    fresh = tinynet.Sequential([layers.Flatten("flatten"), layers.Linear("fc", 10, std=std)], (3, 16, 16),
                               np.random.default_rng(0), "float64")
    value = ops.softmax_cross_entropy_forward(fresh.forward(pictures), truth)[0]
    print(f"std {std:.5f}: the first loss is {value:.1f}")
    assert value < 1.02 * math.log(10) if std < 0.001 else value > 2 * math.log(10)

# %% [markdown]
# The logits of the second network are large, so it is sure of a class before it has learned anything, and mostly wrong.
#
# ## Weights are templates
#
# Take one fully connected layer on the pixels, and nothing else. The weights of a class have the shape of a picture,
# and its logit is large where the picture looks like them. What do weights that are 0 become in the first step? At the
# start p is 1/10 for every class. Lesson 05 derives that the gradient of the weights is $\mathrm{d}w = \mathrm{d}z^T
# x$. Here this means: minus the sum of the class's pictures, plus a tenth of the sum of all. The mean was subtracted
# from the pictures, so the second sum is 0, and what remains is the **mean picture of the class** (its green channel is
# drawn):

# %%
fc = net["fc"]
fc.params["w"][:] = 0
dw = weight_gradient(pictures, truth)                      # (10, 768)
class_means = np.stack([pictures[truth == c].mean(axis=0) for c in range(10)])  # (10, 3, 16, 16)
assert np.allclose(dw, -class_means.reshape(10, -1) / 10, atol=1e-3)

figures.draw_maps(-dw.reshape(10, 3, 16, 16)[:, 1], source.class_names, columns=5, weights=True)

# %% [markdown]
# Now take many such steps, each against the gradient. The templates fit the training pictures more and more closely:
# there are 768 weights for each class, and 100 pictures. On a test set the error stays high: the figures have random
# places and colours, and one template for each class cannot fit them all. Convolutions, in later lessons, can.
#
# **Predict:** the test error, if guessing has 90 %.

# %%
loss, scaled = tinynet.SoftmaxCrossEntropy(), pictures / 64
for _ in range(200):                                       # all 1,000 pictures in each step
    loss.forward(net.forward(scaled), truth)
    net.backward(loss.backward())
    for key, gradient in fc.grads.items():
        fc.params[key] -= 0.05 * gradient
test_x = (source.test.read(np.arange(500))[0] - mean).astype(np.float64) / 64
seen_before = evaluate(net, loss, [(scaled, truth)]).top1_error
unseen = evaluate(net, loss, [(test_x, source.test.labels)]).top1_error
print(f"training error {seen_before:.0%}, test error {unseen:.0%}; guessing: 90%")
assert unseen > 0.7 and seen_before < unseen - 0.2

# %% [markdown]
# ## The formulas as programs
#
# Here are the loss and its gradient with a loop for each index, and then the gradient on whole arrays:

# %%
for function in (reference.softmax_cross_entropy_forward, reference.softmax_cross_entropy_backward):
    source = inspect.getsource(function)
    print(source[source.index("    for image in"):])
print(inspect.getsource(ops.softmax_cross_entropy_backward))
by_loops = reference.softmax_cross_entropy_backward(reference.softmax_cross_entropy_forward(logits, labels)[1], labels)
assert np.allclose(by_loops, dz, rtol=1e-12)

# %% [markdown]
# And the fully connected layer:

# %%
source = inspect.getsource(reference.linear_forward)
print(source[source.index("    for image in"):])
print(inspect.getsource(ops.linear_forward))

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
# - A fully connected layer is one product of matrices. fc6 has 62 % of AlexNet's parameters, and all three have 96 %.
# - Softmax: subtract the largest, exp, divide by the sum. Loss: -log p[label], averaged. Gradient: (p - onehot) / N.
# - The first loss of K classes is ln K, or something is wrong.
#
# Next: [05, backpropagation](05_backpropagation.ipynb). Read next:
# [reference/softmax.py](../tinynet/reference/softmax.py) beside [ops/softmax.py](../tinynet/ops/softmax.py).
