"""`guard calibrate`, run as users run it: the real screen on rows that are made here."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

POLICY = """\
version: 1
name: forum
description: A forum.
categories:
  harassment:
    title: Insults
    definition: The text insults or humiliates somebody who reads along.
    group: harm
    thresholds: {flag: 0.5, block: 0.9}
    doubt: [0.2, 0.8]
  hate:
    title: Hate
    definition: The text attacks people for what they are.
    group: harm
    thresholds: {flag: 0.5}
terms:
  list: {category: harassment, action: flag, words: [nincompoop]}
"""
CLUMSY = ["idiot", "fool", "clown", "loser", "liar", "coward"]
CALM = ["neighbour", "teacher", "driver", "cook", "singer", "gardener"]
OPENINGS = ["You are a", "My boss is a", "He called me a", "She is a", "Such a", "They say that I am a"]


def guard(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GUARD_")}
    env["GUARD_DEFAULT_POLICY"] = "forum"
    return subprocess.run(
        [sys.executable, "-c", "from guard.cli import main; main()", *map(str, arguments)],
        env=env | {"COLUMNS": "200", "NO_COLOR": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )


def a_row(opening: str, word: str, end: str) -> dict:
    """Only what is said to somebody's face is an insult here: the screen, which finds more, is too sure of itself."""
    insult = word in CLUMSY and opening in ("You are a", "Such a")
    return {"text": f"{opening} {word}{end}", "labels": {"insult": int(insult)}}


