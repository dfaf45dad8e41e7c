# %% [markdown]
# # 14 · Training (训练)
#
# *35 minutes. Before it: 07, stochastic gradient descent; 11, dropout; 12, augmentation. Beside it: the paper, sections
# 4 and 5, `tinynet/schedules.py`, `tinynet/evaluation.py`, `tinynet/runs/`.*
#
# After this lesson you can write the training loop, read its curves (学习曲线), tell overfitting (过拟合) from a learning rate
# that is too high or too low, cut the rate by the paper's rule, stop a run and continue it, and say which error may be
# reported.
#
# **In a sentence:** make step after step on the training set, and measure the error on other pictures after each epoch;
# this error decides when to cut the rate, and a third set measures how good the network is.

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
# There are 200 drawn pictures to learn from (训练集, the training set), 300 for decisions during training (验证集, the
# validation set), and 300 for the measurement at the end (测试集, the test set). They show ten classes. Pictures are
# stored with 32 pixels, and the input of the network has 28.

# %%
source = EmbeddedSource(32, quiet=True, counts=(200, 600))
statistics = data.compute_statistics(source.train, quiet=True)
validation, test = ([(x / 60, labels)] for x, labels in data.test_batches(source.test, 300, 28, statistics.mean))
assert len(validation[0][1]) == len(test[0][1]) == 300     # one batch each; / 60: standard deviation about 1

figures.draw_rows({"": list(source.train.read(np.arange(10))[0])}, titles=source.class_names)

# %% [markdown]
# The network is small enough for a lesson: two convolutions and two fully connected layers, with or without dropout
# between the latter.

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
# A step (步) consists of forward, the loss, backward, and the update:
#
# **Predict:** what happens to the loss of a batch after ten steps on this batch?

# %%
def train_step(net, loss, sgd, x, labels):
    value = loss.forward(net.forward(x), labels)
    net.backward(loss.backward())
    sgd.step()
    return value


net, loss = small_net(0), tinynet.SoftmaxCrossEntropy()
sgd = tinynet.SGD(net, lr=0.01)
x, labels = next(data.test_batches(source.train, 20, 28, statistics.mean))   # the first 20 training pictures
x /= 60
before = train_step(net, loss, sgd, x, labels)
for _ in range(10):
    after = train_step(net, loss, sgd, x, labels)
print(f"the loss of 20 pictures: {before:.2f} at first, {after:.2f} after ten more steps on them")
assert after < before

# %% [markdown]
# The loop repeats this with one batch of 20 pictures after the other. Ten batches are an epoch (轮); after each epoch it
# measures the validation error. It stores numbers for each step, under the names that the library uses for its runs. A
# number that is not measured in a step is nan.

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
    """One number for each epoch: the mean over its steps, or the number that was measured at its end."""
    return np.nanmean(metrics[name].reshape(-1, STEPS), axis=1)


def curve(values):
    """A number for each epoch, beside the number of the epoch: from 1."""
    return np.arange(1, len(values) + 1), values

# %% [markdown]
# The first run has no augmentation: it uses the middle of each picture, the same in every epoch.

# %%
class Middles:
    """The middle of the training pictures, 28 pixels."""

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


EPOCHS = 40
bare = small_net(0)
metrics = train(bare, 0.01, plain(0), EPOCHS)
figures.draw_curves(None, metrics)

# %% [markdown]
# ## Reading the curves: overfitting
#
# On the left is the loss of every batch. It begins near ln 10 = 2.3, the loss of guessing among ten classes, and ends
# near 0. On the right are the errors. (The figure calls all pictures that are not for training "test"; here they are
# the validation set.) The training error is 0, but about 40 % of the validation pictures are wrong. This gap is
# overfitting: the network has memorised the training pictures. More epochs do not close the gap, because the training
# loss is already near 0.

