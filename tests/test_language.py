"""Other languages: every sentence of the rooms that speak to a reader is translated, and every figure can show it."""

import ast
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from test_house import ROOT

import tinynet
from tinynet import figures, language
from tinynet.exercises import check_relu_gradient, kernels
from tinynet.figures.words import words_of

NOT_SHOWN = {  # texts of these rooms that no reader sees in a figure, a verdict or an explanation
    "axes fraction", "offset points", "Glyph .* missing from", "python -m tinynet.figures", "the folder of a run",
    "past the end of the array", "past the end of", "before the start of", "shared memory that another thread",
    "shared memory that nobody wrote", "which another thread", "threads of its block ended",
    "another thread at that of line", "which is const", "is still running", "const float* x, float* y, int n",
    "const float* x, float* cols, int H, int W, int K", "const float* a, const float* b, float* c, int M, int N, int K",
    "Trace: {0} of {1} steps done", "{0} {1} {2}   not reached yet", " in line {0}",
    "the network",
}
KNOWN = language.entries("zh")
ROOMS = [path for room in ("exercises", "figures", "trace") for path in sorted((ROOT / room).glob("*.py"))]


@pytest.fixture
def chinese():
    language.use("zh")
    yield
    language.use("")


def sentences(path):
    """(line, text) of every text with two words in a row that is no docstring, and not in a raise statement.

    What an f-string puts in is {0}, {1} ..., as in a .po file.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    out_of_it = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise):
            out_of_it.update(map(id, ast.walk(node)))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            out_of_it.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            out_of_it.update(map(id, node.values))
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, ast.JoinedStr):
            for part in node.values:
                count = len(re.findall(r"\{\d\}", text))
                text += part.value if isinstance(part, ast.Constant) else f"{{{count}}}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        words = re.search(r"[a-z]+ [a-z]+", re.sub(r"\$.*\$", "", text))
        if words and id(node) not in out_of_it and text not in NOT_SHOWN:
            yield node.lineno, text


def test_texts_of_a_file(tmp_path):
    path = tmp_path / "file.py"
    path.write_text('"""A doc string."""\nx = f"sum of {n:,} numbers" + "two words"\nraise ValueError("not this")\n')
    assert list(sentences(path)) == [(2, "sum of {0} numbers"), (2, "two words")]


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_sentence_has_a_translation(path):
    for line, text in sentences(path):
        assert text in KNOWN, f"{path.name}, line {line}: {text!r} is not in tinynet/language/zh.po"


@pytest.mark.parametrize("code", language.LANGUAGES)
def test_a_translation_puts_in_what_its_text_has(code):
    for text, said in language.entries(code).items():
        assert set(re.findall(r"\{\d\}", said)) <= set(re.findall(r"\{\d\}", text)), text


def test_the_font_has_every_character_of_the_translations():
    from fontTools.ttLib import TTFont

    from tinynet.language.__main__ import characters
    missing = set(characters()) - set(map(chr, TTFont(language.FONT).getBestCmap()))
    assert not missing, f"python -m tinynet.language makes the font again; it lacks {''.join(sorted(missing))}"
    assert language.FONT.stat().st_size < 300_000


def test_texts_are_found_by_what_stays_the_same(chinese):
    assert language.translate("product") == "乘积"
    assert language.translate("sum of 363 products") == "363 个乘积之和"
    assert language.translate("kernel 2 over channels 0 to 2, row 4, columns 5 to 6 of x[0]") == (
        "卷积核 2 盖在 x[0] 的通道 0 至 2、行 4、列 5 至 6 上")  # what is put in is translated too
    assert language.translate("no such text") == "no such text"
    twice = language.translate(language.translate("0 ... 255, literally"))
    assert twice == language.translate("0 ... 255, literally") == "0 ... 255，照字面"


def test_han_characters_are_two_columns_wide():
    assert [language.pad(text, width) for text, width in (("abc", 6), ("乘积", 6), ("乘积", -6), ("（a）", 3))] == [
        "abc   ", "乘积  ", "  乘积", "（a）"]


@pytest.mark.parametrize("text, said", [
    ("convolution              34,848 weights", "卷积                     34,848 个权重"),  # in columns
    ("  1600 known pictures: 70 % wrong\n", "  已知 1600 张图片：70 % 分错\n"),
    ("middle:    [0.5   0.866]", "中间：     [0.5   0.866]"),  # an array is not divided
    ("[-50. 100.]", "[-50. 100.]"),
    ("lrn.y[0, 3]: the unit is kept, its mask is 1", "lrn.y[0, 3]: 这个单元被保留，掩码是 1"),
    ("one unit      34,848 weights", "one unit      34,848 weights"),  # not half a line
    ('saves = ("y",)', 'saves = ("y",)'),
    ("class ReLU(Layer):", "class ReLU(Layer):"),
])
def test_printed_lines_speak_chinese_and_code_stays(chinese, text, said):
    assert language.translate_lines(text) == said == language.translate_lines(said)


def test_a_notebook_has_its_own_print(tmp_path):
    """In IPython, where the environment or use() chose a language; elsewhere print() is Python's."""
    code = ("from IPython.core.interactiveshell import InteractiveShell; shell = InteractiveShell.instance();"
            "shell.run_cell('import tinynet\\nprint(\"loss\", 0.5, sep=\" \")\\nprint(1, 2, sep=None)');"
            "print('loss 0.5')")
    for chosen, says in (("zh", "损失 0.5"), ("", "loss 0.5")):
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
                             env={**os.environ, "TINYNET_LANG": chosen, "IPYTHONDIR": str(tmp_path),
                                  "PYTHONPATH": str(ROOT.parent), "PYTHONIOENCODING": "utf-8"})
        assert ran.stdout.split("\n") == [says, "1 2", "loss 0.5", ""], ran.stderr


