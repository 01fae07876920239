"""HTML pages that need nothing else: a policy's cases with figures, curves and flips; an evaluation with curves.

A page's own script stands in its template, `page.html` or `evaluation.html`; what both share, in `shared.css` and
`shared.js`. What was found goes in as JSON, and every text of a case is set as text, never as HTML.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from guard import __version__
from guard.regress.cascade import CascadeReport
from guard.regress.curves import Curve
from guard.regress.diff import Diffed
from guard.regress.evaluate import Report
from guard.regress.suite import PolicyReport

__all__ = ["diff_page", "evaluation_page", "page"]

_FOLDER = Path(__file__).parent
_PLACE = "__REPORT__"
_SHARED = {"__STYLE__": "shared.css", "__SCRIPT__": "shared.js"}


def page(reports: Sequence[PolicyReport]) -> str:
    """The page on these policies."""
    return _filled("page.html", {"version": __version__, "policies": reports, "diffs": []})


def diff_page(found: Sequence[Diffed]) -> str:
    """The page on these comparisons, with the texts of their flips."""
    diffs = [{"diff": diff, "shown": shown} for diff, shown in found]
    return _filled("page.html", {"version": __version__, "policies": [], "diffs": diffs})


def evaluation_page(
    reports: Sequence[Report],
    cascades: Sequence[CascadeReport] = (),
    curves: Sequence[Mapping[str, Mapping[str, Curve]]] = (),
) -> str:
    """The page on these data sets: figures, curves by way and question, and the ways side by side where there are
    several. It holds no row of a data set."""
    found = {"version": __version__, "reports": reports, "cascades": cascades, "curves": curves}
    return _filled("evaluation.html", found)


def _filled(template: str, report: Mapping[str, object]) -> str:
    text = _read(template)
    for place, name in _SHARED.items():
        text = text.replace(place, _read(name).rstrip("\n"), 1)
    found = msgspec.json.encode(report).decode()
    # Inside a script only `<` could end it, or begin a comment.
    safe = found.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    # Last: what was found is not searched for places.
    return text.replace(_PLACE, safe, 1)


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