# %%
first, last = metrics["loss"][:3].mean(), by_epoch(metrics, "loss")[-5:].mean()
print(f"loss: {first:.1f} at first; in the last five epochs below 0.1: {last < 0.1}")
print(f"error in the last five epochs: training {by_epoch(metrics, 'train_error')[-5:].mean():.0%}, "
      f"validation {by_epoch(metrics, 'top1_error')[-5:].mean():.0%}")
assert abs(first - np.log(10)) < 0.8 and last < 0.1
assert by_epoch(metrics, "train_error")[-5:].mean() < 0.03
assert 0.2 < by_epoch(metrics, "top1_error")[-5:].mean() < 0.65  # guessing: 0.9

# %% [markdown]
# The validation **loss** shows overfitting earlier than the validation error.
#
# **Predict:** the training loss keeps falling. What will the validation loss do?

# %%
valid = by_epoch(metrics, "test_loss")
turns = valid.argmin()
print(f"the validation loss is smallest after {turns + 1} epochs")
assert turns < 30 and by_epoch(metrics, "loss")[-1] < by_epoch(metrics, "loss")[turns] / 3
assert by_epoch(metrics, "top1_error")[-5:].mean() < by_epoch(metrics, "top1_error")[:turns].mean()

figures.draw_lines({"error": {"training": curve(by_epoch(metrics, "train_error")),
                              "validation": curve(by_epoch(metrics, "top1_error"))},
                    "loss": {"training": curve(by_epoch(metrics, "loss")), "validation": curve(valid)}}, xlabel="epoch")

# %% [markdown]
# The validation loss has a minimum and grows again, while the error still falls a little. Where the network is wrong,
# it becomes more and more sure of its wrong answer. The loss measures how sure it is; the error does not.
#
# ## Two methods against overfitting: dropout and augmentation
#
# The paper uses augmentation (数据增强), so that no picture is seen twice in the same way, and dropout (随机失活), so that
# units cannot rely on each other. Here augmentation means crops with an offset of 0 to 4 pixels and mirror images, and
# dropout drops half of the 64 units.
#
# **Predict:** which of the two makes the training loss fall more slowly?

# %%
ways = {"neither": (False, plain), "dropout": (True, plain), "augmentation": (False, varied), "both": (True, varied)}
nets = {name: small_net(0, dropout) for name, (dropout, _) in ways.items() if name != "neither"}
results = {"neither": metrics} | {name: train(nets[name], 0.01, ways[name][1](0), EPOCHS) for name in nets}
for name in nets:
    print(f"{name:<13} validation loss at the end {by_epoch(results[name], 'test_loss')[-5:].mean():.1f}")
    assert by_epoch(results[name], "train_error")[-5:].mean() > by_epoch(metrics, "train_error")[-5:].mean()

figures.draw_lines({title: {way: curve(by_epoch(result, name)) for way, result in results.items()}
                    for title, name in (("training loss", "loss"), ("validation loss", "test_loss"))}, xlabel="epoch")

# %% [markdown]
# Both make it harder to memorise the pictures, and both make learning slower: the paper says that dropout roughly
# doubles the number of iterations. But each curve is one run, and another seed gives another curve. So compare "both"
# with "neither" for three seeds.
#
# **Predict:** is "both" better with every seed, in the validation loss and in the validation error?

# %%
pairs = [(results["neither"], results["both"])]
pairs += [(train(small_net(seed), 0.01, plain(seed), EPOCHS),
           train(small_net(seed, dropout=True), 0.01, varied(seed), EPOCHS)) for seed in (1, 2)]
ends = {name: np.array([[by_epoch(metrics, name)[-5:].mean() for metrics in pair] for pair in pairs])
        for name in ("test_loss", "top1_error")}           # (3 seeds, neither and both)
assert (ends["test_loss"][:, 1] < 0.75 * ends["test_loss"][:, 0]).all()  # every time, by a quarter or more
assert ends["top1_error"][:, 1].mean() < ends["top1_error"][:, 0].mean() + 0.02  # no worse on average

