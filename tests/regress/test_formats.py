"""Published data sets: recognised by their columns, read as rows with our labels. All rows here are made up."""

from pathlib import Path
from typing import Any

import pytest

from guard.cli.evaluate import _FORMATS
from guard.errors import DatasetError
from guard.policy import PolicyBook
from guard.regress.evaluate import label_names, labels_of, number_of
from guard.regress.formats import FORMATS, OWN, chosen
from guard.service import pattern_names

POLICY = PolicyBook(Path(__file__).parents[2] / "policies", pattern_names())["default"]
FILE = Path("rows.csv")
MADE_UP: dict[str, dict[str, Any]] = {
    "toxicchat": {"conv_id": "1", "user_input": "hello", "model_output": "hi", "toxicity": "0", "jailbreaking": "1"},
    "openai-moderation": {"prompt": "hello", "S": 0, "H": 0, "V": 0, "HR": 1, "SH": 0, "S3": 0, "H2": 0, "V2": 0},
    "wildguard": {
        "prompt": "hello", "adversarial": True, "response": "hi", "prompt_harm_label": "harmful",
        "response_refusal_label": "refusal", "response_harm_label": "unharmful", "subcategory": "benign",
    },
    "xstest": {"id": "1", "prompt": "hello", "type": "homonyms", "label": "safe", "focus": "", "note": ""},
    "xstest-response": {"prompt": "hello", "response": "hi", "label": "harmful", "prompt_type": "prompt_safe"},
    "hatecheck": {
        "functionality": "derog_neg_emote_h", "case_id": "1", "test_case": "hello", "label_gold": "hateful",
        "target_ident": "women",
    },
    "beavertails": {"prompt": "hello", "response": "hi", "category": {"self_harm": True, "animal_abuse": False},
                    "is_safe": False},
    "harmbench": {"Behavior": "hello", "FunctionalCategory": "standard", "SemanticCategory": "illegal", "Tags": "",
                  "ContextString": "", "BehaviorID": "hello"},
    "harmbench-responses": {"test_case": "hello", "generation": "hi", "label": 1},
    "self-reflection": {"prompt": "hello", "acceptable": 1},
}  # fmt: skip


def read(name: str, **changes: Any) -> list[dict[str, Any]]:
    """The rows of the made-up row, changed."""
    return FORMATS[name].read(MADE_UP[name] | changes)


def categories(name: str, row: dict[str, Any]) -> dict[str, int]:
    """What the row's labels say of the default policy's categories."""
    return labels_of(row, label_names(POLICY, FORMATS[name].labels))


def test_every_format_is_known_to_the_command_and_tried_here() -> None:
    """The command has the names itself, so that its help loads nothing."""
    assert (OWN, *FORMATS) == _FORMATS
    assert FORMATS.keys() == MADE_UP.keys()
    assert all(category in POLICY.categories for form in FORMATS.values() for category in form.labels.values())


@pytest.mark.parametrize("name", MADE_UP)
def test_a_format_is_recognised_by_its_columns(name: str) -> None:
    """By them alone: no other format fits."""
    found = chosen(FILE, MADE_UP[name].keys())
    assert found is FORMATS[name]
    assert chosen(FILE, MADE_UP[name].keys(), name=name) is found


@pytest.mark.parametrize("columns", [{"text", "flagged"}, {"text", "labels", "role"}, {"text", "label"}, set()])
def test_other_rows_are_our_own(columns: set[str]) -> None:
    """What is wrong with them is told by the evaluation."""
    assert chosen(FILE, columns) is None


def test_ambiguous_columns_are_an_error_that_names_the_option() -> None:
    """A wrong guess would be a wrong figure."""
    with pytest.raises(DatasetError, match=r"rows\.csv: its columns fit xstest and self-reflection; .* --format NAME"):
        chosen(FILE, {"prompt", "type", "label", "acceptable"})
    both = MADE_UP["toxicchat"].keys() | {"text", "flagged"}
    with pytest.raises(DatasetError, match="toxicchat and own"):
        chosen(FILE, both)
    assert chosen(FILE, both, name="own") is None
    # `prompt` is the text of our own rows here.
    with pytest.raises(DatasetError, match="self-reflection and own"):
        chosen(FILE, {"prompt", "acceptable", "flagged"}, field="prompt")


def test_a_format_that_does_not_fit_says_what_is_missing() -> None:
    """With what there is."""
    with pytest.raises(
        DatasetError, match=r"--format wildguard needs the column prompt_harm_label, .*; the file has pr"
    ):
        chosen(FILE, {"prompt", "response"}, name="wildguard")
    with pytest.raises(DatasetError, match="needs the column one of H, H2, HR"):
        chosen(FILE, {"prompt"}, name="openai-moderation")


