"""The command line, run as users run it."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-c", "from guard.cli import main; main()"]


def guard(*arguments: object, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=stdin,
        env=_environment(**environment),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )


def _environment(**environment: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GUARD_")}
    return inherited | {"COLUMNS": "200", "NO_COLOR": "1"} | environment


def write_lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return path


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_help_names_every_command():
    """And every command has help of its own."""
    text = guard("--help").stdout
    for command in ("serve", "check", "scan", "test", "perturb", "evaluate", "policy", "keys", "completion"):
        assert command in text
        assert guard(command, "--help").returncode == 0


def test_check_prints_a_table():
    """The action first, then categories with score and threshold."""
    done = guard("check", "Write to jane.doe@example.com.")
    assert done.returncode == 0
    assert done.stdout.startswith("REDACT under policy default")
    assert "redacted: Write to [EMAIL_1]." in done.stdout


def test_check_prints_the_result_as_json():
    """The same object as in `results` of the native API; the text may come from standard input."""
    done = guard("check", "-", "--json", "--policy", "strict", stdin="Write to jane.doe@example.com.")
    result = json.loads(done.stdout)
    assert result["redacted"] == "Write to [EMAIL_1]."
    assert len(result["categories"]) == 13


def test_check_fails_where_it_was_asked_to():
    """--fail-on makes a shell script's condition of it."""
    assert guard("check", "Write to jane.doe@example.com.", "--fail-on", "redact").returncode == 1
    assert guard("check", "Write to jane.doe@example.com.", "--fail-on", "block").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("check", ""), "the text is empty"),
        (("check", "a", "--policy", "nope"), "loaded: children, default, strict, support-bot"),
        (("check", "a", "--policies", "/nowhere"), "no such folder"),
        (("scan", "/nowhere.jsonl", "-o", "out.jsonl"), "does not exist"),
        (("policy", "show", "nope"), "there is: children, default"),
    ],
)
def test_a_mistake_is_answered_with_what_to_do(arguments, words):
    """Exit code 2 and a message, never a traceback."""
    done = guard(*arguments)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_scan_answers_every_row_in_order(tmp_path):
    """One row out for each row in; what cannot be moderated is kept, with an error."""
    source = write_lines(
        tmp_path / "in.jsonl",
        {"id": 1, "text": "Good morning."},
        "this is no json\n",
        {"id": 2},
        {"id": 3, "text": 7},
        {"id": 4, "text": ""},
        "[]\n",
        {"id": 5, "text": "Write to jane.doe@example.com.", "role": "assistant"},
    )
    done = guard("scan", source, "-o", tmp_path / "out.jsonl", "--quiet")
    assert done.returncode == 0
    rows = read_lines(tmp_path / "out.jsonl")
    assert [row.get("id") for row in rows] == [1, None, 2, 3, 4, None, 5]
    assert ["error" in row for row in rows] == [False, True, True, True, True, True, False]
    assert "line 2 is no valid JSON" in rows[1]["error"]
    assert rows[0]["text"] == "Good morning."
    assert rows[6]["result"]["redacted"] == "Write to [EMAIL_1]."
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []
    assert "5 error" in done.stderr


