"""The artefacts in `guard/screen/model` belong together and are good enough."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from training.heads import CATEGORIES

SHIPPED = Path(__file__).parents[2] / "guard" / "screen" / "model"


def test_the_shipped_files_are_those_that_the_manifest_vouches_for() -> None:
    """A graph of one run beside the calibration of another would score silently wrong."""
    manifest = json.loads((SHIPPED / "model.json").read_text())
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((SHIPPED / name).read_bytes()).hexdigest() == digest
    assert manifest["format"] == 2


def test_the_shipped_encoder_is_small_enough_for_the_repository() -> None:
    """Thirty megabytes, the limit of what we keep in git."""
    assert (SHIPPED / "encoder.onnx").stat().st_size <= 30_000_000


def test_the_shipped_encoder_has_every_category() -> None:
    """Thirteen heads at least, each calibrated, one logit each."""
    manifest = json.loads((SHIPPED / "model.json").read_text())
    assert set(CATEGORIES) <= set(manifest["heads"])
    assert manifest["calibration"].keys() == set(manifest["role_tokens"])
    assert all(by_head.keys() == set(manifest["heads"]) for by_head in manifest["calibration"].values())
    session = onnxruntime.InferenceSession(str(SHIPPED / "encoder.onnx"))
    ids = np.array([[manifest["cls"], manifest["role_tokens"]["unknown"], 2023, manifest["sep"]]])
    (logits,) = session.run(["logits"], {"input_ids": ids, "token_type_ids": np.zeros_like(ids)})
    assert logits.shape == (1, len(manifest["heads"]))


@pytest.mark.parametrize("head", CATEGORIES)
def test_each_category_of_the_shipped_encoder_ranks_well(head: str) -> None:
    """0.85 on the held-out rows is the least that a screen is worth."""
    manifest = json.loads((SHIPPED / "model.json").read_text())
    assert manifest["validation"][head]["auc"] >= 0.85


@pytest.mark.parametrize("head", CATEGORIES)
def test_each_category_of_the_shipped_encoder_is_calibrated(head: str) -> None:
    """A score of 0.7 has to mean about seven in ten."""
    manifest = json.loads((SHIPPED / "model.json").read_text())
    assert manifest["validation"][head]["ece"] <= 0.05


def test_the_shipped_tokenizer_cuts_and_pads_nothing() -> None:
    """The service makes the windows itself."""
    tokenizer = json.loads((SHIPPED / "tokenizer.json").read_text())
    assert tokenizer["truncation"] is None
    assert tokenizer["padding"] is None
