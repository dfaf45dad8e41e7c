# %% [markdown]
# # 03 · Neurons (神经元) and what saturates
#
# *30 minutes. Before it: 02, pictures as tensors. Beside it: the paper, section 3.1, and
# `tinynet/reference/activation.py`.*
#
# After this lesson you know what "non-saturating" means and what it does not mean, and you have seen gradients vanish
# and explode, with ReLU too.
#
# **In a sentence:** a neuron multiplies each input by a weight, adds the products and a bias, and applies a function to
# the sum; where this function is flat, nothing is learned.
#
# A neuron with inputs $x_1, x_2, \dots$, weights $w_1, w_2, \dots$ and a bias b computes
#
# $$y = f\Big(\sum_i w_i x_i + b\Big)$$
#
# This lesson is about f.

# %%
import inspect

import numpy as np

import tinynet
from tinynet import data, exercises, figures, layers, ops
from tinynet.trace import Trace, explain

rng = np.random.default_rng(0)
figures.draw_neuron(3)

# %% [markdown]
# ## Three functions
#
# Without an activation function (激活函数), two layers of sums would be one layer of sums. The older activation functions
# are sigmoid (S 型函数) and tanh (双曲正切), which are saturating (饱和). AlexNet uses the ReLU (修正线性单元).
#
# $$\mathrm{sigmoid}(x) = \frac{1}{1 + e^{-x}}, \qquad \tanh(x) = \frac{e^x - e^{-x}}{e^x + e^{-x}}, \qquad
# \mathrm{relu}(x) = \max(0, x)$$
#
# For four sums:

# %%
x = np.array([[-4.0, 0, 1, 4]])
y = {"sigmoid": ops.sigmoid_forward(x), "tanh": ops.tanh_forward(x), "ReLU": ops.relu_forward(x)}
assert np.allclose(y["sigmoid"], 1 / (1 + np.exp(-x))) and y["sigmoid"][0, 1] == 0.5
assert np.allclose(y["tanh"], (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)))
assert (y["ReLU"] == [[0, 0, 1, 4]]).all()

figures.draw_numbers({"x": x, **y})

# %% [markdown]
# Training needs the **slope**: how much y changes when x changes. For the sigmoid, by the chain rule; 1 - y is
# $e^{-x} / (1 + e^{-x})$:
#
# $$y = (1 + e^{-x})^{-1}, \qquad y' = \frac{e^{-x}}{(1 + e^{-x})^2}
# = \frac{1}{1 + e^{-x}} \cdot \frac{e^{-x}}{1 + e^{-x}} = y\,(1 - y)$$
#
# For tanh, by the quotient rule; numerator and denominator are the derivative of each other:
#
# $$y' = \frac{(e^x + e^{-x})^2 - (e^x - e^{-x})^2}{(e^x + e^{-x})^2} = 1 - y^2$$
#
# The ReLU is x or 0, so its slope is 1 or 0:
#
# $$y' = [y > 0]$$
#
# (A bracket of this kind is 1 if what it says is true, and 0 if not.) All three slopes are computed from y alone. So a
# layer keeps its output for the backward pass and can forget its input. A fourth function in the figure, the leaky
# ReLU (带泄漏的 ReLU), has a small slope $a$ below 0 instead of none: $y = x$ for $x > 0$, and $y = a\,x$ otherwise.
#
# **Predict:** what is the largest slope of each function?

# %%
xs = np.linspace(-6, 6, 241)
one = np.ones_like(xs)
functions, slopes = {}, {}
for name in ("ReLU", "tanh", "sigmoid"):
    ys = getattr(ops, f"{name.lower()}_forward")(xs)
    functions[name] = xs, ys
    slopes[name] = xs, getattr(ops, f"{name.lower()}_backward")(one, ys)
