"""Weights from the command line.

    python -m tinynet.weights info alexnet-owt-7be5be79.pth
    python -m tinynet.weights export runs/alexnet alexnet.onnx
"""

import os

from tinynet import checkpoint, console, runs, weights
from tinynet.weights import WeightsError, network
from tinynet.weights.export import export, require_name


def main():
    """Do what the command line asks for."""
    args = parse_arguments()
    args.do(args)


def do_info(args):
    """Say what a file of weights is, layer by layer, and what it cannot be."""
    pretrained = weights.load(args.file)
    print(pretrained.origin)
    print(f"pictures  {pretrained.preprocessing}")
    names = pretrained.class_names
    print(f"classes   {len(names):,}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}")
    if row := pretrained.published:
        print(f"accuracy  {row.top1} % top-1, {row.top5} % top-5, published for {row.name}")
    for note in pretrained.notes:
        print(f"note      {note}")
    for name, reason in network.not_these(pretrained.net).items():
        print(f"not       {name}: {reason}")
    print(f"\n{pretrained.net.summary()}")


def do_export(args):
    """Write the network of a run, or of a file, in another format."""
    require_name(args.out)
    console.writable_folder(os.path.dirname(args.out) or ".", "OUT")
    pretrained = weights.load(args.source)
    export(pretrained, args.out)
    print(f"{args.out}: {os.path.getsize(args.out):,} bytes, from {pretrained.origin}")


def parse_arguments():
    """What to do, as .do, and with what."""
    parser = console.ArgumentParser(prog="python -m tinynet.weights",
                                    description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("info", help="what a file is and what it cannot be")
    command.add_argument("file", metavar="FILE",
                         help="safetensors, PyTorch, ONNX, Caffe or .npy, or the folder of a run")
    command.set_defaults(do=do_info)
    command = commands.add_parser("export", help="write a network for other programs")
    command.add_argument("source", metavar="RUN", help="the folder of a run, or a file of weights")
    command.add_argument("out", metavar="OUT", help="ends in .onnx, .safetensors or .pth")
    command.set_defaults(do=do_export)
    return parser.parse_args()


MISTAKES = (console.FolderError, WeightsError, runs.RunError, checkpoint.CheckpointError)

if __name__ == "__main__":
    console.execute(main, mistakes=MISTAKES, name="tinynet.weights")
