"""Data sets as their authors publish them, read as rows of `guard evaluate`.

    a published row --Format.read--> rows with `text`, `role`, `flagged`, `labels` under the set's own names
    Format.labels: which of those names stands for which category of the default policy; `--label` says otherwise

A row of a prompt and a response becomes two rows where both are labelled: the prompt for the input rail, and the
response for the output rail with the prompt as its context. A label that is missing, or is no word that the set's
authors use, is not annotated: the row is counted as one without a label, never as harmless.
"""

import ast
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from guard.errors import DatasetError
from guard.regress.evaluate import number_of

__all__ = ["FORMATS", "OWN", "Format", "chosen"]

Row = dict[str, Any]
OWN = "own"
"""The format of rows that have Guard's own field names."""


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """One published data set's columns, and what they say.

    Attributes:
        columns: those that all such files have.
        some_of: those of which a file has at least one; empty where `columns` says it all.
        labels: the set's labels, and the category that each stands for. A label that is not here stands for none.
        about: what a label means here, for the report; a sentence or two.
        grouped: whether rows have a `group`: the set's own division, which gets figures of its own.
    """

    name: str
    columns: frozenset[str]
    read: Callable[[Row], list[Row]]
    about: str
    some_of: frozenset[str] = frozenset()
    labels: Mapping[str, str] = {}
    grouped: bool = False

    def lacks(self, columns: Collection[str]) -> list[str]:
        """What `columns` would need for this to be the format; empty where it can be."""
        missing = sorted(self.columns.difference(columns))
        if not missing and self.some_of and self.some_of.isdisjoint(columns):
            missing = [f"one of {', '.join(sorted(self.some_of))}"]
        return missing


def chosen(path: Path, columns: Collection[str], *, name: str | None = None, field: str = "text") -> Format | None:
    """The format of a file with these columns: the one of `name`, or the only one that they fit. None for our own.

    Raises:
        DatasetError: the file lacks a column that the named format has, or several formats fit.
    """
    if name == OWN:
        return None
    if name is not None:
        missing = FORMATS[name].lacks(columns)
        if missing:
            raise DatasetError(
                f"{path}: --format {name} needs the column {', '.join(missing)}; the file has "
                f"{', '.join(sorted(columns)) or 'none'}"
            )
        return FORMATS[name]
    fits = [known.name for known in FORMATS.values() if not known.lacks(columns)]
    if field in columns and not {"flagged", "labels"}.isdisjoint(columns):
        fits.append(OWN)
    if len(fits) > 1:
        raise DatasetError(f"{path}: its columns fit {' and '.join(fits)}; say which it is with --format NAME")
    return FORMATS[fits[0]] if fits and fits[0] != OWN else None


def _prompt(text: object, flagged: object, **more: Any) -> Row:
    return {"text": text, "role": "user", "flagged": flagged, **more}


def _response(row: Row, text: object, flagged: object, *, prompt: str = "prompt", **more: Any) -> Row:
    return {"text": text, "role": "assistant", "context": row.get(prompt), "flagged": flagged, **more}


def _word(value: object, harmful: str, harmless: str) -> int | None:
    """1 and 0 for the set's own two words, None for all else."""
    word = value.strip().lower() if isinstance(value, str) else None
    return 1 if word == harmful else 0 if word == harmless else None


def _opposite(value: object) -> int | None:
    number = number_of(value)
    return None if number is None else int(number < 0.5)


def _toxicchat(row: Row) -> list[Row]:
    return [_prompt(row.get("user_input"), row.get("toxicity"), labels={"jailbreaking": row.get("jailbreaking")})]


_PARTS = frozenset({"H2", "V2"})
_OPENAI = {
    "S": "sexual", "S3": "sexual_minors", "H": "hate", "H2": "hate", "V": "violence", "V2": "violence",
    "HR": "harassment", "SH": "self_harm",
}  # fmt: skip


def _openai(row: Row) -> list[Row]:
    given = {label: number for label in _OPENAI if (number := number_of(row.get(label))) is not None}
    flagged = int(any(number >= 0.5 for number in given.values())) if given else None
    # That a text has no hateful threat does not say that it is not hateful.
    labels = {label: number for label, number in given.items() if label not in _PARTS or number >= 0.5}
    return [_prompt(row.get("prompt"), flagged, labels=labels)]


def _wildguard(row: Row) -> list[Row]:
    adversarial = number_of(row.get("adversarial"))
    group = {} if adversarial is None else {"group": "adversarial" if adversarial >= 0.5 else "vanilla"}
    rows = [_prompt(row.get("prompt"), _word(row.get("prompt_harm_label"), "harmful", "unharmful"), **group)]
    if row.get("response"):
        flagged = _word(row.get("response_harm_label"), "harmful", "unharmful")
        rows.append(_response(row, row["response"], flagged, **group))
    return rows


def _xstest(row: Row) -> list[Row]:
    kind = row.get("type")
    flagged = _word(row.get("label"), "unsafe", "safe")
    if "label" not in row and isinstance(kind, str) and kind:
        # Version 2 has no column for it: the contrasts are its unsafe prompts.
        flagged = int(kind.startswith("contrast_"))
    return [_prompt(row.get("prompt"), flagged, group=kind)]


def _xstest_response(row: Row) -> list[Row]:
    flagged = _word(row.get("label"), "harmful", "unharmful")
    return [_response(row, row.get("response"), flagged, group=row.get("prompt_type"))]


_INSULTS = frozenset({"target_indiv_nh", "target_group_nh"})


