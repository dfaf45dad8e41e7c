"""Draw the paper's figures 3 and 4 for a network that you have trained.

    python examples/look_inside.py runs/alexnet
    python examples/look_inside.py runs/alexnet --data FOLDER --out inside

It writes to --out:

    figure3.png        the kernels of conv1, the first group above the second
    figure4_left.png   test pictures, and the five classes that the network finds most probable
    figure4_right.png  test pictures, and the training pictures that are nearest to them in the last
                       hidden layer
    look_inside.npz    the arrays of the three figures, to draw them again without the network
"""


import numpy as np

import tinynet
from tinynet import backend, checkpoint, console, data, figures, runs
from tinynet.runs.folder import read_config
from tinynet.shapes import ceil_div

PICTURES, NEAREST, BATCH, DRAWN_SIZE = 8, 6, 128, 64  # the last one in pixels, at most


def main():
    args = parse_arguments()
    trained, config = runs.load(args.run), read_config(args.run)
    source = data.open_source(args.data or config["data"], trained.mean.shape[-1], config["seed"],
                              args.quiet)
    if source.class_names != trained.class_names:
        raise data.DataError(f"{source.name} has other classes than the run in {args.run}")
    out = console.writable_folder(args.out or args.run)
    device, _ = backend.choose_device(args.device)
    trained.net.to(device)

    pictures, labels = next(batches(source.test, spread_out(len(source.test), PICTURES)))
    near, near_labels, distances = nearest(trained, pictures, source.train, args.quiet)
    arrays = {"kernels": backend.to_numpy(trained.net["conv1"].params["w"]),
              "groups": np.array(trained.net["conv2"].groups),
              "class_names": np.array(trained.class_names),
              "pictures": smaller(pictures), "labels": labels,
              "probs": trained.probabilities(pictures), "nearest": smaller(near),
              "nearest_labels": near_labels, "distances": distances}
    checkpoint.save_arrays(out / "look_inside.npz", arrays)
    draw(out, arrays)
    share = (near_labels == labels[:, None]).mean()
    print(f"{share:.0%} of the nearest pictures are of the same class; guessing has "
          f"{1 / len(trained.class_names):.0%}")
    print(f"{out}: figure3.png, figure4_left.png, figure4_right.png, look_inside.npz")


def spread_out(total, count):
    """Return `count` numbers from 0 to total - 1, equally far apart."""
    return np.linspace(0, total - 1, min(count, total)).astype(int)


def batches(split, indices):
    """Yield pictures uint8 (N, 3, S, S) and labels (N,), without the pictures that are damaged."""
    for start in range(0, len(indices), BATCH):
        chosen = indices[start:start + BATCH]
        pictures, readable = split.read(chosen)
        yield pictures, split.labels[chosen[readable]]


def features(trained, pictures):
    """Return what the last hidden layer computes from pictures: (N, D), on the host."""
    net = trained.net
    with net.evaluating():
        x = backend.to_device(trained.prepare(pictures), net.device)
        for layer in net.layers[:-1]:
            x = layer.forward(x)
    return backend.to_numpy(x)


def nearest(trained, pictures, train, quiet):
    """Find the training pictures that are nearest to each picture in the last hidden layer.

    Paper    section 6.1, figure 4 (right): Euclidean distance between the features
    Args     pictures: uint8 (M, 3, S, S); train: the training split
    Returns  pictures uint8 (M, 6, 3, S, S), their labels (M, 6) and distances (M, 6), nearest first
    """
    asked = features(trained, pictures)
    found = [[] for _ in asked]  # of each picture: (distance, picture, label), the nearest first
    with console.Progress(len(train), "training pictures", "pictures", quiet) as progress:
        for known, labels in batches(train, np.arange(len(train))):
            there = features(trained, known)
            for own, best in zip(asked, found):
                distances = np.linalg.norm(there - own, axis=1)
                for i in np.argsort(distances, kind="stable")[:NEAREST]:
                    best.append((float(distances[i]), known[i].copy(), int(labels[i])))
                best.sort(key=lambda entry: entry[0])
                del best[NEAREST:]
            progress.update(len(labels))
    distances, near, labels = (np.array([[entry[k] for entry in best] for best in found])
                               for k in range(3))
    return near, labels, distances


def smaller(pictures):
    """Leave out rows and columns of pixels, so that the figures need little memory."""
    step = ceil_div(pictures.shape[-1], DRAWN_SIZE)
    return pictures[..., ::step, ::step]


def draw(out, arrays):
    """Draw the three figures from the arrays of look_inside.npz."""
    names, labels = arrays["class_names"], arrays["labels"]
    figures.draw_kernels(out / "figure3.png", arrays["kernels"], int(arrays["groups"]))
    figures.draw_guesses(out / "figure4_left.png", arrays["pictures"], arrays["probs"], names,
                         [names[k] for k in labels], labels)
    rows = {f"{number}: {names[k]}": [picture, *near] for number, (k, picture, near) in
            enumerate(zip(labels, arrays["pictures"], arrays["nearest"]), 1)}
    same = {row: [False, *(near == k)] for row, near, k in
            zip(rows, arrays["nearest_labels"], labels)}
    figures.draw_rows(rows, ["test", "nearest", "2nd", "3rd", "4th", "5th", "6th"], marked=same,
                      path=out / "figure4_right.png")


def parse_arguments():
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=console.HelpFormatter)
    parser.add_argument("run", metavar="RUN", help="the folder of a run, finished or not")
    parser.add_argument("--data", metavar="PATH", help="default: the data of the run")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|gpu|gpu:N")
    parser.add_argument("--out", metavar="DIR", help="default: the folder of the run")
    parser.add_argument("--quiet", action="store_true", help="print the result only")
    return parser.parse_args()


if __name__ == "__main__":
    console.execute(main, mistakes=(backend.DeviceError, console.FolderError, data.DataError,
                                    runs.RunError, tinynet.CheckpointError))
