"""HTML as it is read: the text that a browser may show, and the way back into the HTML.

The standard library's parser takes 2.5 s for 20,000 characters of tags that never end, and four times that for twice
as many (Python 3.11); this one takes the same time for every character. Where browsers and whoever cleans HTML do not
agree, it reads more rather than less: scripts, styles, and what stands in a tag or comment that nobody ends. What is
markup in one place and text in another (a CDATA section, what follows `<plaintext>`) is read as both.
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
_ZEROS = re.compile(r"(?<=&#)0+(?=[0-9])|(?<=&#[xX])0+(?=[0-9a-fA-F])")
_LARGE = re.compile(r"(?<=&#)[0-9]{8,}+|(?<=&#[xX])[0-9a-fA-F]{8,}+")
_CDATA = "<![CDATA["

_WORDS = frozenset({"alt", "aria-description", "aria-label", "label", "placeholder", "title", "value"})
"""Attributes whose text is shown."""
_DEEPEST = 4
"""Documents in attributes of documents (`srcdoc`) that are read; a deeper one is given as it stands."""
_VERBATIM = frozenset({"script", "style", "textarea", "title"})
"""Elements in which there are no tags."""
_MARKED = frozenset({"iframe", "noembed", "noframes", "noscript"})
"""Elements in which tags are read away: it depends on the browser whether they are any, or whether they are shown."""
_BOTH = frozenset({"plaintext", "xmp"})
"""Elements in which browsers show tags, but not in each place where the element may stand."""
_CLOSINGS = {
    name: re.compile(rf"</{name}(?=[ \t\n\f\r/>])", re.IGNORECASE)
    for name in (_VERBATIM | _MARKED | _BOTH) - {"plaintext"}
}
"""Where these elements end, whatever stands in them; nothing ends a `<plaintext>`."""
# fmt: off
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "br", "button", "caption", "center", "dd", "details",
    "dialog", "dir", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "frameset", "h1", "h2",
    "h3", "h4", "h5", "h6", "head", "header", "hr", "html", "iframe", "img", "input", "legend", "li", "main", "menu",
    "nav", "ol", "optgroup", "option", "p", "plaintext", "pre", "section", "select", "summary", "table", "tbody", "td",
    "textarea", "tfoot", "th", "thead", "title", "tr", "ul", "video", "xmp",
})
# fmt: on
"""Elements that stand apart from the words around them; all others are part of a word."""


class Shown(NamedTuple):
    """The text, and where in the HTML its characters come from (code points)."""

    text: str
    offsets: Offsets


class _Found:
    """What has been read so far: the pieces of the text, and what stands instead of what."""

    def __init__(self, markup: str, at: int = 0) -> None:
        self.pieces: list[str] = []
        self.edits: list[tuple[int, int, int]] = []
        self._markup = markup
        self._read = at

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
            self.instead(*reference.span(), _unescaped(reference[0]))
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


def shown(markup: str) -> Shown:
    """The text of some HTML, with a line break where an element stands apart.

    Worked example: ``"<p>k<b>ill</b> &amp; run"`` is ``"\\nkill & run"``; the span (1, 5) of that, ``"kill"``, is the
    span (3, 10) of the HTML, ``"k<b>ill"``.
    """
    found = _Found(markup)
    _read(found, markup, 0, len(markup), 0)
    return Shown("".join(found.pieces), Offsets(found.edits))


def _read(found: _Found, markup: str, at: int, limit: int, depth: int, *, inside: bool = False) -> None:
    """Reads the HTML between two places. `depth`: how many documents it stands in; `inside`: whether in an element of
    `_MARKED` or `_BOTH`, where such elements are tags like any other (so that no letter is read more than a few
    times)."""
    # How far sections have been given already: one in another is text there.
    given = at
    while opening := _OPENS.search(markup, at, limit):
        found.text(at, opening.start())
        at = opening.start()
        tag = _TAG.match(markup, at, limit)
        end = tag or _UNSHOWN.match(markup, at, limit)
        if end is None:
            # Nobody ends it, so that there is no further tag.
            break
        at = end.end()
        if tag is None:
            if markup.startswith(_CDATA, opening.start()) and opening.start() >= given:
                given = _section(found, markup, end, limit)
            continue
        name = tag[1].lower()
        words = _words(tag[2], depth)
        special = markup[tag.start() + 1] != "/" and (
            name in _VERBATIM or (not inside and (name in _MARKED or name in _BOTH))
        )
        until = at
        if special:
            closing = _CLOSINGS[name].search(markup, at, limit) if name in _CLOSINGS else None
            until = closing.start() if closing is not None else limit
        if special and name in _BOTH and "<" in markup[at:until]:
            other = _Found(markup, at)
            _read(other, markup, at, until, depth, inside=True)
            words.append("".join(other.pieces))
        apart = ["\n"] if name in _BLOCKS or words else []
        found.instead(tag.start(), at, "".join([*apart, *[f"{word}\n" for word in words]]))
        if special and name in _MARKED:
            _read(found, markup, at, until, depth, inside=True)
        else:
            found.text(at, until)
        at = until
    found.text(at, limit)


def _section(found: _Found, markup: str, comment: re.Match[str], limit: int) -> int:
    """Gives a CDATA section and says where it ends. In svg, math and feeds all of it is text; elsewhere it is a comment
    up to the first `>`, and the HTML goes on there."""
    begin = comment.start() + len(_CDATA)
    closing = markup.find("]]>", begin, limit)
    until = closing if closing >= 0 else limit
    if closing + 3 == comment.end():
        found.text(begin, until)
    else:
        found.instead(*comment.span(), f"{_unescaped(markup[begin:until])}\n")
    return until


def _words(attributes: str, depth: int) -> list[str]:
    """The shown texts among a tag's attributes."""
    found = []
    for attribute in _ATTRIBUTE.finditer(attributes):
        name, said = attribute[1].lower(), attribute[2] or ""
        if said and (name in _WORDS or name == "srcdoc"):
            text = _unescaped(said[1:-1] if said[0] in "\"'" else said)
            found.append(_document(text, depth + 1) if name == "srcdoc" and depth < _DEEPEST else text)
    return found


def _document(markup: str, depth: int) -> str:
    found = _Found(markup)
    _read(found, markup, 0, len(markup), depth)
    return "".join(found.pieces)


def _unescaped(text: str) -> str:
    """`html.unescape`, which raises ValueError for a number of more than 4300 digits."""
    # Too large for a character, as what it stands for: U+FFFD.
    return html.unescape(_LARGE.sub("9999999", _ZEROS.sub("", text)))
