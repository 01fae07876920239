"""The screen: the encoder alone by length, and `guard scan` against it."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.record import write
from guard.screen.encoder import Encoder

__all__ = ["encoder", "scan"]

COMMAND = "python -m benchmarks"
THREADS = 2


def encoder() -> None:
    """One text on one thread, by its length in tokens (tokeniser and calibration included)."""
    model = Encoder.shipped()
    figures = {}
    for tokens in (16, 64, 180):
        text = " ".join(["word"] * tokens)
        model.read(text)
        times = []
        for _ in range(200):
            begun = time.perf_counter()
            model.read(text)
            times.append(time.perf_counter() - begun)
        figures[f"ms_median_{tokens}_tokens"] = statistics.median(times) * 1e3
    write("encoder", f"{COMMAND} encoder", figures)


def scan(count: int = 10_000) -> None:
    """`guard scan` of short texts, the whole command, against the encoder's own throughput on the same two cores."""
    texts = [f"Hello number {n}, how is the weather in town {n % 97} on day {n % 31}?" for n in range(count)]
    model = Encoder.shipped()
    ours, alone, started = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "in.jsonl", Path(folder) / "out.jsonl"
        source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        empty = Path(folder) / "empty.jsonl"
        empty.write_text("")
        for _ in range(3):
            alone.append(_alone(model, texts))
            ours.append(_command(source, output))
            started.append(_command(empty, output))
    rate, best = count / statistics.median(ours), count / statistics.median(alone)
    working = count / (statistics.median(ours) - statistics.median(started))
    write(
        "scan",
        f"{COMMAND} scan",
        {
            "texts_per_second": rate,
            "texts_per_second_without_start": working,
            "encoder_texts_per_second": best,
            "ratio": rate / best,
            "ratio_without_start": working / best,
            "goal": "ratio >= 0.8",
        },
    )


def _alone(model: Encoder, texts: list[str]) -> float:
    begun = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(model.read, texts, chunksize=64):
            pass
    return time.perf_counter() - begun


def _command(source: Path, output: Path) -> float:
    command = [sys.executable, "-c", "from guard.cli import main; main()", "scan", str(source), "-o", str(output)]
    begun = time.perf_counter()
    subprocess.run([*command, "--quiet", "--overwrite"], check=True, capture_output=True)
    return time.perf_counter() - begun
