# %% [markdown]
# # 17 · The paper and the program
#
# *40 minutes. Before it: 08 to 09, and whichever of the others you want the differences of. Beside it: the paper, and
# the tables `paper` and `code_2012` of `tinynet/alexnet.py`.*
#
# The authors' program of 2012 was published later, and it is not quite what the paper describes. After this lesson you
# know every difference that we found, have run both sides of each, and can say which of them matter.
#
# **In a sentence:** most differences move an activation by a hundredth; two of them, the initial weights of three
# layers and what is called dropout, decide whether and how a network learns.

# %%
import difflib
import inspect

import numpy as np

import tinynet
from tinynet import alexnet, data, exercises, figures, layers, ops
from tinynet.data.augment import Sample
from tinynet.data.embedded import CLASS_NAMES, EmbeddedSource, draw_picture
from tinynet.weights.geometry import same_weights, sides

rng = np.random.default_rng(0)
photo = data.load_picture(figures.PHOTO, 256)              # uint8 (3, 256, 256)
x227 = (photo[:, 14:241, 14:241] - photo.mean()).astype(np.float32)[None]
found = []                                                 # the table at the end


def change(before, after):
    """How large the difference is, beside what was there before: 0 for none, 1 for as large as itself."""
    return float(np.linalg.norm(after - before) / np.linalg.norm(before))


def note(what, measured, value):
    found.append((what, measured, value))


# %% [markdown]
# Both tables are in the library, a row a layer. Here they are beside each other: lines with a minus are the text's,
# with a plus the program's.

# %%
def rows(table):
    return [line.partition("  #")[0].replace(", **twice", "").strip()
            for line in inspect.getsource(table).splitlines() if "(\"" in line]


for line in difflib.unified_diff(rows(alexnet.paper), rows(alexnet.code_2012), lineterm="", n=0):
    if not line.startswith(("---", "+++", "@@")):
        print(line)

# %% [markdown]
# ## Counts in the text that do not add up
#
# The caption of figure 2 gives 253,440 neurons for the first layer. With 55 x 55 positions and 96 kernels it is more,
# and only so do the five layers make the abstract's 650,000. The introduction says that no convolutional layer has more
# than 1 % of the parameters (the notes repeat it: 参数量都少于总模型中参数量的1%): two have.

# %%
maps = {"conv1": (96, 55), "conv2": (256, 27), "conv3": (384, 13), "conv4": (384, 13), "conv5": (256, 13)}
neurons = {name: K * side**2 for name, (K, side) in maps.items()}
assert list(neurons.values()) == [290_400, 186_624, 64_896, 64_896, 43_264]
assert neurons["conv1"] != 253_440 and sum(neurons.values()) == 650_080

weights = {"conv1": 34_944, "conv2": 307_456, "conv3": 885_120, "conv4": 663_936, "conv5": 442_624}
share = {name: 100 * count / 60_965_224 for name, count in weights.items()}
assert [name for name in share if share[name] > 1] == ["conv3", "conv4"]
note("neurons of layer 1 in the caption", "less than there are, by", f"{290_400 - 253_440:,}")
note("no conv layer above 1 % of the parameters", "conv3 and conv4 have",
     f"{share['conv3']:.2f} %, {share['conv4']:.2f} %")

figures.draw_bars({"share of the parameters, %": share})

# %% [markdown]
# ## 224 pixels, rounded up
#
# The text's 224 pixels make 54 windows, the program's 55: it rounds up, and the last window reads three rows and
# columns that are not there, as zeros. Compare with three more rows and columns of picture, as Caffe cuts them:

# %%
front = tinynet.Sequential(alexnet.paper(1000)[:12], (3, 227, 227), rng)     # up to conv4
w, b = front["conv1"].params["w"], front["conv1"].params["b"]
program = ops.conv2d_forward(x227[:, :, :224, :224], w, b, 4, 0, 1, ceil=True)
caffe = ops.conv2d_forward(x227, w, b, 4, 0, 1)
assert program.shape == caffe.shape == (1, 96, 55, 55)
assert np.allclose(program[..., :54, :54], caffe[..., :54, :54], atol=1e-3)  # all but the last row and column
edge = np.ones((55, 55), bool)
edge[:54, :54] = False
changed = edge.mean()
assert edge.sum() == 109 and 0.1 < change(caffe[..., edge], program[..., edge]) < 1
note("224 pixels: three rows and columns of zeros", "activations of conv1 that change", f"{100 * changed:.1f} %")

