"""Text as it is screened: normalised once, before everything else, with a way back to the original.

`normalise` folds what only looks different (NFKC, invisible characters, look-alikes, zalgo) into
the main text and adds `views`: other readings of it, decoded or unspaced. `sentences` and `windows`
cut long text. All are pure, total, and linear in the length of the text.
"""

from .emoji import Spoken, spoken
from .fold import fold, hidden_runs
from .offsets import Offsets, back
from .split import sentences, windows
from .views import MAX_HIDDEN_RUNS, MAX_VIEWS, View, find_views, hidden_views, is_plain

__all__ = ["Normalised", "Spoken", "View", "normalise", "sentences", "spoken", "windows"]

_STEPS = (
    "nfkc",
    "zero_width",
    "blanks",
    "bidi",
    "tags",
    "confusables",
    "combining",
    "surrogates",
    "control",
    "leetspeak",
    "spaced_letters",
    "base64",
    "hex",
    "escapes",
    "rot13",
    "views_left_out",
)


class Normalised:
    """A text as it is screened, what was done to it, and the way back; immutable.

    `steps` names, in a fixed order, what changed the text and which kinds of `views` were found;
    ``views_left_out`` says that there were more readings than the bound of eight. Ordinary text
    has none and is its own normalised text. The representation never shows the text.
    """

    __slots__ = ("_maps", "original", "steps", "text", "views")

    def __init__(
        self,
        original: str,
        text: str,
        steps: tuple[str, ...] = (),
        views: tuple[View, ...] = (),
        maps: tuple[Offsets, ...] = (),
    ) -> None:
        self.original = original
        self.text = text
        self.steps = steps
        self.views = views
        self._maps = maps

    def __repr__(self) -> str:
        return f"<Normalised: {len(self.original)} to {len(self.text)} characters, steps {self.steps}>"

    def to_original(self, start: int, end: int) -> tuple[int, int]:
        """The smallest span of `original` that produced the characters `start` to `end` of `text`.

        Characters removed strictly inside belong to it, those at its edges do not, and a span
        outside of the text is clamped. ``"a\\u200bﬁ!"`` becomes ``"afi!"``, and there
        ``to_original(0, 1) == (0, 1)``, ``to_original(1, 2) == (2, 3)`` (f is half of the
        ligature), ``to_original(0, 2) == (0, 3)`` and ``to_original(3, 4) == (3, 4)``.
        """
        return back(self._maps, start, end, length=len(self.text))


def normalise(text: str) -> Normalised:
    """The main text, its other readings and the offset map. Never raises; idempotent in `text`."""
    if text.isascii() and is_plain(text):
        return Normalised(text, text)
    folded = fold(text)
    views, more = find_views(folded.text)
    if "tags" in folded.steps:
        runs = hidden_runs(text)
        more = more or len(runs) > MAX_HIDDEN_RUNS
        views = hidden_views(folded.text, folded.maps, runs[:MAX_HIDDEN_RUNS]) + views
    done = folded.steps | {view.kind for view in views}
    if more or len(views) > MAX_VIEWS:
        done |= {"views_left_out"}
    steps = tuple(step for step in _STEPS if step in done)
    return Normalised(text, folded.text, steps, tuple(views[:MAX_VIEWS]), folded.maps)
