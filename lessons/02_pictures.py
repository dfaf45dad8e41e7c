# %% [markdown]
# # 02 · Pictures as tensors (张量)
#
# *30 minutes. Before it: 01, why 2012. Beside it: the paper, section 2, and `tinynet/data/pictures.py`.*
#
# After this lesson you can turn a picture file into the input of the first layer, in the right order and without
# three classic mistakes, and you can count top-1 and top-5 errors by hand, ties included.
#
# **In a sentence:** scale the shorter side to 256 pixels, cut out the middle, subtract the mean image, and put the
# channels first.

# %%
import inspect

import numpy as np
from PIL import Image

from tinynet import data, exercises, figures, metrics
from tinynet.data.augment import Sample
from tinynet.data.embedded import EmbeddedSource

rng = np.random.default_rng(0)

# %% [markdown]
# ## A picture is a table of bytes
#
# A picture file, once decoded, is an array of bytes (height, width, 3), `uint8`: 0 is dark, 255 is bright. Each pixel
# (像素) has its red, green and blue side by side. The cell prints the red numbers of six by six pixels around an eye,
# and draws these pixels and their red, green and blue parts in grey: a larger number is brighter.

# %%
file = np.asarray(Image.open(figures.PHOTO))
assert file.shape == (600, 512, 3) and file.dtype == np.uint8

top, left = 176, 236
eye = file[top:top + 6, left:left + 6]
print(eye[:, :, 0])
figures.draw_pictures([eye.transpose(2, 0, 1), *eye.transpose(2, 0, 1)], ["six by six pixels", "red", "green", "blue"])

# %% [markdown]
# ## Channels first
#
# In this library the channel (通道) comes before row and column, and the number of the picture before that: (N, C, H,
# W). A transposition moves the axes. A `reshape` gives the same shape and a different picture, because it leaves the
# bytes in their order and only divides them differently. This is the first classic mistake.
#
# **Predict:** what does the reshaped picture look like?

# %%
small = np.asarray(Image.open(figures.PHOTO).resize((64, 75)))
transposed = small.transpose(2, 0, 1)                      # (3, 75, 64)
reshaped = small.reshape(3, 75, 64)                        # the same shape
assert (transposed[2] == small[:, :, 2]).all()             # channel 2 is blue
assert not (reshaped[2] == small[:, :, 2]).all()           # channel 2 is the last third of the rows, colours mixed

figures.draw_pictures([transposed, reshaped, reshaped[0]], ["transposed", "reshaped", "its channel 0"])

# %% [markdown]
# In memory a tensor is one long row of numbers. In the order (N, C, H, W) the next column is 1 further on, the next
# row W, the next channel H W, the next picture C H W:
#
# $$\text{place of } x_{nchw} = ((n\,C + c)\,H + h)\,W + w$$

