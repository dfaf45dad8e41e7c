"""Measure the speed of the data: crops per second, augmented as in training, ready as float32.

    python -m tinynet.data pack SOURCE packs/some
    python examples/benchmark_data.py packs/some

The TrainingBatches of each recipe run in turn, a few batches each time, and `--repeats` times in
all. The table has the median of the repeats, the fastest and the slowest. "CPU ms" is the time that
all threads together compute for one crop. On a machine that is also used for something else it says
more than the crops per second.
"""

import time

import numpy as np

from tinynet import console, data
from tinynet.threads import ThreadCountError, default_thread_count


def main():
    """Measure every recipe and print the table."""
    args = parse_arguments()
    size = args.image_size
    source = data.open_source(args.data, round(size * 256 / 227))
    split, statistics = source.train, data.compute_statistics(source.train)
    recipes = {name: data.TrainingBatches(split, args.batch_size, size, statistics,
                                          np.random.default_rng(0), how)
               for name, how in data.AUGMENTATIONS.items()}
    measured = {name: [] for name in recipes}
    with console.Progress((args.repeats + 1) * len(recipes), "measuring", "turns") as progress:
        for turn in range(args.repeats + 1):
            for name, batches in recipes.items():
                speed = measure(batches, args.batches)
                if turn > 0:  # the first turn warms up
                    measured[name].append(speed)
                progress.update(1, name)
    print(f"{source.name}: crops of {size} pixels, batches of {args.batch_size}, "
          f"median of {args.repeats}, on {default_thread_count()} cores")
    print(f"{'':12} {'crops/s':>9} {'fastest':>9} {'slowest':>9} {'CPU ms':>8}")
    for name, turns in measured.items():
        speeds, costs = zip(*turns)
        print(f"{name:12} {np.median(speeds):9,.0f} {max(speeds):9,.0f} {min(speeds):9,.0f} "
              f"{np.median(costs):8.3f}")


def measure(batches, count):
    """Return the crops per second over `count` batches, and the CPU milliseconds per crop."""
    next(batches)  # the threads then prepare the batches that follow, as in the middle of training
    crops, started, computed = 0, time.perf_counter(), time.process_time()
    for _ in range(count):
        x, _ = next(batches)
        crops += len(x)
    cost = 1000 * (time.process_time() - computed) / crops
    return crops / (time.perf_counter() - started), cost


def parse_arguments():
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=console.HelpFormatter)
    parser.add_argument("data", metavar="PACK", help="a pack, or another source as for --data of "
                                                     "train_alexnet.py")
    whole = {"type": console.positive_int, "metavar": "N"}
    parser.add_argument("--image-size", **whole, default=227, help="side of the crops, in pixels")
    parser.add_argument("--batch-size", **whole, default=128, help="the paper has 128")
    parser.add_argument("--batches", **whole, default=10, help="batches in each turn")
    parser.add_argument("--repeats", **whole, default=5, help="turns of each recipe")
    return parser.parse_args()


if __name__ == "__main__":
    console.execute(main, mistakes=(data.DataError, ThreadCountError))
