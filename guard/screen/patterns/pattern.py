"""One pattern of the catalogue."""

from collections.abc import Callable

import msgspec

__all__ = ["Pattern", "by_name"]


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """A shape worth finding, and the test that tells it from what looks alike.

    Conventions of `regex` (RE2; no look-around, so the matcher adds three things):
    a group named `value` (or `value_…`, in alternatives) is what was found, and the rest its context;
    where a group `unless` takes part, the match is none; a found value that begins or ends with a
    letter or digit must not touch another one, in any alphabet that is written with spaces.
    """

    name: str
    title: str
    """What it finds, for a reader of the docs."""
    placeholder: str
    """What stands in a redacted text: `EMAIL` gives `[EMAIL_1]`."""
    regex: str
    example: str
    """A text in which it is found."""
    lookalike: str
    """A text in which it must not be found."""
    valid: Callable[[str], bool] | None = None
    """A checksum or structure test of the value; without one, the regex decides."""
    alone: bool = False
    """Refuse a value that `.`, `,`, `-`, `/` or `:` ties to another digit: it is part of something longer."""
    gated: bool = False
    """Look for it only in a text that holds the words it needs; for a long regex made of rare words."""


def by_name(*patterns: Pattern) -> dict[str, Pattern]:
    """The patterns by their names; raises ValueError where a name comes twice."""
    named = {pattern.name: pattern for pattern in patterns}
    if len(named) != len(patterns):
        raise ValueError("two patterns have one name")
    return named
