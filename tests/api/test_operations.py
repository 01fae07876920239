"""Policies over HTTP, health, metrics and the OpenAPI document."""

import shutil
import time
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parent.parent.parent


def test_the_policies_are_listed_with_their_fingerprints(server):
    """What is loaded, and which one is used where none is named."""
    page = server.client.get("/policies").json()
    assert [policy["name"] for policy in page["policies"]] == ["children", "default", "strict", "support-bot"]
    assert page["default"] == "default"
    shown = server.client.get("/policies/strict").json()
    assert shown["policy"]["extends"] == "default"
    assert shown["fingerprint"] == page["policies"][2]["fingerprint"]
    assert shown["calibration"] is None
    assert server.client.get("/policies/nope").status_code == 404


def test_a_policy_text_is_checked_without_loading_it(server):
    """Every mistake with its line, or the fingerprint that it would have."""
    good = "version: 1\nname: forum\ndescription: Ours.\nextends: default\n"
    assert server.client.post("/policies/validate", json={"yaml": good}).json()["valid"]
    bad = good + "when_judge_fails: shrug\nthresholds: {}\n"
    answer = server.client.post("/policies/validate", json={"yaml": bad}).json()
    assert not answer["valid"]
    assert [(p["line"], p["path"]) for p in answer["problems"]] == [
        (5, "$.when_judge_fails"),
        (6, "$.thresholds"),
    ]
    assert "forum" not in str(server.client.get("/policies").json())


def test_health_and_readiness_are_told(server):
    """Alive, ready, with what."""
    assert server.client.get("/healthz").json()["status"] == "ok"
    ready = server.client.get("/readyz").json()
    assert ready["status"] == "ready"
    assert set(ready["policies"]) == {"children", "default", "strict", "support-bot"}
    assert ready["policies_rejected"] == []


def test_metrics_count_what_happened(server):
    """Verdicts, violations with their source, requests by route."""
    server.moderate("Write to jane.doe@example.com.", policy="strict")
    text = server.client.get("/metrics").text
    assert 'guard_violations_total{action="redact",category="pii",policy="strict",source="patterns"}' in text
    assert 'guard_http_requests_total{method="POST",route="/moderate",status="200"}' in text
    server.client.get("/some/path/that/nobody/knows")
    assert 'route="unmatched"' in server.client.get("/metrics").text


def test_a_changed_policy_is_used_without_a_restart(start_server, tmp_path):
    """A good change is swapped in, a bad one is kept out and shown, a repaired one is used."""
    folder = tmp_path / "policies"
    shutil.copytree(ROOT / "policies", folder)
    file = folder / "strict" / "policy.yaml"
    original = file.read_text()
    with start_server(GUARD_POLICIES=str(folder)) as server:
        before = server.client.get("/readyz").json()["policies"]["strict"]
        file.write_text(original + "\nstore_texts: true\n")
        assert _eventually(server.client, lambda ready: ready["policies"]["strict"] != before)
        file.write_text(original + "\nstore_texts: perhaps\n")
        assert _eventually(server.client, lambda ready: ready["policies_rejected"])
        rejected = server.client.get("/readyz").json()
        assert "$.store_texts" in rejected["policies_rejected"][0]
        assert server.moderate("Hello.", policy="strict").status_code == 200
        assert 'guard_policy_loads_total{accepted="false"} 1.0' in server.client.get("/metrics").text
        file.write_text(original)
        assert _eventually(server.client, lambda ready: ready["policies"]["strict"] == before)


def _eventually(client: httpx.Client, condition) -> bool:
    for _ in range(100):
        if condition(client.get("/readyz").json()):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def document(server) -> dict:
    """The OpenAPI document as it is served."""
    return server.client.get("/schema").json()


def test_the_openapi_document_describes_every_route(document, server):
    """With a body, an answer and examples for the main one."""
    assert document == server.client.get("/schema/openapi.json").json()
    assert {
        "/moderate",
        "/policies",
        "/policies/{name}",
        "/policies/validate",
        "/records",
        "/records/{id}",
        "/v1/chat/completions",
        "/v1/decisions",
        "/contentsafety/text:analyze",
        "/contentsafety/text:shieldPrompt",
        "/analyze/prompt",
        "/analyze/output",
        "/scan/prompt",
        "/scan/output",
        "/v1/moderations",
        "/v1/chat/moderations",
        "/v1alpha1/comments:analyze",
        "/beta/litellm_basic_guardrail_api",
        "/healthz",
        "/readyz",
        "/metrics",
    } == set(document["paths"])
    operation = document["paths"]["/moderate"]["post"]
    media = operation["requestBody"]["content"]["application/json"]
    assert media["schema"] == {"$ref": "#/components/schemas/ModerateRequest"}
    assert len(media["examples"]) == 3
    assert {"input", "policy", "rail"} <= set(document["components"]["schemas"]["ModerateRequest"]["properties"])
    assert "ModerateResponse" in str(operation["responses"]["200"])


def test_every_reference_in_the_openapi_document_resolves(document):
    """No dangling `$ref`."""
    names = set(document["components"]["schemas"])
    assert {ref.rsplit("/", 1)[-1] for ref in _references(document)} <= names


def _references(value) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for child in value.values() for ref in _references(child)]
    if isinstance(value, list):
        return [ref for child in value for ref in _references(child)]
    return []


def test_the_examples_of_the_document_are_answered(document, server):
    """What the documentation shows works when it is sent."""
    media = document["paths"]["/moderate"]["post"]["requestBody"]["content"]["application/json"]
    for example in media["examples"].values():
        assert server.client.post("/moderate", json=example["value"]).status_code == 200


def test_sigterm_ends_the_server_cleanly(start_server):
    """The process ends by itself with code 0."""
    with start_server() as server:
        server.moderate("Hello.")
        server.process.terminate()
        assert server.process.wait(20) == 0


def test_a_bad_setting_refuses_to_start(tmp_path):
    """Unknown and bad values are all named at once."""
    import os
    import subprocess
    import sys

    env = {**os.environ, "GUARD_PROT": "80", "GUARD_MAX_TEXTS": "many", "GUARD_LOG_LEVEL": "loud"}
    command = [sys.executable, "-c", "from guard.cli import main; main()", "serve"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "did you mean GUARD_PORT" in done.stderr
    assert "GUARD_MAX_TEXTS: expected `int`" in done.stderr
    assert "GUARD_LOG_LEVEL: invalid" in done.stderr
