"""Distils the static tier from an exported encoder: `python -m training.static --data DIR --model FOLDER`.

Texts of the training sets, labelled or not, and our synthetic rows are scored by the int8 encoder; a model of word
vectors learns its logits, more afraid of foreseeing too little than too much. The margin is the smallest that
keeps, on texts that were held back, all but one in a thousand of the settled texts to what the encoder says.
"""

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from guard.policy import Policy
from guard.screen.encoder import STATIC, Encoder
from guard.screen.standard import limits
from guard.screen.static import StaticSettings, StaticTier
from guard.text import normalise
from training.data import group_of, hashed, synthetic_examples
from training.evaluate import default_policy
from training.heads import CATEGORIES
from training.manifest import sha256
from training.model import ROLES
from training.rows import read

__all__ = ["Agreement", "Student", "add_static", "agreement", "distil", "main", "table", "taught", "write"]

WIDTH, INNER = 64, 96
PAIRS, MULTIPLIER = 65_536, 31_337
MAX_TOKENS = 96
FROM_EACH = 3_000
"""Texts of each source."""
HELD = 0.2
"""Share of the groups that are held back: half to choose the margin on, half to report on."""
DISAGREE = 0.001
"""Share of the settled texts of the held-back side that the encoder may see otherwise."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Taught:
    """A text as the tier meets it, and the encoder's logits; no ids where the service would not ask the tier."""

    ids: list[int]
    role: str
    logits: Floats
    source: str
    side: Literal["learned", "margin", "report"]


class Student(nn.Module):
    """The network of `guard.screen.static`, in torch."""

    def __init__(self, vocabulary: int, heads: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, WIDTH, sparse=True)
        self.pairs = nn.Embedding(PAIRS, WIDTH, sparse=True)
        self.roles = nn.Embedding(len(ROLES), 8)
        self.inner = nn.Linear(3 * WIDTH + 8, INNER)
        self.outer = nn.Linear(INNER, heads)
        for table in (self.words, self.pairs):
            nn.init.normal_(table.weight, std=0.05)

    def forward(self, ids: Tensor, roles: Tensor) -> Tensor:
        """Logits [batch, heads]; `ids` [batch, tokens] is padded with 0."""
        mask = (ids > 0).unsqueeze(-1)
        words = self.words(ids)
        mean = (words * mask).sum(1) / mask.sum(1)
        highest = words.masked_fill(~mask, -1e4).amax(1)
        both = mask[:, 1:] & mask[:, :-1]
        found = self.pairs((ids[:, :-1] * MULTIPLIER + ids[:, 1:]) % PAIRS) * both
        pairs = found.sum(1) / both.sum(1).clamp(min=1)
        seen = torch.cat([mean, highest, pairs, self.roles(roles)], 1)
        logits: Tensor = self.outer(functional.relu(self.inner(seen)))
        return logits


def taught(data: Path, encoder: Encoder, *, threads: int = 2, from_each: int = FROM_EACH) -> list[Taught]:
    """Texts in English of every source and of our own, with what the encoder says."""
    texts: dict[str, _Text] = {}
    for path in sorted(data.glob("*.jsonl.gz")):
        rows = {row.text: row for row in read(path) if row.lang == "en"}
        for row in sorted(rows.values(), key=lambda row: hashed(row.text))[:from_each]:
            texts.setdefault(row.text[:1_000], _Text(row.text[:1_000], row.role, row.source, group_of(row.text)))
    for own in random.Random(0).sample(synthetic_examples(), 25_000):
        texts.setdefault(own.text, _Text(own.text, own.role, own.source, own.group))
    return _asked(list(texts.values()), encoder, threads)


def measuring(dev: Path, encoder: Encoder, *, threads: int = 2, from_each: int = 600) -> list[Taught]:
    """Texts of the measuring sets, to see the tier on what nobody has learned from."""
    texts = []
    for path in sorted(dev.glob("*.jsonl.gz")):
        rows = sorted((row for row in read(path) if row.lang == "en"), key=lambda row: hashed(row.id))
        texts += [_Text(row.text, row.role, row.source, row.text, row.context or "") for row in rows[:from_each]]
    return _asked(texts, encoder, threads)


