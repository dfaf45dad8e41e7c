# %% [markdown]
# # 01 · Why 2012
#
# *25 minutes. Before it: 00, how to read this. Beside it: the paper, the abstract and sections 1 and 2.*
#
# After this lesson you know why a network of this size became possible in 2012, why convolution suits pictures, which
# contributions the paper claims, and what it was compared with.
#
# **In a sentence:** there were a million labelled pictures, two fast processors, and a kind of layer that needs few
# weights, because it uses what all parts of a picture have in common.
#
# Some cells ask for a **prediction**. Write your number down before you run the next cell.

# %%
import numpy as np

import tinynet
from tinynet import data, figures
from tinynet.data.embedded import EmbeddedSource

# %% [markdown]
# ## More pictures than ever
#
# Until about 2010 most data sets (数据集) of labelled pictures had tens of thousands of pictures. CIFAR-10 has 60,000
# in ten classes (类别), 50,000 of them for training. ImageNet has 15 million in 22,000 classes (the release of fall
# 2011). The paper uses a part of it, the data of the competition ILSVRC: 1,000 classes, about 1.2 million pictures for
# training (训练集), 50,000 for validation (验证集) and 150,000 for testing (测试集).
#
# **Predict:** how many times as many training pictures does ILSVRC have as CIFAR-10?

# %%
pictures = {"CIFAR-10, training": 50_000, "ILSVRC, validation": 50_000, "ILSVRC, testing": 150_000,
            "ILSVRC, training": 1_200_000, "ImageNet, fall 2011": 15_000_000}
ratio = pictures["ILSVRC, training"] / pictures["CIFAR-10, training"]
print(f"ILSVRC has {ratio:.0f} times as many training pictures as CIFAR-10")
assert ratio == 24

figures.draw_bars({"labelled pictures": pictures})

# %% [markdown]
# What does a larger data set change? A program that learns has to tell pictures apart by what belongs to the class, and
# not by what is in the picture by chance. Here is the simplest such program: it gives a new picture the class of the
# most similar known picture (similar in its pixels). The pictures are the ten classes that this library draws itself.
#
# **Predict:** guessing is wrong 90 times in 100. How often is this program wrong with 100 known pictures? With 6,400?

# %%
source = EmbeddedSource(16, quiet=True, counts=(6400, 400))
known = source.train.read(np.arange(6400))[0].reshape(6400, -1).astype(np.float32)
asked = source.test.read(np.arange(400))[0].reshape(400, -1).astype(np.float32)
distances = (asked**2).sum(axis=1)[:, None] - 2 * asked @ known.T + (known**2).sum(axis=1)   # (400, 6400), squared

counts = np.array([100, 200, 400, 800, 1600, 3200, 6400])
errors = np.array([100 * (source.train.labels[distances[:, :count].argmin(axis=1)] != source.test.labels).mean()
                   for count in counts])
for count, error in zip(counts, errors):
    print(f"{count:>5} known pictures: {error:.0f} % wrong")
assert errors[-1] < errors[0] - 4 and errors[-1] > 50

figures.draw_lines({"the most similar known picture": {"error": (counts, errors)}}, "known pictures", "error (%)",
                   log="x", levels={"guessing": 90})

# %% [markdown]
# More known pictures help, at every step, but slowly: with 6,400 of them more than half of the answers are still wrong,
# although these pictures are easy for people. This program only compares pixels. We need both: many pictures, and a
# model with enough **capacity** (容量) to learn from all of them.
#
# ## Capacity by width and by depth
#
# The introduction of the paper says that the capacity of a convolutional network can be controlled by its depth and its
# breadth (深度和宽度). What is the difference? Take functions of one number x, made of units max(0, w x + b).
#
# One layer of n units gives a curve of straight pieces with at most n bends, so n + 1 pieces. **Depth** does more: the
# second layer bends a curve that the first layer has already bent. Two units make a tent (one peak), and a tent of a
# tent has two peaks.
#
# **Predict:** eight units in one layer give at most 9 pieces. How many do eight units in four layers of two give?

