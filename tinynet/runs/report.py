"""The end of a run: its weights, its figures, and a summary of a few lines."""

import math

import numpy as np

from tinynet import backend, data
from tinynet.evaluation import Evaluation, evaluate
from tinynet.metrics import most_confused

FIGURES = ("curves.png", "kernels.png", "best_and_worst.png")


def finish(run, source, loss, ten_views=False, **facts):
    """Write everything that a run leaves at its end, summary.json last, and print how it went.

    Args     facts: more entries for summary.json
    With several ranks, all of them measure and rank 0 writes.
    """
    one = run.evaluation  # None if the run was stopped after its last evaluation, and resumed here
    if one is None:
        one = evaluate(run.net, loss, run.test_batches())
    ten = evaluate(run.net, loss, run.test_batches(True, "ten views")) if ten_views else None
    net = run.whole_net()
    if not run.is_first:
        return
    facts = {"images": run.images, "seconds": run.seconds, "steps": run.step,
             "parameters": net.summary().params, "device": run.net.device, **facts}
    if run.communicator.size > 1:
        facts |= {"ranks": run.communicator.size, "bytes_sent_per_step": run.sent,
                  "bytes_received_per_step": run.received}
    speed = run.images / run.seconds if run.images else None  # None: every step was made before
    net.save(run.folder / "weights.npz")
    draw_figures(run, net, source.test, source.class_names, ten or one)
    run.finish({"top1_error": one.top1_error, "top5_error": one.top5_error, "loss": one.loss,
                "ten_views": ten and ten.numbers(), "images_per_second": speed, **facts})
    if not run.quiet:
        unreadable = len(source.train.unreadable) + len(source.test.unreadable)
        lines = summary(one, ten, source.class_names, facts, speed, unreadable, run.began_at)
        print(*lines, sep="\n")
        print(f"{run.folder}: {', '.join(FIGURES)}, weights.npz, metrics.csv, summary.json")


def draw_figures(run, net, split, class_names, evaluation):
    """Draw the figures of a finished run into its folder."""
    from tinynet import figures  # not at the top: a mistake is told before matplotlib is loaded
    out = run.folder
    probs, labels = evaluation.probs, evaluation.labels
    figures.draw_curves(out / "curves.png", run.log.columns)
    figures.draw_kernels(out / "kernels.png", backend.to_numpy(net["conv1"].params["w"]),
                         groups=net["conv2"].groups)
    best, worst = best_and_worst(probs, labels)
    chosen = np.concatenate([best, worst])
    seen = [i for i, name in enumerate(split.names) if name not in split.unreadable]
    pictures, readable = split.read(np.array(seen)[chosen])
    chosen, words = chosen[readable], np.repeat(["best", "worst"], len(best))[readable]
    own = probs[chosen, labels[chosen]]
    titles = [f"{word}: {class_names[k]}, {p:.2%}"
              for word, k, p in zip(words, labels[chosen], own)]
    figures.draw_guesses(out / "best_and_worst.png", data.center_crop(pictures, net.in_shape[-1]),
                         probs[chosen], class_names, titles, labels[chosen], columns=len(best))


def best_and_worst(probs, labels, count=4):
    """Return which pictures give their right class the highest and the lowest probability.

    The extremes come first. No picture is in both lists.
    """
    order = np.argsort(probs[np.arange(len(labels)), labels], kind="stable")
    count = min(count, max(1, len(order) // 2))
    return order[::-1][:count], order[:count]


def summary(one, ten, class_names, facts, speed, unreadable, began_at=0):
    """Yield the lines that a run prints at its end.

    Args     one, ten: the Evaluation with one view, and with ten views or None; speed: images a
             second or None; unreadable: how many pictures were left out; began_at: as of Run
    """
    C, last = len(class_names), ten or one
    guessing = Evaluation(1 - 1 / C, max(0, 1 - 5 / C), math.log(C), 0)
    rows = {"one view": one, "ten views": ten, "guessing": guessing}
    yield f"{f'{one.images:,} test pictures':<20}{'top-1 error':>13}{'top-5 error':>13}{'nll':>9}"
    for name, row in rows.items():
        if row:
            yield f"{name:<20}{row.top1_error:>13.1%}{row.top5_error:>13.1%}{row.loss:>9.3f}"
    if mistakes := most_confused(last.probs, last.labels, 3):
        yield "most frequent mistakes: " + ", ".join(
            f"{class_names[k]} taken for {class_names[taken]} "
            f"({times} of {(last.labels == k).sum()})"
            for k, taken, times in mistakes)
    if unreadable:
        yield f"{unreadable} pictures could not be read and were left out"
    steps = f"{facts['steps']} steps"
    if speed:
        if began_at:
            steps += f"; since --resume {facts['steps'] - began_at} steps"
        steps += (f", {facts['images']:,} pictures in {facts['seconds']:.0f} s on "
                  f"{facts['device']}: {speed:.0f} a second")
    yield steps
    if sent := facts.get("bytes_sent_per_step"):
        yield (f"rank 0 of {facts['ranks']} sent {sum(sent.values()) / 1e6:.3g} MB in a step, and "
               "received about as much: "
               + ", ".join(f"{label} {size / 1e6:.3g}" for label, size in sent.items()))
