"""What each choice is worth: `python -m training.ablate --data DIR --dev DIR --out DIR [NAME…]`.

Every variant is the recipe with one thing changed, trained for the same number of tokens from the same base
weights, and measured without export on the same sample of the measuring sets. The first variant is the recipe
itself, the second the same with another seed: what differs less than those two says nothing.
"""

import argparse
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from guard import metrics
from guard.text import spoken
from training.batches import Plan, base_tokenizer, laid_out, matrices, padded, room
from training.calibrate import Floats, fit_platt
from training.data import LINE_TIMES, SYNTHETIC, Example, hashed
from training.heads import DECIDING, Target
from training.model import Encoder
from training.rows import read
from training.train import Recipe, fit, heads_with_labels, load, read_run, split_examples

__all__ = ["VARIANTS", "Variant", "main", "markdown", "measured"]

TOKENS = 1_500_000
"""Tokens of padded batches in one variant's training: about a sixth of an epoch."""
CONTINUED: Mapping[str, object] = {"rate": 6e-5, "head_rate": 1.2e-4, "words_rate": 1.5e-5}
"""Peak rates where weights of a finished run are continued."""
FROM_EACH = 500
"""Rows of each measuring set and side, those with the smallest hash of their id."""
WINDOWS = 3


@dataclass(frozen=True, slots=True)
class Variant:
    """The recipe with one thing changed; `change` is done to the training examples."""

    says: str
    plan: Mapping[str, object] = field(default_factory=dict)
    recipe: Mapping[str, object] = field(default_factory=dict)
    objective: Mapping[str, object] = field(default_factory=dict)
    change: Callable[[Sequence[Example]], list[Example]] = list
    shows_role: bool = True
    shows_context: bool = True
    judging: bool = True


def _without_synthetic(found: Sequence[Example]) -> list[Example]:
    return [example for example in found if example.source != SYNTHETIC]


def _without_lines(found: Sequence[Example]) -> list[Example]:
    return [example for example in found if not _line(example)]


def _lines_once(found: Sequence[Example]) -> list[Example]:
    return [replace(example, times=1.0) if _line(example) else example for example in found]


def _line(example: Example) -> bool:
    return example.source == SYNTHETIC and example.times == LINE_TIMES


