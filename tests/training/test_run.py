"""From finished weights to a folder that the service can read."""

import gzip
import json
import random
from pathlib import Path

import pytest
import torch

from guard.screen.encoder import Encoder as Served
from training.batches import Plan, base_tokenizer
from training.calibrate import Reader, probabilities, read_manifest
from training.data import Example
from training.heads import CATEGORIES, Target
from training.labels import SOURCES
from training.manifest import sha256
from training.model import Encoder, Shape
from training.run import SHIPPED, ship
from training.train import Recipe, fit

pytestmark = pytest.mark.filterwarnings("ignore")
"""The legacy exporter and the quantiser warn of themselves."""

TINY = Shape(vocabulary=30_522, width=32, layers=1, attention_heads=4, inner=64, positions=256)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small matrices on a shared machine: threads would only wait for each other."""
    torch.set_num_threads(1)


def some_examples() -> list[Example]:
    """Sixty sentences, half of them positive for every category."""
    rng = random.Random(0)
    return [
        Example(
            f"{('apple', 'stone')[i % 2]} {rng.random()}",
            "user",
            "",
            Target(dict.fromkeys(CATEGORIES, i % 2)),
            f"{i}",
            "x",
        )
        for i in range(60)
    ]


def write_sets(folder: Path, names: list[str], **more: object) -> Path:
    """One row for each set."""
    folder.mkdir()
    row = {"id": "1", "text": "stone " * 300, "role": "user", "context": None, "labels": {}, "flagged": 1}
    for name in names:
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as out:
            out.write(json.dumps({**row, "source": "somebody/somewhere", "licence": "CC BY 4.0", **more}) + "\n")
    return folder


def test_a_finished_run_becomes_a_complete_folder(tmp_path: Path) -> None:
    """Graph, tokenizer, manifest, card and notice, all of one run."""
    weights, out = tmp_path / "weights", tmp_path / "model"
    weights.mkdir()
    torch.manual_seed(0)
    recipe = Recipe(epochs=1, most_steps=4)
    fit(Encoder(TINY, 13), some_examples(), base_tokenizer(), plan=Plan(CATEGORIES), recipe=recipe, out=weights)
    data = write_sets(tmp_path / "train", list(SOURCES))
    dev = write_sets(tmp_path / "dev", ["aegis_test_prompts"])
    ship([weights], some_examples(), out, data=data, dev=dev, own=300)
    assert {path.name for path in out.iterdir()} == {
        "encoder.onnx",
        "tokenizer.json",
        "model.json",
        "CARD.md",
        "NOTICE",
    }
    manifest = json.loads((out / "model.json").read_text())
    assert manifest["heads"] == list(CATEGORIES)
    assert manifest["files"]["encoder.onnx"] == sha256(out / "encoder.onnx")
    assert manifest["validation"]["hate"]["rows"] == 60
    assert "somebody/somewhere" in (out / "NOTICE").read_text()
    card = (out / "CARD.md").read_text()
    assert "aegis_test_prompts" in card
    assert "static" not in manifest, "an encoder that knows nothing has no plain texts"
    assert "## The static tier" not in card


def test_training_and_service_read_a_text_alike() -> None:
    """Token layout, emoji, role, context, calibration: the scores that were fitted are the scores that are served."""
    encoder = Served.shipped()
    reader = Reader(SHIPPED / "encoder.onnx", base_tokenizer())
    heads, platt = read_manifest(SHIPPED)
    assert heads == encoder.heads
    for text, role, context in (
        ("How do I kill a process?", "user", ""),
        ("Then do it 🔪", "assistant", "I want to hurt him."),
        ("you 🐀", "comment", ""),
        ("What is the weather like?", "nobody", ""),
    ):
        raw = reader.raw(reader.ids(text), role, context)[None]
        expected = probabilities(raw, heads, platt.get(role, platt["unknown"]))
        assert encoder.read(text, role=role, context=context).scores == pytest.approx(expected[0], abs=1e-6)
