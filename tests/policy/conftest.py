"""Policies and assessments in small, for every test of the language."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from guard.errors import InvalidPolicy, Problem
from guard.policy import PatternNames, Policy, PolicySpec, decide
from guard.policy.loader import load_text
from guard.text import Normalised, normalise
from guard.verdict import Assessment, Hit, Score, Verdict

FORUM = """\
version: 1
name: forum
description: A forum.
categories:
  hate:
    title: Hate
    definition: The text attacks people for what they are.
    group: harm
    thresholds: {flag: 0.5, review: 0.7, block: 0.9}
"""

FORUM_CATEGORY = {
    "title": "A harm",
    "definition": "The text does harm to somebody.",
    "group": "harm",
    "thresholds": {"flag": 0.5, "review": 0.7, "block": 0.9},
}


def _check_regex(regex: str) -> str | None:
    return "missing )" if regex.count("(") != regex.count(")") else None


@pytest.fixture(scope="session")
def forum() -> str:
    """A small right policy of nine lines, named `forum`, with the one category `hate`."""
    return FORUM


@pytest.fixture(scope="session")
def patterns() -> PatternNames:
    """A catalogue of three patterns; a regular expression compiles if its parentheses match."""
    return PatternNames(frozenset({"email", "phone", "iban"}), _check_regex)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for policies."""
    policies = tmp_path / "policies"
    policies.mkdir()
    return policies


@pytest.fixture
def write(folder: Path) -> Callable[[str, str], Path]:
    """Writes `folder/name/policy.yaml`."""

    def write_policy(name: str, text: str) -> Path:
        file = folder / name / "policy.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    return write_policy


@pytest.fixture(scope="session")
def load(patterns: PatternNames) -> Callable[[str], Policy]:
    """Compiles a text."""
    return lambda text: load_text(text, {}, patterns)


@pytest.fixture(scope="session")
def problems(patterns: PatternNames) -> Callable[[str], list[tuple[int, str, str]]]:
    """The line, path and message of every mistake in a text; empty if it is right."""

    def problems_of_text(text: str) -> list[tuple[int, str, str]]:
        try:
            load_text(text, {}, patterns)
        except InvalidPolicy as exc:
            return [problem[1:] for problem in exc.problems]
        return []

    return problems_of_text


@pytest.fixture(scope="session")
def shown() -> Callable[[list[Problem], Path], list[str]]:
    """Problems as they are printed, with files relative to a folder."""

    def relative(found: list[Problem], root: Path) -> list[str]:
        return [str(problem).replace(f"{root}/", "") for problem in found]

    return relative


@pytest.fixture(scope="session")
def make_policy() -> Callable[..., Policy]:
    """A policy from keys of the language; a category needs only what differs from a usual one."""

    def policy(*, categories: dict[str, dict[str, Any]] | None = None, **keys: Any) -> Policy:
        tree = {"version": 1, "name": "forum", "description": "A forum."} | keys
        chosen = categories if categories is not None else {"hate": {}}
        tree["categories"] = {name: FORUM_CATEGORY | category for name, category in chosen.items()}
        return Policy(msgspec.convert(tree, PolicySpec))

    return policy


@pytest.fixture(scope="session")
def verdict_on() -> Callable[..., Verdict]:
    """What a policy says of a text with these scores (numbers are the encoder's) and hits."""

    def verdict(
        policy: Policy,
        scores: dict[str, float | Score] | None = None,
        *hits: Hit,
        text: str | Normalised = "an ordinary text of some length",
        failures: tuple[str, ...] = (),
        **options: Any,
    ) -> Verdict:
        given = {n: s if isinstance(s, Score) else Score(s, "encoder") for n, s in (scores or {}).items()}
        normalised = normalise(text) if isinstance(text, str) else text
        return decide(policy, Assessment(given, hits, failures=failures), normalised, **options)

    return verdict
