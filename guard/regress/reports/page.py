"""One HTML page that needs nothing else: figures, curves, flips and every case, with a filter.

The page's script and style stand in `page.html`; what was found goes in as JSON, and every text of a case is set as
text, never as HTML.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from guard import __version__
from guard.regress.suite import PolicyReport

__all__ = ["page"]

_TEMPLATE = Path(__file__).with_name("page.html")
_PLACE = "__REPORT__"


def page(reports: Sequence[PolicyReport]) -> str:
    """The page on these policies."""
    found = msgspec.json.encode({"version": __version__, "policies": reports}).decode()
    # Inside a script only `<` could end it, or begin a comment.
    safe = found.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return _TEMPLATE.read_text(encoding="utf-8").replace(_PLACE, safe, 1)
