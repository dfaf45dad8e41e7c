"""Build the notebooks from the lessons' sources, or check that they still belong together.

    python lessons/build.py                     build and execute all: NN_topic.py -> NN_topic.ipynb
    python lessons/build.py 03                  only those whose names begin so
    python lessons/build.py zh/03               the same lesson in Chinese; zh: all lessons in Chinese
    python lessons/build.py --check             change nothing; fail where a notebook is not what its source gives
    python lessons/build.py --template zh/03    write what is not translated yet into zh/03_neurons.py, in English

How a lesson is written. NN_topic.py is a plain Python program in the percent format: `# %% [markdown]` begins text,
whose lines begin with `# `; `# %%` begins code. One idea a cell: a sentence or two that say what is asked, code that
answers it, an assert that holds the answer fast. Every number that the text claims is asserted here or in tests/. The
library's own source is shown with inspect.getsource, never copied. A figure for every idea, from tinynet.figures, as
the last line of its cell; look at each before you commit. No timings, no network, nothing drawn without a seed, under
90 seconds on a CPU. Two to four exercises at the end, each a stub and its check; solutions in solutions/NN_topic.py;
typical mistakes in tests/test_exercises.py. Terms of the Chinese notes are given in Chinese once, in brackets.

How a translation is written. zh/NN_topic.py has the text cells only; the notebook takes the code cells from the English
source. The head of a cell, `# %% [markdown] 1f2e3d4c`, ends with the digest of the English cell that it translates. When
that cell changes, --check names the cell as stale. Headings, formulas and links stay as they are in English, links too
when the notebook is one folder deeper: building moves them. Terms are those of zh/glossary.md.

What the code prints is Chinese too, though the cell above is the same: in a notebook, print() looks every line up in
tinynet/language/zh.po, as figures and verdicts do, and leaves code, names and numbers as they are. A new line
f"loss {x:.2f} at {n}" needs a msgid "loss {0} at {1}" there; building and --check name what has none. A notebook whose
words alone have changed is written from the outputs in English and zh.po, and nothing is executed.
"""

import argparse
import difflib
import functools
import hashlib
import itertools
import json
import math
import os
import pathlib
import re
import struct
import sys

LESSONS = pathlib.Path(__file__).resolve().parent
CHINESE = LESSONS / "zh"
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


