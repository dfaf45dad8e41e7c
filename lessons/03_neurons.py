# %% [markdown]
# # 02 · Neurons (神经元) and what saturates
#
# *35 minutes. Before it: 02, pictures as tensors. Beside it: the paper, section 3.1, and
# `tinynet/reference/activation.py`.*
#
# After this lesson you know what "non-saturating" means and what it does not, you have seen gradients vanish and
# explode, with ReLU too, and you have run the paper's figure 1 in small and found out when it holds.
#
# **In a sentence:** a neuron adds up its inputs, each times a weight, and sends the sum through a function; where that
# function is flat, nothing is learned.

# %%
import inspect

import numpy as np

import tinynet
from tinynet import data, exercises, figures, layers, metrics, ops
from tinynet.data.embedded import EmbeddedSource
from tinynet.trace import Trace, explain

rng = np.random.default_rng(0)

# %% [markdown]
# ## Three functions
#
# Without an activation function (激活函数), layer upon layer of sums would be one sum. The old ones are sigmoid
# (S 型函数) and tanh (双曲正切), which are saturating (饱和); AlexNet has the ReLU (修正线性单元), max(0, x). For
# four sums:

# %%
x = np.array([[-4.0, 0, 1, 4]])
y = {"sigmoid": ops.sigmoid_forward(x), "tanh": ops.tanh_forward(x), "ReLU": ops.relu_forward(x)}
assert np.allclose(y["sigmoid"], 1 / (1 + np.exp(-x))) and y["sigmoid"][0, 1] == 0.5
assert np.allclose(y["tanh"], (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)))
assert (y["ReLU"] == [[0, 0, 1, 4]]).all()

figures.draw_numbers({"x": x, **y})

# %% [markdown]
# What training needs is the **slope**: how much y moves if x does. All three know it from y alone, so a layer keeps its
# output and can forget its input:

# %%
xs = np.linspace(-6, 6, 241)
one = np.ones_like(xs)
functions, slopes = {}, {}
for name in ("relu", "tanh", "sigmoid"):
    ys = getattr(ops, f"{name}_forward")(xs)
    functions[name] = xs, ys
    slopes[name] = xs, getattr(ops, f"{name}_backward")(one, ys)
steepest = {name: slope.max() for name, (_, slope) in slopes.items()}
assert steepest == {"relu": 1, "tanh": 1, "sigmoid": 0.25}

figures.draw_lines({"y": {name: (xs, np.minimum(ys, 2)) for name, (_, ys) in functions.items()}, "slope": slopes},
                   "x", "")

# %% [markdown]
# (The ReLU goes on upwards; its curve is cut off at 2 here.) Follow the slopes outwards: those of tanh and sigmoid die
# away on both sides. At x = 5 tanh has less than two ten-thousandths left. That is what saturating means. The ReLU
# has slope 1 as far as you go, **on its positive side**; on the other it has none at all.

# %%
tanh5, sigmoid5 = np.tanh(5.0), ops.sigmoid_forward(np.array(5.0))
assert 1e-4 < 1 - tanh5**2 < 2e-4 and 6e-3 < sigmoid5 * (1 - sigmoid5) < 7e-3
assert ops.relu_backward(np.ones(2), ops.relu_forward(np.array([5.0, -5]))).tolist() == [1, 0]
print(inspect.getsource(ops.tanh_backward))
print(inspect.getsource(ops.sigmoid_backward))
print(inspect.getsource(ops.relu_backward))

# %% [markdown]
# ## Two lines of the notes
#
# *ReLU: 无最大最小值限制.* It has no largest value, but it has a **smallest**: 0. Only the leaky ReLU has neither. What
# counts is that one side does not flatten out.
#
# *sigmoid: [0, 1]; tanh: [-1, 1].* These are open intervals, (0, 1) and (-1, 1): no x reaches the ends. On a computer
# it does, by rounding, and then the slope is exactly 0:

# %%
far = np.array([-1e6, 1e6])
assert (ops.relu_forward(far) == [0, 1e6]).all() and (ops.leaky_relu_forward(far, 0.01) == [-1e4, 1e6]).all()
assert np.tanh(5.0) < 1 and np.tanh(20.0) == 1             # 1 - 10^-17 is not a float64
assert ops.tanh_backward(np.ones(1), np.tanh(np.array([20.0]))) == 0

