"""When the learning rate falls: a schedule is told that an epoch is over, and sets the rates of an SGD.

The classes are rules. Below them, what was done to train each recipe, and what suits a run of a few minutes.
"""


class Schedule:
    """The base of all schedules, and the one that leaves the rate as it is.

    colour_epochs  after so many epochs colours are shifted no more, as TrainingBatches takes it; None: in all
    """

    colour_epochs = None

    def __init__(self, sgd):
        self.sgd, self.epoch = sgd, 0

    def end_epoch(self, validation_error=None):
        """Tell it that an epoch is over. Returns True where the rate has just been lowered."""
        self.epoch += 1
        return False

    def state(self):
        """What a checkpoint keeps of it, beside the rates, which are the SGD's."""
        return {"epoch": self.epoch}

    def restore(self, state):
        self.epoch = state["epoch"]


class StepDecay(Schedule):
    """Divide the rate by `factor` after each of the given epochs, counted from 1."""

    def __init__(self, sgd, epochs, factor=10):
        super().__init__(sgd)
        self.epochs, self.factor = tuple(epochs), factor

    def end_epoch(self, validation_error=None):
        """Tell it that an epoch is over. Returns True where the rate has just been lowered."""
        super().end_epoch()
        drops = self.epochs.count(self.epoch)
        self.sgd.lr /= self.factor**drops
        return drops > 0


class Plateau(Schedule):
    """Divide the rate by 10 when the validation error stops improving, three times; then train on at the last rate.

    Paper    5: "when the validation error rate stopped improving with the current learning rate"; by hand, there
    Args     patience: how many epochs in a row without a new best (by min_delta, a fraction) mean "stopped"
    """

    def __init__(self, sgd, factor=10, drops=3, patience=3, min_delta=0.001):
        super().__init__(sgd)
        self.factor, self.drops, self.patience, self.min_delta = factor, drops, patience, min_delta
        self.best, self.waited = float("inf"), 0

    def end_epoch(self, validation_error):
        """Tell it the error at the end of an epoch. Returns True where the rate has just been lowered."""
        super().end_epoch()
        if validation_error < self.best - self.min_delta:
            self.best, self.waited = validation_error, 0
            return False
        self.waited += 1
        if self.waited < self.patience or self.drops == 0:
            return False
        self.waited, self.drops = 0, self.drops - 1
        self.sgd.lr /= self.factor
        return True

    def state(self):
        """What a checkpoint keeps of it, beside the rates, which are the SGD's."""
        return super().state() | {"best": self.best, "waited": self.waited, "drops": self.drops}

    def restore(self, state):
        super().restore(state)
        self.best, self.waited, self.drops = state["best"], state["waited"], state["drops"]


class Timetable(Schedule):
    """Rates by the number of epochs done, those of weights, of biases and of single parameters each by their own.

    Args     weights, biases: {epochs done: the rate then, as a fraction of the one at the start}; own: {"conv1.w": the
             same}, for parameters that have one of their own; colour_epochs: see Schedule
    """

    def __init__(self, sgd, weights, biases, own=None, colour_epochs=None):
        super().__init__(sgd)
        self.weights, self.biases, self.own, self.colour_epochs = weights, biases, own or {}, colour_epochs
        self.lr, self.lr_mult = sgd.lr, dict(sgd.lr_mult)  # at the start

    def end_epoch(self, validation_error=None):
        """Tell it that an epoch is over. Returns True where the weights' rate has just been lowered."""
        super().end_epoch()
        before, now = _fraction(self.weights, self.epoch - 1), _fraction(self.weights, self.epoch)
        self.sgd.lr = self.lr * now
        for name in self.sgd.velocity:
            stages = self.own.get(name, self.biases if name.endswith(".b") else self.weights)
            self.sgd.lr_mult[name] = self.lr_mult.get(name, 1) * _fraction(stages, self.epoch) / now  # of sgd.lr
        return now < before


def _fraction(stages, epoch):
    stages = {0: 1} | stages
    return stages[max(start for start in stages if start <= epoch)]


def _in_proportion(stages, length, epochs):
    """Stages of a run of `length` epochs, for one of `epochs`."""
    return {round(start * epochs / length): fraction for start, fraction in stages.items()}


def short(sgd, epochs):
    """For a run of minutes: a tenth of the rate after 60 % of the epochs, a hundredth after 85 %."""
    return StepDecay(sgd, (round(0.6 * epochs), round(0.85 * epochs)))


def paper(sgd, epochs):
    """Paper, 5: when the validation error stops improving. What was done by hand there is a rule here."""
    return Plateau(sgd)


def code_2012(sgd, epochs):
    """What the authors did while their net of 2012 trained, over 91 epochs; others have it in proportion.

    Weights 0.01, 0.001, 1e-4, 1e-5; those of conv1 end at 1e-5 early and then stay as they are. Biases 0.02, 0.002.

    Source   the notes at the end of the 2012 code's configuration of net 145. For the biases run4.sh, the script of an
             earlier net: they went to 0.002 with the weights' first drop, and stayed. Of net 145 only the last value
             is known, 0.02
    """
    def over(stages):
        return _in_proportion(stages, 91, epochs)

    return Timetable(sgd, weights=over({25: 0.1, 51: 0.01, 79: 0.001}), biases=over({25: 0.1}),
                     own={"conv1.w": over({25: 0.1, 51: 0.01, 67: 0.001, 72: 0})},
                     colour_epochs=round(67 * epochs / 91))


def caffe(sgd, epochs):
    """A tenth after each 100,000 of 450,000 steps, as in Caffe's models/bvlc_alexnet/solver.prototxt; in proportion."""
    return StepDecay(sgd, [round(steps * epochs / 450_000) for steps in (100_000, 200_000, 300_000, 400_000)])


def owt(sgd, epochs):
    """Four equal parts, each at 1/6.3 of the rate before: at last 1/250. Biases: two halves, the second at a tenth.

    Source   "dexp" of cuda-convnet2, from its net of these widths for one GPU
    """
    weights = {25: 250 ** (-1 / 3), 50: 250 ** (-2 / 3), 75: 1 / 250}
    return Timetable(sgd, _in_proportion(weights, 100, epochs), _in_proportion({50: 0.1}, 100, epochs))


SCHEDULES = {"short": short, "paper": paper, "code-2012": code_2012, "caffe": caffe, "owt": owt}  # short, or by recipe