class _Text(NamedTuple):
    text: str
    role: str
    source: str
    group: str
    context: str = ""


def _asked(texts: Sequence[_Text], encoder: Encoder, threads: int) -> list[Taught]:
    def one(item: _Text) -> Taught:
        found = normalise(item.text)
        ids = encoder.tokens(found.text)
        # As often as the compatible APIs do not say who wrote the text.
        role = "unknown" if hashed(item.text[::-1]) < 0.4 else item.role
        beyond = len(ids) > MAX_TOKENS or found.views or encoder.unread(ids) > 0 or item.context
        logits = np.empty(0, dtype=np.float32) if beyond or not ids else encoder.logits(ids, role)
        return Taught([] if beyond else ids, role, logits, item.source, _side(item.group))

    with ThreadPoolExecutor(threads) as pool:
        return list(tqdm(pool.map(one, texts), total=len(texts), mininterval=10, desc="the encoder's word"))


def _side(group: str) -> Literal["learned", "margin", "report"]:
    """Families and near-duplicates stay on one side."""
    place = hashed(f"static {group}")
    return "margin" if place < HELD / 2 else "report" if place < HELD else "learned"


def distil(lessons: Sequence[Taught], vocabulary: int, columns: Sequence[int], *, epochs: int = 10) -> Student:
    """Trains a student on the lessons that are not held back; `columns` are the encoder's heads that count."""
    torch.manual_seed(5)
    student = Student(vocabulary, len(columns))
    learned = [lesson for lesson in lessons if lesson.side == "learned" and lesson.ids]
    dense = [p for name, p in student.named_parameters() if name not in ("words.weight", "pairs.weight")]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(dense, lr=2e-3),
        torch.optim.SparseAdam([student.words.weight, student.pairs.weight], lr=4e-3),
    ]
    rng = random.Random(5)
    total = epochs * len(learned)
    done = 0
    for _ in tqdm(range(epochs), desc="distilling"):
        rng.shuffle(learned)
        for start in range(0, len(learned), 256):
            batch = learned[start : start + 256]
            for optimiser in optimisers:
                for group in optimiser.param_groups:
                    group.setdefault("peak", group["lr"])
                    group["lr"] = group["peak"] * (1 - done / total)
            ids, roles = _tensors(batch)
            wanted = torch.from_numpy(np.stack([lesson.logits[list(columns)] for lesson in batch])).clamp(-7, 4)
            given = student(ids, roles)
            error = functional.smooth_l1_loss(given, wanted, reduction="none")
            value = (error * torch.where(given < wanted, 4.0, 1.0)).mean()
            for optimiser in optimisers:
                optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(value)
            for optimiser in optimisers:
                optimiser.step()
            done += len(batch)
    return student.eval()


def _tensors(batch: Sequence[Taught]) -> tuple[Tensor, Tensor]:
    width = max(len(lesson.ids) for lesson in batch)
    ids = torch.zeros(len(batch), max(width, 2), dtype=torch.long)
    for row, lesson in enumerate(batch):
        ids[row, : len(lesson.ids)] = torch.tensor(lesson.ids)
    names = list(ROLES)
    return ids, torch.tensor([names.index(lesson.role if lesson.role in ROLES else "unknown") for lesson in batch])


