"""`POST /v1/decisions` over real sockets: the service here, a server in vLLM's shapes as the judge behind it."""

import math
from collections.abc import Iterator

import pytest

QUESTIONS = [
    {"type": "predicate", "name": "angry", "instructions": "The customer is angry."},
    {
        "type": "choice",
        "instructions": "What is it about?",
        "choices": [{"value": "billing", "description": "money"}, {"value": True}, {"value": 3}],
    },
    {
        "type": "score",
        "name": "urgency",
        "instructions": "How urgent?",
        "levels": [{"label": "not"}, {"label": "very"}],
    },
]


@pytest.fixture(scope="module")
def judged(module_judge_server, start_server) -> Iterator[object]:
    """A service with a judge."""
    with start_server(GUARD_JUDGE_URL=module_judge_server.url, GUARD_JUDGE_MODEL="tiny") as server:
        yield server


def decide(server, **body):
    return server.client.post("/v1/decisions", json={"input": "Where is my parcel?", "questions": QUESTIONS} | body)


def test_every_question_is_answered_in_order(judged):
    """Names, values and labels come back as they were given; probabilities add up."""
    body = decide(judged, model="anything", safety_identifier="u1").json()
    assert body["model"] == "tiny"
    angry, topic, urgency = body["answers"]
    assert (angry["type"], angry["name"]) == ("predicate", "angry")
    assert 0 < angry["probability"] < 1
    assert (topic["type"], topic["name"]) == ("choice", None)
    assert [one["value"] for one in topic["probabilities"]] == ["billing", True, 3]
    assert sum(one["probability"] for one in topic["probabilities"]) == pytest.approx(1)
    best = max(topic["probabilities"], key=lambda one: one["probability"])
    assert topic["choice"] == best["value"]
    assert 0 < topic["confidence"] <= best["probability"]
    assert [(one["value"], one["label"]) for one in urgency["probabilities"]] == [(0, "not"), (1, "very")]
    assert urgency["score"] == pytest.approx(urgency["probabilities"][1]["probability"])
    assert "prompt_token_ids" not in angry
    usage = body["usage"]
    assert usage["input_tokens"] == usage["total_tokens"] > 0
    assert usage["output_tokens"] == 0
    assert usage["input_tokens_details"]["cached_tokens"] > 0


def test_an_answer_can_be_computed_again_from_its_tokens(judged, module_judge_server):
    """`return_prompt_token_ids` gives the prompt and the labels; the probabilities follow from them."""
    body = decide(judged, questions=QUESTIONS[:1], return_prompt_token_ids=True).json()
    (answer,) = body["answers"]
    words = {number: word for word, number in module_judge_server.known.items()}
    prompt = "".join(words[number] for number in answer["prompt_token_ids"])
    assert "Where is my parcel?" in prompt
    told = module_judge_server.model(prompt)
    yes, no = (math.exp(told[words[number]]) for number in answer["label_token_ids"])
    assert answer["probability"] == pytest.approx(yes / (yes + no))


def test_a_conversation_is_asked_about_by_its_last_turn(judged, module_judge_server):
    """The turns before it are context."""
    messages = [
        {"type": "message", "role": "user", "content": "first words"},
        {"role": "user", "content": [{"type": "input_text", "text": "last words"}]},
    ]
    assert decide(judged, input=messages, questions=QUESTIONS[:1]).status_code == 200
    prompt = module_judge_server.asked("/v1/completions")[-1]["prompt"][0]
    places = [
        prompt.index("<context>"),
        prompt.index("first words"),
        prompt.rindex("<text>"),
        prompt.index("last words"),
    ]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"questions": []}, "questions"),
        ({"questions": [{"type": "guess", "instructions": "x"}]}, "questions[0].type"),
        ({"questions": [{"type": "predicate", "instructions": "x", "colour": 1}]}, "questions[0]"),
        ({"questions": [QUESTIONS[1] | {"choices": [{"value": 1}]}]}, "questions[0].choices"),
        ({"questions": [QUESTIONS[1] | {"choices": [{"value": 1}, {"value": 1}]}]}, "questions[0].choices"),
        ({"questions": [QUESTIONS[2] | {"levels": [{"label": "a"}, {"label": "a"}]}]}, "questions[0].levels"),
        ({"questions": [QUESTIONS[0]] * 201}, "questions"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "text": "x"}]}]},
            "input[0].content[0].type",
        ),
        ({"temperature": 1}, None),
    ],
)
def test_a_wrong_request_is_refused_in_openais_shape(judged, body, param):
    """With the place, and no unknown field is passed over."""
    response = decide(judged, **body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert error["message"]


def test_no_json_is_refused_in_openais_shape(judged):
    """Clients parse one shape of error."""
    response = judged.client.post("/v1/decisions", content=b"{", headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_json"


def test_true_and_one_are_two_values(judged):
    """JSON keeps them apart, so do we."""
    choices = [{"value": True}, {"value": 1}, {"value": "1"}]
    assert decide(judged, questions=[QUESTIONS[1] | {"choices": choices}]).status_code == 200


def test_without_a_judge_the_answer_says_how_to_have_one(server):
    """503 with the settings' names; the request is checked all the same."""
    response = decide(server)
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "judge_not_configured"
    assert "GUARD_JUDGE_URL" in response.json()["error"]["message"]
    assert decide(server, questions=[]).status_code == 400


def test_a_judge_that_fails_is_503_and_quotes_nothing(start_server, module_judge_server):
    """Neither the text nor the server's address reaches the client or the log."""
    with start_server(GUARD_JUDGE_URL="http://127.0.0.1:9", GUARD_JUDGE_MODEL="tiny") as server:
        response = decide(server, input="CANARY")
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "judge_failed"
        assert "127.0.0.1" not in response.text
        assert "CANARY" not in server.log()


def test_doubtful_scores_are_settled_by_the_judge(judged, module_judge_server):
    """`/moderate` names the judge, as the source of a score and in the usage."""
    module_judge_server.model = lambda prompt: {" Yes": math.log(0.9), " No": math.log(0.1)}
    text = "My neighbour is an absolute clown and everyone should know it."
    body = judged.moderate(text, policy="children").json()
    assert body["models"]["judge"] == "tiny"
    judged_categories = [c for c in body["results"][0]["categories"].values() if c["source"] == "judge"]
    assert judged_categories
    assert all(category["score"] == 0.9 for category in judged_categories)
    assert body["usage"]["judged"] == len(judged_categories)
    assert body["usage"]["judge_tokens"] > 0
    assert judged.moderate(text, policy="children").json()["usage"]["judged"] == 0
