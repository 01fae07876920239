"""Published data sets: recognised by their columns, read as rows with our labels. All rows here are made up."""

import gzip
import lzma
from pathlib import Path
from typing import Any

import msgspec
import pytest

from guard.cli.evaluate import _FORMATS
from guard.cli.rows import BadRow, count_rows, read_rows, write_rows
from guard.errors import DatasetError
from guard.policy import PolicyBook
from guard.regress.evaluate import label_names, labels_of, number_of
from guard.regress.formats import FORMATS, OWN, chosen
from guard.service import pattern_names

POLICY = PolicyBook(Path(__file__).parents[2] / "policies", pattern_names())["default"]
FILE = Path("rows.csv")
MADE_UP: dict[str, dict[str, Any]] = {
    "toxicchat": {
        "conv_id": "1", "user_input": "hello", "model_output": "hi", "human_annotation": "True", "toxicity": "0",
        "jailbreaking": "1", "openai_moderation": "[]",
    },
    "openai-moderation": {"prompt": "hello", "S": 0, "H": 0, "V": 0, "HR": 1, "SH": 0, "S3": 0, "H2": 0, "V2": 0},
    "wildguard": {
        "prompt": "hello", "adversarial": True, "response": "hi", "prompt_harm_label": "harmful",
        "response_refusal_agreement": 3.0, "response_refusal_label": "refusal", "response_harm_label": "unharmful",
        "subcategory": "benign", "prompt_harm_agreement": 2.0, "response_harm_agreement": 3.0,
    },
    "xstest": {"id": "1", "prompt": "hello", "type": "homonyms", "label": "safe", "focus": "", "note": ""},
    "xstest-response": {
        "prompt": "hello", "response": "hi", "label": "harmful", "prompt_type": "prompt_safe",
        "prompt_harm_category": "homonyms",
    },
    "hatecheck": {
        "functionality": "derog_neg_emote_h", "case_id": "1", "test_case": "hello", "label_gold": "hateful",
        "target_ident": "women", "direction": "general", "focus_words": "", "focus_lemma": "", "ref_case_id": "",
        "ref_templ_id": "", "templ_id": "1",
    },
    "beavertails": {"prompt": "hello", "response": "hi", "category": {"self_harm": True, "animal_abuse": False},
                    "is_safe": False},
    "harmbench": {"Behavior": "hello", "FunctionalCategory": "standard", "SemanticCategory": "illegal", "Tags": "",
                  "ContextString": "", "BehaviorID": "hello"},
    "harmbench-responses": {
        "behavior_id": "hello", "experiment": "default", "method": "DirectRequest", "test_case": "hello",
        "generation": "hi", "human_0": 1, "human_1": 0, "human_2": 1,
    },
    "self-reflection": {"prompt": "hello", "acceptable": 1},
}  # fmt: skip
"""A row of each, with all columns that the real one has: the readers' docstrings say where from."""
FILES = {
    "toxicchat": "toxic-chat_annotation_test.csv", "openai-moderation": "samples-1680.jsonl.gz",
    "wildguard": "wildguard_test.parquet", "xstest": "xstest_prompts.csv",
    "xstest-response": "response_harmfulness-00000-of-00001.parquet", "hatecheck": "test_suite_cases.csv",
    "beavertails": "test.jsonl.xz", "harmbench": "harmbench_behaviors_text_all.csv",
    "harmbench-responses": "text_behaviors_val_set.json",
}  # fmt: skip
"""As they are published; Mistral's set is not."""


def published(path: Path, row: dict[str, Any]) -> None:
    """Writes a file of one row as the set's authors write theirs."""
    if path.suffix in (".csv", ".parquet"):
        write_rows(lambda: [row], path)
    elif path.suffix == ".json":
        path.write_bytes(msgspec.json.encode({"hello": [row], "other": [row, row]}))
    else:
        with (gzip.open if path.suffix == ".gz" else lzma.open)(path, "wb") as file:
            file.write(msgspec.json.encode(row) + b"\n")


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


@pytest.mark.parametrize("name", FILES)
def test_a_published_file_is_read_as_it_is(name: str, tmp_path: Path) -> None:
    """Whatever its form: the text, the rail and the label are there; a known harmful one is harmful."""
    if FILES[name].endswith(".parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / FILES[name]
    published(path, MADE_UP[name])
    rows = [row for row in read_rows(path) if not isinstance(row, BadRow)]
    assert len(rows) == (3 if path.suffix == ".json" else 1)
    assert rows[0].keys() == MADE_UP[name].keys()
    found = chosen(path, rows[0].keys())
    assert found is FORMATS[name]
    assert [(row["text"], row["role"], number_of(row["flagged"])) for row in found.read(rows[0])] == [
        (row["text"], row["role"], number_of(row["flagged"])) for row in read(name)
    ]


def test_a_compressed_file_that_breaks_off_is_an_error(tmp_path: Path) -> None:
    """Or that is none at all; how many rows it has would cost reading it twice."""
    path = tmp_path / "rows.jsonl.xz"
    published(path, MADE_UP["beavertails"])
    assert count_rows(path) is None
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], b"no xz file"):
        path.write_bytes(broken)
        with pytest.raises(DatasetError, match=r"rows\.jsonl\.xz cannot be read"):
            list(read_rows(path))


def test_a_json_document_that_holds_no_rows_is_an_error(tmp_path: Path) -> None:
    """Which names the file; an element that is no row is told as one."""
    path = tmp_path / "rows.json"
    for content, said in (
        ("[", "no valid JSON"),
        ("5", "expected a list of rows"),
        ('{"a": 1}', "object of such lists"),
    ):
        path.write_text(content)
        with pytest.raises(DatasetError, match=rf"rows\.json.*{said}"):
            list(read_rows(path))
    path.write_text('[{"text": "hello"}, 5]')
    assert list(read_rows(path)) == [{"text": "hello"}, BadRow(0, "row 2 is no JSON object")]
    assert count_rows(path) is None


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
    (row,) = FORMATS["openai-moderation"].read({"prompt": "hello", "H": 0, "S": None})
    assert (row["flagged"], categories("openai-moderation", row)) == (0, {"hate": 0})
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
    multimodal = {"Behavior", "BehaviorID", "FunctionalCategory", "SemanticCategory", "ImageFileName", "Tags"}
    assert chosen(FILE, multimodal) is None


def test_harmbench_responses_are_what_most_people_say() -> None:
    """Or its classifier, where nobody was asked; a label that one of them left out counts for neither side."""
    (row,) = read("harmbench-responses")
    assert (row["text"], row["context"], row["role"], row["flagged"]) == ("hi", "hello", "assistant", 1)
    for said, flagged in (((0, 0, 1), 0), ((1, 1, 1), 1), ((0, 1, None), None), ((None, None, None), None)):
        given = dict(zip(("human_0", "human_1", "human_2"), said, strict=True))
        assert read("harmbench-responses", **given)[0]["flagged"] == flagged
    classified = {"test_case": "hello", "generation": "hi", "label": 1}
    assert chosen(FILE, classified.keys()) is FORMATS["harmbench-responses"]
    assert FORMATS["harmbench-responses"].read(classified)[0]["flagged"] == 1


def test_self_reflection_turns_acceptable_around() -> None:
    """What should be answered is what is not harmful."""
    assert [read("self-reflection", acceptable=value)[0]["flagged"] for value in (1, "0", True, "", None)] == [
        0, 1, 0, None, None,
    ]  # fmt: skip
