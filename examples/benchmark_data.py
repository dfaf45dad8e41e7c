"""Measure how fast pictures come: crops a second, varied as in training and ready as float32.

    python -m tinynet.data pack SOURCE packs/some
    python examples/benchmark_data.py packs/some

How it measures: every recipe's TrainingBatches take turns, a few batches each, `--repeats` times; what counts is the
median, and beside it stand the fastest and the slowest. CPU ms is the time that all threads together computed for a
crop: on a machine that does other things too it tells more than the crops a second.
"""

import argparse
import time

import numpy as np

from tinynet import console, data


def main():
    args = parse_arguments()
    size = args.image_size
    source = data.open_source(args.data, round(size * 256 / 227))
    split, statistics = source.train, data.compute_statistics(source.train)
    recipes = {name: data.TrainingBatches(split, args.batch_size, size, statistics, np.random.default_rng(0), how)
               for name, how in data.AUGMENTATIONS.items()}
    measured = {name: [] for name in recipes}
    with console.Progress((args.repeats + 1) * len(recipes), "measuring", "turns") as progress:
        for turn in range(args.repeats + 1):
            for name, batches in recipes.items():
                speed = measure(batches, args.batches)
                if turn > 0:  # the first one warms up
                    measured[name].append(speed)
                progress.update(1, name)
    print(f"{source.name}: crops of {size} pixels, batches of {args.batch_size}, median of {args.repeats}, "
          f"{data.batches.THREADS} threads")
    print(f"{'':12} {'crops/s':>9} {'fastest':>9} {'slowest':>9} {'CPU ms':>8}")
    for name, turns in measured.items():
        speeds, costs = zip(*turns)
        print(f"{name:12} {np.median(speeds):9,.0f} {max(speeds):9,.0f} {min(speeds):9,.0f} {np.median(costs):8.3f}")


def measure(batches, count):
    """Crops a second, and the milliseconds of a core that one takes, over some batches."""
    next(batches)  # so that the threads have begun with the next ones, as in the midst of training
    crops, started, computed = 0, time.perf_counter(), time.process_time()
    for _ in range(count):
        x, _ = next(batches)
        crops += len(x)
    return crops / (time.perf_counter() - started), 1000 * (time.process_time() - computed) / crops


def parse_arguments():
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("data", metavar="PACK", help="a pack, or whatever --data of train_alexnet.py takes")
    parser.add_argument("--image-size", type=console.positive_int, default=227, metavar="N", help="of the crops")
    parser.add_argument("--batch-size", type=console.positive_int, default=128, metavar="N", help="the paper has 128")
    parser.add_argument("--batches", type=console.positive_int, default=10, metavar="N", help="in a turn")
    parser.add_argument("--repeats", type=console.positive_int, default=5, metavar="N", help="turns of each recipe")
    return parser.parse_args()


if __name__ == "__main__":
    console.run(main, mistakes=data.DataError)
