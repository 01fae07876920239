"""The whole way to a shipped encoder: `python -m training.run --data DIR`.

Data, training, export, calibration through the exported graph, static tier, card: in this order, each from the
result of the one before. Two members are trained, one without the newest lines, and their weights averaged
(docs/encoder.md says what that is worth). With `--weights` earlier runs' weights are exported and calibrated again
without training.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from guard.screen.encoder import Encoder
from training.batches import Plan, base_tokenizer
from training.calibrate import Reader, calibrate
from training.card import origins, write_card, write_notice
from training.compare import compare
from training.data import Example
from training.evaluate import default_policy, goals_table, measure, moderator_with, sets_table
from training.export import export
from training.identity import hate_of
from training.identity import measure as measure_identities
from training.manifest import Provenance, write_manifest
from training.model import Encoder as Network
from training.probes import failures
from training.static import OWN, add_static, keep_static
from training.train import Recipe, averaged, fit, heads_with_labels, read_run, split_examples

__all__ = ["main", "ship"]

SHIPPED = Path(__file__).parent.parent / "guard" / "screen" / "model"


NEWEST = (
    "asks_advice2", "asks_asia", "asks_chat2", "asks_crime2", "asks_europe", "asks_inject2", "asks_private2",
    "asks_self2", "asks_sexual2", "asks_tester", "named",
)  # fmt: skip
MEMBERS: Mapping[str, tuple[str, ...]] = {"first": NEWEST, "second": ()}
"""The template files that each member does without."""


def ship(
    weights: Sequence[Path],
    validation: Sequence[Example],
    folder: Path,
    *,
    data: Path,
    dev: Path | None,
    own: int = OWN,
) -> None:
    """Exports the mean of what `fit` left in `weights`, calibrates it on `validation`, distils the static tier unless
    the folder has that of the same encoder, measures all under the default policy as it is, and writes the artefacts.

    `own` is how many of our rows the static tier learns from.
    """
    model, run = averaged(weights), read_run(weights[-1])
    before = json.loads((folder / "model.json").read_text()) if (folder / "model.json").exists() else {}
    plan = Plan(run.heads)
    export(model, folder)
    logits = Reader(folder / "encoder.onnx", base_tokenizer()).raw_all(validation)
    calibrated = calibrate(logits, validation, plan)
    write_manifest(
        folder,
        heads=plan.heads,
        calibration=calibrated.platt,
        validation=calibrated.figures,
        trained=Provenance(len(weights), run.seed, run.rows, run.steps),
    )
    if not keep_static(folder, before, dev=dev):
        add_static(folder, data, dev=dev, own=own)
    quantised = compare(model, folder, logits, validation, plan, dev=dev)
    policy, encoder = default_policy(), Encoder(folder)
    measured = list(measure(folder, dev)) if dev else []
    found = origins(data)
    write_card(
        folder,
        data=found,
        validation=calibrated.figures,
        quantised=quantised,
        measured=measured,
        bias=measure_identities(hate_of(encoder), policy.spec.categories["hate"].thresholds.steps()[0][1]),
        failures=failures(moderator_with(encoder, policy), policy),
    )
    write_notice(folder, found)
    for head, figure in calibrated.figures.items():
        loss = compared.shipped - compared.exact if (compared := quantised.heads.get(head)) else math.nan
        cells = f"{figure.auc.value:8.4f}{figure.auprc.value:8.4f}{figure.ece:8.4f}{loss:+8.4f}"
        print(f"{head:24}{figure.rows:7}{figure.positives:6}{cells}")
    print(goals_table(measured), sets_table(measured), sep="\n\n")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the training sets")
    parser.add_argument("--dev", type=Path, help="folder of the measuring sets, for the card's figures")
    parser.add_argument("--runs", type=Path, default=Path("runs/encoder"), help="folder for checkpoints and weights")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder for the artefacts")
    parser.add_argument("--weights", type=Path, nargs="+", help="folders of finished runs: export and calibrate only")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=math.inf, help="end training by then, both members together")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    _, validation = split_examples(options.data, options.dev)
    weights = options.weights or [options.runs / member for member in MEMBERS]
    if options.weights is None:
        if all((run / "run.json").exists() for run in weights):
            # Finished runs are trained anew; where one is missing, an interrupted command goes on.
            for run in weights:
                (run / "run.json").unlink()
        recipe = Recipe(epochs=options.epochs, minutes=options.minutes / len(MEMBERS), seed=options.seed)
        for member, without in MEMBERS.items():
            out = options.runs / member
            if (out / "run.json").exists():
                continue
            train = split_examples(options.data, options.dev, without=without).train
            plan = Plan(heads_with_labels(train))
            out.mkdir(parents=True, exist_ok=True)
            fit(Network.pretrained(len(plan.heads)), train, base_tokenizer(), plan=plan, recipe=recipe, out=out)
    ship(weights, validation, options.out, data=options.data, dev=options.dev)


if __name__ == "__main__":
    main()