def test_scan_gives_the_same_result_as_the_api(tmp_path, server):
    """One way to a verdict: file or request."""
    text = "Call me at +44 20 7946 0958 tonight, or I will find you."
    write_lines(tmp_path / "in.jsonl", {"text": text})
    guard("scan", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl", "--quiet")
    (row,) = read_lines(tmp_path / "out.jsonl")
    answered = server.moderate(text).json()["results"][0]
    assert {**row["result"], "cached": None} == {**answered, "cached": None}


def test_an_interrupted_scan_goes_on_where_it_stopped(tmp_path):
    """Killed in the middle and started again: every row once, in order."""
    rows = [{"id": n, "text": f"Sentence number {n} of a long file about the weather."} for n in range(6_000)]
    source, output = write_lines(tmp_path / "in.jsonl", *rows), tmp_path / "out.jsonl"
    partial = tmp_path / "out.jsonl.partial"
    command = [*COMMAND, "scan", str(source), "-o", str(output), "--quiet"]
    with subprocess.Popen(command, env=_environment(), cwd=ROOT) as process:
        while not (partial.exists() and partial.stat().st_size > 200_000):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert not output.exists()
    done = guard("scan", source, "-o", output, "--quiet")
    assert done.returncode == 0
    assert "rows of an earlier run" in done.stderr
    assert [row["id"] for row in read_lines(output)] == list(range(6_000))


def test_a_partial_scan_is_not_mixed_with_another(tmp_path):
    """Another policy would give other verdicts: refused until told to start anew."""
    source, output = write_lines(tmp_path / "in.jsonl", {"text": "Hello."}), tmp_path / "out.jsonl"
    (tmp_path / "out.jsonl.partial").write_text('{"text":"Hello.","result":{}}\n')
    (tmp_path / "out.jsonl.partial.json").write_text("{}")
    refused = guard("scan", source, "-o", output, "--quiet")
    assert refused.returncode == 2
    assert "--overwrite" in refused.stderr
    assert guard("scan", source, "-o", output, "--quiet", "--overwrite").returncode == 0
    assert guard("scan", source, "-o", output, "--quiet").returncode == 2


def test_scan_reads_and_writes_csv_and_parquet(tmp_path):
    """The format follows the suffix; results are JSON in a column."""
    with (tmp_path / "in.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "body"], ["1", "Good morning."], ["2", "Write to jane.doe@example.com."]])
    guard("scan", tmp_path / "in.csv", "-o", tmp_path / "out.parquet", "--field", "body", "--quiet")
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["id"] for row in table] == ["1", "2"]
    assert json.loads(table[1]["result"])["redacted"] == "Write to [EMAIL_1]."
    pyarrow.parquet.write_table(pyarrow.table({"text": ["Good morning.", None]}), tmp_path / "in.parquet")
    guard("scan", tmp_path / "in.parquet", "-o", tmp_path / "out.csv", "--quiet")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert json.loads(rows[0]["result"])["action"] == "allow"
    assert rows[1]["error"] == "field `text` is missing"


def test_policies_are_listed_shown_and_checked(tmp_path):
    """list, show with everything inherited, lint with every mistake."""
    assert "support-bot" in guard("policy", "list").stdout
    assert len(json.loads(guard("policy", "list", "--json").stdout)) == 4
    shown = json.loads(guard("policy", "show", "strict", "--json").stdout)
    assert len(shown["categories"]) == 13
    assert guard("policy", "lint", "policies").returncode == 0
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "policy.yaml").write_text("version: 2\nname: broken\nname: twice\n")
    done = guard("policy", "lint", tmp_path)
    assert done.returncode == 1
    assert "policy.yaml:1: $.version" in done.stdout
    assert "policy.yaml:3: $.name: key `name` stands here twice (first in line 2)" in done.stdout


def test_lint_checks_the_rollout_too(tmp_path):
    """Also before there are keys; of a policy's own folder there is none."""
    folder = tmp_path / "policies"
    shutil.copytree(ROOT / "policies", folder)
    rollout = folder / "rollout.yaml"
    rollout.write_text("default:\n  canary: {policy: strict, percent: 5, by: key}\n")
    done = guard("policy", "lint", folder)
    assert done.returncode == 0
    assert done.stderr.endswith("rollout.yaml is valid, for: default\n")
    rollout.write_text("default:\n  shadow: [strickt]\n")
    done = guard("policy", "lint", folder)
    assert done.returncode == 1
    assert done.stdout == f"{rollout}:2: $.default.shadow[0]: no policy `strickt` here; did you mean `strict`?\n"
    assert guard("policy", "lint", folder / "strict").returncode == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed(shell):
    """For the shells that people use."""
    assert "_GUARD_COMPLETE" in guard("completion", shell).stdout


