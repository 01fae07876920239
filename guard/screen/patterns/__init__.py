"""Patterns: personal data, secrets and injection shapes, found by form and confirmed by checksum.

A policy names patterns of the `CATALOGUE` or brings regular expressions of its own; a `PatternSet`
holds those of one policy. Everything runs on RE2, so no regex and no text can make it slower than
linear. The catalogue puts precision first: what cannot be told from a harmless number by its form
must come with its label (`NHS number 943 …`).
"""

from collections.abc import Mapping
from types import MappingProxyType

from guard.policy.schema import PatternRule
from guard.screen.patterns.contact import CONTACT
from guard.screen.patterns.injections import INJECTIONS
from guard.screen.patterns.matcher import Matcher, check_regex
from guard.screen.patterns.numbers import NUMBERS
from guard.screen.patterns.pattern import Pattern, by_name
from guard.screen.patterns.secrets import SECRETS

__all__ = ["CATALOGUE", "Pattern", "PatternSet", "check_regex"]

CATALOGUE: Mapping[str, Pattern] = MappingProxyType(by_name(*CONTACT, *NUMBERS, *SECRETS, *INJECTIONS))
"""All patterns by name, in the order of the docs."""


class PatternSet(Matcher):
    """The patterns of one policy: names of the catalogue, or rules with a `regex`.

    Raises:
        ValueError: a regex does not compile (with RE2's message), or a name is unknown.
    """

    def __init__(self, rules: Mapping[str, PatternRule]) -> None:
        super().__init__(rules, CATALOGUE)
