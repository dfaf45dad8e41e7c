# %% [markdown]
# # 15 · Looking inside (定性评估)
#
# *35 minutes. Before it: 13, the whole network. Beside it: the paper, section 6.1, with its figures 3 and 4.*
#
# After this lesson you can describe what a trained network has learned without error rates: by its kernels, by its
# activations on a photo, by the pictures that it treats as similar, and by its mistakes.
#
# **In a sentence:** train a small AlexNet, repeat the paper's two figures with it, and measure what they show.

# %%
import numpy as np

import tinynet
from tinynet import data, exercises, figures, layers
from tinynet.data.embedded import EmbeddedSource
from tinynet.evaluation import evaluate, predict

# %% [markdown]
# ## A network to look into
#
# It has AlexNet's eight layers, but they are narrower, for pictures of 67 pixels: 32 kernels in conv1 instead of 96, 16
# in each of the two groups. (There is no dropout, which would take about twice as many steps, section 4.2. The weights
# start with a standard deviation of sqrt(2 / inputs), so that a short training is enough. The weights of conv1 start
# small, so that the learned part of them can be seen.)

# %%
def spread(fan_in):
    return (2 / fan_in)**0.5


def table():
    return [
        layers.Conv2d("conv1", 32, 11, stride=4, std=0.02, need_dx=False), layers.ReLU("relu1"), layers.LRN("lrn1"),
        layers.MaxPool("pool1", 3, 2),
        layers.Conv2d("conv2", 64, 5, pad=2, groups=2, std=spread(16 * 25)), layers.ReLU("relu2"), layers.LRN("lrn2"),
        layers.MaxPool("pool2", 3, 2),
        layers.Conv2d("conv3", 96, 3, pad=1, std=spread(64 * 9)), layers.ReLU("relu3"),
        layers.Conv2d("conv4", 96, 3, pad=1, groups=2, std=spread(48 * 9)), layers.ReLU("relu4"),
        layers.Conv2d("conv5", 64, 3, pad=1, groups=2, std=spread(48 * 9)), layers.ReLU("relu5"),
        layers.MaxPool("pool5", 3, 2), layers.Flatten("flatten"),
        layers.Linear("fc6", 128, std=spread(64)), layers.ReLU("relu6"),
        layers.Linear("fc7", 128, std=spread(128)), layers.ReLU("relu7"),
        layers.Linear("fc8", 10, std=0.05)]


SEED = 0
net = tinynet.Sequential(table(), (3, 67, 67), np.random.default_rng(SEED))
net.use("ops")
fresh = {name: w.copy() for name, w in net.named_params().items()}

# %% [markdown]
# The pictures are drawn by the library: ten kinds of figures with random colours, sizes and places. There are 2,000
# training pictures and 500 test pictures. Here is the first of each class, with every second pixel:

# %%
source = EmbeddedSource(75, quiet=True, counts=(2000, 500))
names = source.class_names
train_pictures, test_pictures = (split.read(np.arange(len(split)))[0] for split in (source.train, source.test))
train_labels, test_labels = source.train.labels, source.test.labels

figures.draw_rows({"": list(train_pictures[:10, :, ::2, ::2])}, titles=names)

# %% [markdown]
# Train for five epochs, with random crops of 67 pixels and mirror images; the last epoch has a tenth of the rate. (Each
# computer rounds a little differently, and training magnifies this. So your errors may be a few points higher or lower;
# what is printed below holds in spite of that.)

# %%
statistics = data.compute_statistics(source.train, quiet=True)
batches = data.TrainingBatches(source.train, 32, 67, statistics, np.random.default_rng(SEED))
loss, sgd = tinynet.SoftmaxCrossEntropy(), tinynet.SGD(net, lr=0.01)
STEPS, values = 5 * 63, []                                 # 63 batches of up to 32 are 2,000 pictures
for step in range(STEPS):
    if step == STEPS * 4 // 5:
        sgd.lr /= 10
    x, labels = next(batches)
    values.append(loss.forward(net.forward(x / 64), labels))   # / 64: pixels of about -2 to 2
    net.backward(loss.backward())
    sgd.step()
