# %% [markdown]
# # 18 · Discussion (讨论)
#
# *35 minutes. Before it: 13, the whole network; 16, results; 17, the paper and the program. Beside it: the paper,
# section 7.*
#
# After this lesson you know what the paper says about depth and how well this is supported, which questions the paper
# left open, and which of its parts are still in use.
#
# **In a sentence:** depth, ReLU, large data sets and GPUs are still in use; almost everything else was replaced by
# something simpler.

# %%
import math

import numpy as np

import tinynet
from tinynet import alexnet, data, figures, layers
from tinynet.data.embedded import CLASS_NAMES, EmbeddedSource, draw_picture
from tinynet.evaluation import evaluate

rng = np.random.default_rng(0)

# %% [markdown]
# ## Depth: remove one layer
#
# Section 7 of the paper says: if any one of the middle layers is removed, the top-1 error grows by about 2 points. So
# depth is important, although no convolutional layer has many parameters. (In these
# [student's notes](notes_corrected.md) this sentence is not finished: “网络的深度极为重要，若是移除任一卷积层。” It
# continues: 结果都会变差；移除任一中间层，top-1 错误率约上升 2 个百分点。)
#
# Remove each of the middle layers from the table, and count the parameters and the work that disappear.
#
# **Predict:** how many per cent of the 61 million parameters are removed with conv3? And with conv4?

# %%
def without(name):
    """The table of AlexNet without one convolutional layer and its ReLU."""
    return [layer for layer in alexnet.paper(1000) if layer.name not in (name, name.replace("conv", "relu"))]


def count(table, shape=(1, 3, 227, 227)):
    """{layer: (parameters, multiply-accumulates)} of a table, from the shapes alone."""
    counts = {}
    for layer in table:
        macs, shape = layer.macs(shape), layer.output_shape(shape)
        if macs:                                           # each weight is used once in every window
            counts[layer.name] = macs // math.prod(shape[2:]) + shape[1], macs
    return counts


def total(counts):
    return [sum(column) for column in zip(*counts.values())]


whole = total(count(alexnet.paper(1000)))
assert whole == [60_965_224, 724_406_816]
lost = {}
for name in ("conv3", "conv4", "conv5"):
    left = total(count(without(name)))
    lost[name] = [100 * (1 - rest / everything) for rest, everything in zip(left, whole)]
    print(f"without {name}: {left[0]:,} parameters ({-lost[name][0]:+.1f} %), work {-lost[name][1]:+.1f} %")
lost["conv5, without the growth of fc6"] = [100 * 442_624 / whole[0], 100 * 74_760_192 / whole[1]]
assert 1 < lost["conv4"][0] < 1.2 and 1.5 < lost["conv3"][0] < 2.2 and lost["conv5"][0] < -28

del lost["conv5"]
figures.draw_bars({f"% of the {what}": {name: share[at] for name, share in lost.items()}
                   for at, what in enumerate(("parameters", "work"))})

# %% [markdown]
# So by the paper, one or two per cent of the parameters lower the error by 2 points. Keep three things in mind:
#
# - Removing a layer changes more than the depth. Without conv3 the two GPUs would exchange nothing before fc6: conv3 is
#   the only convolutional layer that reads the maps of both (lesson 13). Without conv5, fc6 gets 384 maps instead of
#   256 and has 50 % more parameters.
# - A unit sees less of the picture: at the end 163 pixels of 227 instead of 195.
# - No file of such a run was found among the authors' files (lesson 16), and one run of each does not show how much
#   runs vary.

# %%
def field(table):
    """The side of the square of pixels that a unit at the end of the pooled maps depends on."""
    size, jump = 1, 1
    for layer in table:
        if isinstance(layer, layers.Conv2d | layers.MaxPool):
            size, jump = size + (layer.size[0] - 1) * jump, jump * layer.stride[0]
    return size


fields = {"all five": field(alexnet.paper(1000))} | {f"without {name}": field(without(name))
                                                      for name in ("conv3", "conv4", "conv5")}
print("receptive field in pixels:", fields)
assert fields == {"all five": 195, "without conv3": 163, "without conv4": 163, "without conv5": 163}

# %% [markdown]
# Here is a small experiment on depth: a network of three convolutional layers on pictures of 24 pixels, a network
# without the third, and one without the second and the third. The other layers keep their settings. There are three
# seeds of each.
#
# **Predict:** will the runs with fewer layers be worse, by more than the seeds differ from each other?