def write(student: Student, path: Path) -> None:
    """The student as `guard.screen.static` reads it: int8 vectors with a scale each, the rest in float32."""
    state = {name: value.detach().numpy() for name, value in student.state_dict().items()}
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "roles": state["roles.weight"], "inner": state["inner.weight"], "inner_bias": state["inner.bias"],
        "outer": state["outer.weight"], "outer_bias": state["outer.bias"],
    }  # fmt: skip
    for name in ("words", "pairs"):
        values = state[f"{name}.weight"]
        scale = np.maximum(np.abs(values).max(1, keepdims=True), 1e-9).astype(np.float32) / 127
        arrays[name], arrays[f"{name}_scale"] = np.rint(values / scale).astype(np.int8), scale
    np.savez_compressed(path, **arrays)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of `texts`, the tier settles `settled`; of those the encoder sees `otherwise` as the policy would act on."""

    texts: int
    settled: int
    otherwise: int


def agreement(
    tier: StaticTier, encoder: Encoder, lessons: Sequence[Taught], below: npt.NDArray[np.float64], margin: float
) -> Agreement:
    """How the tier does with a margin, `below` being the scores from which the heads matter."""
    columns = [encoder.heads.index(head) for head in tier.settings.heads]
    settled = otherwise = 0
    for lesson in lessons:
        foreseen = tier.logits(lesson.ids, lesson.role)
        if foreseen is None:
            continue
        scale, offset = (part[columns] for part in encoder.scaling(lesson.role))
        certain = np.clip(below, 1e-9, 1 - 1e-9)
        bound = np.log(certain / (1 - certain))
        if (scale * (foreseen + margin) + offset < bound).all():
            settled += 1
            otherwise += bool((scale * lesson.logits[columns] + offset >= bound).any())
    return Agreement(len(lessons), settled, otherwise)


def add_static(folder: Path, data: Path, policy: Policy, *, dev: Path | None) -> dict[str, Agreement]:
    """Distils the tier of the encoder in `folder` and adds it to the manifest; the agreement on each source and set.

    The margin is the smallest that suits `policy` on held-back texts of all sources together; what is reported are
    other held-back texts, and the measuring sets.
    """
    encoder = Encoder(folder)
    lessons = taught(data, encoder)
    columns = [encoder.heads.index(head) for head in CATEGORIES]
    student = distil(lessons, encoder.vocabulary, columns)
    write(student, folder / STATIC)
    settings = StaticSettings(CATEGORIES, 0.0, MAX_TOKENS, PAIRS, MULTIPLIER)
    tier = StaticTier(folder / STATIC, settings, {role: encoder.scaling(role) for role in ROLES})
    held = [lesson for lesson in lessons if lesson.side == "margin"]
    below = limits(policy, CATEGORIES)
    margin = next(
        margin
        for margin in np.arange(0.0, 12.0, 0.1).round(1).tolist()
        if (one := agreement(tier, encoder, held, below, margin)).otherwise <= DISAGREE * one.settled
    )
    reported = {"all training sources": [lesson for lesson in lessons if lesson.side == "report"]}
    if dev is not None:
        reported["all measuring sets"] = measuring(dev, encoder)
    settings = StaticSettings(CATEGORIES, margin, MAX_TOKENS, PAIRS, MULTIPLIER)
    manifest = json.loads((folder / "model.json").read_text())
    manifest["static"] = {name: getattr(settings, name) for name in StaticSettings.__struct_fields__}
    manifest["static"]["agreement"] = {
        name: asdict(agreement(tier, encoder, found, below, margin)) for name, found in reported.items()
    }
    manifest["files"][STATIC] = sha256(folder / STATIC)
    (folder / "model.json").write_text(json.dumps(manifest, indent=1) + "\n")
    by_source: dict[str, list[Taught]] = {}
    for found in reported.values():
        for lesson in found:
            by_source.setdefault(lesson.source, []).append(lesson)
    return {
        name: agreement(tier, encoder, found, below, margin)
        for name, found in (reported | dict(sorted(by_source.items()))).items()
    }


def table(found: Mapping[str, Agreement]) -> str:
    """Markdown: what share of each source's held-back texts the tier settles, and how often it should not have."""
    lines = ["| texts of | texts | settled | otherwise than the encoder would |", "|---|--:|--:|--:|"]
    for source, one in found.items():
        share = one.settled / one.texts if one.texts else 0.0
        lines.append(f"| {source} | {one.texts:,} | {share:.1%} | {one.otherwise} |")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the training sets")
    parser.add_argument("--model", type=Path, required=True, help="folder of the exported encoder")
    parser.add_argument("--dev", type=Path, help="folder of the measuring sets, for the agreement on them")
    options = parser.parse_args()
    print(table(add_static(options.model, options.data, default_policy(), dev=options.dev)))


if __name__ == "__main__":
    main()
