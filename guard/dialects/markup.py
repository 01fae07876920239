"""HTML as it is read: the text that a browser may show, and the way back into the HTML.

The standard library's parser takes 2.5 s for 20,000 characters of tags that never end, and four times that for twice
as many (Python 3.11); this one takes the same time for every character. Where browsers and whoever cleans HTML do not
agree, it reads more rather than less: scripts, styles, and what stands in a tag or comment that nobody ends.
"""

import html
import re
from typing import NamedTuple

from guard.text.offsets import Offsets

__all__ = ["Shown", "shown"]

_SPACE = r"[ \t\n\f\r]"
_BETWEEN = r"[ \t\n\f\r/]"
_NAME = r"[^ \t\n\f\r/>][^ \t\n\f\r/>=]*+"
# A quote that nobody ends takes everything: then no `>` follows, and this is no tag.
_VALUE = r""""[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z)|[^ \t\n\f\r>"'][^ \t\n\f\r>]*+|(?=>)"""
_EQUALS = rf"{_SPACE}*+={_SPACE}*+"
_TAG = re.compile(rf"</?([A-Za-z][^ \t\n\f\r/>]*+)((?:{_BETWEEN}*+{_NAME}(?:{_EQUALS}(?:{_VALUE}))?+)*+){_BETWEEN}*+>")
_ATTRIBUTE = re.compile(rf"({_NAME})(?:{_EQUALS}({_VALUE}))?+")
# As browsers end them: `<!-->` is a whole comment, and `--!>` ends one.
_UNSHOWN = re.compile(r"<!--(?:-?>|.*?--!?>)|<(?:!(?!--)|\?|/(?![A-Za-z]))[^>]*+>", re.DOTALL)
_OPENS = re.compile(r"<(?=[A-Za-z!?/])")
_REFERENCE = re.compile(r"&(?:#[0-9]++|#[xX][0-9a-fA-F]++|[A-Za-z][A-Za-z0-9]*+);?")

_WORDS = frozenset({"alt", "title", "aria-label", "placeholder", "value"})
"""Attributes whose text is shown."""
_VERBATIM = {
    name: re.compile(rf"</{name}(?=[ \t\n\f\r/>])", re.IGNORECASE)
    for name in ("iframe", "noembed", "noframes", "noscript", "script", "style", "textarea", "title", "xmp")
}
"""Elements in which there are no tags, with their ends."""
# fmt: off
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "br", "button", "caption", "center", "dd", "details",
    "dialog", "dir", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "frameset", "h1", "h2",
    "h3", "h4", "h5", "h6", "head", "header", "hr", "html", "iframe", "img", "input", "legend", "li", "main", "menu",
    "nav", "ol", "optgroup", "option", "p", "pre", "section", "select", "summary", "table", "tbody", "td", "textarea",
    "tfoot", "th", "thead", "title", "tr", "ul", "video",
})
# fmt: on
"""Elements that stand apart from the words around them; all others are part of a word."""


class Shown(NamedTuple):
    """The text, and where in the HTML its characters come from (code points)."""

    text: str
    offsets: Offsets


def shown(markup: str) -> Shown:
    """The text of some HTML, with a line break where an element stands apart.

    Worked example: ``"<p>k<b>ill</b> &amp; run"`` is ``"\\nkill & run"``; the span (1, 5) of that, ``"kill"``, is the
    span (3, 10) of the HTML, ``"k<b>ill"``.
    """
    found = _Found(markup)
    at = 0
    while opening := _OPENS.search(markup, at):
        found.text(at, opening.start())
        at = opening.start()
        tag = _TAG.match(markup, at)
        end = tag or _UNSHOWN.match(markup, at)
        if end is None:
            # Nobody ends it, so that there is no further tag.
            break
        at = end.end()
        if tag is not None:
            name = tag[1].lower()
            words = _words(tag[2])
            apart = ["\n"] if name in _BLOCKS or words else []
            found.instead(tag.start(), at, "".join([*apart, *[f"{word}\n" for word in words]]))
            if name in _VERBATIM and markup[tag.start() + 1] != "/":
                closing = _VERBATIM[name].search(markup, at)
                end_of_text = closing.start() if closing is not None else len(markup)
                found.text(at, end_of_text)
                at = end_of_text
    found.text(at, len(markup))
    return Shown("".join(found.pieces), Offsets(found.edits))


def _words(attributes: str) -> list[str]:
    """The shown texts among a tag's attributes."""
    found = []
    for attribute in _ATTRIBUTE.finditer(attributes):
        name, said = attribute[1].lower(), attribute[2] or ""
        if name in _WORDS and said:
            found.append(html.unescape(said[1:-1] if said[0] in "\"'" else said))
    return found


class _Found:
    """What has been read so far: the pieces of the text, and what stands instead of what."""

    def __init__(self, markup: str) -> None:
        self.pieces: list[str] = []
        self.edits: list[tuple[int, int, int]] = []
        self._markup = markup
        self._read = 0

    def instead(self, start: int, end: int, text: str) -> None:
        """`text` stands for these characters of the HTML."""
        self._skip(start)
        self.edits.append((start, end, len(text)))
        self.pieces.append(text)
        self._read = end

    def text(self, start: int, end: int) -> None:
        """These characters of the HTML are text, with references."""
        at = start
        while reference := _REFERENCE.search(self._markup, at, end):
            self._copy(at, reference.start())
            self.instead(*reference.span(), html.unescape(reference[0]))
            at = reference.end()
        self._copy(at, end)

    def _copy(self, start: int, end: int) -> None:
        if start < end:
            self._skip(start)
            self.pieces.append(self._markup[start:end])
            self._read = end

    def _skip(self, until: int) -> None:
        if self._read < until:
            self.edits.append((self._read, until, 0))
            self._read = until