# %%
source = EmbeddedSource(24, quiet=True, counts=(600, 500))
mean = data.compute_statistics(source.train, quiet=True).mean
train_x = (source.train.read(np.arange(600))[0] - mean).astype(np.float32) / 64
test_x = (source.test.read(np.arange(500))[0] - mean).astype(np.float32) / 64


def small(depth, seed):
    rows = [layers.Conv2d("conv1", 16, 5, stride=2, pad=2, std=0.1, need_dx=False), layers.ReLU("relu1")]
    for number in range(2, depth + 1):
        rows += [layers.Conv2d(f"conv{number}", 16, 3, pad=1, std=0.12), layers.ReLU(f"relu{number}")]
    rows += [layers.MaxPool("pool", 3, 2), layers.Flatten("flatten"), layers.Linear("fc", 10, std=0.05)]
    return tinynet.Sequential(rows, (3, 24, 24), np.random.default_rng(seed))


def test_error(depth, seed, epochs=10):
    net, loss, order = small(depth, seed), tinynet.SoftmaxCrossEntropy(), np.random.default_rng(seed)
    net.use("ops")                                         # fast enough for layers as small as these
    sgd = tinynet.SGD(net, lr=0.02)
    for epoch in range(epochs):
        if epoch == epochs - 3:
            sgd.lr /= 10
        for batch in order.permutation(600).reshape(-1, 30):
            loss.forward(net.forward(train_x[batch]), source.train.labels[batch])
            net.backward(loss.backward())
            sgd.step()
    return 100 * evaluate(net, loss, [(test_x, source.test.labels)]).top1_error


errors = {name: [test_error(depth, seed) for seed in range(3)]
          for name, depth in (("three layers", 3), ("two layers", 2), ("one layer", 1))}
for name, runs in errors.items():
    print(f"{name:<14} {np.mean(runs):.0f} %, from {min(runs):.0f} to {max(runs):.0f}")
assert all(max(runs) < 75 for runs in errors.values())     # all have learned; guessing: 90 %

figures.draw_dots({"test error": errors}, "%")

# %% [markdown]
# Each dot is a run. Whatever the dots show, **three seeds cannot decide** such a question: for three runs against
# three, the smallest probability that an exact permutation test can give is 2 / 20 (lesson 16). The paper had one run
# of each.
#
# Here the networks with fewer layers even have the smaller mean error: 600 small pictures do not need depth, and ten
# epochs are few for a deep network. So this experiment says nothing about ImageNet, where the classes are much harder to
# tell apart.

# %%
orders = math.comb(6, 3)
smallest = 2 / orders
print(f"{orders} ways to choose 3 of 6 runs; the smallest two-sided probability is {smallest}")
assert smallest == 0.1 > 0.05

# %% [markdown]
# ## No pre-training
#
# In 2012 many deep networks were first trained without labels, layer by layer, and then fine-tuned. The paper uses no
# unsupervised pre-training (无监督预训练), to keep the experiments simple, though it expects that it would help, above all
# where the computing power grows faster than the labelled data. The network starts from random weights and learns
# only from labels. That this was enough is one of the most important results of the paper.
#
# But *supervised* pre-training is in the paper: the two networks of table 2 with an asterisk first learned all 15
# million pictures of ImageNet, and were then fine-tuned.

# %%
plain, pretrained = (40.7, 18.2), (39.0, 16.6)             # 1 CNN and 1 CNN*, table 2, validation: top-1, top-5
gain = [round(a - b, 1) for a, b in zip(plain, pretrained)]
print(f"pre-training on more pictures, and a sixth convolutional layer: {gain[0]} points top-1, {gain[1]} points top-5")
assert gain == [1.7, 1.6]

figures.draw_bars({"top-1 error": {"1 CNN": plain[0], "1 CNN, pre-trained": pretrained[0]},
                   "top-5 error": {"1 CNN": plain[1], "1 CNN, pre-trained": pretrained[1]}}, unit=" %")

