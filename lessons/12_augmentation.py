# %% [markdown]
# # 12 · Data augmentation (数据增强)
#
# *40 minutes. Before it: 02, pictures as tensors; 04, softmax. Beside it: the paper, section 4.1, and
# `tinynet/data/augment.py`.*
#
# After this lesson you can count the crops of a picture (and not get 2048), say which mean is subtracted from each,
# find the principal axes (主成分分析, PCA) of four pixels by hand, derive the colour shift of the paper, and say how ten
# views become one prediction.
#
# **In a sentence:** each time a picture is used, it is cropped at a random place, mirrored with probability 1/2, and
# made a little brighter, darker, or of another tint.

# %%
import inspect

import numpy as np

from tinynet import data, exercises, figures, ops
from tinynet.data.augment import Sample
from tinynet.data.embedded import EmbeddedSource
from tinynet.evaluation import predict

rng = np.random.default_rng(0)

# %% [markdown]
# ## How many crops?
#
# Pictures are stored with 256 x 256 pixels, and the input of the paper's network is a crop of 224 x 224 (裁剪).
#
# **Predict:** how many places are there for the first row of the crop? Think of a small case first: 3 rows out of 5.

# %%
places = [top for top in range(5) if top + 3 <= 5]
print("3 of 5 pixels: the first may be", places, f"so 5 - 3 + 1 = {len(places)} places")
print(f"224 of 256, and mirror images: {256 - 224 + 1} * {256 - 224 + 1} * 2 = {(256 - 224 + 1)**2 * 2}")
assert places == [0, 1, 2] and len(places) == 5 - 3 + 1
assert (256 - 224 + 1)**2 * 2 == 33 * 33 * 2 == 2178       # offsets 0 to 32, down and across; and the mirror images
assert 32 * 32 * 2 == 2048                                 # what the paper prints
assert (256 - 227 + 1)**2 * 2 == 1800                      # Caffe's 227

photo = data.load_picture(figures.PHOTO, 256)              # uint8 (3, 256, 256)
figures.draw_crops(photo, 224, [(0, 0), (32, 16)])

# %% [markdown]
# In general, for a stored side $S$ and a crop of side $s$, there are $2\,(S - s + 1)^2$ versions with mirror images.
# The green square contains the first pixels of all crops. The authors' program draws offsets from 0 to 32, both
# included, and so does this library. One function draws the random numbers, another applies them:

# %%
plain = data.sample(rng, 20_000, margin=32, how=data.Augmentation(), axes=None)
print(f"offsets {plain.tops.min()} to {plain.tops.max()}, {plain.flips.mean():.1%} mirrored")
for offsets in (plain.tops, plain.lefts):
    assert set(offsets.tolist()) == set(range(33))         # both ends are drawn
assert 0.48 < plain.flips.mean() < 0.52                    # half of them mirrored (水平翻转)

one = Sample(np.array([0]), np.array([32]), np.array([True]), None)
x = data.augment(photo[None], one, np.zeros((3, 256, 256), np.float32), 224)
assert x.shape == (1, 3, 224, 224) and (x[0] == photo[:, :224, 32:][:, :, ::-1]).all()
print(inspect.getsource(data.sample))

# %% [markdown]
# **Why it is nearly free.** A crop is a copy of numbers that are in memory already, and a mirror image is a copy in the
# other direction: no file is read, and nothing new is stored. A crop copies each number once, while the network
# multiplies 724 million times forward, and about twice as often backward. Also, in the authors' program the CPU made
# the next crops while the GPUs trained with the last ones.
#
# **Predict:** how many copies are there for each multiplication?

# %%
copies, multiplications = 3 * 224 * 224, 3 * 724_406_816
print(f"{copies:,} copies for {multiplications:,} multiplications: {copies / multiplications:.5%}")
assert copies / multiplications < 1e-4

# %% [markdown]
# Is the data set now 2178 times as large? Not really. The paper says that these examples are "highly interdependent".
# Compare two crops of one picture that are one pixel apart with the crops of two pictures:

# %%
drawn = EmbeddedSource(64, quiet=True, counts=(400, 0)).train
pictures, _ = drawn.read(np.arange(400))                   # uint8 (400, 3, 64, 64)
small = data.load_picture(figures.PHOTO, 64)


def apart(a, b):
    return abs(a.astype(float) - b).mean()