# %% [markdown]
# ## At exactly 0
#
# The ReLU has a kink there. On the right the slope is 1, on the left 0, and a finite difference across it says 1/2.
# Somebody has to choose: the program of 2012 took 0 (it asks `y > 0`), and so do we.

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
# A kernel that looks for edges, on the photo less its mean, as the paper has it: numbers up to 128 and no division.
# tanh of such sums is -1 or 1 and little else; how strong an edge is gets lost, and no gradient comes back. The ReLU
# keeps the strength. Divide the pixels by 64, and tanh has room again:

# %%
photo = data.load_picture(figures.PHOTO, 114)
grey = (photo.mean(axis=0) - photo.mean())[None, None]     # (1, 1, 114, 114), around 0
edge = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])[None, None] / 4
sums = ops.conv2d_forward(grey, edge, np.zeros(1), 1, 0, 1)
maps = {"ReLU": ops.relu_forward(sums), "tanh": ops.tanh_forward(sums),
        "tanh, pixels / 64": ops.tanh_forward(sums / 64)}
flat = {name: (ops.tanh_backward(np.ones_like(a), a) < 0.1).mean() for name, a in maps.items() if name != "ReLU"}
assert flat["tanh"] > 0.4 and flat["tanh, pixels / 64"] < 0.05   # the share with a slope below 0.1

figures.draw_maps(np.concatenate(list(maps.values()))[:, 0], list(maps), share=False)

# %% [markdown]
# ## A chain of neurons
#
# Ten neurons in a row, each with one input and a weight w. How does the last y move if the first x does? By the chain
# rule each neuron multiplies what comes from above by its slope and its weight:
#
# $$\frac{\mathrm{d}y}{\mathrm{d}x} = \prod_k w_k \cdot \text{slope}_k$$
#
# A sigmoid's slope is a quarter at best, so with w = 1 there is at best (1/4)^10 left, less than a millionth:

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
# ## Vanishing and exploding, layer by layer
#
# The same in a network: 20 layers of 100 units, random weights, a random gradient at the top, and the size of what
# arrives below each layer (梯度消失, vanishing; 梯度爆炸, exploding). First the three functions, with weights of
# standard deviation 1/sqrt(100), which keep a sum as large as its inputs:

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
assert bottom["sigmoid"] < 1e-10                           # a quarter at best, twenty times
assert 1e-2 < bottom["tanh"] < 1                           # it shrinks, slowly
assert 1e-4 < bottom["ReLU"] < 1e-2                        # half of the units are off: sqrt(1/2), twenty times
assert 0.2 < bottom["ReLU, weights * 1.41"] < 5            # sqrt(2) makes up for it
assert bottom["ReLU, weights * 2.8"] > 1e5                 # twice that is doubled twenty times

figures.draw_lines({"three functions, the same weights": {name: (depth, size) for name, size in same_weights.items()},
                    "ReLU alone": {name: (depth, size) for name, size in relus.items()}},
                   "layer, the first at the left", "gradient below it", log="y")

# %% [markdown]
# So *避免梯度消失或梯度爆炸* promises too much. The ReLU takes **one** cause of vanishing away, the flat ends. It does
# not prevent explosion (the red curve), and with small weights its gradients vanish as well (the grey one): the size of
# the initial weights decides. That is a lesson of its own.
#
# Another line, *由于使用了 ReLU，值域不被限定，需要归一化*, belongs to lesson 10: the paper says the opposite.
#
# ## Figure 1 of the paper, in small
#
# A network of four layers on CIFAR-10, once with ReLU and once with tanh: **training** error against passes, no
# regularisation, each with the learning rate that suits it best. ReLU came to 25 % with six times fewer passes. (The
# notes only say 快于, faster.)
#
# Here: 500 of the embedded pictures at 16 pixels, ten classes, three convolutional layers and one fully connected.
# The pixels are as in the paper, less the mean and not divided by anything.

# %%
source = EmbeddedSource(16, quiet=True, counts=(500, 10))
pictures, _ = source.train.read(np.arange(500))
raw = pictures - data.compute_statistics(source.train, quiet=True).mean    # (500, 3, 16, 16), about -128 to 128
labels = source.train.labels


