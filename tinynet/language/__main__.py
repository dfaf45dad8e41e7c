"""Make the font of Chinese figures from a larger one: python -m tinynet.language NotoSansCJK.ttc

The font of the package has only the characters of the .po files. Debian has a large one in its
package fonts-noto-cjk: /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc.
"""

from tinynet import console, language

FACE = "Noto Sans CJK SC"  # of the fonts in the collection, the simplified Chinese one
FAMILY = "Noto Sans SC Subset"


def main():
    """Read the characters that translations use, and write a font that has them."""
    parser = console.ArgumentParser(prog="python -m tinynet.language",
                                     description="Make the font of figures in other languages.")
    parser.add_argument("collection", help="Noto Sans CJK, a .ttc file")
    options = parser.parse_args()
    from fontTools import subset
    from fontTools.ttLib import TTCollection

    fonts = TTCollection(options.collection).fonts
    font = next(each for each in fonts if each["name"].getDebugName(1) == FACE)
    wanted = subset.Options(name_IDs=[0, 1, 2, 13, 14], layout_features=[], hinting=False,
                            desubroutinize=True)
    cut = subset.Subsetter(wanted)
    cut.populate(text="".join(characters()))
    cut.subset(font)
    for name in (1, 4, 16):
        font["name"].setName(FAMILY, name, 3, 1, 0x409)
    font.save(language.FONT)
    print(f"{language.FONT.name}: {len(characters())} characters, "
          f"{language.FONT.stat().st_size / 1024:.0f} KiB")


def characters():
    """Return the characters of all translations that DejaVu, matplotlib's own font, may lack."""
    said = "".join(text for each in language.LANGUAGES for text in language.entries(each).values())
    return sorted({letter for letter in said if ord(letter) >= 0x2e80})


if __name__ == "__main__":
    console.execute(main, mistakes=(OSError, ImportError), name="tinynet.language")