neighbours = apart(small[:, :56, :56], small[:, 1:57, 1:57])
strangers = apart(small[:, :56, :56], pictures[0, :, :56, :56])
print(f"one pixel apart: {neighbours:.0f} grey levels; another picture: {strangers:.0f}")
assert neighbours < strangers / 3

# %% [markdown]
# ## Does each picture have its own crop?
#
# In the authors' program 32 pictures in a row share one crop and one flip. The text does not mention this, so a reader
# will expect that each picture has its own. In the recipe `code-2012` pictures share crops, in the others they do not:

# %%
for recipe in data.AUGMENTATIONS:
    print(f"{recipe:<10} {data.AUGMENTATIONS[recipe]}")

axes_of_grey = np.ones(3), np.eye(3)
samples = {recipe: data.sample(rng, 128, 32, data.AUGMENTATIONS[recipe], axes_of_grey)
           for recipe in ("paper", "code-2012")}
changes = {recipe: np.flatnonzero(np.diff(sample.tops) != 0) + 1 for recipe, sample in samples.items()}
assert set(changes["code-2012"]) <= {32, 64, 96} and len(changes["paper"]) > 100

shared = len(np.unique(samples["code-2012"].tops))
print(f"128 pictures: {shared} different first rows in code-2012, {len(np.unique(samples['paper'].tops))} in paper")

figures.draw_lines({"crops of one batch": {recipe: sample.tops for recipe, sample in samples.items()}},
                   xlabel="number of the picture in the batch", ylabel="first row of the crop", dots=samples)

# %% [markdown]
# ## The mean
#
# Section 2 of the paper says that the mean of every pixel over the training set, the mean image (均值图像), is
# subtracted, and nothing else. But the mean image has 256 x 256 pixels, and a crop is smaller (lesson 02). The authors
# subtract the **middle** of the mean from every crop, wherever it was cut, mirrored or not. Caffe subtracts the part
# that lies **under the crop**, mirrored with it.
#
# **Predict** both results by hand, with the numbers in the figure below: 4 x 4 pixels, a crop of 2 x 2 at row 2, column
# 0, mirrored.

# %%
picture = np.arange(0, 160, 10).reshape(1, 4, 4)
mean = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
at = Sample(np.array([2]), np.array([0]), np.array([True]), None)
middle, under = (data.augment(picture[None], at, mean, 2, data.Augmentation(mean_at=where))[0, 0]
                 for where in ("middle", "crop"))
assert (middle == [[90 - 5, 80 - 6], [130 - 9, 120 - 10]]).all()
assert (under == [[90 - 9, 80 - 8], [130 - 13, 120 - 12]]).all()

figures.draw_numbers({"picture": picture[0], "mean": mean[0], "minus the middle": middle, "minus what is under": under},
                     windows={"picture": (2, 0, 2, 2), "mean": (1, 1, 2, 2)})

# %% [markdown]
# The difference is small in practice: a mean over many pictures is smooth, so the part under the crop is similar to the
# middle.
#
# ## Why colours?
#
# An object stays the same object when the intensity and the colour of the light change: a rose is a rose at noon, in
# the shade and in the evening. The network should learn this property of pictures (illumination invariance, 光照不变性). So
# the colours of training pictures are changed as if the light had been different. They should vary **as colours vary in
# photographs**: much from dark to bright, less from red to blue. PCA finds these directions.
#
# ## Principal axes, by hand
#
# Take $M$ pixels $\mathbf{x}_m$ with three numbers each and their mean $\bar{\mathbf{x}}$. Their covariance (协方差) is
# a 3 x 3 matrix:
#
# $$\Sigma = \frac{1}{M} \sum_{m=1}^{M} (\mathbf{x}_m - \bar{\mathbf{x}})(\mathbf{x}_m - \bar{\mathbf{x}})^T$$
#
# Here are four pixels, whose mean is a grey of 120.
#
# **Predict** the covariance of red with red from the first column.

# %%
pixels = np.array([[180, 180, 180],                        # R, G, B: brighter than the mean by 60
                   [60, 60, 60],                           # darker by 60
                   [140, 100, 120],                        # more red, less green
                   [100, 140, 120]], float)                # less red, more green
off = pixels - pixels.mean(axis=0)
assert (pixels.mean(axis=0) == 120).all()

covariance = off.T @ off / 4                               # (3, 3)
print(f"red with red: {covariance[0, 0]:g}")
assert covariance[0, 0] == (60**2 + 60**2 + 20**2 + 20**2) / 4 == 2000
assert covariance[0, 1] == (60 * 60 + 60 * 60 - 20 * 20 - 20 * 20) / 4 == 1600
assert covariance[0, 2] == (60 * 60 + 60 * 60 + 0 + 0) / 4 == 1800

