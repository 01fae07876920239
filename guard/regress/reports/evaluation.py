"""An evaluation as Markdown, for a terminal, a pull request or a folder of reports."""

import math
from collections.abc import Mapping

from guard.metrics import Interval
from guard.regress.cascade import CascadeReport, WayFigures
from guard.regress.evaluate import Figures, Report

__all__ = ["cascade_markdown", "markdown"]

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


def cascade_markdown(report: CascadeReport) -> str:
    """A table of the ways to a verdict, and what the cascade saved and lost."""
    lines = [
        f"## {report.dataset}: the cascade",
        "",
        "| harmful or not | AUPRC | F1 | recall | FPR | questions to the judge | per 1,000 rows | its tokens |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
        *map(_way, report.ways),
        "",
        f"Against the judge alone the cascade saved {report.questions_saved:.1%} of the questions and "
        f"{report.tokens_saved:.1%} of the tokens, and lost {100 * report.auprc_lost:.1f} points of AUPRC and "
        f"{100 * report.f1_lost:.1f} of F1.",
    ]
    return "\n".join(lines) + "\n"


def _way(found: WayFigures) -> str:
    figures = [found.binary.auprc, found.binary.f1, found.binary.recall, found.binary.false_positive_rate]
    rate = 1_000 * found.questions / found.rows if found.rows else 0.0
    cells = [*map(_cell, figures), f"{found.questions:,}", f"{rate:,.0f}", f"{found.tokens:,}"]
    return f"| {found.way} | {' | '.join(cells)} |"


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
