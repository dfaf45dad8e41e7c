# %% [markdown]
# # 05 · Backpropagation (反向传播)
#
# *35 minutes. Before it: 03, neurons; 04, fully connected layers and softmax. Beside it: `tinynet/ops/linear.py` and
# `tinynet/network.py`.*
#
# After this lesson you can compute all gradients of a small network by hand, say what each layer receives and what it
# passes on, explain why a layer has to save its input, and say what backward costs.
#
# **In a sentence:** each layer receives the gradient of its output, multiplies it by its own slope, and passes the
# gradient of its input to the layer below; so one walk from the loss to the input gives all gradients.

# %%
import inspect

import numpy as np

import tinynet
from tinynet import exercises, figures, layers, ops, reference
from tinynet.trace import Trace, explain

rng = np.random.default_rng(0)

# %% [markdown]
# ## Two slopes in a row
#
# Lesson 03 had a chain of neurons. Here is a shorter one, with numbers: y = 3 x, then z = y². At x = 2 the first step
# has the slope 3, the second the slope 2 y = 12. The **chain rule** (链式法则) says: slopes in a row are multiplied.
#
# $$\frac{\partial z}{\partial x} = \frac{\partial z}{\partial y} \cdot \frac{\partial y}{\partial x} = 12 \cdot 3 = 36$$
#
# And if x reaches the loss on **two paths**? Then the slopes of the paths are added. With z = y² + 5 x:
#
# **Predict:** what is the slope at x = 2 now?

# %%
def slope(f, x, h=1e-6):
    """The slope of f at x, by stepping a little to both sides."""
    return (f(x + h) - f(x - h)) / (2 * h)


one_path, two_paths = slope(lambda x: (3 * x)**2, 2.0), slope(lambda x: (3 * x)**2 + 5 * x, 2.0)
print(f"one path: {one_path:.4f}, two paths: {two_paths:.4f}")
assert np.isclose(one_path, 12 * 3) and np.isclose(two_paths, 12 * 3 + 5)

# %% [markdown]
# Backpropagation consists of these two rules: **multiply along a path, add over paths**.
#
# ## A network of two layers, forward
#
# The network has two inputs, two hidden units with ReLU, and two classes. In the order of computing:
#
# $$a = x\,w_1^T + b_1, \qquad h = \max(0, a), \qquad z = h\,w_2^T + b_2, \qquad
# p = \mathrm{softmax}(z), \qquad L = -\log p_{\text{label}}$$

# %%
x, label = np.array([[1.0, 2]]), np.array([1])             # (N, IN): one picture of two numbers; its class is 1
w1, b1 = np.array([[1.0, 1], [1, -1]]), np.zeros(2)        # (OUT, IN)
w2, b2 = np.array([[1.0, 2], [0, -1]]), np.zeros(2)


def forward(x, w1, b1, w2, b2):
    a = x @ w1.T + b1
    h = np.maximum(0, a)
    z = h @ w2.T + b2
    L, p = ops.softmax_cross_entropy_forward(z, label)
    return a, h, z, p, L


a, h, z, p, L = forward(x, w1, b1, w2, b2)
print(f"a = {a}, h = {h}, z = {z}, p = {p.round(4)}, L = {L:.4f}")
assert a.tolist() == [[3, -1]] and h.tolist() == [[3, 0]] and z.tolist() == [[3, 0]]
assert np.isclose(L, np.log(1 + np.exp(3)))

figures.draw_numbers({"x": x, "w1": w1, "a": a, "h": h, "w2": w2, "z": z, "p": p})

# %% [markdown]
# The network gives class 0 a probability of 95 %, and it is wrong.
#
# ## Backward: the gradient from above
#
# Write da for dL/da, and so on: **the gradient of the loss with respect to that array**, with the same shape. Each step
# back answers one question: given the gradient of a layer's output (the **upstream gradient**, 上游梯度), what is the
# gradient of its input?
#
# **The loss.** From lesson 04, for one picture:
#
# $$\mathrm{d}z = p - \text{onehot}$$

# %%
dz = p - np.array([[0.0, 1]])
print("dz =", dz.round(4))
assert np.allclose(dz, ops.softmax_cross_entropy_backward(p, label)) and np.isclose(dz.sum(), 0)

