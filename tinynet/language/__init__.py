"""What the library says to its reader, in another language: TINYNET_LANG=zh, or use("zh").

The code is written in English and knows nothing of other languages. Where a text is shown (the
words of a figure, the verdict on an exercise, an explanation), translate() looks it up in zh.po,
in which

    msgid "sum of {0} products"
    msgstr "{0} 个乘积之和"

stands for the f-string of the code: {0}, {1} ... are what it puts in, and are looked up in their
turn. Mistakes of a user stay in English, as they are in the code, so that they can be searched for.
"""

import functools
import os
import pathlib
import re
import sys

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
    _find.cache_clear()


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
    return _find(text) if _exact else text


def pad(text, width):
    """Return the translation of a text, filled with spaces to a width, at the left if that is < 0.

    Han characters and their punctuation are two columns wide.
    """
    text = translate(text)
    spaces = " " * (abs(width) - len(text) - sum(ord(letter) >= 0x2e80 for letter in text))
    return text + spaces if width > 0 else spaces + text


@functools.lru_cache(maxsize=4096)
def _find(text):
    if text in _exact:
        return _exact[text]
    if re.search("[\u4e00-\u9fff]", text):  # it was translated before
        return text
    for pattern, said in _patterns:
        found = pattern.fullmatch(text)
        if found:
            parts = re.split(r"\{(\d)\}", said)
            parts[1::2] = [_find(found[f"_{number}"]) for number in parts[1::2]]
            return "".join(parts)
    return text


def _pattern(text):
    """Return a pattern: each {0} of a text matches as little as possible of one sentence."""
    parts = re.split(r"\{(\d)\}", text)
    parts[::2] = map(re.escape, parts[::2])
    parts[1::2] = [f"(?P<_{number}>(?:(?!\\. ).)+?)" for number in parts[1::2]]
    return re.compile("".join(parts), re.DOTALL)


try:
    use(os.environ.get("TINYNET_LANG", ""))
except (ValueError, ImportError) as error:  # a mistake of the user, whatever the program is
    from tinynet import console
    if not console.started_rank():  # one rank speaks for all that mpiexec starts
        print(f"TINYNET_LANG={os.environ['TINYNET_LANG']}: {error}", file=sys.stderr)
    sys.exit(2)
