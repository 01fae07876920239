"""Extra readings of the main text: what it says once leetspeak is folded, letters joined, codes decoded."""

import base64
import binascii
import codecs
import html
import re
import string
import urllib.parse
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from .fold import fold
from .offsets import Edit, Offsets, back, rewrite

__all__ = ["MAX_HIDDEN_RUNS", "MAX_VIEWS", "View", "find_views", "hidden_views", "is_plain"]

MAX_VIEWS = 8
MAX_HIDDEN_RUNS = 20_000


class View:
    """One more reading of a normalised text; immutable.

    `kind` is one of ``tags`` (the text without what was hidden in tag characters, and the hidden
    part alone where it stood in pieces), ``hex`` (also ``\\\\x68`` and ``68 69``), ``base64``,
    ``escapes`` (``%68``, ``&#104;``, ``\\\\u0068``), ``spaced_letters``, ``rot13``, ``leetspeak``.
    `text` is the whole text so read; for ``base64`` and ``hex`` only the decoded blocks, one per line.
    """

    __slots__ = ("_maps", "kind", "text")

    def __init__(self, kind: str, text: str, maps: tuple[Offsets, ...] = ()) -> None:
        self.kind = kind
        self.text = text
        self._maps = maps

    def __repr__(self) -> str:
        return f"<View {self.kind}: {len(self.text)} characters>"

    def to_text(self, start: int, end: int) -> tuple[int, int]:
        """A span of `text` as a span of the normalised text; inside a decoded block, the whole block.

        ``normalise("say aWdub3JlIGFsbCBydWxlcw==").views[0].to_text(0, 6) == (4, 28)``: the view
        reads "ignore all rules", and any part of it stands on the whole block.
        """
        return back(self._maps, start, end, length=len(self.text))


# The quick look at ASCII text: its bytes by class, and the class sequences that call for a close look.
def _classes(rest: str, **members: str) -> bytes:
    table = bytearray(rest.encode() * 256)
    for name, characters in members.items():
        for character in characters:
            table[ord(character)] = ord(_CLASS_SIGNS[name])
    return bytes(table)


_CLASS_SIGNS = {"letter": "a", "digit": "0", "mark": "!", "space": " ", "separator": ".", "control": "\0"}
_SHAPES = _classes(
    "x",
    control="".join(map(chr, (*range(32), 127))),
    letter=string.ascii_letters,
    digit="0123456789@$",
    mark="!|",
    space=" \t\n\r",
    separator="._-*~/",
)
_BLOCKS = _classes(" ", letter=string.ascii_letters + string.digits + "+/_-")
_SEPARATED = re.compile(rb"\. ?a ?\.")
_SUSPECT_SIGNS = re.compile(rb"[0!](?:(?<=a.)[a0]|(?<=a.) a [0a] |aa)|0[0a][ .x]0[0a][ .x]0[0a]")
# Pairs of letters that rot13 makes of the commonest English ones, and that English hardly has.
_ROT13_STEMS = ("yy", "gur", "aq", "lbh", "bh", "px")


def is_plain(text: str) -> bool:
    """True where ASCII text certainly needs no fold and has no views; about 10 ns per character."""
    raw = text.encode("ascii")
    shape = b" " + raw.translate(_SHAPES) + b" "
    if b"\0" in shape or b" a a a " in shape or _SEPARATED.search(shape):
        return False
    if b"  " in shape and (b" a  a " in shape or b" a   a " in shape):
        return False
    if (b"0" in shape or b"!" in shape) and _SUSPECT_SIGNS.search(shape):
        return False
    if b"aaaaaaaaaaaaaaaa" in raw.translate(_BLOCKS) or ("\r" in text and _LONE_RETURN.search(text)):
        return False
    if "\\" in text or "%" in text or "&" in text:
        return False
    lower = raw.lower().decode("ascii")
    for stem in _ROT13_STEMS:  # noqa: SIM110 (a generator would cost more than the search)
        if stem in lower:
            return False
    return True


_LONE_RETURN = re.compile("\r(?!\n)")


# --- decoded blocks

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}(?:\r?\n[A-Za-z0-9+/_-]{4,})*={0,2}")
_HEX = re.compile(
    r"(?:\\x[0-9A-Fa-f]{2}){2,}|(?<![0-9A-Za-z])[0-9A-Fa-f]{2}(?:[ :,\-\n][0-9A-Fa-f]{2}){3,}(?![0-9A-Za-z])"
    r"|(?:[0-9A-Fa-f]{2}){8,}"
)
_HEX_NOISE = re.compile(r"\\x|[^0-9A-Fa-f]")
_LETTERS_OR_SPACE = re.compile(r"[^\W\d_]|\s")