# %% [markdown]
# **The second linear layer.** One output is $z_{ni} = \sum_j w_{ij} h_{nj} + b_i$ (n: picture, i: unit, j: input).
# The weight $w_{ij}$ acts on $z_{ni}$ only, with the slope $h_{nj}$, for every picture n. The input $h_{nj}$ acts on
# **all** units i, with the slopes $w_{ij}$. Multiply along a path, add over paths:
#
# $$\mathrm{d}w_{ij} = \sum_n \mathrm{d}z_{ni}\, h_{nj}, \qquad
# \mathrm{d}b_i = \sum_n \mathrm{d}z_{ni}, \qquad
# \mathrm{d}h_{nj} = \sum_i \mathrm{d}z_{ni}\, w_{ij}$$
#
# The same as products of matrices:
#
# $$\mathrm{d}w = \mathrm{d}z^T h, \qquad \mathrm{d}b = \sum_n \mathrm{d}z_n, \qquad \mathrm{d}h = \mathrm{d}z\, w$$
#
# There is no need to remember which matrix is transposed: the shapes leave only one way.
#
# **Predict:** the second hidden unit is silent (h = 0). Which column of dw2 is 0?

# %%
dw2, db2, dh = dz.T @ h, dz.sum(axis=0), dz @ w2
print(f"dw2 =\n{dw2.round(4)}\ndh = {dh.round(4)}")
assert (dw2[:, 1] == 0).all()                              # a silent unit: its outgoing weights get no gradient
assert np.allclose(dh, dz[0, 0] * w2[0] + dz[0, 1] * w2[1])   # two paths for each hidden unit

figures.draw_numbers({"$dz^T$": dz.T, "h": h, "dw2": dw2}, signs=["@", "="])

# %% [markdown]
# **The ReLU.** Slope 1 where the unit is active, 0 where it is silent:
#
# $$\mathrm{d}a = \mathrm{d}h \cdot [h > 0]$$
#
# **The first linear layer** is as the second, with x in place of h:
#
# $$\mathrm{d}w_1 = \mathrm{d}a^T x, \qquad \mathrm{d}b_1 = \sum_n \mathrm{d}a_n, \qquad \mathrm{d}x = \mathrm{d}a\, w_1$$

# %%
da = dh * (h > 0)
dw1, db1, dx = da.T @ x, da.sum(axis=0), da @ w1
print(f"da = {da.round(4)}, dx = {dx.round(4)}\ndw1 =\n{dw1.round(4)}")
assert da[0, 1] == 0 and (dw1[1] == 0).all()               # the silent unit learns nothing from this picture
assert np.allclose(dw1[0], dz[0, 0] * x[0])                # one path: dz0 * w2[0, 0] * 1 * x, and w2[0, 0] = 1

figures.draw_numbers({"dx": dx, "dw1": dw1, "da": da, "dh": dh, "dw2": dw2, "dz": dz})

# %% [markdown]
# Read this figure from the right to the left: the gradient starts at dz and goes down to dx. On the way dw2 and dw1 are
# computed, one number for each weight.
#
# ## The chain rule through the whole network
#
# Here is everything in one line, for the weight from input j to hidden unit k. Each factor is one step back, the loss
# first; the sum is over the two classes i, which are the two paths:
#
# $$\frac{\partial L}{\partial w_{1,kj}} = \sum_i \underbrace{(p_i - \text{onehot}_i)}_{\mathrm{d}z_i}
# \cdot \underbrace{w_{2,ik}}_{\text{layer 2}} \cdot \underbrace{[h_k > 0]}_{\text{ReLU}} \cdot
# \underbrace{x_j}_{\text{layer 1}}$$
#
# The part $\sum_i \mathrm{d}z_i\, w_{2,ik} [h_k > 0]$ is the same for all j. Backpropagation computes it once, calls
# it da, and uses it for every weight of the unit. This is why backpropagation is fast: **nothing is computed twice**.

# %%
by_paths = np.array([[sum(dz[0, i] * w2[i, k] * (h[0, k] > 0) * x[0, j] for i in range(2)) for j in range(2)]
                     for k in range(2)])
print(by_paths.round(4))
assert np.allclose(by_paths, dw1)

