"""The microscope: a page on which every number of a trained network can be taken apart.

    python -m tinynet.microscope RUN PICTURE                            # a local server, a browser
    python -m tinynet.microscope export RUN PICTURE --out page.html     # one file, opened offline

loading.py   a run's network and checkpoints, and pictures: the only file that knows what a run is
specimen.py  one network shown one picture: a Trace, its numbers, their explanations as messages
bugs.py      the known bugs that can be planted
server.py    the local server of the page
export.py    the one file, in which the page computes for itself
page/        the page: HTML, CSS and plain ES modules, the same for both
"""
