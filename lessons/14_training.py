# %% [markdown]
# # 14 · Training (训练)
#
# *25 minutes. Before it: 07, the step; 12, augmentation. Beside it: the paper, sections 4 and 5,
# `tinynet/schedules.py`, `tinynet/evaluation.py`, `tinynet/runs/`.*
#
# After this lesson you can write the loop, read its curves (学习曲线), tell overfitting (过拟合) from a rate that is
# too high or too low, cut the rate by the paper's rule, stop a run and go on with it, and say which error may be
# reported.
#
# **In a sentence:** take step after step on the training set, and after each epoch measure on other pictures: they say
# when to cut the rate, and a third set says how good the network is.

# %%
import inspect
import tempfile

import numpy as np

import tinynet
from tinynet import data, exercises, figures, layers, runs
from tinynet.data.embedded import EmbeddedSource
from tinynet.evaluation import evaluate
from tinynet.metrics import top_k_wrong
from tinynet.runs import NotFinite, require_finite

rng = np.random.default_rng(0)

# %% [markdown]
# ## Three sets of pictures
#
# 200 drawn pictures to learn from (训练集), 300 to decide by (验证集, the validation set), and 300 to measure with at
# the end (测试集). Ten classes, 32 pixels stored, 28 shown to the network.

# %%
source = EmbeddedSource(32, quiet=True, counts=(200, 600))
statistics = data.compute_statistics(source.train, quiet=True)
validation, test = ([(x / 60, labels)] for x, labels in data.test_batches(source.test, 300, 28, statistics.mean))
assert len(validation[0][1]) == len(test[0][1]) == 300     # one batch each; / 60: numbers around 1

figures.draw_pictures(source.train.read(np.arange(10))[0], [name.removesuffix("board") for name in source.class_names])

# %% [markdown]
# A network small enough for a lesson: two convolutions, two fully connected layers, and dropout between them if wanted.

# %%
def small_net(seed, dropout=False):
    net = tinynet.Sequential([
        layers.Conv2d("conv1", 16, 5, stride=2, pad=2, std=0.1, need_dx=False), layers.ReLU("relu1"),
        layers.MaxPool("pool1", 3, stride=2),
        layers.Conv2d("conv2", 32, 3, pad=1, std=0.1), layers.ReLU("relu2"),
        layers.MaxPool("pool2", 2, stride=2),
        layers.Flatten("flatten"), layers.Linear("fc3", 64, std=0.08), layers.ReLU("relu3"),
        *([layers.Dropout("drop3", keep=0.5)] if dropout else []),
        layers.Linear("fc4", 10, std=0.1)], (3, 28, 28), np.random.default_rng(seed))
    net.use("ops")
    return net


print(small_net(0).summary())

# %% [markdown]
# ## The loop
#
# A step (步) is four lines, and they are the whole of learning: forward, the loss, backward, update.

# %%
def train_step(net, loss, sgd, x, labels):
    value = loss.forward(net.forward(x), labels)
    net.backward(loss.backward())
    sgd.step()
    return value


net, loss = small_net(0), tinynet.SoftmaxCrossEntropy()
sgd = tinynet.SGD(net, lr=0.01)
x, labels = (validation[0][0][:20], validation[0][1][:20])
before = train_step(net, loss, sgd, x, labels)
for _ in range(10):
    after = train_step(net, loss, sgd, x, labels)
assert after < before                                      # the same pictures again: their loss falls

# %% [markdown]
# The loop around it: batches without end, ten of which, of 20 pictures, are an epoch (轮), and after each epoch the
# validation error. It keeps a number a step under the names that a run of the library has; what is not measured in
# a step is nan.

# %%
STEPS = 10                                                 # in an epoch: 200 pictures, 20 in a batch


