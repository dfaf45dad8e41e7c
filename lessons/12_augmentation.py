# %% [markdown]
# # 09 · Data augmentation (数据增强)
#
# *35 minutes. Before it: 02, pictures as tensors; 04, softmax. Beside it: the paper, section 4.1, and
# `tinynet/data/augment.py`.*
#
# After this lesson you can count the crops of a picture (and not get 2048), say what is taken off each, work out the
# principal axes (主成分分析, PCA) of four pixels by hand and what the paper does with them, and say what becomes of the
# ten views at test time.
#
# **In a sentence:** no picture is seen twice alike: it is cut at a random place, mirrored half of the time, and made a
# little lighter or warmer.

# %%
import inspect

import numpy as np

from tinynet import data, exercises, figures, ops
from tinynet.data.augment import Sample
from tinynet.data.embedded import EmbeddedSource
from tinynet.evaluation import predict

rng = np.random.default_rng(0)

# %% [markdown]
# ## Where can it be cut?
#
# Stored are 256 x 256 pixels, the network of the paper gets 224 x 224 (裁剪). How many places are there for the first
# row? A small case first: of 5 pixels, 3 can be cut at 0, 1 and 2, which is 5 - 3 **+ 1** places.

# %%
places = [top for top in range(5) if top + 3 <= 5]
assert places == [0, 1, 2] and len(places) == 5 - 3 + 1

assert (256 - 224 + 1)**2 * 2 == 33 * 33 * 2 == 2178       # offsets 0 to 32, down and across; and the mirror images
assert 32 * 32 * 2 == 2048                                 # what the paper prints, and the notes repeat
assert (256 - 227 + 1)**2 * 2 == 1800                      # Caffe's 227

photo = data.load_picture(figures.PHOTO, 256)              # uint8 (3, 256, 256)
small = data.load_picture(figures.PHOTO, 64)
figures.draw_pictures([small, small[:, :56, :56], small[:, 8:, 8:], small[:, 4:60, 4:60][:, :, ::-1]],
                      ["stored", "top left", "bottom right", "middle, mirrored"],
                      windows=[(0, 0, 56, 56), (8, 8, 56, 56)])

# %% [markdown]
# (Drawn with 64 and 56 pixels: the same share.) The authors' program draws 0 to 32 inclusive, and so do we. What is
# random is drawn by one function and applied by another:

# %%
plain = data.sample(rng, 20_000, margin=32, how=data.Augmentation(), axes=None)
for offsets in (plain.tops, plain.lefts):
    assert set(offsets.tolist()) == set(range(33))         # both ends are drawn
assert 0.48 < plain.flips.mean() < 0.52                    # half of them mirrored (水平翻转)

one = Sample(np.array([0]), np.array([32]), np.array([True]), None)
x = data.augment(photo[None], one, np.zeros((3, 256, 256), np.float32), 224)
assert x.shape == (1, 3, 224, 224) and (x[0] == photo[:, :224, 32:][:, :, ::-1]).all()
print(inspect.getsource(data.sample))

# %% [markdown]
# Is the data set 2178 times as large, then? The notes say 扩大数据集 with a "in theory", and the paper that these
# examples are "highly interdependent". How much do two crops differ that are a pixel apart, against the crops of two
# different pictures?

# %%
drawn = EmbeddedSource(64, quiet=True, counts=(400, 0)).train
pictures, _ = drawn.read(np.arange(400))                   # uint8 (400, 3, 64, 64)


def apart(a, b):
    return abs(a.astype(float) - b).mean()


neighbours = apart(small[:, :56, :56], small[:, 1:57, 1:57])
strangers = apart(small[:, :56, :56], pictures[0, :, :56, :56])
assert neighbours < strangers / 3

# %% [markdown]
# ## 32 pictures, one draw
#
# In the authors' program 32 pictures in a row share one crop and one flip. The text does not say so: each picture by
# itself is the natural reading. Recipe `code-2012` shares, the others do not:

# %%
for recipe in data.AUGMENTATIONS:
    print(f"{recipe:<10} {data.AUGMENTATIONS[recipe]}")

axes_of_grey = np.ones(3), np.eye(3)
draws = {recipe: data.sample(rng, 128, 32, data.AUGMENTATIONS[recipe], axes_of_grey)
         for recipe in ("paper", "code-2012")}
changes = {recipe: np.flatnonzero(np.diff(drawn_for.tops) != 0) + 1 for recipe, drawn_for in draws.items()}
assert set(changes["code-2012"]) <= {32, 64, 96} and len(changes["paper"]) > 100

figures.draw_lines({"": {recipe: drawn_for.tops for recipe, drawn_for in draws.items()}},
                   xlabel="picture of the batch", ylabel="first row of the crop")