VARIANTS: Mapping[str, Variant] = {
    "recipe": Variant("the recipe"),
    "seed": Variant("the recipe, another seed", recipe={"seed": 8}),
    "no-overall": Variant("no loss on the decision as a whole", objective={"overall": 0.0}),
    "overall-1": Variant("its weight 1 instead of 4", objective={"overall": 1.0}),
    "overall-8": Variant("its weight 8", objective={"overall": 8.0}),
    "smoothing": Variant("label smoothing 0.03", objective={"smoothing": 0.03}),
    "focal": Variant("focal loss, exponent 1", objective={"focal": 1.0}),
    "average": Variant("moving average of the weights, 0.995", recipe={"average": 0.995}),
    "rate-low": Variant("peak rate 1e-4", recipe={"rate": 1e-4}),
    "rate-high": Variant("peak rate 4e-4", recipe={"rate": 4e-4}),
    "decay-none": Variant("no layer-wise decay of the rate", recipe={"layer_decay": 1.0}),
    "words-fast": Variant("word embeddings at 1e-4", recipe={"words_rate": 1e-4}),
    "no-roughening": Variant("no roughened texts", plan={"roughen": 0.0}),
    "no-role": Variant("role never shown, nor read", plan={"role_unknown": 1.0}, shows_role=False),
    "no-context": Variant(
        "context never shown, nor read",
        plan={"context_dropped": 1.0, "needed_context_dropped": 1.0},
        shows_context=False,
    ),
    "no-any": Variant("rows of unknown category teach nothing", objective={"any_weight": 0.0}),
    "no-synthetic": Variant("no synthetic rows", change=_without_synthetic),
    "no-lines": Variant("no hand-written lines", change=_without_lines),
    "lines-once": Variant("hand-written lines half as often", change=_lines_once),
    "sources-labels": Variant("the sources' labels instead of our judgements", judging=False),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows of one measuring set."""

    name: str
    examples: list[Example]
    truth: metrics.Truth


def samples(dev: Path, *, from_each: int = FROM_EACH) -> list[Sample]:
    """The measuring sets in English, cut to `from_each` rows a side by a stable choice."""
    made = []
    for path in sorted(dev.glob("*.jsonl.gz")):
        rows = [row for row in read(path) if row.flagged is not None and row.lang.lower() in ("en", "english")]
        chosen = []
        for side in (0, 1):
            mine = sorted((row for row in rows if row.flagged == side), key=lambda row: hashed(row.id))
            chosen += mine[:from_each]
        if chosen:
            examples = [Example(r.text, r.role, r.context or "", Target(), "", r.source) for r in chosen]
            made.append(
                Sample(
                    path.name.removesuffix(".jsonl.gz"), examples, np.array([r.flagged for r in chosen], dtype=np.int8)
                )
            )
    return made


def logits_of(model: Encoder, examples: Sequence[Example], tokenizer: Tokenizer, variant: Variant) -> Floats:
    """Logits [rows, heads] in float, the highest over at most three windows of each text."""
    inputs, owners = [], []
    for number, example in enumerate(examples):
        ids = tokenizer.encode(spoken(example.text[:4_000]).text, add_special_tokens=False).ids
        before = tokenizer.encode(spoken(example.context[-480:]).text, add_special_tokens=False).ids[-48:]
        context, role = before if variant.shows_context else [], example.role if variant.shows_role else "unknown"
        step = room(context, 192) - 20
        for start in range(0, max(1, min(len(ids) - 20, WINDOWS * step)), step):
            inputs.append(laid_out(ids, role, context, max_tokens=192, start=start))
            owners.append(number)
    found = np.full((len(examples), model.head.out_features), -np.inf)
    order = sorted(range(len(inputs)), key=lambda i: len(inputs[i].ids))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for first in range(0, len(order), 32):
            group = order[first : first + 32]
            batch = padded([inputs[i] for i in group])
            for i, row in zip(group, model(*batch).float().double().numpy(), strict=True):
                found[owners[i]] = np.maximum(found[owners[i]], row)
    return found


def measured(
    model: Encoder, heads: Sequence[str], validation: Sequence[Example], found: Sequence[Sample], variant: Variant
) -> dict[str, float]:
    """AUPRC (AUC for some) of each set with two sides, and how well harmful and harmless prompts part."""
    tokenizer = base_tokenizer()
    model.eval()
    known = matrices([example.target for example in validation], heads).known
    raw = logits_of(model, validation, tokenizer, variant)
    platt = [fit_platt(raw[:, i], known[:, i]) for i in range(len(heads))]
    columns = [i for i, head in enumerate(heads) if head in DECIDING]
    figures: dict[str, float] = {}
    prompts: dict[int, list[Floats]] = {0: [], 1: []}
    for sample in found:
        raw = logits_of(model, sample.examples, tokenizer, variant)
        scores = np.stack([platt[i](raw[:, i]) for i in columns], 1).max(1)
        if 0 < sample.truth.sum() < len(sample.truth):
            figure = metrics.roc_auc if sample.name in AUC else metrics.average_precision
            figures[sample.name] = figure(sample.truth, scores)
        if sample.name in PROMPTS:
            for side in (0, 1):
                prompts[side].append(scores[sample.truth == side])
    figures["mean"] = float(np.mean(list(figures.values())))
    harmless, harmful = (np.concatenate(prompts[side]) for side in (0, 1))
    truth = np.r_[np.zeros(len(harmless)), np.ones(len(harmful))].astype(np.int8)
    figures["prompts"] = metrics.roc_auc(truth, np.r_[harmless, harmful])
    figures["prompts_recall"] = float((harmful > np.quantile(harmless, 0.95)).mean())
    return figures


AUC = frozenset({"aegis_test_prompts", "hatemojicheck", "harmbench_response", "medsafetybench_test", "piguard_valid"})
PROMPTS = frozenset({
    "toxicchat_dev", "aegis_test_prompts", "strongreject", "jailbreakbench_harmful", "donotanswer_fp",
    "cyberseceval_mitre_frr", "ailuminate_demo",
})  # fmt: skip


def markdown(results: Mapping[str, Mapping[str, float]]) -> str:
    """A row for each variant: its figure, and the difference from the recipe."""
    base = results["recipe"]
    names = [name for name in base if name not in ("mean", "prompts", "prompts_recall")]
    shown = ["mean", "prompts", "prompts_recall", *names]
    lines = ["| variant | " + " | ".join(shown) + " |", "|---|" + "--:|" * len(shown)]
    for variant, figures in results.items():
        cells = [
            f"{figures[name]:.3f}" if variant == "recipe" else f"{figures[name] - base[name]:+.3f}" for name in shown
        ]
        lines.append(f"| {VARIANTS[variant].says} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"variants: {', '.join(VARIANTS)} (default: all)")
    parser.add_argument("--data", type=Path, required=True, help="folder of the training sets")
    parser.add_argument("--dev", type=Path, required=True, help="folder of the measuring sets")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), help="one JSON file for each variant")
    parser.add_argument("--start", type=Path, help="folder of a finished run whose weights every variant continues")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="tokens of padded batches in one variant's training")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    names = options.names or list(VARIANTS)
    sides = {
        judging: split_examples(options.data, options.dev, judging=judging)
        for judging in {True, *(VARIANTS[name].judging for name in names)}
    }
    validation = sides[True].validation
    held = random.Random(0).sample(validation, min(4_000, len(validation)))
    found = samples(options.dev)
    for name in names:
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        train = sides[VARIANTS[name].judging].train
        figures = run(VARIANTS[name], train, held, found, folder, start=options.start, tokens=options.tokens)
        (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
        print(name, json.dumps({key: round(value, 4) for key, value in figures.items()}), flush=True)
    done = {name: options.out / name / "figures.json" for name in VARIANTS}
    results = {name: json.loads(path.read_text()) for name, path in done.items() if path.exists()}
    if "recipe" in results:
        print(markdown(results))


def run(
    variant: Variant,
    train: Sequence[Example],
    validation: Sequence[Example],
    found: Sequence[Sample],
    folder: Path,
    *,
    start: Path | None,
    tokens: int = TOKENS,
) -> dict[str, float]:
    """Trains one variant, from the base or from `start`, or takes its weights from `folder`, and measures it."""
    heads = read_run(start).heads if start else heads_with_labels(train)
    plan = Plan(heads, **variant.plan)  # type: ignore[arg-type]
    objective = replace(Recipe().objective, **variant.objective)  # type: ignore[arg-type]
    recipe = replace(
        Recipe(),
        **{"epochs": 1, "objective": objective, "most_steps": tokens // plan.budget}
        | (CONTINUED if start else {})
        | dict(variant.recipe),
    )  # type: ignore[arg-type]
    if not (folder / "weights.pt").exists():
        torch.manual_seed(recipe.seed)
        fit(
            load(start) if start else Encoder.pretrained(len(heads)),
            variant.change(train),
            base_tokenizer(),
            plan=plan,
            recipe=recipe,
            out=folder,
        )
    return measured(load(folder), heads, validation, found, variant)


if __name__ == "__main__":
    main()