# %%
def tent(x):
    """Two units max(0, ...), added with the weights 2 and -4: up to 1 and down again."""
    return 2 * np.maximum(0, x) - 4 * np.maximum(0, x - 0.5)


def pieces(x, y):
    """The number of straight pieces of a curve."""
    slopes = np.diff(y) / np.diff(x)
    return 1 + int((abs(np.diff(slopes)) > 1e-6).sum())


x = np.linspace(0, 1, 257)                                 # 256 steps: every bend falls on a point
deep = {}
y = x
for depth in range(1, 5):
    y = tent(y)
    deep[f"{depth} layer{'s' * (depth > 1)} of 2 units"] = x, y
    print(f"{2 * depth} units in {depth} layers: {pieces(x, y)} pieces; in one layer at most {2 * depth + 1}")
assert [pieces(*curve) for curve in deep.values()] == [2, 4, 8, 16]

figures.draw_lines({name: {name: deep[name]} for name in
                    ("1 layer of 2 units", "2 layers of 2 units", "4 layers of 2 units")}, "x", "y")

# %% [markdown]
# Width adds pieces, depth multiplies them. This is a reason to build deep networks. It does not prove that training
# finds such a function. Lesson 18 measures what depth brings.
#
# ## Why convolution suits pictures
#
# Capacity has a price: a network with many weights needs many pictures. The paper names two properties of pictures that
# are known before training. A convolution (卷积) uses them, so it needs fewer weights:
#
# - **stationarity of statistics** (统计的平稳性): an edge looks like an edge wherever it is. So one detector, with one set
#   of weights, can be used in all places.
# - **locality of pixel dependencies** (像素依存性的局部性): neighbouring pixels depend strongly on each other, distant
#   pixels weakly. So a detector can be small.
#
# Both can be measured. First locality, on a photo: how alike are two pixels that are d columns apart, and how alike are
# they after all columns have been put into a random order?
#
# **Predict:** how far apart must two pixels be until their correlation is below 0.5?

# %%
photo = data.load_picture(figures.PHOTO, 227).astype(np.float64)
shuffled = photo[:, :, np.random.default_rng(0).permutation(227)]
figures.draw_pictures([photo.astype(np.uint8), shuffled.astype(np.uint8)], ["a photo", "its columns, shuffled"])


# %%
def correlation(picture, d):
    """How alike two pixels are that lie d columns apart: near 1 for equal ones, near 0 for independent ones."""
    return np.corrcoef(picture[:, :, d:].ravel(), picture[:, :, :227 - d].ravel())[0, 1]


apart = np.array([1, 2, 4, 8, 16, 32, 64])
alike = {name: np.array([correlation(picture, d) for d in apart])
         for name, picture in (("photo", photo), ("columns shuffled", shuffled))}
for d, value in zip(apart, alike["photo"]):
    print(f"{d:>2} columns apart: correlation {value:.2f}")
assert alike["photo"][0] > 0.95 and (np.diff(alike["photo"]) < 0).all() and alike["photo"][-1] < 0.3
assert np.ptp(alike["columns shuffled"]) < 0.25            # no place is nearer than another

figures.draw_lines({"locality": {name: (apart, values) for name, values in alike.items()}}, "columns apart",
                   "correlation of two pixels", log="x")

# %% [markdown]
# A network of fully connected layers would learn from photos whose columns are all shuffled in the same order as well
# as from the others: it does not use the places of the pixels. A convolution does.
#
# Now stationarity, on 2,000 drawn pictures.
#
# **Predict:** are neighbouring pixels as alike at the top left as at the bottom right?

# %%
drawn = EmbeddedSource(32, quiet=True, counts=(2000, 10)).train.read(np.arange(2000))[0].astype(np.float64)
corners = {"top left": (0, 0), "top right": (0, 16), "bottom left": (16, 0), "bottom right": (16, 16)}
quarters = {name: drawn[:, :, top:top + 16, left:left + 16] for name, (top, left) in corners.items()}
neighbours = {name: np.corrcoef(a[..., 1:].ravel(), a[..., :-1].ravel())[0, 1] for name, a in quarters.items()}
print({name: f"{value:.2f}" for name, value in neighbours.items()})
assert max(neighbours.values()) - min(neighbours.values()) < 0.03 and min(neighbours.values()) > 0.7