# %% [markdown]
# The same rules give the backward step of each kind of node. Three of them explain most of a network:
#
# | forward | backward | in words |
# |---|---|---|
# | $y = a + b$ | $\mathrm{d}a = \mathrm{d}y, \quad \mathrm{d}b = \mathrm{d}y$ | an addition hands its gradient to both |
# | $y = a \cdot b$ | $\mathrm{d}a = \mathrm{d}y \cdot b, \quad \mathrm{d}b = \mathrm{d}y \cdot a$ | a product hands it on times the **other** factor |
# | $y = \max(a, b)$ | $\mathrm{d}a = \mathrm{d}y \cdot [a > b], \quad \mathrm{d}b = \mathrm{d}y \cdot [b > a]$ | a maximum hands it to the larger only |
#
# A bias is added, a weight is a factor, a ReLU is a maximum of x and 0. So large inputs give large gradients of the
# weights, and a silent unit gives none.
#
# Here are both directions as a graph. Forward goes along the top. Backward goes along the bottom (green), and below
# each layer are the gradients of its parameters. "Saves" names the arrays that the layer keeps between forward and
# backward.

# %%
figures.draw_graph([("linear", ["w_1", "b_1"], "x"), ("ReLU", [], "h"), ("linear", ["w_2", "b_2"], "h"),
                    ("softmax, loss", [], "p")], ["x", "a", "h", "z", "L"])

# %% [markdown]
# ## Is it right?
#
# Check a derivation with numbers: move each number a little and look at the loss. Lesson 06 makes a tool of this; a few
# lines are enough here.

# %%
arrays = {"x": x, "w1": w1, "b1": b1, "w2": w2, "b2": b2}
gradients = {"x": dx, "w1": dw1, "b1": db1, "w2": dw2, "b2": db2}
largest = 0.0
for name, array in arrays.items():
    for place in np.ndindex(array.shape):
        before, both = array[place], []
        for h_step in (1e-6, -1e-6):
            array[place] = before + h_step
            both.append(forward(*arrays.values())[-1])
        array[place] = before
        largest = max(largest, abs((both[0] - both[1]) / 2e-6 - gradients[name][place]))
print(sum(a.size for a in arrays.values()), "gradients; all agree to within 10^-8:", largest < 1e-8)
assert largest < 1e-8

# %% [markdown]
# ## What backward needs
#
# Look at the formulas again. What does each step need besides the upstream gradient?
#
# | layer | to compute | it needs | so forward keeps |
# |---|---|---|---|
# | linear | dw | its input | x |
# | linear | dx | its weights | nothing new |
# | ReLU | dx | where the output is positive | y |
# | softmax and cross-entropy | dz | the probabilities and the labels | p, labels |
#
# In the library each layer keeps exactly these arrays between forward and backward, and its functions take them as
# arguments:

# %%
print(inspect.getsource(layers.Linear.forward))
print(inspect.getsource(layers.Linear.backward))
print(inspect.getsource(ops.linear_backward))

# %% [markdown]
# And the three sums from above, with a loop for each index. It visits every product of the forward pass again, and adds
# to the gradients of both factors:

# %%
source = inspect.getsource(reference.linear_backward)
print(source[source.index("    for image in"):])
for one, other in zip(reference.linear_backward(dz, h, w2), (dh, dw2, db2)):
    assert np.allclose(one, other, rtol=1e-12)

# %% [markdown]
# The same network in the library. `backward` walks over the layers from the last to the first:

# %%
print(inspect.getsource(tinynet.Sequential.backward))

net = tinynet.Sequential([layers.Linear("fc1", 2), layers.ReLU("relu1"), layers.Linear("fc2", 2)], (2,), rng, "float64")
for name, array in (("fc1.w", w1), ("fc1.b", b1), ("fc2.w", w2), ("fc2.b", b2)):
    net.named_params()[name][...] = array
loss = tinynet.SoftmaxCrossEntropy()
assert np.isclose(loss.forward(net.forward(x), label), L)
net.backward(loss.backward())
found = {f"{layer.name}.{key}": grad for layer in net.layers for key, grad in layer.grads.items()}
assert all(np.allclose(found[name], mine) for name, mine in
           (("fc1.w", dw1), ("fc1.b", db1), ("fc2.w", dw2), ("fc2.b", db2)))