@pytest.fixture(scope="module")
def policies(tmp_path_factory) -> Path:
    """A folder with one policy."""
    folder = tmp_path_factory.mktemp("policies")
    (folder / "forum").mkdir()
    (folder / "forum" / "policy.yaml").write_text(POLICY)
    return folder


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Path:
    """72 rows with a label of their own, of which 24 are true."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    made = [a_row(o, w, e) for o in OPENINGS for w in [*CLUMSY, *CALM] for e in (".", "!")]
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


def calibrate(rows: Path, policies: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    given = ("--policies", policies, "--label", "insult=harassment", "--min-positives", 20)
    return guard("calibrate", rows, *given, *arguments, "--quiet", **environment)


def checked(policies: Path, text: str, *arguments: str) -> dict:
    done = guard("check", text, "--policies", policies, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["categories"]["harassment"]


def test_a_calibration_is_fitted_written_applied_and_refused_elsewhere(rows: Path, policies: Path):
    """From labelled rows to a verdict, and back to raw scores when it is fitted anew."""
    file = policies / "forum" / "calibration.yaml"
    before = checked(policies, "She is a clown.")
    done = calibrate(rows, policies, "-o", file, "--method", "temperature", "--target-fpr", "0.1", "--json")
    assert done.returncode == 0, done.stderr
    assert "1 categories calibrated" in done.stderr
    report = json.loads(done.stdout)
    (row,) = report["categories"]
    assert (row["rows"], row["positives"], row["way"]) == (144, 24, "temperature")
    assert row["brier"]["after"][0] < row["brier"]["before"][0]
    assert row["ece"]["after"] < row["ece"]["before"]
    chosen = report["thresholds"]["harassment"]
    assert chosen["false_positives"] <= 12
    assert chosen["negatives"] == 120
    assert report["thresholds"].keys() == {"harassment"}

    after = checked(policies, "She is a clown.")
    assert after["source"] == before["source"] == "encoder"
    assert after["score"] < before["score"]
    fit = row["fit"]["temperature"]
    logit = fit["scale"] * math.log(before["score"] / (1 - before["score"])) + fit["offset"]
    assert after["score"] == pytest.approx(min(max(1 / (1 + math.exp(-logit)), fit["low"]), fit["high"]), abs=2e-6)
    assert checked(policies, "You nincompoop.")["score"] == 1.0
    assert guard("policy", "lint", policies).returncode == 0

    again = json.loads(calibrate(rows, policies, "--method", "temperature", "--json").stdout)
    assert again["categories"] == report["categories"]
    text = file.read_text()
    file.write_text(text.replace('"guard-encoder-1", fingerprint: "', '"guard-encoder-1", fingerprint: "0'))
    lint = guard("policy", "lint", policies)
    assert lint.returncode == 1
    assert "was fitted on guard-encoder-1 (0" in lint.stdout
    refused = guard("check", "a text", "--policies", policies)
    assert refused.returncode == 2
    assert "fit anew with `guard calibrate" in refused.stderr
    assert calibrate(rows, policies, "-o", file).returncode == 0
    assert guard("policy", "lint", policies).returncode == 0
    file.unlink()
    assert checked(policies, "She is a clown.") == before


def test_the_report_for_people_says_what_too_few_rows_do_not_show(rows: Path, policies: Path):
    done = calibrate(rows, policies, "--target-fpr", "0.01", "--min-negatives", "500")
    assert done.returncode == 1
    assert "- harassment (encoder) stays as it is: too few negatives: 120 of at least 500." in done.stdout
    assert "120 negatives cannot show 0.01" in done.stdout
    assert "299 are needed" in done.stdout


def test_nothing_is_written_where_nothing_was_fitted(rows: Path, policies: Path, tmp_path: Path):
    done = calibrate(rows, policies, "--min-negatives", "500", "-o", tmp_path / "calibration.yaml")
    assert "was not written" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_policys_own_cases_will_do(policies: Path):
    """Cases that say what they violate, and harmless ones, which violate nothing."""
    folder = policies / "forum" / "cases"
    folder.mkdir(exist_ok=True)
    cases = [f"  - {{id: i{n}, text: You are a {w}{e}, expect: {{at_least: flag}}, violates: [harassment]}}"
             for n, (w, e) in enumerate((w, e) for w in CLUMSY for e in (".", " again."))]  # fmt: skip
    cases += [f"  - {{id: c{n}, text: You are a {w}{e}, expect: allow}}"
              for n, (w, e) in enumerate((w, e) for w in CALM for e in (".", " again."))]  # fmt: skip
    (folder / "some.yaml").write_text("\n".join(["cases:", *cases]) + "\n")
    few = ("--min-positives", 10, "--min-negatives", 10, "--folds", 3)
    done = guard("calibrate", "--cases", "--policies", policies, "--quiet", "--json", *few)
    assert done.returncode == 0, done.stderr
    found = {row["category"]: row for row in json.loads(done.stdout)["categories"]}
    assert (found["harassment"]["rows"], found["harassment"]["positives"]) == (24, 12)
    assert found["hate"]["reason"] == "too few positives: 0 of at least 10"


def test_a_judges_scores_are_fitted_by_themselves(rows: Path, policies: Path, judge_server):
    """The screen reads all rows; the judge the doubtful ones, as the new curve sees them."""
    yes, no = {" Yes": math.log(0.7), " No": math.log(0.3)}, {" Yes": math.log(0.4), " No": math.log(0.6)}
    judge_server.model = lambda prompt: (
        yes if any(f"<text>\n{said}" in prompt for said in ("You are a", "Such a")) else no
    )
    settings = {"GUARD_JUDGE_URL": judge_server.url, "GUARD_JUDGE_MODEL": "tiny"}
    file = policies / "forum" / "calibration.yaml"
    few = ("--min-positives", 5, "--min-negatives", 5, "--method", "temperature")
    done = calibrate(rows, policies, "--judge", "-o", file, "--json", "--target-fpr", "0.1", *few, **settings)
    try:
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        by_source = {row["source"]: row for row in report["categories"]}
        assert by_source["encoder"]["rows"] == 144
        assert 0 < by_source["judge"]["rows"] < 144
        assert report["thresholds"]["harassment"]["negatives"] == 120
        assert "judge: {name:" in file.read_text()
        assert guard("check", "She is a clown.", "--policies", policies, **settings).returncode == 0
        other = settings | {"GUARD_JUDGE_MODEL": "another"}
        refused = guard("check", "She is a clown.", "--policies", policies, **other)
        assert refused.returncode == 2
        assert "$.judge: was fitted on" in refused.stderr
    finally:
        file.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give either a DATASET or --cases"),
        (("ROWS", "--cases"), "give either a DATASET or --cases"),
        (("--cases", "--label", "a=hate"), "leave them out with --cases"),
        (("ROWS", "--label", "insult=none"), "has no category 'none'"),
        (("ROWS",), "none of 144 rows has a label that can be used"),
        (("ROWS", "--policy", "nosuch"), "no policy `nosuch`"),
        (("ROWS", "--target-fpr", "1"), "is not in the range 0.0<x<1.0"),
        (("ROWS", "--folds", "9", "--min-positives", "5"), "each needs a positive and a negative"),
        (("ROWS", "-o", "/nowhere/calibration.yaml"), "there is no folder /nowhere"),
        (("ROWS", "--judge"), "no judge is configured"),
        (("/nowhere.jsonl",), "does not exist"),
    ],
)
def test_a_mistake_is_answered_with_what_to_do(rows: Path, policies: Path, arguments: tuple[str, ...], words: str):
    given = [str(rows) if argument == "ROWS" else argument for argument in arguments]
    done = guard("calibrate", *given, "--policies", policies, "--quiet")
    assert done.returncode == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