first, last = np.mean(values[:63]), np.mean(values[-63:])
print("mean loss of the first epoch above 1.8, of the last below 1.4:", first > 1.8 and last < 1.4)
assert first > 1.8 and last < 1.4                          # guessing: ln 10 = 2.3

# %% [markdown]
# What has it learned? (The top-1 error of guessing is 90 %, the top-5 error 50 %.)

# %%
def prepared(pictures):
    """The input of the network for pictures (N, 3, 75, 75): their middle, minus the mean, divided by 64."""
    return (data.center_crop(pictures, 67) - data.center_crop(statistics.mean, 67)) / 64


measured = evaluate(net, loss, [(prepared(test_pictures), test_labels)])
print("top-1 error below 35 %:", measured.top1_error < 0.35, " top-5 error below 5 %:", measured.top5_error < 0.05)
assert measured.top1_error < 0.35 and measured.top5_error < 0.05

# %% [markdown]
# ## The kernels of conv1
#
# The paper's figure 3 shows its 96 kernels as small colour pictures: 48 of GPU 1 above, 48 of GPU 2 below. The kernels
# above were mostly grey stripes of different directions and widths; those below were mostly blobs of colour. Section
# 6.1 says that this happened in every run, with any initial weights, except that the GPUs could be exchanged.
#
# Here are the kernels of our network, drawn as the authors' program draws them: one scale for all, the smallest weight
# black, the largest white.
#
# **Predict:** after five epochs on drawn pictures, will one group be grey and the other coloured?

# %%
def as_pictures(w):
    """Kernels (K, 3, KH, KW) -> from 0 to 1, on one scale for all."""
    return list((w - w.min()) / (w.max() - w.min()))


before, after = as_pictures(fresh["conv1.w"]), as_pictures(net["conv1"].params["w"])
figures.draw_rows({"untrained, group 1": before[:16], "untrained, group 2": before[16:],
                   "trained, group 1": after[:16], "trained, group 2": after[16:]})

# %% [markdown]
# Training has made them larger and smoother: a weight is similar to the weight to its right.

# %%
def likeness(w):
    """The correlation of weights with their neighbours to the right."""
    return np.corrcoef(w[..., :-1].ravel(), w[..., 1:].ravel())[0, 1]


print(f"correlation with the weight to the right: {likeness(fresh['conv1.w']):.2f} before training; "
      f"after it above 0.5: {likeness(net['conv1'].params['w']) > 0.5}")
assert abs(likeness(fresh["conv1.w"])) < 0.05 and likeness(net["conv1"].params["w"]) > 0.5
assert net["conv1"].params["w"].std() > 1.2 * fresh["conv1.w"].std()

# %% [markdown]
# Colour can be measured, too. The grey part of a kernel is the part that is the same in red, green and blue; the rest
# is colour. The **colourfulness** is the share of the squared weights that is colour: 0 for a grey kernel, 1 for one
# whose three channels add up to 0 everywhere.
#
# **Predict:** the colourfulness of kernels of a single pixel, with red, green and blue of (3, 3, 3), (3, 0, 0) and
# (1, -1, 0).

# %%
def colourfulness(w):
    """Kernels (K, 3, KH, KW) -> (K,), from 0, grey, to 1."""
    grey = w.mean(axis=1, keepdims=True)                   # (K, 1, KH, KW)
    return ((w - grey)**2).sum(axis=(1, 2, 3)) / (w**2).sum(axis=(1, 2, 3))


pixel = np.array([[3, 3, 3], [3, 0, 0], [1, -1, 0]], float).reshape(3, 3, 1, 1)
print("colourfulness:", colourfulness(pixel).round(3))
assert np.allclose(colourfulness(pixel), [0, 2 / 3, 1])    # the colour of (3, 0, 0) is (2, -1, -1): 6 of 9

# %% [markdown]
# Three random numbers have one direction of grey and two of colour, so untrained kernels are near 2/3. What about the
# trained ones, group by group?

# %%
colour = {"untrained": colourfulness(fresh["conv1.w"]), "trained": colourfulness(net["conv1"].params["w"])}
means = {f"{when}, group {g + 1}": float(half.mean()) for when, each in colour.items()
         for g, half in enumerate(np.split(each, 2))}
