"""Where the loss, its probabilities and its gradients come from."""

import numpy as np

from tinynet.trace.explanation import added_up, explanation, host


def _softmax(logits):
    exps = np.exp(logits - logits.max())
    return exps, exps / exps.sum()


def y(step, index):
    """The mean of -log of what was believed of the right classes."""
    logits, = host(step.x)
    labels, = step.kept
    believed = np.array([_softmax(row)[1][label] for row, label in zip(logits, labels)])
    losses = -np.log(believed)
    return explanation("what was believed of each picture's own class", ("image",), (0,),
                       {"label": labels, "p[label]": believed, "-log p": losses},
                       [added_up(losses, "losses"), (f"divided by the {len(losses)} of the batch", losses.mean())])


def probs(step, index):
    """A share of the sum of all exponentials."""
    n, c = index
    logits, = host(step.x[n])
    exps, probs = _softmax(logits)
    return explanation(f"class {c} of picture {n}, whose label is {step.kept[0][n]}", ("class",), (0,),
                       {"logit": logits, "exp(logit - largest)": exps},
                       [(f"exp of class {c}", exps[c]), added_up(exps, "exps"), ("p = exp / sum", probs[c])],
                       picked=np.arange(logits.size) == c)


def dx(step, index):
    """What is believed less what is true, divided by the batch."""
    n, c = index
    logits, = host(step.x[n])
    N, label = len(step.x), int(step.kept[0][n])
    probs = _softmax(logits)[1]
    truth = (np.arange(logits.size) == label).astype(float)
    wrong = probs[c] - truth[c]
    return explanation(f"what is believed of class {c}, less what is true: picture {n} has label {label}",
                       ("class",), (0,), {"p": probs, "truth": truth, "p - truth": probs - truth},
                       [("p - truth", wrong), (f"divided by the {N} of the batch", wrong / N)],
                       picked=np.arange(logits.size) == c)
