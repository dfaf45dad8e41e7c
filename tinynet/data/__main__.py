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
from tinynet.data.download import download
from tinynet.data.pack import pack
from tinynet.data.packed import REPORT, find_pack, read_pack, verify

SHOWN_SIZE, SHOWN_CLASSES, SHOWN_PICTURES = 128, 20, 8  # in the figures of info; a pack is shown at its own size


def main():
    """Do what the command line asks for."""
    args = parse_arguments()
    args.do(args)


def do_download(args):
    """Fetch a data set by name."""
    print(download(args.name, console.writable_folder(args.folder), args.quiet))


def do_pack(args):
    """Pack a source, and say what came of it."""
    source = open_source(args.source, args.size, args.seed, args.quiet)
    out = console.writable_folder(args.out)
    pack(source, out, args.size, args.quiet)
    print(f"{out}: {described(read_pack(out))}")


def do_verify(args):
    """Check every byte of a pack."""
    if not find_pack(args.pack):
        raise DataError(f"{args.pack}: not a pack; one is made with: python -m tinynet.data pack SOURCE OUT")
    print(f"{args.pack}: whole; {described(verify(args.pack, args.quiet))}")


def described(pack):
    """One line about a pack."""
    left_out = sum(pack["unreadable"].values())
    return (f"{pack['counts']['train']:,} pictures to learn from and {pack['counts']['test']:,} held out, "
            f"{pack['size']} x {pack['size']} pixels; {left_out:,} unreadable"
            + (f", left out and listed in {REPORT}" if left_out else ""))


def do_info(args):
    """Print the counts of a source's classes; draw some of its pictures, and the ten crops of one."""
    packed = read_pack(args.source) if find_pack(args.source) else None
    size = packed["size"] if packed else SHOWN_SIZE
    source = open_source(args.source, size, args.seed, args.quiet)
    out = console.writable_folder(args.out)
    print(f"{source.name}: {described(packed)}" if packed else
          f"{source.name}: {len(source.train):,} pictures to learn from and {len(source.test):,} held out")
    print_counts(source)
    shown = source.class_names[:SHOWN_CLASSES]
    rows = [some_pictures(source.train, label) for label in range(len(shown))]
    of_all = "" if len(shown) == len(source.class_names) else f", the first {len(shown)} classes"
    figures.draw_contact_sheet(os.path.join(out, "contact-sheet.png"), dict(zip(shown, rows)))
    print(f"{os.path.join(out, 'contact-sheet.png')}{of_all}")
    first = next((row[:1] for row in rows if len(row)), None)
    if first is None:
        raise DataError(f"{args.source}: not one of the pictures looked at can be read")
    crop = round(size * 227 / 256)
    figures.draw_ten_crops(os.path.join(out, "ten-crops.png"), first[0], ten_crops(first, crop)[0])
    print(os.path.join(out, "ten-crops.png"))
    if source.train.unreadable:
        print(f"{len(source.train.unreadable)} of the pictures looked at cannot be read")


def some_pictures(split, label):
    """The first few readable pictures of a class, uint8 (M, 3, S, S)."""
    pictures, _ = split.read(np.flatnonzero(split.labels == label)[:SHOWN_PICTURES])
    return pictures


def print_counts(source):
    """How many pictures each class has; where there are many classes, the smallest and the largest of them."""
    train, test = (np.bincount(split.labels, minlength=len(source.class_names))
                   for split in (source.train, source.test))
    chosen, width = range(len(train)), max(len(name) for name in source.class_names)
    if len(train) > SHOWN_CLASSES:
        by_count = np.argsort(train, kind="stable")
        chosen = [*by_count[:SHOWN_CLASSES // 2], *by_count[-SHOWN_CLASSES // 2:]]
        print(f"{len(train):,} classes of {train.min():,} to {train.max():,} pictures to learn from, {test.min():,} to "
              f"{test.max():,} held out; the smallest and the largest:")
    for label in chosen:
        print(f"{source.class_names[label]:{min(width, 40)}} {train[label]:9,} {test[label]:9,}")


def parse_arguments():
    """What to do, as .do, and with what."""
    parser = console.ArgumentParser(prog="python -m tinynet.data", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common, seeded = console.ArgumentParser(add_help=False), console.ArgumentParser(add_help=False)
    common.add_argument("--quiet", action="store_true", help="show no progress, name no unreadable picture")
    seeded.add_argument("--seed", type=console.seed, default=0, metavar="N",
                        help="of the drawings, or of what is held out; as for train_alexnet.py")

    command = commands.add_parser("download", parents=[common], help="fetch cifar10, tiny-imagenet or imagenette")
    command.add_argument("name")
    command.add_argument("folder", help="where it goes, as --data of train_alexnet.py takes it")
    command.set_defaults(do=do_download)

    command = commands.add_parser("pack", parents=[common, seeded], help="decode all pictures once, for fast reading")
    command.add_argument("source", metavar="SOURCE", help="whatever --data of train_alexnet.py takes")
    command.add_argument("out", metavar="OUT", help="a folder, empty or not there yet, or with a pack that was stopped")
    command.add_argument("--size", type=console.positive_int, default=256, metavar="N",
                         help="side of the pictures, in pixels (256, as in the paper)")
    command.set_defaults(do=do_pack)

    command = commands.add_parser("verify", parents=[common], help="check every byte of a pack")
    command.add_argument("pack", metavar="PACK")
    command.set_defaults(do=do_verify)

    command = commands.add_parser("info", parents=[common, seeded], help="count the classes, and draw a few pictures")
    command.add_argument("source", metavar="SOURCE", help="whatever --data of train_alexnet.py takes")
    command.add_argument("out", metavar="OUT", nargs="?", default="runs/data", help="where the figures go (runs/data)")
    command.set_defaults(do=do_info)
    return parser.parse_args()


if __name__ == "__main__":
    console.run(main, mistakes=(console.FolderError, DataError), name="tinynet.data")
