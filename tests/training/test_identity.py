"""The bias measurement: its sentences are well made, and its rates are counted right."""

import re
from collections import Counter
from pathlib import Path

import pytest

from training import synthetic
from training.identity import (
    CONTROLS,
    TEMPLATES,
    TERMS,
    Bias,
    Rate,
    Template,
    Term,
    filled,
    measure,
    table,
)

SYNTHETIC = Path(__file__).parents[2] / "training" / "synthetic" / "templates"
GROUPS = {"orientation", "gender", "religion", "ethnicity", "nationality", "disability", "age", "other"}
KIND = Term("x", "kind", "kind people", "kind")
ODD = Term("x", "odd", "odd people", "odd")
LOCAL = Term("none", "local", "neighbours", "from here")
A_TEACHER = Template("work", "comment", "A {adj} teacher sings.")
MANY = Template("work", "user", "{Group} sing, and many {group} are loud.")


def term(adjective: str) -> Term:
    """The identity of that adjective."""
    return next(one for one in TERMS if one.adjective == adjective)


def test_every_protected_trait_has_several_identities() -> None:
    """About seventy, each once; a trait is measured by more than one word."""
    assert len(TERMS) >= 70
    assert len({one.adjective for one in TERMS}) == len(TERMS)
    counts = Counter(one.group for one in TERMS)
    assert counts.keys() == GROUPS
    assert min(counts.values()) >= 4
    assert len(CONTROLS) >= 3


def test_there_are_more_than_three_hundred_different_templates_for_every_role() -> None:
    """Varied enough that a rate is none of a few sentences."""
    assert len({template.text.casefold() for template in TEMPLATES}) == len(TEMPLATES) >= 330
    assert {template.role for template in TEMPLATES} == {"comment", "user", "assistant"}
    assert all(4 <= len(template.text.split()) <= 30 for template in TEMPLATES)


@pytest.mark.parametrize("topic", ["discrimination", "negation"])
def test_a_tenth_of_the_templates_are_hard(topic: str) -> None:
    """Reports of discrimination and negations share their words with hate."""
    assert sum(template.topic == topic for template in TEMPLATES) >= len(TEMPLATES) / 10


def test_every_template_fills_with_every_identity() -> None:
    """No slot stays open, each fill names the identity, and no two fills are the same text."""
    texts = set()
    for one in (*TERMS, *CONTROLS):
        for template in TEMPLATES:
            text = filled(template, one)
            assert not set("{}|") & set(text)
            assert any(form.casefold() in text.casefold() for form in one[1:])
            texts.add(text)
    assert len(texts) == len(TEMPLATES) * (len(TERMS) + len(CONTROLS))


def test_no_fill_has_the_wrong_article_or_a_small_first_slot() -> None:
    """As a person would write it, whatever the identity begins with."""
    for one in TERMS:
        for template in TEMPLATES:
            text = filled(template, one)
            assert not re.search(r"\b[Aa] (?![Uu](?:kr|ni|s))[aeiouAEIOU]", text), text
            assert not re.search(r"\b[Aa]n (?!LGBT|HIV)[^aeiouAEIOU]", text), text
            assert not template.text.startswith(("{adj}", "{group}"))


@pytest.mark.parametrize(
    ("adjective", "text"),
    [
        ("gay", "A gay teacher sings."),
        ("Asian", "An Asian teacher sings."),
        ("undocumented", "An undocumented teacher sings."),
        ("Ukrainian", "A Ukrainian teacher sings."),
        ("LGBT", "An LGBT teacher sings."),
        ("HIV-positive", "An HIV-positive teacher sings."),
        ("homosexual", "A homosexual teacher sings."),
    ],
)
def test_the_article_follows_the_sound(adjective: str, text: str) -> None:
    """`an` before a vowel that is heard, not before one that is written."""
    assert filled(A_TEACHER, term(adjective)) == text


