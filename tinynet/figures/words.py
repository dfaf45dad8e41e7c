"""The words of a figure: what they are, and how they are put into another language."""

import functools
import re
import textwrap

from matplotlib import font_manager
from matplotlib.text import Text

from tinynet import language


def words_of(figure):
    """Return the texts that have a word in them, each once, of a figure that was drawn.

    Ticks have no labels before.
    """
    texts = [" ".join(each.get_text().split()) for each in figure.findobj(Text)]
    word = re.compile(r"[^\W\d_]{2}|[\u4e00-\u9fff]")  # two letters, or one Chinese character
    return list(dict.fromkeys(text for text in texts
                              if word.search(re.sub(r"\$[^$]*\$", "", text))))


def translate_words(figure):
    """Put the texts of a figure into the language in use."""
    if not language.in_use():
        return
    _translate_texts(figure)
    figure.draw_without_rendering()  # only now ticks have their labels
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [label.get_text() for label in axis.get_ticklabels()]
            said = list(map(language.translate, labels))
            if said != labels:
                axis.set_ticks(axis.get_ticklocs(), said)
    _translate_texts(figure)


def _translate_texts(figure):
    for text in figure.findobj(Text):
        said = language.translate(text.get_text())
        text.set_text(said)
        if not said.isascii():  # the subset has one weight
            families = [*text.get_fontfamily(), _family()]
            if "$" in said:  # mathtext knows only the first family
                families.reverse()
            text.set(fontweight="normal", fontfamily=families)


def wrapped(text, width):
    """Break a text into lines of so many characters at most; Han characters count nearly double."""
    return textwrap.fill(text, width if text.isascii() else int(0.6 * width))


@functools.cache
def _family():
    """Return the name of the font that has the characters of translations, for matplotlib."""
    font_manager.fontManager.addfont(language.FONT)
    return font_manager.FontProperties(fname=language.FONT).get_name()