# %% [markdown]
# The gradient of one weight, for a batch of four pictures: each picture adds a product of dy and x.

# %%
batch, labels = np.array([[1.0, 2], [2, 1], [0, 3], [3, 1]]), np.array([1, 0, 1, 0])
trace = Trace(net, batch, labels).run()
seen = explain(trace, "fc1", (0, 1), of="dw")
assert np.isclose(seen.value, (trace["fc1"].dy[:, 0] * batch[:, 1]).sum())

figures.draw_explanation(seen)

# %% [markdown]
# The saved arrays need memory. It grows with the number of pictures in the batch; the memory of the weights does not.
#
# **Predict:** for a network with 768 inputs, 256 hidden units and 10 classes, and a batch of 128 pictures: which are
# more numbers, the weights or the saved arrays?

# %%
sizes = {"weights and biases": 256 * 768 + 256 + 10 * 256 + 10, "saved: x of fc1": 128 * 768,
         "saved: y of the ReLU, x of fc2": 128 * 256, "saved: probabilities": 128 * 10}
saved = sum(size for name, size in sizes.items() if name.startswith("saved"))
print(f"{sizes['weights and biases']:,} weights and biases; saved for backward: {saved:,} numbers")
assert (sizes["weights and biases"], saved) == (199_434, 132_352)

figures.draw_bars({"numbers": sizes})

# %% [markdown]
# (The y of the ReLU and the x of fc2 are the same array, so it is counted once.)
#
# ## What backward costs
#
# A linear layer takes N * IN * OUT multiplications forward. Backward has two products of the same size, one for dw and
# one for dx. **So backward costs about twice as much as forward**, and a training step three times. The first layer
# needs no dx, because pixels are not learned.
#
# Why from the loss down, and not from the input up? The chain rule is a product of matrices, and the order of the
# multiplications does not change the result. It changes the amount of work. The loss is **one** number: if you start
# there, each step is a row times a matrix. If you start at the input, each step is a matrix times a matrix.
#
# **Predict:** by what factor, for a network with layers of 768, 256, 256 and 10 numbers?

# %%
widths = [768, 256, 256, 10, 1]                            # the last is the loss
jacobians = [rng.standard_normal((OUT, IN)) for IN, OUT in zip(widths, widths[1:])]


def multiply(order):
    """The product of all Jacobians, in this order, and the multiplications that it takes."""
    product, work = jacobians[order[0]], 0
    for at in order[1:]:
        left, right = (product, jacobians[at]) if at < order[0] else (jacobians[at], product)
        work += left.shape[0] * left.shape[1] * right.shape[1]
        product = left @ right
    return product, work


down, work_down = multiply([3, 2, 1, 0])                   # from the loss to the input
up, work_up = multiply([0, 1, 2, 3])
print(f"from the loss down: {work_down:,}; from the input up: {work_up:,}; factor {work_up / work_down:.0f}")
assert np.allclose(down, up) and work_up > 190 * work_down

figures.draw_bars({"multiplications": {"from the loss down": work_down, "from the input up": work_up}})

# %% [markdown]
# Moving each weight a little, as in the check above, is worse still: two forward passes **for each weight**. AlexNet
# has 61 million.
#
# ## What a second layer is good for
#
# No straight line separates points inside a ring from points on it, so one linear layer cannot tell them apart. A
# network of two layers, written with the lines above, can. (Each step moves all weights a little against their
# gradients; this is the subject of lesson 07.)
#
# **Predict:** what share of the points does one layer get wrong?

# %%
angles, classes = rng.uniform(0, 2 * np.pi, 200), np.repeat([0, 1], 100)
radii = np.where(classes == 0, rng.uniform(0, 0.7, 200), rng.uniform(1.1, 1.6, 200))
points = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)   # (200, 2)


def train(hidden, steps=400, lr=0.5):
    """A network of two layers, or of one where hidden is 0; its losses, and the share of points that are wrong."""
    rng, losses = np.random.default_rng(0), []
    v1, c1 = rng.standard_normal((hidden or 2, 2)), np.zeros(hidden or 2)
    v2, c2 = 0.5 * rng.standard_normal((2, hidden or 2)), np.zeros(2)
    for _ in range(steps):
        h = np.maximum(0, points @ v1.T + c1) if hidden else points
        value, p = ops.softmax_cross_entropy_forward(h @ v2.T + c2, classes)
        losses.append(value)
        dz = ops.softmax_cross_entropy_backward(p, classes)
        da = (dz @ v2) * (h > 0)
        v2, c2 = v2 - lr * dz.T @ h, c2 - lr * dz.sum(axis=0)
        if hidden:
            v1, c1 = v1 - lr * da.T @ points, c1 - lr * da.sum(axis=0)
    return np.array(losses), (p.argmax(axis=1) != classes).mean()


