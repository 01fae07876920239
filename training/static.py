"""Distils the static tier from an exported encoder: `python -m training.static --data DIR --model FOLDER`.

Texts of the training sets, labelled or not, and our synthetic rows are scored by the int8 encoder; a model of word
vectors learns whether any category reaches the ceiling. The bound is the highest that keeps, on texts that were held
back, all but two in a thousand of the settled texts below the ceiling, less a margin.
"""

import argparse
import hashlib
import json
import random
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from guard.policy.compiled import FAINT
from guard.screen.encoder import STATIC, Encoder
from guard.screen.language import LanguageIdentifier
from guard.screen.static import StaticSettings, StaticTier
from guard.text import normalise
from training.batches import base_tokenizer
from training.data import Measuring, group_of, hashed, mostly, sketch_of, synthetic_examples
from training.heads import CATEGORIES
from training.manifest import sha256
from training.model import ROLES
from training.rows import read

__all__ = [
    "OWN", "Agreement", "Asked", "Student", "Taught", "add_static", "agreement", "bound_of", "distil", "keep_static",
    "main", "seen", "table", "taught", "write",
]  # fmt: skip

CEILING = FAINT
STEPS = (0.5, 1.0, 2.5)
"""Multiples of the ceiling that the student foresees; the riskiest of its answers counts."""
WIDTH, INNER = 64, 96
PAIRS, MULTIPLIER = 65_536, 31_337
MAX_TOKENS = 64
UNKNOWN = 100
"""BERT's [UNK]; stands in training for a tenth of the tokens, so that no word alone decides."""
FROM_EACH, OWN = 6_000, 40_000
"""Texts of each source, and of our own."""
LONGEST = 600
"""Characters; longer texts are not learned from, and left to the encoder."""
EPOCHS = 3
SEEN = 5
"""Learned texts in which a token must stand; the tier does not know rarer ones."""
HELD = 0.15
"""Share of the groups that are held back: half to choose the bound on, half to report on."""
DISAGREE = 0.005
"""Share of the settled texts, held back, that may reach the ceiling."""
MARGIN = 1.2
"""What is taken off the bound that suits held-back texts: texts of other kinds than the sources' are riskier."""
ALL_DEV = "all measuring sets"
ORDINARY = frozenset({
    "banking77", "clinc150", "taskmaster", "dolly_1k", "gsm8k", "medquad", "goemotions", "llamafactory_demo",
    "positive_frames", "llm_bench_prompts", "prompts_chat", "gpteacher_roleplay", "wildchat_benign",
})  # fmt: skip
"""Sources of what people write to assistants and to each other without being looked for."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Taught:
    """A text as the tier meets it, and the encoder's probabilities [categories]; no ids where the tier is not asked."""

    ids: list[int]
    role: str
    scores: Floats
    source: str
    side: Literal["learned", "bound", "report"]

    @property
    def highest(self) -> float:
        """The score that decides whether the tier may settle the text."""
        return float(self.scores.max())


class Student(nn.Module):
    """The network of `guard.screen.static`, in torch: logits [batch, steps] that some category reaches each step."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, WIDTH, sparse=True)
        self.pairs = nn.Embedding(PAIRS, WIDTH, sparse=True)
        self.roles = nn.Embedding(len(ROLES), 8)
        self.inner = nn.Linear(4 * WIDTH + 8 + 1, INNER)
        self.outer = nn.Linear(INNER, len(STEPS))
        for table in (self.words, self.pairs):
            nn.init.normal_(table.weight, std=0.05)

    def forward(self, ids: Tensor, roles: Tensor) -> Tensor:
        """`ids` [batch, tokens] is padded with 0."""
        mask = (ids > 0).unsqueeze(-1)
        words = self.words(ids)
        count = mask.sum(1)
        both = mask[:, 1:] & mask[:, :-1]
        pairs = self.pairs((ids[:, :-1] * MULTIPLIER + ids[:, 1:]) % PAIRS)
        several = both.any(1)
        seen = [
            (words * mask).sum(1) / count,
            words.masked_fill(~mask, -1e4).amax(1),
            (pairs * both).sum(1) / both.sum(1).clamp(min=1),
            torch.where(several, pairs.masked_fill(~both, -1e4).amax(1), 0.0),
            self.roles(roles),
            count.float().log() / 3,
        ]
        logits: Tensor = self.outer(functional.relu(self.inner(torch.cat(seen, 1))))
        return logits


class _Text(NamedTuple):
    text: str
    role: str
    source: str
    group: str
    context: str = ""


def taught(
    data: Path, encoder: Encoder, *, dev: Path | None, threads: int = 2, from_each: int = FROM_EACH, own: int = OWN
) -> list[Taught]:
    """Texts in English of every source and of our own, with what the encoder says; none of the measuring sets'."""
    measuring = Measuring.of(dev) if dev is not None else Measuring()
    phrases: set[int] = set(measuring.phrases)
    texts: dict[str, _Text] = {}

    def add(text: str, role: str, source: str, group: str) -> bool:
        sketch = sketch_of(text)
        known = text in texts or group_of(text) in measuring.groups or mostly(sketch, phrases)
        if not known:
            phrases.update(sketch)
            texts[text] = _Text(text, role, source, group)
        return not known

    for path in sorted(data.glob("*.jsonl.gz")):
        rows = {row.text: row for row in read(path) if row.lang == "en" and len(row.text) <= LONGEST}
        kept = 0
        for row in sorted(rows.values(), key=lambda row: hashed(row.text)):
            if kept == from_each:
                break
            kept += add(row.text, row.role, row.source, group_of(row.text))
    ours = synthetic_examples()
    for one in random.Random(0).sample(ours, min(own, len(ours))):
        if len(one.text) <= LONGEST:
            add(one.text, one.role, one.source, one.group)
    return _asked(list(texts.values()), encoder, threads)


