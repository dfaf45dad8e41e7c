# %% [markdown]
# # 15 · Looking inside (定性评估)
#
# *35 minutes. Before it: 13, the whole network. Beside it: the paper, section 6.1, with its figures 3 and 4.*
#
# After this lesson you can say what a layer of a trained network has learned without reading a single error rate: by
# its kernels, by what lights up on a photo, by which pictures it takes to be alike, and by what it gets wrong. The
# notes end just here; their sentence is that the two GPUs turned out to look at different things.
#
# **In a sentence:** train a small AlexNet, then redo the paper's two figures with it, and measure what they show.

# %%
import numpy as np

import tinynet
from tinynet import data, exercises, figures, layers
from tinynet.data.embedded import EmbeddedSource
from tinynet.evaluation import evaluate, predict

# %% [markdown]
# ## A network to look into
#
# AlexNet's eight layers, narrow, for pictures of 67 pixels: 32 kernels in conv1 instead of 96, 16 for each of the two
# groups. (Without dropout, which takes about twice as many steps; section 4.2. The weights start with a spread of
# sqrt(2 / fan-in), so that a short training need not wait for them to grow; those of conv1 start small, so that one
# sees what was learned and not where they began.)

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
fresh = {name: w.copy() for name, w in net.named_params().items()}

# %% [markdown]
# The pictures are the library's own, drawn from a seed: ten figures of any colour, size and place. 2,000 to learn from,
# 500 test pictures. The first of each class, every second pixel of it:

# %%
source = EmbeddedSource(75, quiet=True, counts=(2000, 500))
names = source.class_names
train_pictures, test_pictures = (split.read(np.arange(len(split)))[0] for split in (source.train, source.test))
train_labels, test_labels = source.train.labels, source.test.labels

figures.draw_rows({"": list(train_pictures[:10, :, ::2, ::2])}, titles=names)

# %% [markdown]
# Five times through the training pictures, with random crops of 67 pixels and mirror images; the last time at a tenth
# of the rate:

# %%
statistics = data.compute_statistics(source.train, quiet=True)
batches = data.TrainingBatches(source.train, 32, 67, statistics, np.random.default_rng(SEED))
loss, sgd = tinynet.SoftmaxCrossEntropy(), tinynet.SGD(net, lr=0.01)
STEPS = 5 * 63                                             # 63 batches of up to 32 are 2,000 pictures
for step in range(STEPS):
    if step == STEPS * 4 // 5:
        sgd.lr /= 10
    x, labels = next(batches)
    loss.forward(net.forward(x / 64), labels)              # / 64: pixels of about -2 to 2
    net.backward(loss.backward())
    sgd.step()

# %% [markdown]
# It has learned: guessing one of ten is wrong nine times of ten.

# %%
def prepared(pictures):
    """What the network is fed of pictures (N, 3, 75, 75): their middle, less the mean, over 64."""
    return (data.center_crop(pictures, 67) - data.center_crop(statistics.mean, 67)) / 64


measured = evaluate(net, loss, [(prepared(test_pictures), test_labels)])
assert measured.top1_error < 0.55 and measured.top5_error < 0.2

# %% [markdown]
# ## The kernels of conv1
#
# The paper's figure 3 shows its 96 kernels as small colour pictures: 48 of GPU 1 above, 48 of GPU 2 below. Those above
# were mostly grey, stripes of one direction and width each; those below mostly blobs of colour. It came out so in every
# run, says section 6.1, whatever the initial weights, except that the GPUs could change places.
#
# Ours, drawn as the authors' program draws: one scale for all, the least weight black, the largest white.

# %%
def as_pictures(w):
    """Kernels (K, 3, KH, KW) -> from 0 to 1, on one scale for all."""
    return list((w - w.min()) / (w.max() - w.min()))


before, after = as_pictures(fresh["conv1.w"]), as_pictures(net["conv1"].params["w"])
figures.draw_rows({"fresh, group 1": before[:16], "fresh, group 2": before[16:],
                   "trained, group 1": after[:16], "trained, group 2": after[16:]})

# %% [markdown]
# The training has made them larger, and smoother: a weight is like the weight to its right.

# %%
def likeness(w):
    """The correlation of weights with their neighbours to the right."""
    return np.corrcoef(w[..., :-1].ravel(), w[..., 1:].ravel())[0, 1]


assert abs(likeness(fresh["conv1.w"])) < 0.05 and likeness(net["conv1"].params["w"]) > 0.3
assert net["conv1"].params["w"].std() > 1.2 * fresh["conv1.w"].std()