figures.draw_maps([caffe[0, 0], program[0, 0], (program - caffe)[0, 0]],
                  ["227 pixels of picture", "224 and three of zeros", "difference"], columns=3)

# %% [markdown]
# ## LRN: alpha, k, place, border
#
# Four differences in one layer. **alpha**: the text multiplies the sum of squares by 10^-4, the program by a fifth of
# it (alpha / n; so do Caffe and PyTorch). **k**: 2 in text and program, 1 in Caffe. **Place**: in layer 1 the program
# normalises before the ReLU, so that negative numbers have energy, too. **Border**: on two GPUs a window ended with the
# GPU's own maps, after channel 47.

# %%
signed = caffe.astype(np.float64)                          # conv1 of the photo, weights fresh
before = ops.relu_forward(signed)


def normalised(x, k=2, alpha=1e-4, groups=1):
    return ops.lrn_forward(x, 5, k, alpha, 0.75, groups)[0]


text = normalised(before)
lrn_changes = {
    "alpha / 5": change(text, normalised(before, alpha=1e-4 / 5)),
    "before the ReLU": change(text, ops.relu_forward(normalised(signed))),
    "windows end at the GPU": change(text, normalised(before, groups=2)),
    "k = 1 (Caffe)": change(text, normalised(before, k=1)),
}
assert all(value < 0.1 for name, value in lrn_changes.items() if name != "k = 1 (Caffe)")
assert 0.5 < lrn_changes["k = 1 (Caffe)"] < 2**0.75 - 1 + 0.01
for name, value in lrn_changes.items():
    note(f"LRN: {name}", "y of lrn1", f"{100 * value:.3g} %")

figures.draw_bars({"change of lrn1's output, %": {name: 100 * value for name, value in lrn_changes.items()}})

# %% [markdown]
# The border concerns few channels: a window of five reaches two across.

# %%
differs = (normalised(before) != normalised(before, groups=2)).any(axis=(0, 2, 3))
assert np.flatnonzero(differs).tolist() == [46, 47, 48, 49]

# %% [markdown]
# Fresh weights make faint activations, and then alpha does little, whatever it is. A trained network is louder. Here is
# the same picture, made louder and louder:

# %%
louder = np.array([1, 2, 4, 8, 16, 32, 64])
curves = {"alpha / 5": [], "before the ReLU": [], "windows end at the GPU": []}
for s in louder:
    loud = normalised(s * before)
    curves["alpha / 5"].append(100 * change(loud, normalised(s * before, alpha=1e-4 / 5)))
    curves["before the ReLU"].append(100 * change(loud, ops.relu_forward(normalised(s * signed))))
    curves["windows end at the GPU"].append(100 * change(loud, normalised(s * before, groups=2)))
assert curves["alpha / 5"][-1] > 100                       # then y is more than twice as large
assert all(np.diff(curve).min() > 0 for curve in curves.values())
note("LRN: alpha / 5", "y of lrn1, activations 64 times as loud", f"{curves['alpha / 5'][-1]:.3g} %")

figures.draw_lines({"": {name: (louder, np.array(curve)) for name, curve in curves.items()}},
                   "how many times as loud", "change of lrn1's output, %", log="xy")

# %% [markdown]
# ## A layer that the text does not have
#
# After the second LRN the program normalises once more, within each map, over 5 x 5 pixels (图内归一化). And where the
# paper's section 3.3 says that LRN gains 1.4 points, the run it is compared with (layers-148.cfg) had neither of the
# two.

# %%
front.eval()
seen = {}
x = x227
for layer in front.layers:
    x = seen[layer.name] = layer.forward(x)
y2 = seen["lrn2"].astype(np.float64)
within = layers.LRNWithin("within2").forward(y2)
assert 1e-5 < change(y2, within) < 0.1
note("a normalisation within maps, after lrn2", "y of lrn2", f"{100 * change(y2, within):.3g} %")
loud_within = change(64 * y2, layers.LRNWithin("within2").forward(64 * y2))
assert loud_within > 5 * change(y2, within)
note("a normalisation within maps, after lrn2", "y of lrn2, 64 times as loud", f"{100 * loud_within:.3g} %")

figures.draw_maps([y2[0, 0], within[0, 0], (within - y2)[0, 0]], ["lrn2", "and within maps", "difference"], columns=3,
                  share=False)

