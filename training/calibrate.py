"""Reading the shipped graph on labelled rows: raw scores, Platt scaling for each head and role, and figures.

Everything is measured through the int8 graph, one unpadded text a call, as the service runs it; of a long text, the
first window.
"""

import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer
from tqdm import tqdm

from guard import metrics
from guard.metrics import Interval
from guard.text import spoken
from training.batches import Plan, laid_out, matrices
from training.data import Example, hashed
from training.model import ROLES

__all__ = [
    "Calibrated", "Figures", "Manifest", "Platt", "Reader", "calibrate", "figures", "fit_platt", "probabilities",
    "read_manifest",
]  # fmt: skip

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]

FEWEST = 40
"""Positives, and ten times as many rows, that a role needs for a scaling of its own; else it has that of all rows."""
PRIOR = (0.02, 0.3)
"""Where a head's share of positives among its known rows lies outside, rows are weighted into this range."""
SLOPE = (0.3, 2.5)
ROUNDS = 200
"""Resamples for an interval."""
BLIND_EVERY = 4
"""So many rows to one that is read without role and context: the compatible APIs often know neither."""


class Reader:
    """Runs one encoder file, one thread a call; safe to call from several threads."""

    def __init__(self, path: Path, tokenizer: Tokenizer, *, max_tokens: int = 192, context_tokens: int = 48) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._context_tokens = context_tokens

    def ids(self, text: str) -> list[int]:
        """The text's tokens, without markers."""
        found: list[int] = self._tokenizer.encode(spoken(text).text, add_special_tokens=False).ids
        return found

    def raw(self, text: Sequence[int], role: str = "unknown", context: str = "", *, start: int = 0) -> Floats:
        """Logits [heads] of the window of `text` (token ids) from token `start` on."""
        before = self.ids(context[-10 * self._context_tokens :])[-self._context_tokens :] if context else []
        row = laid_out(text, role, before, max_tokens=self._max_tokens, start=start)
        feed = {"input_ids": np.array([row.ids]), "token_type_ids": np.array([row.types])}
        (logits,) = self._session.run(["logits"], feed)
        return np.asarray(logits[0], dtype=np.float64)

    def raw_all(self, examples: Sequence[Example], *, rows: Sequence[int] | None = None, threads: int = 2) -> Floats:
        """Logits [rows, heads] of the first window of each example, or of those numbered `rows`.

        Every fourth example is read without its role and context.
        """
        chosen = range(len(examples)) if rows is None else rows

        def one(i: int) -> Floats:
            example = examples[i]
            ids = self.ids(example.text[:4_000])
            context = example.context if role_shown(i, example) != "unknown" else ""
            return self.raw(ids, role_shown(i, example), context)

        with ThreadPoolExecutor(threads) as pool:
            return np.stack(list(tqdm(pool.map(one, chosen), total=len(chosen), mininterval=10)))


@dataclass(frozen=True, slots=True)
class Platt:
    """`probability = sigmoid(scale * logit + offset)`."""

    scale: float = 1.0
    offset: float = 0.0

    def __call__(self, logits: Floats) -> Floats:
        return np.asarray(1 / (1 + np.exp(-np.clip(self.scale * logits + self.offset, -40, 40))))


@dataclass(frozen=True, slots=True)
class Figures:
    """How one head does on rows that say 0 or 1 of it; `auc` and `auprc` with intervals, NaN with a side empty."""

    rows: int
    positives: int
    auc: Interval
    auprc: Interval
    ece: float

    def rounded(self) -> dict[str, object]:
        """For JSON: four decimals, NaN as null."""
        return {
            "rows": self.rows,
            "positives": self.positives,
            "auc": _rounded(self.auc.value),
            "auc_interval": [_rounded(self.auc.low), _rounded(self.auc.high)],
            "auprc": _rounded(self.auprc.value),
            "auprc_interval": [_rounded(self.auprc.low), _rounded(self.auprc.high)],
            "ece": _rounded(self.ece),
        }


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def fit_platt(logits: Floats, known: Labels, *, prior: tuple[float, float] = PRIOR) -> Platt:
    """Scale and offset of one head by weighted maximum likelihood; the identity with a side empty.

    The sets hold far more harm than traffic does, or, for a rare head, hardly any. So positives are
    weighted until their share lies within `prior`. Targets are smoothed as Platt proposed.
    """
    logits, known = logits[known >= 0], known[known >= 0]
    positives, rows = int(known.sum()), len(known)
    if positives in (0, rows):
        return Platt()
    share = min(max(positives / rows, prior[0]), prior[1])
    weight = np.where(known == 1, share / positives, (1 - share) / (rows - positives))
    target = np.where(known == 1, (positives + 1) / (positives + 2), 1 / (rows - positives + 2))
    return _newton(logits, target, weight)