def train(net, lr, batches, epochs, plateau=False):
    sgd, loss = tinynet.SGD(net, lr=lr), tinynet.SoftmaxCrossEntropy()
    schedule = tinynet.Plateau(sgd, patience=6, min_delta=0.01) if plateau else tinynet.schedules.Schedule(sgd)
    metrics = {name: [] for name in runs.COLUMNS}
    for step in range(1, epochs * STEPS + 1):
        x, labels = next(batches)
        lr, value = sgd.lr, require_finite(train_step(net, loss, sgd, x, labels), step)
        row = {"step": step, "lr": lr, "loss": value, "train_error": top_k_wrong(loss.probs, labels, 1).mean()}
        if step % STEPS == 0:
            result = evaluate(net, loss, validation)
            schedule.end_epoch(result.top1_error)
            row |= {"top1_error": result.top1_error, "top5_error": result.top5_error, "test_loss": result.loss}
        for name in metrics:
            metrics[name].append(row.get(name, np.nan))
    return {name: np.array(values) for name, values in metrics.items()}


def by_epoch(metrics, name):
    """One number an epoch: the mean over its steps, or what was measured at its end."""
    return np.nanmean(metrics[name].reshape(-1, STEPS), axis=1)

# %% [markdown]
# To begin with, without augmentation: the middle of each picture, the same in every epoch.

# %%
class Middles:
    """The training pictures, cut to 28 pixels once and for all."""

    labels, unreadable = source.train.labels, {}

    def __len__(self):
        return len(self.labels)

    def read(self, indices):
        pictures, readable = source.train.read(indices)
        return data.center_crop(pictures, 28), readable


as_they_are = data.Augmentation(flip=0, divide=60)
mirrored = data.Augmentation(flip=0.5, divide=60)
middle_statistics = data.compute_statistics(Middles(), quiet=True)


def plain(seed):
    rng = np.random.default_rng(seed)
    return data.TrainingBatches(Middles(), 20, 28, middle_statistics, rng, as_they_are, threads=1)


def varied(seed):
    rng = np.random.default_rng(seed)
    return data.TrainingBatches(source.train, 20, 28, statistics, rng, mirrored, threads=1)


PASSES = 40
bare = small_net(0)
metrics = train(bare, 0.01, plain(0), PASSES)
figures.draw_curves(None, metrics)

# %% [markdown]
# ## Reading the curves: it has learnt them by heart
#
# Left, the loss of every batch. It begins near ln 10 = 2.3, what guessing among ten classes costs, and ends at nothing.
# Right, the errors. The training error is 0; of pictures it has never seen, it gets a good third wrong. That gap is
# overfitting. More epochs do not close it: there is nothing left to learn from 200 pictures it knows.

# %%
first, last = metrics["loss"][:3].mean(), by_epoch(metrics, "loss")[-5:].mean()
assert abs(first - np.log(10)) < 0.8 and last < 0.1
assert by_epoch(metrics, "train_error")[-5:].mean() < 0.03
assert 0.2 < by_epoch(metrics, "top1_error")[-5:].mean() < 0.65  # guessing: 0.9

# %% [markdown]
# The validation **loss** tells it earlier than the error: it turns round and grows, while the error still falls a
# little. Where the network is wrong, it becomes ever surer of it, and the loss counts how sure; the error does not.

# %%
valid = by_epoch(metrics, "test_loss")
turns = valid.argmin()
assert turns < 30 and by_epoch(metrics, "loss")[-1] < by_epoch(metrics, "loss")[turns] / 3
assert by_epoch(metrics, "top1_error")[-5:].mean() < by_epoch(metrics, "top1_error")[:turns].mean()

figures.draw_lines({"error": {"training": by_epoch(metrics, "train_error"),
                              "validation": by_epoch(metrics, "top1_error")},
                    "loss": {"training": by_epoch(metrics, "loss"), "validation": valid}}, xlabel="epoch")

# %% [markdown]
# ## Against it: dropout and augmentation
#
# The paper has two means: pictures that are never seen twice alike (数据增强), and units that cannot rely on each other
# (随机失活, dropout). Here, crops with an offset of 0 to 4 pixels and mirror images, and dropout of half the 64 units.
# Each alone, and both:

# %%
ways = {"neither": (False, plain), "dropout": (True, plain), "augmentation": (False, varied), "both": (True, varied)}
nets = {name: small_net(0, dropout) for name, (dropout, _) in ways.items() if name != "neither"}
results = {"neither": metrics} | {name: train(nets[name], 0.01, ways[name][1](0), PASSES) for name in nets}
for name in nets:
    assert by_epoch(results[name], "train_error")[-5:].mean() > by_epoch(metrics, "train_error")[-5:].mean()

