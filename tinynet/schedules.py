"""Schedules lower the learning rates of an SGD as training goes on.

The classes are rules. The functions below them build the schedule with which each recipe was
trained, and one for a run of a few minutes.
"""


class Schedule:
    """The base of all schedules. By itself it leaves the rate as it is.

    colour_epochs  in how many epochs the colours of pictures are shifted, for TrainingBatches;
                   None: in all epochs
    """

    colour_epochs = None

    def __init__(self, sgd):
        self.sgd, self.epoch = sgd, 0

    def end_epoch(self, test_error=None):
        """Count an epoch as done. Returns True if the rate was lowered."""
        self.epoch += 1
        return False

    def state(self):
        """Return what a checkpoint keeps. The rates themselves belong to the state of the SGD."""
        return {"epoch": self.epoch}

    def restore(self, state):
        """Put back what state() returned."""
        self.epoch = state["epoch"]


class StepDecay(Schedule):
    """Divide the rate by `factor` after each of the given epochs, counted from 1."""

    def __init__(self, sgd, epochs, factor=10):
        super().__init__(sgd)
        self.epochs, self.factor = tuple(epochs), factor

    def end_epoch(self, test_error=None):
        """Count an epoch as done. Returns True if the rate was lowered."""
        super().end_epoch()
        drops = self.epochs.count(self.epoch)
        self.sgd.lr /= self.factor**drops
        return drops > 0


class Plateau(Schedule):
    """Divide the rate by 10 when the test error stops improving, at most three times.

    Paper    5: "when the validation error rate stopped improving with the current learning rate",
             which the authors decided by hand
    Args     patience: after this many epochs in a row without a new best, the error has stopped
             improving; min_delta: a new best is lower by more than this. Errors are fractions:
             0.001 is 0.1 percentage points
    """

    def __init__(self, sgd, factor=10, drops=3, patience=3, min_delta=0.001):
        super().__init__(sgd)
        self.factor, self.drops, self.patience, self.min_delta = factor, drops, patience, min_delta
        self.best, self.waited = float("inf"), 0

    def end_epoch(self, test_error):
        """Count an epoch as done, after which the test error was `test_error`, a fraction.

        Returns  True if the rate was lowered
        """
        super().end_epoch()
        if test_error < self.best - self.min_delta:
            self.best, self.waited = test_error, 0
            return False
        self.waited += 1
        if self.waited < self.patience or self.drops == 0:
            return False
        self.waited, self.drops = 0, self.drops - 1
        self.sgd.lr /= self.factor
        return True

    def state(self):
        """Return what a checkpoint keeps. The rates themselves belong to the state of the SGD."""
        return super().state() | {"best": self.best, "waited": self.waited, "drops": self.drops}

    def restore(self, state):
        super().restore(state)
        self.best, self.waited, self.drops = state["best"], state["waited"], state["drops"]


class Timetable(Schedule):
    """Set the rates of weights and of biases by the number of epochs done.

    Args     weights, biases: {epochs done: the rate from then on, as a fraction of the first rate};
             own: {"conv1.w": {epochs done: fraction}}, for single parameters; colour_epochs: see
             Schedule
    """

    def __init__(self, sgd, weights, biases, own=None, colour_epochs=None):
        super().__init__(sgd)
        self.weights, self.biases, self.own = weights, biases, own or {}
        self.colour_epochs = colour_epochs
        self.lr, self.lr_mult = sgd.lr, dict(sgd.lr_mult)  # at the start

    def end_epoch(self, test_error=None):
        """Count an epoch as done. Returns True if the rate of the weights was lowered."""
        super().end_epoch()
        before, now = _fraction(self.weights, self.epoch - 1), _fraction(self.weights, self.epoch)
        self.sgd.lr = self.lr * now
        for name in self.sgd.velocity:
            if self.sgd.lr_mult.get(name, 1) == 0:  # frozen; a schedule never ends that
                continue
            stages = self.own.get(name, self.biases if name.endswith(".b") else self.weights)
            fraction = _fraction(stages, self.epoch) / now  # of sgd.lr
            self.sgd.lr_mult[name] = self.lr_mult.get(name, 1) * fraction
        return now < before


def _fraction(stages, epoch):
    stages = {0: 1} | stages
    return stages[max(start for start in stages if start <= epoch)]


def _in_proportion(stages, length, epochs):
    """Scale the stages of a run of `length` epochs to a run of `epochs`."""
    return {round(start * epochs / length): fraction for start, fraction in stages.items()}


def short(sgd, epochs):
    """Divide the rate by 10 after 60 % of the epochs, and again after 85 %: for runs of minutes."""
    return StepDecay(sgd, (round(0.6 * epochs), round(0.85 * epochs)))


def paper(sgd, epochs):
    """Lower the rate when the test error stops improving, as in section 5 of the paper.

    The authors decided by hand; here Plateau decides by a rule.
    """
    return Plateau(sgd)


def code_2012(sgd, epochs):
    """Do what the authors did in the 91 epochs of their network of 2012, scaled to this run.

    The rate of the weights is 0.01, 0.001, 1e-4, 1e-5; the weights of conv1 reach 1e-5 early and
    are then frozen. The rate of the biases is 0.02, then 0.002.

    Source   the notes at the end of the 2012 code's configuration of net 145. For the biases:
             run4.sh, the script of an earlier network, in which they went to 0.002 with the first
             drop of the weights and stayed there. For net 145 only their last value is known, 0.02
    """
    def over(stages):
        return _in_proportion(stages, 91, epochs)

    return Timetable(sgd, weights=over({25: 0.1, 51: 0.01, 79: 0.001}), biases=over({25: 0.1}),
                     own={"conv1.w": over({25: 0.1, 51: 0.01, 67: 0.001, 72: 0})},
                     colour_epochs=round(67 * epochs / 91))


def caffe(sgd, epochs):
    """Divide the rate by 10 after each 100,000 of 450,000 steps, scaled to this run.

    Source   Caffe's models/bvlc_alexnet/solver.prototxt
    """
    drops = (100_000, 200_000, 300_000, 400_000)
    return StepDecay(sgd, [round(steps * epochs / 450_000) for steps in drops])


def owt(sgd, epochs):
    """Cut the run into four equal parts, each with 1/6.3 of the rate before: 1/250 in the last.

    The biases have a tenth of their rate in the second half.

    Source   the schedule "dexp" of cuda-convnet2, for its one-GPU network of these widths
    """
    weights = {25: 250 ** (-1 / 3), 50: 250 ** (-2 / 3), 75: 1 / 250}
    return Timetable(sgd, _in_proportion(weights, 100, epochs),
                     _in_proportion({50: 0.1}, 100, epochs))


SCHEDULES = {"short": short, "paper": paper, "code-2012": code_2012, "caffe": caffe, "owt": owt}
