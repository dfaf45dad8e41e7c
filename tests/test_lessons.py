"""Lessons: the notebook is what its source gives, every lesson runs from top to bottom, every link leads somewhere."""

import importlib.util
import json
import pathlib
import re
import subprocess
import sys

import pytest
from conftest import skip_unless_required

ROOT = pathlib.Path(__file__).parents[1]
LESSONS = ROOT / "lessons"
spec = importlib.util.spec_from_file_location("build", LESSONS / "build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)
SOURCES = [source for source in build.sources() if source.parent == LESSONS]
every_lesson = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)


def notebook(source):
    return json.loads(source.with_suffix(".ipynb").read_text(encoding="utf-8"))


def test_there_are_lessons_and_no_other_notebooks():
    assert SOURCES
    assert {path.stem for path in LESSONS.glob("*.ipynb")} == {path.stem for path in SOURCES}


@every_lesson
def test_the_notebook_has_the_cells_of_its_source(source):
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook(source)["cells"]]
    assert cells == build.cells_of(source.read_text(encoding="utf-8"))


@every_lesson
def test_the_notebook_was_run_from_the_top_without_a_fault(source):
    code = [cell for cell in notebook(source)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for output in (output for cell in code for output in cell["outputs"]):
        assert output["output_type"] != "error" and output.get("name") != "stderr"
    assert sum("image/png" in output.get("data", {}) for cell in code for output in cell["outputs"]) >= 3


@every_lesson
def test_no_notebook_is_larger_than_a_megabyte(source):
    assert source.with_suffix(".ipynb").stat().st_size < 1_000_000


@pytest.fixture(scope="module")
def kernel():
    """What runs notebooks. TINYNET_REQUIRE_LESSONS=1 turns the skip into a failure."""
    try:
        import ipykernel  # noqa: F401
        import nbclient  # noqa: F401
    except ImportError as error:
        skip_unless_required("TINYNET_REQUIRE_LESSONS", f"what runs notebooks is missing ({error}); install it with: "
                                                        "pip install -e '.[lessons]'")


@every_lesson
def test_every_lesson_runs_and_gives_the_outputs_that_are_committed(source, kernel):
    """This is the only time that CI executes a lesson: its asserts hold, and nothing comes from the network."""
    build.build(source, check=True)


def pages():
    """(name, Markdown) of every lesson and of the lessons' README."""
    for source in SOURCES:
        yield source.name, "\n".join(text for kind, text in build.cells_of(source.read_text(encoding="utf-8"))
                                     if kind == "markdown")
    for path in LESSONS.glob("*.md"):
        yield path.name, path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name, text", [pytest.param(*page, id=page[0]) for page in pages()])
def test_every_link_leads_somewhere(name, text):
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in link:
            path, _, anchor = link.partition("#")
            target = LESSONS / path if path else LESSONS / name
            assert target.exists(), f"{name}: {link}"
            if anchor:
                there = target.read_text(encoding="utf-8")
                heads = re.findall(r"^(?:# )?#+ (.*)$", there, re.MULTILINE)
                anchors = {re.sub(r"[^\w\- ]", "", head).lower().replace(" ", "-") for head in heads}
                assert anchor in anchors, f"{name}: {link}"


@pytest.mark.parametrize("path", [LESSONS / "README.md", build.CHINESE / "README.md"], ids=["English", "Chinese"])
def test_the_path_has_every_lesson(path):
    links = re.findall(r"\((\d\d_\w+)\.ipynb\)", path.read_text(encoding="utf-8"))
    assert links == [source.stem for source in SOURCES]


def glossary():
    """[(English, Chinese), ...], as glossary.md has them; other Chinese names are in brackets."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", (LESSONS / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    return rows[1:]


def test_the_glossary_is_the_same_both_ways():
    english = glossary()
    assert len(dict(english)) == len(english) >= 150
    chinese = (build.CHINESE / "glossary.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| ([^|]*) \| ([^|]+) \|", chinese, re.MULTILINE)[1:]
    assert {(term.strip("*"), f"{ours} ({', '.join(others.split('、'))})".replace(" ()", ""))
            for ours, others, term in rows} == set(english)
    assert [first for first, _ in english] == sorted((first for first, _ in english), key=str.lower)


def test_the_glossary_has_the_terms_of_the_lessons():
    """Whatever a lesson gives in Chinese, and the layers."""
    terms = " ".join(f"{english} {chinese}" for english, chinese in glossary())
    for source in SOURCES:
        for term in re.findall(r"\(([\u4e00-\u9fff ]+)[,)]", source.read_text(encoding="utf-8")):
            assert term in terms or term == "怎样阅读", f"{source.name}: {term}"
    for layer in ("convolution", "max-pooling", "local response", "within-map", "ReLU", "leaky", "tanh", "sigmoid",
                  "flatten", "fully connected", "dropout", "softmax", "cross-entropy", "momentum", "weight decay"):
        assert layer in terms


@every_lesson
def test_a_lesson_shows_source_and_checks_itself(source):
    text = source.read_text(encoding="utf-8")
    assert text.count("\nassert ") >= 5
    assert not re.search(r"\bimport (time|timeit)\b|perf_counter|%time", text)
    assert (LESSONS / "solutions" / source.name).exists() == bool(re.search(r"^\w+\.check_\w+\(", text, re.MULTILINE))


# ---- the builder itself --------------------------------------------------------------------------------------------

SOURCE = """# %% [markdown]
# # A title
#
# Text, **bold**.

# %%
x = 1
print(x / 3)

# %% [markdown]
# More.
"""


def test_cells_of_a_source():
    assert build.cells_of(SOURCE) == [("markdown", "# A title\n\nText, **bold**."), ("code", "x = 1\nprint(x / 3)"),
                                      ("markdown", "More.")]


def executed(said="0.33333333\n", source=SOURCE):
    cells = [{"cell_type": kind, "source": text, **({"outputs": [{"text": said}]} if kind == "code" else {})}
             for kind, text in build.cells_of(source)]
    return {"cells": cells}


def test_what_counts_as_a_difference():
    assert build.difference(executed(), executed()) is None
    assert build.difference(executed(), executed("0.33333334\n")) is None
    assert build.difference(executed(), executed("0.34\n")) == "cell 1 gave ['0.33333333\\n'], it gives ['0.34\\n']"
    assert build.difference(executed(), executed("0.33333333 more\n"))
    assert build.difference(executed(), executed(source=SOURCE.replace("More", "Less"))) == (
        "its cells are not those of the source")
    assert build.alike("1e-7  a", "2e-7 a") and not build.alike("1e-3 a", "2e-3 a")
    assert not build.alike("within 5", "within -5")


@pytest.mark.parametrize("line", ["urllib.request.urlopen('http://127.0.0.1:9')",
                                  "socket.create_connection(('127.0.0.1', 9))"])
def test_a_lesson_that_uses_the_network_is_refused(line, kernel):
    lesson = f"# %%\nimport socket\nimport urllib.request\n{line}"
    with pytest.raises(build.LessonError, match="RuntimeError: a lesson must not use the network: "):
        build.execute(build.notebook_of(build.cells_of(lesson)), "99_online.py")


def test_a_lesson_that_is_not_there_gets_a_line():
    ran = subprocess.run([sys.executable, LESSONS / "build.py", "99"], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2 and ran.stderr.startswith("build.py: no lesson begins with '99'; there are ")
    assert ran.stderr.count("\n") == 1
