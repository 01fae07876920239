"""The examples: reading the sources, each text once, the same few of each source, and the validation split."""

import hashlib
import re
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from training.judged import judged
from training.labels import LANGUAGES, SOURCES, Target, target_of
from training.rows import Row, read

__all__ = [
    "Example", "Measuring", "Split", "group_of", "hashed", "mostly", "public_examples", "sketch_of", "split",
    "synthetic_examples",
]  # fmt: skip

TEXT_SHARE = 0.05
FAMILY_SHARE = 0.1
NEAR = 0.85
"""Share of a text's phrases in texts taken before from which it is a near-duplicate."""
SYNTHETIC = "synthetic"
LINE_TIMES, TEMPLATE_TIMES = 2.0, 0.7
"""How often an epoch shows a row of a hand-written line, and one of a template with many fillings."""
_NOT_WORD = re.compile(r"[\W_]+")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Example:
    """One row to learn from.

    Attributes:
        group: rows of one group never part in the split: near-duplicates, or one synthetic family.
        times: how often an epoch shows it, on average.
        in_context: whether the target holds only in the light of the context.
    """

    text: str
    role: str
    context: str
    target: Target
    group: str
    source: str
    times: float = 1.0
    in_context: bool = False


class Split(NamedTuple):
    """Two sides without a group in common."""

    train: list[Example]
    validation: list[Example]


class Measuring(NamedTuple):
    """What stands in the measuring sets, and must not be trained on: groups, and phrases of longer texts."""

    groups: frozenset[str] = frozenset()
    phrases: frozenset[int] = frozenset()

    @classmethod
    def of(cls, folder: Path) -> "Measuring":
        """Of every set in `folder`; texts of a word or two ("Nice.") belong to nobody."""
        texts = [row.text for path in sorted(folder.glob("*.jsonl.gz")) for row in read(path) if len(row.text) > 15]
        return cls(frozenset(map(group_of, texts)), frozenset().union(*map(sketch_of, texts)))


def public_examples(folder: Path, measuring: Measuring | None = None, *, judging: bool = True) -> list[Example]:
    """The rows of `folder` that teach something, near-duplicates removed, each source cut to its cap.

    Of a source with too many rows those with the smallest hash are taken, so that the choice is stable. Rows of the
    measuring sets, and near-duplicates of them, are left out. Without `judging` the sources' own labels hold.

    Raises:
        FileNotFoundError: a source is missing in `folder`.
    """
    measuring = measuring or Measuring()
    seen: set[str] = set()
    phrases: set[int] = set(measuring.phrases)
    taken: list[Example] = []
    for source, share in SOURCES.items():
        path = folder / f"{source}.jsonl.gz"
        if not path.exists():
            raise FileNotFoundError(f"{path}: give the folder that holds the training sets (--data)")
        kept = 0
        for example in sorted(examples(read(path), judging=judging), key=lambda found: hashed(found.text)):
            if kept == share.cap:
                break
            sketch = sketch_of(example.text)
            if example.group in seen or group_of(example.text) in measuring.groups or mostly(sketch, phrases):
                continue
            seen.add(example.group)
            phrases |= sketch
            taken.append(example)
            kept += 1
    return taken


def sketch_of(text: str) -> set[int]:
    """A quarter of the text's runs of five words, always the same ones, as numbers."""
    words = _NOT_WORD.sub(" ", _DIGITS.sub("0", text.casefold())).split()[:600]
    runs = (zlib.crc32(" ".join(words[i : i + 5]).encode("utf-8", "replace")) for i in range(len(words) - 4))
    return {run for run in runs if run % 4 == 0}


def mostly(sketch: set[int], phrases: set[int]) -> bool:
    """Whether a text says hardly anything that was not there: one jailbreak with another question inside, a quoted
    page. Texts too short to tell are told apart by their group alone."""
    return len(sketch) >= 5 and len(sketch & phrases) >= NEAR * len(sketch)


def examples(rows: Iterable[Row], *, judging: bool = True) -> Iterator[Example]:
    """The rows in a language that the base vocabulary spells and with a label that we know."""
    for row in rows:
        text = row.text.strip()
        if not text or row.lang not in LANGUAGES or not _latin(text):
            continue
        given = target_of(row)
        target = judged(row, given) if judging else given
        if target is not None and (target.values or target.any_of):
            share = SOURCES[row.source]
            group = group_of(f"{text} {row.context}" if share.in_context else text)
            yield Example(text, row.role, row.context or "", target, group, row.source, share.times, share.in_context)


def synthetic_examples(*, seed: int = 0, without: Collection[str] = ()) -> list[Example]:
    """Our own rows, grouped by family, so that a template never stands on both sides of the split; those of the
    template files in `without` are left out.

    Families of many alike rows are shown less often than those that were written line by line.
    """
    from training.synthetic import rows  # noqa: PLC0415 (Faker is needed only here)

    return [
        Example(
            row.text,
            row.role,
            row.context or "",
            Target(dict(row.targets)),
            f"family {row.family}",
            SYNTHETIC,
            LINE_TIMES if row.by_hand else TEMPLATE_TIMES,
        )
        for row in rows(seed=seed, without=without)
    ]


def split(found: Iterable[Example]) -> Split:
    """Training and validation by a hash of the group: the same row is always on the same side."""
    train: list[Example] = []
    validation: list[Example] = []
    for example in found:
        share = FAMILY_SHARE if example.source == SYNTHETIC else TEXT_SHARE
        (validation if hashed(example.group) < share else train).append(example)
    return Split(train, validation)


def group_of(text: str) -> str:
    """The same for texts that differ only in case, punctuation, digits and spaces, or after 200 characters."""
    return _NOT_WORD.sub(" ", _DIGITS.sub("0", text.casefold())).strip()[:200]


def hashed(text: str) -> float:
    """A stable number in [0, 1)."""
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _latin(text: str) -> bool:
    """Whether most letters are of the Latin alphabets, which end before `ɐ`."""
    letters = [c for c in text[:400] if c.isalpha()]
    return not letters or sum(c < "ɐ" for c in letters) >= 0.8 * len(letters)