def measured(dev: Path, encoder: Encoder, *, threads: int = 2) -> list[Taught]:
    """English texts of the measuring sets, to see the tier on what neither it nor the encoder has learned from."""
    texts = [
        _Text(row.text, row.role, row.source, row.text, row.context or "")
        for path in sorted(dev.glob("*.jsonl.gz"))
        for row in read(path)
        if row.lang.lower() in ("en", "english")
    ]
    return _asked(texts, encoder, threads)


def _asked(texts: Sequence[_Text], encoder: Encoder, threads: int) -> list[Taught]:
    columns = [encoder.heads.index(head) for head in CATEGORIES]
    languages = LanguageIdentifier(encoder.languages)

    def one(item: _Text) -> Taught:
        found = normalise(item.text)
        beyond = found.views or item.context or len(found.text) > LONGEST or not languages.supports(found.text)
        ids = [] if beyond else encoder.plain_ids(found.text)
        if len(ids) > MAX_TOKENS:
            ids = []
        # As often as the compatible APIs do not say who wrote the text.
        role = "unknown" if hashed(item.text[::-1]) < 0.4 else item.role
        scores = encoder.alone(found.text, role, None)[columns] if ids else np.ones(len(columns))
        return Taught(ids, role, scores, item.source, _side(item.group))

    with ThreadPoolExecutor(threads) as pool:
        return list(tqdm(pool.map(one, texts), total=len(texts), mininterval=10, desc="the encoder's word"))


def _side(group: str) -> Literal["learned", "bound", "report"]:
    """Families and near-duplicates stay on one side."""
    place = hashed(f"static {group}")
    return "bound" if place < HELD / 2 else "report" if place < HELD else "learned"


def distil(lessons: Sequence[Taught], vocabulary: int, *, epochs: int = EPOCHS, seed: int = 5) -> Student:
    """Trains a student on the lessons that are not held back."""
    torch.manual_seed(seed)
    student = Student(vocabulary)
    learned = [lesson for lesson in lessons if lesson.side == "learned" and lesson.ids]
    dense = [p for name, p in student.named_parameters() if name not in ("words.weight", "pairs.weight")]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(dense, lr=2e-3),
        torch.optim.SparseAdam([student.words.weight, student.pairs.weight], lr=3e-3),
    ]
    rng = random.Random(seed)
    weight = torch.full((len(STEPS),), 2.0)
    batches = [batch for _ in range(epochs) for batch in _batches(learned, rng)]
    for number, batch in enumerate(tqdm(batches, mininterval=10, desc="distilling")):
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group.setdefault("peak", group["lr"])
                group["lr"] = group["peak"] * (1 - number / len(batches))
        ids, roles = _tensors(batch)
        hidden = (torch.rand(ids.shape) < 0.1) & (ids > 0)
        reached = torch.tensor([[lesson.highest >= step * CEILING for step in STEPS] for lesson in batch]).float()
        logits = student(torch.where(hidden, UNKNOWN, ids), roles)
        value = functional.binary_cross_entropy_with_logits(logits, reached, pos_weight=weight)
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(value)
        for optimiser in optimisers:
            optimiser.step()
    return student.eval()


