"""Classify pictures with a trained network, of a run or of a file of weights.

    python examples/classify.py runs/alexnet cat.jpg dog.png
    python examples/classify.py runs/alexnet *.jpg --ten-views --out pets.png
    python examples/classify.py --weights alexnet-owt-7be5be79.pth cat.jpg
"""

import argparse
import os
import pathlib
import sys
import unicodedata

import numpy as np

import tinynet
from tinynet import console, data, figures, runs, weights

BATCH, DRAWN, BAR = 16, 40, 24  # pictures at once; pictures in the PNG; width of a full bar


def main():
    """Classify the pictures; the exit code is 2 if one of them cannot be read."""
    args = parse_arguments()
    out = pathlib.Path(args.out or os.path.join(args.run or "", "classified.png"))
    network = runs.load(args.run) if args.run else weights.load(args.weights)
    console.writable_folder(out.parent)
    print(f"{network.origin}; {'ten views' if args.ten_views else 'one view'}")

    names, pictures = read(args.picture, network)
    if not names:
        return 2
    probs = np.concatenate([network.probabilities(pictures[i:i + BATCH], args.ten_views)
                            for i in range(0, len(pictures), BATCH)])
    for name, own in zip(names, probs):
        print(f"\n{name}")
        print_bars(own, network.class_names)
    drawn = slice(DRAWN)
    figures.draw_guesses(out, pictures[drawn], probs[drawn], network.class_names,
                         list(map(os.path.basename, names)))
    print(f"\n{out}" + (f": the first {DRAWN} of {len(names)}" if len(names) > DRAWN else ""))
    return 2 if len(names) < len(args.picture) else 0


def read(paths, network):
    """Return the names and the pixels of the pictures that can be read; name the others."""
    names, pictures = [], []
    for path in paths:
        try:
            pictures.append(network.load_picture(path))
            names.append(path)
        except (data.UnreadablePicture, OSError) as error:
            print(f"{path}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
    return names, np.array(pictures)


def print_bars(own, class_names):
    """Print the five most probable classes, one line each."""
    best = np.argsort(-own, kind="stable")[:5]
    width = max(columns(class_names[k]) for k in best)
    for k in best:
        bar = "\N{FULL BLOCK}" * round(BAR * float(own[k]))
        spaces = " " * (width - columns(class_names[k]))
        print(f"  {class_names[k]}{spaces}  {own[k]:>6.1%}  {bar}".rstrip())


def columns(text):
    """Return the width of a text on a terminal, where a Chinese character takes two columns."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def parse_arguments():
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN",
                        help="the folder of a run, finished or not; not with --weights")
    parser.add_argument("picture", metavar="PICTURE", nargs="*",
                        help="a file in any format that Pillow reads")
    parser.add_argument("--weights", metavar="FILE",
                        help="instead of RUN: safetensors, PyTorch, ONNX, Caffe or .npy")
    parser.add_argument("--ten-views", action="store_true",
                        help="average over corners, middle and mirror images (paper, 4.1)")
    parser.add_argument("--out", metavar="FILE.png",
                        help="the figure; default: RUN/classified.png")
    args = parser.parse_args()
    if args.weights:  # then the first argument is a picture as well
        args.picture.insert(0, args.run)
        args.run = None
    if not args.picture:
        parser.error("there is no PICTURE")
    return args


if __name__ == "__main__":
    console.execute(main, mistakes=(console.FolderError, data.DataError, tinynet.CheckpointError,
                                    runs.RunError, weights.WeightsError))