# %% [markdown]
# ## Standard deviation 0.03, not 0.01
#
# "In each layer from a zero-mean Gaussian with standard deviation 0.01", says section 5; in conv3, conv4 and conv5 the
# program has 0.03. With biases of 1 this is the difference that matters. Take ten pictures, different as can be, and
# ask at fc7: how much does a unit differ between pictures, beside its mean? That is all that fc8 can learn from.

# %%
pictures = np.stack([draw_picture(name, np.random.default_rng(i), 227) for i, name in enumerate(CLASS_NAMES)])
x10 = (pictures - pictures.mean()).astype(np.float32)      # (10, 3, 227, 227)
whole = tinynet.Sequential(alexnet.paper(1000)[:21], (3, 227, 227), rng)     # up to relu7
whole.eval()


def signals():
    """{layer: how much a unit differs between the pictures, beside its mean}."""
    x, result = x10, {}
    for layer in whole.layers:
        x = layer.forward(x)
        if layer.name in ("relu1", "relu2", "relu3", "relu4", "relu5", "relu6", "relu7"):
            units = x.reshape(len(x), -1)
            result[layer.name] = float(units.std(axis=0).mean() / units.mean())
    return result


text_signal = signals()
for name in ("conv3", "conv4", "conv5"):
    whole[name].params["w"] *= 3
program_signal = signals()
assert program_signal["relu7"] > 5 * text_signal["relu7"] and text_signal["relu7"] < 0.02
note("std 0.03 in conv3 to conv5", "signal at fc7, times as large",
     f"{program_signal['relu7'] / text_signal['relu7']:.3g}")

figures.draw_lines({"": {"std 0.01 in all layers": (list(text_signal), list(text_signal.values())),
                         "0.03 in conv3 to conv5": (list(program_signal), list(program_signal.values()))}},
                   ylabel="difference between pictures / mean", log="y")

# %% [markdown]
# Lesson 07 has more of this, and the README what it does to training: of the four recipes with nothing else changed,
# `paper` ends at several times the error of `code-2012`.

# %% [markdown]
# ## Biases: twice the rate, no decay
#
# "An equal learning rate for all layers", says the text. In the program's files weights have 0.01 and biases 0.02, and
# weight decay is never applied to biases. The rate first, for one step of conv2's biases under any gradient:

# %%
def conv2_after_a_step(table):
    net = tinynet.Sequential([row for row in table(1000) if row.name == "conv2"], (96, 27, 27),
                             np.random.default_rng(1))
    x = net.forward(seen["pool1"])
    net.backward(np.random.default_rng(2).standard_normal(x.shape, dtype=np.float32))
    sgd, start = tinynet.SGD(net), net["conv2"].params["b"].copy()
    sgd.step()
    return net["conv2"].params["b"] - start, net["conv2"].params["w"]


step_text, w_text = conv2_after_a_step(alexnet.paper)
step_program, w_program = conv2_after_a_step(alexnet.code_2012)
assert (w_text == w_program).all()                         # the weights go the same way
ratio = np.median(step_program / step_text)
assert abs(ratio - 2) < 0.01
note("biases at twice the rate", "a step of conv2's biases, times as large", f"{ratio:.3g}")

# %% [markdown]
# And the decay: a bias of 1 with no gradient at all, over the 10,009 steps that a pass over the pictures of 2012 takes.
# The biases of 1 were put there to keep ReLUs alive; the text's rule, taken literally, takes them away again.

# %%
w, v, left = np.ones(1), np.zeros(1), [1.0]
for _ in range(10_009):
    ops.sgd.sgd_step_(w, v, np.zeros(1), 0.01, 0.9, 0.0005)
    left.append(w.item())
assert 1_281_167 // 128 == 10_009 and 0.6 < left[-1] < 0.62
note("no decay of biases", "a bias of 1 after a pass with decay", f"{left[-1]:.3g}")

figures.draw_lines({"": {"with decay": (np.arange(10_010), left), "without": (np.arange(10_010), np.ones(10_010))}},
                   "steps without a gradient", "a bias")

# %% [markdown]
# ## Colours: eigenvalues or their roots
#
# Section 4.1 adds multiples of the eigenvalues (特征值) of the RGB covariance, with a spread of 0.1. An eigenvalue is a
# variance, in squared grey levels. The program multiplies by the standard deviations, their square roots, and divides
# the result by 1.1. Three readings of one sentence:

