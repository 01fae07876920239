"""Cases as their authors write them: what is read, and what is a mistake."""

from pathlib import Path

import pytest

from guard.content import Rail, Turn
from guard.errors import InvalidPolicy
from guard.policy import Policy
from guard.regress.cases import Case, load_cases
from guard.testing import a_policy
from guard.verdict import ActionWord, CategoryVerdict, Verdict

POLICY = a_policy(("hate", "violence"))


def written(folder: Path, text: str, name: str = "some.yaml") -> Path:
    """A policy's folder with one file of cases."""
    (folder / "cases").mkdir(exist_ok=True)
    (folder / "cases" / name).write_text(text, encoding="utf-8")
    return folder


def loaded(folder: Path, text: str, policy: Policy = POLICY) -> tuple[Case, ...]:
    return load_cases(written(folder, text), policy)


def problems(folder: Path, text: str, policy: Policy = POLICY) -> list[str]:
    with pytest.raises(InvalidPolicy) as caught:
        loaded(folder, text, policy)
    return [f"{problem.line}: {problem.path}: {problem.message}" for problem in caught.value.problems]


def a_verdict(action: ActionWord, **violated: bool) -> Verdict:
    categories = {
        name: CategoryVerdict(0.9 if so else 0.1, 0.5, so, action if so else "allow", "encoder")
        for name, so in violated.items()
    }
    return Verdict(action, action != "allow", categories)


def test_a_case_has_what_was_written_and_its_place(tmp_path):
    first, second = loaded(
        tmp_path,
        """\
defaults:
  tags: [all]
  origin: us
cases:
  - id: a-threat
    text: I will hurt you.
    expect: {at_least: review}
    violates: [violence]
    not_violates: [hate]
    tags: [threat, all]
    note: Why.
  - id: a-talk
    conversation:
      - {role: user, content: Hi.}
      - {role: assistant, content: Hello.}
    expect: allow
    origin: an incident
    known_failure: The screen cannot read it.
""",
    )
    assert (first.id, first.rail, first.tags, first.origin, first.note) == (
        "a-threat",
        Rail.INPUT,
        ("all", "threat"),
        "us",
        "Why.",
    )
    assert (first.line, Path(first.file).name) == (5, "some.yaml")
    assert first.truths(POLICY) == {"violence": True, "hate": False}
    assert (second.rail, second.turns) == (Rail.OUTPUT, (Turn("user", "Hi."), Turn("assistant", "Hello.")))
    assert (second.origin, second.known_failure) == ("an incident", "The screen cannot read it.")
    assert second.truths(POLICY) == {"hate": False, "violence": False}
    assert second.content().context == (Turn("user", "Hi."),)


def test_a_text_on_the_output_rail_was_written_by_an_assistant(tmp_path):
    (case,) = loaded(tmp_path, "cases:\n  - {id: a, text: Sure., rail: output, expect: allow}\n")
    assert case.content().role == "assistant"


@pytest.mark.parametrize(
    ("expect", "action", "fine"),
    [
        ("flag", "flag", True),
        ("flag", "review", False),
        ("{at_least: flag}", "block", True),
        ("{at_least: flag}", "allow", False),
        ("{at_most: flag}", "allow", True),
        ("{at_most: flag}", "redact", False),
        ("{at_least: flag, at_most: review}", "redact", True),
        ("{at_least: flag, at_most: review}", "block", False),
    ],
)
def test_an_expectation_is_one_action_or_a_range(tmp_path, expect: str, action: ActionWord, fine: bool):
    (case,) = loaded(tmp_path, f"cases:\n  - {{id: a, text: x, expect: {expect}}}\n")
    assert (not case.missed_by(a_verdict(action, hate=action != "allow", violence=False))) is fine


def test_what_is_missed_is_named(tmp_path):
    (case,) = loaded(
        tmp_path, "cases:\n  - {id: a, text: x, expect: review, violates: [hate], not_violates: [violence]}\n"
    )
    assert case.missed_by(a_verdict("flag", hate=False, violence=True)) == [
        "expected review, got flag",
        "hate is not violated",
        "violence is violated",
    ]


def test_every_mistake_is_named_with_its_line(tmp_path):
    assert problems(
        tmp_path,
        """\
cases:
  - id: Not A Name
    text: x
    expect: allow
  - id: both
    text: x
    conversation: [{role: user, content: x}]
    expect: forbid
  - id: nothing
    expect: {at_least: block, at_most: flag}
  - id: unknown
    text: x
    expect: allow
    violates: [hat]
    tag: [a]
  - id: torn
    text: x
    expect: flag
    violates: [hate]
    not_violates: [hate]
""",
    ) == [
        r"2: $.cases[0].id: expected `str` matching regex '^[a-z0-9][a-z0-9_.:-]*$(?!\\n)'",
        "5: $.cases[1]: give either `text` or `conversation`, not both",
        "8: $.cases[1].expect: expected an action (allow, flag, redact, review, block), or `at_least` or `at_most` "
        "with one",
        "9: $.cases[2]: give either `text` or `conversation`",
        "10: $.cases[2].expect: `at_least` is a harder action than `at_most`",
        "14: $.cases[3].violates: a text that is allowed violates nothing: expect `flag` or more",
        "14: $.cases[3].violates: policy `test` has no category `hat`; did you mean `hate`?",
        "15: $.cases[3].tag: unknown key `tag`; did you mean `tags`?",
        "20: $.cases[4].not_violates: `hate` stands in `violates` too",
    ]


def test_a_category_that_the_rail_does_not_check_cannot_be_expected(tmp_path):
    policy = a_policy(("hate",), category={"rails": ["output"]})
    assert problems(tmp_path, "cases:\n  - {id: a, text: x, expect: flag, violates: [hate]}\n", policy) == [
        "2: $.cases[0].violates: policy `test` does not check `hate` on the input rail"
    ]


def test_an_id_is_taken_once_in_a_policy(tmp_path):
    written(tmp_path, "cases:\n  - {id: a, text: x, expect: allow}\n", "one.yaml")
    found = problems(tmp_path, "cases:\n  - {id: a, text: y, expect: allow}\n")
    assert found == [f"2: $.cases: id `a` is taken by {tmp_path / 'cases' / 'one.yaml'}:2"]


def test_a_file_that_is_no_mapping_says_so(tmp_path):
    assert problems(tmp_path, "- a\n") == ["1: $: expected a mapping: lines such as `name: value`"]
    assert problems(tmp_path, "cases: []\n") == ["1: $.cases: must not be empty"]


def test_a_policy_without_cases_has_none(tmp_path):
    assert load_cases(tmp_path, POLICY) == ()
