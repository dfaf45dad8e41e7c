"""Train AlexNet, every component of it, on ten drawn classes or on pictures of your own.

    python examples/train_alexnet.py
    python examples/train_alexnet.py --data FOLDER --image-size 227 --batch-size 128 --epochs 90
    python examples/train_alexnet.py --resume
"""

import argparse
import dataclasses
import platform
import time
import warnings

import numpy as np

import tinynet
from tinynet import backend, checkpoint, console, data, report, run as runs
from tinynet.train import StallHint, evaluate, memory_advice, require_finite, train_step

SETTLED = ("recipe", "schedule", "epochs", "steps", "batch_size", "image_size", "lr", "seed")  # once a run has begun


def main():
    """Set up what takes part, train, and leave in --out what there is to see."""
    args = parse_arguments()
    say = (lambda line: None) if args.quiet else print
    warnings.simplefilter("ignore", RuntimeWarning)  # a loss that is not finite is noticed below

    backend.choose_device(args.device)  # what cannot be is better known before the data are read
    if not args.resume:
        runs.require_unused(args.out)
    rng, batches_rng = np.random.default_rng(args.seed).spawn(2)
    stored_size = tinynet.RECIPES[args.recipe].stored_size(args.image_size)
    source = data.open_source(args.data, stored_size, args.seed, args.quiet)
    classes = source.class_names
    net = tinynet.AlexNet(args.recipe, len(classes), args.image_size, rng=rng)
    device, why = backend.choose_device(args.device, net.summary().training_bytes(args.batch_size))
    say(f"device: {device} ({why})")
    net.to(device)
    say(f"{args.recipe} at {args.image_size} pixels: {net.summary().params:,} parameters")
    say(f"{source.name}: {len(classes)} classes, {len(source.train)} pictures to learn from, "
        f"{len(source.test)} held out")
    out = console.writable_folder(args.out)
    statistics = statistics_of(source.train, out, stored_size, args)

    def held_out(ten_views=False):
        batch_size = max(1, args.batch_size // 10) if ten_views else args.batch_size
        return data.test_batches(source.test, batch_size, args.image_size, statistics.mean, ten_views)

    next(held_out())  # nothing readable: say so now
    steps_per_epoch = -(-len(source.train) // args.batch_size)
    steps = args.steps or args.epochs * steps_per_epoch
    epochs = -(-steps // steps_per_epoch)
    loss = tinynet.SoftmaxCrossEntropy()
    sgd = tinynet.SGD(net, lr=args.lr, momentum=0.9, weight_decay=0.0005)
    schedule = tinynet.SCHEDULES[args.recipe if args.schedule == "recipe" else "short"](sgd, epochs)
    batches = data.TrainingBatches(source.train, args.batch_size, args.image_size, statistics, batches_rng,
                                   data.AUGMENTATIONS[args.recipe], device=device,
                                   colour_epochs=schedule.colour_epochs)
    keepers = {"batches": batches, "schedule": schedule, "hint": StallHint(len(classes))}
    options = {name: getattr(args, name) for name in SETTLED}
    run = runs.Run(out, identity(net, source, options), net, sgd, keepers, args.checkpoint_minutes)
    config = vars(args) | {"network": "AlexNet", "device": device, "classes": classes}
    begin_or_resume(run, config, statistics, steps, say)
    images, seconds = train(run, loss, held_out, steps, steps_per_epoch, args.quiet)
    facts = {"images": images, "seconds": seconds, "steps": steps, "parameters": net.summary().params,
             "device": device, "recipe": args.recipe}
    report.finish(run, source, loss, held_out, facts, args.ten_views, args.quiet)


def begin_or_resume(run, config, statistics, steps, say):
    """Go on from the newest checkpoint if that was asked for, or leave in the folder what a run begins with."""
    if config["resume"]:
        say(f"going on from {run.resume()}: step {run.step} of {steps}")
        return
    run.begin(config | {"tinynet": tinynet.__version__, "numpy": np.__version__, "python": platform.python_version()})
    checkpoint.save_arrays(run.folder / "statistics.npz", dataclasses.asdict(statistics))


def train(run, loss, held_out, steps, steps_per_epoch, quiet):
    """From run.step to steps, measuring the error after each epoch. -> pictures learnt from, seconds it took."""
    net, sgd = run.net, run.sgd
    batches, schedule, hint = (run.keepers[name] for name in ("batches", "schedule", "hint"))
    images, seconds = 0, 0.0
    with console.Progress(steps, "training", "steps", quiet) as progress, console.Interrupt() as interrupt:
        progress.update(run.step)
        backend.on_compile = progress.say
        try:
            while True:
                if not run.evaluated and (run.step % steps_per_epoch == 0 or run.step == steps):
                    result = evaluate(net, loss, interrupt.watch(held_out()))
                    require_finite(result.loss, run.step)
                    schedule.end_epoch(result.top1_error)
                    run.record_evaluation(top1_error=result.top1_error, top5_error=result.top5_error,
                                          test_loss=result.loss)
                    run.save()
                    progress.say(f"epoch {-(-run.step // steps_per_epoch)}: held-out error {result.top1_error:.1%}, "
                                 f"top-5 {result.top5_error:.1%}")
                if run.step == steps:
                    return images, seconds
                with memory_advice(net, batches.batch_size):
                    x, labels = next(interrupt.watch(batches))
                started = time.perf_counter()
                value = require_finite(train_step(net, loss, sgd, x, labels), run.step + 1)
                seconds += time.perf_counter() - started
                images += len(labels)
                wrong = tinynet.metrics.top_k_wrong(backend.to_numpy(loss.probs), labels, 1).mean()
                run.step, run.evaluated = run.step + 1, False
                run.record(step=run.step, epoch=-(-run.step // steps_per_epoch), lr=sgd.lr, loss=value,
                           train_error=float(wrong))
                progress.update(1, f"loss {value:.3f}, {images / seconds:.0f} images/s")
                if text := hint.update(value):
                    progress.say(text)
                run.save_if_due()
        except (console.Interrupted, OSError):  # between two steps: all is well but for the world outside
            run.save()
            raise


def identity(net, source, options):
    """What a run that goes on must agree with."""
    return {"network": {row.name: f"{row.kind} {row.output_shape}, {row.params} parameters"
                        for row in net.summary().rows},
            "data": data.identity(source), "options": options}


def statistics_of(split, out, size, args):
    """Those that a run which goes on has kept, if of this size; else from every picture."""
    path = out / "statistics.npz"
    if args.resume and path.exists():
        kept = data.Statistics(**checkpoint.load_arrays(path))
        if kept.mean.shape == (3, size, size):  # else the run will be refused for its size, in words
            return kept
    return data.compute_statistics(split, args.quiet)


def parse_arguments():
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", default="embedded", metavar="embedded|PATH",
                        help="drawn pictures; a folder or archive of class folders, CIFAR-10, ImageNet")
    parser.add_argument("--recipe", default="code-2012", choices=tinynet.RECIPES, help="a table of alexnet.py")
    parser.add_argument("--schedule", default="short", choices=("short", "recipe"),
                        help="when the rate falls; short: after 60 and 85 %% of the run; recipe: as when the recipe's "
                             "makers trained it, in proportion to this run (schedules.py)")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|gpu|gpu:N", help="auto: a usable GPU")
    parser.add_argument("--epochs", type=console.positive_int, default=8, metavar="N", help="passes over the pictures")
    parser.add_argument("--steps", type=console.positive_int, metavar="N", help="overrides --epochs")
    parser.add_argument("--batch-size", type=console.positive_int, default=64, metavar="N", help="the paper has 128")
    parser.add_argument("--image-size", type=console.positive_int, default=99, metavar="N", help="the paper has 227")
    parser.add_argument("--lr", type=console.positive_float, default=0.01, help="learning rate at the start")
    parser.add_argument("--ten-views", action="store_true", help="at the end, measure with the paper's ten views too")
    parser.add_argument("--seed", type=console.seed, default=0, metavar="N", help="of all that is random")
    parser.add_argument("--out", default="runs/alexnet", metavar="DIR", help="where the results go")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, with its own options")
    parser.add_argument("--checkpoint-minutes", type=console.positive_float, default=10.0, metavar="M",
                        help="at most this much work is lost, whatever happens")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    return parsed(parser, (*SETTLED, "data", "ten_views"))


def parsed(parser, kept):
    """The arguments. Where a run goes on its own are the defaults; what is given must agree, which Run sees to."""
    args = parser.parse_args()
    if args.resume:
        config = runs.read_config(args.out)
        parser.set_defaults(**{name: config[name] for name in kept if name in config})
        args = parser.parse_args()
    return args


if __name__ == "__main__":
    console.run(main, mistakes=(console.FolderError, data.DataError, tinynet.ShapeError, tinynet.DeviceError,
                                tinynet.CheckpointError, runs.RunError))
