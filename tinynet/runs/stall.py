"""A hint for the most common complaint about AlexNet: the loss stays at 6.91."""

import math

INITIAL_WEIGHTS = (
    "Initial weights are the usual reason: use --recipe code-2012 (std 0.03 in conv3 to conv5 "
    "under biases of 1) or caffe (biases of 0.1); or a lower --lr")


class StallHint:
    """Notices a network that has learned nothing: its loss has stayed within 1 % of ln(classes).

    With std 0.01 everywhere and biases of 1, as in the paper's text, the constant biases drown the
    picture: at fc7 the activations of two images differ by 1 % of their mean. The authors' own 0.03
    in conv3 to conv5 makes it 14 %, and Caffe's biases of 0.1 make it 5 % (measured on 20
    photographs, one seed).

    Args     num_classes: with two or fewer there is no hint, since chance is too close to a good
             loss; patience: in steps; remedy: the sentence that ends the hint
    """

    def __init__(self, num_classes, patience=300, remedy=INITIAL_WEIGHTS):
        self.chance = math.log(num_classes) if num_classes > 2 else None
        self.patience, self.remedy, self.stalled = patience, remedy, 0

    def update(self, loss):
        """Count the loss of a step. Returns the hint when it is due, once; otherwise None."""
        if self.chance is None:
            return None
        near = abs(loss - self.chance) <= 0.01 * self.chance
        # One noisy batch is no escape from the plateau, ten are.
        self.stalled = self.stalled + 1 if near else max(0, self.stalled - 10)
        if self.stalled < self.patience:
            return None
        self.patience = math.inf
        return (f"hint: the loss has stayed at {self.chance:.2f} = ln(classes), which is chance, "
                f"for {self.stalled} steps. {self.remedy}")

    def state(self):
        """Return what a checkpoint keeps."""
        return {"patience": self.patience, "stalled": self.stalled}

    def restore(self, state):
        """Put back what state() returned."""
        self.patience, self.stalled = state["patience"], state["stalled"]