curves, wrong = {}, {}
for name, hidden in (("one layer", 0), ("two layers, 16 hidden units", 16)):
    curves[name], wrong[name] = train(hidden)
    print(f"{name}: loss {curves[name][-1]:.2f}, {wrong[name]:.0%} of the points wrong")
assert wrong["one layer"] > 0.3 and wrong["two layers, 16 hidden units"] == 0

figures.draw_lines({"inside the ring or on it": curves}, "step", "loss", levels={"ln 2: guessing": np.log(2)})

# %% [markdown]
# ## Questions
#
# Answer first, then run the cell.
#
# **1.** All weights of both layers are 0 at the start. What are dw1 and dw2? Can the network ever learn?

# %%
z0 = np.zeros((2, 2))
h0 = np.maximum(0, x @ z0.T)
dz0 = ops.softmax_cross_entropy_backward(ops.softmax_cross_entropy_forward(h0 @ z0.T, label)[1], label)
dw2_0, dw1_0 = dz0.T @ h0, ((dz0 @ z0) * (h0 > 0)).T @ x
print("dw2 all 0:", (dw2_0 == 0).all(), " dw1 all 0:", (dw1_0 == 0).all(), " db2:", dz0.sum(axis=0))
assert (dw2_0 == 0).all() and (dw1_0 == 0).all() and (dz0 != 0).all()   # only the last bias learns

# %% [markdown]
# **2.** The same picture twice in a batch, with the loss averaged over the batch: what happens to dw2?

# %%
twice, labels_twice = np.repeat(x, 2, axis=0), np.repeat(label, 2)
h_twice = np.maximum(0, twice @ w1.T + b1)
p_twice = ops.softmax_cross_entropy_forward(h_twice @ w2.T + b2, labels_twice)[1]
dw2_twice = ops.softmax_cross_entropy_backward(p_twice, labels_twice).T @ h_twice
print("unchanged:", np.allclose(dw2_twice, dw2))
assert np.allclose(dw2_twice, dw2)                         # two halves

# %% [markdown]
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/05_backpropagation.py).
#
# **1.** The gradient of the weights w (OUT, IN) of a linear layer $y = x\,w^T + b$, from the upstream gradient `dy`
# (N, OUT) and the input `x` (N, IN).

# %%
import numpy as np

from tinynet import exercises


def gradient_of_weights(dy, x):
    ...


exercises.check_gradient_of_weights(gradient_of_weights)

# %% [markdown]
# **2.** The gradient of the input x of the same layer, from `dy` (N, OUT) and the weights `w` (OUT, IN).

# %%
import numpy as np

from tinynet import exercises


def gradient_of_input(dy, w):
    ...


exercises.check_gradient_of_input(gradient_of_input)

# %% [markdown]
# **3.** Through a whole network: $z = \max(0, x\,w_1^T)\,w_2^T$, without biases. `dz` is the gradient of z. Compute the
# gradient of `w1`.

# %%
import numpy as np

from tinynet import exercises


def gradient_of_first_layer(dz, x, w1, w2):
    ...


exercises.check_gradient_of_first_layer(gradient_of_first_layer)

# %% [markdown]
# ## What to remember
#
# - Multiply along a path, add over paths.
# - Each layer receives the gradient of its output and computes two things: the gradients of its parameters, and the
#   gradient of its input for the layer below.
# - A linear layer: dw = dy^T x, db = sum of dy, dx = dy w. The shapes leave one way.
# - For this it needs arrays of the forward pass, which it saves; that is why training takes so much memory.
# - Backward costs twice as much as forward, whatever the number of weights.
#
# Next: [06, gradient checking](06_gradient_checking.ipynb). Read next: [network.py](../tinynet/network.py) and
# [ops/linear.py](../tinynet/ops/linear.py).