def test_the_table_of_a_network_speaks_chinese(chinese):
    net = tinynet.AlexNet("caffe", num_classes=10, rng=np.random.default_rng(0), image_size=67)
    table = str(net.summary()).split("\n")
    assert table[0].split() == ["层", "类型", "输出", "参数", "乘加", "激活值"] and table[-1].startswith("合计 ")
    assert {language.columns(line) for line in table} == {len(table[2])}


def test_english_is_as_it_is_in_the_code():
    assert not language.in_use() and language.translate("product") == "product"
    assert language.translate_lines("loss 0.5") == "loss 0.5"


def test_a_language_that_does_not_exist_gets_a_line():
    with pytest.raises(ValueError, match="^there is no language 'xx', but zh$"):
        language.use("xx")


@pytest.mark.parametrize("chosen, line", [("xx", "there is no language 'xx', but zh"),
                                          ("zh", "needs Babel, which reads .po files: pip install -e '.[lessons]'")])
def test_the_environment_gets_a_line_and_code_2(tmp_path, chosen, line):
    (tmp_path / "babel.py").write_text("raise ImportError('not here')")
    ran = subprocess.run([sys.executable, "-c", "import tinynet"], capture_output=True, text=True, timeout=60,
                         env={**os.environ, "TINYNET_LANG": chosen, "PYTHONPATH": f"{tmp_path}:{ROOT}"})
    assert (ran.returncode, ran.stderr) == (2, f"TINYNET_LANG={chosen}: {line}\n")


def test_of_ranks_that_mpiexec_starts_one_speaks():
    said = [subprocess.run([sys.executable, "-c", "import tinynet"], capture_output=True, text=True, timeout=60,
                           env={**os.environ, "TINYNET_LANG": "xx", "PMI_RANK": rank}) for rank in "01"]
    assert [ran.returncode for ran in said] == [2, 2]
    assert [ran.stderr for ran in said] == ["TINYNET_LANG=xx: there is no language 'xx', but zh\n", ""]


def test_the_environment_chooses_and_english_imports_nothing():
    for chosen, says in (("", "product False"), ("zh", "乘积 True")):
        code = ("import sys; from tinynet import language, trace, exercises, figures;"
                "print(language.translate('product'), 'babel' in sys.modules)")
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
                             env={**os.environ, "TINYNET_LANG": chosen, "PYTHONIOENCODING": "utf-8"})
        assert ran.stdout.strip() == says, ran.stderr


def test_a_figure_speaks_chinese(chinese, recwarn):
    figure = figures.draw_bars({"error (%)": {"guessing": 90, "CIFAR-10, training": 1}}, unit=" %")
    figure.draw_without_rendering()
    assert words_of(figure) == ["guessing", "CIFAR-10, training", "error (%)"]
    figure._repr_png_()
    assert words_of(figure) == ["乱猜", "CIFAR-10 训练集", "错误率（%）"]
    figure._repr_png_()  # again: nothing is lost
    assert words_of(figure) == ["乱猜", "CIFAR-10 训练集", "错误率（%）"] and not recwarn.list  # no glyph is missing


def test_a_figure_in_english_stays_as_it_is(tmp_path):
    from PIL import Image
    figure = figures.draw_lines({"a photo": {"loss": np.arange(3.0)}}, "step", path=tmp_path / "a.png")
    assert words_of(figure) == ["step", "a photo"]
    (tmp_path / "b.png").write_bytes(figure._repr_png_())
    assert Image.open(tmp_path / "b.png").text == {"Description": "step | a photo"}


def test_verdicts_speak_chinese(chinese):
    assert repr(check_relu_gradient(lambda x, dy: np.where(x > 0, dy, 0))).startswith("对了：")
    assert repr(check_relu_gradient(lambda x, dy: None)).startswith("还没有完成：你的函数什么也没有返回。")
    said = repr(check_relu_gradient(lambda x, dy: dy * x))
    assert said.startswith("还不对：") and not re.search(r"[a-z]+ [a-z]+ [a-z]+", said)


def test_a_verdict_has_its_message_in_english_too(chinese):
    answer = check_relu_gradient(lambda x, dy: 0)
    assert answer.message.startswith("Not yet: the result has shape (), it should have (4,).\n(Case: ")
    assert answer.shown.startswith("还不对：结果的形状是 ()，应当是 (4,)。\n（例子：")


def test_what_the_emulator_says_of_a_kernel_is_chinese(chinese):
    kernel = kernels._Case("n = 100", 2, (64,), [np.full(1, np.nan)], np.zeros(1))
    said = kernels._explained("relu: block 1, thread 44 reads x[108], past the end of x, which has 100 elements")
    assert repr(kernels._wrong(said, kernel)) == (
        "还不对：线程块 1 的线程 44 读 x[108]，超出了 x 的末尾，它有 100 个元素。最后一个线程块里的线程比要做的事多："
        "先把下标和大小比一比。\n（例子：n = 100，2 个线程块，每块 64 个线程）")
