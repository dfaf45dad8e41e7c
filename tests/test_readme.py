"""The README does not drift: its Python runs as printed, and CI runs its test command."""

import pathlib
import re
import textwrap

import pytest

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_runs_as_printed(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    names = {}
    for block in blocks:
        exec(block, names)
    printed = capsys.readouterr().out
    assert "60,965,224" in printed and printed.count("agrees") == 3 and "WRONG" not in printed


@pytest.mark.parametrize("page", ["README.md", "README.zh.md", "examples/README.md", "lessons/README.md",
                                  "lessons/measured/README.md"])
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    folder = (ROOT / page).parent
    assert links and not [link for link in links if "://" not in link and not (folder / link).exists()]


def test_the_loop_is_the_one_of_the_script():
    loop = re.search(r"```\n(for x, labels.*?)```", README, re.DOTALL)[1]
    script = (ROOT / "examples" / "train_alexnet.py").read_text(encoding="utf-8")
    assert textwrap.indent(loop, " " * 12) in script


def test_the_chinese_readme_has_the_same_commands():
    chinese = (ROOT / "README.zh.md").read_text(encoding="utf-8")
    for block in re.findall(r"```.*?```", README, re.DOTALL):
        assert block in chinese, block


def test_commands_are_one_line_each_and_ci_runs_the_second():
    train, test = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    assert train.count("\n") == test.count("\n") == 1
    assert "examples/train_alexnet.py" in train and test.rstrip().endswith("-m pytest")
    assert "grep -m 1 -- '-m pytest' README.md" in (ROOT / ".ci/run").read_text()
