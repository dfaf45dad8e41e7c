"""Data sets from the command line.

    python -m tinynet.data download cifar10 data
    python -m tinynet.data pack data packs/cifar10
    python -m tinynet.data verify packs/cifar10
    python -m tinynet.data info packs/cifar10
"""

import os

import numpy as np

from tinynet import console, figures
from tinynet.data import DataError, open_source, ten_crops
from tinynet.data.download import download, require_known
from tinynet.data.pack import pack
from tinynet.data.packed import REPORT, find_pack, read_pack, verify
from tinynet.threads import ThreadCountError

SHOWN_SIZE = 128  # side of the pictures in the figures of info; a pack has its own size
SHOWN_CLASSES, SHOWN_PICTURES = 20, 8


def main():
    """Run the command that the command line asks for."""
    args = parse_arguments()
    args.do(args)


def do_download(args):
    """Download a data set by name, and print where it is."""
    require_known(args.name)  # before the folder is made
    print(download(args.name, console.writable_folder(args.folder, "FOLDER"), args.quiet))


def do_pack(args):
    """Pack a source, and print a line about the pack."""
    console.require_writable(args.out, "OUT")  # before a long look at the source
    source = open_source(args.source, args.size, args.seed, args.quiet)
    out = console.writable_folder(args.out, "OUT")
    pack(source, out, args.size, args.quiet)
    print(f"{out}: {described(read_pack(out))}")


def do_verify(args):
    """Check every byte of a pack."""
    if not find_pack(args.pack):
        raise DataError(f"{args.pack}: not a pack; one is made with: python -m tinynet.data pack "
                        "SOURCE OUT")
    print(f"{args.pack}: whole; {described(verify(args.pack, args.quiet))}")


def described(pack):
    """Return one line about a pack, from its pack.json."""
    left_out = sum(pack["unreadable"].values())
    return (f"{pack['counts']['train']:,} training and {pack['counts']['test']:,} test pictures, "
            f"{pack['size']} x {pack['size']} pixels; {left_out:,} unreadable"
            + (f", left out and listed in {REPORT}" if left_out else ""))


def do_info(args):
    """Print the counts of the classes, and draw some pictures and the ten crops of one."""
    console.require_writable(args.out, "OUT")  # before a long look at the source
    packed = read_pack(args.source) if find_pack(args.source) else None
    size = packed["size"] if packed else SHOWN_SIZE
    source = open_source(args.source, size, args.seed, args.quiet)
    out = console.writable_folder(args.out, "OUT")
    counts = f"{len(source.train):,} training and {len(source.test):,} test pictures"
    print(f"{source.name}: {described(packed) if packed else counts}")
    print_counts(source)
    shown = source.class_names[:SHOWN_CLASSES]
    rows = [some_pictures(source.train, label) for label in range(len(shown))]
    part = "" if len(shown) == len(source.class_names) else f", the first {len(shown)} classes"
    figures.draw_contact_sheet(os.path.join(out, "contact-sheet.png"), dict(zip(shown, rows)))
    print(f"{os.path.join(out, 'contact-sheet.png')}{part}")
    first = next((row[:1] for row in rows if len(row)), None)
    if first is None:
        raise DataError(f"{args.source}: none of the pictures looked at can be read")
    crop = round(size * 227 / 256)
    figures.draw_ten_crops(os.path.join(out, "ten-crops.png"), first[0], ten_crops(first, crop)[0])
    print(os.path.join(out, "ten-crops.png"))
    if source.train.unreadable:
        print(f"{len(source.train.unreadable)} of the pictures looked at cannot be read")


def some_pictures(split, label):
    """Return the readable ones of the first few pictures of a class: uint8 (M, 3, S, S)."""
    pictures, _ = split.read(np.flatnonzero(split.labels == label)[:SHOWN_PICTURES])
    return pictures


def print_counts(source):
    """Print how many pictures each class has; of many classes, the smallest and the largest."""
    train, test = (np.bincount(split.labels, minlength=len(source.class_names))
                   for split in (source.train, source.test))
    chosen, width = range(len(train)), max(len(name) for name in source.class_names)
    if len(train) > SHOWN_CLASSES:
        by_count = np.argsort(train, kind="stable")
        chosen = [*by_count[:SHOWN_CLASSES // 2], *by_count[-SHOWN_CLASSES // 2:]]
        print(f"{len(train):,} classes, each with {train.min():,} to {train.max():,} training and "
              f"{test.min():,} to {test.max():,} test pictures; the smallest and the largest:")
    for label in chosen:
        print(f"{source.class_names[label]:{min(width, 40)}} {train[label]:9,} {test[label]:9,}")


def parse_arguments():
    """Return the arguments; .do is the function of the command."""
    parser = console.ArgumentParser(prog="python -m tinynet.data",
                                    description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common = console.ArgumentParser(add_help=False)
    common.add_argument("--quiet", action="store_true",
                        help="show no progress, and do not name unreadable pictures")
    seeded = console.ArgumentParser(add_help=False)
    seeded.add_argument("--seed", type=console.seed, default=0, metavar="N",
                        help="of the generated pictures, or of the random test set; as for "
                             "train_alexnet.py")

    command = commands.add_parser("download", parents=[common],
                                  help="download cifar10, tiny-imagenet or imagenette")
    command.add_argument("name")
    command.add_argument("folder", metavar="FOLDER",
                         help="the folder for it, to be given to --data of train_alexnet.py")
    command.set_defaults(do=do_download)

    command = commands.add_parser("pack", parents=[common, seeded],
                                  help="decode all pictures once, for fast reading")
    command.add_argument("source", metavar="SOURCE", help="as --data of train_alexnet.py")
    command.add_argument("out", metavar="OUT",
                         help="a folder that is new or empty, or has a pack that was stopped")
    command.add_argument("--size", type=console.positive_int, default=256, metavar="N",
                         help="side of the pictures, in pixels (256, as in the paper)")
    command.set_defaults(do=do_pack)

    command = commands.add_parser("verify", parents=[common], help="check every byte of a pack")
    command.add_argument("pack", metavar="PACK")
    command.set_defaults(do=do_verify)

    command = commands.add_parser("info", parents=[common, seeded],
                                  help="count the classes, and draw a few pictures")
    command.add_argument("source", metavar="SOURCE", help="as --data of train_alexnet.py")
    command.add_argument("out", metavar="OUT", nargs="?", default="runs/data",
                         help="the folder for the figures (runs/data)")
    command.set_defaults(do=do_info)
    return parser.parse_args()


if __name__ == "__main__":
    console.execute(main, mistakes=(console.FolderError, DataError, ThreadCountError),
                    name="tinynet.data")
