"""How the loss, its probabilities and its gradients are computed."""

import numpy as np

from tinynet.trace.explanation import added_up, explanation, host


def _softmax(logits):
    exps = np.exp(logits - logits.max())
    return exps, exps / exps.sum()


def y(step, index):
    """Explain the loss: it is the mean of -log of the probabilities of the right classes."""
    logits, = host(step.x)
    labels, = step.saved
    right = np.array([_softmax(row)[1][label] for row, label in zip(logits, labels)])
    losses = -np.log(right)
    return explanation("the probability of each picture's own class", ("image",), (0,),
                       {"label": labels, "p[label]": right, "-log p": losses},
                       [added_up(losses, "losses"),
                        (f"divided by {len(losses)}, the size of the batch", losses.mean())],
                       {"p[label]": ("probs", (np.arange(len(labels)), np.asarray(labels)))})


def probs(step, index):
    """Explain a probability: it is a share of the sum of all exponentials."""
    n, c = index
    logits, = host(step.x[n])
    exps, probs = _softmax(logits)
    return explanation(f"class {c} of picture {n}, whose label is {step.saved[0][n]}", ("class",),
                       (0,), {"logit": logits, "exp(logit - largest)": exps},
                       [(f"exp of class {c}", exps[c]), added_up(exps, "exps"),
                        ("p = exp / sum", probs[c])],
                       {"logit": ("x", (n, np.arange(logits.size)))},
                       picked=np.arange(logits.size) == c)


def dx(step, index):
    """Explain a gradient: it is the probability minus the truth, divided by the batch size."""
    n, c = index
    logits, = host(step.x[n])
    N, label = len(step.x), int(step.saved[0][n])
    probs = _softmax(logits)[1]
    truth = (np.arange(logits.size) == label).astype(float)
    wrong = probs[c] - truth[c]
    return explanation(f"the probability of class {c} minus the truth: picture {n} has "
                       f"label {label}", ("class",), (0,),
                       {"p": probs, "truth": truth, "p - truth": probs - truth},
                       [("p - truth", wrong),
                        (f"divided by {N}, the size of the batch", wrong / N)],
                       {"p": ("probs", (n, np.arange(logits.size)))},
                       picked=np.arange(logits.size) == c)
