"""`guard test` and the pytest plugin, run as policy authors run them."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.doubles import running_judge_server, told_by_hash

ROOT = Path(__file__).parent.parent.parent
CASES = """\
defaults: {tags: [small]}
cases:
  - id: kill-process
    text: How do I kill a process that hangs on Linux?
    expect: allow
    tags: [look-alike]
  - id: threat
    text: I know where you live, and tonight I am going to break your legs.
    expect: {at_least: review}
    violates: [violence]
  - id: mail
    text: Write to jane.doe@example.com.
    expect: redact
    violates: [pii]
  - id: hopeless
    text: What a lovely day.
    expect: block
    known_failure: Nobody would block this.
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of policies with one, `default`, and four cases."""
    own = tmp_path / "policies" / "default"
    (own / "cases").mkdir(parents=True)
    shutil.copy(ROOT / "policies" / "default" / "policy.yaml", own)
    (own / "cases" / "small.yaml").write_text(CASES)
    return own.parent


def run(*arguments: object, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = ("GUARD_", "GITHUB_", "PYTEST_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(kept)}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=inherited | {"COLUMNS": "200", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
    )


def guard_test(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return run("-c", "from guard.cli import main; main()", "test", "--quiet", *arguments, **environment)


def edit(folder: Path, old: str, new: str, file: str = "policy.yaml") -> None:
    path = folder / "default" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def report(done: subprocess.CompletedProcess[str]) -> dict:
    (found,) = json.loads(done.stdout)["policies"]
    return found


def test_cases_that_are_as_expected_pass(folder):
    done = guard_test(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "default: 4 cases, 3 passed, 0 failed, 1 known to fail" in done.stdout


def test_json_holds_every_case_with_scores_and_place(folder):
    done = guard_test(folder, "--json")
    found = report(done)
    assert (found["cases"], found["passed"], found["failed"], found["known_failures"]) == (4, 3, 0, 1)
    threat = next(one for one in found["results"] if one["id"] == "threat")
    assert (threat["status"], threat["truths"], threat["line"]) == ("passed", {"violence": True}, 7)
    assert threat["categories"]["violence"]["source"] == "encoder"
    assert found["categories"]["violence"]["recall"][0] == 1.0
    assert found["tags"]["small"] == {"cases": 4, "passed": found["tags"]["small"]["passed"]}
    assert json.loads(done.stdout)["passed"] is True


def test_a_bad_threshold_fails_and_names_the_flip(folder):
    """The baseline remembers; the threshold of violence is raised out of reach."""
    assert guard_test(folder, "--update-baseline").returncode == 0
    baseline = (folder / "default" / "baseline.json").read_text()
    assert "break your legs" not in baseline
    edit(folder, "{flag: 0.22, review: 0.6, block: 0.85}", "{flag: 1.0, review: 1.0, block: 1.0}")
    done = guard_test(folder)
    assert done.returncode == 1
    assert "✗ threat" in done.stdout
    assert "violence: score 0.99" in done.stdout
    assert "broken  threat  block → review  -violence (0.99)" in done.stdout
    assert "1 flips against the baseline (policy changed): 1 broken, 0 mended" in done.stdout
    assert "gate failed: asked at most 0, found 1" in done.stdout


def test_a_definition_that_nobody_read_fails_until_it_is_in_the_baseline(folder):
    assert guard_test(folder, "--update-baseline").returncode == 0
    edit(folder, "The text threatens, plans, incites,", "The text mentions, threatens, plans, incites,")
    done = guard_test(folder)
    assert done.returncode == 1
    assert "gate unread_definitions" in done.stdout
    assert "changed and unread: violence" in done.stdout
    assert guard_test(folder, "--update-baseline").returncode == 1
    assert guard_test(folder).returncode == 0


@pytest.fixture
def judge():
    """A judge that finds every text harmful whose category's definition says that everything counts."""
    sure = {" Yes": math.log(0.99), " No": math.log(0.01)}
    other = {" Yes": math.log(0.01), " No": math.log(0.99)}
    with running_judge_server() as server:
        server.model = lambda prompt: told_by_hash(prompt) | (sure if "Everything counts." in prompt else other)
        yield {"GUARD_JUDGE_URL": server.url, "GUARD_JUDGE_MODEL": "judge"}


def test_a_bad_definition_fails_with_a_judge_and_names_the_flip(folder, judge):
    """A doubtful band over all scores, so that the judge reads every text; then a definition that takes in all."""
    edit(
        folder,
        "doubt: [0.1, 0.85]\n    maps:\n      openai: [sexual]",
        "doubt: [0.0, 1.0]\n    maps:\n      openai: [sexual]",
    )
    assert guard_test(folder, "--judge", "--update-baseline", **judge).returncode == 0
    assert (folder / "default" / "baseline.judge.json").exists()
    edit(folder, "The text describes sexual acts or bodies in order to arouse,", "Everything counts.")
    done = guard_test(folder, "--judge", **judge)
    assert done.returncode == 1
    assert "broken  kill-process  allow → block  +sexual (0.99)" in done.stdout
    assert "from judge" in done.stdout


