"""The policy loader: a policy or its mistakes, from whatever bytes; and what is a policy can be used."""

import tempfile
from pathlib import Path

from guard.errors import InvalidPolicy, Problem
from guard.policy import PatternNames
from guard.policy.document import parse
from guard.policy.loader import load_policies, load_text
from guard.screen.lexicon import Lexicon
from guard.screen.patterns import CATALOGUE, PatternSet, check_regex

__all__ = ["check"]

ROOT = Path(__file__).parents[2]
_NAMES = PatternNames(frozenset(CATALOGUE), check_regex)
_KNOWN = load_policies(ROOT / "policies", _NAMES)
_FILE = Path(tempfile.mkdtemp(prefix="guard-fuzz-")) / "policy.yaml"


def check(data: bytes) -> None:
    """Raises AssertionError, or what the loader must not raise. Policies may extend those that come with Guard."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        _FILE.write_bytes(data)
        tree, problems = parse(_FILE, "policy.yaml")
        assert tree is None
        assert problems
        return
    try:
        policy = load_text(text, _KNOWN, _NAMES)
    except InvalidPolicy as exc:
        _check_problems(exc.problems)
        return
    assert policy.name
    assert len(policy.fingerprint) > 8
    parent = _KNOWN[policy.spec.extends].spec if policy.spec.extends else None
    if parent is None or parent.patterns != policy.spec.patterns:
        PatternSet(policy.spec.patterns)
    if parent is None or parent.terms != policy.spec.terms:
        Lexicon(policy.spec.terms)


def _check_problems(problems: list[Problem]) -> None:
    """There is a reason, and it can be shown to people and sent as JSON."""
    assert problems, "refused without a reason"
    for problem in problems:
        assert problem.line >= 0
        assert problem.path.startswith("$")
        assert problem.message
        str(problem).encode()
