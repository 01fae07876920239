"""`guard serve` with a model of its own: verdicts and decisions from a tiny Mistral, over a real socket."""

import pytest

torch = pytest.importorskip("torch")

from transformers import MistralForCausalLM  # noqa: E402

from tests.engine.conftest import write_tiny  # noqa: E402

POLICY = """
version: 1
name: default
description: One category of its own, for tests.
categories:
  gardening:
    title: Gardening
    group: own
    definition: The text asks for or gives advice on plants, beds and gardens.
    thresholds: {flag: 0.0001}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("served"), window=None, max_position_embeddings=8_192)


@pytest.fixture(scope="module")
def judged(folder, tmp_path_factory, start_server):
    policies = tmp_path_factory.mktemp("policies")
    (policies / "default").mkdir()
    (policies / "default" / "policy.yaml").write_text(POLICY)
    settings = {"GUARD_JUDGE": str(folder), "GUARD_POLICIES": str(policies), "GUARD_JUDGE_CONTEXT_TOKENS": "8192"}
    with start_server(**settings) as server:
        yield server


def test_a_custom_category_is_judged_from_its_definition(judged, folder):
    """The verdict names the judge and what it read; the second time it comes from the cache."""
    body = judged.moderate("When should I plant tomatoes?").json()
    assert body["models"]["judge"] == folder.name
    category = body["results"][0]["categories"]["gardening"]
    assert category["source"] == "judge"
    assert 0 < category["score"] < 1
    assert category["violated"]
    assert body["usage"]["judged"] == 1
    assert body["usage"]["judge_tokens"] > 50
    again = judged.moderate("When should I plant tomatoes?").json()
    assert again["results"][0]["cached"]
    assert again["results"][0]["categories"]["gardening"]["score"] == category["score"]


def test_a_decision_can_be_computed_again_with_transformers(judged, folder):
    """From the ids of the prompt and of the labels, as the answer shows them."""
    question = {"type": "predicate", "name": "angry", "instructions": "The customer is angry."}
    body = judged.client.post(
        "/v1/decisions", json={"input": "Where is it?", "questions": [question], "return_prompt_token_ids": True}
    ).json()
    (answer,) = body["answers"]
    reference = MistralForCausalLM.from_pretrained(str(folder), attn_implementation="eager").eval()
    with torch.inference_mode():
        logits = reference(torch.tensor([answer["prompt_token_ids"]])).logits[0, -1]
    yes, no = logits.softmax(-1)[answer["label_token_ids"]].tolist()
    assert answer["probability"] == pytest.approx(yes / (yes + no), abs=1e-4)
    assert body["usage"]["input_tokens"] == len(answer["prompt_token_ids"])


def test_the_start_says_which_judge(judged, folder):
    """In the event that says where the service listens."""
    assert f'"judge":"{folder.name}"' in judged.log()
