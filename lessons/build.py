"""Build the notebooks from the lessons' sources, or check that they still belong together.

    python lessons/build.py                     build and execute all: NN_topic.py -> NN_topic.ipynb
    python lessons/build.py 03                  only those whose names begin so
    python lessons/build.py --check             change nothing; fail where a notebook is not what its source gives

How a lesson is written. NN_topic.py is a plain Python program in the percent format: `# %% [markdown]` begins text,
whose lines begin with `# `; `# %%` begins code. One idea a cell: a sentence or two that say what is asked, code that
answers it, an assert that holds the answer fast. Every number that the text claims is asserted here or in tests/. The
library's own source is shown with inspect.getsource, never copied. A figure for every idea, from tinynet.figures, as
the last line of its cell; look at each before you commit. No timings, no network, nothing drawn without a seed, under
90 seconds on a CPU. Two to four exercises at the end, each a stub and its check; solutions in solutions/NN_topic.py;
typical mistakes in tests/test_exercises.py. Terms of the Chinese notes are given in Chinese once, in brackets.
"""

import argparse
import json
import math
import os
import pathlib
import re
import struct
import sys

LESSONS = pathlib.Path(__file__).resolve().parent
METADATA = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"}}
LIMIT = 90  # seconds for a lesson


NO_NETWORK = """
def _refuse(event, arguments):
    if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple) or event in (
            "socket.getaddrinfo", "urllib.Request", "http.client.connect", "ftplib.connect"):
        raise RuntimeError(f"a lesson must not use the network: {event} {arguments[1:]}")
__import__("sys").addaudithook(_refuse)
del _refuse
"""


class LessonError(ValueError):
    """A lesson that cannot be built, or is not what it should be; one line."""


def cells_of(source):
    """The cells of a source in percent format: [("markdown" or "code", text), ...]."""
    cells = []
    for part in re.split(r"^# %%", source, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        kind = "markdown" if head.strip() == "[markdown]" else "code"
        if kind == "markdown":
            body = "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.strip("\n").split("\n"))
        cells.append((kind, body.strip("\n")))
    return cells


def notebook_of(source):
    """The cells as a notebook that has not been executed. The same source gives the same bytes."""
    import nbformat.v4 as v4
    make = {"markdown": v4.new_markdown_cell, "code": v4.new_code_cell}
    cells = [make[kind](text, id=f"cell-{number:02}") for number, (kind, text) in enumerate(cells_of(source))]
    return v4.new_notebook(cells=cells, metadata=METADATA)


def execute(notebook, name):
    """Run a notebook from the top in a fresh kernel, on one thread, without pyplot and network. Raises LessonError."""
    import nbclient
    import nbformat
    path = os.pathsep.join([str(LESSONS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    client = nbclient.NotebookClient(notebook, timeout=LIMIT, record_timing=False,
                                     extra_arguments=["--log-level=40", f"--IPKernelApp.exec_lines={NO_NETWORK}"],
                                     coalesce_streams=True,  # a line may come in two messages
                                     resources={"metadata": {"path": str(LESSONS)}})
    try:
        client.execute(env=environment)
    except nbclient.exceptions.CellExecutionError as error:
        raise LessonError(f"{name}: a cell fails.\n" + re.sub("\x1b\\[[0-9;]*m", "", str(error))) from None
    except nbclient.exceptions.CellTimeoutError:
        raise LessonError(f"{name}: a cell takes more than {LIMIT} seconds") from None
    notebook.metadata = nbformat.from_dict(METADATA)  # without the version of the Python that ran it
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise LessonError(f"{name}: a cell writes to stderr: {output.text.strip()}")
            if re.search(r"\b0x[0-9a-f]{6,}", text_of(output)):
                raise LessonError(f"{name}: an output has a memory address in it: {text_of(output)}")
    return notebook


def text_of(output):
    """What an output says; of a figure only its size in pixels: its letters look a little different elsewhere."""
    if "image/png" in output.get("data", {}):
        return f"a figure of {picture_size(output['data']['image/png'])} pixels"
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    return text if isinstance(text, str) else "".join(text)


def picture_size(png):
    import base64
    return "{} x {}".format(*struct.unpack(">II", base64.b64decode(png)[16:24]))


def to_text(notebook):
    """The notebook as bytes on the disk."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def difference(committed, fresh):
    """The first thing in which two executed notebooks differ, or None. Numbers may differ in their last digits."""
    def sources(notebook):
        return [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    if sources(committed) != sources(fresh):
        return "its cells are not those of the source"
    for number, (before, after) in enumerate(zip(committed["cells"], fresh["cells"])):
        said, says = ([text_of(output) for output in cell.get("outputs", [])] for cell in (before, after))
        if len(said) != len(says) or not all(map(alike, said, says)):
            return f"cell {number} gave {said}, it gives {says}"
    return None


NUMBER = re.compile(r"[-+]?\d*\.\d+(?:e[-+]?\d+)?|[-+]?\d+e[-+]?\d+|[-+]?\d+")


def alike(a, b):
    """Whether two texts are the same but for the last digits of their numbers and how columns are filled."""
    if NUMBER.sub("#", a).split() != NUMBER.sub("#", b).split():
        return False
    return all(math.isclose(float(x), float(y), rel_tol=1e-3, abs_tol=1e-6)
               for x, y in zip(NUMBER.findall(a), NUMBER.findall(b)))


def build(source, check):
    """One lesson: write its notebook, or with check raise LessonError if the one that is there is another."""
    target = source.with_suffix(".ipynb")
    if check and not target.exists():
        raise LessonError(f"{target.name}: there is none; python lessons/build.py {source.stem[:2]}")
    fresh = execute(notebook_of(source.read_text(encoding="utf-8")), source.name)
    if not check:
        target.write_text(to_text(fresh), encoding="utf-8")
        return
    wrong = difference(json.loads(target.read_text(encoding="utf-8")), fresh)
    if wrong:
        raise LessonError(f"{target.name}: {wrong}; python lessons/build.py {source.stem[:2]}")


def sources(prefix=""):
    """The lessons, in their order."""
    return sorted(path for path in LESSONS.glob("[0-9][0-9]_*.py") if path.name.startswith(prefix))


def main():
    parser = argparse.ArgumentParser(description="Build the notebooks of the lessons.")
    parser.add_argument("lesson", nargs="?", default="", help="the beginning of a name, such as 03; all without it")
    parser.add_argument("--check", action="store_true", help="compare with the notebooks that are there")
    options = parser.parse_args()
    chosen = sources(options.lesson)
    try:
        if not chosen:
            raise LessonError(f"no lesson begins with {options.lesson!r}; there are "
                              f"{', '.join(path.stem for path in sources())}")
        for source in chosen:
            build(source, options.check)
            print(f"{source.stem}: {'as it should be' if options.check else 'built'}", flush=True)
    except ImportError as error:
        parser.exit(2, f"build.py: {error}; install what builds lessons: pip install -e '.[lessons]'\n")
    except LessonError as error:
        parser.exit(2, f"build.py: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
