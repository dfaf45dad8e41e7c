"""Train the authors' small network on CIFAR-10: 50,000 pictures of 32 x 32 pixels, ten classes.

    python -m tinynet.data download cifar10 data
    python examples/train_cifar10.py --data data
    python examples/train_cifar10.py --resume

The loop is train_alexnet.py's; here is what differs: the network (cifarnet.py), its rates and its pictures, which are
neither cut nor mirrored, as the authors had them for this one.
"""

import argparse
import warnings

import numpy as np
from train_alexnet import begin_or_resume, identity, parsed, statistics_of, train

import tinynet
from tinynet import backend, cifarnet, console, data, report, run as runs
from tinynet.train import StallHint

SETTLED = ("epochs", "batch_size", "lr", "seed")  # once a run has begun


def main():
    """Set up what takes part, train, and leave in --out what there is to see."""
    args = parse_arguments()
    say = (lambda line: None) if args.quiet else print
    warnings.simplefilter("ignore", RuntimeWarning)  # a loss that is not finite is noticed

    backend.choose_device(args.device)  # what cannot be is better known before the data are read
    if not args.resume:
        runs.require_unused(args.out)
    rng, batches_rng = np.random.default_rng(args.seed).spawn(2)
    source = data.open_source(args.data, cifarnet.IMAGE_SIZE, args.seed, args.quiet)
    classes = source.class_names
    net = tinynet.CifarNet(len(classes), rng=rng)
    device, why = backend.choose_device(args.device, net.summary().training_bytes(args.batch_size))
    say(f"device: {device} ({why})")
    net.to(device)
    say(f"{source.name}: {len(classes)} classes, {len(source.train)} pictures to learn from, "
        f"{len(source.test)} held out; {net.summary().params:,} parameters")
    out = console.writable_folder(args.out)
    statistics = statistics_of(source.train, out, cifarnet.IMAGE_SIZE, args)

    def held_out(ten_views=False):
        return data.test_batches(source.test, args.batch_size, cifarnet.IMAGE_SIZE, statistics.mean, ten_views)

    next(held_out())  # nothing readable: say so now
    steps_per_epoch = -(-len(source.train) // args.batch_size)
    steps = args.epochs * steps_per_epoch
    loss = tinynet.SoftmaxCrossEntropy()
    sgd = tinynet.SGD(net, args.lr, cifarnet.MOMENTUM, cifarnet.WEIGHT_DECAY)
    schedule = tinynet.StepDecay(sgd, epochs=(round(0.75 * args.epochs), round(0.875 * args.epochs)))
    batches = data.TrainingBatches(source.train, args.batch_size, cifarnet.IMAGE_SIZE, statistics, batches_rng,
                                   data.Augmentation(flip=0), device=device)
    keepers = {"batches": batches, "schedule": schedule, "hint": StallHint(len(classes))}
    options = {name: getattr(args, name) for name in SETTLED}
    run = runs.Run(out, identity(net, source, options), net, sgd, keepers, args.checkpoint_minutes)
    config = vars(args) | {"network": "CifarNet", "device": device, "classes": classes}
    begin_or_resume(run, config, statistics, steps, say)
    images, seconds = train(run, loss, held_out, steps, steps_per_epoch, args.quiet)
    facts = {"images": images, "seconds": seconds, "steps": steps, "parameters": net.summary().params,
             "device": device}
    report.finish(run, source, loss, held_out, facts, quiet=args.quiet)


def parse_arguments():
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", default="data", metavar="PATH", help="CIFAR-10, binary or as class folders")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|gpu|gpu:N", help="auto: a usable GPU")
    parser.add_argument("--epochs", type=console.positive_int, default=16, metavar="N", help="passes over the pictures")
    parser.add_argument("--batch-size", type=console.positive_int, default=128, metavar="N", help="pictures a step")
    parser.add_argument("--lr", type=console.positive_float, default=cifarnet.LR, help="learning rate at the start")
    parser.add_argument("--seed", type=console.seed, default=0, metavar="N", help="of all that is random")
    parser.add_argument("--out", default="runs/cifar10", metavar="DIR", help="where the results go")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, with its own options")
    parser.add_argument("--checkpoint-minutes", type=console.positive_float, default=10.0, metavar="M",
                        help="at most this much work is lost, whatever happens")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    return parsed(parser, (*SETTLED, "data"))


if __name__ == "__main__":
    console.run(main, mistakes=(console.FolderError, data.DataError, tinynet.ShapeError, tinynet.DeviceError,
                                tinynet.CheckpointError, runs.RunError))
