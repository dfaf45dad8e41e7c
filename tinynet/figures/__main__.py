"""Draw the curves of a run anew from its log, at any time, also while it goes.

    python -m tinynet.figures RUN
"""

import os

from tinynet import console, run
from tinynet.figures import draw_curves


def main():
    """curves.png into the folder of the run."""
    parser = console.ArgumentParser(prog="python -m tinynet.figures", description=__doc__.splitlines()[0])
    parser.add_argument("run", help="the folder of a run")
    folder = parser.parse_args().run
    path = os.path.join(folder, "curves.png")
    draw_curves(path, run.read_metrics(folder))
    print(path)


if __name__ == "__main__":
    console.run(main, mistakes=run.RunError, name="tinynet.figures")