# %%
flat = photo.reshape(3, -1).astype(np.float64)             # (3, 65,536)
axes = data.principal_axes(np.cov(flat, bias=True))
eigenvalues, vectors = axes
assert np.allclose(vectors @ np.diag(eigenvalues) @ vectors.T, np.cov(flat, bias=True))
shifts = {how: data.sample(np.random.default_rng(3), 20_000, 0, data.Augmentation(colour=how), axes).shifts.std()
          for how in ("eigenvalues", "deviations")}
literal = 255 * shifts["eigenvalues"]                      # of pixels from 0 to 255
assert literal > 255 > 20 > shifts["deviations"] > 2 > shifts["eigenvalues"] / 4
note("colours: eigenvalues of 0 ... 255", "spread of a shift, grey levels", f"{literal:.3g}")
note("colours: eigenvalues of 0 ... 1", "spread of a shift, grey levels", f"{shifts['eigenvalues']:.3g}")
note("colours: their roots, the program", "spread of a shift, grey levels", f"{shifts['deviations']:.3g}")

multiples = 0.1 * np.array([2.5, -2.5, 2.5])
readings = {"as it is": np.zeros(3), "0 ... 255, literally": multiples * eigenvalues,
            "0 ... 1, literally": multiples * eigenvalues / 255, "the program": multiples * np.sqrt(eigenvalues)}
figures.draw_pictures([np.clip(photo + (vectors @ shift)[:, None, None], 0, 255).astype(np.uint8)
                       for shift in readings.values()], list(readings))

# %% [markdown]
# With pixels from 0 to 255 nothing is left of the picture; from 0 to 1 the large axis is about as the program's and the
# small ones vanish. So `paper` reads 0 to 1, and `code-2012` does as the program did.
#
# ## Crops: 2,048 or 2,178
#
# A crop of 224 in 256 begins at 0, 1, ... or 32: that is 33 places, and 33 * 33 * 2 = 2,178 versions with mirror
# images. Text and notes have 32 * 32 * 2 = 2,048. Draw until there are no new ones:

# %%
drawn = data.sample(rng, 100_000, 256 - 224, data.Augmentation(), axes)
versions = set(zip(drawn.tops.tolist(), drawn.lefts.tolist(), drawn.flips.tolist()))
assert len(versions) == 33 * 33 * 2 == 2178
note("2,048 versions of a picture", "different ones among 100,000 draws", f"{len(versions):,}")

together = data.sample(rng, 128, 32, data.AUGMENTATIONS["code-2012"], axes)
assert len(set(zip(together.tops.tolist(), together.lefts.tolist(), together.flips.tolist()))) <= 4
note("32 pictures in a row share a crop", "different crops in a batch of 128", "4")

# %% [markdown]
# (The program drew once for 32 pictures in a row; the text does not say.)
#
# ## Which part of the mean?
#
# The mean image (均值图像) is taken off every crop. The program takes off its middle, whatever was cut; Caffe what lies
# under the crop, mirrored with it. How different is that, for the mean of 200 drawn pictures and a crop at a corner?

# %%
source = EmbeddedSource(64, quiet=True, counts=(200, 10))
mean = data.compute_statistics(source.train, quiet=True).mean      # (3, 64, 64)
corner = Sample(np.array([0]), np.array([0]), np.array([True]), None)
one, _ = source.train.read(np.array([0]))
middle, under = (data.augment(one, corner, mean, 56, data.Augmentation(mean_at=at)) for at in ("middle", "crop"))
mean_change = change(middle, under)
assert 1e-3 < mean_change < 0.2
note("the middle of the mean, or what is under the crop", "x", f"{100 * mean_change:.3g} %")

figures.draw_pictures([one[0], mean.astype(np.uint8), 128 + 4 * (under - middle)[0].clip(-31, 31).mean(axis=0)],
                      ["a picture", "the mean of 200", "four times the difference"])

# %% [markdown]
# ## Ties in max-pooling
#
# Where several numbers of a window are equally large (并列最大), Caffe and we send the gradient to the first, the
# program to all of them, to each in full. Here is the program's rule, and ours, on the photo's first layer:

# %%
def to_all(dy, x, y):
    """The program's backward pass: windows of 3, 2 apart."""
    dx, (OH, OW) = np.zeros_like(x), y.shape[2:]
    for u, v in np.ndindex(3, 3):
        place = ..., slice(u, u + 2 * OH, 2), slice(v, v + 2 * OW, 2)
        dx[place] += dy * (x[place] == y)
    return dx


