"""Attacks on single characters."""

import re
import unicodedata
from random import Random

from .pieces import LETTER, in_words, some

__all__ = ["case", "diacritics", "full_width", "homoglyphs", "leetspeak", "spacing", "zero_width"]

HOMOGLYPHS = {
    row[0]: tuple(row[1:])
    for row in (
        "aаɑα", "cсⅽⲥꮯ", "dԁⅾ", "eеҽ", "gɡց", "hһհ", "iіıꭵ", "jјϳ", "kк", "lӏⅼ", "mⅿ", "nոп", "oоοօⲟ", "pрρⲣ",
        "qԛ", "rгꭇ", "sѕꮪ", "tтτ", "uսʋ", "vѵνⅴꮩ", "wԝѡꮃ", "xхⅹ", "yуүγ", "zᴢꮓ",
        "AАΑᎪ", "BВΒᏴ", "CСⅭᏟ", "DⅮᎠ", "EЕΕᎬ", "GԌᏀ", "HНΗᎻ", "IІΙⅠ", "JЈᎫ", "KКΚᏦ", "LᏞⅬ", "MМΜⅯ", "NΝⲚ",
        "OОΟՕ", "PРΡᏢ", "SЅՏᏚ", "TТΤᎢ", "UՍ", "VѴⅤᏙ", "WԜᎳ", "XХΧⅩ", "YҮΥ", "ZΖᏃ",
    )
}  # fmt: skip
"""Letters of other alphabets and numerals that look the same. A table of its own: that of `guard.text`, which undoes
such things, would be no test of itself."""

ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
LEET = {"a": "4@", "e": "3", "i": "1!", "o": "0", "s": "5$", "t": "7"}
MARKS = "\u0304\u0306\u0323\u0325\u0330\u0331"
"""Marks that hardly any spelling has, above and below: others would make another word in some language."""

_ASCII = "".join(map(chr, (*range(0x30, 0x3A), *range(0x41, 0x5B), *range(0x61, 0x7B))))
FULL_WIDTH = {sign: chr(ord(sign) + 0xFEE0) for sign in _ASCII}
_BETWEEN = re.compile(rf"(?<={LETTER})(?={LETTER})")
_SPACE = re.compile(r"(?<=\S) (?=\S)")


def homoglyphs(text: str, random: Random) -> str:
    """Half of the letters that have one become a letter of another alphabet that looks the same."""
    chosen = some([at for at, sign in enumerate(text) if sign in HOMOGLYPHS], 0.5, random)
    return "".join([random.choice(HOMOGLYPHS[sign]) if at in chosen else sign for at, sign in enumerate(text)])


def zero_width(text: str, random: Random) -> str:
    """Between a third of neighbouring letters stands a character that nobody sees."""
    chosen = some([found.start() for found in _BETWEEN.finditer(text)], 1 / 3, random)
    return "".join([random.choice(ZERO_WIDTH) + sign if at in chosen else sign for at, sign in enumerate(text)])


def leetspeak(text: str, random: Random) -> str:
    """In each word of two letters or more, most of those letters that a digit or sign stands for are written so."""

    def changed(word: str) -> str:
        if len(word) < 2:
            return word
        chosen = some([at for at, sign in enumerate(word) if sign.lower() in LEET], 0.6, random)
        return "".join([random.choice(LEET[sign.lower()]) if at in chosen else sign for at, sign in enumerate(word)])

    return in_words(text, changed)


def spacing(text: str, random: Random) -> str:
    """Letters stand apart, and words three times as far, so that they can still be told from each other."""
    spaced = in_words(text, " ".join)
    if spaced == text:
        return text
    return in_words(_SPACE.sub("   ", text), " ".join)


def case(text: str, random: Random) -> str:
    """Every other letter of a word is a capital."""

    def changed(word: str) -> str:
        upper = random.random() < 0.5
        signs = []
        for sign in word:
            if sign.isalpha():
                other = sign.upper() if upper else sign.lower()
                # ß has no capital of one letter, and ſ would come back as an s.
                signs.append(other if other.lower() == sign.lower() and len(other) == 1 else sign)
                upper = not upper
            else:
                signs.append(sign)
        return "".join(signs)

    return in_words(text, changed)


def full_width(text: str, random: Random) -> str:
    """Latin letters and digits as wide as Chinese characters."""
    return "".join([FULL_WIDTH.get(sign, sign) for sign in text])


def diacritics(text: str, random: Random) -> str:
    """Half of a word's Latin letters have a mark that is not part of the spelling."""

    def changed(word: str) -> str:
        chosen = some([at for at, sign in enumerate(word) if sign.isascii() and sign.isalpha()], 0.5, random)
        marked = [sign + random.choice(MARKS) if at in chosen else sign for at, sign in enumerate(word)]
        return unicodedata.normalize("NFC", "".join(marked))

    return in_words(text, changed)