figures.draw_lines({"training loss": {name: by_epoch(result, "loss") for name, result in results.items()},
                    "validation loss": {name: by_epoch(result, "test_loss") for name, result in results.items()}},
                   xlabel="epoch")

# %% [markdown]
# Each makes it harder to learn the pictures by heart, and learning is slower: the paper says that dropout roughly
# doubles the number of iterations. One run is an accident, though. With three seeds, what holds of "both" against
# "neither"?

# %%
pairs = [(results["neither"], results["both"])]
pairs += [(train(small_net(seed), 0.01, plain(seed), PASSES),
           train(small_net(seed, dropout=True), 0.01, varied(seed), PASSES)) for seed in (1, 2)]
ends = {name: np.array([[by_epoch(metrics, name)[-5:].mean() for metrics in pair] for pair in pairs])
        for name in ("test_loss", "top1_error")}           # (3 seeds, neither and both)
assert (ends["test_loss"][:, 1] < 0.75 * ends["test_loss"][:, 0]).all()  # every time, by a good quarter at least
assert ends["top1_error"][:, 1].mean() < ends["top1_error"][:, 0].mean() + 0.02  # no worse on average

figures.draw_lines({title: {"neither": (["0", "1", "2"], ends[name][:, 0]), "both": (["0", "1", "2"], ends[name][:, 1])}
                    for title, name in (("validation loss at the end", "test_loss"),
                                        ("validation error at the end", "top1_error"))}, xlabel="seed")

# %% [markdown]
# That is what was seen here, with 200 pictures, 40 epochs and three seeds: the loss is better by far, the error by some
# points or hardly. The paper gives no figure for dropout. Of crops and mirror images it says that without them the
# network "suffers from substantial overfitting, which would have forced us to use much smaller networks".
#
# A trap in such curves: with dropout, the training error is that of a network **half of which is silent**, on varied
# pictures. Ask the same network with all units on, about the pictures as they are:

# %%
known = [(x / 60, labels) for x, labels in data.test_batches(Middles(), 200, 28, middle_statistics.mean)]
while_training = by_epoch(results["both"], "train_error")[-5:].mean()
all_units = evaluate(nets["both"], loss, known).top1_error
assert all_units < while_training / 1.2                    # so it may lie above the validation error, and no wonder
assert evaluate(bare, loss, known).top1_error < 0.03

# %% [markdown]
# ## A rate too high, a rate too low
#
# The same network, 20 epochs. Both wrong rates give a loss that hardly falls. How to tell them apart? Too low: it does
# fall, smoothly and slowly. Too high: it jumps about ln 10 and gets nowhere.

# %%
rates = {"0.0003": 0.0003, "0.01": 0.01, "0.1": 0.1}
tried = {name: train(small_net(0), lr, plain(0), 20) for name, lr in rates.items()}
losses = {name: by_epoch(metrics, "loss") for name, metrics in tried.items()}
assert losses["0.01"][-1] < 0.6                            # right
assert 1.5 < losses["0.0003"][-1] < losses["0.0003"][0] - 0.2  # creeps, but falls
assert losses["0.1"].min() > 1.7                           # gets nowhere

figures.draw_lines({"training loss": losses}, xlabel="epoch", levels={"ln 10: guessing": np.log(10)})

# %% [markdown]
# Higher still, a rate of 1, and the first steps throw the weights so far out that the loss explodes. After that it is
# no number at all, and `require_finite` stops the run and says so; or units are silent for every picture, and it sits
# at ln 10.

# %%
for seed in range(3):
    with np.errstate(all="ignore"):
        try:
            worst = train(small_net(seed), 1.0, plain(seed), 1)["loss"].max()
        except NotFinite:
            worst = np.inf
    assert worst > 5 * np.log(10)

try:
    require_finite(np.nan, 7)
except NotFinite as error:
    print(error)

# %% [markdown]
# ## When to cut the rate: the rule, by hand
#
# The paper: "divide the learning rate by 10 when the validation error rate stopped improving with the current learning
# rate". The notes: 在每次结果不再改变时减小10倍，三次之后终止. What is watched is the **validation error**; and after
# the third cut training **goes on**, at the last rate. The authors looked at the curve and did it by hand. As a rule,
# "stopped" needs a number: no new best for so many epochs, the patience (耐心值). With a patience of 2:

