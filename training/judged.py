"""Rows that were read and judged one by one, where a source had labelled its whole file.

`judged.txt` holds a code for each row under a digest of the row; no text of a data set is in the repository. How the
rows were chosen and judged stands in `docs/judging.md`.
"""

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from training.heads import ADVICE, DECIDING, SUB_CATEGORIES, TONES, Target, negative
from training.rows import Row

__all__ = ["CODES", "digest", "judged"]

CODES: Mapping[str, str] = {
    "c": "criminal", "d": "dangerous", "m": "sexual_minors", "h": "hate", "a": "harassment", "v": "violence",
    "s": "self_harm", "x": "sexual", "j": "jailbreak",
    "H": "health_advice", "L": "legal_advice", "F": "financial_advice", "p": "pii",
}  # fmt: skip
"""The letter of each category in a code; `?` after a letter leaves the category open."""
HARMLESS, UNDECIDED = "-", "?"
_LETTER = re.compile(r"([cdmhavsxjHLFp])(\??)")
_CODE = re.compile(rf"-\??|\?|(?:{_LETTER.pattern})+")


def judged(row: Row, given: Target | None) -> Target | None:
    """What `row` teaches: our judgement where there is one, else `given`, its source's; None leaves it out.

    A judgement says something of every deciding category. Of advice and personal data it says where they are; that
    they are not there stays the source's word, and so do the tones.
    """
    code = _codes().get(digest(row))
    if code is None:
        return given
    if UNDECIDED in (code, code.removeprefix(HARMLESS)):
        return None
    given = given or Target()
    firm = {CODES[letter] for letter, doubt in _LETTER.findall(code) if not doubt}
    maybe = {CODES[letter] for letter, doubt in _LETTER.findall(code) if doubt}
    values = dict(negative(*(head for head in DECIDING if head not in firm | maybe)).values)
    values |= {head: 0 for head in (*ADVICE, "pii") if given.values.get(head) == 0}
    for sub, parents in SUB_CATEGORIES.items():
        if firm.intersection(parents) and given.values.get(sub) == 1:
            values[sub] = 1
    # How a text sounds was not asked either: "toxic" may mean no more than rude words. What attacks is not tone 0.
    tones = {tone: value for tone in TONES if (value := given.values.get(tone)) is not None}
    if not tones and not firm | maybe:
        tones = dict.fromkeys((tone for tone in TONES if tone != "profanity"), 0)
    values |= {tone: value for tone, value in tones.items() if value or not firm | maybe}
    for head in maybe:
        values.pop(head, None)
    return Target(values | dict.fromkeys(firm, 1))


def digest(row: Row) -> str:
    """Twelve hexadecimal digits of the text and its role, of an answer also of what came before."""
    before = row.context or "" if row.role == "assistant" else ""
    whole = "\0".join((row.role, row.text.strip(), before))
    return hashlib.blake2b(whole.encode("utf-8", "replace"), digest_size=6).hexdigest()


@cache
def _codes() -> Mapping[str, str]:
    lines = files("training").joinpath("judged.txt").read_text(encoding="ascii").splitlines()
    found = dict(line.split(" ") for line in lines if not line.startswith("#"))
    wrong = sorted({code for code in found.values() if not _CODE.fullmatch(code)})
    if wrong:
        raise ValueError(
            f"training/judged.txt: no such codes: {', '.join(wrong)}; letters are {''.join(CODES)}, - and ?"
        )
    return found
