"""Data sets from the command line.

    python -m tinynet.data download cifar10 data
"""

from tinynet import console
from tinynet.data.download import download
from tinynet.data.pictures import DataError


def main():
    """Do what the command line asks for."""
    parser = console.ArgumentParser(prog="python -m tinynet.data", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    fetch = commands.add_parser("download", help="fetch a data set: cifar10, tiny-imagenet, imagenette")
    fetch.add_argument("name")
    fetch.add_argument("folder", help="where it goes, as --data of train_alexnet.py takes it")
    fetch.add_argument("--quiet", action="store_true", help="print errors only")
    args = parser.parse_args()
    print(download(args.name, console.writable_folder(args.folder), args.quiet))


if __name__ == "__main__":
    console.run(main, mistakes=(console.FolderError, DataError), name="tinynet.data")
