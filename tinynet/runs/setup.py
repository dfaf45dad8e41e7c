"""What all training scripts share: their options, and the preparations for a run.

A script makes the network, the optimiser and the schedule; open_run does the rest.
"""

import dataclasses
import hashlib
import os
import platform

import numpy as np

from tinynet import __version__, backend, checkpoint, console, data, parallel, threads
from tinynet.runs import folder as files
from tinynet.runs.run import Run
from tinynet.runs.stall import StallHint
from tinynet.shapes import ShapeError, ceil_div

SETTLED = ("recipe", "schedule", "epochs", "steps", "batch_size", "image_size", "lr", "seed",
           "shards")
MISTAKES = (console.FolderError, data.DataError, ShapeError, backend.DeviceError,
            checkpoint.CheckpointError, files.RunError,
            parallel.ParallelError)  # of a user: one line, exit code 2


def parser(description, *, data, epochs, batch_size, lr, out):
    """Return an ArgumentParser with the options of all training scripts and these defaults."""
    parser = console.ArgumentParser(description=description,
                                    formatter_class=console.HelpFormatter)
    add = parser.add_argument
    add("--data", default=data, metavar="embedded|PATH",
        help="generated pictures; or a folder or archive of class folders, CIFAR-10, ImageNet, "
             "a pack; python -m tinynet.data download cifar10 data fetches CIFAR-10")
    add("--device", default="auto", metavar="auto|cpu|gpu|gpu:N",
        help="auto: a GPU if one can be used")
    add("--epochs", type=console.positive_int, default=epochs, metavar="N",
        help="how often the training set is gone through")
    add("--batch-size", type=console.positive_int, default=batch_size, metavar="N",
        help="pictures a step")
    add("--lr", type=console.positive_float, default=lr, help="learning rate at the start")
    add("--seed", type=console.seed, default=0, metavar="N", help="of all random numbers")
    add("--out", default=out, metavar="DIR", help="folder for the results")
    add("--resume", action="store_true", help="continue the run in --out, with its own options")
    add("--checkpoint-minutes", type=console.positive_float, default=10.0, metavar="M",
        help="time between two checkpoints; one is written after each epoch in any case")
    add("--keep-checkpoints", action="store_true", help="keep the checkpoint of every epoch")
    add("--quiet", action="store_true", help="print errors only")
    add("--parallel", choices=("data", *parallel.SPLIT),
        help="train on the ranks that mpiexec starts; data: each computes its share of every "
             "batch; columns: each of two has half of the kernels, as the GPUs of the paper; "
             "mixed: half of the pictures below, half of the fully connected units above")
    add("--shards", type=console.positive_int, metavar="N",
        help="cut every batch into N shards, whose gradients are added in a fixed order: the "
             "weights then have the same bits on 1 to N ranks; default: one shard a rank")
    return parser


def parse(parser):
    """Return the arguments. With --resume, the options of the run in --out are the defaults.

    Raises   RunError or DeviceError, one line, for what is known to fail before the data are read
    """
    args = parser.parse_args()
    communicator = parallel.connect(args.parallel)
    args.quiet = args.quiet or communicator.rank > 0
    if args.resume:
        config = files.read_config(args.out)
        files.require_resumable(args.out)
        kept = {name: config[name] for name in (*SETTLED, "data", "weights", "ten_views")
                if name in config}
        parser.set_defaults(**kept)
        args = parser.parse_args()
        args.quiet = args.quiet or communicator.rank > 0
        files.require_same(os.path.join(args.out, "config.json"), {"options": options(config)},
                           {"options": options(vars(args))})
    else:
        files.require_unused(args.out)
        console.require_writable(args.out)
        args.shards = args.shards or (communicator.size if args.parallel == "data" else 1)
    parallel.require_shards(args.shards, communicator.size, args.parallel)
    parallel.choose_device(communicator, args.device)
    threads.default_thread_count()
    return args


def steps_per_epoch(args, source):
    """Return how many batches make an epoch."""
    return ceil_div(len(source.train), args.batch_size)


def count_epochs(args, source):
    """Return how many epochs --epochs or --steps make; the last one may be incomplete."""
    steps = getattr(args, "steps", None)
    return ceil_div(steps, steps_per_epoch(args, source)) if steps else args.epochs


