"""What a category's examples are worth without a judge: `python -m training.nearest --data DATA/train`.

Requests to public assistants (CLINC150, Banking77) have intents; each intent stands for a category of somebody's own: a
few of its requests are the violating examples, a few of other intents the allowed ones, and the rest of it has to be
found among requests of all other intents. Prints the figures, and the `EDGE` and `SLOPE` of `guard/screen/examples.py`
that fit best.
"""

import argparse
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from sklearn.linear_model import LogisticRegression

from guard import metrics
from guard.policy import Policy, PolicySpec
from guard.screen import examples
from guard.screen.encoder import Encoder
from guard.text import normalise
from training.rows import read

__all__ = ["main"]

SOURCES = ("clinc150", "banking77")
GIVEN, SEARCHED, OTHERS = 5, 20, 400


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the training sets")
    parser.add_argument("--model", type=Path, help="folder of the exported encoder (default: the shipped one)")
    parser.add_argument("--intents", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    encoder = Encoder(options.model) if options.model else Encoder.shipped()
    intents = _intents(options.data)
    chosen = draw.sample(
        sorted(name for name, found in intents.items() if len(found) >= GIVEN + SEARCHED), options.intents
    )
    pool = [text for name in sorted(intents) if name not in chosen for text in intents[name]]
    draw.shuffle(pool)
    allowed, others = pool[:GIVEN], _vectors(encoder, pool[GIVEN : GIVEN + OTHERS])
    truth: list[int] = []
    nearer: list[float] = []
    by_intent: list[tuple[float, float]] = []
    for name in chosen:
        texts = draw.sample(intents[name], GIVEN + SEARCHED)
        judged = examples.Nearest(
            _policy(texts[:GIVEN], allowed), heads=encoder.heads, embed=lambda t: _vector(encoder, t)
        )
        found = [judged.scores(vector)["own"] for vector in [*_vectors(encoder, texts[GIVEN:]), *others]]
        labels = np.array([1] * SEARCHED + [0] * len(others), dtype=np.int8)
        scores = np.array(found)
        once = np.ones(len(labels), dtype=np.int64)
        by_intent.append((metrics.roc_auc(labels, scores, once), metrics.recall_at(0.01)(labels, scores, once)))
        truth += labels.tolist()
        nearer += (np.log(scores / (1 - scores)) / examples.SLOPE + examples.EDGE).tolist()
    auc, recall = np.mean(by_intent, axis=0)
    flagged = np.array(nearer) >= examples.EDGE
    labels = np.array(truth)
    print(f"{len(chosen)} intents, {GIVEN} examples each: AUC {auc:.3f}, recall at 1 % false positives {recall:.3f}")
    print(
        f"at a score of 0.5: {flagged[labels == 1].mean():.1%} of the intent's own requests, "
        f"{flagged[labels == 0].mean():.2%} of the others"
    )
    fitted = LogisticRegression(C=1e6, class_weight={0: 1.0, 1: 1.0}).fit(np.array(nearer)[:, None], labels)
    slope = float(fitted.coef_[0, 0])
    print(f"fitted: EDGE {-float(fitted.intercept_[0]) / slope:.3f}, SLOPE {slope:.1f}")


def _intents(data: Path) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for source in SOURCES:
        for row in read(data / f"{source}.jsonl.gz"):
            for label in row.labels:
                if not label.endswith("oos"):
                    found[f"{source} {label}"].append(row.text)
    return found


def _vector(encoder: Encoder, text: str) -> examples.Vector:
    return encoder.read(normalise(text).text).embeddings[0]


def _vectors(encoder: Encoder, texts: Sequence[str]) -> list[examples.Vector]:
    return [_vector(encoder, text) for text in texts]


def _policy(violates: Sequence[str], allowed: Sequence[str]) -> Policy:
    spec: dict[str, Any] = {
        "version": 1,
        "name": "nearest",
        "description": "One category by example.",
        "categories": {
            "own": {
                "title": "Own",
                "definition": "What the examples have in common.",
                "group": "own",
                "thresholds": {"flag": 0.5},
                "examples": {"violates": list(violates), "allowed": list(allowed)},
            }
        },
    }
    return Policy(msgspec.convert(spec, PolicySpec))


if __name__ == "__main__":
    main()
