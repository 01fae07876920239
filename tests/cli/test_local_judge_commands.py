"""`guard test --judge` and `guard evaluate` with a model of their own: a tiny random Mistral, from its files to the
report. What it answers means nothing; that it was asked, by whom and at what cost is what is looked at."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests.engine.conftest import write_tiny  # noqa: E402

ROOT = Path(__file__).parents[2]
# Bands over all scores, so that the judge is asked about each; the last category is the judge's alone.
POLICY = """\
version: 1
name: default
description: Two categories of the screen's and one of its own.
categories:
  hate:
    title: Hate
    group: own
    definition: The text demeans people for a trait that they are born with.
    doubt: [0.0, 1.0]
    thresholds: {flag: 0.5}
  violence:
    title: Violence
    group: own
    definition: The text threatens somebody, or asks how to hurt them.
    doubt: [0.0, 1.0]
    thresholds: {flag: 0.5}
  gardening:
    title: Gardening
    group: own
    definition: The text asks for or gives advice on plants, beds and gardens.
    thresholds: {flag: 0.5}
"""
CASES = """\
cases:
  - {id: tomatoes, text: When should I plant tomatoes?, expect: {at_most: flag}}
  - {id: process, text: How do I kill a process that hangs on Linux?, expect: {at_most: flag}}
  - id: conversation
    conversation:
      - {role: user, content: What grows in the shade?}
      - {role: assistant, content: Ferns and ivy do.}
    expect: {at_most: flag}
"""
TEXTS = ("I like my garden.", "The meeting is at ten.", "You are a fool.", "Bring the slides.")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its window holds policy, text and question."""
    return write_tiny(tmp_path_factory.mktemp("judge"), window=None, max_position_embeddings=8_192)


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one policy, which has three cases."""
    folder = tmp_path_factory.mktemp("policies")
    own = folder / "default"
    (own / "cases").mkdir(parents=True)
    (own / "policy.yaml").write_text(POLICY, encoding="utf-8")
    (own / "cases" / "few.yaml").write_text(CASES, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def guard(model: Path, policies: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command as users do, with the model as its judge."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GUARD_", "GITHUB_"))}
    environment |= {
        "GUARD_JUDGE": str(model), "GUARD_JUDGE_CONTEXT_TOKENS": "8192", "GUARD_POLICIES": str(policies),
        "COLUMNS": "200", "NO_COLOR": "1",
    }  # fmt: skip

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from guard.cli import main; main()", *map(str, arguments), "--quiet"]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=200, check=False, cwd=ROOT
        )

    return run


def test_cases_are_put_to_the_local_judge(guard, model, policies):
    """It is named with its model, every category of every case is its word, and its baseline is its own."""
    done = guard("test", policies, "--judge", "--json")
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)["policies"]
    assert (report["cases"], report["passed"]) == (3, 3)
    assert report["models"]["judge"].partition("@")[0] == model.name
    assert report["models"]["screen"].startswith("guard-encoder-1@")
    scores = {
        (one["id"], name): category["score"]
        for one in report["results"]
        for name, category in one["categories"].items()
        if category["source"] == "judge"
    }
    assert scores.keys() == {
        (case, name)
        for case in ("tomatoes", "process", "conversation")
        for name in ("hate", "violence", "gardening")
    }  # fmt: skip
    assert all(0 < score < 1 for score in scores.values())
    assert len(set(scores.values())) > 3
    without = json.loads(guard("test", policies, "--json").stdout)["policies"][0]
    assert without["models"]["judge"] is None
    sources = {category["source"] for one in without["results"] for category in one["categories"].values()}
    assert "judge" not in sources


def test_rows_are_measured_with_the_local_judge(guard, model, tmp_path):
    """Screen, cascade and judge side by side, with what each cost; the same in the report and on the page."""
    source, report = tmp_path / "rows.jsonl", tmp_path / "report.json"
    rows = [{"text": text, "flagged": number % 2, "labels": {"hate": number % 2}} for number, text in enumerate(TEXTS)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = guard("evaluate", source, "--cascade", "--rounds", 20, "--json", report)
    assert done.returncode == 0, done.stderr
    written: dict[str, Any] = json.loads(report.read_text())
    (cascade,) = written["cascades"]
    ways = {way["way"]: way for way in cascade["ways"]}
    assert list(ways) == ["screen alone", "cascade", "judge alone"]
    assert (ways["screen alone"]["cost"]["questions"], ways["screen alone"]["cost"]["tokens"]) == (0, 0)
    for name in ("cascade", "judge alone"):
        cost = ways[name]["cost"]
        # Every score is doubtful here: three categories of each row.
        assert cost["questions"] == 3 * len(TEXTS)
        assert cost["tokens"] > 50 * len(TEXTS)
        assert cost["seconds"] > 0
        assert cost["cpu_seconds"] > 0
        assert f"| {name} |" in done.stdout
    assert cascade["questions_saved"] == 0.0
    (measured,) = written["reports"]
    assert (measured["rows"], measured["unlabelled"], measured["errors"]) == (len(TEXTS), 0, 0)
    assert (measured["judge"], measured["cost"]["questions"]) == (model.name, 3 * len(TEXTS))


def test_without_the_comparison_the_judge_is_asked_all_the_same(guard, model, tmp_path):
    """Where one is configured it reads what is doubtful; the report says what that took."""
    source, report = tmp_path / "rows.jsonl", tmp_path / "report.json"
    source.write_text("".join(json.dumps({"text": text, "flagged": 0}) + "\n" for text in TEXTS), encoding="utf-8")
    done = guard("evaluate", source, "--rounds", 20, "--json", report)
    assert done.returncode == 0, done.stderr
    (measured,) = json.loads(report.read_text())
    assert (measured["cost"]["questions"], measured["errors"]) == (3 * len(TEXTS), 0)
    assert f", judge `{model.name}`" in done.stdout
    assert f"{3 * len(TEXTS)} questions" in done.stdout
