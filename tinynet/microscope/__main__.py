"""Look at every number of a trained network, forward, backward and in the update.

    python -m tinynet.microscope runs/alexnet cat.jpg
    python -m tinynet.microscope runs/alexnet cat.jpg dog.jpg --beside runs/paper
    python -m tinynet.microscope runs/alexnet                  # pictures that tinynet has drawn
    python -m tinynet.microscope export runs/alexnet star --out page.html
"""

import argparse
import errno
import pathlib
import sys
import threading
import webbrowser

from tinynet import console, data
from tinynet.microscope import export, loading, server


def main():
    """Serve the page until Ctrl-C, or write it to one file."""
    if sys.argv[1:2] == ["export"]:
        return write(parse_export(sys.argv[2:]))
    args = parse_serve(sys.argv[1:])
    networks = [loading.load(folder) for folder in [args.run, *args.beside]]
    bench = server.Bench(networks, pictures(args.picture, networks[0]))
    bench.specimen()  # a picture that cannot be read is better known now
    try:
        served = server.Server(bench, args.port)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise PortError(f"port {args.port} cannot be had ({error.strerror}): choose another with "
                        "--port, or leave it out") from None
    print(f"{served.address}   (Ctrl-C quits)", flush=True)
    if not args.no_browser:
        threading.Thread(target=open_browser, args=(served.address,), daemon=True).start()
    try:
        served.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        served.server_close()
    return 0


class PortError(ValueError):
    """A port that cannot be had; one line for the user."""


def write(args):
    """Write the page to one file, and say what is in it."""
    network = loading.load(args.run)
    name, label, read = pictures(args.picture and [args.picture], network)[0]
    size, bits = export.write(args.out, network, name, read(network), label, args.limit)
    rounded = "" if bits == 32 else f"; weights of convolutions rounded to {bits} bits beforehand"
    print(f"{args.out}: {size / 1e6:.1f} MB{rounded}")
    return 0


def pictures(paths, network):
    """Return the pictures to look at: (name, label or None, function of a Network) of each.

    The label is the class that the folder of a picture is named after. A network that learned from
    drawn pictures is shown one of a class that is named, and without paths one of each class.
    """
    classes = network.class_names
    if not paths and not network.draws:
        raise data.DataError("PICTURE is missing: the run has not learned from drawn pictures")
    found = []
    for path in paths or classes:
        folder = pathlib.Path(path).resolve().parent.name
        if network.draws and path in classes and not pathlib.Path(path).is_file():
            label = classes.index(path)
            found.append((path, label, lambda network, label=label:
                          network.drawn_picture(label, label)))
        else:
            label = classes.index(folder) if folder in classes else None
            found.append((pathlib.Path(path).name, label, named(path)))
    return found


def named(path):
    """Return a function that reads a picture for a Network, and names the file in its errors."""
    def read(network):
        try:
            return network.picture(path)
        except (data.DataError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise data.DataError(f"{path}: {reason}") from None
    return read


def open_browser(address):
    """Open the page, if there is a browser; the address has been printed."""
    try:
        opened = webbrowser.open(address)
    except webbrowser.Error:
        opened = False
    if not opened:
        print("no browser could be started: open the address in one", file=sys.stderr, flush=True)


def port(text):
    """Convert the text of an option to the number of a port (an argparse type)."""
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: a whole number up to 65535")
    return int(text)


def parse_serve(argv):
    """Return the arguments of the server."""
    parser = console.ArgumentParser(
        "python -m tinynet.microscope", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", help="the folder of a run, finished or not")
    parser.add_argument("picture", metavar="PICTURE", nargs="*",
                        help="a file in any format that Pillow reads; for a network that learned "
                             "from drawn pictures, also the name of a class; default: all classes")
    parser.add_argument("--beside", metavar="RUN", action="append", default=[],
                        help="another run, of any recipe, to compare the first one with")
    parser.add_argument("--port", type=port, default=0, metavar="N", help="default: any free one")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    return parser.parse_args(argv)


def parse_export(argv):
    """Return the arguments of the export."""
    parser = console.ArgumentParser(
        "python -m tinynet.microscope export",
        description="Write the page to one HTML file that computes for itself.",
        formatter_class=console.HelpFormatter)
    parser.add_argument("run", metavar="RUN", help="the folder of a run, finished or not")
    parser.add_argument("picture", metavar="PICTURE", nargs="?", help="as for the server")
    parser.add_argument("--out", required=True, metavar="FILE.html", help="where the page goes")
    parser.add_argument("--limit", type=console.positive_float, default=15.0, metavar="MB",
                        help="the largest file wanted; the weights are rounded to fit")
    return parser.parse_args(argv)


if __name__ == "__main__":
    console.execute(main, (*loading.MISTAKES, PortError, export.ExportError), "microscope")
