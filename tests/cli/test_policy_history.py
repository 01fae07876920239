"""`guard policy diff` and `guard policy changelog`, run on real policies in a real git repository."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DEADLINE = "deadline_ms: 10000"
FLAG = "{flag: 0.22, review: 0.6, block: 0.85}"
CASES = """\
cases:
  - id: threat
    text: I know where you live, and tonight I am going to break your legs.
    expect: block
    violates: [violence]
  - id: garden
    text: The garden is green in spring.
    expect: allow
"""


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GUARD_", "GIT_"))}
    own = {"COLUMNS": "200", "NO_COLOR": "1", "PYTHONPATH": str(ROOT), "GIT_CONFIG_GLOBAL": "/dev/null"}
    return subprocess.run(
        list(map(str, arguments)),
        env=inherited | own,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
    )


class Repo:
    """A repository with `policies/default` and `policies/strict`, and a commit for each edit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.policies = folder / "policies"
        for name in ("default", "strict"):
            (self.policies / name).mkdir(parents=True)
            shutil.copy(ROOT / "policies" / name / "policy.yaml", self.policies / name)
        (self.policies / "default" / "cases").mkdir()
        (self.policies / "default" / "cases" / "small.yaml").write_text(CASES)
        self.git("init", "-q", "-b", "main")
        # What an archive would leave out is read all the same.
        (folder / ".gitattributes").write_text("cases export-ignore\n")
        self.commit("The first policies")

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false")
        done = run("git", *who, *arguments, cwd=self.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, subject: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", subject)
        return self.git("rev-parse", "HEAD")

    def edit(self, old: str, new: str, file: str = "default/policy.yaml") -> None:
        path = self.policies / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def guard(self, command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        code = "from guard.cli import main; main()"
        quiet = ("--quiet",) if command == "diff" else ()
        return run(sys.executable, "-c", code, "policy", command, *quiet, *arguments, cwd=self.folder)

    def entries(self, *arguments: object) -> list[dict]:
        done = self.guard("changelog", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["entries"]


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


def test_a_policy_is_compared_with_what_it_was(repo, tmp_path):
    repo.edit(FLAG, "{flag: 0.22, review: 0.6, block: 1.0}")
    html = tmp_path / "out.html"
    done = repo.guard("diff", "default@HEAD", "default", "--html", html, "--fail-on", "broken")
    assert done.returncode == 1, done.stderr
    assert "`violence`: block from 0.85 to 1" in done.stdout
    assert "broken  threat  block → review" in done.stdout
    assert "≥ 0.85 block (encoder)" in done.stdout
    assert "≥ 0.6 review (encoder)" in done.stdout
    assert "1 flips in 2 texts: 1 broken; McNemar p = 1" in done.stdout
    assert "each text was read once and decided twice" in done.stdout
    assert "break your legs" not in done.stdout
    assert "break your legs" in html.read_text()
    assert repo.guard("diff", "default@HEAD", "default").returncode == 0


def test_a_parent_is_read_from_the_same_revision(repo):
    """And cases that are there no more are A's."""
    repo.edit("extends: default", "extends: default\nstore_texts: true", "strict/policy.yaml")
    shutil.rmtree(repo.policies / "default" / "cases")
    repo.edit(DEADLINE, "deadline_ms: 900")
    done = repo.guard("diff", "policies/default@main", "strict", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["diffs"]
    texts = [change["text"] for change in found["changes"]]
    assert "extends `default`" in texts
    assert "deadline_ms: 10000 -> 900" in texts
    assert found["texts"] == 2
    assert found["before"]["given"] == "policies/default@main"
    assert "break your legs" not in done.stdout


def test_rows_of_a_file_are_compared(repo):
    rows = [
        {"id": 7, "text": "I know where you live, and tonight I am going to break your legs."},
        {"text": "How are you?", "role": "user", "rail": "input", "context": [{"role": "assistant", "text": "Hi."}]},
        {"text": ""},
    ]
    file = repo.folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    repo.edit(FLAG, "{flag: 1.0}")
    done = repo.guard("diff", "default@HEAD", "default", "--on", "rows.jsonl", "--fail-on", "any")
    assert done.returncode == 1, done.stderr
    assert "milder  7  block → " in done.stdout
    assert "1 flips in 2 texts: 1 milder; 1 rows cannot be read" in done.stdout
    done = repo.guard("diff", "default@HEAD", "default", "--on", "rows.jsonl", "--fail-on", "broken")
    assert done.returncode == 2
    assert "no text says what is expected" in done.stderr
    file.write_text(json.dumps(rows[0] | {"flagged": "1"}) + "\n")
    done = repo.guard("diff", "default@HEAD", "default", "--on", "rows.jsonl", "--fail-on", "broken")
    assert "McNemar" in done.stdout


def test_two_reports_are_compared(repo):
    def report(name: str) -> None:
        code = "from guard.cli import main; main()"
        done = run(sys.executable, "-c", code, "test", "--quiet", "--json", "policies/default", cwd=repo.folder)
        (repo.folder / name).write_text(done.stdout)

    report("a.json")
    repo.edit(FLAG, "{flag: 1.0}")
    report("b.json")
    shutil.rmtree(repo.policies)
    done = repo.guard("diff", "a.json", "b.json", "--fail-on", "broken")
    assert done.returncode == 1, done.stderr
    assert "broken  threat  block → " in done.stdout
    assert repo.guard("diff", "a.json", "a.json", "--fail-on", "any").returncode == 0
    done = repo.guard("diff", "a.json", "default")
    assert "a report is compared with a report" in done.stderr
    (repo.folder / "b.json").write_text("{}")
    done = repo.guard("diff", "a.json", "b.json")
    assert done.returncode == 2
    assert "b.json is no report" in done.stderr


def test_what_cannot_be_compared_says_why(repo, tmp_path):
    for given, message in (
        ("defualt", "`defualt` is no policy of"),
        ("default@nothing", "`nothing` is no revision of"),
        ("default@--all", "`--all` is no revision of"),
        ("children@HEAD", "there is no policies/children/policy.yaml; there is: default, strict"),
        ("policies", "policies is a folder of policies"),
        ("none.json", "a report is compared with a report"),
    ):
        done = repo.guard("diff", given, "default")
        assert done.returncode == 2, given
        assert message in done.stderr
    shutil.copytree(repo.policies, tmp_path / "outside" / "policies")
    done = repo.guard("diff", "default@HEAD", "default", "--policies", tmp_path / "outside" / "policies")
    assert done.returncode == 2
    assert "is in no git repository" in done.stderr
    repo.edit("version: 1", "version: 2")
    repo.commit("Wrong")
    done = repo.guard("diff", "default@HEAD", "strict@HEAD~1")
    assert done.returncode == 2
    assert "HEAD:policies/default/policy.yaml:" in done.stderr


def test_the_changelog_tells_each_change_where_it_was_made_and_whom_it_reaches(repo):
    first = repo.git("rev-parse", "HEAD")
    repo.edit("version: 1", "# A comment is no change.\nversion: 1")
    repo.commit("A comment")
    repo.edit(DEADLINE, "deadline_ms: 900")
    repo.edit(FLAG, "{flag: 0.22, review: 0.6, block: 0.8}")
    last = repo.commit("Faster")
    done = repo.guard("changelog")
    assert done.returncode == 0, done.stderr
    head = f" {last[:12]}  Ada: Faster\n"
    assert head in done.stdout
    assert "  default:\n    `violence`: block from 0.85 to 0.8\n    deadline_ms: 10000 -> 900\n" in done.stdout
    # strict has thresholds of its own.
    assert "  strict:\n    deadline_ms: 10000 -> 900  (through `default`)\n" in done.stdout
    assert "A comment" not in done.stdout
    assert done.stdout.endswith("The first policies\n  default: added\n  strict: added\n\n")
    assert [entry["commit"] for entry in repo.entries("--since", first)] == [last]
    assert [one["policy"] for entry in repo.entries("strict") for one in entry["policies"]] == ["strict", "strict"]
    assert repo.guard("changelog", "-o", "out.txt").stdout == ""
    assert (repo.folder / "out.txt").read_text() == done.stdout


def test_the_changelog_bears_what_was_wrong_gone_or_renamed(repo):
    repo.edit("version: 1", "version: 2")
    repo.commit("Wrong")
    repo.edit("extends: default", "# Nothing.\nextends: default", "strict/policy.yaml")
    repo.commit("Still wrong")
    repo.edit("version: 2", "version: 1")
    repo.edit(FLAG, "{flag: 0.22, review: 0.6, block: 0.8}")
    repo.commit("Right again")
    (repo.policies / "strict").rename(repo.policies / "stricter")
    repo.edit("name: strict", "name: stricter", "stricter/policy.yaml")
    repo.commit("Another name")
    shutil.rmtree(repo.policies / "stricter")
    repo.commit("Gone")
    done = repo.guard("changelog")
    assert done.returncode == 0, done.stderr
    assert "  stricter: removed" in done.stdout
    assert "  stricter: renamed from `strict`" in done.stdout
    assert "could not be read at" in done.stdout
    assert "policies/default/policy.yaml:" in done.stdout
    assert "Right again\n  default:\n    `violence`: block from 0.85 to 0.8\n\n" in done.stdout
    assert "Still wrong" not in done.stdout
    subjects = [entry["subject"] for entry in repo.entries("stricter")]
    assert subjects[:2] == ["Gone", "Another name"]
    assert subjects[-1] == "The first policies"
    done = repo.guard("changelog", "nobody")
    assert done.returncode == 2
    assert "no policy `nobody` here; there is or was: default, strict, stricter" in done.stderr


def test_words_are_shown_only_where_they_are_asked_for(repo):
    repo.edit("- bastard sword", "- scunthorpe\n      - bastard sword", "strict/policy.yaml")
    repo.commit("A town")
    done = repo.guard("changelog", "--since", "HEAD~1")
    assert "terms `profanity`: allow_in: 1 word added" in done.stdout
    assert "scunthorpe" not in done.stdout + repo.guard("changelog", "--json").stdout
    assert "+ 'scunthorpe'" in repo.guard("changelog", "--since", "HEAD~1", "--show-words").stdout
    done = repo.guard("diff", "strict@HEAD~1", "strict", "--on", "cases")
    assert "neither strict@HEAD~1 nor strict has cases" in done.stderr


def test_branches_are_told_apart(repo):
    """Each commit is held against its own parent, not against its neighbour in the log."""
    repo.git("checkout", "-q", "-b", "other")
    repo.edit(FLAG, "{flag: 0.22, review: 0.6, block: 0.8}")
    repo.commit("On a branch")
    repo.git("checkout", "-q", "main")
    repo.edit(DEADLINE, "deadline_ms: 900")
    repo.commit("On main")
    repo.git("merge", "-q", "--no-edit", "other")
    found = {entry["subject"]: entry["policies"][0]["changes"] for entry in repo.entries("default")}
    assert {subject: [one["text"] for one in those] for subject, those in found.items()} == {
        "On main": ["deadline_ms: 10000 -> 900"],
        "On a branch": ["`violence`: block from 0.85 to 0.8"],
        "The first policies": [],
    }
