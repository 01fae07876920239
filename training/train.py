"""Fine-tunes the encoder: `python -m training.train --data DIR --out DIR`. Seeded, resumable, ends on time.

The learning rate falls to zero by the end of the steps or of the minutes, whichever comes first, so that a
run on a busy machine still ends with a finished schedule.
"""

import argparse
import hashlib
import json
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from tqdm import tqdm

from training.batches import Batch, Plan, base_tokenizer, epoch, matrices
from training.data import Example, Measuring, Split, group_of, public_examples, split, synthetic_examples
from training.heads import DECIDING
from training.labels import ALL_HEADS
from training.model import Encoder, Objective, Shape, loss

__all__ = ["Recipe", "Run", "averaged", "fit", "heads_with_labels", "load", "main", "read_run", "split_examples"]

CHECKPOINT_EVERY = 200
FEWEST_POSITIVES = 150


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a run may vary; `minutes` is measured on the clock of the wall, over all resumptions."""

    rate: float = 2e-4
    head_rate: float = 1e-3
    words_rate: float = 3e-5
    layer_decay: float = 0.9
    warm_up: float = 0.05
    most_positive_weight: float = 3.0
    objective: Objective = field(default_factory=lambda: Objective(overall=4.0))
    average: float = 0.0
    """Decay of the weights' moving average for each step; 0 keeps the last weights."""
    epochs: int = 2
    minutes: float = math.inf
    most_steps: int | None = None
    seed: int = 7
    lanes: int = 2


@dataclass(frozen=True, slots=True)
class Run:
    """A finished training: what was learnt, and how long it took."""

    heads: tuple[str, ...]
    shape: Shape
    seed: int
    steps: int
    rows: int
    minutes: float
    loss: float


def heads_with_labels(examples: Sequence[Example]) -> tuple[str, ...]:
    """The heads with positives enough, in the order of `ALL_HEADS`."""
    known, _ = matrices([example.target for example in examples], ALL_HEADS)
    positives = (known == 1).sum(0)
    return tuple(head for head, count in zip(ALL_HEADS, positives, strict=True) if count >= FEWEST_POSITIVES)


def fit(
    model: Encoder,
    examples: Sequence[Example],
    tokenizer: Tokenizer,
    *,
    plan: Plan,
    recipe: Recipe,
    out: Path,
    clock: Callable[[], float] = time.monotonic,
) -> Run:
    """Trains to the end and writes `weights.pt`; a run that finds `checkpoint.pt` in `out` goes on there."""
    torch.manual_seed(recipe.seed)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    optimisers = _optimisers(model, recipe)
    positive = _positive_weights(examples, plan.heads, recipe.most_positive_weight)
    steps = recipe.most_steps or _estimated_steps(examples, tokenizer, plan, recipe)
    deciding = torch.tensor([head in DECIDING for head in plan.heads])
    state = _State(model, optimisers, out / "checkpoint.pt", recipe.average, _digest(examples, plan, recipe))
    state.restore()
    begun = clock() - state.seconds
    limit = recipe.minutes * 60
    bar = tqdm(total=steps, initial=state.step, unit="step", mininterval=10)
    lanes = _Lanes(model, recipe.lanes, recipe.objective, positive, deciding)
    model.train()
    for batch in _remaining(examples, tokenizer, plan, recipe, state.step):
        state.seconds = clock() - begun
        progress = max(state.step / steps, state.seconds / limit)
        if progress >= 1:
            break
        _set_rates(optimisers, _factor(progress, recipe.warm_up))
        value = _step(model, lanes, batch, optimisers)
        state.advance(len(batch.known), value)
        bar.update()
        bar.set_postfix(loss=f"{state.loss:.4f}", progress=f"{progress:.3f}")
        if state.step % CHECKPOINT_EVERY == 0:
            state.save()
    bar.close()
    torch.save(state.final(), out / "weights.pt")
    state.path.unlink(missing_ok=True)
    run = Run(
        plan.heads, model.shape, recipe.seed, state.step, state.rows, round(state.seconds / 60, 1), round(state.loss, 4)
    )
    (out / "run.json").write_text(json.dumps(asdict(run)) + "\n")
    return run


def read_run(out: Path) -> Run:
    """What `fit` noted in `out`."""
    raw = json.loads((out / "run.json").read_text())
    return Run(**{**raw, "heads": tuple(raw["heads"]), "shape": Shape(**raw["shape"])})


def load(out: Path) -> Encoder:
    """The model that `fit` left in `out`."""
    run = read_run(out)
    model = Encoder(run.shape, len(run.heads))
    model.load_state_dict(torch.load(out / "weights.pt", weights_only=True))
    return model.eval()


