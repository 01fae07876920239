"""What a row of each kind of source teaches, on rows made by hand."""

import pytest

from training.heads import ALL_HEADS, CATEGORIES, HARMS, clean, harm, toxic
from training.labels import SOURCES, target_of
from training.rows import Row


def a_row(source: str, *, flagged: int | None = None, benign: bool = False, **labels: float) -> Row:
    """A row of `source`; keyword `a__b` stands for the label `a:b`."""
    named = {name.replace("__", ":"): value for name, value in labels.items()}
    return Row("1", "some text", "comment", None, named, flagged, source, assumed_benign=benign)


def test_a_head_that_the_source_is_silent_about_is_masked() -> None:
    """A sexism data set's negative says nothing about insults, sex or violence."""
    found = target_of(a_row("edos", flagged=0, sexist=0))
    assert found is not None
    assert found.values["hate"] == 0
    assert not found.values.keys() & {"harassment", "sexual", "violence", "toxicity"}


def test_a_toxic_comment_is_at_least_one_of_four_kinds() -> None:
    """The source says toxic and no more: the kind is left open, the tone is known."""
    found = target_of(a_row("civil_comments_10k", flagged=1, toxicity_target=1.0))
    assert found is not None
    assert found.any_of == {"hate", "harassment", "sexual", "violence"}
    assert found.values["toxicity"] == 1
    assert not found.any_of & found.values.keys()


def test_a_harmful_prompt_of_an_unknown_kind_is_at_least_one_harm() -> None:
    """`harmful: 1` alone opens the set of all harms and denies only what cannot be meant."""
    found = target_of(a_row("harmfulqa_dangerousqa", flagged=1, harmful=1))
    assert found is not None
    assert found.any_of == set(HARMS)
    assert 1 not in found.values.values()


def test_a_topic_becomes_its_category_and_masks_the_neighbours() -> None:
    """A request about fraud is a crime; whether it also asks for financial advice is not said."""
    found = target_of(a_row("forbidden_questions", flagged=1, Fraud=1))
    assert found is not None
    assert found.values["criminal"] == 1
    assert found.values["hate"] == 0
    assert "financial_advice" not in found.values


def test_a_jailbroken_question_keeps_its_topic_and_denies_nothing() -> None:
    """The wrapper may add harms of its own, so only positives survive."""
    found = target_of(a_row("forbidden_questions_jailbroken", flagged=1, jailbreak=1, Malware=1))
    assert found is not None
    assert found.values == {"criminal": 1, "jailbreak": 1}


@pytest.mark.parametrize("source", ["banking77", "gsm8k", "llm_bench_prompts", "dolly_1k", "prompts_chat"])
def test_ordinary_prompts_are_negative_for_every_harm(source: str) -> None:
    """Requests of everyday life teach that an imperative sentence is no harm."""
    found = target_of(a_row(source, benign=True))
    assert found is not None
    assert all(found.values[head] == 0 for head in (*HARMS, "jailbreak"))


def test_ordinary_prompts_of_unknown_subject_leave_advice_open() -> None:
    """Among general prompts some do ask for a doctor's or a lawyer's opinion."""
    found = target_of(a_row("dolly_1k", benign=True))
    assert found is not None
    assert not found.values.keys() & {"health_advice", "legal_advice", "financial_advice"}


def test_encyclopaedic_medical_answers_are_not_tailored_advice() -> None:
    """General information about an illness is the negative that the advice head needs."""
    found = target_of(a_row("medquad", benign=True))
    assert found is not None
    assert found.values["health_advice"] == 0


def test_machine_scores_count_only_at_their_sure_ends() -> None:
    """A Perspective score in the middle is masked."""
    found = target_of(a_row("rtp_decodingtrust", perspective__toxicity=0.9, perspective__threat=0.45))
    assert found is not None
    assert found.values["toxicity"] == 1
    assert not found.values.keys() & {"threat", "violence"}


def test_a_contact_detail_is_personal_data_and_a_bare_name_is_unknown() -> None:
    """A phone number identifies; a first name may not."""
    number, name, neither = (
        target_of(a_row("presidio_pii", **labels)) for labels in ({"PHONE_NUMBER": 1}, {"PERSON": 1}, {"TITLE": 1})
    )
    assert number is not None
    assert name is not None
    assert neither is not None
    assert number.values["pii"] == 1
    assert "pii" not in name.values
    assert neither.values["pii"] == 0


def test_a_source_that_is_not_listed_teaches_nothing() -> None:
    """The sets kept for measuring are not listed, so that nobody trains on them by mistake."""
    assert target_of(a_row("toxicchat_dev", flagged=1, toxicity=1)) is None
    measured = ("toxicchat", "aegis", "beavertails", "strongreject", "jailbreakbench", "surge", "xstest", "harmbench")
    # A preference set's test split, given for training and without labels of its own; we judged its rows.
    tests = {source for source in SOURCES if source.startswith(measured) or source.endswith("_test")}
    assert tests == {"hh_harmless_test"}


@pytest.mark.parametrize("target", [clean(advice=True, pii=True), toxic(), toxic("hate"), harm("violence"), harm()])
def test_targets_name_known_heads_only(target: object) -> None:
    """A misspelt head would be dropped without a word when the matrices are made."""
    assert target.values.keys() <= set(ALL_HEADS)  # type: ignore[attr-defined]


def test_all_thirteen_categories_can_be_positive() -> None:
    """The taxonomy's names are these, in this order; the policies rely on them."""
    assert CATEGORIES == (
        "criminal", "dangerous", "sexual_minors", "hate", "harassment", "violence", "self_harm", "sexual",
        "health_advice", "legal_advice", "financial_advice", "pii", "jailbreak",
    )  # fmt: skip


def test_setting_a_head_of_an_open_set_fulfils_or_narrows_it() -> None:
    """1 closes the question which of them it is; 0 leaves the others."""
    assert toxic().but(hate=1).any_of == frozenset()
    assert toxic().but(hate=0).any_of == {"harassment", "sexual", "violence"}