# %% [markdown]
# And colour? Let us measure instead of looking. Of each kernel take
# the part that is the same in red, green and blue, its grey part; what is left is colour. The **colourfulness** is the
# share of the squared weights that is colour: 0 for a grey kernel, 1 for one whose three channels add up to 0
# everywhere. By hand, for a kernel of a single pixel:

# %%
def colourfulness(w):
    """Kernels (K, 3, KH, KW) -> (K,), from 0, grey, to 1."""
    grey = w.mean(axis=1, keepdims=True)                   # (K, 1, KH, KW)
    return ((w - grey)**2).sum(axis=(1, 2, 3)) / (w**2).sum(axis=(1, 2, 3))


pixel = np.array([[3, 3, 3], [3, 0, 0], [1, -1, 0]], float).reshape(3, 3, 1, 1)
assert np.allclose(colourfulness(pixel), [0, 2 / 3, 1])    # (2, -1, -1) is left of (3, 0, 0): 6 of 9

# %% [markdown]
# Three numbers drawn at random have one direction of grey and two of colour, so fresh kernels lie near 2/3. And the
# trained ones, group by group?

# %%
colour = {"fresh": colourfulness(fresh["conv1.w"]), "trained": colourfulness(net["conv1"].params["w"])}
means = {f"{when}, group {g + 1}": float(half.mean()) for when, each in colour.items()
         for g, half in enumerate(np.split(each, 2))}
assert abs(means["fresh, group 1"] - 2 / 3) < 0.05 and abs(means["fresh, group 2"] - 2 / 3) < 0.05

figures.draw_bars({"mean colourfulness of conv1's kernels": means})

# %% [markdown]
# The stripes are in colour, and both groups are where they began: no division of work here. That is no surprise. In
# these pictures a figure of any class may have any colour, so no kernel has reason to care for one, and the training
# was 315 steps long where the paper's was about 900,000. Single kernels do differ, and these numbers would show it if
# the two groups did:

# %%
trained = colour["trained"]
assert abs(trained[:16].mean() - trained[16:].mean()) < 0.2 and abs(trained.mean() - 2 / 3) < 0.15
assert trained.max() - trained.min() > 0.2

# %% [markdown]
# ## On the photo
#
# What lights up? The kernels were learned on pictures of 67 pixels, but a convolution does not care how large a picture
# is: the same weights on a photo of 227 make maps of 55, 27 and 13 pixels, as in the real AlexNet.

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


def loudest(name, count=8):
    """The maps with the most energy."""
    order = np.argsort(-(seen[name][0]**2).sum(axis=(1, 2)), kind="stable")[:count]
    return seen[name][0, order], [f"{name}, map {k}" for k in order]


figures.draw_maps(*loudest("relu1"), columns=4)

# %% [markdown]
# conv1: edges and areas, in the right place. Two layers on, the maps are coarser, and each answers in fewer places:

# %%
figures.draw_maps(*loudest("relu2", 4), columns=4)

# %%
figures.draw_maps(*loudest("relu5", 4), columns=4)

# %% [markdown]
# In conv5 a map of 13 x 13 pixels says only roughly where something is. What it says cannot be read off a portrait:
# this network knows rings and stars. How many of the activations are 0?

# %%
silent = {name: 100 * float((seen[name] == 0).mean()) for name in ("relu1", "relu2", "relu3", "relu4", "relu5")}
assert all(5 < share < 98 for share in silent.values())

figures.draw_bars({"% of activations that are 0, on the photo": silent})

# %% [markdown]
# ## Which pictures are alike?
#
# The right half of the paper's figure 4: take a test picture, take what the last hidden layer says of it (there 4,096
# numbers, here 128), and look for the six training pictures for which it says nearly the same, in Euclidean distance.
# Do the same with the pixels, for comparison.

# %%
def features(net, pictures):
    """{layer: (N, numbers)}: what the layers say of pictures, each flattened to a row; and the pixels."""
    net.eval()
    x = prepared(pictures)
    kept = {"pixels": x}
    for layer in net.layers:
        x = layer.forward(x)
        if layer.name in ("pool1", "pool2", "pool5", "relu6", "relu7"):
            kept[layer.name] = x
    return {name: a.reshape(len(a), -1) for name, a in kept.items()}


def squared_distances(a, b):
    """(M, N) between the rows of a (M, D) and of b (N, D), without M * N * D numbers in memory."""
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
# Green: of the same class. By pixels a picture's neighbours are those with the same colours in the same places. By fc7
# colours and places may differ as they like. As a number, over all 500 test pictures: what share of the six neighbours
# is of the same class? Chance is a tenth. And layer by layer, from the pixels up?

