"""An evaluation as Markdown, for a terminal, a pull request or a folder of reports."""

import math
from collections.abc import Mapping

from guard.metrics import Interval
from guard.regress.evaluate import Figures, Report

__all__ = ["markdown"]

_COLUMNS: Mapping[str, str] = {
    "auprc": "AUPRC",
    "auc": "AUC",
    "best_f1": "best F1",
    "recall_at_1_percent": "recall at 1 % FPR",
    "f1": "F1",
    "recall": "recall",
    "false_positive_rate": "FPR",
    "ece": "ECE",
}


def markdown(report: Report) -> str:
    """A heading, what was read, and a table of the decision as a whole, each category and each language."""
    rows = {"**harmful or not**": report.binary} if report.binary.rows else {}
    rows |= report.categories
    rows |= {f"language {name}": figures for name, figures in report.languages.items()}
    head = f"| | rows | positive | {' | '.join(_COLUMNS.values())} |"
    lines = [
        f"## {report.dataset}",
        "",
        _summary(report),
        "",
        head,
        "|---|--:|--:|" + "--:|" * len(_COLUMNS),
        *[_row(name, figures) for name, figures in rows.items()],
    ]
    if report.binary.rows:
        lines += ["", f"Harmful or not: the highest score among {', '.join(report.deciding)}."]
    return "\n".join(lines) + "\n"


def _summary(report: Report) -> str:
    parts = [
        f"{report.rows:,} rows under policy `{report.policy}` ({report.fingerprint[:8]}), screen `{report.screen}`"
    ]
    for count, what in (
        (report.unlabelled, "without a label that the policy asks for"),
        (report.errors, "could not be moderated"),
        (report.unsupported, "in a language that the screen was not made for"),
    ):
        if count:
            parts.append(f"{count:,} {what}")
    parts.append(f"{report.doubtful:.1%} with a doubtful score")
    return "; ".join(parts) + ". F1, recall and FPR at the policy's thresholds; 95 % intervals."


def _row(name: str, figures: Figures) -> str:
    found = [getattr(figures, column) for column in _COLUMNS]
    return f"| {name} | {figures.rows:,} | {figures.positives:,} | " + " | ".join(map(_cell, found)) + " |"


def _cell(figure: Interval | float) -> str:
    if isinstance(figure, Interval):
        return str(figure)
    return "–" if math.isnan(figure) else f"{figure:.3f}"