def open_run(args, network, net, source, sgd, schedule, batches_rng, augmentation, hint=None,
             mean=None):
    """Move a network to its device, prepare the data, and begin or resume a run in --out.

    Args     args: from parse; network: the key of trained.NETWORKS; net, sgd, schedule: fresh;
             source: from data.open_source; batches_rng: numpy.random.Generator for the order and
             the crops alone; augmentation: a data.Augmentation; mean: the mean image (3, S, S)
             that pretrained weights need, instead of the training set's
    Returns  a Run, ready for the training loop
    Raises   MISTAKES, each with one line for the user
    """
    communicator = parallel.connect(args.parallel)
    first, split = communicator.rank == 0, args.parallel in parallel.SPLIT
    say = (lambda line: None) if args.quiet else print
    summary, size = net.summary(), net.in_shape[-1]
    weights = {"weights": {"digest": digest(net)}} if mean is not None else {}
    needed_bytes = summary.gpu_bytes(args.batch_size) // (2 if split else 1)
    device, why = parallel.choose_device(communicator, args.device, needed_bytes)
    say(f"device: {device} ({why})")
    if device == "gpu" and communicator.size > 1:
        communicator = parallel.Nccl(communicator)
    if split:
        net = parallel.SPLIT[args.parallel](net, communicator)
        sgd = parallel.ColumnSGD(sgd, net)
    net.to(device)
    say(f"{network}{f' {args.recipe}' if 'recipe' in args else ''} at {size} pixels: "
        f"{summary.params:,} parameters")
    say(f"{source.name}: {len(source.class_names)} classes, {len(source.train)} training pictures, "
        f"{len(source.test)} test pictures")
    lock = statistics = None
    if first:
        lock = files.Lock(args.out)
        kept = lock.folder / "statistics.npz"
        if not args.resume:
            files.require_unused(lock.folder)  # again: no other process can begin a run here now
        if args.resume and kept.exists():
            statistics = data.load_statistics(kept)
        else:
            statistics = data.compute_statistics(source.train, args.quiet)
    statistics = communicator.from_first(statistics)
    if mean is not None:
        statistics = dataclasses.replace(statistics, mean=mean)

    def test_batches(ten_views=False):
        batch_size = max(1, args.batch_size // 10) if ten_views else args.batch_size
        return data.test_batches(source.test, batch_size, size, statistics.mean, ten_views)

    next(test_batches())  # if no picture can be read, say so now
    pieces = 2 if args.parallel == "mixed" else args.shards  # of a batch: a rank prepares its own
    batches = data.TrainingBatches(source.train, args.batch_size, size, statistics, batches_rng,
                                   augmentation, device=device,
                                   colour_epochs=schedule.colour_epochs, shards=pieces,
                                   own=slice(None) if args.parallel == "columns" else
                                   parallel.own_shards(communicator, pieces))
    if pieces > 1:
        batches = parallel.Batches(batches, communicator)
    if args.shards > 1:
        net = parallel.DataParallel(net, communicator, args.shards)
    per_epoch = steps_per_epoch(args, source)
    steps = getattr(args, "steps", None) or args.epochs * per_epoch
    same = identity(args, summary, source, statistics) | weights
    run = Run(lock, net, sgd, schedule, batches, test_batches, len(source.test), steps=steps,
              steps_per_epoch=per_epoch, identity=same,
              hint=hint or StallHint(len(source.class_names)), minutes=args.checkpoint_minutes,
              keep_checkpoints=args.keep_checkpoints, quiet=args.quiet, communicator=communicator,
              split=split)
    require_same_on_all(communicator, run.identity, source.train)
    if args.resume:
        say(f"continuing from {run.resume()}: step {run.step} of {steps}")
        return run
    if first:
        checkpoint.save_arrays(kept, dataclasses.asdict(statistics))
    run.begin(vars(args) | {"network": network, "device": device, "classes": source.class_names})
    return run


def require_same_on_all(communicator, own, train):
    """Raise ParallelError with the first entry in which a rank differs from rank 0.

    Args     own: the identity of the run on this rank; train: the training pictures, of which up
             to 64 are compared
    """
    if communicator.size == 1:
        return
    versions = {"tinynet": __version__, "numpy": np.__version__,
                "python": platform.python_version()}
    some = np.linspace(0, len(train) - 1, min(64, len(train))).astype(int)
    pixels = hashlib.sha256(train.read(some)[0].tobytes()).hexdigest()[:16]
    shared = communicator.share({"versions": versions, **own, "pixels": {"digest": pixels}})
    for rank, other in enumerate(shared):
        if difference := files.difference(shared[0], other):
            where, first, its = difference
            raise parallel.ParallelError(f"the ranks do not train the same: {where} is {first} on "
                                         f"rank 0, {its} on rank {rank}")


def identity(args, summary, source, statistics):
    """Return everything that a run must share with the checkpoint that it continues."""
    return {"network": {row.name: f"{row.kind} {row.output_shape}, {row.params} parameters"
                        for row in summary.rows},
            "data": data.identity(source),
            "options": options(vars(args)),
            "statistics.npz": {"digest": statistics.digest()}}


def digest(net):
    """Return 16 hexadecimal digits that change when any parameter of a network does."""
    sha = hashlib.sha256()
    for array in net.named_params().values():
        sha.update(backend.to_numpy(array).tobytes())
    return sha.hexdigest()[:16]


def options(values):
    """Return the entries of a dict that a run keeps from its beginning to its end."""
    return {name: values[name] for name in SETTLED if name in values}