def _readable(raw: bytes) -> str | None:
    """The text in decoded bytes, folded like any other; None where they are no text."""
    try:
        wide = len(raw) > 3 and raw[1::2].count(0) == len(raw) // 2
        text = raw.decode("utf-16-le" if wide else "utf-8")
    except UnicodeDecodeError:
        return None
    text = text.strip("\0\ufeff")
    bare = text.replace("\n", " ").replace("\t", " ").replace("\r", " ")
    odd = sum(1 for c in bare if not c.isprintable())
    if not text or 10 * odd > len(text) or 10 * len(_LETTERS_OR_SPACE.findall(text)) < 6 * len(text):
        return None
    return fold(text).text


def _decode_base64(block: str) -> str | None:
    for candidate in (block, block.partition("\n")[0]) if "\n" in block else (block,):
        bare = "".join(candidate.split()).rstrip("=").replace("-", "+").replace("_", "/")
        if len(bare) % 4 == 1:
            bare = bare[:-1]
        try:
            text = _readable(base64.b64decode(bare + "=" * (-len(bare) % 4)))
        except binascii.Error:
            continue
        if text is not None:
            return text
    return None


def _decode_hex(block: str) -> str | None:
    digits = _HEX_NOISE.sub("", block)
    return _readable(bytes.fromhex(digits[: len(digits) & ~1]))


def _blocks(text: str, pattern: re.Pattern[str], decode: Callable[[str], str | None]) -> tuple[str, Offsets] | None:
    """All decoded blocks, one per line; each maps to where the whole block stands."""
    lines: list[str] = []
    edits: list[Edit] = []
    seen = 0
    for match in pattern.finditer(text):
        decoded = decode(match[0])
        if not decoded:
            continue
        start, end = match.span()
        edits += [(seen, start, 1 if lines else 0), (start, end, len(decoded))]
        lines.append(decoded)
        seen = end
    edits.append((seen, len(text), 0))
    return ("\n".join(lines), Offsets(edits)) if lines else None


# --- escapes

_ESCAPES = re.compile(
    r"(?:%[0-9A-Fa-f]{2})+|(?:&\#(?:[0-9]{1,7}|[xX][0-9A-Fa-f]{1,6});?)+"
    r"|(?:\\u[0-9A-Fa-f]{4}|\\u\{[0-9A-Fa-f]{1,6}\}|\\U[0-9A-Fa-f]{8})+"
)
_CODE_POINT = re.compile(r"\\u\{?([0-9A-Fa-f]+)\}?|\\U([0-9A-Fa-f]{8})", re.ASCII)


def _unescape(match: re.Match[str]) -> str:
    found = match[0]
    if found[0] == "%":
        decoded = urllib.parse.unquote(found, errors="ignore")
        # %20 and its like are how a URL is written; an escaped letter is not.
        decoded = decoded if any(c.isalpha() for c in decoded) else found
    elif found[0] == "&":
        decoded = html.unescape(found)
    else:
        decoded = _CODE_POINT.sub(_code_point, found)
    return fold(decoded).text if decoded != found else found


def _code_point(match: re.Match[str]) -> str:
    code = int(match[1] or match[2], 16)
    return chr(code) if code <= 0x10FFFF else "\ufffd"


# --- spaced letters

_GAP = r"(?:[ \t]{1,3}|\n|[ ]?[._\-*~|/+][ ]?)"
_SPACED = re.compile(rf"(?<![^\W_])[A-Za-z@$](?:{_GAP}[A-Za-z013457@$!](?![^\W_])){{2,}}")
_GAPS = re.compile(r"[ \t]{2,3}(?=[^\s._\-*~|/+])|\s*[._\-*~|/+]\s*|\s")


def _is_spelled(run: str) -> bool:
    """Not an alphabet, an abbreviation or a formula."""
    letters = [c for c in run if c.isalpha()]
    small = [ord(c.lower()) for c in letters]
    signs = sum(c in "013457@$!" for c in run)
    if len(letters) < 3 or signs * 2 > len(letters):
        return False
    if len(set(small)) == 1 or all(b - a == 1 for a, b in pairwise(small)):
        return False
    shortest = 4 if "." in run or "/" in run or run.upper() == run else 3
    shortest = 6 if "." in run and run.upper() == run else shortest
    return len(letters) >= shortest