figures.draw_dots({title: {"neither": ends[name][:, 0], "both": ends[name][:, 1]}
                   for title, name in (("validation loss at the end", "test_loss"),
                                       ("validation error at the end", "top1_error"))})

# %% [markdown]
# Each dot is a run. With 200 pictures, 40 epochs and three seeds, the loss is much better with every seed. The error is
# better by some points, or hardly. The paper gives no numbers for dropout. Of crops and mirror images it says that
# without them the network "suffers from substantial overfitting, which would have forced us to use much smaller
# networks".
#
# Be careful with such curves: with dropout, the training error is that of a network **without half of its units**, on
# augmented pictures. Measure the same network with all units, on the pictures as they are.
#
# **Predict:** is this error larger or smaller than the training error in the curve?

# %%
known = [(x / 60, labels) for x, labels in data.test_batches(Middles(), 200, 28, middle_statistics.mean)]
while_training = by_epoch(results["both"], "train_error")[-5:].mean()
all_units = evaluate(nets["both"], loss, known).top1_error
print(f"training error in the curve {while_training:.0%}; with all units, on the plain pictures {all_units:.0%}")
assert all_units < while_training / 1.2                    # so the curve may even lie above the validation error
assert evaluate(bare, loss, known).top1_error < 0.03

# %% [markdown]
# ## A rate too high, a rate too low
#
# Train the network for 20 epochs with three rates: one is right, one too low, one too high.
#
# **Predict:** how can you tell a loss with a rate that is too low from one with a rate that is too high?

# %%
rates = {"0.0003": 0.0003, "0.01": 0.01, "0.1": 0.1}
tried = {name: train(small_net(0), lr, plain(0), 20) for name, lr in rates.items()}
losses = {name: by_epoch(metrics, "loss") for name, metrics in tried.items()}
print("the loss at the end:", ", ".join(f"rate {name}: {each[-1]:.1f}" for name, each in losses.items()))
assert losses["0.01"][-1] < 0.6                            # right
assert 1.5 < losses["0.0003"][-1] < losses["0.0003"][0] - 0.2  # falls slowly
assert losses["0.1"].min() > 1.7                           # stays near ln 10

figures.draw_lines({"training loss": {name: curve(each) for name, each in losses.items()}}, xlabel="epoch",
                   levels={"ln 10: guessing": np.log(10)})

# %% [markdown]
# If the rate is too low, the loss falls, smoothly and slowly. If it is too high, the loss jumps around ln 10 and does
# not fall. With a still higher rate, such as 1, the first steps make the weights so large that the loss explodes. After
# that the loss is not a number, and `require_finite` stops the run with a message; or the units are 0 for every
# picture, and the loss stays at ln 10.

# %%
for seed in range(3):
    with np.errstate(all="ignore"):
        try:
            worst = train(small_net(seed), 1.0, plain(seed), 1)["loss"].max()
        except NotFinite:
            worst = np.inf
    print(f"seed {seed}: the largest loss is more than 5 * ln 10: {worst > 5 * np.log(10)}")
    assert worst > 5 * np.log(10)

try:
    require_finite(np.nan, 7)
except NotFinite as error:
    print(error)

# %% [markdown]
# ## When to cut the rate: the rule, by hand
#
# The paper: "divide the learning rate by 10 when the validation error rate stopped improving with the current learning
# rate". The **validation error** decides, not the loss; and after the third cut training **goes on**, at the last rate.
# (The [student's notes](notes_corrected.md) say that training ends after the third cut.) The authors looked at the
# curve and cut the rate by hand. A program needs a number for "stopped": the patience (耐心值), the number of epochs
# without a new best.
#
# **Predict:** with a patience of 2, after which of the errors in the next cell is the rate cut?