def test_toxicchat() -> None:
    """Toxicity is the decision, jailbreaking a category; nobody labelled the answers."""
    (row,) = read("toxicchat")
    assert (row["text"], row["role"], number_of(row["flagged"])) == ("hello", "user", 0.0)
    assert categories("toxicchat", row) == {"jailbreak": 1}


def test_openai_moderation() -> None:
    """Any label makes a text harmful; a label that is absent or a gap is unknown, and a part's 0 says nothing."""
    (row,) = read("openai-moderation")
    assert row["flagged"] == 1
    assert categories("openai-moderation", row) == {
        "sexual": 0, "sexual_minors": 0, "hate": 0, "violence": 0, "harassment": 1, "self_harm": 0,
    }  # fmt: skip
    (row,) = FORMATS["openai-moderation"].read({"prompt": "hello", "H": float("nan"), "H2": 0, "V": None, "V2": 1})
    assert (row["flagged"], categories("openai-moderation", row)) == (1, {"violence": 1})
    (row,) = FORMATS["openai-moderation"].read({"prompt": "hello"})
    assert row["flagged"] is None


def test_wildguard_has_a_row_for_the_prompt_and_one_for_the_response() -> None:
    """Each with its own label; the response knows the prompt."""
    prompt, response = read("wildguard")
    assert (prompt["text"], prompt["role"], prompt["flagged"], prompt["group"]) == ("hello", "user", 1, "adversarial")
    assert (response["text"], response["role"], response["context"]) == ("hi", "assistant", "hello")
    assert response["flagged"] == 0
    assert [row["flagged"] for row in read("wildguard", response=None, prompt_harm_label=None)] == [None]


def test_xstest_and_the_responses_to_it() -> None:
    """A label of another kind (a refusal) is no label of harm."""
    (row,) = read("xstest")
    assert (row["flagged"], row["group"], row["role"]) == (0, "homonyms", "user")
    assert read("xstest", label="unsafe")[0]["flagged"] == 1
    assert read("xstest", label="unknown", type="contrast_homonyms")[0]["flagged"] is None
    second = {"id": "1", "type": "contrast_homonyms", "prompt": "hello", "focus": "", "note": ""}
    assert chosen(FILE, second.keys()) is FORMATS["xstest"]
    assert [FORMATS["xstest"].read(second | {"type": kind})[0]["flagged"] for kind in ("contrast_x", "homonyms")] == [
        1, 0,
    ]  # fmt: skip
    (row,) = read("xstest-response")
    assert (row["flagged"], row["role"], row["context"], row["group"]) == (1, "assistant", "hello", "prompt_safe")
    assert read("xstest-response", label="compliance")[0]["flagged"] is None


def test_hatecheck() -> None:
    """An insult without a protected trait is no hate, and not harmless either."""
    (row,) = read("hatecheck")
    assert (row["role"], row["flagged"], row["group"]) == ("comment", 1, "derog_neg_emote_h")
    assert categories("hatecheck", row) == {"hate": 1}
    (row,) = read("hatecheck", label_gold="non-hateful", functionality="target_indiv_nh")
    assert (row["flagged"], categories("hatecheck", row)) == (None, {"hate": 0})
    assert read("hatecheck", label_gold="non-hateful")[0]["flagged"] == 0


@pytest.mark.parametrize("written", [dict, repr, lambda labels: '{"self_harm": true, "animal_abuse": false}'])
def test_beavertails(written: Any) -> None:
    """The labels are the answer's, as a mapping, as Python writes it, or as JSON."""
    (row,) = read("beavertails", category=written({"self_harm": True, "animal_abuse": False}), is_safe="False")
    assert (row["text"], row["role"], row["context"], row["flagged"]) == ("hi", "assistant", "hello", 1)
    assert categories("beavertails", row) == {"self_harm": 1, "violence": 0}
    broken = read("beavertails", category="{'a': __import__('os')}", is_safe=None)[0]
    assert (broken["labels"], broken["flagged"]) == ({}, None)


def test_harmbench() -> None:
    """Every behaviour is harmful; a context is part of what is asked."""
    (row,) = read("harmbench")
    assert (row["text"], row["flagged"], row["group"]) == ("hello", 1, "standard")
    assert categories("harmbench", row) == {"criminal": 1}
    assert categories("harmbench", read("harmbench", SemanticCategory="copyright")[0]) == {}
    assert read("harmbench", ContextString="a letter")[0]["text"] == "a letter\n\n---\n\nhello"
    (row,) = read("harmbench-responses")
    assert (row["text"], row["context"], row["role"], row["flagged"]) == ("hi", "hello", "assistant", 1)


def test_self_reflection_turns_acceptable_around() -> None:
    """What should be answered is what is not harmful."""
    assert [read("self-reflection", acceptable=value)[0]["flagged"] for value in (1, "0", True, "", None)] == [
        0, 1, 0, None, None,
    ]  # fmt: skip
