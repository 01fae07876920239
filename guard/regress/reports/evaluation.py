"""An evaluation as Markdown, for a terminal, a pull request or a folder of reports."""

import math
from collections.abc import Mapping

from guard.metrics import Interval
from guard.regress.cascade import CascadeReport, WayFigures
from guard.regress.evaluate import HARMFUL, Cost, Figures, Report

__all__ = ["cascade_markdown", "markdown"]

_COLUMNS: Mapping[str, str] = {
    "auprc": "AUPRC",
    "auc": "AUC",
    "best_f1": "best F1",
    "recall_at_1_percent": "recall at 1 % FPR",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "false_positive_rate": "FPR",
    "ece": "ECE",
}


def markdown(report: Report) -> str:
    """A heading, what was read, and a table of the decision as a whole, each category and each language."""
    rows = {f"**{HARMFUL}**": report.binary} if report.binary.rows else {}
    rows |= report.categories
    for kind, parts in (("rail", report.rails), ("language", report.languages), ("group", report.groups)):
        rows |= {f"{kind} {name}": figures for name, figures in parts.items()}
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
    if report.acceptable is not None:
        found = report.acceptable
        lines += [
            "",
            f"Acceptable, with the {found.positives:,} harmless rows as the positives: precision {found.precision}, "
            f"recall {found.recall}.",
        ]
    if report.cost is not None:
        lines += ["", _cost(report.cost)]
    return "\n".join(lines) + "\n"


def cascade_markdown(report: CascadeReport) -> str:
    """The ways to a verdict: what each finds, of which category, at what cost; what the cascade saved and lost."""
    lines = [
        f"## {report.dataset}: the cascade",
        "",
        f"| {HARMFUL} | rows | positive | {' | '.join(_COLUMNS.values())} |",
        "|---|--:|--:|" + "--:|" * len(_COLUMNS),
        *[_row(way.way, way.binary) for way in report.ways],
        "",
        "| cost | seconds | texts a second | CPU seconds | questions to the judge | per 1,000 rows | its tokens |",
        "|---|--:|--:|--:|--:|--:|--:|",
        *map(_cost_row, report.ways),
        "",
    ]
    names = [name for name in report.ways[0].categories if all(name in way.categories for way in report.ways)]
    if names:
        lines += [
            f"| category | way | rows | positive | {' | '.join(_COLUMNS.values())} |",
            "|---|---|--:|--:|" + "--:|" * len(_COLUMNS),
            *[_row(f"{name} | {way.way}", way.categories[name]) for name in names for way in report.ways],
            "",
        ]
    lines += [
        f"Against the judge alone the cascade saved {report.questions_saved:.1%} of the questions and "
        f"{report.tokens_saved:.1%} of the tokens, and lost {100 * report.auprc_lost:.1f} points of AUPRC and "
        f"{100 * report.f1_lost:.1f} of F1.",
    ]
    return "\n".join(lines) + "\n"


def _cost_row(found: WayFigures) -> str:
    cost = found.cost
    rate = 1_000 * cost.questions / found.rows if found.rows else 0.0
    cells = [
        f"{cost.seconds:.2f}", f"{cost.texts_per_second:,.0f}", f"{cost.cpu_seconds:.2f}",
        f"{cost.questions:,}", f"{rate:,.0f}", f"{cost.tokens:,}",
    ]  # fmt: skip
    return f"| {found.way} | {' | '.join(cells)} |"


def _cost(cost: Cost) -> str:
    judge = f"; {cost.questions:,} questions to the judge, {cost.tokens:,} tokens" if cost.questions else ""
    return (
        f"Read in {cost.seconds:.2f} s: {cost.texts_per_second:,.0f} texts a second, {cost.cpu_seconds:.2f} s of CPU"
        f"{judge}."
    )


def _summary(report: Report) -> str:
    parts = [
        f"{report.rows:,} rows under policy `{report.policy}` ({report.fingerprint[:8]}), screen `{report.screen}`"
        f"{f', judge `{report.judge}`' if report.judge is not None else ''}"
    ]
    for count, what in (
        (report.unlabelled, "without a label that the policy asks for"),
        (report.errors, "could not be moderated"),
        (report.unsupported, "in a language that the screen was not made for"),
    ):
        if count:
            parts.append(f"{count:,} {what}")
    parts.append(f"{report.doubtful:.1%} with a doubtful score")
    told = f" Read as `{report.format}`: {report.about}" if report.format else ""
    return "; ".join(parts) + ". F1, precision, recall and FPR at the policy's thresholds; 95 % intervals." + told


def _row(name: str, figures: Figures) -> str:
    found = [getattr(figures, column) for column in _COLUMNS]
    return f"| {name} | {figures.rows:,} | {figures.positives:,} | " + " | ".join(map(_cell, found)) + " |"


def _cell(figure: Interval | float) -> str:
    if isinstance(figure, Interval):
        return str(figure)
    return "–" if math.isnan(figure) else f"{figure:.3f}"
