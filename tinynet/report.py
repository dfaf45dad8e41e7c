"""The end of a run: its weights, its figures, the pictures it knows best and worst, and a summary in a few lines."""

import dataclasses
import math

import numpy as np

from tinynet import backend, console, data, figures
from tinynet.metrics import most_confused
from tinynet.train import Evaluation, probabilities

FIGURES = ("curves.png", "kernels.png", "best_and_worst.png")


def finish(run, source, loss, held_out, facts, ten_views=False, quiet=False):
    """Write what a run leaves at its end, summary.json last, and say how it went.

    Args     held_out(ten_views): the test batches; facts: for summary.json, "steps", "images", "seconds" and "device"
             (images and seconds of this sitting, if it was resumed) and whatever else there is to say
    """
    one = Evaluation(*(run.metrics[name][-1] for name in ("top1_error", "top5_error", "test_loss")), len(source.test))
    with console.Progress(len(source.test), "looking at mistakes", "pictures", quiet) as progress:
        probs, labels = probabilities(run.net, loss, _counted(held_out(ten_views), progress))
    ten = Evaluation.of(probs, labels) if ten_views else None
    speed = facts["images"] / facts["seconds"] if facts["images"] else None  # stopped here: no step was left to time
    run.net.save(run.folder / "weights.npz")
    draw(run, source.test, source.class_names, probs, labels)
    run.finish({"top1_error": one.top1_error, "top5_error": one.top5_error, "loss": one.loss,
                "ten_views": ten and dataclasses.asdict(ten), "images_per_second": speed, **facts})
    if not quiet:
        unreadable = len(source.train.unreadable) + len(source.test.unreadable)
        print(*summary(one, ten, source.class_names, probs, labels, facts, speed, unreadable), sep="\n")
        print(f"{run.folder}: {', '.join(FIGURES)}, weights.npz, metrics.csv, summary.json")


def _counted(batches, progress):
    for x, labels in batches:
        yield x, labels
        progress.update(len(labels))


def draw(run, split, class_names, probs, labels):
    """The figures of a run that is over, into its folder."""
    net, out = run.net, run.folder
    figures.draw_curves(out / "curves.png", run.metrics)
    figures.draw_kernels(out / "kernels.png", backend.to_numpy(net["conv1"].params["w"]), groups=net["conv2"].groups)
    best, worst = best_and_worst(probs, labels)
    chosen = np.concatenate([best, worst])
    seen = [i for i, name in enumerate(split.names) if name not in split.unreadable]
    pictures, readable = split.read(np.array(seen)[chosen])
    chosen, words = chosen[readable], np.repeat(["best", "worst"], len(best))[readable]
    own = probs[chosen, labels[chosen]]
    titles = [f"{word}: {class_names[k]}, {p:.2%}" for word, k, p in zip(words, labels[chosen], own)]
    figures.draw_guesses(out / "best_and_worst.png", data.center_crop(pictures, net.in_shape[-1]), probs[chosen],
                         class_names, titles, labels[chosen], columns=len(best))


def best_and_worst(probs, labels, count=4):
    """Which pictures the right class has the highest and the lowest probability of, the extremes first; no overlap."""
    order = np.argsort(probs[np.arange(len(labels)), labels], kind="stable")
    count = min(count, max(1, len(order) // 2))
    return order[::-1][:count], order[:count]


def summary(one, ten, class_names, probs, labels, facts, speed, unreadable):
    """The lines that a run ends with."""
    C = len(class_names)
    guessing = Evaluation(1 - 1 / C, max(0, 1 - 5 / C), math.log(C), 0)
    rows = {"one view": one, "ten views": ten, "guessing": guessing}
    yield f"{f'{len(labels):,} held out':<20}{'top-1 error':>13}{'top-5 error':>13}{'nll':>9}"
    for name, row in rows.items():
        if row:
            yield f"{name:<20}{row.top1_error:>13.1%}{row.top5_error:>13.1%}{row.loss:>9.3f}"
    if mistakes := most_confused(probs, labels, 3):
        yield "most often mistaken: " + ", ".join(
            f"{class_names[k]} for {class_names[taken]} ({times} of {(labels == k).sum()})"
            for k, taken, times in mistakes)
    if unreadable:
        yield f"{unreadable} pictures could not be read and were left out"
    yield f"{facts['steps']} steps" + (f", {facts['images']:,} pictures in {facts['seconds']:.0f} s on "
                                       f"{facts['device']}: {speed:.0f} a second" if speed else "")