def _newton(x: Floats, target: Floats, weight: Floats, *, rounds: int = 100) -> Platt:
    """Logistic regression on one variable, with a weak pull of the scale to 1."""
    theta = np.array([1.0, 0.0])
    design = np.stack([x, np.ones_like(x)], axis=1)
    pull = np.array([1e-3, 0.0])

    def cost(t: Floats) -> float:
        z = design @ t
        return float((weight * (np.logaddexp(0, z) - target * z)).sum() + pull[0] / 2 * (t[0] - 1) ** 2)

    for _ in range(rounds):
        p = 1 / (1 + np.exp(-np.clip(design @ theta, -40, 40)))
        gradient = design.T @ (weight * (p - target)) + pull * (theta - [1.0, 0.0])
        curve = design.T @ (design * (weight * p * (1 - p))[:, None]) + np.diag(pull + 1e-9)
        step = np.linalg.solve(curve, gradient)
        size = 1.0
        while size > 1e-4 and cost(theta - size * step) > cost(theta):
            size /= 2
        theta = theta - size * step
        if float(np.abs(size * step).max()) < 1e-7:
            break
    return Platt(float(np.clip(theta[0], *SLOPE)), float(theta[1]))


def role_shown(number: int, example: Example) -> str:
    """The role that validation row `number` is read with: every fourth without role and context."""
    return "unknown" if number % BLIND_EVERY == 0 else example.role


Scaling = Mapping[str, Mapping[str, Platt]]
"""Role to head to scaling; every role of `ROLES` is there."""


class Calibrated(NamedTuple):
    """Each head's calibration for each role, and its figures on the validation rows."""

    platt: Scaling
    figures: dict[str, Figures]


def calibrate(logits: Floats, examples: Sequence[Example], plan: Plan) -> Calibrated:
    """Fits every head and role on `logits` [rows, heads]. The calibration error is of scores by a fit on the other
    half of the groups; areas, which two numbers can hardly flatter, are of the scores that are shipped.

    `logits` are as `Reader.raw_all` gives them: each row read with the role that `role_shown` says.
    """
    known = matrices([example.target for example in examples], plan.heads).known
    roles = np.array([role_shown(i, example) for i, example in enumerate(examples)])
    halves = np.array([hashed(f"half {example.group}") < 0.5 for example in examples])
    whole = {head: _by_role(logits[:, i], known[:, i], roles) for i, head in enumerate(plan.heads)}
    found: dict[str, Figures] = {}
    for i, head in enumerate(plan.heads):
        scores = np.zeros(len(examples))
        for half in (False, True):
            mine = halves == half
            other = _by_role(logits[~mine, i], known[~mine, i], roles[~mine])
            scores[mine] = _scaled(other, logits[mine, i], roles[mine])
        found[head] = figures(_scaled(whole[head], logits[:, i], roles), known[:, i], calibrated=scores)
    return Calibrated({role: {head: whole[head][role] for head in plan.heads} for role in ROLES}, found)


def _by_role(logits: Floats, known: Labels, roles: npt.NDArray[np.str_]) -> dict[str, Platt]:
    """One head's scaling for each role; that of all rows for a role with too few, and where nobody says the role.

    Unknown is fitted on all rows, whatever they were read with: what comes without a role may be any of them.
    """
    common = fit_platt(logits, known)
    found = dict.fromkeys(ROLES, common)
    for role in ROLES:
        mine = (roles == role) & (known >= 0)
        if role != "unknown" and known[mine].sum() >= FEWEST and mine.sum() >= 10 * FEWEST:
            found[role] = fit_platt(logits[mine], known[mine])
    return found


def _scaled(platt: Mapping[str, Platt], logits: Floats, roles: npt.NDArray[np.str_]) -> Floats:
    scores = np.zeros(len(logits))
    for role, scaling in platt.items():
        scores[roles == role] = scaling(logits[roles == role])
    return scores


def figures(scores: Floats, known: Labels, *, calibrated: Floats | None = None) -> Figures:
    """The figures of one head; `calibrated` are scores for the calibration error, where they differ."""
    calibrated = (scores if calibrated is None else calibrated)[known >= 0]
    scores, known = scores[known >= 0], known[known >= 0]
    positives = int(known.sum())
    if positives == 0 or positives == len(known):
        nothing = metrics.Interval(math.nan, math.nan, math.nan)
        return Figures(len(known), positives, nothing, nothing, math.nan)
    return Figures(
        rows=len(known),
        positives=positives,
        auc=metrics.bootstrap(metrics.roc_auc, known, scores, rounds=ROUNDS),
        auprc=metrics.bootstrap(metrics.average_precision, known, scores, rounds=ROUNDS),
        ece=metrics.calibration_error(known, calibrated),
    )


def probabilities(logits: Floats, heads: Sequence[str], platt: Mapping[str, Platt]) -> Floats:
    """Calibrated scores [rows, heads] of rows of one role, whose scaling `platt` is."""
    return np.stack([platt[head](logits[:, i]) for i, head in enumerate(heads)], axis=1)


class Manifest(NamedTuple):
    """The part of `model.json` that reading scores needs."""

    heads: tuple[str, ...]
    platt: Scaling


def read_manifest(folder: Path) -> Manifest:
    """Heads and calibration of the encoder in `folder`."""
    manifest = json.loads((folder / "model.json").read_text())
    platt = {
        role: {head: Platt(**found) for head, found in by_head.items()}
        for role, by_head in manifest["calibration"].items()
    }
    return Manifest(tuple(manifest["heads"]), platt)
