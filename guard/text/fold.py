"""The main text: characters folded to what a reader sees, pass by pass, each with its offsets.

The passes repeat until none changes anything (two rounds nearly always), which makes the whole
idempotent. Each is one compiled regex over the text, so the cost is linear in its length; runs of
combining marks are cut *before* NFKC, whose canonical ordering is quadratic in them.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import NamedTuple

from .lookalikes import ENCLOSED, FLAGS, FOLD, STRICT, script
from .offsets import Offsets, rewrite

__all__ = ["Folded", "fold", "hidden_runs"]

_MAX_ROUNDS = 6
_MAX_GENERIC_MARKS = 2
_MAX_SCRIPT_MARKS = 8


class Folded(NamedTuple):
    """The text, its maps (oldest first) and the steps that changed something."""

    text: str
    maps: tuple[Offsets, ...]
    steps: frozenset[str]


def _ranges(codes: Iterable[int]) -> str:
    """The body of a regex character class for ascending code points."""
    runs: list[list[int]] = []
    for code in codes:
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in runs)


def _within(*blocks: tuple[int, int]) -> Iterable[int]:
    for first, last in blocks:
        yield from range(first, last + 1)


_INVISIBLE = (
    "\u00ad\u034f\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\ufe00-\ufe0f\ufeff"
    "\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0080-\U000e0fff"
)
# Blank to the eye, but letters or symbols by their class: taken away they would glue words together.
_BLANKS = re.compile("[\u115f\u1160\u2800\u3164\uffa0]")
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"
_EMOJI = (
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u24c2\u25aa-\u25fe\u2600-\u27bf"
    "\u2934\u2935\u2b05-\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)
_JOINING = "\u0620-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17b3\u17b6-\u17ff\u1820-\u18aa"
_VIRAMAS = "\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca\u1039\u17d2"
_GENERIC_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_MARKS = _ranges(
    code
    for code in _within(
        (0x300, 0x1DFF), (0x20D0, 0x20FF), (0x2CEF, 0x2DFF), (0x302A, 0x309A), (0xA66F, 0xABED),
        (0xFB1E, 0xFB1E), (0xFE20, 0xFE2F), (0x101FD, 0x11FFF), (0x16AF0, 0x16FFF), (0x1D165, 0x1D244),
        (0x1DA00, 0x1DAAF), (0x1E000, 0x1E94A),
    )
    if unicodedata.category(chr(code))[0] == "M" and not 0x180B <= code <= 0x180F
)  # fmt: skip
# What can compose with the character before it: marks, conjoining jamo, half-width voicing and jamo.
_EXTENDS = _MARKS + "\u1161-\u11ff\ud7b0-\ud7fb\uff9e\uff9f\uffa1-\uffdc"
# Spacing accents (people type them as apostrophes) and Korean jamo as in ㅋㅋㅋ stay as they are.
_LEFT_ALONE = frozenset("¨¯´¸˘˙˚˛˜˝") | {chr(code) for code in range(0x3131, 0x318F)}
_UNSTABLE = _ranges(
    code
    for code in _within(
        (0xA0, 0x33FF), (0xA640, 0xABFF), (0xF900, 0xFFEF), (0x10780, 0x107BF), (0x11000, 0x11FFF),
        (0x16D00, 0x16DFF), (0x1CCD6, 0x1CCF9), (0x1D100, 0x1D7FF), (0x1E000, 0x1EFFF), (0x1F100, 0x1F2FF),
        (0x1FBF0, 0x1FBF9), (0x2F800, 0x2FA1F),
    )
    if chr(code) not in _LEFT_ALONE and unicodedata.normalize("NFKC", chr(code)) != chr(code)
)  # fmt: skip

_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]")
_CONTROLS = re.compile("\r(?!\n)|[\x0b\x0c\x85\u2028\u2029]|[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]+")
_TAGS = re.compile(
    "(\U0001f3f4(?:\U000e0067\U000e0062(?:\U000e0065\U000e006e\U000e0067|\U000e0073\U000e0063\U000e0074|"
    "\U000e0077\U000e006c\U000e0073)\U000e007f))|[\U000e0000-\U000e007f]+"
    "|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}"
)
_BIDI_RUN = re.compile(f"[{_BIDI}]+")
_INVISIBLES = re.compile(
    f"([{_EMOJI}][\ufe0e\ufe0f]?(?:\u200d[{_EMOJI}][\ufe0e\ufe0f]?)*|[0-9#*]\ufe0f\u20e3"
    f"|(?<=[{_VIRAMAS}])[\u200c\u200d]|(?<=[{_JOINING}])[\u200c\u200d](?=[{_JOINING}])"
    f"|(?<=[\u1820-\u18aa])[\u180b-\u180d\u180f]"
    f"|(?<=[\u3400-\u9fff\U00020000-\U000323af])[\U000e0100-\U000e01ef])|[{_INVISIBLE}]+"
)
_ANY_INVISIBLE = re.compile(f"[{_INVISIBLE}]")
_MARK_RUN = re.compile(f"[{_MARKS}]{{4,}}|(?<=[A-Za-z])[\u0305\u0332-\u0338\u033f\u20d0-\u20ff\u0488\u0489]+")
_GENERIC_RUN = re.compile(f"[{_GENERIC_MARKS}]{{{_MAX_GENERIC_MARKS + 1},}}")
_GENERIC = re.compile(f"[{_GENERIC_MARKS}]")
_CLUSTER = re.compile(f"[^{_EXTENDS}]?[{_EXTENDS}]+|[{_UNSTABLE}]")
_ENCLOSED = re.compile("[\U0001f1e6-\U0001f1ff]+|[\U0001f150-\U0001f169\U0001f170-\U0001f189]")
_FOLDABLE = re.compile(f"[{''.join(sorted(FOLD))}]")
_WORD = re.compile(f"[\\w{_MARKS}]+")
_FOLD_TABLE = str.maketrans(FOLD)
_SCIENTIFIC = frozenset("ΔΛΣΘαβγδλμπστω")


def _surrogate(match: re.Match[str]) -> str:
    pair = match[0]
    if len(pair) == 1:
        return "\ufffd"
    return pair.encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def _nothing(match: re.Match[str]) -> str:
    return ""


def _control(match: re.Match[str]) -> str:
    """Line ends of every kind become ``\\n`` (CRLF is ordinary and stays); the rest goes."""
    return "\n" if match[0] in "\r\x0b\x0c\x85\u2028\u2029" else ""


def _tag(match: re.Match[str]) -> str:
    """Hidden ASCII, or bytes hidden in variation selectors, made visible between spaces."""
    run = match[0]
    if match[1]:
        return run
    if run[0] > "\U000e00ff" or run[0] < "\U000e0000":
        codes = (ord(c) - 0xFE00 if c < "\U000e0000" else ord(c) - 0xE0100 + 16 for c in run)
        hidden = bytes(codes).decode("utf-8", "replace")
        hidden = hidden if hidden.isprintable() and "\ufffd" not in hidden else ""
    else:
        hidden = "".join(chr(ord(c) & 0x7F) for c in run if "\U000e0020" <= c <= "\U000e007e")
    return f" {hidden} " if hidden.strip() else ""


def _invisible(match: re.Match[str]) -> str:
    return match[1] or ""


def _marks(match: re.Match[str]) -> str:
    """Zalgo and strike-through leave the bare letter; long runs of a script's own marks are cut."""
    run = match[0]
    return "" if _GENERIC.match(run) else run[:_MAX_SCRIPT_MARKS]