def averaged(runs: Sequence[Path]) -> Encoder:
    """The mean of the weights of several runs that began from the same base (Wortsman and others, 2022).

    Raises:
        ValueError: the runs have other heads or sizes.
    """
    first = read_run(runs[0])
    if any((run.heads, run.shape) != (first.heads, first.shape) for run in map(read_run, runs)):
        raise ValueError(f"{', '.join(map(str, runs))}: only runs with the same heads and sizes can be averaged")
    states = [load(run).state_dict() for run in runs]
    model = load(runs[0])
    model.load_state_dict({name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]})
    return model.eval()


class _Lanes:
    """Gradients of a batch in pieces, one thread to a piece, all on the same weights.

    One thread on half a batch wastes less than two threads on each matrix product of a whole one, most of all on a
    busy machine. The pieces are added in their order, so the number of lanes is part of what makes a run repeat.
    """

    def __init__(self, model: Encoder, lanes: int, objective: Objective, positive: Tensor, deciding: Tensor) -> None:
        self._model = model
        self._parameters = list(model.parameters())
        self._device = self._parameters[0].device
        self._objective = objective
        self._positive, self._deciding = positive.to(self._device), deciding.to(self._device)
        # An accelerator wants the batch whole.
        self._lanes = lanes if self._device.type == "cpu" else 1
        self._pool = ThreadPoolExecutor(lanes, initializer=torch.set_num_threads, initargs=(1,))

    def backward(self, batch: Batch) -> float:
        """Sets every parameter's `grad`, and returns the loss."""
        found = list(self._pool.map(self._piece, batch.pieces(self._lanes)))
        for parameter, *gradients in zip(self._parameters, *[gradients for _, gradients in found], strict=True):
            total = gradients[0]
            for gradient in gradients[1:]:
                total = total + gradient
            parameter.grad = total / len(found)
        return sum(value for value, _ in found) / len(found)

    def _piece(self, batch: Batch) -> tuple[float, tuple[Tensor, ...]]:
        batch = batch.to(self._device)
        with torch.autocast(self._device.type, dtype=torch.bfloat16):
            logits = self._model(batch.input_ids, batch.token_type_ids, batch.mask)
        value = loss(
            logits,
            batch.known,
            batch.any_of,
            positive=self._positive,
            objective=self._objective,
            deciding=self._deciding,
        )
        return float(value.detach()), torch.autograd.grad(value, self._parameters)


class _State:
    """What a run needs to go on after an interruption: weights, optimisers, and how far it came."""

    AVERAGE_EVERY = 5

    def __init__(
        self,
        model: Encoder,
        optimisers: Sequence[torch.optim.Optimizer],
        path: Path,
        average: float,
        digest: str,
    ) -> None:
        self._digest = digest
        self.model, self.optimisers, self.path = model, optimisers, path
        self.step, self.rows, self.seconds, self.loss = 0, 0, 0.0, math.nan
        self._decay = average**self.AVERAGE_EVERY
        self._averaged = {name: value.clone() for name, value in model.state_dict().items()} if average else {}

    def final(self) -> dict[str, Tensor]:
        """The averaged weights where they are averaged, else the last."""
        found = self._averaged or self.model.state_dict()
        return {name: value.cpu() for name, value in found.items()}

    def advance(self, rows: int, value: float) -> None:
        if self._averaged and self.step % self.AVERAGE_EVERY == 0:
            # Early on the average forgets faster, or it would remember the base weights.
            decay = min(self._decay, (1 + self.step / 10) / (10 + self.step / 10))
            for name, weight in self.model.state_dict().items():
                self._averaged[name].lerp_(weight, 1 - decay)
        self.step += 1
        self.rows += rows
        self.loss = value if math.isnan(self.loss) else 0.99 * self.loss + 0.01 * value

    def save(self) -> None:
        scratch = self.path.with_suffix(".part")
        torch.save(
            {
                "model": self.model.state_dict(),
                "digest": self._digest,
                "averaged": self._averaged,
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
                "progress": (self.step, self.rows, self.seconds, self.loss),
            },
            scratch,
        )
        scratch.replace(self.path)

    def restore(self) -> None:
        if not self.path.exists():
            return
        state = torch.load(self.path, weights_only=True, map_location=next(self.model.parameters()).device)
        if state["digest"] != self._digest:
            raise SystemExit(
                f"{self.path} is of a run with another recipe or other data: remove it, or give another --out"
            )
        self.model.load_state_dict(state["model"])
        self._averaged = state["averaged"]
        for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        self.step, self.rows, self.seconds, self.loss = state["progress"]