def _batches(lessons: Sequence[Taught], rng: random.Random, size: int = 512) -> list[list[Taught]]:
    """In random order, texts of like lengths together."""
    order = rng.sample(list(lessons), len(lessons))
    pools = [
        sorted(order[i : i + 8 * size], key=lambda lesson: len(lesson.ids)) for i in range(0, len(order), 8 * size)
    ]
    batches = [pool[i : i + size] for pool in pools for i in range(0, len(pool), size)]
    return rng.sample(batches, len(batches))


def _tensors(batch: Sequence[Taught]) -> tuple[Tensor, Tensor]:
    width = max(len(lesson.ids) for lesson in batch)
    ids = torch.zeros(len(batch), max(width, 2), dtype=torch.long)
    for row, lesson in enumerate(batch):
        ids[row, : len(lesson.ids)] = torch.tensor(lesson.ids)
    names = list(ROLES)
    return ids, torch.tensor([names.index(lesson.role if lesson.role in ROLES else "unknown") for lesson in batch])


def seen(lessons: Sequence[Taught], vocabulary: int) -> npt.NDArray[np.bool_]:
    """Which tokens stand in enough of the learned lessons for the tier to know them."""
    counts = np.zeros(vocabulary, dtype=np.int64)
    for lesson in lessons:
        if lesson.side == "learned" and lesson.ids:
            counts[np.unique(lesson.ids)] += 1
    return counts >= SEEN


def write(student: Student, path: Path, known: npt.NDArray[np.bool_]) -> None:
    """The student as `guard.screen.static` reads it: int8 vectors with a scale each, 0 for tokens that are not `known`,
    the rest in float32."""
    state = {name: value.detach().numpy() for name, value in student.state_dict().items()}
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "roles": state["roles.weight"], "inner": state["inner.weight"], "inner_bias": state["inner.bias"],
        "outer": state["outer.weight"], "outer_bias": state["outer.bias"],
    }  # fmt: skip
    for name in ("words", "pairs"):
        values = state[f"{name}.weight"]
        scale = np.maximum(np.abs(values).max(1, keepdims=True), 1e-9).astype(np.float32) / 127
        arrays[name] = np.rint(values / scale).astype(np.int8)
        arrays[f"{name}_scale"] = np.where(known[:, None], scale, np.float32(0)) if name == "words" else scale
    np.savez_compressed(path, **arrays)


class Asked(NamedTuple):
    """Lessons with the tier's logit for each; None where it has none."""

    lessons: Sequence[Taught]
    logits: Sequence[float | None]

    @classmethod
    def by(cls, tier: StaticTier, lessons: Sequence[Taught]) -> "Asked":
        """`tier` asked about every one of `lessons`."""
        return cls(lessons, [tier.logit(lesson.ids, lesson.role) for lesson in lessons])

    def settled(self, bound: float) -> list[Taught]:
        """The lessons that a tier with this bound settles."""
        return [
            lesson
            for lesson, logit in zip(self.lessons, self.logits, strict=True)
            if logit is not None and logit <= bound
        ]


def bound_of(asked: Asked) -> float | None:
    """The tier's bound, in tenths: the highest, less `MARGIN`, at which at most `DISAGREE` of the settled reach the
    ceiling, before the margin is taken off and after. None where that cannot be shown, for too few texts are settled.

    One odd text among the very lowest says little: what counts is the share at the bound itself.
    """
    for step in np.arange(-0.1, -12.1, -0.1).round(1).tolist():
        settled = asked.settled(step)
        if len(settled) * DISAGREE < 1:
            return None
        if _agrees(settled) and _agrees(asked.settled(step - MARGIN)):
            return round(step - MARGIN, 1)
    return None


