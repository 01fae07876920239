"""Inputs that a fuzzer makes up, a few seconds of them in every run; `make fuzz` looks for longer.

An input that broke a promise once stays among the seeds, so that it is tried for ever.
"""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from guard.chat import sse
from guard.errors import InvalidPolicy
from guard.text import Normalised
from tests.fuzz import events, normalise, policy
from tests.fuzz.targets import LOOKED_AT

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TARGETS: dict[str, ModuleType] = {"normalise": normalise, "policy": policy, "events": events}
SEEDS = [(name, seed.name) for name in TARGETS for seed in sorted((HERE / "seeds" / name).iterdir())]
# Five seconds each on a quiet machine; a busy one may stop before that.
RUNS = {"normalise": 2_500, "policy": 1_800, "events": 12_000}
SECONDS = 60
# The fuzzer is there for these machines alone; the seeds are tried on all.
MACHINES = sys.platform == "linux" and platform.machine() == "x86_64"


def a_run(target: str, finds: Path, *more: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The fuzzer, for a minute at most."""
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        target,
        "--seconds",
        str(SECONDS),
        "--finds",
        str(finds),
        *map(str, more),
    ]
    env = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=110, check=False)


@pytest.mark.parametrize(("target", "seed"), SEEDS)
def test_what_was_found_once_stays_mended(target: str, seed: str):
    """Every seed keeps its promises, on every machine."""
    TARGETS[target].check((HERE / "seeds" / target / seed).read_bytes())


@pytest.mark.parametrize("target", TARGETS if MACHINES else ())
def test_a_short_search_finds_nothing(target: str, tmp_path: Path):
    """It has tried many inputs, and has found its way into code that the seeds did not reach."""
    done = a_run(target, tmp_path, "--runs", RUNS[target])
    found = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert (done.returncode, found) == (0, {}), f"keep it in tests/fuzz/seeds/{target}:\n{done.stderr[-4_000:]}"
    runs, new = (re.search(pattern, done.stderr) for pattern in (r"Done (\d+) runs", r"new_units_added: +(\d+)"))
    assert runs is not None
    assert new is not None
    assert int(runs[1]) > 50
    assert int(new[1]) > 5


@pytest.mark.parametrize("module", ["breaks", "hangs"] if MACHINES else ())
def test_a_find_is_kept_and_fails_the_search(module: str, tmp_path: Path):
    """The search itself can fail: on an error, and on an input that takes too long."""
    (tmp_path / "breaks.py").write_text('def check(data):\n    assert not data.startswith(b"a")\n')
    (tmp_path / "hangs.py").write_text(
        'import time\ndef check(data):\n    time.sleep(60 if data.startswith(b"a") else 0)\n'
    )
    finds = tmp_path / "finds"
    finds.mkdir()
    done = a_run(module, finds, "--seconds-each", 1, PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}")
    assert done.returncode != 0
    (file,) = finds.iterdir()
    assert file.read_bytes().startswith(b"a")


def test_the_seeds_reach_policies_that_are_right_and_ones_that_are_wrong(monkeypatch: pytest.MonkeyPatch):
    """Else the loader's second half would never be looked at."""
    right = wrong = 0
    load = policy.load_text

    def counting(*given: object) -> object:
        nonlocal right, wrong
        try:
            loaded = load(*given)  # type: ignore[arg-type]
        except InvalidPolicy:
            wrong += 1
            raise
        right += 1
        return loaded

    monkeypatch.setattr(policy, "load_text", counting)
    for target, seed in SEEDS:
        if target == "policy":
            policy.check((HERE / "seeds" / target / seed).read_bytes())
    assert right >= 4
    assert wrong >= 4


def _seeds_fail(target: str) -> int:
    failed = 0
    for name, seed in SEEDS:
        if name == target:
            try:
                TARGETS[target].check((HERE / "seeds" / target / seed).read_bytes())
            except (AssertionError, KeyError):
                failed += 1
    return failed


def test_a_normalisation_that_breaks_its_promises_is_noticed(monkeypatch: pytest.MonkeyPatch):
    """One that changes more the second time, and one whose spans are those of another text."""
    real = normalise.normalise
    monkeypatch.setattr(normalise, "normalise", lambda text: real(text + "x"))
    assert _seeds_fail("normalise")
    # The places of the disguised text are not those of the plain one.
    monkeypatch.setattr(
        normalise,
        "normalise",
        lambda text: Normalised(text, real(text).text, real(text).steps, real(text).views),
    )
    assert _seeds_fail("normalise")


def test_a_loader_with_another_error_is_noticed(monkeypatch: pytest.MonkeyPatch):
    """An error that is none of the loader's, and a refusal without a reason."""

    def raising(error: Exception) -> None:
        def load(*given: object) -> object:
            raise error

        monkeypatch.setattr(policy, "load_text", load)

    raising(KeyError("x"))
    assert _seeds_fail("policy")
    raising(InvalidPolicy([]))
    assert _seeds_fail("policy")


def test_a_parser_that_minds_the_cuts_is_noticed(monkeypatch: pytest.MonkeyPatch):
    """One that takes each part for whole lines."""

    async def lines(parts):
        async for part in parts:
            for line in part.splitlines():
                yield line

    monkeypatch.setattr(sse, "_lines", lines)
    assert _seeds_fail("events")


def test_the_targets_are_those_of_the_command():
    """`make fuzz` leaves none out."""
    assert set(LOOKED_AT) == set(TARGETS)
    makefile = (ROOT / "Makefile").read_text()
    (named,) = re.findall(r"^FUZZED *:= *(.*)$", makefile, flags=re.MULTILINE)
    assert set(named.split()) == set(TARGETS)