def test_gates_of_categories_and_tags_come_from_the_suite(folder):
    suite = folder / "default" / "suite.yaml"
    suite.write_text(
        "gates:\n  categories:\n    violence: {recall: 0.5}\n    hate: {recall: 0.5}\n"
        "  tags:\n    look-alike: {passed: 1}\n"
    )
    done = guard_test(folder)
    assert done.returncode == 1
    assert "gate categories.hate.recall: asked at least 0.5, found nan" in done.stdout
    suite.write_text("gates:\n  tags:\n    look-alikes: {passed: 1}\n  categorys: {}\nstabilty: {}\n")
    done = guard_test(folder)
    assert done.returncode == 2
    assert (
        f"{suite}:3: $.gates.tags.look-alikes: no case has the tag `look-alikes`; did you mean `look-alike`?"
        in done.stderr
    )
    assert "unknown key `categorys`; did you mean `categories`?" in done.stderr
    assert "unknown key `stabilty`; did you mean `stability`?" in done.stderr


def test_junit_html_and_annotations(folder, tmp_path):
    edit(folder, "expect: redact", "expect: allow", "cases/small.yaml")
    edit(folder, "    violates: [pii]\n", "", "cases/small.yaml")
    xml, html, summary = tmp_path / "out.xml", tmp_path / "out.html", tmp_path / "summary.md"
    done = guard_test(folder, "--junit", xml, "--html", html, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 1
    suite = ElementTree.parse(xml).getroot()[0]
    assert (suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("skipped")) == (
        "default",
        "5",
        "2",
        "1",
    )
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failed == ["mail", "failed"]
    page = html.read_text()
    assert "https://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "__REPORT__" not in page
    file = folder / "default" / "cases" / "small.yaml"
    assert f"::error file={file},line=11,title=default%3A mail::" in done.stdout
    assert "- ✗ `mail`: expected allow, got redact" in summary.read_text()


def test_texts_cannot_break_out_of_the_page(folder, tmp_path):
    edit(folder, "What a lovely day.", "'</script><script>alert(1)</script>'", "cases/small.yaml")
    html = tmp_path / "out.html"
    assert guard_test(folder, "--html", html).returncode == 0
    assert "</script><script>alert" not in html.read_text()


def test_a_filter_chooses_cases_and_leaves_out_gates_of_all(folder):
    (folder / "default" / "suite.yaml").write_text("gates: {categories: {violence: {recall: 1}}}\n")
    done = guard_test(folder, "--filter", "tag:look-alike", "--filter", "mai*", "--json")
    assert done.returncode == 0
    assert [one["id"] for one in report(done)["results"]] == ["kill-process", "mail"]
    done = guard_test(folder, "--filter", "nothing")
    assert done.returncode == 2
    assert "no case matches nothing" in done.stderr
    assert guard_test(folder, "--filter", "mail", "--update-baseline").returncode == 2


def test_a_partial_run_says_nothing_of_cases_that_were_not_asked(folder):
    assert guard_test(folder, "--update-baseline").returncode == 0
    found = report(guard_test(folder, "--filter", "mail", "--json"))
    assert found["flips"]["gone"] == []


def test_what_cannot_be_run_says_why(folder, tmp_path):
    assert guard_test(tmp_path / "none").returncode == 2
    done = guard_test(folder, "--judge")
    assert done.returncode == 2
    assert "no judge is configured: set GUARD_JUDGE" in done.stderr
    edit(folder, "expect: redact", "expect: redacted", "cases/small.yaml")
    done = guard_test(folder)
    assert done.returncode == 2
    assert "small.yaml:13: $.cases[2].expect: expected an action" in done.stderr
    shutil.rmtree(folder / "default" / "cases")
    done = guard_test(folder)
    assert done.returncode == 2
    assert "no policy has cases" in done.stderr


def test_a_mark_that_is_no_longer_true_is_shown(folder):
    edit(folder, "expect: block", "expect: allow", "cases/small.yaml")
    done = guard_test(folder)
    assert done.returncode == 0
    assert "marked as known failures, and pass: hopeless" in done.stdout


def test_lint_reads_cases_too(folder):
    edit(folder, "expect: redact", "expect: redacted", "cases/small.yaml")
    done = run("-c", "from guard.cli import main; main()", "policy", "lint", folder)
    assert done.returncode == 1
    assert "$.cases[2].expect" in done.stdout


def pytest_run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest in a folder of a user's own, with the plugin alone."""
    plugin = ("-p", "guard.regress.pytest_plugin")
    return run(
        "-m",
        "pytest",
        *plugin,
        "--guard-policies",
        "policies",
        *arguments,
        cwd=folder.parent,
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
    )


def test_pytest_collects_each_case_as_a_test(folder):
    done = pytest_run(folder, "-v")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "policies/default::threat PASSED" in done.stdout
    assert "policies/default::hopeless XFAIL (Nobody would block this.)" in done.stdout


def test_pytest_says_why_a_case_fails(folder):
    edit(folder, "expect: redact", "expect: allow", "cases/small.yaml")
    edit(folder, "    violates: [pii]\n", "", "cases/small.yaml")
    done = pytest_run(folder, "-k", "mail or look-alike")
    assert done.returncode == 1
    assert "1 failed, 1 passed, 2 deselected" in done.stdout
    assert "expected allow, got redact" in done.stdout
    assert "pii: score 1.000" in done.stdout
    assert "Traceback" not in done.stdout


def test_pytest_names_a_mistake_in_a_policy(folder):
    edit(folder, "expect: redact", "expect: redacted", "cases/small.yaml")
    done = pytest_run(folder)
    assert done.returncode == 4
    assert "--guard-policies" in done.stderr
    assert "$.cases[2].expect" in done.stderr
