"""Train AlexNet, every component of it, on ten generated classes or on your own pictures.

    python examples/train_alexnet.py
    python examples/train_alexnet.py --data FOLDER --image-size 227 --batch-size 128 --epochs 90
    python examples/train_alexnet.py --weights FILE --data FOLDER
    python examples/train_alexnet.py --resume
"""

import warnings

import numpy as np

import tinynet
from tinynet import alexnet, console, data, parallel
from tinynet.evaluation import evaluate
from tinynet.runs import report, setup
from tinynet.weights import WeightsError, finetuning


def main():
    """Prepare a run, train, and write the results to --out."""
    args, pretrained = parse_arguments()
    warnings.simplefilter("ignore", RuntimeWarning)  # run.record refuses a loss that is not finite

    net_rng, batches_rng = np.random.default_rng(args.seed).spawn(2)
    stored_size = tinynet.RECIPES[args.recipe].stored_size(args.image_size)
    source = data.open_source(args.data, stored_size, args.seed, args.quiet)
    classes, mean = len(source.class_names), None
    if pretrained:
        net, mean = finetuning.fine_tune(pretrained, classes, rng=net_rng)
    else:
        net = tinynet.AlexNet(args.recipe, classes, args.image_size, rng=net_rng)
    loss = tinynet.SoftmaxCrossEntropy()
    sgd = tinynet.SGD(net, lr=args.lr, momentum=0.9, weight_decay=0.0005)
    epochs = setup.count_epochs(args, source)
    schedule = tinynet.SCHEDULES[args.recipe if args.schedule == "recipe" else "short"](sgd, epochs)
    run = setup.open_run(args, "AlexNet", net, source, sgd, schedule, batches_rng,
                         data.AUGMENTATIONS[args.recipe], mean=mean)
    train(run, loss)
    report.finish(run, source, loss, args.ten_views, recipe=args.recipe)


def train(run, loss):
    """Train to the last step, and measure the test error after each epoch."""
    net, sgd, schedule = run.net, run.sgd, run.schedule
    with run:                                         # saves, shows progress, obeys Ctrl-C
        for _ in run.epochs():
            net.train()
            for x, labels in run.steps():
                value = loss.forward(net.forward(x), labels)
                net.backward(loss.backward())
                sgd.step()
                run.record(value, loss.probs, labels)
            result = evaluate(net, loss, run.test_batches())
            schedule.end_epoch(result.top1_error)
            run.record_evaluation(result)


def parse_arguments():
    """Return the arguments, and the weights to fine-tune or None. They settle recipe and size."""
    parser = setup.parser(__doc__.splitlines()[0], data="embedded", epochs=8, batch_size=64,
                          lr=0.01, out="runs/alexnet")
    parser.add_argument("--weights", metavar="FILE|RUN",
                        help="fine-tune these: a new last layer learns at --lr, the others at a "
                             "tenth of it")
    parser.add_argument("--recipe", choices=tinynet.RECIPES,
                        help="a table of alexnet.py; default: that of --weights, or else code-2012")
    parser.add_argument("--schedule", default="short", choices=("short", "recipe"),
                        help="when the rate falls; short: after 60 and 85 %% of the run; recipe: "
                             "as the recipe was trained, scaled to this run (schedules.py)")
    parser.add_argument("--steps", type=console.positive_int, metavar="N",
                        help="overrides --epochs")
    parser.add_argument("--image-size", type=console.positive_int, metavar="N",
                        help="227 in the paper; default: that of --weights, or else 99")
    parser.add_argument("--ten-views", action="store_true",
                        help="at the end, also measure with the paper's ten views")
    args, pretrained = setup.parse(parser), None
    if args.weights:
        pretrained = finetuning.load(args.weights, args.recipe, args.image_size)
        args.recipe, args.image_size = pretrained.table["recipe"], pretrained.net.in_shape[-1]
    args.recipe, args.image_size = args.recipe or "code-2012", args.image_size or 99
    alexnet.require_fitting(args.recipe, args.image_size)  # before the data are read
    return args, pretrained


if __name__ == "__main__":
    parallel.execute(main, (*setup.MISTAKES, WeightsError))
