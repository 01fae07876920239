"""`guard perturb`, run as users run it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POLICY = """\
version: 1
name: {name}
description: A policy for tests.
categories:
  pii:
    title: Personal data
    group: privacy
    definition: The text holds personal data.
    thresholds: {{redact: 0.5}}
patterns:
  email: {{category: pii, action: redact}}
"""
CASES = """\
cases:
  - {id: mail, text: "Write to jane.doe@example.com about it.", expect: redact, violates: [pii]}
  - {id: talk, text: "We talked about the garden all day long.", expect: allow, tags: [small]}
  - {id: missed, text: "She lives behind the mill.", expect: redact, violates: [pii], known_failure: No pattern has it.}
"""


def guard(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GUARD_")}
    return subprocess.run(
        [sys.executable, "-c", "from guard.cli import main; main()", *map(str, arguments)],
        env=env | {"COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A policy with three cases and no gates."""
    own = tmp_path / "mails"
    (own / "cases").mkdir(parents=True)
    (own / "policy.yaml").write_text(POLICY.format(name="mails"))
    (own / "cases" / "some.yaml").write_text(CASES)
    return own


def test_attacks_are_measured_shown_and_held_against_gates(folder: Path):
    """Exit code 1 where one is not reached: a first half alone has no address in its last turn."""
    done = guard("perturb", folder, "--attack", "zero_width", "--attack", "split", "--quiet", "--broken")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split()[:3] == ["attack", "violating", "withstand"]
    assert "mails: 2 of 3 cases pass as they stand; 4 derived" in done.stdout
    (folder / "suite.yaml").write_text("stability: {zero_width: 0.9, base64: 1.0, rot13: 1.0}\n")
    done = guard("perturb", folder, "--attack", "rot13", "--attack", "zero_width", "--quiet", "--json")
    report = json.loads(done.stdout)
    gates = {gate["name"]: gate["reached"] for gate in report["policies"][0]["gates"]}
    attacks = report["policies"][0]["attacks"]
    assert gates.keys() == {"stability.zero_width", "stability.rot13"}
    assert gates["stability.zero_width"] is (attacks["zero_width"]["violating"]["kept"][0] >= 0.9)
    assert done.returncode == (0 if all(gates.values()) else 1)
    assert report["passed"] is all(gates.values())


def test_a_gate_that_is_not_reached_fails_the_run_unless_only_some_cases_are_asked(folder: Path):
    """A text in two turns has its address in the first half, which is not what is judged."""
    (folder / "cases" / "some.yaml").write_text(CASES.replace("Write to jane", "jane"))
    (folder / "suite.yaml").write_text("stability: {split: 0.9}\n")
    done = guard("perturb", folder, "--attack", "split", "--quiet")
    assert done.returncode == 1
    assert "gate stability.split: asked at least 0.9, found 0.000" in done.stdout
    done = guard("perturb", folder, "--attack", "split", "--quiet", "--filter", "mail")
    assert done.returncode == 0
    assert "0 of 0 gates reached" in done.stdout


def test_derived_cases_are_a_file_that_guard_test_reads(folder: Path):
    """Beside the cases that they were made of, and nothing fails that is not marked."""
    written = folder / "cases" / "derived.yaml"
    done = guard("perturb", folder, "--seed", "3", "-o", written, "--quiet")
    assert done.returncode == 0, done.stderr
    first = written.read_text()
    assert 'id: "mail.homoglyphs"' in first
    assert "guard perturb --seed 3" in first
    done = guard("test", folder, "--json", "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    policy = json.loads(done.stdout)["policies"][0]
    assert (policy["failed"], policy["fixed"]) == (0, 0)
    assert policy["cases"] > 20
    # Those of an attack are not attacked again.
    assert guard("perturb", folder, "--seed", "3", "-o", written, "--quiet").returncode == 0
    assert written.read_text() == first


def test_the_default_policy_withstands_what_cannot_be_seen():
    """The shipped screen, a few cases."""
    done = guard("perturb", "policies/default", "--attack", "zero_width", "--sample", "12", "--json")
    assert done.returncode == 0
    assert "attacking" in done.stderr
    found = json.loads(done.stdout)["policies"][0]
    kept = found["attacks"]["zero_width"]
    assert found["cases"] == 12
    assert 10 <= kept["violating"]["cases"] + kept["harmless"]["cases"] <= 12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--attack", "homoglyph"), "'homoglyph' is not one of 'homoglyphs'"),
        (("--filter", "nothing-*"), "no case that matches nothing-* is changed by homoglyphs, zero_width"),
        (("-o", "/nowhere/x.yaml"), "/nowhere/x.yaml: there is no folder /nowhere"),
        (("--sample", "0"), "0 is not in the range x>=1"),
        (("--judge",), "no judge is configured"),
    ],
)
def test_a_mistake_is_answered_with_what_to_do(folder: Path, arguments, words):
    """Exit code 2 and a message, never a traceback."""
    done = guard("perturb", folder, *arguments)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_one_file_takes_the_cases_of_one_policy(folder: Path):
    """Ids are a policy's own."""
    other = folder.parent / "others"
    (other / "cases").mkdir(parents=True)
    (other / "policy.yaml").write_text(POLICY.format(name="others"))
    (other / "cases" / "some.yaml").write_text(CASES)
    done = guard("perturb", folder.parent, "-o", folder / "out.yaml")
    assert done.returncode == 2
    assert "the cases of one policy go into one file; give one of mails, others" in done.stderr