def _joined(text: str) -> tuple[str, Offsets] | None:
    """`text` with spelled-out words joined; every letter keeps its own place, a wide gap stays a space."""
    edits: list[Edit] = []
    pieces: list[str] = []
    copied = 0
    for run in _SPACED.finditer(text):
        if not _is_spelled(run[0]):
            continue
        gaps = list(_GAPS.finditer(text, run.start() + 1, run.end()))
        narrowest = min(len(gap[0]) for gap in gaps)
        separated = 2 * sum(gap[0].isspace() for gap in gaps) < len(gaps)
        for gap in gaps:
            wide = gap[0].isspace() and (len(gap[0]) > narrowest or separated)
            pieces += (text[copied : gap.start()], " " if wide else "")
            edits.append((gap.start(), gap.end(), int(wide)))
            copied = gap.end()
    return ("".join(pieces) + text[copied:], Offsets(edits)) if edits else None


# --- rot13

_COMMON = """
the and you that this with have not for are they will your what was his her all can who out get how new man
kill die hate bomb suicide yourself ignore previous instructions system prompt password stupid idiot attack
from would there their about which when make like just know people into good some could them other than then
look only come over think also back after work first well even want because any these give most should must
never always please tell how write something everyone nobody deserve hurt weapon drug steal money reveal
secret rules instruction forget answer question message hello world really every under again against where
themselves himself herself myself ourselves everything nothing anything before between through family friend
"""
_ROT13 = {codecs.encode(word, "rot13") for word in _COMMON.split()} - set(_COMMON.split())
_LATIN_WORD = re.compile(r"(?<![\w+/=])[A-Za-z]{2,16}(?![\w+/=])")
_NEARBY_WORDS = 12
_ENOUGH_LETTERS = 6
_LONG_WORD = 8


def _is_rot13(text: str) -> bool:
    """Two different words near each other that are common English in rot13, or a long one."""
    nearby: deque[str] = deque(maxlen=_NEARBY_WORDS)
    for match in _LATIN_WORD.finditer(text):
        word = match[0].lower()
        if word in _ROT13:
            hits = {word} | (_ROT13 & set(nearby))
            if len(word) >= _LONG_WORD or (len(hits) >= 2 and sum(map(len, hits)) >= _ENOUGH_LETTERS):
                return True
        nearby.append(word)
    return False


# --- leetspeak

_LEET_SIGN = re.compile(r"[0-9@$!|](?:(?<=[A-Za-z].)(?=[A-Za-z0-9@$])|(?=[A-Za-z]))|(?<=[A-Za-z]\$)\$")
_TOKEN = re.compile(r"\S+")
_ADDRESS = re.compile(r"://|www\.|@[\w-]+\.\w|\w/\w|^[#&]|^@\w+$(?<!^@ss)|[={}<>\\]")
_PIECE = re.compile(r"[A-Za-z0-9@$!|]+")
_LEET = str.maketrans("013457@$!|89", "oieastasiibg")
# he1p, ki11, 1oser; elsewhere (k1ll, 1diot) the 1 is an i.
_ONE_AS_L = re.compile(r"11|(?<=[aeouAEOU])[1|](?=l|p|f|t|d|k|s|e|\b)|(?<=[iI04])[1|]|^1(?=[aeou])")
_LEET_WORD = re.compile(
    r"(?=.*[A-Za-z])(?:"
    r"[@$][a-z]{3,}|@ss[a-z]*|[$][a-z]*[0134578@!$][a-z]+|[134578][a-z]{4,}"  # $hit, @ss, $h!t, 5uicide
    # k1ll, y0ur5elf, b00b
    r"|[0134578@$!]?(?:[A-Za-z]+(?:[013457@$]|00|11|33|44|55|77|88|99|\$\$|@@))+[A-Za-z]+"
    r"|[0134578@$!]?(?:[A-Za-z]{1,3}[!|])(?:[A-Za-z]+[013457@$!]+)*[A-Za-z]+"  # sh!t
    r"|[A-Za-z]{1,6}\$\$|[a-z]{1,2}11|a55"  # a$$, he11
    r")"
)
_AFTER_A_NUMBER = re.compile(
    r"[134578](?:hours?|minutes?|seconds?|weeks?|months?|years?|stars?|times?|people|chan|eleven|points?|"
    r"percent|pack|miles?|bits?|bytes?|days?|persons?|items?|pages?|rooms?|players?|inch|volts?|watts?)",
    re.I,
)
_ORDINARY = re.compile(
    r"0x[0-9a-f]+|[0-9a-f]{6,}|(?=.*[a-z][A-Z]).*[0-9].*|.*(?:sum|sha|md5|utf|log4|win32|oauth).*|[hH]1[nN]1"
)


