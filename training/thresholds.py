"""Chooses the default policy's thresholds and doubtful bands: `python -m training.thresholds --help`.

Harmless prompts of the measuring sets say what a threshold costs, harmful prompts of the validation rows what it
finds. Starting from thresholds that flag nothing, that of the category is lowered that finds most for what it costs,
until the harmless prompts allow no more: 5 % flagged, 2 % sent to review, 0.7 % blocked. The doubtful band reaches
from where a fiftieth of the category's validation positives lie below to where a thousandth of its negatives lie above.
"""

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from guard.screen.encoder import Encoder
from guard.text import normalise
from training.batches import matrices
from training.data import Example
from training.heads import DECIDING
from training.rows import Row, read
from training.train import split_examples

__all__ = ["HARMLESS", "Chosen", "choose", "main"]

HARMLESS = ("toxicchat_dev", "aegis_test_prompts", "donotanswer_fp", "cyberseceval_mitre_frr")
"""Measuring sets whose harmless prompts count."""
BUDGETS: Mapping[str, tuple[float, float]] = {"flag": (0.05, 0.14), "review": (0.02, 0.06), "block": (0.007, 0.02)}
"""Share of all harmless prompts, and of any one set's, that may reach an action."""
STEPS = np.round(np.arange(0.93, 0.14, -0.01), 2)
MISSED, PASSED = 0.02, 0.999

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Chosen:
    """One category's numbers."""

    flag: float
    review: float
    block: float
    doubt: tuple[float, float]


def choose(
    harmless: Mapping[str, Floats], harmful: Floats, validation: Floats, known: npt.NDArray[np.int8]
) -> dict[str, Chosen]:
    """`harmless` by set and `harmful` are scores [rows, categories], `known` 1, 0 or -1 for `validation`'s."""
    steps: dict[str, Floats] = {}
    below = np.zeros(len(DECIDING))
    for action in BUDGETS:
        # Raised where the milder action is not below it: that costs no budget.
        steps[action] = below = np.minimum(
            np.maximum(_lowered(harmless, harmful, *BUDGETS[action]), below + 0.03), 0.99
        )
    chosen = {}
    for i, name in enumerate(DECIDING):
        positives, negatives = (np.sort(validation[known[:, i] == side, i]) for side in (1, 0))
        low = float(np.quantile(positives, MISSED)) if len(positives) else 0.1
        high = float(np.quantile(negatives, PASSED)) if len(negatives) else 0.9
        flag, review, block = (float(steps[action][i]) for action in BUDGETS)
        band = (min(max(low, 0.05), flag - 0.05), min(max(high, block), 0.98))
        chosen[name] = Chosen(flag, review, block, (round(band[0], 2), round(band[1], 2)))
    return chosen


def _lowered(harmless: Mapping[str, Floats], harmful: Floats, total: float, each: float) -> Floats:
    """Thresholds [categories] by the greedy way of this page's head."""
    at = np.zeros(len(DECIDING), dtype=int)
    allowed = total * sum(map(len, harmless.values()))
    by_set = {name: (scores >= STEPS[at]).any(1) for name, scores in harmless.items()}
    hit = (harmful >= STEPS[at]).any(1)
    while True:
        best, gain = None, 0.0
        for i in range(len(DECIDING)):
            for ahead in (1, 3, 8):
                if at[i] + ahead >= len(STEPS):
                    continue
                bar = STEPS[at[i] + ahead]
                more = {name: flags | (harmless[name][:, i] >= bar) for name, flags in by_set.items()}
                cost = sum(int(flags.sum()) for flags in more.values())
                if cost > allowed or any(flags.mean() > each for flags in more.values()):
                    continue
                extra = cost - sum(int(flags.sum()) for flags in by_set.values())
                new = int(((harmful[:, i] >= bar) & ~hit).sum())
                # A step that finds nothing and costs nothing is taken too, or a flat stretch would be the end.
                worth = (new + 1e-3 * ahead) / (extra + 0.5)
                if worth > gain:
                    best, gain = (i, ahead), worth
        if best is None:
            return np.asarray(STEPS[at])
        i, ahead = best
        at[i] += ahead
        by_set = {name: flags | (harmless[name][:, i] >= STEPS[at[i]]) for name, flags in by_set.items()}
        hit |= harmful[:, i] >= STEPS[at[i]]


def _scores(encoder: Encoder, texts: Sequence[tuple[str, str, str]]) -> Floats:
    """Scores [rows, deciding] of (text, role, context)."""
    columns = [encoder.heads.index(head) for head in DECIDING]

    def one(item: tuple[str, str, str]) -> Floats:
        text, role, context = item
        return encoder.read(normalise(text).text, role=role, context=context).scores[columns]

    with ThreadPoolExecutor(2) as pool:
        return np.stack(list(pool.map(one, texts)))


def _validation(encoder: Encoder, found: Sequence[Example]) -> tuple[Floats, npt.NDArray[np.int8]]:
    scores = _scores(encoder, [(example.text[:4_000], example.role, example.context) for example in found])
    return scores, matrices([example.target for example in found], DECIDING).known


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the exported encoder")
    parser.add_argument("--data", type=Path, required=True, help="folder of the training sets")
    parser.add_argument("--dev", type=Path, required=True, help="folder of the measuring sets")
    options = parser.parse_args()
    encoder = Encoder(options.model)
    harmless = {
        name: _scores(encoder, [(row.text, row.role, row.context or "") for row in _harmless(options.dev, name)])
        for name in HARMLESS
    }
    _, held = split_examples(options.data, options.dev)
    scores, known = _validation(encoder, held)
    prompts = np.array([example.role == "user" for example in held])
    harmful = scores[prompts & (known == 1).any(1)]
    chosen = choose(harmless, harmful, scores, known)
    for name, numbers in chosen.items():
        print(f"{name}:\n    thresholds: {{flag: {numbers.flag}, review: {numbers.review}, block: {numbers.block}}}")
        print(f"    doubt: [{numbers.doubt[0]}, {numbers.doubt[1]}]")
    for action in BUDGETS:
        bars = np.array([getattr(numbers, action) for numbers in chosen.values()])
        shares = {name: round(float((found >= bars).any(1).mean()), 3) for name, found in harmless.items()}
        print(
            action,
            shares,
            "found of the validation's harmful prompts:",
            round(float((harmful >= bars).any(1).mean()), 3),
        )


def _harmless(dev: Path, name: str) -> list[Row]:
    return [row for row in read(dev / f"{name}.jsonl.gz") if row.flagged == 0]


if __name__ == "__main__":
    main()
