"""What GitHub shows: failed cases and flips as annotations at their lines, and a summary as Markdown.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from collections.abc import Iterator, Sequence

from guard.regress.reports.terminal import details, flip_line
from guard.regress.suite import PolicyReport

__all__ = ["annotations", "summary"]


def annotations(reports: Sequence[PolicyReport]) -> Iterator[str]:
    """One command a line: errors for failed cases and gates, warnings for other flips from right to wrong."""
    for report in reports:
        places = {result.id: result for result in report.results}
        for result in report.results:
            if result.status == "failed":
                yield _command("error", result.file, result.line, f"{report.policy}: {result.id}", details(result))
        for flip in report.flips.flips if report.flips is not None else ():
            place = places[flip.id]
            if flip.direction == "broken" and place.status != "failed":
                yield _command("warning", place.file, place.line, f"{report.policy}: {flip.id}", [flip_line(flip)])
        for gate in report.gates:
            if not gate.reached:
                said = f"asked {gate.asked}, found {gate.found}"
                yield f"::error title={_property(f'{report.policy}: gate {gate.name}')}::{_data(said)}"


def summary(reports: Sequence[PolicyReport]) -> str:
    """All policies as Markdown: figures, failed gates, failed cases, flips."""
    lines: list[str] = []
    for report in reports:
        verdict = "passed" if report.reached else "**failed**"
        lines += [
            f"## {report.policy}: {verdict}",
            "",
            f"{report.cases} cases: {report.passed} passed, {report.failed} failed, {report.known_failures} known to "
            f"fail, {report.fixed} fixed. Models: {', '.join(str(name) for name in report.models.values() if name)}.",
            "",
            *[f"- gate `{g.name}`: asked {g.asked}, found {g.found}" for g in report.gates if not g.reached],
            "",
            "| category | violating | not | precision | recall | F1 | false positives |",
            "|---|--:|--:|--:|--:|--:|--:|",
        ]
        for name, found in report.categories.items():
            figures = (found.precision, found.recall, found.f1, found.false_positive_rate)
            lines.append(
                f"| {name} | {found.positives} | {found.negatives} | {' | '.join(one.brief for one in figures)} |"
            )
        lines += ["", *[f"- ✗ `{r.id}`: {'; '.join(r.missed)}" for r in report.results if r.status == "failed"]]
        if report.flips is not None:
            flips = report.flips
            counted = f"{flips.broken} broken, {flips.mended} mended, McNemar p = {flips.p_value:.3g}"
            lines += ["", f"{len(flips.flips)} flips against the baseline: {counted}.", ""]
            lines += [f"- {flip.direction}: `{flip.id}` {flip_line(flip)}" for flip in flips.flips]
        lines.append("")
    return "\n".join(lines)


def _command(kind: str, file: str, line: int, title: str, said: Sequence[str]) -> str:
    return f"::{kind} file={_property(file)},line={line},title={_property(title)}::{_data(chr(10).join(said))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