functions["leaky ReLU"] = xs, ops.leaky_relu_forward(xs, 0.1)
slopes["leaky ReLU"] = xs, np.where(xs > 0, 1, 0.1)
steepest = {name: float(slope.max()) for name, (_, slope) in slopes.items()}
print("the largest slopes:", steepest)
assert steepest == {"ReLU": 1, "tanh": 1, "sigmoid": 0.25, "leaky ReLU": 1}

shown = {name: (xs[ys <= 2], ys[ys <= 2]) for name, (_, ys) in functions.items()}
figures.draw_lines({"the function, y": shown, "its slope": slopes}, "x", "")

# %% [markdown]
# (The curves of ReLU and leaky ReLU end at 2 here, only to keep the figure small.) Look at the right panel, far from
# 0: the slopes of tanh and sigmoid become 0 on both sides. At x = 5 the slope of tanh is below 0.0002. This is what
# **saturating** means. The ReLU has slope 1 for every positive x, however large: it does not saturate **on its
# positive side**. On the negative side its slope is 0 everywhere.

# %%
tanh5, sigmoid5 = np.tanh(5.0), ops.sigmoid_forward(np.array(5.0))
print(f"slopes at x = 5: tanh {1 - tanh5**2:.5f}, sigmoid {sigmoid5 * (1 - sigmoid5):.4f}, ReLU 1")
assert 1e-4 < 1 - tanh5**2 < 2e-4 and 6e-3 < sigmoid5 * (1 - sigmoid5) < 7e-3
assert ops.relu_backward(np.ones(2), ops.relu_forward(np.array([5.0, -5]))).tolist() == [1, 0]
print(inspect.getsource(ops.tanh_backward))
print(inspect.getsource(ops.sigmoid_backward))
print(inspect.getsource(ops.relu_backward))

# %% [markdown]
# ## Two statements that need care
#
# *"ReLU has no upper or lower limit."* It has no largest value, but it has a **smallest**: 0. Only the leaky ReLU has
# no limit on either side. "Non-saturating" means that at least one side does not become flat.
#
# *"sigmoid gives values in [0, 1], tanh in [-1, 1]."* These are open intervals, (0, 1) and (-1, 1): no x reaches the
# ends. On a computer large x do reach them, by rounding, and then the slope is exactly 0:

# %%
far = np.array([-1e6, 1e6])
print(f"tanh(5) = {np.tanh(5.0):.6f}, tanh(20) = {np.tanh(20.0)}")
assert (ops.relu_forward(far) == [0, 1e6]).all() and (ops.leaky_relu_forward(far, 0.01) == [-1e4, 1e6]).all()
assert np.tanh(5.0) < 1 and np.tanh(20.0) == 1             # 1 - 10^-17 is not a float64
assert ops.tanh_backward(np.ones(1), np.tanh(np.array([20.0]))) == 0

# %% [markdown]
# ## At exactly 0
#
# The ReLU has a kink at 0. On the right the slope is 1, on the left it is 0, and a small step to both sides gives 1/2.
# So a program has to choose a slope. The authors' program of 2012 uses 0 (it asks whether y > 0), and so does this
# library.

# %%
h = 1e-6
assert np.isclose((max(0, h) - max(0, -h)) / (2 * h), 0.5)

net = tinynet.Sequential([layers.ReLU("relu")], (1, 1, 3), rng, "float64")
trace = Trace(net, np.array([[-1.0, 0, 2]]).reshape(1, 1, 1, 3), dy=np.full((1, 1, 1, 3), 5.0)).run()
at_zero = explain(trace, "relu", (0, 0, 0, 1), of="dx")
assert at_zero.value == 0 and trace["relu"].dx.ravel().tolist() == [0, 0, 5]

figures.draw_explanation(at_zero)

# %% [markdown]
# ## Saturated, on a picture
#
# Give neurons the photo, minus its mean as in the paper: pixels between about -128 and 128, not divided by anything.
# Each neuron sees two pixels, to the right and to the left of a place, and has the weights 1 and -1: it detects edges.
#
# **Predict:** for what share of the places is the slope of tanh below 0.1? And if all pixels are divided by 64?