assert abs(means["untrained, group 1"] - 2 / 3) < 0.05 and abs(means["untrained, group 2"] - 2 / 3) < 0.05

figures.draw_bars({"mean colourfulness of conv1's kernels": means})

# %% [markdown]
# The stripes are coloured, and both groups have about the same colourfulness as before: the groups do not differ here.
# There are two likely reasons. In these pictures a figure of any class may have any colour, so colour is not useful.
# And this training has 315 steps, the paper's had about 900,000. Single kernels do differ, so the measure could show a
# difference between the groups:

# %%
trained = colour["trained"]
groups_differ, kernels_differ = abs(trained[:16].mean() - trained[16:].mean()), trained.max() - trained.min()
print(f"the groups differ by less than 0.1: {groups_differ < 0.1}; kernels by more than 0.2: {kernels_differ > 0.2}")
assert groups_differ < 0.1 and kernels_differ > 0.2 and abs(trained.mean() - 2 / 3) < 0.1

# %% [markdown]
# Here are the kernels of a real AlexNet (recipe `code-2012`) after 24 epochs on the 50,000 photographs of CIFAR-10; its
# test error is 19.0 % ([measured](measured/README.md)). The first group is above:
#
# ![The 96 kernels of conv1 after training on CIFAR-10](measured/alexnet_cifar10_figure3.png)
#
# There are edges of all directions, as in the paper's figure, and areas of colour. But they are in both groups: with
# these pictures and this training the groups did not divide the work.
#
# ## On the photo
#
# Which activations are large on a photo? The kernels were learned on pictures of 67 pixels, but a convolution can be
# applied to a picture of any size: on a photo of 227 pixels it makes maps of 55, 27 and 13 pixels, as in the real
# AlexNet.
#
# **Predict:** what do the strongest maps of conv1, conv2 and conv5 look like?

# %%
large = tinynet.Sequential(table()[:15], (3, 227, 227), np.random.default_rng(SEED))   # up to pool5
for name, w in large.named_params().items():
    w[...] = net.named_params()[name]
large.eval()
photo = data.load_picture(figures.PHOTO, 227)
seen, a = {}, ((photo - photo.mean()) / 64).astype(np.float32)[None]
for layer in large.layers:
    a = seen[layer.name] = layer.forward(a)
assert [seen[name].shape[1:] for name in ("relu1", "relu2", "relu5")] == [(32, 55, 55), (64, 27, 27), (64, 13, 13)]


def strongest(name, count=4):
    """The maps with the most energy."""
    order = np.argsort(-(seen[name][0]**2).sum(axis=(1, 2)), kind="stable")[:count]
    return seen[name][0, order], [f"{name}, map {k}" for k in order]


figures.draw_maps(*strongest("relu1"), columns=4)

# %% [markdown]
# The maps of conv1 show edges and areas in their places. The maps of conv2 are coarser:

# %%
figures.draw_maps(*strongest("relu2"), columns=4)

# %%
figures.draw_maps(*strongest("relu5"), columns=4)

# %% [markdown]
# A map of conv5 has only 13 x 13 pixels, so it shows only roughly where something is. What its kernels detect cannot be
# seen on a portrait: this network was trained on rings and stars.
#
# **Predict:** what share of the activations is 0?

# %%
silent = {name: 100 * float((seen[name] == 0).mean()) for name in ("relu1", "relu2", "relu3", "relu4", "relu5")}
assert all(5 < share < 98 for share in silent.values())

figures.draw_bars({"% of activations that are 0, on the photo": silent})

# %% [markdown]
# ## Which pictures are alike?
#
# The right half of the paper's figure 4 shows, for a test picture, the six training pictures whose activations in the
# last hidden layer (4,096 numbers there, 128 here) are nearest, in Euclidean distance. Find them here, and also the six
# pictures that are nearest in their pixels.
#
# **Predict:** what do neighbours in pixels have in common?

# %%
def features(net, pictures):
    """{layer: (N, numbers)}: the pixels and the activations of some layers, a row for each picture."""
    net.eval()
    x = prepared(pictures)
    kept = {"pixels": x}
    for layer in net.layers:
        x = layer.forward(x)
        if layer.name in ("pool1", "pool2", "pool5", "relu6", "relu7"):
            kept[layer.name] = x
    return {name: a.reshape(len(a), -1) for name, a in kept.items()}