def _is_leet(piece: str) -> bool:
    if not 3 <= len(piece) <= 32 or piece.isalpha() or _AFTER_A_NUMBER.fullmatch(piece):
        return False
    if not _LEET_WORD.fullmatch(piece) or (_ORDINARY.fullmatch(piece)):
        return False
    letters = sum(c.isalpha() for c in piece)
    signs = len(piece) - letters
    if piece.isupper() or signs >= 3:
        return letters >= 2 * signs or (letters >= signs and letters + signs >= 8)
    return letters >= signs or piece == "a55"


def _fold_leet(match: re.Match[str]) -> str:
    piece = match[0]
    bare = piece.rstrip("!|")
    if not _is_leet(bare):
        return piece
    return _ONE_AS_L.sub(lambda one: "l" * len(one[0]), bare).translate(_LEET) + piece[len(bare) :]


def _fold_token(match: re.Match[str]) -> str:
    token = match[0]
    if len(token) > 64 or token.isalpha() or _ADDRESS.search(token):
        return token
    return _PIECE.sub(_fold_leet, token)


# --- all together


def _readings(text: str, within: str) -> Iterator[tuple[str, str, tuple[Offsets, ...]]]:
    """Each reading of `text` as (kind, text, maps); `within` is the kind of view that `text` is, or empty."""
    if within not in ("spaced_letters", "rot13"):
        for kind, pattern, decode in (("base64", _BASE64, _decode_base64), ("hex", _HEX, _decode_hex)):
            found = _blocks(text, pattern, decode)
            if found is not None:
                yield kind, found[0], (found[1],)
        if "%" in text or "&#" in text or "\\" in text:
            unescaped, offsets = rewrite(text, _ESCAPES, _unescape)
            if unescaped != text:
                yield "escapes", unescaped, (offsets,) if offsets else ()
        if _is_rot13(text):
            yield "rot13", codecs.encode(text, "rot13"), ()
    if within != "spaced_letters":
        joined = _joined(text)
        if joined is not None:
            yield "spaced_letters", joined[0], (joined[1],)
    if _LEET_SIGN.search(text):
        # One sign for one letter: every position holds, and no map is needed.
        yield "leetspeak", _TOKEN.sub(_fold_token, text), ()


def find_views(text: str) -> tuple[list[View], bool]:
    """The views of a normalised text, nested ones (to depth 2) after those they stand in.

    The flag says that there were more than the bounds allow (8 views, in all four times the
    text or 64k characters). Readings that repeat another are left out.
    """
    views: list[View] = []
    seen = {text}
    room = max(65_536, 4 * len(text))
    outer: Sequence[View] = (View("", text),)
    for _ in range(2):
        found: list[View] = []
        for parent in outer:
            for kind, reading, maps in _readings(parent.text, parent.kind):
                if reading in seen or not reading.strip():
                    continue
                if len(views) + len(found) == MAX_VIEWS or len(reading) > room:
                    return views + found, True
                seen.add(reading)
                room -= len(reading)
                found.append(View(kind, reading, parent._maps + maps))
        views += found
        outer = [view for view in found if view.kind != "leetspeak"]
    return views, False


def hidden_views(text: str, maps: Sequence[Offsets], runs: Sequence[tuple[int, int]]) -> list[View]:
    """The text without what was hidden in `runs` of the original, and the hidden part alone if in pieces."""
    stretches: list[tuple[int, int]] = []
    for run in runs:
        start, end = run
        for offsets in maps:
            start, end = offsets.forward(start), offsets.forward(end)
        if start < end:
            stretches.append((start, end))
    if not stretches:
        return []
    gaps = _between(stretches, len(text))
    views = [_kept(text, gaps, stretches)]
    if len(stretches) > 1:
        bare = [(start + 1, end - 1) for start, end in stretches if end - start > 2]
        views.append(_kept(text, bare, _between(bare, len(text))))
    return [view for view in views if view.text.strip()]


def _between(stretches: Sequence[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    edges = [0, *(edge for stretch in stretches for edge in stretch), length]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]


def _kept(text: str, kept: Sequence[tuple[int, int]], dropped: Sequence[tuple[int, int]]) -> View:
    return View("tags", "".join(text[a:b] for a, b in kept), (Offsets([(a, b, 0) for a, b in dropped]),))
