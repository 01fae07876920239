"""The two fingerprints, and what of a policy is active where."""

from collections.abc import Callable

import pytest

from guard.content import Rail
from guard.errors import InvalidContent
from guard.policy import Policy
from guard.policy.prompt import preamble
from guard.verdict import Action

TEXT = """\
version: 1
name: forum
description: A forum.
categories:
  hate:
    title: Hate
    definition: The text attacks people for what they are.
    group: harm
    thresholds: {flag: 0.5, review: 0.7, block: 0.9}
    doubt: [0.2, 0.8]
    examples: {violates: [bad], allowed: [good]}
    maps: {openai: [hate]}
  spam:
    title: Spam
    definition: The text sells what nobody asked for.
    group: nuisance
    thresholds: {flag: 0.5}
terms:
  slurs: {category: hate, action: flag, words: [slur], allow_in: [the word slur]}
patterns:
  email: {category: spam, action: flag}
  ticket: {category: spam, action: flag, regex: 'T-[0-9]+'}
deadline_ms: 5000
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("flag: 0.5, review", "flag: 0.4, review"),
        ("block: 0.9}", "block: 0.9, redact: 0.6}"),
        ("hate, action: flag", "hate, action: block"),
        ("spam, action: flag, regex", "spam, action: redact, regex"),
        ("group: harm", "group: hatred"),
        ("openai: [hate]", "openai: [hate, harassment]"),
        ("5000", "5001"),
        ("deadline", "chat: {system_prompt: Be kind.}\ndeadline"),
        ("deadline", "chat: {streaming: {mode: buffer}}\ndeadline"),
        ("deadline", "redaction: {style: mask}\ndeadline"),
        ("deadline", "when_judge_fails: block\ndeadline"),
        ("deadline", "when_screen_fails: allow\ndeadline"),
        ("deadline", "store_texts: true\ndeadline"),
        ("deadline", "store_verdicts: flagged\ndeadline"),
        ("deadline", "retention_days: 7\ndeadline"),
        ("deadline", "when_store_fails: refuse\ndeadline"),
    ],
)
def test_what_only_the_decision_reads_keeps_the_assessments(load: Callable[[str], Policy], old: str, new: str):
    """An edited threshold or action is another policy, and the cached scores stay good."""
    before, after = load(TEXT), load(TEXT.replace(old, new))
    assert after.fingerprint != before.fingerprint
    assert after.assessment_fingerprint == before.assessment_fingerprint


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("A forum.", "The forum."),
        ("attacks people", "insults people"),
        ("title: Hate", "title: Hatred"),
        ("[bad]", "[bad, worse]"),
        ("[good]", "[fine]"),
        ("[0.2, 0.8]", "[0.2, 0.9]"),
        ("    doubt: [0.2, 0.8]\n", ""),
        ("[slur]", "[slur, slurs]"),
        ("[the word slur]", "[]"),
        ("words: [slur]", "match: substring, words: [slur]"),
        ("hate, action", "spam, action"),
        ("T-[0-9]+", "T-[0-9]"),
        ("  email: {category: spam, action: flag}\n", ""),
        ("deadline", "long_text: whole\ndeadline"),
        ("deadline", "mode: self_reflection\ndeadline"),
        ("group: nuisance", "group: nuisance\n    enabled: false"),
        ("group: nuisance", "group: nuisance\n    rails: [output]"),
        ("{flag: 0.5,", "{flag: 0.05,"),
    ],
)
def test_what_scores_depend_on_changes_both(load: Callable[[str], Policy], old: str, new: str):
    """The description, a definition, an example, a term or the doubtful band make old assessments wrong."""
    before, after = load(TEXT), load(TEXT.replace(old, new, 1))
    assert after.fingerprint != before.fingerprint
    assert after.assessment_fingerprint != before.assessment_fingerprint


def test_a_judge_reads_the_categories_in_their_order(load: Callable[[str], Policy]):
    """So what it has said is of no use to a policy with another order, though that decides alike."""
    head, _, rest = TEXT.partition("  hate:\n")
    hate, spam, tail = rest.partition("  spam:\n")[0], *rest.partition("  spam:\n")[2].partition("terms:\n")[::2]
    before, after = load(TEXT), load(f"{head}  spam:\n{spam}  hate:\n{hate}terms:\n{tail}")
    assert preamble(before, Rail.INPUT) != preamble(after, Rail.INPUT)
    assert before.assessment_fingerprint != after.assessment_fingerprint


def test_which_faint_scores_matter_does_not(load: Callable[[str], Policy]):
    """That some do is part of what scores depend on; where they begin is a threshold like any other."""
    some, other = (load(TEXT.replace("{flag: 0.5,", f"{{flag: {flag},", 1)) for flag in (0.05, 0.06))
    assert some.silent_below == 0.05
    assert some.fingerprint != other.fingerprint
    assert some.assessment_fingerprint == other.assessment_fingerprint


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: 1\nname: forum\n", "# A comment.\nname: 'forum'\n\nversion: 1 # the first\n"),
        ("{flag: 0.5, review: 0.7, block: 0.9}", "{block: 0.90, flag: 5e-1, review: .7}"),
        ("{violates: [bad], allowed: [good]}", "\n      allowed:\n        - good\n      violates: ['bad']"),
        (
            "  email: {category: spam, action: flag}\n  ticket: {category: spam, action: flag, regex: 'T-[0-9]+'}\n",
            "  ticket: {regex: 'T-[0-9]+', category: spam, action: flag}\n  email: {action: flag, category: spam}\n",
        ),
        ("deadline_ms: 5000\n", "deadline_ms: 5000\nstore_texts: false\nmode: questions\nextends: null\n"),
    ],
)
def test_how_a_policy_is_written_changes_neither(load: Callable[[str], Policy], old: str, new: str):
    """The order of keys, comments, quotes, styles and spelt-out defaults mean nothing."""
    edited = TEXT.replace(old, new)
    assert edited != TEXT
    before, after = load(TEXT), load(edited)
    assert after.fingerprint == before.fingerprint
    assert after.assessment_fingerprint == before.assessment_fingerprint


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("hate, action: flag", "hate, action: redact"),
        ("spam, action: flag, regex", "spam, action: redact, regex"),
        ("review: 0.7, block: 0.9}", "redact: 0.7, block: 0.9}"),
    ],
)
def test_a_policy_knows_whether_it_redacts(load: Callable[[str], Policy], old: str, new: str):
    """Through a rule or a threshold, of a category that is enabled."""
    assert not load(TEXT).redacts
    text = TEXT.replace(old, new, 1)
    assert load(text).redacts
    for group in ("harm", "nuisance"):
        text = text.replace(f"group: {group}", f"group: {group}\n    enabled: false")
    assert not load(text).redacts


def test_fingerprints_are_short_hexadecimal_words(load: Callable[[str], Policy]):
    """128 bits each, and never the same for the two."""
    policy = load(TEXT)
    for fingerprint in (policy.fingerprint, policy.assessment_fingerprint):
        assert len(fingerprint) == 32
        assert int(fingerprint, 16) >= 0
    assert policy.fingerprint != policy.assessment_fingerprint


def test_disabled_categories_are_not_active(make_policy: Callable[..., Policy]):
    """They are known by name, and decide nothing."""
    policy = make_policy(categories={"hate": {}, "spam": {"enabled": False}, "violence": {}})
    assert [c.name for c in policy.active(Rail.INPUT)] == ["hate", "violence"]
    assert list(policy.categories) == ["hate", "violence"]
    with pytest.raises(InvalidContent, match="does not check `spam` on the input rail"):
        policy.active(Rail.INPUT, frozenset({"spam"}))


def test_rails_restrict_where_a_category_decides(make_policy: Callable[..., Policy]):
    """Each side of a chat has its own list, in the policy's order."""
    policy = make_policy(categories={"z": {"rails": ["output"]}, "b": {}, "a": {"rails": ["input"]}, "c": {}})
    assert [c.name for c in policy.active(Rail.INPUT)] == ["b", "a", "c"]
    assert [c.name for c in policy.active(Rail.OUTPUT)] == ["z", "b", "c"]


