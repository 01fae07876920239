"""The examples: reading the sources, each text once, the same few of each source, and the validation split."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from training.labels import LANGUAGES, SOURCES, Target, target_of
from training.rows import Row, read

__all__ = ["Example", "Split", "public_examples", "split", "synthetic_examples"]

TEXT_SHARE = 0.05
FAMILY_SHARE = 0.1
SYNTHETIC = "synthetic"
_NOT_WORD = re.compile(r"[\W_]+")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Example:
    """One row to learn from.

    Attributes:
        group: rows of one group never part in the split: near-duplicates, or one synthetic family.
        times: how often an epoch shows it, on average.
    """

    text: str
    role: str
    context: str
    target: Target
    group: str
    source: str
    times: float = 1.0


class Split(NamedTuple):
    """Two sides without a group in common."""

    train: list[Example]
    validation: list[Example]


def public_examples(folder: Path) -> list[Example]:
    """The rows of `folder` that teach something, near-duplicates removed, each source cut to its cap.

    Of a source with too many rows those with the smallest hash are taken, so that the choice is stable.

    Raises:
        FileNotFoundError: a source is missing in `folder`.
    """
    seen: set[str] = set()
    taken: list[Example] = []
    for source, share in SOURCES.items():
        path = folder / f"{source}.jsonl.gz"
        if not path.exists():
            raise FileNotFoundError(f"{path}: give the folder that holds the training sets (--data)")
        kept = 0
        for example in sorted(examples(read(path)), key=lambda found: _hash(found.text)):
            if kept == share.cap:
                break
            if example.group not in seen:
                seen.add(example.group)
                taken.append(example)
                kept += 1
    return taken


def examples(rows: Iterable[Row]) -> Iterator[Example]:
    """The rows in a language that the base vocabulary spells and with a label that we know."""
    for row in rows:
        text = row.text.strip()
        if not text or row.lang not in LANGUAGES or not _latin(text):
            continue
        target = target_of(row)
        if target is not None and (target.values or target.any_of):
            times = SOURCES[row.source].times
            yield Example(text, row.role, row.context or "", target, group_of(text), row.source, times)


def synthetic_examples(*, seed: int = 0, times: float = 1.0) -> list[Example]:
    """Our own rows, grouped by family, so that a template never stands on both sides of the split."""
    from training.synthetic import rows  # noqa: PLC0415 (Faker is needed only here)

    return [
        Example(
            row.text, row.role, row.context or "", Target(dict(row.targets)), f"family {row.family}", SYNTHETIC, times
        )
        for row in rows(seed=seed)
    ]


def split(found: Iterable[Example]) -> Split:
    """Training and validation by a hash of the group: the same row is always on the same side."""
    train: list[Example] = []
    validation: list[Example] = []
    for example in found:
        share = FAMILY_SHARE if example.source == SYNTHETIC else TEXT_SHARE
        (validation if _hash(example.group) < share else train).append(example)
    return Split(train, validation)


def group_of(text: str) -> str:
    """The same for texts that differ only in case, punctuation, digits and spaces, or after 200 characters."""
    return _NOT_WORD.sub(" ", _DIGITS.sub("0", text.casefold())).strip()[:200]


def _hash(text: str) -> float:
    """A stable number in [0, 1)."""
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _latin(text: str) -> bool:
    """Whether most letters are of the Latin alphabets, which end before `ɐ`."""
    letters = [c for c in text[:400] if c.isalpha()]
    return not letters or sum(c < "ɐ" for c in letters) >= 0.8 * len(letters)