def _digest(examples: Sequence[Example], plan: Plan, recipe: Recipe) -> str:
    """The same for runs that would make the same batches; how long they may take does not count."""
    digest = hashlib.blake2b(repr((plan, replace(recipe, minutes=0, most_steps=0))).encode(), digest_size=16)
    for example in examples:
        known = sorted(example.target.values.items())
        line = repr((example.text, example.role, example.context, known, sorted(example.target.any_of), example.times))
        digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _remaining(
    examples: Sequence[Example], tokenizer: Tokenizer, plan: Plan, recipe: Recipe, done: int
) -> Iterator[Batch]:
    """The batches of all epochs after the first `done`."""
    number = 0
    for index in range(recipe.epochs):
        for batch in epoch(examples, tokenizer, plan, seed=f"{recipe.seed}:{index}"):
            number += 1
            if number > done:
                yield batch


def _estimated_steps(examples: Sequence[Example], tokenizer: Tokenizer, plan: Plan, recipe: Recipe) -> int:
    """Steps of all epochs, counted on the first one."""
    batches = sum(1 for _ in epoch(examples, tokenizer, plan, seed=f"{recipe.seed}:0"))
    return batches * recipe.epochs


def _step(model: Encoder, lanes: _Lanes, batch: Batch, optimisers: Sequence[torch.optim.Optimizer]) -> float:
    value = lanes.backward(batch)
    nn.utils.clip_grad_norm_([p for name, p in model.named_parameters() if name != "words.weight"], 1.0)
    for optimiser in optimisers:
        optimiser.step()
    return value


def _optimisers(model: Encoder, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW, slower the deeper a layer lies, and a sparse Adam for the word embeddings."""
    depth = len(model.layers)
    groups = [{"params": list(model.head.parameters()), "lr": recipe.head_rate}]
    for index, layer in enumerate(model.layers):
        rate = recipe.rate * recipe.layer_decay ** (depth - 1 - index)
        groups.append({"params": list(layer.parameters()), "lr": rate})
    bottom = [*model.places.parameters(), *model.types.parameters(), *model.norm.parameters()]
    groups.append({"params": bottom, "lr": recipe.rate * recipe.layer_decay**depth})
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, weight_decay=0.01, fused=True),
        torch.optim.SparseAdam([model.words.weight], lr=recipe.words_rate),
    ]
    for optimiser in made:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return made


def _set_rates(optimisers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * factor


def _factor(progress: float, warm_up: float) -> float:
    """Linear up to 1 at `warm_up`, then linear down to 0 at 1."""
    if progress < warm_up:
        return max(progress / warm_up, 0.01)
    return (1 - progress) / (1 - warm_up)


def _positive_weights(examples: Sequence[Example], heads: Sequence[str], most: float) -> Tensor:
    """The fourth root of negatives to positives for each head, at most `most`, and never below 1."""
    known, _ = matrices([example.target for example in examples], heads)
    times = np.array([example.times for example in examples])[:, None]
    positives = ((known == 1) * times).sum(0).clip(min=1)
    negatives = ((known == 0) * times).sum(0).clip(min=1)
    return torch.tensor(((negatives / positives) ** 0.25).clip(1.0, most), dtype=torch.float32)


def split_examples(data: Path, dev: Path | None, *, judging: bool = True, without: Collection[str] = ()) -> Split:
    """Training and validation, public and synthetic rows together, without what stands in the measuring sets and the
    template files in `without`."""
    measuring = Measuring.of(dev) if dev is not None else Measuring()
    own = [example for example in synthetic_examples(without=without) if group_of(example.text) not in measuring.groups]
    return split([*public_examples(data, measuring, judging=judging), *own])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the training sets")
    parser.add_argument("--dev", type=Path, help="folder of the measuring sets: nothing in them is trained on")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and weights")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=math.inf, help="end by then, schedule completed")
    parser.add_argument("--steps", type=int, help="end after so many steps, schedule completed")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    train, _ = split_examples(options.data, options.dev)
    plan = Plan(heads_with_labels(train))
    recipe = Recipe(epochs=options.epochs, minutes=options.minutes, most_steps=options.steps, seed=options.seed)
    print(f"{len(train)} rows, {len(plan.heads)} heads: {', '.join(plan.heads)}", flush=True)
    model = Encoder.pretrained(len(plan.heads))
    print(fit(model, train, base_tokenizer(), plan=plan, recipe=recipe, out=options.out))


if __name__ == "__main__":
    main()
