"""Chooses the default policy's thresholds and doubtful bands: `python -m training.thresholds --help`.

Harmless texts of measuring sets say what a threshold costs, harmful texts of the validation rows what it finds, those
of each role together weighing the same. Starting from thresholds that flag nothing, that of the category is lowered
that finds most for what it costs, until no set allows more. The doubtful band reaches from where a fiftieth of the
category's validation positives lie below to where a thousandth of its negatives lie above.
"""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from guard.policy.compiled import FAINT
from guard.screen.encoder import Encoder
from guard.text import normalise
from training.batches import matrices
from training.data import Example
from training.heads import DECIDING
from training.rows import Row, read
from training.train import split_examples

__all__ = ["HARMLESS", "Chosen", "choose", "main", "weights_of"]

HARMLESS: Mapping[str, float] = {
    "toxicchat_dev": 0.05,
    "aegis_test_prompts": 0.10,
    "surge_toxicity": 0.06,
    "donotanswer_fp": 0.14,
    "cyberseceval_mitre_frr": 0.19,
}
"""Measuring sets whose harmless texts count, and the share of them that may be flagged: little of what people ask a
public chat or comment, more of what was written to look harmful."""
SHARES: Mapping[str, float] = {"flag": 1.0, "review": 0.5, "block": 0.2}
"""The part of those shares that an action may reach."""
LEAST: Mapping[str, float] = {"flag": 0.15, "review": 0.35, "block": 0.6}
"""A score is a probability: what is more likely harmless is not blocked, however rare such scores are."""
STEPS = np.round(np.arange(0.99, 0.14, -0.01), 2)
TOP: Mapping[str, float] = {"flag": 0.93, "review": 0.96, "block": 0.99}
"""Where an action starts that no category may afford: apart, so that none swallows another."""
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
    harmless: Mapping[str, Floats],
    allowed: Mapping[str, float],
    harmful: Floats,
    weights: Floats,
    validation: Floats,
    known: npt.NDArray[np.int8],
) -> dict[str, Chosen]:
    """`harmless` by set, `harmful` and `validation` are scores [rows, categories], `weights` [rows] of the harmful,
    `allowed` the share of each set that may be flagged, `known` 1, 0 or -1 for the validation's."""
    steps: dict[str, Floats] = {}
    below = np.zeros(len(DECIDING))
    for action, share in SHARES.items():
        caps = {name: allowed[name] * share for name in harmless}
        lowered = np.maximum(_lowered(harmless, caps, harmful, weights, top=TOP[action]), LEAST[action])
        # Raised where the milder action is not below it: that costs nothing.
        steps[action] = below = np.maximum(lowered, below + 0.03).round(2)
    chosen = {}
    for i, name in enumerate(DECIDING):
        positives, negatives = (np.sort(validation[known[:, i] == side, i]) for side in (1, 0))
        low = float(np.quantile(positives, MISSED)) if len(positives) else FAINT
        high = float(np.quantile(negatives, PASSED)) if len(negatives) else 0.9
        flag, review, block = (float(steps[action][i]) for action in SHARES)
        band = (min(max(low, FAINT), flag - 0.05), min(max(high, block), 0.99))
        chosen[name] = Chosen(flag, review, block, (round(band[0], 2), round(band[1], 2)))
    return chosen


def _lowered(
    harmless: Mapping[str, Floats], caps: Mapping[str, float], harmful: Floats, weights: Floats, *, top: float
) -> Floats:
    """Thresholds [categories], from `top` downwards by the greedy way of this page's head.

    A set that is above its cap at `top` already forbids what would flag more of it, and nothing else.
    """
    at = np.full(len(DECIDING), int(np.argmin(np.abs(STEPS - top))))
    by_set = {name: (scores >= STEPS[at]).any(1) for name, scores in harmless.items()}
    caps = {name: max(caps[name], float(flags.mean())) for name, flags in by_set.items()}
    hit = (harmful >= STEPS[at]).any(1)
    while True:
        best, gain = None, 0.0
        spent = sum(flags.mean() / caps[name] for name, flags in by_set.items())
        for i in range(len(DECIDING)):
            for ahead in (1, 3, 8):
                if at[i] + ahead >= len(STEPS):
                    continue
                bar = STEPS[at[i] + ahead]
                more = {name: flags | (harmless[name][:, i] >= bar) for name, flags in by_set.items()}
                if any(flags.mean() > caps[name] for name, flags in more.items()):
                    continue
                extra = sum(flags.mean() / caps[name] for name, flags in more.items()) - spent
                new = float(weights[(harmful[:, i] >= bar) & ~hit].sum())
                # A step that finds nothing and costs nothing is taken too, or a flat stretch would be the end.
                worth = (new + 1e-6 * ahead) / (extra + 1e-4)
                if worth > gain:
                    best, gain = (i, ahead), worth
        if best is None:
            return np.asarray(STEPS[at])
        i, ahead = best
        at[i] += ahead
        by_set = {name: flags | (harmless[name][:, i] >= STEPS[at[i]]) for name, flags in by_set.items()}
        hit |= harmful[:, i] >= STEPS[at[i]]


def weights_of(roles: Sequence[str]) -> Floats:
    """A weight for each row: those of each role weigh the same together, all together 1."""
    counts = Counter(roles)
    return np.array([1 / counts[role] for role in roles]) / len(counts)


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
    rows = np.flatnonzero((known == 1).any(1))
    roles = [held[row].role for row in rows]
    weights = weights_of(roles)
    chosen = choose(harmless, HARMLESS, scores[rows], weights, scores, known)
    for name, numbers in chosen.items():
        print(f"{name}:\n    thresholds: {{flag: {numbers.flag}, review: {numbers.review}, block: {numbers.block}}}")
        print(f"    doubt: [{numbers.doubt[0]}, {numbers.doubt[1]}]")
    for action in SHARES:
        bars = np.array([getattr(numbers, action) for numbers in chosen.values()])
        shares = {name: round(float((found >= bars).any(1).mean()), 3) for name, found in harmless.items()}
        found = float(weights[(scores[rows] >= bars).any(1)].sum())
        print(action, shares, "found of the validation's harmful texts:", round(found, 3))


def _harmless(dev: Path, name: str) -> list[Row]:
    return [row for row in read(dev / f"{name}.jsonl.gz") if row.flagged == 0]


if __name__ == "__main__":
    main()