def _compatible(match: re.Match[str]) -> str:
    cluster = match[0]
    if cluster[0] in _LEFT_ALONE:
        return cluster[0] + unicodedata.normalize("NFKC", cluster[1:])
    return unicodedata.normalize("NFKC", cluster)


def _enclosed(match: re.Match[str]) -> str:
    """Letters in boxes and circles; regional indicators only where they do not spell flags."""
    run = match[0]
    letters = "".join(ENCLOSED[c] for c in run)
    if run[0] >= "\U0001f1e6" and len(run) % 2 == 0:
        pairs = {letters[i : i + 2] for i in range(0, len(letters), 2)}
        if pairs <= FLAGS:
            return run
    return letters


class _Words:
    """Decides word by word whether look-alikes are folded; `latin` says that the text is Latin otherwise."""

    def __init__(self, text: str) -> None:
        self.latin = _is_latin_otherwise(text)

    def __call__(self, match: re.Match[str]) -> str:
        word = match[0]
        if word.isascii() or not _FOLDABLE.search(word):
            return word
        letters = {c for c in word if c.isalpha()}
        odd = {c for c in letters if not c.isascii()}
        scripts = {script(c) for c in letters}
        if scripts == {"latin"}:
            return word.translate(_FOLD_TABLE) if odd <= FOLD.keys() else word
        if len(scripts) == 1:
            return word.translate(_FOLD_TABLE) if self.latin and odd <= STRICT else word
        if _is_science(word, odd):
            return word
        foreign = {c for c in odd if script(c) != "latin"}
        if foreign <= FOLD.keys() or 2 * sum(c.isascii() for c in word) >= len(word):
            return word.translate(_FOLD_TABLE)
        return word