# %%
def share_of_same(nearest):
    return float((train_labels[nearest] == test_labels[:, None]).mean())


shares = {name: share_of_same(nearest[name]) for name in nearest}
assert shares["relu7"] > 2 * shares["pixels"] and shares["pixels"] < 0.3
assert shares["relu7"] > shares["pool1"] + 0.05 and abs(shares["relu7"] - shares["pool2"]) < 0.1

figures.draw_bars({"% of the six nearest that are of the same class": {name: 100 * s for name, s in shares.items()}})

# %% [markdown]
# Most of the way is made in two layers. From pool2 on, neighbours hardly get any better: ten outlines are not a
# thousand kinds of things, and for these two trained convolutions almost do. What the layers above still do is say it
# shorter, pool2 in 576 numbers, fc7 in 128.

# %%
assert known["pool2"].shape[1] == 576 and known["relu7"].shape[1] == 128

# %% [markdown]
# Is it the training, or would any network of this form do? The same with the weights as they were before the first
# step:

# %%
untrained = tinynet.Sequential(table(), (3, 67, 67), np.random.default_rng(SEED))
assert all((w == fresh[name]).all() for name, w in untrained.named_params().items())
asked_fresh, known_fresh = features(untrained, test_pictures), features(untrained, train_pictures)
by_chance = squared_distances(asked_fresh["relu7"], known_fresh["relu7"])
assert share_of_same(np.argsort(by_chance, axis=1, kind="stable")[:, :6]) < 0.6 * shares["relu7"]

# %% [markdown]
# ## The same picture, moved
#
# Move a picture by four pixels, or take its mirror image: to the eye it stays what it is. How far does it move in
# pixels, and how far in fc7? Measured in units of the distance to another picture, whichever:

# %%
def middle(distances):
    return float(np.median(np.sqrt(np.maximum(distances, 0))))


moved = {"4 pixels up and left": np.roll(test_pictures, (-4, -4), axis=(2, 3)),
         "mirror image": np.ascontiguousarray(test_pictures[..., ::-1])}
far = {"pixels": {}, "relu7": {}}
for how, pictures in moved.items():
    there = features(net, pictures)
    for name in far:
        to_itself = ((there[name] - asked[name])**2).sum(axis=1)
        to_others = squared_distances(asked[name], known[name])
        far[name][how] = middle(to_itself) / middle(to_others)
assert all(far["relu7"][how] < 0.6 * far["pixels"][how] for how in moved)

figures.draw_bars({"distance; another picture: 1": {
    f"{how}, {'in fc7' if name == 'relu7' else 'in pixels'}": far[name][how] for how in moved for name in far}})

# %% [markdown]
# (The middle of 67 is cut out of 75 pixels, so what `np.roll` carries round the edge stays outside.)
#
# ## What it gets wrong
#
# The left half of figure 4: test pictures with the five most probable classes. First four as they come, then the four
# worst, those to whose right class, in red, the network gave the least:

# %%
probs = predict(net, prepared(test_pictures))
own = probs[np.arange(500), test_labels]
assert np.allclose(probs.sum(axis=1), 1, atol=1e-4)

eight = np.r_[0:4, np.argsort(own, kind="stable")[:4]]
figures.draw_guesses(None, test_pictures[eight], probs[eight], names, [names[k] for k in test_labels[eight]],
                     test_labels[eight])

# %% [markdown]
# Look at the worst: can you tell why? Does the network know when it does not know? Where it is wrong, its largest
# probability is smaller than where it is right: on average. There are mistakes of which it is quite sure.

# %%
right = probs.argmax(axis=1) == test_labels
assert probs[right].max(axis=1).mean() > probs[~right].max(axis=1).mean() + 0.05
assert probs[~right].max() > 0.5

# %% [markdown]
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/15_looking_inside.py).
#
# **1.** What share of one kernel `w` (3, KH, KW) is grey? The other side of colourfulness: 1 for a grey kernel.

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
# - Kernels can be looked at in conv1 only; further up, look at what they do.
# - Neighbours in fc7 share a class, neighbours in pixels share colours; the training has made the difference.
# - Whether two groups divide the work between them is a question to be measured, with a number per group, not to be
#   read off a figure.
#
# Read next: [evaluation.py](../tinynet/evaluation.py), where `predict` and `evaluate` are.