figures.draw_numbers({"pixels minus the mean": off, "covariance": covariance}, signs=["->"])

# %% [markdown]
# How much do the pixels vary along a direction $\mathbf{p}$ of length 1? The variance of their coordinates along it is
#
# $$\frac{1}{M} \sum_m \left(\mathbf{p}^T (\mathbf{x}_m - \bar{\mathbf{x}})\right)^2 = \mathbf{p}^T \Sigma \, \mathbf{p}$$
#
# Where this is largest, $\Sigma \mathbf{p} = \lambda \mathbf{p}$: the covariance only stretches $\mathbf{p}$. (Set the
# gradient of $\mathbf{p}^T \Sigma \mathbf{p} - \lambda (\mathbf{p}^T \mathbf{p} - 1)$ to zero.) Such a $\mathbf{p}$ is
# an eigenvector (特征向量), here called a principal axis. Its $\lambda$, the eigenvalue (特征值), is the **variance**
# along it, $\mathbf{p}^T \Sigma \mathbf{p} = \lambda$. There are three axes, at right angles to each other. Here they
# can be guessed and then checked: grey, red against green, and the direction at right angles to both, along which
# nothing varies.

# %%
grey = np.array([1, 1, 1]) / 3**0.5
red_green = np.array([1, -1, 0]) / 2**0.5
rest = np.array([1, 1, -2]) / 6**0.5
assert np.allclose(covariance @ grey, 5400 * grey)         # 2 pixels of 4 lie 60 * sqrt(3) from the mean along it
assert np.allclose(covariance @ red_green, 400 * red_green)
assert np.allclose(covariance @ rest, 0 * rest)
assert np.isclose(5400, (off @ grey).var()) and np.isclose(400, (off @ red_green).var())

eigenvalues, vectors = data.principal_axes(covariance)     # ascending; an axis is a column
print("eigenvalues:", eigenvalues.round(6) + 0.0)
assert np.allclose(eigenvalues, [0, 400, 5400])
assert np.allclose(abs(vectors.T @ np.stack([rest, red_green, grey], axis=1)), np.eye(3), atol=1e-6)  # up to the sign
print(inspect.getsource(data.principal_axes))

# %% [markdown]
# ## Once, over the whole training set
#
# One pixel, or one picture, does not get axes of its own (as some [student's notes](notes_corrected.md) say). There is
# one 3 x 3 matrix for **all pixels of all training pictures**, so there are three axes, the same for the whole
# training.
#
# **Predict:** what is the covariance of a single pixel?

# %%
print("covariance of one pixel:", np.cov(photo[:, 100, 100].reshape(3, 1), bias=True).ravel())
assert (np.cov(photo[:, 100, 100].reshape(3, 1), bias=True) == 0).all()

statistics = data.compute_statistics(drawn, quiet=True)    # of the 400 drawn pictures
everything = pictures.transpose(1, 0, 2, 3).reshape(3, -1)  # (3, 400 * 64 * 64)
assert np.allclose(statistics.covariance, np.cov(everything, bias=True), rtol=1e-3)
assert statistics.mean.shape == (3, 64, 64)

# %% [markdown]
# In the drawn pictures red, green and blue are independent, so all directions have the same variance. So use the photo
# as a training set, and look at its pixels:

# %%
colours = photo.reshape(3, -1).astype(float)               # (3, 65536)
eigenvalues, vectors = data.principal_axes(np.cov(colours, bias=True))
deviations = eigenvalues**0.5
centre = colours.mean(axis=1)
print("standard deviation along the axes:", deviations.round(1))
assert deviations[2] > 2 * deviations[1] > 4 * deviations[0]
assert abs(vectors[:, 2]).min() > 0.5 and len(set(np.sign(vectors[:, 2]))) == 1  # the longest axis: dark to bright

some = colours[:, rng.integers(0, 65536, 1500)]
lines = {"pixels": some}
for i in (2, 1, 0):
    reach = deviations[i] * vectors[:, i]
    lines[f"axis {i}"] = np.stack([centre - reach, centre + reach], axis=1)  # (3, 2)
figures.draw_lines({f"red and {name}": {label: (line[0], line[c]) for label, line in lines.items()}
                    for c, name in ((1, "green"), (2, "blue"))}, xlabel="red", dots=["pixels"], aspect="equal")

