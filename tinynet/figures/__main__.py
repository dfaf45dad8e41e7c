"""Draw the curves of a run from its log. The run may still be training.

    python -m tinynet.figures RUN
"""

import os

from tinynet import console
from tinynet.figures import draw_curves
from tinynet.runs import RunError, read_metrics


def main():
    """Write curves.png into the folder of the run, and print its path."""
    parser = console.ArgumentParser(prog="python -m tinynet.figures",
                                    description=__doc__.splitlines()[0])
    parser.add_argument("run", help="the folder of a run")
    folder = parser.parse_args().run
    path = os.path.join(folder, "curves.png")
    draw_curves(path, read_metrics(folder))
    print(path)


if __name__ == "__main__":
    console.execute(main, mistakes=RunError, name="tinynet.figures")
