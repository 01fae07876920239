"""The synthetic rows: enough of them, on both sides of every line, and the same ones each time."""

import os
import random
import subprocess
import sys
from collections import Counter
from functools import cache

import pytest

pytest.importorskip("faker")

from training.synthetic import CATEGORIES, HEADS, SyntheticRow, rows
from training.synthetic.surface import REFUSE
from training.synthetic.template import fill, load, parse, targets


@cache
def generated() -> tuple[SyntheticRow, ...]:
    return tuple(rows())


def families(head: str, label: int) -> set[str]:
    return {row.family for row in generated() if row.targets.get(head) == label}


def test_the_same_seed_gives_the_same_rows() -> None:
    """A training run can be repeated to the letter."""
    assert tuple(rows(seed=0)) == generated()


def test_another_process_gives_the_same_rows() -> None:
    """Nothing hangs on the order of a set, which Python draws anew for each process."""
    command = (
        "import hashlib; from training.synthetic import rows; "
        "print(hashlib.sha256(repr(list(rows())).encode()).hexdigest())"
    )
    first, second = (
        subprocess.run(
            [sys.executable, "-c", command], env=os.environ | {"PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    )
    assert first == second


def test_left_out_files_change_no_other_row() -> None:
    """A member that does without the newest lines sees the others as they are."""
    fewer = tuple(rows(without=("asks_tester", "named")))
    gone = {row.family for row in generated()} - {row.family for row in fewer}
    assert gone
    assert all(family.startswith(("kt", "named")) for family in gone)
    kept = {row.text for row in generated() if row.family not in gone}
    assert len(kept - {row.text for row in fewer}) <= len(kept) / 1_000
    with pytest.raises(ValueError, match="nosuch"):
        next(rows(without=("nosuch",)))


def test_another_seed_gives_other_rows_of_the_same_families() -> None:
    """The seed moves fillers and shapes, never what is covered."""
    other = tuple(rows(seed=1))
    assert {row.family for row in other} == {row.family for row in generated()}
    assert {row.text for row in other} != {row.text for row in generated()}


def test_there_are_thirty_thousand_rows_from_three_hundred_families() -> None:
    """The corpus is large enough to balance the thin heads of the public data."""
    assert len(generated()) >= 30_000
    assert len({row.family for row in generated()}) >= 300


def test_no_text_and_no_id_occurs_twice() -> None:
    """A text with two labels would teach nothing, so casing alone makes no new text."""
    assert len({row.text.casefold() for row in generated()}) == len(generated())
    assert len({row.id for row in generated()}) == len(generated())


def test_every_text_is_filled_and_of_bearable_length() -> None:
    """No slot is left open, no text is empty, none is longer than 4,000 characters."""
    slots = [f"{{{slot}}}" for slot in ("x", "X", "ask", "dan", "job", "url", *load()[0])]
    for row in generated():
        assert 0 < len(row.text.strip()) <= len(row.text) <= 4_000
        assert "{" not in row.text or not any(slot in row.text for slot in slots)


def test_every_target_is_a_known_head_and_zero_or_one() -> None:
    """The trainer needs no case for anything else."""
    for row in generated():
        assert set(row.targets) <= set(HEADS)
        assert set(row.targets.values()) <= {0, 1}


@pytest.mark.parametrize("head", CATEGORIES)
def test_every_category_has_a_thousand_positives_and_more_negatives(head: str) -> None:
    """Each head learns from both sides."""
    count = Counter(row.targets.get(head) for row in generated())
    assert count[1] >= 1_000
    assert count[0] >= count[1]


@pytest.mark.parametrize("head", CATEGORIES)
def test_every_category_has_twelve_families_on_each_side(head: str) -> None:
    """A split by family keeps both sides in training and in validation."""
    assert len(families(head, 1)) >= 12
    assert len(families(head, 0)) >= 12


@pytest.mark.parametrize("head", [head for head in CATEGORIES if head not in {"pii", "jailbreak"}])
def test_every_category_has_families_just_across_its_line(head: str) -> None:
    """The near misses, in families called `<head>-safe`, are never positive for that head."""
    near = [row for row in generated() if row.family.startswith(f"{head}-safe.")]
    assert len({row.family for row in near}) >= 12
    assert len(near) >= 1_000
    assert not any(row.targets.get(head) for row in near)


def test_refusals_are_negative_for_every_category() -> None:
    """An answer that names a harmful aim in order to decline it does no harm."""
    openings = tuple(refusal.split("{x}")[0] for refusal in REFUSE if len(refusal.split("{x}")[0]) > 12)
    refusals = [row for row in generated() if row.role == "assistant" and row.text.startswith(openings)]
    assert len(refusals) >= 500
    assert not any(row.targets.get(head) for row in refusals for head in CATEGORIES)


def test_only_answers_have_a_context() -> None:
    """A comment or a prompt stands alone; an answer may come with the request before it."""
    assert all(row.context is None for row in generated() if row.role != "assistant")
    assert any(row.context for row in generated() if row.role == "assistant")


def test_the_six_other_languages_have_harmful_and_harmless_families() -> None:
    """A language must not be a sign of harm."""
    for language in ("de", "fr", "es", "it", "pt", "nl"):
        own = [row for row in generated() if row.family.startswith(f"{language}.")]
        harmful = {row.family for row in own if any(row.targets.get(head) for head in CATEGORIES)}
        assert len({row.family for row in own}) >= 25
        assert len(harmful) >= 10
        assert len({row.family for row in own} - harmful) >= 10


def test_more_than_sixty_groups_are_named_without_hate() -> None:
    """The name of a group is no sign of hate."""
    slots, _ = load()
    safe = " ".join(row.text.casefold() for row in generated() if row.family.startswith("hate-safe.identity"))
    assert sum(group.casefold() in safe for group in {*slots["group"], *slots["adj"]}) >= 60


def test_labels_fill_the_zeros_and_leave_out_what_is_masked() -> None:
    """A masked parent masks its sub-head, and a plain label settles all thirteen categories."""
    found = targets("hate insult ?violence")
    assert found["hate"] == found["insult"] == found["toxicity"] == 1
    assert found["hate_threatening"] == found["sexual"] == 0
    assert not {"violence", "violence_graphic", "illicit_violent"} & set(found)
    assert set(targets()) == set(HEADS)
    assert not any(targets().values())


def test_an_unknown_label_is_refused() -> None:
    """A typing error in a seed file must not become a silent zero."""
    with pytest.raises(ValueError, match="hatred"):
        targets("hatred")


def test_a_seed_file_is_read_line_by_line() -> None:
    """Slots, sections with their options, and a family per line."""
    text = "@pet: cat; owl\n== pets | aim | | each=3 about=1\nfeed a {pet}\n# note\nwash it\n"
    slots, (section,) = parse(text)
    assert slots == {"pet": ("cat", "owl")}
    assert (section.name, section.kind, section.each, section.about) == ("pets", "aim", 3, True)
    assert section.lines == ("feed a {pet}", "wash it")


def test_a_filled_slot_gets_the_right_article() -> None:
    """`a {pet}` becomes `an owl`, so that grammar does not give a template away."""
    assert fill("feed a {pet}", {"pet": ("owl",)}, random.Random(0)) == "feed an owl"
    assert fill("a {word}", {"word": ("university",)}, random.Random(0)) == "a university"
