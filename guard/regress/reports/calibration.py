"""A calibration as Markdown: what was fitted, what it gained, and thresholds for a false-positive rate."""

import math

from guard.metrics import Interval
from guard.regress.calibrate import Report, Row
from guard.regress.thresholds import Chosen

__all__ = ["markdown"]

MOST = 3
"""Files that a heading names."""

_HEAD = (
    "| category | scores of | rows | positive | curve | ECE before | after | Brier before | after | lower by |\n"
    "|---|---|--:|--:|---|--:|--:|--:|--:|--:|"
)


def markdown(report: Report) -> str:
    """What was read, a line for each category, what was left out and why, and the thresholds as a policy's YAML."""
    judge = f", judge `{report.judge.name}`" if report.judge is not None else ""
    names = ", ".join(data.name for data in report.data) if len(report.data) <= MOST else f"{len(report.data)} files"
    lines = [
        f"## Calibration of `{report.policy}` on {names}",
        "",
        f"{report.rows:,} rows, {report.unlabelled:,} without a label of the policy's, {report.errors:,} that could "
        f"not be moderated; screen `{report.screen.name}`{judge}. After: each row through a curve fitted without it "
        f"({report.folds} folds); 95 % intervals.",
        "",
    ]
    measured = [row for row in report.categories if row.ece is not None]
    if measured:
        lines += [_HEAD, *map(_line, measured), ""]
    lines += [
        f"- {row.category} ({row.source}) stays as it is: {row.reason}." for row in report.categories if row.reason
    ]
    for row in report.categories:
        if row.out_of_reach:
            lines.append(
                f"- {row.category} ({row.source}): no score reaches its threshold of {', '.join(row.out_of_reach)} any "
                "more; lower it, or calibrate on more rows."
            )
    if report.target is not None:
        lines += ["", *_thresholds(report, report.target)]
    return "\n".join(lines).rstrip() + "\n"


def _line(row: Row) -> str:
    cells = [row.category, row.source, f"{row.rows:,}", f"{row.positives:,}", row.way or "–"]
    if row.ece is not None and row.brier is not None and row.gain is not None:
        kept = row.way is not None
        cells += [
            f"{row.ece.before:.3f}",
            f"{row.ece.after:.3f}" if kept else "–",
            str(Interval(*row.brier.before)),
            str(Interval(*row.brier.after)) if kept else "–",
            f"{row.gain.value:.4f} ({row.gain.low:.4f}–{row.gain.high:.4f})" if kept else "–",
        ]
    return f"| {' | '.join(cells)} |"


def _thresholds(report: Report, target: float) -> list[str]:
    found = {name: chosen for name, chosen in report.thresholds.items() if chosen.threshold is not None}
    lines = [f"Thresholds for a false-positive rate of at most {target:.3g}:", ""]
    if found:
        lines += ["```yaml", "categories:"]
        for name, chosen in found.items():
            lines += [f"  # {_said(chosen)}", f"  {name}:", f"    thresholds: {{flag: {chosen.threshold:g}}}"]
        lines.append("```")
    lines += [f"- {name}: none; {chosen.reason}." for name, chosen in report.thresholds.items() if chosen.reason]
    return lines


def _said(chosen: Chosen) -> str:
    rate = chosen.false_positives / chosen.negatives
    parts = [
        f"{chosen.false_positives:,} of {chosen.negatives:,} negatives flagged ({rate:.2%}; at 95 % at most "
        f"{chosen.at_most:.2%})"
    ]
    if not math.isnan(chosen.recall.value):
        parts.append(f"recall {chosen.recall} of {chosen.positives:,}")
    if chosen.surely is not None:
        parts.append(f"from {chosen.surely:g} on the rate is surely as low")
    return "; ".join(parts)
