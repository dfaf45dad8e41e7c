"""Lessons in Chinese: each text cell translates the English cell that is there now, and the outputs are the same."""

import json
import re

import pytest
from test_lessons import SOURCES, build

TRANSLATIONS = [source for source in build.sources() if source.parent == build.CHINESE]
every_translation = pytest.mark.parametrize("source", TRANSLATIONS, ids=lambda source: source.stem)


def test_every_lesson_is_translated():
    assert [source.name for source in TRANSLATIONS] == [source.name for source in SOURCES]
    assert {path.stem for path in build.CHINESE.glob("*.ipynb")} == {source.stem for source in SOURCES}


@every_translation
def test_every_cell_is_translated_and_the_notebook_is_built(source):
    """Nothing is executed: the outputs are compared with those of the English notebook, which are executed once."""
    build.build(source, check=True)


@pytest.mark.parametrize("source", [*TRANSLATIONS, *build.CHINESE.glob("*.md")], ids=lambda source: source.name)
def test_every_link_leads_somewhere(source):
    text = source.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", build.moved(text) if source.suffix == ".py" else text):
        if "://" not in link:
            path, _, anchor = link.partition("#")
            assert not path or (build.CHINESE / path).exists(), link
            assert not anchor, f"{link}: a heading has another name in Chinese"


# ---- what the builder says of a translation ------------------------------------------------------------------------

ENGLISH = """# %% [markdown]
# # A title
#
# Text, [02](02_pictures.ipynb), $x$.

# %%
x = 1

# %% [markdown]
# More text.
"""
OF_TITLE, OF_MORE = (build.digest(text) for kind, text in build.cells_of(ENGLISH) if kind == "markdown")
CHINESE = f"""# %% [markdown] {OF_TITLE}
# # 标题
#
# 文字，[02](02_pictures.ipynb)，$x$。

# %% [markdown] {OF_MORE}
# 更多文字。
"""


def test_a_translation_that_is_in_step_has_the_code_of_the_lesson():
    assert list(build.objections(ENGLISH, CHINESE)) == []
    assert build.chinese_cells_of(ENGLISH, CHINESE) == [
        ("markdown", "# 标题\n\n文字，[02](02_pictures.ipynb)，$x$。"), ("code", "x = 1"), ("markdown", "更多文字。")]


@pytest.mark.parametrize("english, chinese, says", [
    (ENGLISH.replace("More", "Much more"), CHINESE,
     f'stale: cell 2, "Much more text." is {build.digest("Much more text.")} now, its translation is of {OF_MORE}'),
    (ENGLISH, CHINESE.split("\n\n")[0], f'missing: cell 2, "More text." ({OF_MORE})'),
    (ENGLISH, CHINESE + "\n# %% [markdown] 01234567\n# 再来一段。\n",
     'extra: "再来一段。" translates a cell (01234567) that the lesson does not have'),
    (ENGLISH, CHINESE.replace("更多文字。", "More text."), 'still in English: cell 2, "More text."'),
    (ENGLISH, CHINESE.replace("# # ", "# ## "), "other headings: cell 0, "),
    (ENGLISH, CHINESE.replace("02_", "03_"), "other links: cell 0, "),
    (ENGLISH, CHINESE.replace("$x$", "x"), "other formulas: cell 0, "),
    (ENGLISH, CHINESE.replace("更多", "**更：\n# ** 多"), "broken **: cell 2, "),
    (ENGLISH, CHINESE.replace("更多", "**更：**多"), "broken **: cell 2, "),
    (ENGLISH.replace("More", "Strides"), CHINESE.replace(OF_MORE, build.digest("Strides text.")),
     """other term: cell 2, "Strides text.": 'stride' is 步长 in the glossary"""),
    (ENGLISH, CHINESE.replace("更多", "更多步幅"), 'other term: cell 2, "More text.": for 步幅 the glossary has 步长'),
])
def test_what_is_wrong_with_a_translation_is_named(english, chinese, says):
    found = list(build.objections(english, chinese, [("步长", ["步幅"], "stride")]))
    assert len(found) == 1 and found[0].startswith(says)


def test_a_template_has_what_is_missing_and_keeps_what_is_there():
    changed = ENGLISH.replace("More", "Much more")
    whole = build.template(changed, "")
    assert whole.count("# %% [markdown] ") == 2 and "# Much more text.\n" in whole
    both = build.template(changed, CHINESE)
    assert [text for _, text in build.parts_of(both)][1:] == ["Much more text.", "更多文字。"]
    assert build.template(ENGLISH, CHINESE) == CHINESE