def squared_distances(a, b):
    """(M, N): between the rows of a (M, D) and of b (N, D), without M * N * D numbers in memory."""
    return (a * a).sum(axis=1)[:, None] - 2 * a @ b.T + (b * b).sum(axis=1)


asked, known = features(net, test_pictures), features(net, train_pictures)
a, b = asked["relu7"][:3], known["relu7"][:4]
assert np.allclose(squared_distances(a, b), ((a[:, None] - b[None])**2).sum(axis=2), rtol=1e-3, atol=1e-2)

nearest = {name: np.argsort(squared_distances(asked[name], known[name]), axis=1, kind="stable")[:, :6]
           for name in asked}                              # (500, 6) training pictures each
shown = [2, 3, 7]                                          # a cross, a disk, a spiral
rows, same = {}, {}
for i in shown:
    for name, label in (("relu7", "by fc7"), ("pixels", "by pixels")):
        row = f"{names[test_labels[i]]}, {label}"
        rows[row] = [picture[:, ::2, ::2] for picture in (test_pictures[i], *train_pictures[nearest[name][i]])]
        same[row] = [False, *(train_labels[nearest[name][i]] == test_labels[i])]

figures.draw_rows(rows, titles=["test", "nearest", "2nd", "3rd", "4th", "5th", "6th"], marked=same)

# %% [markdown]
# A green frame means the same class. Neighbours in pixels have the same colours in the same places. Neighbours in fc7
# may have different colours and places.
#
# **Predict:** for all 500 test pictures, what share of the six neighbours has the same class, in pixels and in each
# layer? (By chance it would be a tenth.)

# %%
def share_of_same(nearest):
    return float((train_labels[nearest] == test_labels[:, None]).mean())


shares = {name: share_of_same(nearest[name]) for name in nearest}
assert shares["relu7"] > 2 * shares["pixels"] and shares["pixels"] < 0.3
assert shares["relu7"] > shares["pool1"] + 0.05 and abs(shares["relu7"] - shares["pool2"]) < 0.1

figures.draw_bars({"% of the six nearest with the same class": {name: 100 * s for name, s in shares.items()}})

# %% [markdown]
# With photographs the same is true. These are the neighbours in fc7 of the AlexNet that was trained on CIFAR-10, for
# eight test pictures; 75 % of the neighbours have the same class:
#
# ![Test pictures of CIFAR-10 and the six training pictures nearest in fc7](measured/alexnet_cifar10_figure4_right.png)
#
# Back to the drawn pictures: two layers are almost enough there. After pool2 the share hardly grows. Ten outlines are
# much easier than the thousand classes of ImageNet. But the layers above need fewer numbers for the same result:

# %%
print({name: known[name].shape[1] for name in ("pixels", "pool2", "relu7")})
assert known["pool2"].shape[1] == 576 and known["relu7"].shape[1] == 128

# %% [markdown]
# Is this the result of training, or would any network of this form do it? Here are the neighbours with the weights from
# before the first step.
#
# **Predict:** what share has the same class?

# %%
untrained = tinynet.Sequential(table(), (3, 67, 67), np.random.default_rng(SEED))
untrained.use("ops")
assert all((w == fresh[name]).all() for name, w in untrained.named_params().items())
asked_fresh, known_fresh = features(untrained, test_pictures), features(untrained, train_pictures)
by_chance = squared_distances(asked_fresh["relu7"], known_fresh["relu7"])
share_untrained = share_of_same(np.argsort(by_chance, axis=1, kind="stable")[:, :6])
print("the same class, in fc7: untrained less than a quarter, trained more than two thirds:",
      share_untrained < 1 / 4 and shares["relu7"] > 2 / 3)
assert share_untrained < 1 / 4 and shares["relu7"] > 2 / 3

# %% [markdown]
# ## The same picture, moved, mirrored, in another light
#
# Move a picture by four pixels, mirror it, or change the colour of the light: for us it shows the same object. How far
# is it from the original, in pixels and in fc7? As a unit, take the median distance to the training pictures. (Moves
# and mirror images were part of this training. Changes of light were not: there were no colour shifts. Lesson 12
# explains why the paper has them: illumination invariance, 光照不变性.)
#
# **Predict:** which of the three changes is the largest in fc7?

