"""What quantisation costs: the shipped int8 graph beside the float32 graph and beside plain dynamic int8."""

import json
import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic

from guard import metrics
from training.batches import Plan, base_tokenizer, matrices
from training.calibrate import Floats, Reader
from training.data import Example
from training.evaluate import measure
from training.export import write_float
from training.manifest import sha256
from training.model import Encoder

__all__ = ["Comparison", "Head", "compare"]

ROWS = 200
"""Rows of each side of a measuring set."""
TOKENS, RUNS = 64, 300


@dataclass(frozen=True, slots=True)
class Head:
    """AUC of one head on the same validation rows, by the float32 graph and by the shipped one."""

    exact: float
    shipped: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """`auprc_*` are means over the measuring sets with two sides (NaN without such sets); `milliseconds_*` medians
    of one call with 64 tokens on one thread, taken in turns."""

    heads: Mapping[str, Head]
    auprc_exact: float
    auprc_shipped: float
    milliseconds_shipped: float
    milliseconds_plain: float


def compare(
    model: Encoder,
    folder: Path,
    shipped: Floats,
    validation: Sequence[Example],
    plan: Plan,
    *,
    dev: Path | None,
    most: int = 6_000,
) -> Comparison:
    """`shipped` are the int8 graph's logits on `validation`, of which every n-th row is read in float32 too."""
    with tempfile.TemporaryDirectory() as scratch:
        exact = Path(scratch) / "exact"
        exact.mkdir()
        write_float(model, exact / "encoder.onnx")
        plain = Path(scratch) / "plain.onnx"
        quantize_dynamic(str(exact / "encoder.onnx"), str(plain), per_channel=True, weight_type=QuantType.QInt8)
        rows = range(0, len(validation), max(1, math.ceil(len(validation) / most)))
        logits = Reader(exact / "encoder.onnx", base_tokenizer()).raw_all(validation, rows=rows)
        heads = _heads(logits, shipped[list(rows)], [validation[i] for i in rows], plan)
        times = _times(folder / "encoder.onnx", plain)
        _as_folder(exact, folder)
        means = (_mean_auprc(exact, dev), _mean_auprc(folder, dev)) if dev else (math.nan, math.nan)
    return Comparison(heads, *means, *times)


def _heads(exact: Floats, shipped: Floats, examples: Sequence[Example], plan: Plan) -> dict[str, Head]:
    known = matrices([example.target for example in examples], plan.heads).known
    found = {}
    for i, head in enumerate(plan.heads):
        has = known[:, i] >= 0
        truth = known[has, i]
        if len(set(truth.tolist())) == 2:
            found[head] = Head(*(metrics.roc_auc(truth, scores[has, i]) for scores in (exact, shipped)))
    return found


def _as_folder(exact: Path, folder: Path) -> None:
    """Makes `exact` a folder that the service can read, with the calibration of the shipped encoder."""
    shutil.copy(folder / "tokenizer.json", exact)
    manifest = json.loads((folder / "model.json").read_text())
    manifest.pop("static", None)
    manifest["files"] = {name: sha256(exact / name) for name in ("encoder.onnx", "tokenizer.json")}
    (exact / "model.json").write_text(json.dumps(manifest))


def _mean_auprc(folder: Path, dev: Path) -> float:
    reports = measure(folder, dev, limit=ROWS, rounds=20, static=False)
    found = [value for report in reports if not math.isnan(value := report.binary.auprc.value)]
    return statistics.fmean(found) if found else math.nan


def _times(*paths: Path) -> tuple[float, ...]:
    """Median milliseconds of one call of each graph, the graphs in turns."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = [onnxruntime.InferenceSession(str(path), options) for path in paths]
    ids = np.random.default_rng(0).integers(2_000, 20_000, (1, TOKENS))
    feed = {"input_ids": ids, "token_type_ids": np.zeros_like(ids)}
    taken: list[list[float]] = [[] for _ in paths]
    for _ in range(RUNS):
        for session, found in zip(sessions, taken, strict=True):
            begun = time.perf_counter()
            session.run(["logits"], feed)
            found.append(time.perf_counter() - begun)
    return tuple(1e3 * statistics.median(found[RUNS // 10 :]) for found in taken)