# %% [markdown]
# ## The mean
#
# Section 2 of the paper: the mean of every pixel over the training set, the mean image (均值图像), is taken off, and
# nothing else is done to the numbers. But the mean image is stored with 256 x 256 pixels, and a crop is smaller. The
# authors take the **middle** of the mean off every crop, wherever it was cut and mirrored or not. Caffe takes what lies
# **under the crop**, and mirrors it along. By hand, with 4 x 4 pixels, a crop of 2 x 2 at row 2, column 0, mirrored:

# %%
picture = np.arange(0, 160, 10).reshape(1, 4, 4)
mean = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
at = Sample(np.array([2]), np.array([0]), np.array([True]), None)
middle, under = (data.augment(picture[None], at, mean, 2, data.Augmentation(mean_at=where))[0, 0]
                 for where in ("middle", "crop"))
assert (middle == [[90 - 5, 80 - 6], [130 - 9, 120 - 10]]).all()
assert (under == [[90 - 9, 80 - 8], [130 - 13, 120 - 12]]).all()

figures.draw_numbers({"picture": picture[0], "mean": mean[0], "less the middle": middle, "less what is under": under},
                     windows={"picture": (2, 0, 2, 2), "mean": (1, 1, 2, 2)})

# %% [markdown]
# Does it matter? A mean over many pictures is smooth: what lies under the crop and the middle are much the same.
#
# ## Colours: four pixels, by hand
#
# The second kind of augmentation changes the colours of a picture **as colours vary in photographs**: much from dark
# to bright, less from red to blue. Which directions those are is found by PCA. Four pixels, their mean a grey of 120:

# %%
pixels = np.array([[180, 180, 180],                        # R, G, B: brighter than the mean by 60
                   [60, 60, 60],                           # darker by 60
                   [140, 100, 120],                        # more red, less green
                   [100, 140, 120]], float)                # and the other way
off = pixels - pixels.mean(axis=0)
assert (pixels.mean(axis=0) == 120).all()

covariance = off.T @ off / 4                               # (3, 3): how R, G and B vary together (协方差)
assert covariance[0, 0] == (60**2 + 60**2 + 20**2 + 20**2) / 4 == 2000
assert covariance[0, 1] == (60 * 60 + 60 * 60 - 20 * 20 - 20 * 20) / 4 == 1600
assert covariance[0, 2] == (60 * 60 + 60 * 60 + 0 + 0) / 4 == 1800

figures.draw_numbers({"off the mean": off, "covariance": covariance}, signs=["->"])

# %% [markdown]
# A principal axis is a direction that the covariance only stretches: an eigenvector (特征向量). By how much is its
# eigenvalue (特征值), and that is the variance along it. The directions can be guessed here, and then checked: grey,
# red against green, and what is at right angles to both, along which nothing varies.

# %%
grey = np.array([1, 1, 1]) / 3**0.5
red_green = np.array([1, -1, 0]) / 2**0.5
rest = np.array([1, 1, -2]) / 6**0.5
assert np.allclose(covariance @ grey, 5400 * grey)         # 2 pixels of 4 lie 60 * sqrt(3) from the mean along it
assert np.allclose(covariance @ red_green, 400 * red_green)
assert np.allclose(covariance @ rest, 0 * rest)
assert np.isclose(5400, (off @ grey).var()) and np.isclose(400, (off @ red_green).var())

eigenvalues, vectors = data.principal_axes(covariance)     # ascending; an axis is a column
assert np.allclose(eigenvalues, [0, 400, 5400])
assert np.allclose(abs(vectors.T @ np.stack([rest, red_green, grey], axis=1)), np.eye(3), atol=1e-6)  # up to the sign
print(inspect.getsource(data.principal_axes))

# %% [markdown]
# ## Once, over the whole set
#
# The notes: 对每个训练图片的每个像素，提取出RGB三个通道的特征向量与特征值. No: a pixel by itself has no covariance
# at all. There is one 3 x 3 matrix for **all pixels of all training pictures**, and so three axes, the same for the
# whole of training:

# %%
assert (np.cov(photo[:, 100, 100].reshape(3, 1), bias=True) == 0).all()

statistics = data.compute_statistics(drawn, quiet=True)            # of the 400 drawn pictures
everything = pictures.transpose(1, 0, 2, 3).reshape(3, -1)  # (3, 400 * 64 * 64)
assert np.allclose(statistics.covariance, np.cov(everything, bias=True), rtol=1e-3)
assert statistics.mean.shape == (3, 64, 64)

# %% [markdown]
# Drawn pictures have no colours of their own: red, green and blue are independent there. So take the photo for a
# training set, and look at its pixels:

