"""The README does not drift: its Python runs as printed, and CI runs its test command."""

import pathlib
import re

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


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links and not [link for link in links if "://" not in link and not (ROOT / link).exists()]


def test_commands_are_one_line_each_and_ci_runs_the_second():
    train, test = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    assert train.count("\n") == test.count("\n") == 1
    assert "examples/train_alexnet.py" in train and test.rstrip().endswith("-m pytest")
    assert "grep -m 1 -- '-m pytest' README.md" in (ROOT / ".ci/run").read_text()