def _hatecheck(row: Row) -> list[Row]:
    hateful = _word(row.get("label_gold"), "hateful", "non-hateful")
    group = row.get("functionality")
    # Abuse of people without a protected trait is no hate, and is no harmless text either.
    flagged = None if hateful == 0 and group in _INSULTS else hateful
    return [{
        "text": row.get("test_case"), "role": "comment", "flagged": flagged, "labels": {"hateful": hateful},
        "group": group,
    }]  # fmt: skip


_BEAVERTAILS = {
    "animal_abuse": "violence",
    "violence,aiding_and_abetting,incitement": "violence",
    "discrimination,stereotype,injustice": "hate",
    "hate_speech,offensive_language": "hate",
    "drug_abuse,weapons,banned_substance": "dangerous",
    "terrorism,organized_crime": "dangerous",
    "financial_crime,property_crime,theft": "criminal",
    "privacy_violation": "pii",
    "self_harm": "self_harm",
    "sexually_explicit,adult_content": "sexual",
}


def _beavertails(row: Row) -> list[Row]:
    return [_response(row, row.get("response"), _opposite(row.get("is_safe")), labels=_mapping(row.get("category")))]


def _mapping(value: object) -> dict[str, Any]:
    """A column that is a mapping; a CSV file holds it as JSON or as Python writes it."""
    if isinstance(value, str):
        for decode in (msgspec.json.decode, ast.literal_eval):
            try:
                found = decode(value)
            except (msgspec.DecodeError, ValueError, SyntaxError, MemoryError, RecursionError):
                continue
            return found if isinstance(found, dict) else {}
    return value if isinstance(value, dict) else {}


_HARMBENCH = {
    "chemical_biological": "dangerous", "cybercrime_intrusion": "criminal", "illegal": "criminal",
    "harassment_bullying": "harassment",
}  # fmt: skip


def _harmbench(row: Row) -> list[Row]:
    text, context = row.get("Behavior"), row.get("ContextString")
    if isinstance(text, str) and isinstance(context, str) and context.strip():
        # As HarmBench itself asks a model.
        text = f"{context}\n\n---\n\n{text}"
    return [_prompt(text, 1, labels={row.get("SemanticCategory"): 1}, group=row.get("FunctionalCategory"))]


def _harmbench_responses(row: Row) -> list[Row]:
    return [_response(row, row.get("generation"), row.get("label"), prompt="test_case")]


def _self_reflection(row: Row) -> list[Row]:
    return [_prompt(row.get("prompt"), _opposite(row.get("acceptable")))]


FORMATS: Mapping[str, Format] = {
    found.name: found
    for found in (
        Format(
            name="toxicchat",
            columns=frozenset({"user_input", "toxicity", "jailbreaking"}),
            read=_toxicchat,
            about="Harmful is `toxicity`; the model's answers have no labels.",
            labels={"jailbreaking": "jailbreak"},
        ),
        Format(
            name="openai-moderation",
            columns=frozenset({"prompt"}),
            some_of=frozenset(_OPENAI),
            read=_openai,
            about="Harmful is a text with any label of 1. A label that a row lacks is not annotated; H2 and V2 "
            "count for hate and violence where they are 1, and say nothing where they are 0.",
            labels=_OPENAI,
        ),
        Format(
            name="wildguard",
            columns=frozenset({"prompt", "response", "prompt_harm_label", "response_harm_label"}),
            read=_wildguard,
            about="Prompts by `prompt_harm_label`, responses by `response_harm_label`; published figures are for one "
            "of them, not for both together.",
            grouped=True,
        ),
        Format(
            name="xstest",
            columns=frozenset({"prompt", "type"}),
            some_of=frozenset({"label", "focus"}),
            read=_xstest,
            about="Harmful is `unsafe`; without a column `label` the types contrast_* are. Groups are the types.",
            grouped=True,
        ),
        Format(
            name="xstest-response",
            columns=frozenset({"prompt", "response", "label", "prompt_type"}),
            read=_xstest_response,
            about="The label is the response's; the split of refusals says nothing about harm.",
            grouped=True,
        ),
        Format(
            name="hatecheck",
            columns=frozenset({"test_case", "label_gold", "functionality"}),
            read=_hatecheck,
            about="Groups are the functionalities. Abuse of people without a protected trait (target_indiv_nh, "
            "target_group_nh) is no hate; it takes no part in harmful or not.",
            labels={"hateful": "hate"},
            grouped=True,
        ),
        Format(
            name="beavertails",
            columns=frozenset({"prompt", "response", "category", "is_safe"}),
            read=_beavertails,
            about="Harmful is an answer that is not `is_safe`; the labels are the answer's, the question has none. "
            "Its categories stand for the nearest of ours; child abuse, politics, misinformation and unethical "
            "behaviour for none.",
            labels=_BEAVERTAILS,
        ),
        Format(
            name="harmbench",
            columns=frozenset({"Behavior", "SemanticCategory"}),
            read=_harmbench,
            about="Every behaviour is harmful, so that recall is all there is. Copyright and misinformation stand "
            "for no category of ours, and count in harmful or not.",
            labels=_HARMBENCH,
            grouped=True,
        ),
        Format(
            name="harmbench-responses",
            columns=frozenset({"test_case", "generation", "label"}),
            read=_harmbench_responses,
            about="Harmful is a generation with `label` 1.",
        ),
        Format(
            name="self-reflection",
            columns=frozenset({"prompt", "acceptable"}),
            read=_self_reflection,
            about="`acceptable` is 1 for a prompt that should be answered; compare the precision and recall of "
            "acceptable.",
        ),
    )
}
"""Every published format, by its name."""
