"""The screen: the encoder alone by length, and `guard scan` against it."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.record import write
from guard.screen.encoder import Encoder

__all__ = ["encoder", "scan", "static"]

COMMAND = "python -m benchmarks"
THREADS = 2
SENTENCE = (
    "The parcel that I ordered on Monday has not arrived yet and the tracking page shows nothing new so "
    "please tell me whether it was sent and when I can expect it"
)


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


def static(calls: int = 1_000) -> None:
    """The static tier on one thread, by words (tokeniser included): one text after another, and in turns with the
    encoder, whose work pushes the tier's tables out of the processor's caches."""
    model = Encoder.shipped()
    if model.static is None:
        raise SystemExit("the shipped model has no static tier")
    tier = model.static
    figures: dict[str, float] = {}
    for words in (8, 30, 50):
        # Two texts in turn: the encoder keeps the tokens of the last one.
        pair = [" ".join((SENTENCE.split() * 3)[start : start + words]) for start in (0, 1)]
        own = [_seconds(lambda text: tier.settles(model.plain_ids(text), "user"), pair[n % 2]) for n in range(calls)]
        between, encoder_ = [], []
        for _ in range(calls // 4):
            between.append(_seconds(lambda text: tier.settles(model.plain_ids(text), "user"), pair[0]))
            encoder_.append(_seconds(lambda text: model.read(text, role="user"), pair[1]))
        figures[f"ms_median_{words}_words"] = statistics.median(own) * 1e3
        figures[f"ms_median_{words}_words_between_encoder_calls"] = statistics.median(between) * 1e3
        figures[f"ratio_to_encoder_{words}_words"] = statistics.median(between) / statistics.median(encoder_)
    write("static", f"{COMMAND} static", figures | {"goal": "<= 0.1 ms a text"})


def _seconds(call: Callable[[str], object], text: str) -> float:
    begun = time.perf_counter()
    call(text)
    return time.perf_counter() - begun


def scan(count: int = 10_000) -> None:
    """`guard scan` of short texts, the whole command, against the encoder's own throughput on the same two cores.

    The static tier is off, as by default; with it is measured beside.
    """
    texts = [f"Hello number {n}, how is the weather in town {n % 97} on day {n % 31}?" for n in range(count)]
    model = Encoder.shipped()
    ours, alone, started, tiered = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "in.jsonl", Path(folder) / "out.jsonl"
        source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        empty = Path(folder) / "empty.jsonl"
        empty.write_text("")
        for _ in range(3):
            alone.append(_alone(model, texts))
            ours.append(_command(source, output, static=False))
            started.append(_command(empty, output, static=False))
            tiered.append(_command(source, output, static=True))
    rate, best = count / statistics.median(ours), count / statistics.median(alone)
    working = count / (statistics.median(ours) - statistics.median(started))
    write(
        "scan",
        f"{COMMAND} scan",
        {
            "texts_per_second": rate,
            "texts_per_second_without_start": working,
            "texts_per_second_with_static_tier": count / statistics.median(tiered),
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


def _command(source: Path, output: Path, *, static: bool) -> float:
    command = [sys.executable, "-c", "from guard.cli import main; main()", "scan", str(source), "-o", str(output)]
    begun = time.perf_counter()
    environment = os.environ | {"GUARD_STATIC_TIER": str(static).lower()}
    subprocess.run([*command, "--quiet", "--overwrite"], check=True, capture_output=True, env=environment)
    return time.perf_counter() - begun