figures.draw_bars({"correlation of neighbouring pixels": neighbours})

# %% [markdown]
# ## What that saves
#
# The first layer of AlexNet makes 96 maps of 55 x 55 numbers from a picture of 3 x 227 x 227. Three ways to do it:
#
# - **fully connected**: each of the 290,400 outputs has a weight for all 154,587 inputs;
# - **local**: each output has weights of its own for the 11 x 11 x 3 inputs in its window;
# - **convolution**: each output looks at its window, and all 3,025 outputs of a map share one set of weights.
#
# $$96 \cdot 55^2 \cdot 3 \cdot 227^2 \qquad\quad 96 \cdot 55^2 \cdot 3 \cdot 11^2 \qquad\quad 96 \cdot 3 \cdot 11^2$$
#
# **Predict:** by what factors do these three numbers differ?

# %%
outputs, inputs, window = 96 * 55**2, 3 * 227**2, 3 * 11**2
weights = {"fully connected": outputs * inputs, "local": outputs * window, "convolution": 96 * window}
for name, count in weights.items():
    print(f"{name:<16} {count:>14,} weights")
assert list(weights.values()) == [44_892_064_800, 105_415_200, 34_848]
assert weights["local"] // weights["convolution"] == 55**2 == 3025

figures.draw_bars({"log10 of the weights": {name: np.log10(count) for name, count in weights.items()}})

# %% [markdown]
# Locality saves a factor of 426, stationarity another 3,025. The fully connected layer would need 45 billion weights;
# all of AlexNet has 61 million. The paper says of such networks that they have much fewer connections and parameters
# than networks with layers of the same size, so that they are easier to train, while their best performance is likely
# to be only slightly worse. (Fewer connections and parameters: not fewer layers.)

# %%
net = tinynet.AlexNet("paper", num_classes=1000, rng=np.random.default_rng(0))
summary = net.summary()
assert round(weights["fully connected"] / weights["local"]) == 426
assert summary.params == 60_965_224
print(f"AlexNet: {summary.params:,} parameters, {summary.macs:,} multiply-accumulates per picture")

# %% [markdown]
# ## Processors
#
# How much arithmetic is it to train this network? A multiply-accumulate (乘加) is two operations. Backward takes about
# twice as much as forward (lesson 05 says why), so a training step takes three times the forward work. The paper goes
# about 90 times through 1.2 million pictures.
#
# **Predict:** how long does a machine need that does $10^9$ operations per second?

# %%
per_picture = 3 * 2 * summary.macs
operations = 90 * 1.2e6 * per_picture
years = operations / 1e9 / (365 * 24 * 3600)
per_second = operations / (5.5 * 24 * 3600)
print(f"{per_picture / 1e9:.2f} * 10^9 operations per picture, {operations:.1e} in all")
print(f"at 10^9 per second: {years:.0f} years; in 5.5 days: {per_second:.1e} per second")
assert 4.3e9 < per_picture < 4.4e9 and 14 < years < 16 and 0.9e12 < per_second < 1.1e12