def _agrees(settled: Sequence[Taught]) -> bool:
    return sum(lesson.highest >= CEILING for lesson in settled) <= DISAGREE * len(settled)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of `texts`, the tier settles `settled`; of those the encoder scores `reached` at or above the ceiling."""

    texts: int
    settled: int
    reached: int


def agreement(asked: Asked, bound: float) -> Agreement:
    """How a tier with this bound does."""
    settled = asked.settled(bound)
    return Agreement(len(asked.lessons), len(settled), sum(lesson.highest >= CEILING for lesson in settled))


def add_static(folder: Path, data: Path, *, dev: Path | None, own: int = OWN) -> dict[str, Agreement]:
    """Distils the tier of the encoder in `folder` and adds it to the manifest; its agreement on each source and set.

    Where no bound keeps the promise, or none of the texts is left below it less the margin, nothing is added.
    """
    encoder = Encoder(folder)
    lessons = taught(data, encoder, dev=dev, own=own)
    vocabulary = base_tokenizer().get_vocab_size()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / STATIC
        write(distil(lessons, vocabulary), path, seen(lessons, vocabulary))
        tier = StaticTier(path, _settings(0.0, {}))
        held = Asked.by(tier, [lesson for lesson in lessons if lesson.side == "bound"])
        bound = bound_of(held)
        if bound is None or not (settled := held.settled(bound)):
            return {}
        shutil.copy(path, folder / STATIC)
    usual = np.mean([lesson.scores for lesson in settled], axis=0)
    scores = {head: round(float(value), 6) for head, value in zip(CATEGORIES, usual, strict=True)}
    agreements = _agreements(tier, bound, [lesson for lesson in lessons if lesson.side == "report"], dev, encoder)
    manifest = json.loads((folder / "model.json").read_text())
    section = msgspec.to_builtins(_settings(bound, scores)) | {
        "of": _origin(manifest),
        "agreement": {name: asdict(one) for name, one in agreements.items()},
    }
    _include(folder, manifest, section)
    return agreements


def _settings(bound: float, scores: Mapping[str, float]) -> StaticSettings:
    return StaticSettings(CEILING, bound, scores, tuple(ROLES), LONGEST, MAX_TOKENS, MULTIPLIER)


def _agreements(
    tier: StaticTier, bound: float, report: Sequence[Taught], dev: Path | None, encoder: Encoder
) -> dict[str, Agreement]:
    """On held-back texts and the measuring sets together, then on each source and set."""
    shown: dict[str, Sequence[Taught]] = {ALL_DEV: measured(dev, encoder)} if dev is not None else {}
    shown["ordinary texts"] = [lesson for lesson in report if lesson.source in ORDINARY]
    shown["all training sources"] = report
    by_source: dict[str, list[Taught]] = {}
    for lesson in [*report, *shown.get(ALL_DEV, [])]:
        by_source.setdefault(lesson.source, []).append(lesson)
    return {
        name: agreement(Asked.by(tier, those), bound)
        for name, those in (shown | dict(sorted(by_source.items()))).items()
    }


def keep_static(folder: Path, before: Mapping[str, Any], *, dev: Path | None) -> bool:
    """Puts the tier of `before`, an earlier manifest of the folder, back where the encoder and this recipe are still
    the same, and it was measured on `dev` if there is one."""
    manifest = json.loads((folder / "model.json").read_text())
    kept = before.get("static")
    path = folder / STATIC
    same = kept is not None and kept["of"] == _origin(manifest) and (dev is None or ALL_DEV in kept["agreement"])
    if (
        not same
        or not _alike(before["calibration"], manifest["calibration"])
        or not path.exists()
        or sha256(path) != before["files"][STATIC]
    ):
        return False
    _include(folder, manifest, kept)
    return True


def _include(folder: Path, manifest: dict[str, Any], section: Mapping[str, Any]) -> None:
    manifest["static"] = section
    manifest["files"][STATIC] = sha256(folder / STATIC)
    (folder / "model.json").write_text(json.dumps(manifest, indent=1) + "\n")


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two calibrations are the same but for the last digits, which differ from fit to fit."""
    return one.keys() == other.keys() and all(
        abs(one[role][head][name] - other[role][head][name]) < 0.005
        for role in one
        for head in one[role]
        for name in ("scale", "offset")
    )


def _origin(manifest: Mapping[str, Any]) -> str:
    """The same for an encoder with the same graph, and the same recipe of the tier."""
    recipe = [CEILING, STEPS, WIDTH, INNER, PAIRS, MAX_TOKENS, LONGEST, FROM_EACH, SEEN, DISAGREE, MARGIN, EPOCHS]
    whole = json.dumps([manifest["files"]["encoder.onnx"], recipe])
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def table(found: Mapping[str, Agreement]) -> str:
    """Markdown: what share of each source's texts the tier settles, and how many the encoder would not have."""
    lines = ["| texts of | texts | settled | above the ceiling |", "|---|--:|--:|--:|"]
    for source, one in found.items():
        share = one.settled / one.texts if one.texts else 0.0
        lines.append(f"| {source} | {one.texts:,} | {share:.1%} | {one.reached} |")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the training sets")
    parser.add_argument("--model", type=Path, required=True, help="folder of the exported encoder")
    parser.add_argument("--dev", type=Path, help="folder of the measuring sets, for the agreement on them")
    options = parser.parse_args()
    print(table(add_static(options.model, options.data, dev=options.dev)))


if __name__ == "__main__":
    main()