# %%
def middle(distances):
    return float(np.median(np.sqrt(np.maximum(distances, 0))))


warm = np.array([1.15, 1, 0.7]).reshape(3, 1, 1)           # more red, less blue
moved = {"4 pixels up and left": np.roll(test_pictures, (-4, -4), axis=(2, 3)),
         "mirror image": np.ascontiguousarray(test_pictures[..., ::-1]),
         "warmer light": (test_pictures * warm).clip(0, 255).astype(np.uint8)}
far = {"pixels": {}, "relu7": {}}
for how, pictures in moved.items():
    there = features(net, pictures)
    for name in far:
        to_itself = ((there[name] - asked[name])**2).sum(axis=1)
        to_others = squared_distances(asked[name], known[name])
        far[name][how] = middle(to_itself) / middle(to_others)
assert all(far["relu7"][how] < 0.6 * far["pixels"][how] for how in moved)

figures.draw_bars({"distance / distance to others": {
    f"{how}, {'in fc7' if name == 'relu7' else 'in pixels'}": far[name][how] for how in moved for name in far}})

# %% [markdown]
# (The crop of 67 pixels does not contain the pixels that `np.roll` moves from one edge to the other.) All three changes
# are much smaller in fc7 than in pixels. The light matters little to this network even without colour shifts, because
# the classes of these pictures do not depend on colour. In photographs colours are useful, so there the network has to
# learn it from shifted colours.
#
# ## Mistakes
#
# The left half of figure 4 shows test pictures with the five most probable classes. Here are the first four test
# pictures, and the four for which the probability of the right class (red) is smallest:

# %%
probs = predict(net, prepared(test_pictures))
own = probs[np.arange(500), test_labels]
assert np.allclose(probs.sum(axis=1), 1, atol=1e-4)

eight = np.r_[0:4, np.argsort(own, kind="stable")[:4]]
figures.draw_guesses(None, test_pictures[eight], probs[eight], names, [names[k] for k in test_labels[eight]],
                     test_labels[eight])

# %% [markdown]
# Look at the four worst: can you explain them?
#
# **Predict:** is the network less sure where it is wrong? Compare its largest probability for right and for wrong
# answers.

# %%
right = probs.argmax(axis=1) == test_labels
where_right, where_wrong = (probs[which].max(axis=1) for which in (right, ~right))
print("largest probability, mean: lower by more than 0.1 where wrong:", where_right.mean() > where_wrong.mean() + 0.1)
print("one of the mistakes is made with a probability above 0.6:", where_wrong.max() > 0.6)
assert where_right.mean() > where_wrong.mean() + 0.1 and where_wrong.max() > 0.6

# %% [markdown]
# On average it is less sure where it is wrong, but it makes some mistakes with a large probability. So does the AlexNet
# on CIFAR-10. Compare its two mistakes here, bird and dog, with their neighbours in fc7 above:
#
# ![Eight test pictures of CIFAR-10 with the five most probable classes](measured/alexnet_cifar10_figure4_left.png)
#
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/15_looking_inside.py).
#
# **1.** The greyness of one kernel `w` (3, KH, KW) is 1 minus its colourfulness: 1 for a grey kernel.

# %%
import numpy as np

from tinynet import exercises


def greyness(w):
    ...


exercises.check_greyness(greyness)

# %% [markdown]
# **2.** The numbers of the `k` rows of `known` (N, D) that are nearest to `asked` (D,), in Euclidean distance, the
# nearest first.

# %%
import numpy as np

from tinynet import exercises


def nearest_rows(asked, known, k):
    ...


exercises.check_nearest_rows(nearest_rows)

# %% [markdown]
# ## What to remember
#
# - Only the kernels of conv1 can be understood by looking at them; in later layers, look at their activations.
# - Neighbours in fc7 have the same class, neighbours in pixels have the same colours; this is the result of training.
# - Whether two groups learn different things can be measured, with a number for each group.
#
# Next: [16, results](16_results.ipynb). Read next: [evaluation.py](../tinynet/evaluation.py), where `predict` and
# `evaluate` are.