def _is_science(word: str, odd: set[str]) -> bool:
    """μm, kΩ, Δt, αSyn: one Greek letter at the head of a word, or a short unit."""
    return len(odd) == 1 and word[0] in _SCIENTIFIC and (len(word) <= 3 or word[0] in "Δμ" or word[1].isupper())


def _is_latin_otherwise(text: str) -> bool:
    """True where at least half of the letters are ASCII and every wholly foreign word is look-alikes."""
    plain = foreign = 0
    for match in _WORD.finditer(text):
        word = match[0]
        if word.isascii():
            plain += len(word)
            continue
        letters = {c for c in word if c.isalpha()}
        if any(c.isascii() for c in letters) or letters <= STRICT:
            ascii_count = sum(c.isascii() for c in word)
            plain += ascii_count
            foreign += len(word) - ascii_count
        elif any(script(c) != "latin" for c in letters):
            return False
        else:
            plain += len(word)
    return plain >= foreign


def hidden_runs(original: str) -> list[tuple[int, int]]:
    """Where tag characters and long runs of variation selectors stand in an original text."""
    return [match.span() for match in _TAGS.finditer(original) if not match[1]]


def fold(text: str) -> Folded:
    """The main text of `text`. Total and idempotent; ASCII without controls comes back as it is."""
    maps: list[Offsets] = []
    steps: set[str] = set()

    def apply(step: str, pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str], aligned: bool) -> None:
        nonlocal text
        new, offsets = rewrite(text, pattern, replace, aligned=aligned)
        if new != text:
            steps.add(step)
        if offsets is not None:
            maps.append(offsets)
        text = new

    for _ in range(_MAX_ROUNDS):
        before = text
        apply("control", _CONTROLS, _control, False)
        if text.isascii():
            break
        apply("surrogates", _SURROGATES, _surrogate, False)
        apply("tags", _TAGS, _tag, False)
        apply("blanks", _BLANKS, lambda _: " ", True)
        apply("bidi", _BIDI_RUN, _nothing, False)
        if _ANY_INVISIBLE.search(text):
            apply("zero_width", _INVISIBLES, _invisible, True)
        apply("combining", _MARK_RUN, _marks, True)
        if not unicodedata.is_normalized("NFKC", text):
            apply("nfkc", _CLUSTER, _compatible, False)
        apply("combining", _GENERIC_RUN, _nothing, True)
        apply("confusables", _ENCLOSED, _enclosed, True)
        if _FOLDABLE.search(text):
            apply("confusables", _WORD, _Words(text), True)
        if text == before:
            break
    return Folded(text, tuple(maps), frozenset(steps))
