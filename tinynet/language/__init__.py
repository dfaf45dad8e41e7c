"""What the library says to its reader, in another language: TINYNET_LANG=zh, or use("zh").

The code is written in English and knows nothing of other languages. Where a text is shown (the
words of a figure, the verdict on an exercise, an explanation, a table), translate() looks it up in
zh.po, in which

    msgid "sum of {0} products"
    msgstr "{0} 个乘积之和"

stands for the f-string of the code: {0}, {1} ... are what it puts in, and are looked up in their
turn. Mistakes of a user stay in English, as they are in the code, so that they can be searched for.

What a notebook prints is looked up line by line: use() gives the notebook a print() of its own, so
that the cells of a lesson are the same in every language, and a reader who runs them again sees
what was there. A line that lessons print and zh.po does not have fails a test.
"""

import functools
import os
import pathlib
import re
import sys

_HAN = re.compile("[\u4e00-\u9fff]")
_CELL = re.compile(r"(?:\[[^]]*\]|\S)+(?: (?:\[[^]]*\]|\S)+)*")  # an array is not divided
HERE = pathlib.Path(__file__).parent
FONT = HERE / "NotoSansSC-Subset.otf"  # the characters of all .po files; python -m tinynet.language
LANGUAGES = sorted(path.stem for path in HERE.glob("*.po"))


def use(language):
    """Say everything in a language from now on.

    Args     language: "zh"; "" for English
    Raises   ValueError where there is no such language; ImportError where Babel, which reads .po
             files, is not installed
    """
    global _exact, _patterns
    if language not in ("", *LANGUAGES):
        raise ValueError(f"there is no language {language!r}, but {', '.join(LANGUAGES)}")
    _exact = entries(language) if language else {}
    longest = sorted(_exact, key=lambda text: -len(re.sub(r"\{\d\}", "", text)))
    _patterns = [(_pattern(text), _exact[text]) for text in longest if "{0}" in text]
    _text.cache_clear()
    _line.cache_clear()
    if language and "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
        if shell:
            shell.user_ns["print"] = print_lines


@functools.cache
def entries(language):
    """Return what a .po file holds: {English: translation}, of which none is empty."""
    try:
        from babel.messages.pofile import read_po
    except ImportError:
        raise ImportError("needs Babel, which reads .po files: "
                          "pip install -e '.[lessons]'") from None
    with open(HERE / f"{language}.po", "rb") as file:
        return {each.id: each.string for each in read_po(file) if each.id and each.string}


def in_use():
    """Return whether a language other than English is in use."""
    return bool(_exact)


def translate(text):
    """Return the text in the language in use, or as it is where it has no translation."""
    return _text(text) if _exact else text


def pad(text, width):
    """Return a text filled with spaces to a width, at the left if that is < 0."""
    spaces = " " * (abs(width) - columns(text))
    return text + spaces if width > 0 else spaces + text


def columns(text):
    """Return the width of a text: Han characters and their punctuation are two columns wide."""
    return len(text) + sum(ord(letter) >= 0x2e80 for letter in text)


def print_lines(*values, sep=" ", **options):
    """Do what print() does, in the language in use."""
    text = (" " if sep is None else sep).join(map(str, values))
    print(translate_lines(text), **options)


def translate_lines(text):
    """Return a printed text, of which each line is translated cell by cell, or else as a whole.

    Between cells there are two spaces or more; they stay in their columns. Code is printed too: a
    line that has English words without a translation stays as it is.
    """
    return "\n".join(_line(line) or line for line in text.split("\n")) if _exact else text


@functools.lru_cache(maxsize=4096)
def _line(text):
    """Return the translation of a printed line, or of what was put into one; None without one."""
    body = text.strip()
    if body not in _exact and (_HAN.search(body) or _is_value(body)):
        return text
    cells = list(_CELL.finditer(text))
    said = [_line(cell[0]) for cell in cells] if len(cells) > 1 else [None]
    if None in said:
        said = _find(body, _line)
        return said and text[:text.index(body)] + said
    told = ""
    for cell, each in zip(cells, said):
        told += " " * max(cell.start() - columns(told), 2 if told else 0) + each
    return told


@functools.lru_cache(maxsize=4096)
def _text(text):
    """Return the translation of a text, or the text."""
    return _find(text, _text) or text


def _find(text, of_part):
    """Return what the table has for a text, or None; of_part translates what is put in."""
    if text in _exact:
        return _exact[text]
    if _HAN.search(text):  # it was translated before
        return text
    for pattern, said in _patterns:
        found = pattern.fullmatch(text)
        if found:
            parts = {name: of_part(part) for name, part in found.groupdict().items()}
            if None not in parts.values() and (
                    said.strip("{0123456789}[].:。 ") or parts != found.groupdict()):
                return re.sub(r"\{(\d)\}", lambda number, by=parts: by[f"_{number[1]}"], said)
    return None


def _is_value(text):
    """Return whether a text is a name, or numbers and signs."""
    words = re.findall(r"\b(?!d[a-z]\b|(?:nan|inf|True|False|None)\b)[A-Za-z_]{2,}\b", text)
    return not words and not re.match("[-+*/]?[=)]", text) or bool(
        re.fullmatch(r"[\w.-]+(\[[\d, :]*\])?", text))


def _pattern(text):
    """Return a pattern: each {0} of a text matches as little as possible of one sentence.

    A list or an array, in square brackets, is matched as a whole.
    """
    parts = re.split(r"\{(\d)\}", text)
    parts[::2] = map(re.escape, parts[::2])
    one = r"(?:\[[^]]*\]|\[(?![^]]*\])|(?!\. )[^[])+?"
    parts[1::2] = [f"(?P<_{number}>{one})" for number in parts[1::2]]
    return re.compile("".join(parts), re.DOTALL)


try:
    use(os.environ.get("TINYNET_LANG", ""))
except (ValueError, ImportError) as error:  # a mistake of the user, whatever the program is
    from tinynet import console
    if not console.started_rank():  # one rank speaks for all that mpiexec starts
        print(f"TINYNET_LANG={os.environ['TINYNET_LANG']}: {error}", file=sys.stderr)
    sys.exit(2)