def test_only_keeps_the_named_categories_in_policy_order(make_policy: Callable[..., Policy]):
    """The caller's order does not matter; what would not be checked is refused, never passed over."""
    policy = make_policy(categories={"c": {}, "a": {"rails": ["output"]}, "b": {}})
    assert [c.name for c in policy.active(Rail.INPUT, frozenset({"b", "c"}))] == ["c", "b"]
    with pytest.raises(InvalidContent, match="does not check `a` on the input rail"):
        policy.active(Rail.INPUT, frozenset({"a", "b"}))
    with pytest.raises(InvalidContent, match="`categories` is empty"):
        policy.active(Rail.INPUT, frozenset())
    with pytest.raises(InvalidContent, match="policy `forum` has no category `x`; it has: c, a, b") as caught:
        policy.active(Rail.INPUT, frozenset({"y", "x", "a"}))
    assert caught.value.path == "$.categories"


def test_steps_are_the_configured_thresholds_mildest_first(make_policy: Callable[..., Policy]):
    """The lowest step is where anything starts; where only rules decide, that is 1.0."""
    thresholds = {"block": 0.9, "redact": 0.6}
    policy = make_policy(categories={"a": {"thresholds": thresholds}, "b": {"thresholds": {}}})
    a, b = policy.active(Rail.INPUT)
    assert a.steps == ((Action.REDACT, 0.6), (Action.BLOCK, 0.9))
    assert (a.lowest, b.lowest) == (0.6, 1.0)


def test_the_doubtful_band_includes_its_ends(make_policy: Callable[..., Policy]):
    """Without a band no score is doubtful."""
    policy = make_policy(categories={"a": {"doubt": (0.2, 0.8)}, "b": {}})
    a, b = policy.active(Rail.INPUT)
    assert [a.doubtful(score) for score in (0.19, 0.2, 0.5, 0.8, 0.81)] == [False, True, True, True, False]
    assert not any(b.doubtful(score) for score in (0.0, 0.5, 1.0))