x1 = seen["lrn1"]
y1, argmax = ops.maxpool_forward(x1, 3, 2)
dy1 = rng.standard_normal(y1.shape, dtype=np.float32)
first, all_of_them = ops.maxpool_backward(dy1, argmax, x1.shape, 3, 2), to_all(dy1, x1, y1)
at_zero = y1 == 0
assert at_zero.mean() > 0.02                               # windows without a single active unit
assert change(first, all_of_them) > 0.1
print(f"{100 * at_zero.mean():.1f} % of the windows are all 0; the gradients differ by "
      f"{100 * change(first, all_of_them):.0f} %")

# %% [markdown]
# That looks bad, and is not: these ties are zeros that a ReLU made, and on the way back the ReLU lets nothing through
# there. Below LRN and ReLU the two rules agree:

# %%
scale1 = ops.lrn_forward(seen["relu1"], 5, 2, 1e-4, 0.75)[1]
below = [ops.relu_backward(ops.lrn_backward(dx, seen["relu1"], x1, scale1, 5, 1e-4, 0.75), seen["relu1"])
         for dx in (first, all_of_them)]
tie_change = change(*below)
assert tie_change < 1e-3
note("max-pooling: all winners of a tie", "gradient above the ReLU", f"{100 * change(first, all_of_them):.3g} %")
note("max-pooling: all winners of a tie", "gradient below the ReLU, less than", "0.1 %")

figures.draw_maps([first[0, 0], all_of_them[0, 0], below[0][0, 0], below[1][0, 0]],
                  ["to the first", "to all", "the first, below ReLU", "all, below ReLU"], columns=4)

# %% [markdown]
# ## Two dropouts
#
# The paper silences half of the units in training and halves all of them at test. Caffe and PyTorch double those that
# speak, and leave the test alone (反向缩放). The same on average, and not the same to train: all else equal, the next
# layer sees twice the input and its weights get twice the gradient.

# %%
h = np.abs(rng.standard_normal((64, 256)))
mask = (rng.random(h.shape) < 0.5).astype(float)
w, dy = 0.01 * rng.standard_normal((10, 256)), rng.standard_normal((64, 10))
plain, inverted = ops.dropout_forward(h, mask), ops.dropout_forward(h, 2 * mask)
assert np.isclose(plain.mean(), (0.5 * h).mean(), rtol=0.05) and np.isclose(inverted.mean(), h.mean(), rtol=0.05)
dw, dw_inverted = ops.linear_backward(dy, plain, w)[1], ops.linear_backward(dy, inverted, w)[1]
assert np.allclose(dw_inverted, 2 * dw)
note("inverted dropout", "gradient of the next weights, times as large", f"{np.median(dw_inverted / dw):.3g}")

figures.draw_maps([h[:24, :24], plain[:24, :24], inverted[:24, :24]],
                  ["units down, pictures across", "the paper", "inverted"], columns=3)

# %% [markdown]
# To get the paper's training out of an inverted dropout, halve the initial weights of the next layer and quarter their
# rate. Then both say the same before and after a step:

# %%
half, b = w / 2, np.zeros(10)
assert np.allclose(ops.linear_forward(plain, w, b), ops.linear_forward(inverted, half, b))
after, half_after = w - 0.1 * dw, half - 0.1 / 4 * dw_inverted
assert np.allclose(ops.linear_forward(plain, after, b), ops.linear_forward(inverted, half_after, b))

# %% [markdown]
# ## Three momentums
#
# The paper's velocity has the rate inside; so has Caffe's, with the sign turned. PyTorch keeps it outside, so that at a
# rate cut the old velocity is cut as well. On the loss w² / 2, with a cut after 10 steps:

# %%
def descend(form):
    w, v, path = 1.0, 0.0, [1.0]
    for step in range(25):
        lr = 0.02 if step < 10 else 0.002
        if form == "the paper":
            v = 0.9 * v - lr * w
            w = w + v
        elif form == "Caffe":
            v = 0.9 * v + lr * w
            w = w - v
        else:
            v = 0.9 * v + w
            w = w - lr * v
        path.append(w)
    return np.array(path)


