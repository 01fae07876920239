"""Attacks: texts written otherwise, so that people read the same and models may not.

    letters   what single characters look like: homoglyphs, zero_width, leetspeak, spacing, case, full_width, diacritics
    words     what stands there word by word: typos, translation
    frames    what stands around: base64, rot13, role_play, split

Each is a pure function of a text and a seeded random, and gives the same for the same. Where it finds nothing to
change (letters of another script, no word of its table) it gives back the text as it was. No attack asks for what the
text does not ask for already: a harmless text stays harmless.
"""

from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType
from typing import TypeAlias

from .frames import base64, role_play, rot13, split
from .letters import case, diacritics, full_width, homoglyphs, leetspeak, spacing, zero_width
from .words import translation, typos

__all__ = ["ATTACKS", "Attack"]

Attack: TypeAlias = Callable[[str, Random], str | tuple[str, ...]]
"""A text and a seeded random in; the text out, or the turns that it was made of, the last of which is judged."""

ATTACKS: Mapping[str, Attack] = MappingProxyType(
    {
        attack.__name__: attack
        for attack in (
            homoglyphs,
            zero_width,
            leetspeak,
            spacing,
            case,
            full_width,
            diacritics,
            typos,
            translation,
            base64,
            rot13,
            role_play,
            split,
        )
    }
)
"""Every attack by its name in `suite.yaml` and on the command line."""
