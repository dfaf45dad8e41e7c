"""Measure an AlexNet on the validation pictures of ImageNet, beside what was published for it.

    python examples/evaluate.py --weights alexnet-owt-7be5be79.pth --data ILSVRC2012
    python examples/evaluate.py --weights bvlc_alexnet.caffemodel --data ILSVRC2012 --ten-views

The validation pictures alone are enough: val/WNID/*.JPEG, or val/ or ILSVRC2012_img_val.tar with
their labels beside them (val.txt, LOC_val_solution.csv or the development kit). Pictures are
prepared as the makers of the weights did. A pack has them as squares already, made in the paper's
way, so that its accuracy may differ a little from the published one. The data may have fewer
classes than the network, as Imagenette has: the names of their folders say which ones.
"""

import argparse
import os
import time

import numpy as np

import tinynet
from tinynet import backend, console, data, runs, weights
from tinynet.data.pictures import FITS
from tinynet.metrics import top_k_wrong
from tinynet.weights import presets

OFFICIAL = 50_000  # validation pictures of ILSVRC-2012, on which accuracies are published


def main():
    """Measure, and print one row for it and one for what was published."""
    args = parse_arguments()
    network = weights.load(args.weights)
    device, why = backend.choose_device(args.device)
    network.net.to(device)
    print(f"{network.origin}\ndevice: {device} ({why})")
    source = open_data(args, network.preprocessing.stored)
    numbers = which_classes(source, network.class_names)
    split = source.test
    if hasattr(split, "fit"):
        split.fit = FITS[network.preprocessing.fit]
    elif network.preprocessing.fit != "paper":
        print(f"{source.name}: its pictures are squares already, made in the paper's way")

    wrong1 = wrong5 = images = 0
    started = time.perf_counter()
    with console.Progress(len(split), "evaluating", "pictures", args.quiet) as progress:
        for x, labels in network.preprocessing.batches(split, args.batch_size, args.ten_views):
            probs, labels = network.predict(x), numbers[labels]
            wrong1 += top_k_wrong(probs, labels, 1).sum()
            wrong5 += top_k_wrong(probs, labels, 5).sum()
            images += len(labels)
            progress.update(len(labels), f"top-1 {1 - wrong1 / images:.1%}")
    seconds = time.perf_counter() - started

    views = "ten views" if args.ten_views else "one view"
    print(f"{'accuracy':<48}{'top-1':>10}{'top-5':>10}")
    print(f"{f'measured on {images:,} pictures, {views}':<48}"
          f"{1 - wrong1 / images:>10.3%}{1 - wrong5 / images:>10.3%}")
    if row := network.published:
        print(f"{f'published for {row.name}':<48}{f'{row.top1}%':>10}{f'{row.top5}%':>10}")
        if images != OFFICIAL or args.ten_views:
            print(f"published is one view on the {OFFICIAL:,} validation pictures of ILSVRC-2012")
    if split.unreadable:
        print(f"{len(split.unreadable)} pictures could not be read and were left out")
    print(f"{seconds:.0f} s, {images / seconds:.0f} images/s")


def open_data(args, size):
    """Open the data: all pictures where they are ImageNet's for validation, else its test set.

    Of the folder that a run was trained on, that is the run's own test set. Raises DataError.
    """
    own = runs.read_config(args.weights) if os.path.isdir(args.weights) else {}
    is_own = own and os.path.abspath(str(own.get("data"))) == os.path.abspath(args.data)
    if not is_own and data.find_validation(args.data):
        return data.ValidationSource(args.data, list(presets.imagenet_words()), size, args.quiet)
    return data.open_source(args.data, size, own.get("seed", 0), args.quiet)


def which_classes(source, known):
    """Find the classes of a source among the network's classes: (classes,) numbers.

    Raises   DataError, which names the first class that the network does not know
    """
    found = presets.find_labels(source.class_names, known)
    if None in found:
        raise data.DataError(f"{source.name}: the network does not know its class "
                             f"{source.class_names[found.index(None)]!r}")
    return np.array(found)


def parse_arguments():
    """Read the command line."""
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, metavar="FILE|RUN",
                        help="safetensors, PyTorch, ONNX, Caffe or .npy, or the folder of a run")
    parser.add_argument("--data", required=True, metavar="IMAGENET",
                        help="whatever --data of train_alexnet.py takes; its test or val pictures")
    parser.add_argument("--ten-views", action="store_true",
                        help="average over corners, middle and mirror images (4.1)")
    parser.add_argument("--batch-size", type=console.positive_int, default=128, metavar="N")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|gpu|gpu:N",
                        help="auto: a usable GPU")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    return parser.parse_args()


if __name__ == "__main__":
    console.execute(main, mistakes=(weights.WeightsError, runs.RunError, tinynet.CheckpointError,
                                    data.DataError, backend.DeviceError))