def parts_of(source):
    """The cells of a source in percent format: [("[markdown]", text), ("", code), ...], each with what its head says."""
    for part in re.split(r"^# %%", source, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        if head.strip().startswith("[markdown]"):
            body = "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.strip("\n").split("\n"))
        yield head.strip(), body.strip("\n")


def cells_of(source):
    """The cells of a lesson: [("markdown" or "code", text), ...]."""
    return [("markdown" if head == "[markdown]" else "code", text) for head, text in parts_of(source)]


def notebook_of(cells):
    """The cells as a notebook that has not been executed. The same cells give the same bytes."""
    import nbformat.v4 as v4
    make = {"markdown": v4.new_markdown_cell, "code": v4.new_code_cell}
    cells = [make[kind](text, id=f"cell-{number:02}") for number, (kind, text) in enumerate(cells)]
    return v4.new_notebook(cells=cells, metadata=METADATA)


def execute(notebook, name, language=""):
    """Run a notebook from the top in a fresh kernel, on one thread, without pyplot and network. Raises LessonError."""
    import nbclient
    import nbformat
    path = os.pathsep.join([str(LESSONS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0",
                   "TINYNET_LANG": language}
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


# ---- lessons in Chinese --------------------------------------------------------------------------------------------

def digest(text):
    """Eight digits that change when the text does."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def pairs_of(english, chinese):
    """The text cells of both sources side by side, by their digests.

    Returns  [(number, English or None, digest or None, Chinese or None), ...], in the order of the lesson; number: of
             the English cell; None for the side that a cell is missing on. A cell whose digest is an old one is beside
             the English cell at its place
    """
    ours = [(number, text) for number, (kind, text) in enumerate(cells_of(english)) if kind == "markdown"]
    theirs = [(head.removeprefix("[markdown]").strip(), text) for head, text in parts_of(chinese)]
    matcher = difflib.SequenceMatcher(None, [digest(text) for _, text in ours], [old for old, _ in theirs], False)
    pairs = []
    for _, a, b, c, d in matcher.get_opcodes():
        pairs += [(*left, *right) for left, right in itertools.zip_longest(
            ours[a:b], theirs[c:d], fillvalue=(None, None))]
    return pairs


def first_words(text):
    return json.dumps(" ".join(text.split()[:6]), ensure_ascii=False)


def skeleton(text):
    """What a translation must keep: the levels of headings, the links, the formulas but for words in them."""
    return (re.findall(r"^#+(?= )", text, re.MULTILINE), sorted(re.findall(r"\]\(([^)\s]+)\)", text)),
            sorted(re.sub(r"\\text\{[^}]*\}|\s", "", each)
                   for each in re.findall(r"\$\$[^$]+\$\$|\$[^$]+\$", text)))


def broken_bold(text):
    """The first ** that Markdown would show as it is, with what is around it, or None.

    One that closes must not come after a space, nor between punctuation and a letter: **对：**错.
    """
    text = re.sub(r"`[^`]*`|\$[^$]+\$", "x", text)
    left = re.sub(r"\*\*(?=\S)(?:[^*]|\*(?!\*))+(?<=\S)\*\*(?:(?=\W|$)|(?<=\w\*\*))", "", text)
    found = re.search(r".{0,8}\*\*.{0,8}", left)
    return found and found[0]


def terms_of(glossary):
    """The rows of zh/glossary.md: [(Chinese, [other Chinese names], English), ...], long English terms first."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]*) \| ([^|]+) \|", glossary, re.MULTILINE)[1:]
    return sorted(((ours, [each for each in others.strip().split("、") if each], re.sub(r" \(.*", "", english))
                   for ours, others, english in rows), key=lambda row: -len(row[2]))


def wrong_terms(english, chinese, terms):
    """Where a translation does not use the glossary: a term that is not there, or another name outside brackets.

    English terms in italics are everyday words, which need not be translated by the term.
    """
    said = re.sub(r"`[^`]*`|\$[^$]*\$|\]\([^)]*\)", " ", english)
    rest = re.sub(r"`[^`]*`|（[^）]*）|\([^)]*\)", " ", chinese := joined(chinese))
    for ours, others, term in terms:
        said, count = re.subn(rf"(?<![\w-]){re.escape(term)}s?(?![\w-])", " ", said, flags=re.IGNORECASE)
        if count and not term.startswith("*") and not any(each in chinese for each in (ours, *others, term)):
            yield f"{term!r} is {ours} in the glossary"
    for ours, _, _ in sorted(terms, key=lambda row: -len(row[0])):
        rest = rest.replace(ours, " ")
    for ours, others, _ in terms:
        for other in others:
            if len(other) > 1 and not other.isascii() and other in rest:
                yield f"for {other} the glossary has {ours}"


def objections(english, chinese, terms=()):
    """What is wrong with a translation, a line for each cell: stale, missing, extra, not yet translated, altered."""
    for number, ours, old, theirs in pairs_of(english, chinese):
        if ours is None:
            yield f"extra: {first_words(theirs)} translates a cell ({old}) that the lesson does not have"
        elif theirs is None:
            yield f"missing: cell {number}, {first_words(ours)} ({digest(ours)})"
        elif old != digest(ours):
            yield f"stale: cell {number}, {first_words(ours)} is {digest(ours)} now, its translation is of {old or '?'}"
        elif theirs == ours:
            yield f"still in English: cell {number}, {first_words(ours)}"
        else:
            for what, before, after in zip(("headings", "links", "formulas"), skeleton(ours), skeleton(theirs)):
                if before != after:
                    yield f"other {what}: cell {number}, {first_words(ours)} has {before}, its translation {after}"
            if broken_bold(theirs):
                yield f"broken **: cell {number}, {first_words(ours)}: {broken_bold(theirs)}"
            for what in wrong_terms(ours, theirs, terms):
                yield f"other term: cell {number}, {first_words(ours)}: {what}"


def template(english, chinese):
    """The source of a translation with what it lacks put in, in English; what it has stays."""
    parts = []
    for _, ours, old, theirs in pairs_of(english, chinese):
        if ours is not None and (theirs is None or old != digest(ours)):
            parts.append((digest(ours), ours))
        if theirs is not None:
            parts.append((old, theirs))
    return "\n\n".join(f"# %% [markdown] {of}\n" + "\n".join(f"# {line}".rstrip() for line in text.split("\n"))
                       for of, text in parts) + "\n"


def moved(text):
    """A text with its links seen from one folder deeper; lessons, glossary and README have a sister there."""
    def move(link):
        stays = "://" in link[1] or re.match(r"#|\d\d_\w+\.ipynb|(glossary|README)\.md", link[1])
        return link[0] if stays else f"](../{link[1]})"
    return re.sub(r"\]\(([^)\s]+)\)", move, text)


def joined(text):
    """A text without the ends of lines between Han characters, which a browser would show as spaces."""
    han = "[\u2014\u201c\u201d\u2026\u3000-\u9fff\uff00-\uffef]"
    return re.sub(rf"(?<={han})\n *(?={han})", "", text)


def chinese_cells_of(english, chinese):
    """The cells of a lesson in Chinese: the code of the English one, the texts of the translation."""
    texts = iter([text for _, text in parts_of(chinese)])
    return [(kind, joined(moved(next(texts))) if kind == "markdown" else text) for kind, text in cells_of(english)]


def codes_of(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


EXPLAINED = re.compile(r"\w+\.\w+(\[.*?\])?: |.*: -?\d[\d.e+-]*(,   .*)?$")  # put together in explain's figures


def words_of(cell):
    """The words of a cell's figures, which a PNG file holds as text; explanations are tested where they are made."""
    import base64
    import io

    from PIL import Image
    words = []
    for output in cell["outputs"]:
        if "image/png" in output.get("data", {}):
            png = Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"])))
            words += png.text.get("Description", "").split(" | ")
    return [word for word in words if word and not EXPLAINED.match(word)]


BESIDE_CODE = '+- "'  # at the ends of a printed line of source: spaces, quotes, the signs of a comparison of two


@functools.cache
def lines_of_code():
    """The lines of all sources, which lessons print too."""
    folders = (LESSONS.parent / "tinynet", LESSONS.parent / "examples")
    return {line.strip(BESIDE_CODE) for folder in folders for path in folder.rglob("*.*")
            if path.suffix in (".py", ".cu", ".cpp") for line in path.read_text(encoding="utf-8").splitlines()}


def lines_of(cell, language_=""):
    """The lines that a cell prints, and the values that it shows, in a language, but for code."""
    from tinynet import language
    language.use(language_)
    lines = []
    for output in cell["outputs"]:
        if "image/png" not in output.get("data", {}):
            lines += [line.strip() for line in language.translate_lines(text_of(output)).splitlines()]
    language.use("")
    return [line for line in lines if line.strip(BESIDE_CODE) not in lines_of_code()]


def in_chinese(words):
    """What zh.po makes of words of figures."""
    from tinynet import language
    language.use("zh")
    said = [language.translate(word) for word in words]
    language.use("")
    return said


def in_english(words):
    """The words, from three letters, that are English and in no translation, as names such as ReLU are."""
    from tinynet import language
    known = set(re.findall(r"[A-Za-z]+", " ".join(language.entries("zh").values())))
    return [word for word in words
            if set(re.findall(r"[A-Za-z]{3,}", re.sub(r"\$[^$]*\$|\S*[\d_=]\S*", " ", word))) - known]


def refuse_english(words, name):
    missing = in_english(words)
    if missing:
        raise LessonError(f"{name}: tinynet/language/zh.po has no translation of {' | '.join(missing)}")


def translation_difference(english, chinese):
    """The first thing in which code and outputs of two notebooks differ by more than their language, or None."""
    if ["".join(cell["source"]) for cell in codes_of(english)] != ["".join(cell["source"]) for cell in codes_of(chinese)]:
        return "its code is not that of the English notebook"
    for one, other in zip(codes_of(english), codes_of(chinese)):
        said, says = ([sorted(map(float, NUMBER.findall(text_of(output)))) for output in cell["outputs"]]
                      for cell in (one, other))
        if list(map(len, said)) != list(map(len, says)) or not all(
                math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-6) for a, b in zip(sum(said, []), sum(says, []))):
            return f"{one['id']} has the numbers {said} in English, {says} in Chinese"
        words = words_of(other)
        missing = in_english(words) or set(in_chinese(words_of(one))) - set(words)
        if missing:
            return f"the figure of {one['id']} says or lacks {' | '.join(sorted(missing))}"
    return None


def untold(english, chinese):
    """The lines of outputs that are English or, by zh.po and the outputs in English, should be there."""
    there = lines_of(chinese)
    return in_english(there) or [line for line in lines_of(english, "zh")
                                 if not any(map(alike, itertools.repeat(line), there))]


def told(english, chinese):
    """The outputs of a cell in Chinese: those that are there, but what is untold as print() would say it now."""
    from tinynet import language
    for one, other in zip(english["outputs"], chinese["outputs"]):
        if untold({"outputs": [one]}, {"outputs": [other]}):
            language.use("zh")
            text = language.translate_lines(text_of(one))
            language.use("")
            other = {**one, "data": {"text/plain": text}} if "data" in one else {**one, "text": text}
        yield other


def build_chinese(source, check):
    """One lesson in Chinese. Outputs that are those of the English notebook are kept, so that nothing runs twice."""
    name, target, original = f"zh/{source.name}", source.with_suffix(".ipynb"), LESSONS / source.name
    if not original.exists():
        raise LessonError(f"{name}: there is no such lesson in English")
    english, chinese = (path.read_text(encoding="utf-8") for path in (original, source))
    wrong = list(objections(english, chinese, terms_of((CHINESE / "glossary.md").read_text(encoding="utf-8"))))
    if wrong:
        raise LessonError("\n".join(f"{name}: {each}" for each in wrong))
    cells = chinese_cells_of(english, chinese)
    there = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {"cells": []}
    original = json.loads(original.with_suffix(".ipynb").read_text(encoding="utf-8"))
    wrong = translation_difference(original, there)
    if check:
        if not wrong:
            wrong = " | ".join(sum(map(untold, codes_of(original), codes_of(there)), []))
            wrong = wrong and f"it says or lacks {wrong}"
        if wrong or [(cell["cell_type"], "".join(cell["source"])) for cell in there["cells"]] != cells:
            raise LessonError(f"zh/{target.name}: {wrong or 'its text is not that of the source'}; "
                              f"python lessons/build.py zh/{source.stem[:2]}")
        return
    fresh = notebook_of(cells)
    if wrong:
        fresh = execute(fresh, name, "zh")
    else:
        for cell, one, old in zip(codes_of(fresh), codes_of(original), codes_of(there)):
            cell.update(outputs=list(told(one, old)), execution_count=old["execution_count"])
    target.write_text(to_text(fresh), encoding="utf-8")
    refuse_english([line for cell in codes_of(fresh) for line in lines_of(cell)], target.name)


# ---- the command line ----------------------------------------------------------------------------------------------

def build(source, check):
    """One lesson: write its notebook, or with check raise LessonError if the one that is there is another."""
    if source.parent == CHINESE:
        return build_chinese(source, check)
    target = source.with_suffix(".ipynb")
    if check and not target.exists():
        raise LessonError(f"{target.name}: there is none; python lessons/build.py {source.stem[:2]}")
    fresh = execute(notebook_of(cells_of(source.read_text(encoding="utf-8"))), source.name)
    if not check:
        target.write_text(to_text(fresh), encoding="utf-8")
        return
    words = in_chinese([word for cell in codes_of(fresh) for word in words_of(cell)])
    refuse_english(words + [line for cell in codes_of(fresh) for line in lines_of(cell, "zh")], target.name)
    wrong = difference(json.loads(target.read_text(encoding="utf-8")), fresh)
    if wrong:
        raise LessonError(f"{target.name}: {wrong}; python lessons/build.py {source.stem[:2]}")


def sources(prefix=""):
    """The lessons, in their order, the English ones first; of a prefix such as 03 only the English ones."""
    lessons = [*sorted(LESSONS.glob("[0-9][0-9]_*.py")), *sorted(CHINESE.glob("[0-9][0-9]_*.py"))]
    return [path for path in lessons if str(path.relative_to(LESSONS)).startswith(prefix)]


def write_template(prefix):
    """Add to a translation the cells that it lacks, in English; begin it if there is none."""
    for original in sources(prefix.removeprefix("zh").removeprefix("/")):
        if original.parent == CHINESE:
            continue
        path = CHINESE / original.name
        chinese = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(template(original.read_text(encoding="utf-8"), chinese), encoding="utf-8")
        print(f"zh/{path.name}: to be translated")


def main():
    parser = argparse.ArgumentParser(description="Build the notebooks of the lessons.")
    parser.add_argument("lesson", nargs="?", default="", help="the beginning of a name, such as 03 or zh/03; all without")
    parser.add_argument("--check", action="store_true", help="compare with the notebooks that are there")
    parser.add_argument("--template", action="store_true", help="add untranslated cells to zh/03, in English")
    options = parser.parse_args()
    chosen = sources(options.lesson)
    try:
        if options.template:
            return write_template(options.lesson)
        if not chosen:
            raise LessonError(f"no lesson begins with {options.lesson!r}; there are "
                              f"{', '.join(str(path.relative_to(LESSONS).with_suffix('')) for path in sources())}")
        for source in chosen:
            build(source, options.check)
            name = source.relative_to(LESSONS).with_suffix("")
            print(f"{name}: {'as it should be' if options.check else 'built'}", flush=True)
    except ImportError as error:
        parser.exit(2, f"build.py: {error}; install what builds lessons: pip install -e '.[lessons]'\n")
    except LessonError as error:
        parser.exit(2, f"build.py: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