# %% [markdown]
# A line reaches one standard deviation (标准差) to either side.
#
# **Predict:** what does the photo look like when all its pixels move along axis 2, along axis 1, along axis 0? In the
# next figure they move by 60 grey levels to one side and to the other. (Which side of an axis is + is arbitrary.)

# %%
def shifted(shift):
    return np.clip(small + shift[:, None, None], 0, 255).astype(np.uint8)


figures.draw_pictures([shifted(60 * side * vectors[:, i]) for i in (2, 1, 0) for side in (1, -1)],
                      [f"axis {i}, {sign}" for i in (2, 1, 0) for sign in "+-"])

# %% [markdown]
# ## The shift
#
# For each picture, each time it is used, three numbers are drawn, $\alpha_1, \alpha_2, \alpha_3$, and **one** shift is
# added to all pixels of the picture:
#
# $$\text{shift} = [\mathbf{p}_1, \mathbf{p}_2, \mathbf{p}_3]\,[\alpha_1\lambda_1, \alpha_2\lambda_2,
# \alpha_3\lambda_3]^T = \sum_{i=1}^{3} \alpha_i \lambda_i \, \mathbf{p}_i, \qquad
# \alpha_i \sim \mathcal{N}(\text{mean } 0, \text{ standard deviation } 0.1)$$
#
# How large is such a shift along axis $i$? The axes are at right angles, so
# $\mathbf{p}_i^T \text{shift} = \alpha_i \lambda_i$, and its standard deviation is $0.1\, \lambda_i$. But $\lambda_i$
# is a variance; its unit is the **square** of a grey level.
#
# **Predict:** how many grey levels is the shift, with pixels from 0 to 255 and the formula as it is printed?

# %%
alphas = rng.normal(0, 0.1, (1000, 3))
literal = alphas * eigenvalues @ vectors.T                 # (1000, 3) grey levels
print("standard deviation of the shift of R, G, B:", literal.std(axis=0).round(), "grey levels")
assert 500 < literal.std(axis=0).min() and literal.std(axis=0).max() < 1200  # there are only 256 grey levels

figures.draw_pictures([shifted(shift) for shift in literal[:5]], [f"eigenvalues, draw {i}" for i in range(1, 6)])

# %% [markdown]
# This cannot be what the authors did. Their program multiplies by the **standard deviations**
# $\sigma_i = \sqrt{\lambda_i}$, in an array named color_stdevs:
#
# $$\text{shift} = \sum_{i=1}^{3} \alpha_i \sigma_i \, \mathbf{p}_i, \qquad
# \text{covariance of the shift} = 0.1^2 \sum_i \sigma_i^2 \, \mathbf{p}_i \mathbf{p}_i^T = 0.01 \, \Sigma$$
#
# So the shifts vary as the pixels do, a tenth as far:

# %%
of_code = alphas * deviations @ vectors.T
print("standard deviation of the shift of R, G, B:", of_code.std(axis=0).round(1), "grey levels")
assert 4 < of_code.std(axis=0).min() and of_code.std(axis=0).max() < 12
assert np.allclose(np.cov(of_code.T), 0.01 * np.cov(colours), rtol=0.2)

figures.draw_pictures([shifted(shift) for shift in of_code[:5]], [f"deviations, draw {i}" for i in range(1, 6)])

# %% [markdown]
# The networks of 2012 were trained with shifts of a few grey levels. The program's data for ImageNet (2014 version) has
# standard deviations of 19.7, 37.1 and 121.8, similar to those of our photo. There is a third reading: eigenvalues of
# pixels from 0 to 1. Its shifts are small, too, but squaring makes small numbers even smaller, so almost only the
# brightness changes. The recipe `paper` uses this reading, because it is the only one that follows the text literally
# and gives usable pictures.

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
figures.draw_lines({"three readings": {name: (names, spread[::-1]) for name, spread in spreads.items()}},
                   ylabel="standard deviation (grey levels)", log="y")

# %% [markdown]
# ### Divided by 1.1
#
# After the shift, the program divides the whole picture by 1 + 0.1, in training only, to keep its scale close to that
# of test pictures. But variances of independent numbers add up, not standard deviations: with the shift, the standard
# deviation of the pixels is $\sqrt{1 + 0.1^2} = 1.005$ times as large, not 1.1 times.
#
# **Predict:** do training pictures then have more contrast than test pictures, or less, and by how much?

