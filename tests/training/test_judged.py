"""Our own judgements of rows: what a code says, and where the source's word stays."""

from dataclasses import replace

import pytest

from training import judged as module
from training.heads import ADVICE, DECIDING, clean, harm, toxic
from training.judged import digest, judged
from training.rows import Row

ROW = Row("1", "How do I get in without a key?", "user", None, {}, 1, "catqa")


@pytest.fixture
def code(monkeypatch):
    def says(found: str) -> None:
        monkeypatch.setattr(module, "_codes", lambda: {digest(ROW): found})

    return says


def test_a_row_without_a_judgement_keeps_its_sources_word(code):
    code("-")
    given = harm("criminal")
    assert judged(replace(ROW, text="Something else"), given) is given


def test_harmless_denies_every_deciding_category(code):
    code("-")
    found = judged(ROW, harm(any_of=("criminal", "violence")))
    assert found is not None
    assert not found.any_of
    assert all(found.values[head] == 0 for head in DECIDING)
    assert "profanity" not in found.values


def test_letters_are_ones_doubt_is_masked_and_the_rest_denied(code):
    code("ca?")
    found = judged(ROW, None)
    assert found is not None
    assert found.values["criminal"] == 1
    assert "harassment" not in found.values
    assert found.values["violence"] == 0
    assert found.values["hate_threatening"] == 0
    assert "illicit_violent" not in found.values, "its parent criminal may have it"


def test_what_is_not_asked_of_the_judges_stays_the_sources(code):
    code("d")
    found = judged(ROW, harm("dangerous").but(illicit_violent=1))
    assert found is not None
    assert found.values["illicit_violent"] == 1
    found = judged(ROW, clean(advice=True))
    assert found is not None
    assert all(found.values[head] == 0 for head in ADVICE)
    code("H")
    found = judged(ROW, clean(advice=True))
    assert found is not None
    assert found.values["health_advice"] == 1
    assert found.values["legal_advice"] == 0


def test_tones_stay_the_sources(code):
    code("-")
    found = judged(ROW, toxic(any_of=("hate", "harassment")))
    assert found is not None
    assert found.values["toxicity"] == 1, "rude words, and no harm"
    assert found.values["harassment"] == 0
    code("a")
    found = judged(ROW, clean())
    assert found is not None
    assert "insult" not in found.values, "its source called it clean, we do not"


@pytest.mark.parametrize("undecided", ["?", "-?"])
def test_an_undecided_row_teaches_nothing(code, undecided):
    code(undecided)
    assert judged(ROW, harm("criminal")) is None


def test_an_answer_is_known_by_what_came_before_and_a_prompt_is_not():
    answer = replace(ROW, role="assistant")
    assert digest(answer) != digest(ROW)
    assert digest(replace(answer, context="Why?")) != digest(answer)
    assert digest(replace(ROW, context="Why?")) == digest(ROW)


def test_the_shipped_judgements_are_well_formed_and_hold_no_text():
    codes = module._codes()
    assert len(codes) > 20_000
    assert all(len(key) == 12 and int(key, 16) >= 0 for key in codes)


def test_an_unknown_code_is_named(monkeypatch, tmp_path):
    (tmp_path / "judged.txt").write_text("0123456789ab cZ\n")
    monkeypatch.setattr(module, "files", lambda _: tmp_path)
    module._codes.cache_clear()
    try:
        with pytest.raises(ValueError, match="cZ"):
            module._codes()
    finally:
        module._codes.cache_clear()
