"""Train the authors' small network on CIFAR-10: 50,000 pictures of 32 x 32 pixels, ten classes.

    python -m tinynet.data download cifar10 data
    python examples/train_cifar10.py --data data
    python examples/train_cifar10.py --resume

The loop is that of train_alexnet.py. This script has another network (cifarnet.py), its rates, and
pictures that are neither cropped nor mirrored, as the authors trained it.
"""

import warnings

import numpy as np
from train_alexnet import train

import tinynet
from tinynet import cifarnet, data, parallel
from tinynet.runs import StallHint, report, setup


def main():
    """Prepare a run, train, and write the results to --out."""
    args = setup.parse(setup.parser(__doc__.splitlines()[0], data="data", epochs=16, batch_size=128,
                                    lr=cifarnet.LR, out="runs/cifar10"))
    warnings.simplefilter("ignore", RuntimeWarning)  # run.record refuses a loss that is not finite

    net_rng, batches_rng = np.random.default_rng(args.seed).spawn(2)
    source = data.open_source(args.data, cifarnet.IMAGE_SIZE, args.seed, args.quiet)
    net = tinynet.CifarNet(len(source.class_names), rng=net_rng)
    loss = tinynet.SoftmaxCrossEntropy()
    sgd = tinynet.SGD(net, args.lr, cifarnet.MOMENTUM, cifarnet.WEIGHT_DECAY)
    schedule = tinynet.StepDecay(sgd, (round(0.75 * args.epochs), round(0.875 * args.epochs)))
    hint = StallHint(len(source.class_names), remedy="A lower --lr or another --seed may help")
    run = setup.open_run(args, "CifarNet", net, source, sgd, schedule, batches_rng,
                         data.Augmentation(flip=0), hint)
    train(run, loss)
    report.finish(run, source, loss)


if __name__ == "__main__":
    parallel.execute(main, setup.MISTAKES)