# %% [markdown]
# ## What the paper left open
#
# | question | what the paper says | lesson |
# |---|---|---|
# | Which of the new parts matters how much? | single runs, several changes at a time | [16](16_results.ipynb) |
# | What does dropout bring, in numbers? | "substantial overfitting" without it | [11](11_dropout.ipynb), [14](14_training.ipynb) |
# | Why does LRN help? | it resembles lateral inhibition of nerve cells | [10](10_lrn.ipynb) |
# | How much depends on the initial weights? | nothing; it does not mention that three layers had 0.03 | [07](07_sgd.ipynb), [17](17_paper_and_program.ipynb) |
# | Why do the two GPUs learn different kernels? | it happens in every run | [15](15_looking_inside.ipynb) |
# | How deep, how large? | results improved with size and training time; the memory was the limit | here |
# | Moving pictures? | video is named as the next step: it has information that single pictures lack | - |
#
# ## What came after: smaller kernels, more layers (VGG, 2014)
#
# Three layers of 3 x 3 see 7 x 7 pixels, as one layer of 7 x 7 does. With C maps in and out, they have fewer weights,
# and three ReLUs instead of one:
#
# $$3 \cdot 3^2 C^2 = 27\,C^2 \qquad \text{against} \qquad 7^2 C^2 = 49\,C^2$$
#
# The convolutions of the VGG networks are all of 3 x 3; the networks have up to 19 layers with weights. Their authors
# also tried the smallest one with and without LRN, found no improvement from it, and **left LRN out**. Later networks
# did the same.
#
# **Predict:** for C = 64, how many weights have the two?

# %%
three = [layers.Conv2d(f"conv{i}", 64, 3, pad=1) for i in range(3)]
one = [layers.Conv2d("conv", 64, 7, pad=3)]
for table in (three, one):
    tinynet.Sequential(table, (64, 14, 14), rng)           # makes their weights
counts = {name: sum(layer.params["w"].size for layer in table)
          for name, table in (("three of 3 x 3", three), ("one of 7 x 7", one))}
print(counts, "receptive fields:", field(three), field(one))
assert counts == {"three of 3 x 3": 27 * 64**2, "one of 7 x 7": 49 * 64**2} and field(three) == field(one) == 7

# %% [markdown]
# ## What came after: batch normalisation (2015)
#
# LRN divides by the neighbours of the same picture. **Batch normalisation** (批归一化) makes each channel have mean 0 and
# variance 1 over the whole batch, and then learns a scale gamma and a shift beta:
#
# $$\hat{x} = \frac{x - \mu_{\text{batch}}}{\sqrt{\sigma^2_{\text{batch}} + \epsilon}}, \qquad y = \gamma\,\hat{x} +
# \beta$$
#
# Lesson 07 showed a network that does not start to learn: with the initial weights of the paper's text, the activations
# of different pictures hardly differ in fc7. Batch normalisation subtracts the part that all pictures have in
# common. Here are ten different pictures in untrained networks, with and without it (before each ReLU, gamma 1, beta
# 0).
#
# **Predict:** by what factor is the signal at relu7 larger?

# %%
pictures = np.stack([draw_picture(name, np.random.default_rng(i), 227) for i, name in enumerate(CLASS_NAMES)])
x10 = (pictures - pictures.mean()).astype(np.float32)
net = tinynet.Sequential(alexnet.paper(1000)[:21], (3, 227, 227), np.random.default_rng(0))   # up to relu7
net.eval()


def normalise(x):
    """Mean 0 and variance 1 for each channel, over the batch and the pixels."""
    over = (0, 2, 3) if x.ndim == 4 else 0
    return (x - x.mean(axis=over, keepdims=True)) / np.sqrt(x.var(axis=over, keepdims=True) + 1e-5)


def signals(batch_norm):
    """For each ReLU: how much a unit differs between pictures, divided by the mean."""
    x, found = x10, {}
    for layer in net.layers:
        if batch_norm and layer.name.startswith("relu"):
            x = normalise(x)
        x = layer.forward(x)
        if layer.name.startswith("relu"):
            found[layer.name] = float(x.std(axis=0).mean() / x.mean())
    return found


bare, normalised = signals(False), signals(True)
print(f"relu7: {bare['relu7']:.3f} without, {normalised['relu7']:.2f} with batch normalisation")
assert bare["relu7"] < 0.03 and normalised["relu7"] > 0.5