# %%
errors = [0.90, 0.60, 0.65, 0.61, 0.40, 0.42, 0.40, 0.39]
#         best  best  1     2:cut best  1     2:cut best
sgd = tinynet.SGD(small_net(0), lr=0.01)
schedule = tinynet.Plateau(sgd, patience=2)
cuts = [schedule.end_epoch(error) for error in errors]
print("cut after the errors number", [at + 1 for at, each in enumerate(cuts) if each])
assert cuts == [False, False, False, True, False, False, True, False]
assert np.isclose(sgd.lr, 0.01 / 10 / 10) and schedule.drops == 1  # one cut is left
print(inspect.getsource(tinynet.Plateau.end_epoch))

# %% [markdown]
# ## The rule, in a run
#
# In lesson 07 the errors were made up; here they are measured. The run has augmentation, a rate of 0.02 and a patience
# of 6 epochs. A new best must be better by more than three pictures of the 300 (min_delta = 0.01). The grey lines are
# the cuts.
#
# **Predict:** what do the loss and its noise do after the first cut?

# %%
cut = train(small_net(0), 0.02, varied(0), 60, plateau=True)
lrs = cut["lr"].reshape(-1, STEPS)[:, 0]                   # of each epoch
drops = np.flatnonzero(np.diff(lrs) < 0) + 1               # the epochs after which it was cut
assert 1 <= len(drops) <= 3 and np.allclose(lrs[drops], 0.02 / 10.0**np.arange(1, len(drops) + 1))

figures.draw_curves(None, cut)

# %% [markdown]
# After the first cut the training loss may jump for some steps (lesson 07 explains why). Then it falls, and it is much
# less noisy, because the steps are smaller. The later cuts change little. The length of the run was fixed beforehand:
# 60 epochs here, about 90 in the paper. No cut ends the run.

# %%
start = drops[0]
level = by_epoch(cut, "loss")
print(f"cuts after epochs {drops.tolist()}; the loss {level[start - 5:start].mean():.1f} before the first, "
      f"{level[start + 2:start + 7].mean():.1f} after it")
assert level[start + 2:start + 7].mean() < level[start - 5:start].mean()
assert len(cut["step"]) == 60 * STEPS and lrs[-1] < 0.02

replayed = tinynet.Plateau(tinynet.SGD(small_net(0), lr=0.02), patience=6, min_delta=0.01)
again = [replayed.end_epoch(error) for error in by_epoch(cut, "top1_error")]
assert (np.flatnonzero(again) + 1 == drops).all()          # the validation error alone decides

# %% [markdown]
# ## Which error may be reported?
#
# The smallest of 90 errors is partly luck. Take a network whose true error is 0.40 in every epoch: each measurement on
# 300 pictures differs from it by chance, and the smallest of 90 differs most. So choose the epoch with the
# **validation** set, and report the error of that epoch on the **test** set, which had no influence on the choice.
# (Simulated, 1,000 times.)
#
# **Predict:** how small is the smallest of 90 errors on average?

# %%
measured = rng.binomial(300, 0.40, (2, 1000, 90)) / 300    # validation and test, runs, epochs
smallest = np.minimum.accumulate(measured[1], axis=1).mean(axis=0)  # (90,) of the epochs so far
chosen = np.stack([np.take_along_axis(measured[1], measured[0, :, :n].argmin(axis=1)[:, None], axis=1).mean()
                   for n in range(1, 91)])
print(f"smallest of 90: {smallest[-1]:.3f}; test error of the chosen epoch: {chosen[-1]:.3f}; true error: 0.400")
assert smallest[-1] < 0.345 and abs(chosen - 0.40).max() < 0.01

looked_at = np.arange(1, 91)
figures.draw_lines({"an error that never changes": {"smallest test error": (looked_at, smallest),
                                                   "test error of the chosen epoch": (looked_at, chosen)}},
                   xlabel="epochs to choose from", levels={"true error": 0.40})