# %% [markdown]
# Training took five to six days, on two GPUs (GTX 580) with 3 GB of memory each. Without GPUs and a convolution
# written for them the experiment would not have been possible.
#
# ## The contributions that the paper lists
#
# | contribution (introduction of the paper) | in these lessons |
# |---|---|
# | one of the largest convolutional networks so far, trained on ILSVRC-2010 and ILSVRC-2012, with by far the best results reported on these data | [13](13_alexnet.ipynb), [16](16_results.ipynb) |
# | a highly optimised GPU implementation of 2D convolution and of all other operations of training, made public | [08](08_convolution.ipynb), [19](19_faster.ipynb) |
# | new and unusual features that improve performance or shorten training: ReLU, two GPUs, local response normalisation, overlapping pooling (section 3) | [03](03_neurons.ipynb), [13](13_alexnet.ipynb), [10](10_lrn.ipynb), [09](09_pooling.ipynb) |
# | techniques against overfitting: data augmentation and dropout (section 4) | [12](12_augmentation.ipynb), [11](11_dropout.ipynb) |
# | five convolutional and three fully connected layers; the depth is important: without any one of the convolutional layers the results are worse | [18](18_discussion.ipynb) |
#
# The introduction ends with the limits of the network: the memory of the GPUs, and the training time that the authors
# were willing to accept. They expect better results from faster GPUs and larger data sets.
#
# ## The state of the art then
#
# Before, the best systems computed features that people had designed (SIFT, sparse coding, Fisher vectors: FVs) and
# trained a classifier on top of them. Below are the errors on the test set of ILSVRC-2010 (the paper's table 1), and
# the top-5 errors on the test set of ILSVRC-2012 (table 2). A top-5 error means that the right class is not among the
# five classes that the program finds most probable.
#
# **Predict:** what share of the errors of the best earlier system did AlexNet remove?

# %%
top1 = {"sparse coding": 47.1, "SIFT + FVs": 45.7, "AlexNet": 37.5}
top5 = {"sparse coding": 28.2, "SIFT + FVs": 25.7, "AlexNet": 17.0}
gone = 1 - top5["AlexNet"] / top5["SIFT + FVs"]
gone_2012 = 1 - 15.3 / 26.2
print(f"2010: {gone:.0%} of the top-5 errors removed; 2012, with seven networks: {gone_2012:.0%}")
assert round(100 * gone) == 34 and round(100 * gone_2012) == 42

figures.draw_bars({"2010, top-1 error": top1, "2010, top-5 error": top5}, unit=" %")

# %% [markdown]
# ## Questions
#
# Answer first, then run the cell.
#
# **1.** The label of a picture is one of 1,000 classes. How many bits does it tell? All 1.2 million training labels
# together: more or fewer bits than AlexNet has parameters? (Section 4 of the paper uses this argument for what follows
# there: data augmentation and dropout.)

# %%
bits = np.log2(1000)
print(f"{bits:.1f} bits per label, {1.2 * bits:.0f} million bits in all; {summary.params / 1e6:.0f} million parameters")
assert 9.9 < bits < 10 and 1.2e6 * bits < summary.params / 5

# %% [markdown]
# **2.** How many straight pieces can eight layers of two units give? How many can one layer of 16 units give?

# %%
x = np.linspace(0, 1, 2**10 + 1)
y = x
for _ in range(8):
    y = tent(y)
print(f"eight layers of two units: {pieces(x, y)} pieces; one layer of 16 units: at most {16 + 1}")
assert pieces(x, y) == 2**8

# %% [markdown]
# **3.** A layer makes 10 maps of 28 x 28 numbers from a picture of 32 x 32 in grey, with windows of 5 x 5. How many
# weights does it have if it is fully connected, local, or a convolution?

# %%
outputs, inputs, window = 10 * 28**2, 32**2, 5**2
print(f"fully connected {outputs * inputs:,}, local {outputs * window:,}, convolution {10 * window:,}")
assert (outputs * inputs, outputs * window, 10 * window) == (8_028_160, 196_000, 250)

# %% [markdown]
# ## What to remember
#
# - 1.2 million training pictures, 50,000 for validation, 150,000 for testing, 1,000 classes.
# - Capacity grows with width and with depth; depth multiplies.
# - Convolution uses two facts about pictures: neighbouring pixels belong together, and all places are alike. In the
#   first layer that saves a factor of 426 and another of 3,025.
# - Two GPUs, five to six days, about $5 \cdot 10^{17}$ operations.
# - Top-5 error 17.0 % where the best before had 25.7 %.
#
# Next: [02, pictures as tensors](02_pictures.ipynb). Read next: [alexnet.py](../tinynet/alexnet.py).