figures.draw_lines({"ten pictures, untrained": {"text of the paper": (list(bare), list(bare.values())),
                                                "with batch normalisation": (list(normalised),
                                                                             list(normalised.values()))}},
                   ylabel="difference between pictures / mean", log="y")

# %% [markdown]
# With batch normalisation the initial weights matter much less, rates can be higher, and deep networks start to learn.
# Networks with AlexNet's layers were trained with it, too. The published accuracies (100 % minus the error, one crop)
# are 57.1 % top-1 for Caffe's AlexNet, 59.9 % for CNTK's, and 60.4 % for one with batch normalisation (HolmesShuan).
# So the gain in accuracy is small; what changes is the training.
#
# ## What came after: one weird trick (2014)
#
# Later Krizhevsky used eight GPUs. In AlexNet the two GPUs divide the **network** (model parallelism, 模型并行). His new
# scheme treats the two kinds of layers differently:
#
# - Convolutional layers do most of the work and have few parameters. Divide the **pictures** (data parallelism, 数据并行):
#   every GPU has all weights and a part of the batch; only the gradients of the few weights are exchanged.
# - Fully connected layers have most of the parameters and do little work. Divide the **network**: each GPU keeps a part
#   of the weights, and the activations are exchanged.
#
# **Predict:** what share of the parameters and of the work do the convolutional layers have?

# %%
one_weird_trick = count(tinynet.RECIPES["owt"].layers(1000), (1, 3, 224, 224))
shares = {}
for title, counts in (("paper", count(alexnet.paper(1000))), ("one weird trick", one_weird_trick)):
    convolutions = total({name: pair for name, pair in counts.items() if name.startswith("conv")})
    shares[title] = [100 * part / all_ for part, all_ in zip(convolutions, total(counts))]
    print(f"{title:<16} convolutions: {shares[title][0]:.1f} % of the parameters, {shares[title][1]:.1f} % of the work")
assert total(one_weird_trick)[0] == 61_100_840 and all(few < 5 and most > 90 for few, most in shares.values())

figures.draw_bars({"convolutions, %": {f"{title}, {what}": value for title, pair in shares.items()
                                       for what, value in zip(("parameters", "work"), pair)}})

# %% [markdown]
# The network for it has one column, other widths (64, 192, 384, 256, 256) and no groups. It is the AlexNet that
# torchvision has today, and `owt` in this library.
#
# ## What came after: residual networks (2015)
#
# Why not a hundred layers? Gradients are products, and products of a hundred factors vanish or explode (lesson 03). A
# **residual** layer (残差) adds its input to its output. Then there is a path on which every slope is 1:
#
# $$y = x + f(x), \qquad \mathrm{d}x = \mathrm{d}y + \mathrm{d}y \cdot f'(x)$$
#
# **Predict:** how large is the gradient below 60 layers, with and without the added input?

# %%
def gradient_norms(residual, depth=60, units=64):
    """The size of the gradient after each layer, on the way down, divided by its size at the top."""
    rng = np.random.default_rng(0)
    weights = [0.05 * rng.standard_normal((units, units)) for _ in range(depth)]
    x, active = rng.standard_normal(units), []
    for w in weights:
        a = w @ x
        active.append(a > 0)
        x = (x if residual else 0) + 0.5 * np.maximum(0, a)
    dy = rng.standard_normal(units)
    sizes, top = [], np.linalg.norm(dy)
    for w, on in zip(reversed(weights), reversed(active)):
        dy = (dy if residual else 0) + 0.5 * w.T @ (dy * on)
        sizes.append(np.linalg.norm(dy) / top)
    return np.array(sizes)


chains = {"y = f(x)": gradient_norms(False), "y = x + f(x)": gradient_norms(True)}
for name, sizes in chains.items():
    print(f"{name:<13} the gradient below 60 layers: {sizes[-1]:.0e} of that at the top")
assert chains["y = f(x)"][-1] < 1e-15 and 0.1 < chains["y = x + f(x)"][-1] < 100

figures.draw_lines({"60 layers, the same weights": chains}, "layers below the top", "size of the gradient", log="y")