def test_each_slot_takes_its_own_form() -> None:
    """A noun for an identity is no adjective after `is`."""
    template = Template("work", "user", "{Adj} or not: Robin is {is}, like other {group}.")
    assert filled(template, term("refugee")) == "Refugee or not: Robin is a refugee, like other refugees."
    assert filled(template, term("Jewish")) == "Jewish or not: Robin is Jewish, like other Jews."
    assert filled(MANY, term("deaf")) == "Deaf people sing, and many deaf people are loud."


def test_no_template_is_trained_on() -> None:
    """A measured sentence that a synthetic row contains would measure memory."""
    assert Path(synthetic.__file__).parent in SYNTHETIC.parents
    trained = "\n".join(path.read_text(encoding="utf-8") for path in sorted(SYNTHETIC.glob("*.txt"))).casefold()
    for template in TEMPLATES:
        for piece in re.split(r"\{\w+\}", template.text.casefold()):
            assert len(piece.split()) < 6 or piece.strip() not in trained, template


def scripted(text: str, role: str) -> float:
    """Odd people are flagged by comments, and a little by users."""
    if "odd" not in text.casefold():
        return 0.1
    return 0.5 if role == "comment" else 0.3


def test_rates_are_counted_for_each_identity_each_group_and_the_controls() -> None:
    """A score at the threshold is flagged."""
    other = Term("y", "new", "new people", "new")
    found = measure(scripted, 0.5, terms=[KIND, ODD, other], controls=[LOCAL], templates=[A_TEACHER, MANY], threads=2)
    assert [(rate.name, rate.texts, rate.flagged) for rate in found.terms] == [
        ("kind", 2, 0.0), ("odd", 2, 0.5), ("new", 2, 0.0),
    ]  # fmt: skip
    assert [(rate.name, rate.texts, rate.flagged) for rate in found.groups] == [("x", 4, 0.25), ("y", 2, 0.0)]
    assert [rate.mean for rate in found.groups] == pytest.approx([0.25, 0.1])
    assert (found.overall.texts, found.overall.flagged) == (6, pytest.approx(1 / 6))
    assert (found.baseline.texts, found.baseline.flagged, found.baseline.mean) == (2, 0.0, pytest.approx(0.1))


def test_each_text_is_scored_once_for_each_role() -> None:
    """Reading costs time, and a fill may make the same text twice."""
    asked: list[tuple[str, str]] = []

    def score(text: str, role: str) -> float:
        asked.append((text, role))
        return 0.0

    same = Template("news", "comment", A_TEACHER.text)
    as_user = Template("work", "user", A_TEACHER.text)
    found = measure(score, 0.5, terms=[KIND], controls=[LOCAL], templates=[A_TEACHER, same, as_user], threads=1)
    assert sorted(asked) == sorted(set(asked))
    assert len(asked) == 4
    assert found.overall.texts == 3


def test_the_table_shows_the_most_flagged_of_a_group_first() -> None:
    """The reader of a card looks for the worst."""
    terms = (Rate("kind", "x", 1_000, 0.01, 0.1), Rate("odd", "x", 1_000, 0.02, 0.05))
    found = Bias(
        0.5, terms, (Rate("x", "x", 2_000, 0.015, 0.075),), Rate("all identities", "", 2_000, 0.015, 0.075),
        Rate("no identity", "none", 1_000, 0.0, 0.02),
    )  # fmt: skip
    assert table(found).splitlines() == [
        "| identity | texts | flagged at 0.5 | mean score |",
        "|---|--:|--:|--:|",
        "| no identity | 1,000 | 0.0000 | 0.0200 |",
        "| **all identities** | 2,000 | 0.0150 | 0.0750 |",
        "| **x** | 2,000 | 0.0150 | 0.0750 |",
        "| odd | 1,000 | 0.0200 | 0.0500 |",
        "| kind | 1,000 | 0.0100 | 0.1000 |",
    ]
