"""The cases as JUnit's XML, which CI systems show: a suite for each policy, a test for each case and each gate."""

from collections.abc import Sequence
from xml.etree import ElementTree

from guard.regress.reports.terminal import details
from guard.regress.suite import CaseReport, PolicyReport

__all__ = ["junit"]

_FORBIDDEN = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF, *range(0xD800, 0xE000)], "�")
"""Characters that XML 1.0 cannot hold."""


def junit(reports: Sequence[PolicyReport]) -> bytes:
    """One document. A case that is known to fail counts as skipped, with the reason."""
    root = ElementTree.Element("testsuites")
    for report in reports:
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=report.policy,
            tests=str(report.cases + len(report.gates)),
            failures=str(report.failed + sum(not gate.reached for gate in report.gates)),
            skipped=str(report.known_failures),
            errors="0",
            time=f"{report.seconds:.3f}",
        )
        for result in report.results:
            _case(suite, report.policy, result)
        for gate in report.gates:
            case = ElementTree.SubElement(suite, "testcase", classname=f"{report.policy}.gates", name=gate.name)
            if not gate.reached:
                message = f"asked {gate.asked}, found {gate.found}"
                ElementTree.SubElement(case, "failure", message=message)
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _case(suite: ElementTree.Element, policy: str, result: CaseReport) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=f"{policy}.cases", name=result.id, file=result.file, line=str(result.line)
    )
    if result.status == "known failure":
        ElementTree.SubElement(case, "skipped", message=_clean(f"known failure: {result.known_failure}"))
    elif result.status == "failed":
        failure = ElementTree.SubElement(case, "failure", message=_clean("; ".join(result.missed)))
        failure.text = _clean("\n".join(details(result)))


def _clean(text: str) -> str:
    return text.translate(_FORBIDDEN)