# %% [markdown]
# ## Which parts stayed?
#
# | part of AlexNet | today |
# |---|---|
# | ReLU | still used, also in smoother forms |
# | many layers, trained with labels on a large data set, on GPUs | still used |
# | crops and mirror images | still used, with many more kinds of augmentation |
# | SGD with momentum and weight decay, rate divided by 10 | still used for convolutional networks |
# | dropout in fully connected layers | mostly gone, together with these layers |
# | overlapping pooling | mostly replaced by convolutions with stride 2 |
# | LRN | replaced by batch normalisation |
# | kernels of 11 and 5 pixels | mostly replaced by 3 pixels |
# | three fully connected layers, 96 % of the parameters | replaced by the mean of each last map, and one layer |
# | groups, needed for two GPUs | used again, to save work |
#
# ## 解决了啥、缺点、未来
#
# The notes end with three questions: what did the paper solve, what are its weaknesses, what came next? Here are the
# answers, in Chinese and in English.
#
# - **解决了啥**：证明了用标签直接训练的深层卷积网络（无监督预训练并非必需），加上大数据集和 GPU，
#   可以大幅超过人工设计的特征（ILSVRC-2012 前五错误率 15.3 %，第二名 26.2 %）；给出了让它训练得动的一套办法：
#   ReLU、数据增强、Dropout、双 GPU。
# - **缺点**：96 % 的参数在三个全连接层；各部件的作用只由单次运行比较，且一次改变不止一处；
#   论文没有写出关键的初始化（conv3 到 conv5 的 0.03）；LRN 作用有限；分组由显存限制所迫；
#   第一层的大卷积核和步长 4 丢掉细节。
# - **未来**：更小的卷积核和更深的网络（VGG）；批归一化取代 LRN；残差连接使上百层可以训练；
#   全局平均池化取代大的全连接层；数据并行与模型并行（one weird trick）；论文自己提到的方向是视频。
#
# - **Solved:** a deep convolutional network, trained only with labels on a large data set and GPUs, has far fewer
#   errors than designed features (top-5 error 15.3 % in ILSVRC-2012, the second best 26.2 %). ReLU, augmentation,
#   dropout and two GPUs made its training possible.
# - **Weaknesses:** 96 % of the parameters are in three layers. Each part was judged by a single run that changed more
#   than one thing. The important initial weights (0.03) are not in the text. LRN has little effect. The groups were
#   needed only because of the memory. The large kernels and the stride of 4 in conv1 lose detail.
# - **What came next:** smaller kernels and more layers, batch normalisation, residual connections, global average
#   pooling in place of large fully connected layers, and data and model parallelism together.
#
# ## Questions
#
# Answer first, then run the cell.
#
# **1.** Replace conv2 of AlexNet (5 x 5, two groups, 96 maps in, 256 out) by two layers of 3 x 3 with two groups, 96 to
# 256 and 256 to 256 maps. Do they have more or fewer weights than conv2?

# %%
conv2, two_of_3 = 256 * 48 * 25, 256 * 48 * 9 + 256 * 128 * 9
print(f"conv2: {conv2:,} weights; two layers of 3 x 3: {two_of_3:,}")
assert two_of_3 > conv2                                    # 27 C^2 < 49 C^2 holds for equal numbers of maps only

# %% [markdown]
# **2.** Replace fc6, fc7 and fc8 by the mean of each of the 256 last maps and one layer of 1,000 units. How many
# parameters does the whole network have then?

# %%
fully_connected = 37_752_832 + 16_781_312 + 4_097_000
slim = whole[0] - fully_connected + 256 * 1000 + 1000
print(f"{slim:,} instead of {whole[0]:,}: {slim / whole[0]:.1%}")
assert slim == 2_591_080

# %% [markdown]
# **3.** With how many seeds for each of two networks can an exact permutation test give a p of at most 0.05 for the
# first time?

# %%
smallest_p = {seeds: 2 / math.comb(2 * seeds, seeds) for seeds in range(2, 6)}
print({seeds: f"{p:.3f}" for seeds, p in smallest_p.items()})
assert smallest_p[3] > 0.05 >= smallest_p[4]

# %% [markdown]
# ## What to remember
#
# - The paper's claim on depth: a middle layer with one or two per cent of the parameters lowers the error by about 2
#   points. This is one run of each.
# - No unsupervised pre-training was needed.
# - Batch normalisation has replaced LRN, and large fully connected layers are gone; ReLU, depth, large data sets and
#   GPUs are still in use.
#
# Next: [19, faster](19_faster.ipynb). Read next: the four tables in [alexnet.py](../tinynet/alexnet.py).