# %%
photo = data.load_picture(figures.PHOTO, 114)
grey = photo.mean(axis=0) - photo.mean()                   # (114, 114), around 0
sums = grey[:, 2:] - grey[:, :-2]                          # (114, 112): one neuron at each place
maps = {"ReLU": ops.relu_forward(sums), "tanh": ops.tanh_forward(sums),
        "tanh, pixels / 64": ops.tanh_forward(sums / 64)}
flat = {name: (ops.tanh_backward(np.ones_like(a), a) < 0.1).mean() for name, a in maps.items() if name != "ReLU"}
for name, share in flat.items():
    print(f"{name}: slope below 0.1 at {share:.0%} of the places")
assert flat["tanh"] > 0.4 and flat["tanh, pixels / 64"] < 0.05   # the share with a slope below 0.1

figures.draw_maps(list(maps.values()), list(maps), share=False)

# %% [markdown]
# tanh of such a sum is often close to -1 or 1. Then it no longer shows how strong an edge is, and the gradient is
# almost 0. The ReLU keeps the strength. With pixels divided by 64, tanh can tell weak edges from strong ones, too.
#
# ## A chain of neurons
#
# Ten neurons in a row, each with one input and a weight w. How much does the last y change if the first x changes? By
# the chain rule each neuron multiplies this by its slope and its weight:
#
# $$\frac{\mathrm{d}y}{\mathrm{d}x} = \prod_{k=1}^{10} w_k\, f'(a_k)$$
#
# The slope of a sigmoid is at most 1/4.
#
# **Predict:** how large is the result for sigmoids with w = 1, and for ReLUs with w = 1, 2 and 0.5? (x = 1.)

# %%
def chain(function, w, x=1.0, length=10):
    """dy/dx after each neuron."""
    gradient, so_far = 1.0, []
    for _ in range(length):
        y = getattr(ops, f"{function}_forward")(np.array(w * x))
        gradient *= w * getattr(ops, f"{function}_backward")(np.array(1.0), y)
        so_far.append(float(gradient))
        x = y
    return so_far


print(f"sigmoid, w = 1: {chain('sigmoid', w=1)[-1]:.0e}; ReLU, w = 2: {chain('relu', w=2)[-1]:.0f}")
assert chain("sigmoid", w=1)[-1] < 0.25**10 < 1e-6         # it vanishes
assert chain("relu", w=1)[-1] == 1                         # it does not
assert chain("relu", w=2)[-1] == 2**10                     # and here it explodes
assert np.isclose(chain("relu", w=0.5)[-1], 0.5**10)       # and here it vanishes, ReLU or not

number = np.arange(1, 11)
figures.draw_lines({"dy/dx of a chain": {"ReLU, w = 1": (number, chain("relu", 1)),
                                         "ReLU, w = 2": (number, chain("relu", 2)),
                                         "ReLU, w = 0.5": (number, chain("relu", 0.5)),
                                         "sigmoid, w = 1": (number, chain("sigmoid", 1))}},
                   "neurons", "dy/dx", log="y")

# %% [markdown]
# Ten sigmoids leave at most $(1/4)^{10}$, less than a millionth.
#
# ## Vanishing and exploding, layer by layer
#
# Now a network: 20 layers of 100 units, random weights, and a random gradient at the top. How large is the gradient
# that arrives below each layer (梯度消失, vanishing; 梯度爆炸, exploding)? First all three functions, with weights of
# standard deviation $1/\sqrt{100}$, which keep a sum as large as its inputs. Then only the ReLU, with larger weights.
#
# **Predict:** will the gradient of the ReLU network vanish?

