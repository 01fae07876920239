"""`guard evaluate` on files in published formats, and its page. All rows here are made up."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RUDE, KIND = "You are a worthless idiot.", "I like my garden."


def evaluate(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs the command as users do."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GUARD_")}
    command = [sys.executable, "-c", "from guard.cli import main; main()", "evaluate", *map(str, arguments)]
    command += ["--quiet", "--rounds", "20"]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=env, timeout=100)


def write(path: Path, *rows: dict[str, Any]) -> Path:
    """The rows as the file's suffix says."""
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist(list(rows)), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """One run over a folder of sets in three kinds of file."""
    folder = tmp_path_factory.mktemp("sets")
    write(
        folder / "chat.csv",
        {"user_input": RUDE, "toxicity": 1, "jailbreaking": 0},
        {"user_input": KIND, "toxicity": 0, "jailbreaking": 0},
    )
    write(
        folder / "guard.jsonl",
        {"prompt": RUDE, "adversarial": False, "response": KIND, "prompt_harm_label": "harmful",
         "response_harm_label": "unharmful"},
        {"prompt": KIND, "adversarial": True, "response": None, "prompt_harm_label": "unharmful",
         "response_harm_label": None},
        {"prompt": KIND, "adversarial": True, "response": RUDE, "prompt_harm_label": None,
         "response_harm_label": "harmful"},
    )  # fmt: skip
    write(
        folder / "tails.parquet",
        {"prompt": KIND, "response": RUDE, "is_safe": False, "category": {"self_harm": False}},
        {"prompt": KIND, "response": KIND, "is_safe": True, "category": {"self_harm": False}},
    )
    write(folder / "wise.jsonl", {"prompt": RUDE, "acceptable": 0}, {"prompt": KIND, "acceptable": 1})
    out = tmp_path_factory.mktemp("out")
    done = evaluate(folder, "--json", out / "report.json", "--html", out / "page.html")
    assert done.returncode == 0, done.stderr
    reports = {report["dataset"]: report for report in json.loads((out / "report.json").read_text())}
    return out, reports, done.stdout


def test_each_set_says_as_what_it_was_read(measured):
    _, reports, told = measured
    assert {name: report["format"] for name, report in reports.items()} == {
        "chat": "toxicchat", "guard": "wildguard", "tails": "beavertails", "wise": "self-reflection",
    }  # fmt: skip
    assert "Read as `toxicchat`: Harmful is `toxicity`" in told
    assert [reports[name]["binary"]["recall"][0] for name in reports] == [1.0] * 4


def test_prompts_and_responses_have_figures_of_their_own(measured):
    found = measured[1]["guard"]
    # The second row has no response, the third no label for its prompt.
    assert (found["rows"], found["unlabelled"]) == (5, 1)
    assert {rail: (one["rows"], one["positives"]) for rail, one in found["rails"].items()} == {
        "input": (2, 1), "output": (2, 1),
    }  # fmt: skip
    assert found["groups"].keys() == {"adversarial", "vanilla"}


def test_acceptable_is_measured_as_self_reflection_is(measured):
    _, reports, told = measured
    found = reports["wise"]["acceptable"]
    assert (found["rows"], found["positives"], found["precision"][0], found["recall"][0]) == (2, 1, 1.0, 1.0)
    assert "Acceptable, with the 1 harmless rows as the positives: precision 1.000" in told


def test_the_cost_is_told(measured):
    _, reports, told = measured
    assert all(report["cost"]["seconds"] > 0 and report["cost"]["texts_per_second"] > 0 for report in reports.values())
    assert reports["chat"]["cost"]["questions"] == 0
    assert "texts a second" in told


def test_the_page_stands_alone_and_holds_no_row(measured):
    out, _, told = measured
    page = (out / "page.html").read_text()
    assert "https://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert not [place for place in ("__REPORT__", "__STYLE__", "__SCRIPT__") if place in page]
    assert "function frame(across, up)" in page
    assert ".interval {" in page
    for text in (page, told, (out / "report.json").read_text()):
        assert RUDE not in text
        assert KIND not in text
    start = page.index('type="application/json">') + len('type="application/json">')
    found = json.loads(page[start : page.index("</script>", start)])
    assert [report["dataset"] for report in found["reports"]] == ["chat", "guard", "tails", "wise"]
    drawn = found["curves"][0]["cascade"]["harmful or not"]
    assert (sum(drawn["positives"]), sum(drawn["negatives"]), drawn["decided"]) == (1, 1, [1.0, 1.0])
    assert drawn["precision_recall"][-1] == [1.0, 0.5]


def test_a_name_cannot_break_out_of_the_page(tmp_path):
    rows = write(tmp_path / "<script>alert(1)<!--.jsonl", {"text": RUDE, "flagged": 1}, {"text": KIND, "flagged": 0})
    assert evaluate(rows, "--html", tmp_path / "page.html").returncode == 0
    assert "<script>alert" not in (tmp_path / "page.html").read_text()


def test_what_the_columns_do_not_tell_is_named_and_the_other_sets_are_measured(tmp_path):
    both = {"prompt": RUDE, "type": "figures", "label": "unsafe", "acceptable": 0}
    write(tmp_path / "a.jsonl", both, both | {"prompt": KIND, "label": "safe", "acceptable": 1})
    write(tmp_path / "b.jsonl", {"text": KIND, "flagged": 0})
    done = evaluate(tmp_path)
    assert done.returncode == 2
    assert "a.jsonl: its columns fit xstest and self-reflection; say which it is with --format NAME" in done.stderr
    assert "## b" in done.stdout
    assert "Read as `xstest`" in evaluate(tmp_path / "a.jsonl", "--format", "xstest").stdout


def test_mistakes_name_place_and_remedy(tmp_path):
    rows = write(tmp_path / "rows.jsonl", {"user_input": KIND, "toxicity": 0, "jailbreaking": 0})
    done = evaluate(rows, "--format", "harmbench")
    assert done.returncode == 2
    assert (
        "--format harmbench needs the column Behavior, ContextString, SemanticCategory; the file has jailb"
        in done.stderr
    )
    assert "rows of `toxicchat` say their rail: leave --rail out" in evaluate(rows, "--rail", "output").stderr
    assert "field `text` is missing" not in evaluate(rows, "--label", "jailbreaking=criminal").stderr
    done = evaluate(rows, "--html", tmp_path / "gone" / "page.html")
    assert (done.returncode, "there is no folder" in done.stderr) == (2, True)


def test_a_label_may_stand_for_another_category(tmp_path):
    rows = write(
        tmp_path / "rows.jsonl",
        {"user_input": RUDE, "toxicity": 1, "jailbreaking": 1},
        {"user_input": KIND, "toxicity": 0, "jailbreaking": 0},
    )
    done = evaluate(rows, "--label", "jailbreaking=harassment")
    assert "| harassment | 2 | 1 |" in done.stdout
    assert "| jailbreak |" not in done.stdout
