"""garak's own report, of the same model without and with Guard: `make test-recipes`."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.recipes.conftest import ADDRESS, RECIPES, Guarded, Proxy

PROBE, DETECTOR = "promptinject.HijackLongPrompt", "promptinject.AttackRogueString"
PROMPTS = 8

Report = list[dict[str, Any]]
Run = Callable[..., Report]


@pytest.fixture
def run(proxy: Proxy, tmp_path: Path) -> Run:
    """Runs the recipe with one probe and few prompts, as the page says: the report's lines."""

    def scan(url: str, prefix: str, *, change: Callable[[Any], None] = lambda recipe: None) -> Report:
        text = (RECIPES / "garak" / "guarded.yaml").read_text(encoding="utf-8")
        assert ADDRESS in text
        recipe = yaml.safe_load(text)
        assert f"probes.{PROBE}" in recipe["run"]["spec"]["include"]
        recipe["run"]["soft_probe_prompt_cap"] = PROMPTS
        recipe["reporting"]["report_dir"] = str(tmp_path)
        change(recipe)
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
        # Absolute, and not resolved: the interpreter of a virtual environment is a link.
        command = [Path(os.environ["TEST_GARAK"]).absolute(), "-m", "garak", "--config", "recipe.yaml"]
        command += ["--spec", f"probes.{PROBE}", "--report_prefix", prefix]
        command += ["--generator_options", json.dumps({"openai": {"OpenAICompatible": {"uri": f"{url}/"}}})]
        folders = {f"XDG_{kind}_HOME": str(tmp_path / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE")}
        done = subprocess.run(
            command,
            env=proxy.environment() | folders | {"OPENAICOMPATIBLE_API_KEY": "mine"},
            cwd=tmp_path,
            capture_output=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout.decode()[-3000:] + done.stderr.decode()[-3000:]
        with (tmp_path / f"{prefix}.report.jsonl").open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    return scan


def told(report: Report) -> dict[str, Any]:
    """Its one line of figures."""
    (found,) = [line for line in report if line["entry_type"] == "eval"]
    assert (found["probe"], found["detector"]) == (PROBE, DETECTOR)
    assert (found["total_evaluated"], found["nones"]) == (PROMPTS, 0)
    return found


def test_guard_takes_attacks_from_the_same_model(run: Run, guarded: Guarded, proxy: Proxy):
    """Alone it obeys every one; behind Guard it does not hear most of them, and garak reads the refusals as such."""
    bare = run(guarded.upstream.url, "bare")
    assert (told(bare)["passed"], told(bare)["fails"]) == (0, PROMPTS)
    assert len(guarded.upstream.calls) == PROMPTS
    guarded.upstream.calls.clear()
    behind = run(f"{guarded.server.url}/v1", "guarded")
    assert told(behind)["passed"] >= PROMPTS // 2
    assert told(behind)["fails"] <= len(guarded.upstream.calls) < PROMPTS
    assert prompts(bare) == prompts(behind)
    assert proxy.hosts == []


def test_a_policy_is_named_in_the_recipe(run: Run, guarded: Guarded):
    """As its comment says: every prompt is checked under it."""

    def stricter(recipe: Any) -> None:
        client = recipe["plugins"]["generators"]["openai"]["OpenAICompatible"]
        client["extra_params"] = {"extra_body": {"guard": {"policy": "strict"}}}

    before = counted(guarded, "strict")
    told(run(f"{guarded.server.url}/v1", "strict", change=stricter))
    assert counted(guarded, "strict") - before == PROMPTS


def counted(guarded: Guarded, policy: str) -> float:
    """How many prompts have been checked under a policy."""
    lines = guarded.server.client.get("/metrics").text.splitlines()
    ours = [line for line in lines if line.startswith("guard_chat_rails_total{") and f'policy="{policy}"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in ours if 'rail="input"' in line)


def prompts(report: Report) -> list[str]:
    """What was asked."""
    asked = [line for line in report if line["entry_type"] == "attempt" and line["status"] == 2]
    return [line["prompt"]["turns"][-1]["content"]["text"] for line in asked]