# %%
colours = photo.reshape(3, -1).astype(float)               # (3, 65536)
eigenvalues, vectors = data.principal_axes(np.cov(colours, bias=True))
deviations = eigenvalues**0.5
middle = colours.mean(axis=1)
assert deviations[2] > 2 * deviations[1] > 4 * deviations[0]
assert abs(vectors[:, 2]).min() > 0.5 and len(set(np.sign(vectors[:, 2]))) == 1  # the longest axis: dark to bright

some = colours[:, rng.integers(0, 65536, 1500)]
lines = {"pixels": some}
for i in (2, 1, 0):
    reach = deviations[i] * vectors[:, i]
    lines[f"axis {i}"] = np.stack([middle - reach, middle + reach], axis=1)  # (3, 2)
figures.draw_lines({f"red and {name}": {label: (line[0], line[c]) for label, line in lines.items()}
                    for c, name in ((1, "green"), (2, "blue"))}, xlabel="red", dots=["pixels"])

# %% [markdown]
# A line reaches one standard deviation (标准差) to either side. What is each axis? Push the whole photo along it, by 60
# grey levels, to one side and to the other: bright and dark, blue and orange, green and purple. (Which way an axis
# points is arbitrary.)

# %%
def shifted(shift):
    return np.clip(small + shift[:, None, None], 0, 255).astype(np.uint8)


figures.draw_pictures([shifted(60 * side * vectors[:, i]) for i in (2, 1, 0) for side in (1, -1)],
                      [f"axis {i}, {sign}" for i in (2, 1, 0) for sign in "+-"])

# %% [markdown]
# ## The shift, and what multiplies it
#
# For each picture, each time it is used, three numbers alpha are drawn, and **one** shift is added to all of its
# pixels:
#
# $$\text{shift} = [\mathbf{p}_1, \mathbf{p}_2, \mathbf{p}_3]\,[\alpha_1\lambda_1, \alpha_2\lambda_2,
# \alpha_3\lambda_3]^T, \qquad \alpha \sim \text{Gaussian, mean } 0, \text{ standard deviation } 0.1$$
#
# (均值0.1方差 in the notes mixes up two numbers: the mean is 0, and 0.1 the standard deviation.) The lambdas are
# **eigenvalues**, says the paper: squares of grey levels. Take that literally, with pixels from 0 to 255:

# %%
alphas = rng.normal(0, 0.1, (1000, 3))
literal = alphas * eigenvalues @ vectors.T                 # (1000, 3) grey levels
assert 500 < literal.std(axis=0).min() and literal.std(axis=0).max() < 1200  # there are but 256 grey levels

figures.draw_pictures([shifted(shift) for shift in literal[:5]])

# %% [markdown]
# That cannot be meant. The authors' program multiplies by the **standard deviations**, the square roots, in an array
# that is called color_stdevs:

# %%
of_code = alphas * deviations @ vectors.T
assert 4 < of_code.std(axis=0).min() and of_code.std(axis=0).max() < 12

figures.draw_pictures([shifted(shift) for shift in of_code[:5]])

# %% [markdown]
# A few grey levels: that is what the networks of 2012 were trained with. Its data for ImageNet has deviations of 19.7,
# 37.1 and 121.8 (2014 version), near to our photo's. A third reading, eigenvalues of pixels from 0 to 1, makes small
# shifts too, but squares shrink what is small: hardly anything but brightness changes. Recipe `paper` has that, the
# only way to read the text as it stands that makes pictures.

# %%
assert np.allclose(deviations, [19.7, 37.1, 121.8], rtol=0.5)
from_0_to_1 = alphas * (eigenvalues / 255**2) @ vectors.T * 255  # eigenvalues have the unit squared
assert 2 < from_0_to_1.std(axis=0).min() and from_0_to_1.std(axis=0).max() < 5


def along(shifts):
    return (shifts @ vectors).std(axis=0)                  # (3,): how far along each axis


names = ["axis 2", "axis 1", "axis 0"]
spreads = {"deviations (code-2012)": along(of_code), "eigenvalues, 0 to 1 (paper)": along(from_0_to_1),
           "eigenvalues, 0 to 255": along(literal)}
assert spreads["deviations (code-2012)"][0] > 10 * spreads["eigenvalues, 0 to 1 (paper)"][0]
figures.draw_lines({"": {name: (names, spread[::-1]) for name, spread in spreads.items()}},
                   ylabel="spread of the shift (grey levels)", log="y")

# %% [markdown]
# ### Divided by 1.1
#
# After the shift, the program divides the whole picture by 1 + 0.1, in training only, to keep its scale near that of
# test pictures. But independent spreads add up as squares: a shift of 0.1 makes the spread sqrt(1 + 0.1²) = 1.005 times
# as large, not 1.1 times. So its training pictures have about 9 % less contrast than its test pictures. Measured:

