"""Train the authors' small network on CIFAR-10: 50,000 pictures of 32 x 32 pixels, ten classes, some twenty minutes.

    python -m tinynet.data download cifar10 FOLDER
    python examples/train_cifar10.py --data FOLDER
    python examples/train_cifar10.py --resume
"""

import argparse
import dataclasses
import platform
import time
import warnings

import numpy as np

import tinynet
from tinynet import backend, checkpoint, cifarnet, console, data, figures, run as runs
from tinynet.train import evaluate, require_finite, train_step

SETTLED = ("data", "epochs", "batch_size", "lr", "seed")  # once a run has begun


def main():
    args = parse_arguments()
    say = (lambda line: None) if args.quiet else print
    warnings.simplefilter("ignore", RuntimeWarning)  # a loss that is not finite is noticed below

    device, why = backend.choose_device(args.device)
    say(f"device: {device} ({why})")
    if not args.resume:
        runs.require_unused(args.out)
    rng, batches_rng = np.random.default_rng(args.seed).spawn(2)
    source = data.open_source(args.data, cifarnet.IMAGE_SIZE, args.seed, args.quiet)
    say(f"{source.name}: {len(source.class_names)} classes, {len(source.train)} pictures to learn from, "
        f"{len(source.test)} held out")
    net = tinynet.CifarNet(len(source.class_names), rng=rng)
    net.to(device)
    out = console.writable_folder(args.out)

    statistics = data.statistics(source.train, args.quiet)
    batches = data.TrainingBatches(source.train, args.batch_size, cifarnet.IMAGE_SIZE, statistics, batches_rng,
                                   data.Augmentation(flip=0))  # pictures as they are, as the authors had them here
    loss = tinynet.SoftmaxCrossEntropy()
    sgd = tinynet.SGD(net, args.lr, cifarnet.MOMENTUM, cifarnet.WEIGHT_DECAY)
    schedule = tinynet.StepDecay(sgd, epochs=(round(0.75 * args.epochs), round(0.875 * args.epochs)))
    steps_per_epoch = -(-len(source.train) // args.batch_size)
    steps = args.epochs * steps_per_epoch

    identity = {"network": {row.name: f"{row.kind} {row.output_shape}, {row.params} parameters"
                            for row in net.summary().rows},
                "data": data.identity(source), "options": {name: getattr(args, name) for name in SETTLED}}
    run = runs.Run(out, identity, net, sgd, {"batches": batches, "schedule": schedule}, args.checkpoint_minutes)
    if args.resume:
        say(f"going on from {run.resume()}: step {run.step} of {steps}")
    else:
        run.begin(vars(args) | {"network": "CifarNet", "device": device, "classes": source.class_names,
                                "tinynet": tinynet.__version__, "numpy": np.__version__,
                                "python": platform.python_version()})
        checkpoint.save_arrays(out / "statistics.npz", dataclasses.asdict(statistics))
    images, seconds = 0, 0.0

    with console.Progress(steps, "training", "steps", args.quiet) as progress, console.Interrupt() as interrupt:
        progress.update(run.step)
        try:
            while True:
                if not run.evaluated and run.step % steps_per_epoch == 0:
                    held_out = data.test_batches(source.test, args.batch_size, cifarnet.IMAGE_SIZE, statistics.mean)
                    result = evaluate(net, loss, interrupt.watch(held_out))
                    require_finite(result.loss, run.step)
                    schedule.end_epoch()
                    run.record_evaluation(top1_error=result.top1_error, top5_error=result.top5_error,
                                          test_loss=result.loss)
                    run.save()
                    progress.say(f"epoch {run.step // steps_per_epoch}: held-out error {result.top1_error:.1%}")
                if run.step == steps:
                    break
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
                run.save_if_due()
        except (console.Interrupted, OSError):
            run.save()
            raise

    top1 = run.metrics["top1_error"][-1]
    net.save(out / "weights.npz")
    figures.draw_curves(out / "curves.png", run.metrics)
    figures.draw_kernels(out / "kernels.png", backend.to_numpy(net["conv1"].params["w"]))
    run.finish({"top1_error": top1, "loss": run.metrics["test_loss"][-1],
                "images_per_second": images / seconds if images else None, "seconds": seconds, "steps": steps})
    say(f"error on {len(source.test)} held-out pictures: {top1:.1%}; see {out}")


def parse_arguments():
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", default="cifar10", metavar="PATH", help="CIFAR-10, binary or as class folders")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"), help="auto: a usable GPU")
    parser.add_argument("--epochs", type=console.positive_int, default=16, metavar="N", help="passes over the pictures")
    parser.add_argument("--batch-size", type=console.positive_int, default=128, metavar="N")
    parser.add_argument("--lr", type=console.positive_float, default=cifarnet.LR, help="learning rate at the start")
    parser.add_argument("--seed", type=console.seed, default=0, metavar="N", help="of all that is random")
    parser.add_argument("--out", default="runs/cifar10", metavar="DIR", help="where the results go")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, with its own options")
    parser.add_argument("--checkpoint-minutes", type=console.positive_float, default=10.0, metavar="M",
                        help="at most this much work is lost, whatever happens")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    args = parser.parse_args()
    if args.resume:
        config = runs.read_config(args.out)
        parser.set_defaults(**{name: config[name] for name in SETTLED if name in config})
        args = parser.parse_args()
    return args


if __name__ == "__main__":
    console.run(main, mistakes=(console.FolderError, data.DataError, tinynet.ShapeError, tinynet.DeviceError,
                                tinynet.CheckpointError, runs.RunError))