def test_lines_are_joined_between_han_characters():
    assert build.joined("一行，\n两行\nconv1\n三行。\n\n- 一项\n  还是它\n- 另一项") == (
        "一行，两行\nconv1\n三行。\n\n- 一项还是它\n- 另一项")


def test_what_markdown_takes_for_bold():
    for good in ("**猜：** 多少", "**深度**能", "（**a**）", "**两\n行**。", "a **b**, c"):
        assert not build.broken_bold(good), good
    for bad in ("**猜：**多少", "**猜：\n** 多少", "** 猜**", "**猜"):
        assert build.broken_bold(bad), bad


def test_links_are_moved_one_folder_down():
    text = "[a](02_x.ipynb) [b](glossary.md) [c](../tinynet/ops/conv.py) [d](microscope.html) [e](https://x.org/a)"
    assert build.moved(text) == ("[a](02_x.ipynb) [b](glossary.md) [c](../../tinynet/ops/conv.py) "
                                 "[d](../microscope.html) [e](https://x.org/a)")


def printed(text):
    return {"outputs": [{"output_type": "stream", "name": "stdout", "text": text}], "id": "cell-01"}


@pytest.mark.parametrize("english, chinese, missing", [
    ("loss 0.5\n", "损失 0.5\n", []),
    ("loss 0.5\n", "损失   0.5000001\n", []),
    ("loss 0.5\n", "loss 0.5\n", ["loss 0.5"]),
    ("loss 0.5\n", "损失：0.5\n", ["损失 0.5"]),  # another translation than that of zh.po
    ("a new sentence\n", "a new sentence\n", ["a new sentence"]),
    ("    return x\n", "    return x\n", []),  # code
    ("(3, 67) uint8\n", "(3, 67) uint8\n", []),
])
def test_a_printed_line_without_its_translation_is_named(english, chinese, missing):
    assert build.untold(printed(english), printed(chinese)) == missing


def test_a_printed_line_is_translated_without_executing_it():
    assert list(build.told(printed("loss 0.5\n"), printed("损失：0.5\n"))) == printed("损失 0.5\n")["outputs"]
    kept = printed("损失  0.5\n")
    assert list(build.told(printed("loss 0.5\n"), kept)) == kept["outputs"]


def test_english_in_a_notebook_is_refused():
    build.refuse_english(["损失 0.5", "tanh, 0.5"], "x.ipynb")
    with pytest.raises(build.LessonError, match="^x.ipynb: tinynet/language/zh.po has no translation of no such line$"):
        build.refuse_english(["no such line"], "x.ipynb")


@every_translation
def test_code_that_a_lesson_prints_stays_as_it_is(source):
    """Where it looks like a sentence of zh.po, print() would translate it in a notebook."""
    from tinynet import language
    cells = json.loads((build.LESSONS / source.with_suffix(".ipynb").name).read_text(encoding="utf-8"))["cells"]
    lines = {line for cell in cells for output in cell.get("outputs", []) for line in build.text_of(output).split("\n")
             if line.strip(build.BESIDE_CODE) in build.lines_of_code()}
    language.use("zh")
    said = {line: language.translate_lines(line) for line in lines}
    language.use("")
    assert [line for line in lines if said[line].rstrip() != line.rstrip()] == []


def test_outputs_are_compared_by_their_numbers():
    def notebook(says, code="f()"):
        return {"cells": [{"cell_type": "markdown", "source": says},
                          {"cell_type": "code", "source": code, "id": "cell-01", "outputs": [{"text": says}]}]}
    assert build.translation_difference(notebook("3 of 4"), notebook("4 个中的 3 个")) is None
    assert "numbers" in build.translation_difference(notebook("3 of 4"), notebook("4 个中的 2 个"))
    assert "numbers" in build.translation_difference(notebook("3 of 4"), notebook("4 个"))
    assert "code" in build.translation_difference(notebook("3"), notebook("3", "g()"))


def test_the_glossary_is_in_the_order_of_its_syllables():
    from pypinyin import Style, lazy_pinyin
    text = (build.CHINESE / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)[1:]
    syllables = [[(each.lower().rstrip("12345") or each, each)
                  for each in lazy_pinyin(term, style=Style.TONE3, neutral_tone_with_five=True)] for term in terms]
    assert len(terms) >= 150 and syllables == sorted(syllables)