# %%
def gradient_sizes(Kind, gain, depth=20, units=100):
    """The root mean square of the gradient below each layer, against that at the top; from the bottom up."""
    rng = np.random.default_rng(1)
    rows = [layers.Flatten("flatten")]
    for number in range(1, depth + 1):
        rows += [layers.Linear(f"fc{number}", units, std=gain / units**0.5), Kind(f"act{number}")]
    net = tinynet.Sequential(rows, (units, 1, 1), rng, "float64")
    dy = rng.standard_normal((50, units))
    trace = Trace(net, rng.standard_normal((50, units, 1, 1)), dy=dy).run()
    return np.array([np.sqrt((trace[f"fc{number}"].dx**2).mean() / (dy**2).mean()) for number in range(1, depth + 1)])


depth = np.arange(1, 21)
kinds = {"ReLU": layers.ReLU, "tanh": layers.Tanh, "sigmoid": layers.Sigmoid}
same_weights = {name: gradient_sizes(Kind, 1) for name, Kind in kinds.items()}
relus = {f"ReLU, weights {text}": gradient_sizes(layers.ReLU, gain)
         for text, gain in (("* 1.41", 2**0.5), ("* 2.8", 8**0.5), ("* 1", 1.0))}
bottom = {name: size[0] for name, size in (same_weights | relus).items()}
for name, size in bottom.items():
    print(f"{name:<22} the gradient below the first layer: {size:.0e}")
assert bottom["sigmoid"] < 1e-10                           # a quarter at best, twenty times
assert 1e-2 < bottom["tanh"] < 1                           # it shrinks, slowly
assert 1e-4 < bottom["ReLU"] < 1e-2                        # half of the units are off: sqrt(1/2), twenty times
assert 0.2 < bottom["ReLU, weights * 1.41"] < 5            # sqrt(2) makes up for it
assert bottom["ReLU, weights * 2.8"] > 1e5                 # twice that is doubled twenty times

figures.draw_lines({"three functions, the same weights": {name: (depth, size) for name, size in same_weights.items()},
                    "only ReLU": {name: (depth, size) for name, size in relus.items()}},
                   "layer, the first at the left", "gradient below it", log="y")

# %% [markdown]
# So "ReLU avoids vanishing and exploding gradients" claims too much. The ReLU removes **one** cause of vanishing, the
# flat ends. It does not prevent explosion (weights * 2.8), and with small weights its gradients vanish as well
# (weights * 1): the size of the initial weights decides. Lesson 07 continues with this.
#
# Another common statement, "ReLU has no upper limit, so it needs normalisation", belongs to lesson 10: the paper says
# the opposite. In the paper's figure 1 a network with ReLU learns six times faster than with tanh. Lesson 16 repeats
# this experiment, when you know all parts of such a network.

# %% [markdown]
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/03_neurons.py).
#
# **1.** The gradient of the ReLU: `dy` and `x` have one shape, and so has the result. At exactly 0 it is 0.

# %%
import numpy as np

from tinynet import exercises


def relu_gradient(dy, x):
    ...


exercises.check_relu_gradient(relu_gradient)

# %% [markdown]
# **2.** The gradient of tanh, from `dy` and its **output** `y`.

# %%
import numpy as np

from tinynet import exercises


def tanh_gradient(dy, y):
    ...


exercises.check_tanh_gradient(tanh_gradient)

# %% [markdown]
# **3.** dy/dx of a chain of sigmoids, one for each of the `weights`: the first gets weights[0] * x, the next
# weights[1] times what the first puts out, and so on.

# %%
import numpy as np

from tinynet import exercises


def chain_gradient(x, weights):
    ...


exercises.check_chain_gradient(chain_gradient)

# %% [markdown]
# ## What to remember
#
# - Saturating: the slope becomes 0 at both ends. The ReLU has slope 1 above 0, slope 0 below, and at 0 by choice.
# - Gradients are products of slopes and weights. ReLU removes the slopes' part of vanishing; weights can still make
#   gradients vanish or explode.
# - With pixels of -128 to 128, tanh has almost no slope at two thirds of the places of a photo.
#
# Next: [04, fully connected layers and softmax](04_softmax.ipynb). Read next:
# [reference/activation.py](../tinynet/reference/activation.py) beside
# [ops/activation.py](../tinynet/ops/activation.py).