def network(Kind, std1):
    return tinynet.Sequential(
        [layers.Conv2d("conv1", 16, 5, stride=2, pad=2, std=std1, need_dx=False), Kind("act1"),
         layers.MaxPool("pool1", 3, 2), layers.Conv2d("conv2", 32, 3, pad=1, std=0.05), Kind("act2"),
         layers.Conv2d("conv3", 32, 3, pad=1, std=0.05), Kind("act3"), layers.MaxPool("pool3", 3, 2),
         layers.Flatten("flatten"), layers.Linear("fc4", 10, std=0.05)],
        in_shape=(3, 16, 16), rng=np.random.default_rng(0))


def training_errors(Kind, x, std1, lr, passes):
    """The training error (%) of each pass, as it went, until one is at 25 % or below."""
    net, loss, rng = network(Kind, std1), tinynet.SoftmaxCrossEntropy(), np.random.default_rng(1)
    net.use("ops")                                         # the readable rung; for layers as small as these the quicker
    sgd = tinynet.SGD(net, lr, momentum=0.9, weight_decay=0)
    errors = []
    while len(errors) < passes and (not errors or errors[-1] > 25):
        wrong = 0
        for batch in rng.permutation(500).reshape(20, 25):
            loss.forward(net.forward(x[batch]), labels[batch])
            net.backward(loss.backward())
            sgd.step()
            wrong += metrics.top_k_wrong(loss.probs, labels[batch], 1).sum()
        errors.append(wrong / 5)                           # of 500, in per cent
    return errors


def best(Kind, x, std1, rates, passes=36):
    """A small search: the rate that comes to 25 % first, or comes nearest."""
    tried = [training_errors(Kind, x, std1, lr, passes) for lr in rates]
    return min(tried, key=lambda errors: (len(errors), errors[-1]))


as_2012 = {"ReLU": best(layers.ReLU, raw, 0.001, rates=(0.0003, 0.001)),
           "tanh": best(layers.Tanh, raw, 0.001, rates=(0.01, 0.03))}

# %% [markdown]
# And once more with pixels divided by 64, so that they lie between -2 and 2:

# %%
divided = {"ReLU": best(layers.ReLU, raw / 64, 0.12, rates=(0.01, 0.03)),
           "tanh": best(layers.Tanh, raw / 64, 0.12, rates=(0.01, 0.03))}

figures.draw_lines({title: {name: (np.arange(1, len(errors) + 1), errors) for name, errors in curves.items()}
                    for title, curves in (("pixels as in the paper", as_2012), ("pixels / 64", divided))},
                   "passes", "training error (%)", levels={"25 %": 25})

# %% [markdown]
# On the left, the paper's figure: tanh takes more than twice as many passes as ReLU (the search stops after 36). Six
# times was CIFAR-10; with other pictures, and with another seed, another number comes out.
#
# On the right the same pictures, divided by 64, and larger weights in conv1 in turn. The lead is gone: tanh keeps up.
# So what the ReLU is so much better at, in a network as shallow as this, is inputs and sums that are **large**, where
# tanh is flat: it forgives a careless scale of pixels and weights.

# %%
passes, passes_divided = ({name: len(errors) for name, errors in curves.items()} for curves in (as_2012, divided))
assert as_2012["ReLU"][-1] <= 25 and passes["tanh"] > 2 * passes["ReLU"]
assert divided["tanh"][-1] <= 25 and passes_divided["tanh"] < 2 * passes_divided["ReLU"]
print(f"pixels as in the paper: tanh needs more than twice the passes: {passes['tanh'] > 2 * passes['ReLU']}")
print(f"pixels / 64:            tanh needs more than twice the passes: "
      f"{passes_divided['tanh'] > 2 * passes_divided['ReLU']}")

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
# - Saturating: the slope dies away at both ends. The ReLU has slope 1 above 0, slope 0 below, and at 0 by choice.
# - Gradients are products of slopes and weights. ReLU removes the slopes' part of vanishing; weights can still make
#   gradients vanish or explode.
# - The paper's factor of six is about large, undivided inputs as well. Scale them, and tanh keeps up in four layers.
#
# Next: [03, convolution](08_convolution.ipynb). Read next: [reference](../tinynet/reference/activation.py) beside
# [ops/activation.py](../tinynet/ops/activation.py).