# %%
N, C, H, W = 2, 3, 4, 5
x = np.arange(N * C * H * W).reshape(N, C, H, W)           # each number says its own place
n, c, h, w = 1, 2, 3, 0
assert x[n, c, h, w] == ((n * C + c) * H + h) * W + w == 115
assert [stride // x.itemsize for stride in x.strides] == [C * H * W, H * W, W, 1] == [60, 20, 5, 1]

figures.draw_numbers({f"x[1, {c}]": x[1, c] for c in range(3)}, windows={"x[1, 2]": (3, 0, 1, 1)})

# %% [markdown]
# ## Bytes cannot be negative
#
# The second classic mistake: arithmetic on `uint8` starts again at 0 after 255, without any warning. So convert with
# `astype(np.float32)` first, then subtract.
#
# **Predict:** 50 - 100 in `uint8`.

# %%
byte, mean = np.array([50, 200], np.uint8), np.array([100, 100], np.uint8)
print("uint8:", byte - mean, " float32:", byte.astype(np.float32) - mean)
assert (byte - mean).tolist() == [206, 100]                # 50 - 100 = -50, and -50 + 256 = 206
assert (byte.astype(np.float32) - mean).tolist() == [-50, 100]

grey = transposed[1]                                       # the green channel
wrapped = grey - np.uint8(100)
figures.draw_maps([grey.astype(np.float32) - 100, wrapped], ["float32: around 0", "uint8: nothing below 0"])

# %% [markdown]
# Why float32 and not float64? It is exact enough, and half as large. It is still four times as large as bytes, so the
# library keeps pictures as bytes and converts one batch (批) at a time. A batch of the paper has 128 pictures:

# %%
numbers = 128 * 3 * 227 * 227
assert numbers == 19_787_136
print(f"one batch: {numbers / 1e6:.0f} MB as uint8, {4 * numbers / 1e6:.0f} MB as float32")
assert 3 * 224 * 224 == 150_528                            # the paper's input size in figure 2; 224 or 227: lesson 08

# %% [markdown]
# ## Shorter side to 256, then the middle
#
# The pictures of ImageNet have many sizes, but the input of a network has one. The paper scales the **shorter** side to
# 256 and cuts out the middle (裁剪). So nothing is stretched, but the ends of the longer side are lost. Caffe's tutorial
# squeezes the whole picture into 256 x 256 instead, which changes the proportions:

# %%
image = Image.open(figures.PHOTO)                          # 512 wide, 600 high
scaled = np.asarray(image.resize((256, 300), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
assert 600 * 256 / 512 == 300
top = (300 - 256) // 2                                     # 22 rows go at the top, 22 below
middle = scaled[:, top:top + 256]
squeezed = np.asarray(image.resize((256, 256), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
assert top == 22 and middle.shape == squeezed.shape == (3, 256, 256)

halves = [a[:, ::2, ::2] for a in (scaled, middle, squeezed)]    # every other pixel is drawn
figures.draw_pictures(halves, ["shorter side 256", "the paper: its middle", "Caffe's tutorial"],
                      windows=[(top // 2, 0, 128, 128)])

# %% [markdown]
# The library cuts first and scales afterwards. Here this gives the same picture, and it saves work, and memory for a
# picture of 1 x 9,999 pixels:

# %%
assert (data.load_picture(figures.PHOTO, 256) == middle).all()
print(inspect.getsource(data.pictures.square))

# %% [markdown]
# ## The mean image
#
# One more step: the paper subtracts the mean of all **training** pictures from each picture, pixel by pixel. This is
# the mean image (均值图像), for the M training pictures:
#
# $$\bar{x}_{chw} = \frac{1}{M} \sum_{m=1}^{M} x_{mchw}$$
#
# The pixels are not divided by anything, so the input of the network lies between about -128 and 128. (Many later
# programs subtract one mean for each channel, and divide by a standard deviation; torchvision's AlexNet does.)
#
# The data here are the embedded set: ten classes of pictures that the library draws itself, so nothing has to be
# downloaded.

# %%
source = EmbeddedSource(64, quiet=True, counts=(1000, 200))
train, _ = source.train.read(np.arange(1000))              # uint8 (1000, 3, 64, 64), and which could be read
assert train.shape == (1000, 3, 64, 64) and train.dtype == np.uint8

figures.draw_pictures(list(train[:4]), [source.class_names[label] for label in source.train.labels[:4]])

# %%
mean = data.compute_statistics(source.train, quiet=True).mean      # float32 (3, 64, 64)
assert np.allclose(mean, train.mean(axis=0), atol=1e-3)
x = train.astype(np.float32) - mean                        # (1000, 3, 64, 64): numpy repeats the mean for each
print(f"x lies between {x.min():.0f} and {x.max():.0f}")
assert abs(x.mean(axis=0)).max() < 0.01 and x.min() < -100 and x.max() > 100

figures.draw_maps([train[9, 0], mean[0], x[9, 0]], ["a picture, red", "the mean image, red", "the difference"])

# %% [markdown]
# The mean image is nearly grey everywhere, because the figures have random colours and places. For photographs it is
# blurred, too, and a little brighter at the top.
#
# **Why subtract it?** If all inputs of a unit are positive, its gradients dw = dy * x all have the sign of dy: all
# its weights can only grow together or shrink together. After the subtraction each gradient has its own sign.
#
# **Predict:** take a window of 11 x 11 x 3 numbers and dy = 1. What share of the gradients is positive, before and
# after the subtraction?

# %%
window = train[6, :, 20:31, 20:31].astype(np.float32)
dy = 1.0
before, after = dy * window, dy * (window - mean[:, 20:31, 20:31])  # the gradients of 363 weights
assert before.size == 363 and (before > 0).all() and 0.3 < (after > 0).mean() < 0.7
print(f"gradients above 0: {(before > 0).mean():.0%} before, {(after > 0).mean():.0%} after the mean is subtracted")

# %% [markdown]
# A second reason: some layers add a border of zeros to a picture, and now 0 is the mean colour and not black.
#
# **The third classic mistake** is to compute a new mean from the test pictures. There is one mean, that of the
# training set.
#
# ## Which part of the mean?
#
# The network's input is a crop, 224 of 256 pixels (lesson 12 says why it is taken at random). So which part of the
# mean image is subtracted? The paper does not say. The authors' program subtracts the **middle** of the mean from
# each crop, wherever it was cut. Caffe subtracts the part of the mean that lies **under** the crop.
#
# **Predict:** for a crop at the top left, how much do the two results differ, in grey levels of 255?

# %%
print(inspect.getsource(data.augment))

# %%
crop = Sample(tops=np.array([0]), lefts=np.array([0]), flips=np.array([False]), shifts=None)
at_middle, under_crop = (data.augment(train[9:10], crop, mean, 56, data.Augmentation(mean_at=where))
                         for where in ("middle", "crop"))
assert (at_middle == train[9:10, :, :56, :56] - mean[:, 4:60, 4:60]).all()
assert (under_crop == train[9:10, :, :56, :56] - mean[:, :56, :56]).all()
print(f"largest difference: {abs(at_middle - under_crop).max():.1f} of 255")
assert 0 < abs(at_middle - under_crop).max() < 12          # of 255: the mean image is smooth, so it matters little

figures.draw_maps([under_crop[0, 0], (at_middle - under_crop)[0, 0]], ["red, minus the mean", "how the two differ"],
                  share=False)

# %% [markdown]
# ## Right or wrong: top-1 and top-5
#
# A network gives each class a score. **Top-1 error**: the share of pictures whose label (标签) does not have the
# largest score. **Top-5 error**: the share of pictures whose label is not among the five largest. The rank of
# the label among the scores decides both. By hand, for four pictures and seven classes:

# %%
scores = np.array([[9, 1, 2, 3, 0, 4, 5],
                   [5, 7, 1, 6, 2, 0, 3],
                   [6, 5, 4, 0, 7, 3, 2],
                   [1, 2, 9, 4, 5, 6, 8]], float)
labels = np.array([0, 0, 3, 1])
place = np.array([1, 3, 7, 6])                             # the rank of the label: 1 is the largest score
assert (place == 1 + (scores > scores[np.arange(4), labels][:, None]).sum(axis=1)).all()
wrong1, wrong5 = (metrics.top_k_wrong(scores, labels, k) for k in (1, 5))
assert wrong1.tolist() == [False, True, True, True] and wrong1.mean() == 0.75
print(f"top-1 error {wrong1.mean():.0%}, top-5 error {wrong5.mean():.0%}")
assert wrong5.tolist() == [False, False, True, True] and wrong5.mean() == 0.5

figures.draw_numbers({"scores: 4 pictures, 7 classes": scores, "label": labels[:, None], "rank": place[:, None],
                      "top-1": wrong1[:, None].astype(float), "top-5": wrong5[:, None].astype(float)},
                     windows={"scores: 4 pictures, 7 classes": (1, 0, 1, 1), "rank": (1, 0, 1, 1)})

# %% [markdown]
# Outlined is picture 1, with label 0. Two scores are larger than the label's, so it is third: wrong by top-1, right
# by top-5. Scores may be logits or probabilities (lesson 04); the order is the same.
#
# ## Ties
#
# What if scores are equal? This seems to be a detail, until a network fails and gives the same score to every class.
# There are three rules; compare them on ten classes with one picture each:
#
# 1. `argmax` takes the first of equal scores: class 0 is always "right", the others never. A program that sorts has
#    the same problem.
# 2. **The program of 2012** shares the credit: if a label ties with others for the last places, it gets places /
#    tied.
# 3. **Caffe, and this library**: a tie counts as wrong. The network is right only where fewer than k other scores are
#    as large as the label's score or larger.
#
# **Predict:** the top-1 error of the failed network by each rule.

# %%
print(inspect.getsource(metrics.top_k_wrong))


# %%
def error_of_2012(scores, labels, k):
    own = scores[np.arange(len(labels)), labels][:, None]  # (N, 1)
    larger, equal = (scores > own).sum(axis=1), (scores == own).sum(axis=1)  # equal counts the label itself
    return 1 - np.clip((k - larger) / equal, 0, 1).mean()


same = np.zeros((10, 10))                                  # 10 pictures, 10 classes, all scores equal
each = np.arange(10)
by_argmax = (same.argmax(axis=1) != each).mean()
by_sorting = np.mean([label not in np.argsort(-row, kind="stable")[:5] for row, label in zip(same, each)])
of_2012 = [error_of_2012(same, each, k) for k in (1, 5)]
here = [metrics.top_k_wrong(same, each, k).mean() for k in (1, 5)]
assert np.allclose([by_argmax, by_sorting], [0.9, 0.5]) and np.allclose(of_2012, [0.9, 0.5]) and here == [1, 1]

print("rule       top-1 error  top-5 error")
for rule, errors in {"argmax": (by_argmax, by_sorting), "2012": of_2012, "here": here}.items():
    print(f"{rule:<10} {errors[0]:>11.0%}  {errors[1]:>11.0%}")

# %% [markdown]
# The first two rules say "as good as guessing" about a network whose output says nothing. It can be worse: on a test
# set that contains class 0 only, `argmax` reports an error of 0 %, even when the scores are not numbers (nan). By the
# third rule a failed network is always wrong:

# %%
broken, zeros = np.full((10, 10), np.nan), np.zeros(10, int)
print("nan for every class, label 0: argmax says right, top_k_wrong says wrong:",
      metrics.top_k_wrong(broken, zeros, 1).all())
assert (broken.argmax(axis=1) == zeros).all()              # "100 % right"
assert metrics.top_k_wrong(broken, zeros, 1).all() and metrics.top_k_wrong(broken, zeros, 5).all()

# Where no two scores are equal all three agree:
distinct = rng.standard_normal((1000, 10))
truth = rng.integers(0, 10, 1000)
assert np.isclose(error_of_2012(distinct, truth, 5), metrics.top_k_wrong(distinct, truth, 5).mean())
assert (metrics.top_k_wrong(distinct, truth, 1) == (distinct.argmax(axis=1) != truth)).all()

# %% [markdown]
# ## Top-5 is easy where classes are few
#
# Guess five of C classes: the probability of being wrong is 1 - 5 / C.
#
# **Predict:** how large is it for the 1,000 classes of ImageNet, and how large for ten classes?

# %%
guess = {classes: (1 - 1 / classes, 1 - 5 / classes) for classes in (10, 100, 1000)}
assert np.allclose(guess[1000], (0.999, 0.995)) and np.allclose(guess[10], (0.9, 0.5))
random = metrics.top_k_wrong(rng.standard_normal((20_000, 10)), rng.integers(0, 10, 20_000), 5).mean()
print(f"guessing: top-5 error {guess[1000][1]:.1%} for 1,000 classes, {guess[10][1]:.0%} for ten")
print(f"random scores, ten classes: top-5 error {random:.0%}")
assert abs(random - 0.5) < 0.02

classes = np.arange(5, 101)
figures.draw_lines({"error of guessing": {"top-1": (classes, 100 * (1 - 1 / classes)),
                                                     "top-5": (classes, 100 * (1 - 5 / classes))}},
                   "classes", "error (%)", levels={"ten classes, top-5": 50})

# %% [markdown]
# For 1,000 classes it is 99.5 %, hardly easier than top-1; for ten classes it is one half. So for the embedded set and
# for CIFAR-10 look at top-1; a top-5 error of 40 % is little better than guessing. A very weak classifier shows it:
# take the mean picture of each class, and choose the class whose mean picture is nearest.

# %%
templates = np.stack([x[source.train.labels == label].mean(axis=0) for label in range(10)])  # (10, 3, 64, 64)
test = source.test.read(np.arange(200))[0].astype(np.float32) - mean                         # the training mean
scores = -((test[:, None] - templates)**2).sum(axis=(2, 3, 4))                               # (200, 10)
top1, top5 = (metrics.top_k_wrong(scores, source.test.labels, k).mean() for k in (1, 5))
assert 0.8 < top1 < 0.92 and 0.38 < top5 < 0.55            # guessing: 0.9 and 0.5
print(f"nearest mean picture: top-1 error {top1:.1%}, top-5 error {top5:.1%}")

figures.draw_maps(templates[:, 0], source.class_names, columns=5)

# %% [markdown]
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/02_pictures.py).
#
# **1.** From decoded files to a batch: `pictures` (N, H, W, 3) uint8, `mean` (3, H, W) float32; the result is (N, 3,
# H, W) float32, with the mean subtracted.

# %%
import numpy as np

from tinynet import exercises


def to_batch(pictures, mean):
    ...


exercises.check_to_batch(to_batch)

# %% [markdown]
# **2.** The middle `size` x `size` pixels of a `picture` (3, H, W), both sides at least `size`. If the rest is odd,
# one pixel more is cut off at the right or at the bottom.

# %%
import numpy as np

from tinynet import exercises


def middle_square(picture, size):
    ...


exercises.check_middle_square(middle_square)

# %% [markdown]
# **3.** The top-k error, from 0 to 1, of `scores` (N, C) and `labels` (N,). Ties count against the network.

# %%
import numpy as np

from tinynet import exercises


def top_k_error(scores, labels, k):
    ...


exercises.check_top_k_error(top_k_error)

# %% [markdown]
# ## What to remember
#
# - Bytes (H, W, 3) become float32 (3, H, W): transpose, do not reshape; convert to float first, then subtract.
# - Shorter side to 256, the middle, minus the mean image of the training set. The pixels are not divided by anything.
# - Top-5 error: the label is not among the five largest scores. Ask what happens at ties, and how many classes there
#   are.
#
# Next: [03, neurons](03_neurons.ipynb). Read next: [data/pictures.py](../tinynet/data/pictures.py) and
# [metrics.py](../tinynet/metrics.py).
