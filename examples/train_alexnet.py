"""Train AlexNet, every component of it, on ten drawn classes or on a folder of your own pictures.

    python examples/train_alexnet.py
    python examples/train_alexnet.py --data FOLDER --image-size 227 --batch-size 128 --epochs 90
"""

import argparse
import csv
import json
import time
import warnings

import numpy as np

import tinynet
from tinynet import backend, console, data, figures
from tinynet.checkpoint import atomic_write
from tinynet.train import StallHint, evaluate, require_finite, train_step

COLUMNS = ("step", "epoch", "lr", "loss", "top1_error", "top5_error", "test_loss")  # the last three once an epoch


def main():
    args = parse_arguments()
    say = (lambda line: None) if args.quiet else print
    warnings.simplefilter("ignore", RuntimeWarning)  # a loss that is not finite is noticed below

    device, why = backend.choose_device(args.device)
    say(f"device: {device} ({why})")
    rng = np.random.default_rng(args.seed)
    stored_size = round(args.image_size * 256 / 227)  # as much room for random crops as the paper's 256 gave
    source = data.open_source(args.data, stored_size, args.seed, args.quiet)
    classes = source.class_names
    net = tinynet.AlexNet(args.recipe, len(classes), args.image_size, rng=rng)
    net.to(device)
    say(f"{args.recipe} at {args.image_size} pixels: {net.summary().params:,} parameters")
    say(f"{source.name}: {len(classes)} classes, {len(source.train)} pictures to learn from, "
        f"{len(source.test)} held out")
    out = console.writable_folder(args.out)
    write_json(out / "config.json", vars(args) | {"device": device, "classes": classes, "tinynet": tinynet.__version__})

    mean = data.mean_image(source.train, args.quiet)
    next(data.test_batches(source.test, args.batch_size, args.image_size, mean))  # nothing readable: say so now
    batches = data.training_batches(source.train, args.batch_size, args.image_size, mean, rng)
    loss = tinynet.SoftmaxCrossEntropy()
    sgd = tinynet.SGD(net, lr=args.lr, momentum=0.9, weight_decay=0.0005)
    steps_per_epoch = -(-len(source.train) // args.batch_size)
    steps = args.steps or args.epochs * steps_per_epoch
    epochs = -(-steps // steps_per_epoch)
    schedule = tinynet.StepDecay(sgd, epochs=(round(0.6 * epochs), round(0.85 * epochs)))
    hint = StallHint(len(classes))
    rows, images, seconds = [], 0, 0.0
    net.save(out / "weights.npz")  # the last good weights, should the first pass go wrong

    with (console.Progress(steps, "training", "steps", args.quiet) as progress, console.Interrupt() as interrupt,
          open(out / "metrics.csv", "w", buffering=1, newline="") as file):
        metrics = csv.DictWriter(file, COLUMNS)
        metrics.writeheader()
        for step in range(1, steps + 1):
            x, labels = next(batches)
            started = time.perf_counter()
            value = require_finite(train_step(net, loss, sgd, x, labels), step)
            seconds += time.perf_counter() - started
            images += len(labels)
            epoch = -(-step // steps_per_epoch)
            rows.append({"step": step, "epoch": epoch, "lr": sgd.lr, "loss": value})
            progress.update(1, f"loss {value:.3f}, {images / seconds:.0f} images/s")
            if text := hint.update(value):
                progress.say(text)
            if step % steps_per_epoch == 0 or step == steps:
                result = evaluate(net, loss, data.test_batches(source.test, args.batch_size, args.image_size, mean))
                require_finite(result.loss, step)
                net.save(out / "weights.npz")
                schedule.end_epoch(result.top1_error)
                rows[-1] |= {"top1_error": result.top1_error, "top5_error": result.top5_error, "test_loss": result.loss}
                progress.say(f"epoch {epoch}: held-out error {result.top1_error:.1%}, top-5 {result.top5_error:.1%}")
            metrics.writerow(rows[-1])
            if interrupt.requested:
                net.save(out / "weights.npz")
                raise KeyboardInterrupt

    figures.draw_curves(out / "curves.png", rows)
    figures.draw_kernels(out / "kernels.png", backend.to_numpy(net["conv1"].params["w"]), groups=net["conv2"].groups)
    write_json(out / "summary.json", {
        "top1_error": result.top1_error, "top5_error": result.top5_error, "loss": result.loss,
        "images_per_second": images / seconds, "seconds": seconds, "steps": steps, "parameters": net.summary().params,
        "device": device, "recipe": args.recipe})
    if unreadable := len(source.train.unreadable) + len(source.test.unreadable):
        say(f"{unreadable} pictures could not be read and were left out")
    say(f"held-out top-1 error {result.top1_error:.1%} (guessing: {1 - 1 / len(classes):.0%}), "
        f"top-5 {result.top5_error:.1%}; {steps} steps at {images / seconds:.0f} images/s; see {out}")


def parse_arguments():
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", default="embedded", metavar="embedded|FOLDER",
                        help="drawn pictures, or a folder with a sub-folder for each class")
    parser.add_argument("--recipe", default="code-2012", choices=tinynet.RECIPES, help="a table of alexnet.py")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"), help="auto: a usable GPU")
    parser.add_argument("--epochs", type=console.positive_int, default=8, metavar="N", help="passes over the pictures")
    parser.add_argument("--steps", type=console.positive_int, metavar="N", help="overrides --epochs")
    parser.add_argument("--batch-size", type=console.positive_int, default=64, metavar="N", help="the paper has 128")
    parser.add_argument("--image-size", type=console.positive_int, default=99, metavar="N", help="the paper has 227")
    parser.add_argument("--lr", type=console.positive_float, default=0.01, help="learning rate at the start")
    parser.add_argument("--seed", type=console.seed, default=0, metavar="N", help="of all that is random")
    parser.add_argument("--out", default="runs/alexnet", metavar="DIR", help="where the results go")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    return parser.parse_args()


def write_json(path, values):
    with atomic_write(path) as file:
        file.write(json.dumps(values, indent=2).encode() + b"\n")


if __name__ == "__main__":
    console.run(main, mistakes=(console.FolderError, data.DataError, tinynet.ShapeError, tinynet.DeviceError))
