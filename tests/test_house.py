"""The house stands as its plan says: imports point one way, and what only one room may have, no other has."""

import ast
import inspect
import os
import pathlib
import subprocess
import sys

import pytest
from shape_table import ALL_RUNGS, rung

import tinynet
import tinynet.reference

ROOT = pathlib.Path(tinynet.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# room -> the rooms of tinynet that it may import. A room is a module of tinynet, or a folder in it whose files may
# import each other; a command line in a folder, __main__.py, is a room by itself. A new room has to be given its place
# here.
HELPERS = {"shapes", "backend"}
LEAVES = {"shapes", "backend", "init", "metrics", "checkpoint", "console", "data"}
MIDDLE = LEAVES | {"ops", "layers", "losses", "network", "alexnet", "cifarnet", "optim", "schedules"}
ARROWS = {
    "shapes": set(),
    "backend": set(),
    "init": {"backend"},
    "metrics": set(),
    "checkpoint": {"backend"},
    "reference": {"shapes"},
    "ops": HELPERS,
    "threads": {"backend"},
    "cpu": HELPERS | {"ops", "threads"},
    "cuda": HELPERS | {"ops"},
    "cuda command line": HELPERS | {"cuda", "console"},
    "layers": HELPERS | {"ops", "init"},
    "losses": HELPERS | {"ops"},
    "optim": HELPERS | {"ops", "checkpoint"},
    "schedules": set(),
    "network": HELPERS | {"ops", "layers", "checkpoint", "summary"},
    "summary": {"language"},
    "alexnet": HELPERS | {"init", "layers", "network"},
    "cifarnet": {"shapes", "layers", "network"},
    "cuda_convnet": {"layers", "network", "optim"},
    "data": HELPERS | {"threads", "checkpoint", "console"},
    "data command line": {"data", "console", "figures", "threads"},
    "console": {"checkpoint"},
    "evaluation": {"backend", "metrics"},
    "parallel": MIDDLE,
    "gradcheck": MIDDLE,
    "language": {"console"},
    "language command line": {"language", "console"},
    "trace": MIDDLE | {"language"},
    "emulator": set(),
    "exercises": MIDDLE | {"gradcheck", "emulator", "language"},
    "figures": MIDDLE | {"language"},
    "figures command line": {"figures", "console", "runs"},
    "weights": MIDDLE | {"runs"},
    "weights command line": {"weights", "runs", "checkpoint", "console"},
    "runs": MIDDLE | {"threads", "evaluation", "figures", "parallel", "__version__"},
    "microscope": MIDDLE | {"trace", "runs"},
    "microscope command line": {"microscope", "console", "data"},
    "__init__": MIDDLE | {"evaluation", "gradcheck", "trace"},  # no figures, and no rung but ops
}
OUTSIDE = {  # what a room may import from outside the standard library
    "backend": {"numpy", "cupy"}, "cpu": {"numpy", "threadpoolctl"},
    "data": {"numpy", "PIL", "tqdm", "scipy"}, "console": {"numpy", "tqdm"}, "figures": {"numpy", "matplotlib"},
    "language": {"babel"}, "language command line": {"fontTools"},
    "weights": {"numpy", "onnx", "google"}, "parallel": {"numpy", "cupy", "mpi4py"},
}


def room(path):
    folder = path.relative_to(ROOT).parts[0].removesuffix(".py")
    return f"{folder} command line" if path.name == "__main__.py" else folder


def imported(path):
    """(dotted name, line) of every import anywhere in the file, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}, line {node.lineno}: say where from, beginning with tinynet"
            assert node.names[0].name != "*", f"{path.name}, line {node.lineno}: import *"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    here = room(path)
    for name, line in imported(path):
        top, _, rest = name.partition(".")
        if top == "tinynet":
            there = rest.partition(".")[0]
            assert there == here or there in ARROWS[here], f"{path.name}, line {line}: {here} must not import {there}"
        elif top not in sys.stdlib_module_names:
            assert top in OUTSIDE.get(here, {"numpy"}), f"{path.name}, line {line}: {here} must not import {top}"


@pytest.mark.parametrize("module, owner", [("matplotlib", "figures"), ("cupy", "backend"), ("PIL", "data"),
                                           ("scipy", "data"), ("onnx", "weights"), ("google", "weights")])
def test_one_room_has_it(module, owner):
    users = {room(path) for path in FILES if any(name.partition(".")[0] == module for name, _ in imported(path))}
    assert users <= {owner}


def test_the_reference_takes_nothing_but_numpy_math_and_shapes():
    for path in (ROOT / "reference").glob("*.py"):
        for name, _ in imported(path):
            assert name in ("numpy", "math") or name.startswith(("tinynet.shapes.", "tinynet.reference.")), name


def test_the_reference_has_no_slices_and_no_array_arithmetic():
    """Loops, indexing one by one, and of NumPy only what makes an empty array or numbers its elements."""
    for path in (ROOT / "reference").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.name}, line {getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Subscript) and not ast.unparse(node).endswith((".shape[1:]", ".shape[2:]")):
                assert not any(isinstance(inner, ast.Slice) for inner in ast.walk(node.slice)), f"{where}: a slice"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np":
                assert node.attr in ("empty", "zeros", "ndindex", "min_scalar_type"), f"{where}: np.{node.attr}"


PICKLES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle(path):
    """A file from outside that is unpickled can do what it likes."""
    if path == ROOT / "parallel" / "communicator.py":  # what ranks of one program send is not from outside
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", "")}
            assert not names & PICKLES, f"{path.name}, line {node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert ast.unparse(node.value) == "False", f"{path.name}, line {node.value.lineno}: allow_pickle"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_public_functions_have_docstrings(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path.name} does not say what it is"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}, line {node.lineno}: {node.name} has no docstring"


WORDS = ["Paper", "Source", "Formula", "Args", "Returns", "Raises", "Memory", "Differs"]


@pytest.mark.parametrize("name", ALL_RUNGS)
def test_docstrings_of_ops_use_the_words_of_the_house_in_its_order(name):
    for function in tinynet.reference.__all__:
        text = inspect.getdoc(getattr(rung(name), function))
        assert text, f"{name}.{function} has no docstring"
        heads = [line.split()[0] for line in text.splitlines()[1:] if line and line[0] != " "]
        assert all(head in WORDS for head in heads), f"{name}.{function}: {heads}"
        assert heads == sorted(heads, key=WORDS.index), f"{name}.{function}: {heads}"


ALONE = """
import sys
def hook(event, arguments):
    if event.startswith(("socket.", "urllib", "http", "ftplib", "subprocess.")):
        raise SystemExit(f"{event} {arguments}")
sys.addaudithook(hook)
import tinynet, tinynet.reference, tinynet.ops
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"cupy", "torch", "matplotlib", "PIL", "tqdm"}, loaded
assert "tinynet.cuda" not in sys.modules
import tinynet.runs.report, tinynet.weights.finetuning, tinynet.parallel  # what train_alexnet.py imports
assert "matplotlib" not in sys.modules
"""


def test_import_is_quick_and_quiet():
    """No network, no process, no GPU library and no plotting, merely for `import tinynet` or to start to train."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent)}
    ran = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, env=environment, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_lines_fit_a_slide():
    """At most 100 columns in the library and the programs, Chinese characters counted as one."""
    files = [path for folder in (ROOT, ROOT.parent / "examples") for path in folder.rglob("*")
             if path.suffix in (".py", ".cu", ".h", ".cpp")]
    long = [f"{path.relative_to(ROOT.parent)}:{number}" for path in files
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if len(line) > 100]
    assert len(files) > 100 and not long
