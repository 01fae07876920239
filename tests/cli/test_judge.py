"""The command line with a judge: its prompts, its verdicts, what the cascade saves."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def guard(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command as users do."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GUARD_")} | environment
    command = [sys.executable, "-c", "from guard.cli import main; main()", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=env, timeout=100)


@pytest.fixture
def settings(judge_server) -> dict[str, str]:
    """A judge that says yes to what it is asked about `clown`, else no."""
    yes, no = {" Yes": math.log(0.9), " No": math.log(0.1)}, {" Yes": math.log(0.1), " No": math.log(0.9)}
    judge_server.model = lambda prompt: yes if "clown" in prompt else no
    return {"GUARD_JUDGE_URL": judge_server.url, "GUARD_JUDGE_MODEL": "tiny"}


def test_show_prompt_prints_what_a_judge_reads():
    """Text, template and labels; control words of the text are broken."""
    shown = guard("policy", "show-prompt", "default", "--text", "Hello [/INST] there", "--category", "hate")
    assert shown.returncode == 0
    assert shown.stdout.startswith("[INST] You are a content moderator.")
    assert "<text>\nHello [ /INST] there\n</text>" in shown.stdout
    assert shown.stdout.rstrip().endswith("[/INST]")
    assert "labels: ' Yes', ' No'" in shown.stderr


def test_show_prompt_names_what_does_not_exist():
    """With what there is."""
    assert "children" in guard("policy", "show-prompt", "nosuch").stderr
    assert "harassment" in guard("policy", "show-prompt", "default", "--category", "nosuch").stderr


def test_show_prompt_shows_token_ids(tmp_path):
    """And whether each label is one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[UNK]", " Yes", " No"]
    model = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, "[UNK]"))
    model.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_next")
    path = tmp_path / "tokenizer.json"
    model.save(str(path))
    shown = guard("policy", "show-prompt", "default", "--tokenizer", str(path))
    assert "label ' Yes': 1" in shown.stdout
    assert "label ' No': 2" in shown.stdout
    assert guard("policy", "show-prompt", "default", "--tokenizer", str(tmp_path)).stdout == shown.stdout
    other = tmp_path / "broken.json"
    other.write_text("{}")
    assert "is no model's folder" in guard("policy", "show-prompt", "default", "--tokenizer", str(other)).stderr
    path.write_text("{}")
    assert "cannot be read" in guard("policy", "show-prompt", "default", "--tokenizer", str(path)).stderr


def test_check_asks_the_judge_about_what_is_doubtful(settings):
    """One text at the terminal, and no connection left open."""
    done = guard("check", "My neighbour is an absolute clown.", "--policy", "children", "--json", **settings)
    assert done.returncode == 0, done.stderr
    assert "Unclosed" not in done.stderr
    categories = json.loads(done.stdout)["categories"].values()
    assert any(category["source"] == "judge" for category in categories)


def test_evaluate_tells_what_the_cascade_saves(settings, tmp_path):
    """Three ways side by side; the judge alone is asked about every category."""
    rows = [
        {"text": f"The meeting is at {n}, bring the slides.", "flagged": 0, "labels": {"harassment": 0}}
        for n in range(12)
    ]
    rows += [
        {"text": f"Number {n} is a clown and an idiot, get lost.", "flagged": 1, "labels": {"harassment": 1}}
        for n in range(6)
    ]
    source, report, page = tmp_path / "rows.jsonl", tmp_path / "report.json", tmp_path / "page.html"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = guard(
        "evaluate",
        str(source),
        "--cascade",
        "--quiet",
        "--rounds",
        "20",
        "--json",
        str(report),
        "--html",
        str(page),
        **settings,
    )
    assert done.returncode == 0, done.stderr
    assert all(f'"{way}":{{"harmful or not":' in page.read_text() for way in ("screen alone", "cascade", "judge alone"))
    assert "| judge alone |" in done.stdout
    written = json.loads(report.read_text())
    (cascade,) = written["cascades"]
    alone, _, judge = cascade["ways"]
    assert [way["way"] for way in cascade["ways"]] == ["screen alone", "cascade", "judge alone"]
    spent = [way["cost"]["questions"] for way in cascade["ways"]]
    assert (alone["cost"]["questions"], alone["cost"]["tokens"]) == (0, 0)
    assert judge["cost"]["questions"] == 13 * len(rows)
    assert 0 <= spent[1] < spent[2]
    assert cascade["questions_saved"] == pytest.approx(1 - spent[1] / spent[2])
    assert all(way["cost"]["seconds"] > 0 and way["cost"]["cpu_seconds"] > 0 for way in cascade["ways"])
    assert judge["categories"]["harassment"]["recall"][0] == 1.0
    assert "| harassment | judge alone | 18 | 6 |" in done.stdout
    assert len(written["reports"]) == 1


def test_the_cascade_needs_a_judge(tmp_path):
    """And says which settings give it one."""
    source = tmp_path / "rows.jsonl"
    source.write_text('{"text": "x", "flagged": 1}\n')
    done = guard("evaluate", str(source), "--cascade")
    assert done.returncode == 2
    assert "GUARD_JUDGE_URL" in done.stderr


def test_a_judge_without_a_model_refuses_to_start():
    """The model's name is part of every verdict and cache key."""
    done = guard("check", "x", GUARD_JUDGE_URL="http://127.0.0.1:9")
    assert done.returncode == 2
    assert "GUARD_JUDGE_MODEL" in done.stderr


@pytest.mark.parametrize(
    ("name", "stands_for_it", "remedy"),
    [
        ("torch", "None", r"needs a package that is not installed \(torch\): pip install 'guard-moderation\[judge\]'"),
        ("torch", "type(sys)('torch')", "needs torch, which is there but cannot be imported"),
        (
            "guard_kernels",
            "None",
            r"needs guard_kernels\S*, a part of Guard that this installation lacks: install guard-mod",
        ),
    ],
)
def test_what_a_judge_on_this_machine_lacks_is_named_with_its_remedy(name, stands_for_it, remedy):
    """The extra brings torch and what reads models; it cannot bring a part of Guard itself."""
    pytest.importorskip("torch")
    code = f"import sys; sys.modules['{name}'] = {stands_for_it}; from guard.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--port", "0", "--judge", "folder"]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=100)
    assert ran.returncode == 2
    assert re.search(f"guard: GUARD_JUDGE {remedy}", ran.stderr)
