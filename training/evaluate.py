"""How an exported encoder does on the sets that are kept for measuring: `python -m training.evaluate`.

The decision is binary: the highest probability among the categories, advice and personal data left out.
Nothing here is ever fitted.
"""

import argparse
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score
from tokenizers import Tokenizer

from training.calibrate import Reader, probabilities, read_manifest
from training.heads import DECIDING
from training.rows import Row, read

__all__ = ["SetFigures", "measure", "table"]

STRIDE = 120
OVERLAP = 20
MOST_WINDOWS = 12
UNREAD = frozenset({"ko", "zh"})
"""Languages that the base vocabulary cannot spell."""


@dataclass(frozen=True, slots=True)
class SetFigures:
    """One set: `flagged` is the share at 0.5 among the rows of each side; None where a side is empty."""

    name: str
    rows: int
    auc: float | None
    auprc: float | None
    flagged_harmful: float | None
    flagged_harmless: float | None


def measure(folder: Path, dev: Path, *, most: int | None = None, threads: int = 2) -> Iterator[SetFigures]:
    """Figures of the encoder in `folder` on each set of `dev` that it can read, in the order of their names."""
    heads, platt = read_manifest(folder)
    columns = [heads.index(head) for head in DECIDING if head in heads]
    reader = Reader(folder / "encoder.onnx", Tokenizer.from_file(str(folder / "tokenizer.json")))

    def score(row: Row) -> float:
        return float(probabilities(_windows(reader, row), heads, platt[row.role])[:, columns].max())

    with ThreadPoolExecutor(threads) as pool:
        for path in sorted(dev.glob("*.jsonl.gz")):
            rows = [row for row in read(path) if row.flagged is not None and row.lang not in UNREAD][:most]
            if rows:
                scores = np.array(list(pool.map(score, rows)))
                yield _figures(rows[0].source, scores, np.array([row.flagged for row in rows]))


def _windows(reader: Reader, row: Row) -> npt.NDArray[np.float64]:
    """Logits [windows, heads] of one row, a long text in overlapping windows as the service reads it."""
    ids = reader.ids(row.text)
    starts = list(range(0, max(1, len(ids) - OVERLAP), STRIDE))[:MOST_WINDOWS]
    return np.stack([reader.raw(ids, row.role, row.context or "", start=start) for start in starts])


def _figures(name: str, scores: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]) -> SetFigures:
    both = 0 < truth.sum() < len(truth)
    return SetFigures(
        name,
        len(truth),
        float(roc_auc_score(truth, scores)) if both else None,
        float(average_precision_score(truth, scores)) if both else None,
        float((scores[truth == 1] >= 0.5).mean()) if truth.any() else None,
        float((scores[truth == 0] >= 0.5).mean()) if not truth.all() else None,
    )


def table(found: Iterable[SetFigures]) -> str:
    """A line for each set; `hit` and `false` are the shares flagged among the harmful and the harmless."""
    lines = [f"{'set':34}{'rows':>6}{'AUC':>8}{'AUPRC':>8}{'hit':>8}{'false':>8}"]
    for one in found:
        cells = (one.auc, one.auprc, one.flagged_harmful, one.flagged_harmless)
        shown = "".join(f"{'-' if cell is None else f'{cell:.3f}':>8}" for cell in cells)
        lines.append(f"{one.name:34}{one.rows:6}{shown}")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the exported encoder")
    parser.add_argument("--dev", type=Path, required=True, help="folder of the measuring sets")
    parser.add_argument("--most", type=int, help="at most so many rows of each set")
    options = parser.parse_args()
    print(table(measure(options.model, options.dev, most=options.most)))


if __name__ == "__main__":
    main()