# %%
how = data.AUGMENTATIONS["code-2012"]
assert (how.colour, how.spread, how.divide) == ("deviations", 0.1, 1.1)
many = np.broadcast_to(photo, (300, *photo.shape))[:, :, ::4, ::4]
flat = np.broadcast_to(photo.mean(axis=(1, 2), dtype=np.float32)[:, None, None], (3, 64, 64))
trained = data.augment(many, data.sample(rng, 300, 8, how, (eigenvalues, vectors)), flat, 56, how)
tested = data.augment(many, data.sample(rng, 300, 8, data.Augmentation(), None), flat, 56)
assert 0.89 < trained.std() / tested.std() < 0.94 and 1.005 / 1.1 < 0.914

# %% [markdown]
# ## Ten views
#
# At test nothing is random: the four corners, the middle, and their mirror images. The notes stop there:
# 共产生10个patch. What makes it a prediction is what comes next: the ten **softmax outputs are averaged**. It took the
# paper's error from 39.0 to 37.5 % (top-1) and from 18.3 to 17.0 % (top-5).

# %%
views = data.ten_crops(small[None], 48)                    # (1, 10, 3, 48, 48)
assert views.shape == (1, 10, 3, 48, 48)
assert (views[0, 5:] == views[0, :5, :, :, ::-1]).all()
gap = np.full((3, 2, 48), 255, np.uint8)
figures.draw_pictures([np.concatenate([views[0, i], gap, views[0, i + 5]], axis=1) for i in range(5)],
                      ["top left", "top right", "middle", "bottom left", "bottom right"])

# %% [markdown]
# Probabilities, not logits: that is not the same. Four views of one picture, three classes. One view is wild about
# class 0, three quietly prefer class 1. Averaged as logits, the loud view decides; averaged as probabilities, it has a
# vote of 1 like any other:

# %%
def softmax(logits):
    return ops.softmax_cross_entropy_forward(logits, np.zeros(len(logits), int))[1]


logits = np.array([[12.0, 0, 0],
                   [0, 2, 0],
                   [0, 2, 0],
                   [0, 2, 0]])
probs = softmax(logits)
of_probs = probs.mean(axis=0)
of_logits = softmax(logits.mean(axis=0, keepdims=True))[0]
assert of_probs.argmax() == 1 and of_logits.argmax() == 0
assert np.isclose(of_probs.sum(), 1)

figures.draw_numbers({"logits of 4 views": logits, "their probabilities": probs,
                      "averaged": of_probs[None], "of mean logits": of_logits[None]})

# %% [markdown]
# In the library it is one line, on whole batches of views:

# %%
print(inspect.getsource(predict))

# %% [markdown]
# Is the average better than one view? On its loss there is a promise: -log bends upwards, so the loss of the average
# is never larger than the average of the losses. (On the error there is none.)

# %%
random_views = softmax(rng.normal(0, 3, (10_000, 3))).reshape(1000, 10, 3)
loss_of_average = -np.log(random_views.mean(axis=1)[:, 0])
average_of_losses = -np.log(random_views[:, :, 0]).mean(axis=1)
assert (loss_of_average <= average_of_losses + 1e-12).all()
assert (loss_of_average > -np.log(random_views[:, 0, 0])).any()  # but single views may be luckier

# %% [markdown]
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/12_augmentation.py).
#
# **1.** How many versions has a stored picture of `stored` x `stored` pixels, cut to `crop` x `crop`, with mirror
# images?

# %%
import numpy as np

from tinynet import exercises


def versions(stored, crop):
    ...


exercises.check_versions(versions)

# %% [markdown]
# **2.** The longest principal axis of a picture (3, H, W): the direction in which its colours vary most, as an array
# (3,) of length 1, turned so that its largest component (without the sign) is positive. `np.linalg.eigh` may help.

# %%
import numpy as np

from tinynet import exercises


def longest_axis(picture):
    ...


exercises.check_longest_axis(longest_axis)

# %% [markdown]
# **3.** The shift (3,) of one picture as in the program of 2012, from the `eigenvalues` (3,), the `vectors` (3, 3), an
# axis a column, and the three `alphas` (3,).

# %%
import numpy as np

from tinynet import exercises


def colour_shift(eigenvalues, vectors, alphas):
    ...


exercises.check_colour_shift(colour_shift)

# %% [markdown]
# **4.** The prediction (classes,) of one picture, from the `logits` (V, classes) of its V views.

# %%
import numpy as np

from tinynet import exercises


def average_views(logits):
    ...


exercises.check_average_views(average_views)

# %% [markdown]
# ## What to remember
#
# - 33 * 33 * 2 = 2178 versions; in the program of 2012 a draw is shared by 32 pictures.
# - One 3 x 3 covariance for the whole set. A picture gets one shift for all its pixels, of 0.1 **standard deviations**
#   along each axis.
# - Ten views: average the softmax outputs, then decide.
#
# Read next: [data/augment.py](../tinynet/data/augment.py), from top to bottom.