# %% [markdown]
# The validation error of the chosen epoch is too small for the same reason: it has decided about the epoch and the
# cuts. So for our network with both methods, report its test error, measured once, at the end:

# %%
reported = evaluate(nets["both"], loss, test).top1_error
print(f"test error {reported:.0%}, validation error {results['both']['top1_error'][-1]:.0%}")
assert abs(reported - results["both"]["top1_error"][-1]) < 0.15  # on 300 pictures both vary by a few points

# %% [markdown]
# ## Stop a run and continue it
#
# The paper's training took five to six days. What if the power fails on the fourth day? `Run` saves **everything that
# changes** in a checkpoint: weights, velocities, the rate, the state of the schedule, the order of the batches and the
# place in it, and the random generator of dropout's masks. If one of them is missing, the continued run has other
# results.

# %%
class PowerFailure(Exception):
    pass


def new_run(folder):
    net = small_net(0, dropout=True)
    sgd = tinynet.SGD(net, lr=0.01)
    return runs.Run(runs.Lock(folder), net, sgd, tinynet.Plateau(sgd), varied(0),
                    test_batches=lambda ten_views: iter(validation), test_images=300, steps=35,
                    steps_per_epoch=STEPS, identity={"lesson": 14}, hint=runs.StallHint(10), quiet=True)


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

    resumed = new_run(two)                                 # new weights, then those of the checkpoint
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
# What if the random generator of the dropout masks is not saved? Here are two runs with the same weights, velocities
# and pictures, and another generator for the masks.
#
# **Predict:** are the weights the same after two steps?

# %%
def two_steps(mask_seed):
    net = small_net(0, dropout=True)
    net.rng.bit_generator.state = np.random.default_rng(mask_seed).bit_generator.state
    sgd, batches = tinynet.SGD(net, lr=0.01), varied(0)
    for _ in range(2):
        train_step(net, loss, sgd, *next(batches))
    return net["fc4"].params["w"]


print("the same generator, the same weights:", np.array_equal(two_steps(1), two_steps(1)))
print("another generator, the same weights: ", np.array_equal(two_steps(1), two_steps(2)))
assert (two_steps(1) == two_steps(1)).all() and not np.array_equal(two_steps(1), two_steps(2))

# %% [markdown]
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/14_training.py).
#
# **1.** The rule. From the validation errors after each epoch, the first rate and the patience, compute the rate that
# **each epoch was trained with**, as an array. A new best is any error smaller than all before. After `patience` epochs
# in a row without a new best, divide by 10 and start to count again. Divide three times at most.

# %%
import numpy as np

from tinynet import exercises


def rates_of_plateau(errors, lr, patience):
    ...


exercises.check_rates_of_plateau(rates_of_plateau)

# %% [markdown]
# **2.** `validation` and `test` are arrays of the errors after each epoch. Return the error that may be reported.
# Choose the epoch by the validation error; if several are equal, take the first.

# %%
import numpy as np

from tinynet import exercises


def honest_error(validation, test):
    ...


exercises.check_honest_error(honest_error)

# %% [markdown]
# ## What to remember
#
# - Forward, backward, update; after each epoch a measurement on other pictures, with all units.
# - Training error far below validation error: overfitting. The validation loss shows it first.
# - Dropout and augmentation make it harder to memorise: learning is slower, and better on new pictures.
# - A loss that falls slowly: the rate is too low. One that jumps around ln(classes), or is not a number: too high.
# - Divide the rate by 10 when the validation error stops improving, three times, and go on at the last rate.
# - Choose by the validation error, report the test error. Save everything that changes, or a run cannot continue.
#
# Next: [15, looking inside](15_looking_inside.ipynb). Read next: [evaluation.py](../tinynet/evaluation.py),
# [runs/run.py](../tinynet/runs/run.py), and the loop of [train_alexnet.py](../examples/train_alexnet.py), which uses
# all of this.
