"""Data sets as their authors publish them, read as rows of `guard evaluate`.

    a published row --Format.read--> rows with `text`, `role`, `flagged`, `labels` under the set's own names
    Format.labels: which of those names stands for which category of the default policy; `--label` says otherwise

A row of a prompt and a response becomes two rows where both are labelled: the prompt for the input rail, and the
response for the output rail with the prompt as its context. A label that is missing, or is no word that the set's
authors use, is not annotated: the row is counted as one without a label, never as harmless. Each reader says where its
columns and words are documented.
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
    """The rows of `data/0124/toxic-chat_annotation_test.csv` (and train, and 1123) of
    huggingface.co/datasets/lmsys/toxic-chat.

    Columns by its README: conv_id, user_input, model_output, human_annotation (a boolean), toxicity and jailbreaking
    (0 or 1, of user_input), openai_moderation.
    """
    return [_prompt(row.get("user_input"), row.get("toxicity"), labels={"jailbreaking": row.get("jailbreaking")})]


_PARTS = frozenset({"H2", "V2"})
_OPENAI = {
    "S": "sexual", "S3": "sexual_minors", "H": "hate", "H2": "hate", "V": "violence", "V2": "violence",
    "HR": "harassment", "SH": "self_harm",
}  # fmt: skip


def _openai(row: Row) -> list[Row]:
    """The rows of `data/samples-1680.jsonl.gz` of github.com/openai/moderation-api-release.

    Its README names the eight labels, 0 or 1, and says that one which a row lacks is not known; the text is `prompt`.
    The copy huggingface.co/datasets/mmathys/openai-moderation-api-evaluation has nulls in their place. Harmless are, as
    public evaluations count, also rows with gaps beside their zeros.
    """
    given = {label: number for label in _OPENAI if (number := number_of(row.get(label))) is not None}
    flagged = int(any(number >= 0.5 for number in given.values())) if given else None
    # That a text has no hateful threat does not say that it is not hateful.
    labels = {label: number for label, number in given.items() if label not in _PARTS or number >= 0.5}
    return [_prompt(row.get("prompt"), flagged, labels=labels)]


def _wildguard(row: Row) -> list[Row]:
    """The rows of `test/wildguard_test.parquet` (and train/) of huggingface.co/datasets/allenai/wildguardmix.

    Columns: prompt, adversarial (a boolean), response, prompt_harm_label and response_harm_label (harmful, unharmful or
    null), response_refusal_label (refusal, compliance), subcategory; in the test set also the annotators' agreement on
    each. In the training set many rows have no response.
    """
    adversarial = number_of(row.get("adversarial"))
    group = {} if adversarial is None else {"group": "adversarial" if adversarial >= 0.5 else "vanilla"}
    rows = [_prompt(row.get("prompt"), _word(row.get("prompt_harm_label"), "harmful", "unharmful"), **group)]
    if row.get("response"):
        flagged = _word(row.get("response_harm_label"), "harmful", "unharmful")
        rows.append(_response(row, row["response"], flagged, **group))
    return rows


def _xstest(row: Row) -> list[Row]:
    """The rows of `xstest_prompts.csv` of github.com/paul-rottger/xstest (before: exaggerated-safety).

    Its header is id, prompt, type, label (safe or unsafe), focus, note. `xstest_v2_prompts.csv`, as the file was called
    before, has no label: its readme says that unsafe are the types that begin with contrast_.
    """
    kind = row.get("type")
    flagged = _word(row.get("label"), "unsafe", "safe")
    if "label" not in row and isinstance(kind, str) and kind:
        flagged = int(kind.startswith("contrast_"))
    return [_prompt(row.get("prompt"), flagged, group=kind)]


def _xstest_response(row: Row) -> list[Row]:
    """The rows of `data/response_harmfulness-*.parquet` of huggingface.co/datasets/allenai/xstest-response.

    Columns: prompt, response, label (harmful or unharmful; in the split response_refusal, refusal or compliance),
    prompt_type (prompt_harmful or prompt_safe), prompt_harm_category.
    """
    flagged = _word(row.get("label"), "harmful", "unharmful")
    return [_response(row, row.get("response"), flagged, group=row.get("prompt_type"))]


_INSULTS = frozenset({"target_indiv_nh", "target_group_nh"})


def _hatecheck(row: Row) -> list[Row]:
    """The rows of `test_suite_cases.csv` (and all_cases.csv) of github.com/paul-rottger/hatecheck-data.

    Columns by its README: functionality, case_id, test_case, label_gold (hateful or non-hateful), target_ident,
    direction, focus_words, focus_lemma, ref_case_id, ref_templ_id, templ_id.
    """
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
    """The rows of `round0/30k/test.jsonl.gz`, or 330k/*.jsonl.xz, of huggingface.co/datasets/PKU-Alignment/BeaverTails.

    Columns: prompt, response, category (each of 14 names true or false), is_safe. By its README these are labels of the
    question and the answer together, of which more than one category may hold.
    """
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


_PEOPLE = ("human_0", "human_1", "human_2")
_HARMBENCH = {
    "chemical_biological": "dangerous", "cybercrime_intrusion": "criminal", "illegal": "criminal",
    "harassment_bullying": "harassment",
}  # fmt: skip


def _harmbench(row: Row) -> list[Row]:
    """The rows of `data/behavior_datasets/harmbench_behaviors_text_*.csv` of github.com/centerforaisafety/HarmBench.

    The header is Behavior, FunctionalCategory (standard, contextual, copyright), SemanticCategory, Tags, ContextString,
    BehaviorID. The multimodal file has no ContextString, and is of no use without its images.
    """
    text, context = row.get("Behavior"), row.get("ContextString")
    if isinstance(text, str) and isinstance(context, str) and context.strip():
        # As HarmBench's own baselines ask a model.
        text = f"{context}\n\n---\n\n{text}"
    return [_prompt(text, 1, labels={row.get("SemanticCategory"): 1}, group=row.get("FunctionalCategory"))]


def _harmbench_responses(row: Row) -> list[Row]:
    """The rows of `data/classifier_val_sets/text_behaviors_val_set.json` of github.com/centerforaisafety/HarmBench: an
    object with a list of them for each behaviour.

    Fields: test_case, generation, behavior_id, experiment, method, and human_0 to human_2, what three people said (1:
    the generation is the harm that was asked for). Harmful is what two of them say. HarmBench's own results of a model
    have one `label` in their place, its classifier's.
    """
    said = [number_of(row.get(column)) for column in _PEOPLE if column in row]
    flagged = row.get("label")
    if said:
        known = [number >= 0.5 for number in said if number is not None]
        # A tie is no answer.
        flagged = int(2 * sum(known) > len(known)) if 2 * sum(known) != len(known) else None
    return [_response(row, row.get("generation"), flagged, prompt="test_case")]


def _self_reflection(row: Row) -> list[Row]:
    """Rows for the measure of Mistral 7B's self-reflection (arxiv.org/abs/2310.06825, section 5.2).

    The set that it was taken on, \"manually curated and balanced\", was never published: these columns are ours.
    """
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
            about="Harmful is a text with any label of 1, and harmless one with none, as published figures have it, "
            "though some of its labels may be missing. For a category a missing label is none; H2 and V2 count for "
            "hate and violence where they are 1, and say nothing where they are 0.",
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
            columns=frozenset({"Behavior", "SemanticCategory", "ContextString"}),
            read=_harmbench,
            about="Every behaviour is harmful, so that recall is all there is. `copyright`, "
            "`misinformation_disinformation` and `harmful` stand for no category of ours, and count in harmful or not.",
            labels=_HARMBENCH,
            grouped=True,
        ),
        Format(
            name="harmbench-responses",
            columns=frozenset({"test_case", "generation"}),
            some_of=frozenset({*_PEOPLE, "label"}),
            read=_harmbench_responses,
            about="Harmful is a generation that two of three people found to be the harm asked for; where there is "
            "`label` alone, one with 1.",
        ),
        Format(
            name="self-reflection",
            columns=frozenset({"prompt", "acceptable"}),
            read=_self_reflection,
            about="`acceptable` is 1 for a prompt that should be answered; compare the precision and recall of "
            "acceptable. Mistral's own prompts were never published.",
        ),
    )
}
"""Every published format, by its name."""
