"""A data row as its file gives it, and the reader of a folder of them."""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Row", "read"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `<source>.jsonl.gz`; a label that is absent was not annotated."""

    id: str
    text: str
    role: str
    context: str | None
    labels: Mapping[str, float]
    flagged: int | None
    source: str
    lang: str = "en"
    assumed_benign: bool = False

    def has(self, label: str, at_least: float = 0.5) -> bool:
        """Whether the source gave `label` a value of `at_least`."""
        return self.labels.get(label, 0) >= at_least

    def named(self, prefix: str) -> list[str]:
        """The labels set to 1 whose name starts with `prefix`, without it."""
        return [name.removeprefix(prefix) for name in self.labels if name.startswith(prefix) and self.has(name)]


def read(path: Path) -> Iterator[Row]:
    """The rows of one file, in its order."""
    source = path.name.removesuffix(".jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            raw = json.loads(line)
            yield Row(
                id=raw["id"],
                text=raw["text"],
                role=raw["role"],
                context=raw["context"],
                labels=raw["labels"],
                flagged=raw["flagged"],
                source=source,
                lang=raw.get("lang") or "en",
                assumed_benign=bool(raw.get("assumed_benign")),
            )