def test_a_closed_pipe_is_no_error():
    """`guard policy show default | head -1` ends quietly."""
    script = f'{sys.executable} -c "from guard.cli import main; main()" policy show default | head -1'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.stdout.startswith("version: 1")
    assert done.stderr == ""


def test_help_loads_no_model():
    """The command line is quick: what a command needs is loaded when it runs."""
    code = (
        "import sys\nfrom guard.cli import cli\n"
        "try: cli(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'onnxruntime', 'litestar', 'torch', 'redis'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_scan_never_writes_over_its_input(tmp_path):
    """Not even when told to overwrite; and an older result stays until the new one is complete."""
    source = write_lines(tmp_path / "in.jsonl", {"text": "Hello."})
    done = guard("scan", source, "-o", source, "--quiet", "--overwrite")
    assert done.returncode == 2
    assert "is the input itself" in done.stderr
    assert read_lines(source) == [{"text": "Hello."}]
    old = write_lines(tmp_path / "out.jsonl", {"old": True})
    assert guard("scan", tmp_path / "in.jsonl", "-o", old, "--quiet", "--policy", "nope").returncode == 2
    assert read_lines(old) == [{"old": True}]


def test_columns_of_later_rows_are_kept(tmp_path):
    """A table has the columns of all rows; numbers stay numbers in Parquet; a bad row keeps its fields."""
    rows = [{"id": 1, "text": "Hello."}, {"id": 2, "text": "Good night.", "label": "late", "score": 0.5}]
    source = write_lines(tmp_path / "in.jsonl", *rows)
    guard("scan", source, "-o", tmp_path / "out.parquet", "--quiet")
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert table.schema.field("id").type == pyarrow.int64()
    assert table.to_pylist()[1]["label"] == "late"
    (tmp_path / "in.csv").write_text("id,text\n1,a,b\n2,Hello.\n")
    guard("scan", tmp_path / "in.csv", "-o", tmp_path / "out.csv", "--quiet")
    with (tmp_path / "out.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["id"], first["error"]) == ("1", "the row has more fields than the header")
    assert json.loads(second["result"])["action"] == "allow"


def test_a_file_that_is_no_parquet_is_said_to_be_none(tmp_path):
    """A clear error instead of a library's traceback."""
    (tmp_path / "in.parquet").write_text("something else")
    done = guard("scan", tmp_path / "in.parquet", "-o", tmp_path / "out.jsonl", "--quiet")
    assert done.returncode == 2
    assert "is no Parquet file" in done.stderr


def test_a_scan_of_long_texts_has_no_deadline(tmp_path):
    """Bulk work waits as long as it takes: no row is blocked because the machine was busy."""
    folder = tmp_path / "policies" / "hasty"
    folder.mkdir(parents=True)
    default = (ROOT / "policies" / "default" / "policy.yaml").read_text()
    (folder / "policy.yaml").write_text(
        default.replace("\nname: default\n", "\nname: hasty\n").replace("deadline_ms: ", "deadline_ms: 1 #")
    )
    source = write_lines(tmp_path / "in.jsonl", *[{"text": "A long and quiet sentence. " * 60} for _ in range(20)])
    arguments = ("scan", source, "-o", tmp_path / "out.jsonl", "--quiet", "--policies", folder.parent)
    done = guard(*arguments, "--policy", "hasty", GUARD_DEFAULT_POLICY="hasty")
    assert done.returncode == 0, done.stderr
    assert not any(row["result"]["degraded"] for row in read_lines(tmp_path / "out.jsonl"))


def test_an_argument_that_is_no_text_is_checked_all_the_same():
    """Bytes that are not UTF-8 become replacement characters."""
    done = subprocess.run(
        [*COMMAND, "check", b"mail a@b.com \xff", "--json"],
        capture_output=True, env=_environment(), timeout=60, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["action"] == "redact"


def test_scan_reads_compressed_lines_and_fills_an_empty_file(tmp_path):
    """As data sets come, and as temporary files are made."""
    import gzip

    source, output = tmp_path / "in.jsonl.gz", tmp_path / "out.jsonl"
    source.write_bytes(gzip.compress(b'{"text": "Good morning."}\n'))
    output.touch()
    assert guard("scan", source, "-o", output, "--quiet").returncode == 0
    assert read_lines(output)[0]["result"]["action"] == "allow"
    source.write_bytes(source.read_bytes()[:-9])
    broken = guard("scan", source, "-o", tmp_path / "other.jsonl", "--quiet")
    assert broken.returncode == 2
    assert "cannot be read" in broken.stderr


def test_evaluate_measures_files_and_folders(tmp_path):
    """Markdown on the output, both reports in files, broken rows counted."""
    folder = tmp_path / "sets"
    folder.mkdir()
    rows = [{"text": "You are a worthless idiot.", "flagged": 1, "labels": {"rude": 1}}] * 3
    rows += [{"text": "I like my garden.", "flagged": 0, "labels": {"rude": 0}}] * 3
    write_lines(folder / "first.jsonl", *rows, {"nothing": 1}, "broken\n")
    write_lines(folder / "second.jsonl", *rows)
    done = guard(
        "evaluate", folder, "--label", "rude=harassment", "--rounds", "20", "--limit", "7",
        "--json", tmp_path / "report.json", "-o", tmp_path / "report.md", "--quiet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "## first" in done.stdout
    assert "| harassment | 6 | 3 |" in done.stdout
    assert (tmp_path / "report.md").read_text().count("**harmful or not**") == 2
    first, second = json.loads((tmp_path / "report.json").read_text())
    assert (first["dataset"], first["rows"], first["errors"], second["errors"]) == ("first", 7, 1, 0)
    assert first["binary"]["recall"][0] == 1.0
    assert first["categories"]["harassment"]["auc"][0] == 1.0


def test_evaluate_reads_labels_from_csv_and_goes_on_behind_a_bad_set(tmp_path):
    """Words for numbers, labels as JSON; a set without labels is an error at the end, not the end."""
    with (tmp_path / "b.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "flagged", "labels"])
        writer.writerow(["You are a worthless idiot.", "true", '{"harassment": 1}'])
        writer.writerow(["I like my garden.", "0", '{"harassment": 0}'])
    write_lines(tmp_path / "a.jsonl", {"text": "hello"})
    done = guard("evaluate", tmp_path, "--rounds", "20", "--json", tmp_path / "report.json", "--quiet")
    assert done.returncode == 2
    assert "a: none of 1 rows has a label" in done.stderr
    (report,) = json.loads((tmp_path / "report.json").read_text())
    assert (report["dataset"], report["binary"]["positives"]) == ("b", 1)
    assert report["categories"]["harassment"]["auc"][0] == 1.0


def test_evaluate_says_what_is_wrong(tmp_path):
    """With the place and the remedy, and exit code 2."""
    rows = write_lines(tmp_path / "rows.jsonl", {"text": "hello", "label": "bad"})
    done = guard("evaluate", rows, "--quiet")
    assert done.returncode == 2
    assert "none of 1 rows has a label" in done.stderr
    assert "--label NAME=CATEGORY" in done.stderr
    assert "expected NAME=CATEGORY" in guard("evaluate", rows, "--label", "bad").stderr
    assert "has no category 'rude'" in guard("evaluate", rows, "--label", "bad=rude").stderr
    assert "has no category rude; it has criminal" in guard("evaluate", rows, "--over", "rude").stderr
    assert "there is no folder" in guard("evaluate", rows, "-o", tmp_path / "gone" / "report.md").stderr
    (tmp_path / "empty").mkdir()
    assert "no file in it ends in .jsonl" in guard("evaluate", tmp_path / "empty").stderr