# %%
how = data.AUGMENTATIONS["code-2012"]
assert (how.colour, how.spread, how.divide) == ("deviations", 0.1, 1.1)
many = np.broadcast_to(photo, (300, *photo.shape))[:, :, ::4, ::4]
flat = np.broadcast_to(photo.mean(axis=(1, 2), dtype=np.float32)[:, None, None], (3, 64, 64))
trained = data.augment(many, data.sample(rng, 300, 8, how, (eigenvalues, vectors)), flat, 56, how)
tested = data.augment(many, data.sample(rng, 300, 8, data.Augmentation(), None), flat, 56)
print(f"contrast in training / at test: {trained.std() / tested.std():.2f}; 1.005 / 1.1 = {1.005 / 1.1:.2f}")
assert 0.89 < trained.std() / tested.std() < 0.94

# %% [markdown]
# ## Ten views
#
# At test nothing is random: there are ten views, the four corners and the middle, and their mirror images. The ten
# **softmax outputs are averaged**, $\bar{\mathbf{p}} = \frac{1}{10} \sum_{v} \mathbf{p}_v$. This lowered the paper's
# error from 39.0 to 37.5 % (top-1) and from 18.3 to 17.0 % (top-5).

# %%
views = data.ten_crops(small[None], 48)                    # (1, 10, 3, 48, 48)
assert views.shape == (1, 10, 3, 48, 48)
assert (views[0, 5:] == views[0, :5, :, :, ::-1]).all()
gap = np.full((3, 2, 48), 255, np.uint8)
figures.draw_pictures([np.concatenate([views[0, i], gap, views[0, i + 5]], axis=1) for i in range(5)],
                      ["top left", "top right", "middle", "bottom left", "bottom right"])

# %% [markdown]
# The average of probabilities and the average of logits give different predictions. Take four views of one picture and
# three classes. One view has a very large logit for class 0, three have a small one for class 1.
#
# **Predict:** which class is the prediction with averaged logits, and which with averaged probabilities?

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
print(f"averaged probabilities: class {of_probs.argmax()}; averaged logits: class {of_logits.argmax()}")
assert of_probs.argmax() == 1 and of_logits.argmax() == 0
assert np.isclose(of_probs.sum(), 1)

figures.draw_numbers({"logits of 4 views": logits, "their probabilities": probs,
                      "averaged": of_probs[None], "of mean logits": of_logits[None]})

# %% [markdown]
# A logit has no bound, so one view can outweigh the others. A probability is at most 1, so no view can contribute more
# than 1. In the library it is one line, on whole batches of views:

# %%
print(inspect.getsource(predict))

# %% [markdown]
# Is the average better than one view? For the loss there is a guarantee. The function $-\log$ is convex, so by Jensen's
# inequality
#
# $$-\log \frac{1}{V} \sum_v p_v \;\le\; \frac{1}{V} \sum_v -\log p_v$$
#
# with $p_v$ the probability that view $v$ gives to the right class: the loss of the average is never larger than the
# average of the losses. For the error there is no such guarantee.
#
# **Predict:** can a single view have a smaller loss than the average of ten?

# %%
random_views = softmax(rng.normal(0, 3, (10_000, 3))).reshape(1000, 10, 3)
loss_of_average = -np.log(random_views.mean(axis=1)[:, 0])
average_of_losses = -np.log(random_views[:, :, 0]).mean(axis=1)
better = (-np.log(random_views[:, 0, 0]) < loss_of_average).mean()
print(f"mean loss of the average {loss_of_average.mean():.2f}, average loss {average_of_losses.mean():.2f}; "
      f"a single view has a smaller loss for {better:.0%} of the pictures")
assert (loss_of_average <= average_of_losses + 1e-12).all() and better > 0

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
# **3.** The shift (3,) of one picture as in the program of 2012, from the `eigenvalues` (3,), the `vectors` (3, 3),
# whose columns are the axes, and the three `alphas` (3,).

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
# - 33 * 33 * 2 = 2178 versions; in the program of 2012, 32 pictures share a crop.
# - Augmentation costs almost nothing, but its versions of a picture are very similar.
# - Colour shifts teach the network that an object stays the same in another light.
# - One 3 x 3 covariance for the whole training set. A picture gets one shift for all its pixels, of 0.1 **standard
#   deviations** along each axis.
# - Ten views: average the softmax outputs, then decide.
#
# Next: [13, the whole network](13_alexnet.ipynb). Read next: [data/augment.py](../tinynet/data/augment.py), from top to
# bottom.