# %%
errors = [0.90, 0.60, 0.65, 0.61, 0.40, 0.42, 0.40, 0.39]
#         best  best  1     2:cut best  1     2:cut best
sgd = tinynet.SGD(small_net(0), lr=0.01)
schedule = tinynet.Plateau(sgd, patience=2)
cuts = [schedule.end_epoch(error) for error in errors]
assert cuts == [False, False, False, True, False, False, True, False]
assert np.isclose(sgd.lr, 0.01 / 10 / 10) and schedule.drops == 1  # one cut is left
print(inspect.getsource(tinynet.Plateau.end_epoch))

# %% [markdown]
# ## The rule, in a run
#
# Lesson 07 fed it errors that were made up; here is a real one. Augmentation, a rate of 0.02, a patience of 6, and a
# new best must be better by three pictures of the 300 (min_delta = 0.01). The grey lines are the cuts:

# %%
cut = train(small_net(0), 0.02, varied(0), 60, plateau=True)
lrs = cut["lr"].reshape(-1, STEPS)[:, 0]                   # of each epoch
drops = np.flatnonzero(np.diff(lrs) < 0) + 1               # epochs that were over when it was cut
assert 1 <= len(drops) <= 3 and np.allclose(lrs[drops], 0.02 / 10.0**np.arange(1, len(drops) + 1))

figures.draw_curves(None, cut)

# %% [markdown]
# After the first cut the training loss may jump for some steps (lesson 07 says why), then it falls, and jumps about
# much less: smaller steps stay where larger ones were thrown about. The later cuts change little; there is little
# left to change. The length of the run was fixed beforehand: 60 epochs here, about 90 in the paper. No cut ends it.

# %%
start = drops[0]
level = by_epoch(cut, "loss")
assert level[start + 2:start + 7].mean() < level[start - 5:start].mean()
assert len(cut["step"]) == 60 * STEPS and lrs[-1] < 0.02

replayed = tinynet.Plateau(tinynet.SGD(small_net(0), lr=0.02), patience=6, min_delta=0.01)
again = [replayed.end_epoch(error) for error in by_epoch(cut, "top1_error")]
assert (np.flatnonzero(again) + 1 == drops).all()          # the validation error alone says when

# %% [markdown]
# ## Which error may be reported?
#
# Whoever looks at 90 errors and reports the smallest, reports luck. Take a network whose true error is 0.40 in every
# epoch: each measurement on 300 pictures is off by chance, and the smallest of 90 is off by a lot. So choose the epoch
# with the **validation** set, and report the error of that epoch on the **test** set, which had no say. (Simulated,
# 1,000 times.)

# %%
measured = rng.binomial(300, 0.40, (2, 1000, 90)) / 300    # validation and test, runs, epochs
smallest = np.minimum.accumulate(measured[1], axis=1).mean(axis=0)  # (90,) of the epochs so far
chosen = np.stack([np.take_along_axis(measured[1], measured[0, :, :n].argmin(axis=1)[:, None], axis=1).mean()
                   for n in range(1, 91)])
assert smallest[-1] < 0.345 and abs(chosen - 0.40).max() < 0.01

looked_at = np.arange(1, 91)
figures.draw_lines({"": {"smallest test error": (looked_at, smallest),
                         "test error of the chosen epoch": (looked_at, chosen)}},
                   xlabel="epochs to choose from", levels={"true error": 0.40})

# %% [markdown]
# The validation error itself, once it has chosen the epoch or the cuts, is too good in the same way. So this is what may
# be said of our network with both means: its test error, measured once, at the end.

# %%
reported = evaluate(nets["both"], loss, test).top1_error
assert abs(reported - results["both"]["top1_error"][-1]) < 0.15  # 300 pictures: either is a few points off by chance

# %% [markdown]
# ## What a run leaves, and how it goes on
#
# The paper's training took five to six days. What if the power fails on the fourth? `Run` keeps **all that changes**:
# weights, velocities, the rate, where the schedule is, where in which order the batches are, and the generator that
# draws dropout's masks. Leave one of them out, and the run that goes on is another run.