paths = {form: descend(form) for form in ("the paper", "Caffe", "PyTorch")}
assert np.allclose(paths["the paper"], paths["Caffe"])
assert np.allclose(paths["the paper"][:11], paths["PyTorch"][:11])           # until the cut
steps = {form: np.diff(path)[10] for form, path in paths.items()}            # the first step after it
assert steps["the paper"] / steps["PyTorch"] > 5
note("PyTorch's momentum", "the first step after a cut, times as small", f"{steps['the paper'] / steps['PyTorch']:.3g}")

figures.draw_lines({"": {form: paths[form] for form in ("the paper", "PyTorch")}}, "step", "w", drops=[10])

# %% [markdown]
# ## One set of weights, three networks
#
# BVLC's bvlc_alexnet is used outside Caffe, too, and there other programs round sizes and pad in their own way. Look at
# the sides of the maps after conv1, pool1, pool2 and pool5, for the same weights in three programs:

# %%
shared = tinynet.Sequential(alexnet.caffe(1000)[:16], (3, 227, 227), rng)    # up to what fc6 reads
three = same_weights(shared)
for who, net in three.items():
    print(f"{who:<30} pictures of {net.in_shape[-1]}, conv1 padded by {net['conv1'].pad[0]}: {sides(net)}")
assert [sides(net) for net in three.values()] == [[55, 27, 13, 6], [54, 26, 12, 6], [57, 28, 13, 6]]
assert all(net["conv5"].params["w"] is shared["conv5"].params["w"] for net in three.values())
assert all(net.output_shape((1, *net.in_shape)) == (1, 9216) for net in three.values())

# %% [markdown]
# All three end with maps of 6 x 6, and fc6 gets its 9,216 numbers: every array fits, and no program complains. But they
# are not the same numbers. With fresh weights, on one photo:

# %%
read_by_fc6 = {}
for who, net in three.items():
    net.eval()
    read_by_fc6[who] = net.forward(data.center_crop(photo[None], net.in_shape[-1]) - np.float32(photo.mean()))
caffe_reads = read_by_fc6.pop("Caffe")
geometry_changes = {who: change(caffe_reads, reads) for who, reads in read_by_fc6.items()}
assert all(0.01 < value < 1 for value in geometry_changes.values())
for who, value in geometry_changes.items():
    note(f"Caffe's weights in {who}", "what fc6 reads", f"{100 * value:.3g} %")

figures.draw_bars({"change of what fc6 reads, %": {who: 100 * value for who, value in geometry_changes.items()}})

# %% [markdown]
# What that costs can be read from what was published: BVLC gives 57.1 % top-1 accuracy in Caffe, the ONNX model zoo
# 54.80 % for the same weights at 224 pixels. (The zoo's page does not say how its pictures were prepared, so not all of
# the difference need come from the sizes.) `python -m tinynet.weights info FILE` says which of the three a file
# describes.

# %% [markdown]
# ## All of them
#
# What was measured above, by the cells above, with fresh weights, on one photo and a few drawn pictures:

# %%
for what, measured, value in found:
    print(f"{what:<52} {measured:<46} {value:>15}")
assert len(found) >= 20

# %% [markdown]
# Not run here, since they are about days of training, but in the program's files: the first layer was slowed and then
# frozen, the bias rate stayed at 0.002, and the colour shifts were switched off for the last quarter of the passes.
#
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/17_paper_and_program.py).
#
# **1.** How many windows does the program have? It rounds up.

# %%
import numpy as np

from tinynet import exercises


def windows_2012(size, kernel, stride, pad):
    ...


exercises.check_windows_2012(windows_2012)

# %% [markdown]
# **2.** The program's backward pass of max-pooling, for one map: `dy` has the shape of the pooled map, the result that
# of `x`; each winner of a tie gets the whole gradient.

# %%
import numpy as np

from tinynet import exercises


def gradient_to_all(dy, x, size, stride):
    ...


exercises.check_gradient_to_all(gradient_to_all)

# %% [markdown]
# ## What to remember
#
# - Text and program agree on what the layers are; they differ in constants, edges, and one unmentioned layer.
# - Small, with fresh weights: alpha / 5, the place of LRN, its border, ties, three rows of zeros. Large: 0.03 in conv3
#   to conv5, the two dropouts, decay of biases.
# - Arrays that fit do not make the same network: rounding, padding and the size of the pictures belong to the weights.
# - "Implements AlexNet" says little. Say which: the text, the program, Caffe, or torchvision.
#
# Read next: the four tables in [alexnet.py](../tinynet/alexnet.py).