# %%
class PowerFailure(Exception):
    pass


def new_run(folder):
    net = small_net(0, dropout=True)
    sgd = tinynet.SGD(net, lr=0.01)
    return runs.Run(runs.Lock(folder), net, sgd, tinynet.Plateau(sgd), varied(0),
                    test_batches=lambda ten_views: iter(validation), test_images=300, steps=35,
                    steps_per_epoch=STEPS, identity={"lesson": 11}, hint=runs.StallHint(10), quiet=True)


def train(run, save_after=None, fail_after=None):
    with run:
        for _ in run.epochs():
            for x, labels in run.steps():
                value = train_step(run.net, loss, run.sgd, x, labels)
                run.record(value, loss.probs, labels)
                if run.step == save_after:
                    run.save()
                if run.step == fail_after:
                    raise PowerFailure
            result = evaluate(run.net, loss, run.test_batches())
            run.schedule.end_epoch(result.top1_error)
            run.record_evaluation(result)


with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
    whole = new_run(one)                                   # 35 steps without a break
    whole.begin({})
    train(whole)

    stopped = new_run(two)                                 # a checkpoint after 15 steps, in the middle of an epoch,
    stopped.begin({})                                      # and three more steps, which are lost
    try:
        train(stopped, save_after=15, fail_after=18)
    except PowerFailure:
        print("stopped after step", stopped.step)

    resumed = new_run(two)                                 # fresh weights, then those of the checkpoint
    print("continuing from", resumed.resume().name)
    assert resumed.step == 15
    train(resumed)

    for name, w in whole.net.named_params().items():
        assert (w == resumed.net.named_params()[name]).all()  # equal, to the last bit
    assert list(whole.log["loss"]) == list(resumed.log["loss"])

    print(*sorted(path.name for path in resumed.folder.iterdir()), sep="\n")
    kept = runs.read_metrics(two)
    assert kept["step"] == list(range(1, 36))              # the three lost steps are not there twice
    resumed.finish({"steps": 35})
    assert runs.is_finished(two) and not runs.checkpoints(two)

# %% [markdown]
# And if the dropout masks are forgotten? The same weights, velocities and pictures, but another generator for them:

# %%
def two_steps(mask_seed):
    net = small_net(0, dropout=True)
    net.rng.bit_generator.state = np.random.default_rng(mask_seed).bit_generator.state
    sgd, batches = tinynet.SGD(net, lr=0.01), varied(0)
    for _ in range(2):
        train_step(net, loss, sgd, *next(batches))
    return net["fc4"].params["w"]


assert (two_steps(1) == two_steps(1)).all() and not np.array_equal(two_steps(1), two_steps(2))

# %% [markdown]
# ## Exercises
#
# **1.** The rule. Given the validation errors after each epoch, the first rate and the patience: the rate that **each
# epoch was trained with**, as an array. A new best is any error smaller than all before. `patience` epochs in a row
# without one: divide by 10 and count anew. Three times at most.

# %%
import numpy as np

from tinynet import exercises


def rates_of_plateau(errors, lr, patience):
    ...


exercises.check_rates_of_plateau(rates_of_plateau)

# %% [markdown]
# **2.** From the validation and the test error after each epoch, two arrays: the error that may be reported. Choose the
# epoch by the validation error, the first where several are equal.

# %%
import numpy as np

from tinynet import exercises


def honest_error(validation, test):
    ...


exercises.check_honest_error(honest_error)

# %% [markdown]
# ## What to remember
#
# - Forward, backward, update; after each epoch a measurement on other pictures, with all units on.
# - Training error far below validation error: overfitting. The validation loss shows it first.
# - Dropout and augmentation make learning by heart harder: slower, and better on what was never seen.
# - A loss that creeps: rate too low. One that jumps about ln(classes), or is no number: too high.
# - Cut by 10 when the validation error stops improving, three times, and go on at the last rate.
# - Choose by validation, report the test error. Keep all that changes, or a run cannot go on.
#
# Read next: [evaluation.py](../tinynet/evaluation.py), [runs/run.py](../tinynet/runs/run.py), and the loop of
# [train_alexnet.py](../examples/train_alexnet.py), which has all of this in it.
