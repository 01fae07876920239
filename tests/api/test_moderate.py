"""`POST /moderate` over a real socket: the contract of the native API."""

import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

CATEGORIES = [
    "criminal", "dangerous", "sexual_minors", "hate", "harassment", "violence", "self_harm", "sexual",
    "health_advice", "legal_advice", "financial_advice", "pii", "jailbreak",
]  # fmt: skip


def test_one_text_gives_one_result_with_every_category(server):
    """The answer has the shape of the documented contract, complete."""
    body = server.moderate("You are welcome, see you on Monday.").json()
    assert set(body) == {"id", "policy", "models", "results", "usage"}
    assert body["id"].startswith("mod_")
    assert body["policy"]["name"] == "default"
    assert len(body["policy"]["fingerprint"]) == 32
    assert body["models"]["judge"] is None
    assert body["usage"]["texts"] == 1
    (result,) = body["results"]
    assert list(result["categories"]) == CATEGORIES
    assert set(result) == {
        "action", "flagged", "categories", "redacted", "normalised", "uninspected", "windows", "language_supported",
        "cached",
        "degraded", "reasons",
    }  # fmt: skip
    for category in result["categories"].values():
        assert set(category) == {"score", "threshold", "violated", "action", "source", "spans"}
        assert 0 <= category["score"] <= 1


def test_an_ordinary_text_is_allowed(server):
    """Nothing is flagged without cause."""
    result = server.moderate("The meeting moved to ten o'clock, bring the slides please.").json()["results"][0]
    assert (result["action"], result["flagged"]) == ("allow", False)


def test_a_threat_is_flagged_with_its_span(server):
    """Violated categories say where."""
    text = "I will find you tonight and I will kill you."
    result = server.moderate(text).json()["results"][0]
    assert result["flagged"]
    violated = {name: c for name, c in result["categories"].items() if c["violated"]}
    assert violated.keys() & {"violence", "harassment"}
    for category in violated.values():
        assert category["score"] >= category["threshold"]
        for span in category["spans"]:
            assert 0 <= span["start"] < span["end"] <= len(text)


def test_several_texts_give_results_in_order(server):
    """One result each, whatever the others say."""
    texts = ["Good morning.", "My mail is jane.doe@example.com.", "Good night."]
    results = server.moderate(texts).json()["results"]
    assert [result["redacted"] for result in results] == [None, "My mail is [EMAIL_1].", None]


def test_a_conversation_is_judged_by_its_last_turn(server):
    """One conversation, one result; an answer is on the output rail."""
    messages = [
        {"role": "user", "content": "What is your mail address?"},
        {"role": "assistant", "content": "Write to jane.doe@example.com."},
    ]
    results = server.moderate(messages).json()["results"]
    assert len(results) == 1
    assert results[0]["redacted"] == "Write to [EMAIL_1]."


def test_parts_that_cannot_be_looked_at_are_named(server):
    """Never claim to have checked what was not checked."""
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
    ]
    result = server.moderate([{"role": "user", "content": parts}]).json()["results"][0]
    assert result["uninspected"] == ["$.input[0].content[1]: image_url"]


def test_a_policy_can_be_chosen_and_pinned(server):
    """By name, or by name and fingerprint."""
    chosen = server.moderate("Hello.", policy="strict").json()["policy"]
    assert chosen["name"] == "strict"
    pinned = server.moderate("Hello.", policy=f"strict@{chosen['fingerprint']}")
    assert pinned.json()["policy"] == chosen
    wrong = server.moderate("Hello.", policy="strict@00000000")
    assert wrong.status_code == 404
    assert chosen["fingerprint"] in wrong.json()["detail"]


def test_only_the_categories_asked_for_are_answered(server):
    """A request may narrow the policy."""
    result = server.moderate("Hello.", categories=["hate", "pii"]).json()["results"][0]
    assert list(result["categories"]) == ["hate", "pii"]


def test_the_second_answer_comes_from_the_cache_and_is_the_same(server):
    """A verdict does not depend on the cache."""
    text = "A sentence that no other test sends, 48151623."
    first, second = (server.moderate(text).json()["results"][0] for _ in range(2))
    assert (first.pop("cached"), second.pop("cached")) == (False, True)
    assert first == second


def test_a_verdict_does_not_depend_on_its_neighbours(start_server):
    """Alone, among others, or in another order: the same bits."""
    texts = [f"Number {n}: {'please call me back ' * (n % 5)}{'I hate you' if n % 3 == 0 else ''}" for n in range(40)]
    with start_server(GUARD_CACHE_ENTRIES="0") as server:
        alone = [server.moderate(text).json()["results"][0] for text in texts]
        together = server.moderate(texts).json()["results"]
        backwards = server.moderate(texts[::-1]).json()["results"][::-1]
    assert alone == together == backwards


def test_disguised_text_is_read_as_what_it_says(server):
    """Zero-width characters hide nothing, and the answer says what was undone."""
    result = server.moderate("my mail is jane.doe@exam\u200bple.com").json()["results"][0]
    assert "zero_width" in result["normalised"]
    assert result["redacted"] == "my mail is [EMAIL_1]"


def test_a_long_text_is_read_to_its_end(server):
    """Nothing is truncated silently: an address at the very end is found, windows are counted."""
    text = "The weather is fine today. " * 400 + "Write to jane.doe@example.com."
    result = server.moderate(text).json()["results"][0]
    assert result["windows"] > 5
    assert result["redacted"].endswith("Write to [EMAIL_1].")


def test_an_explanation_names_rules_and_readings(server):
    """Only when asked for."""
    result = server.moderate("Write to jane.doe@example.com.", explain=True).json()["results"][0]
    (rule,) = result["explanation"]["rules"]
    assert (rule["name"], rule["category"], rule["start"]) == ("email", "pii", 9)


def test_every_answer_carries_a_request_id(server):
    """The client's own where it is harmless, else a new one."""
    own = server.client.get("/healthz", headers={"X-Request-Id": "trace-42"})
    assert own.headers["x-request-id"] == "trace-42"
    made = server.client.get("/healthz", headers={"X-Request-Id": "two words"})
    assert made.headers["x-request-id"] != "two words"
    assert server.client.get("/nowhere").headers["x-request-id"]


PROBLEMS = {
    "an empty text": ({"input": ""}, 422, "$.input", "empty"),
    "an empty list": ({"input": []}, 422, "$.input", "empty list"),
    "an empty text among others": ({"input": ["a", ""]}, 422, "$.input[1]", "empty"),
    "too many texts": ({"input": ["a"] * 10_000}, 422, "$.input", "256"),
    "a text that is too long": ({"input": "a" * 200_001}, 422, "$.input", "200000"),
    "an unknown field": ({"input": "a", "inptu": 1}, 422, "$", "inptu"),
    "a number for a text": ({"input": 3}, 422, "$.input", "int"),
    "no input": ({"policy": "default"}, 422, "$", "input"),
    "an unknown rail": ({"input": "a", "rail": "side"}, 422, "$.rail", "side"),
    "an unknown policy": (
        {"input": "a", "policy": "nope"},
        404,
        None,
        "children, default, strict, support-bot",
    ),
    "a policy name with a path in it": ({"input": "a", "policy": "../default"}, 404, None, "no policy"),
    "an unknown category": ({"input": "a", "categories": ["poetry"]}, 422, "$.categories", "poetry"),
    "a conversation without text": (
        {"input": [{"role": "user", "content": ""}]},
        422,
        "$.input[0].content",
        "no text",
    ),
    "a conversation with an unknown role": (
        {"input": [{"role": "boss", "content": "a"}]},
        422,
        "$.input[0].role",
        "boss",
    ),
    "texts and messages mixed": (
        {"input": ["a", {"role": "user", "content": "b"}]},
        422,
        "$.input[1]",
        "not both",
    ),
    "texts to be stored": ({"input": "a", "store": True}, 422, "$.store", "store: false"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_bad_input_gets_a_clear_error(server, name):
    """RFC 9457: the status, the place, and what to do about it."""
    body, status, path, words = PROBLEMS[name]
    answer = server.client.post("/moderate", json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"].startswith("urn:guard:problem:")
    assert problem["status"] == status
    assert words in problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    if path is not None:
        assert problem["errors"][0]["path"] == path


RAW = {
    "no JSON": (b"{input: hello}", 400),
    "an empty body": (b"", 400),
    "invalid UTF-8": (b'{"input": "\xff\xfe"}', 400),
    "a raw null byte": (b'{"input": "a\x00b"}', 400),
    "a lone surrogate": (b'{"input": "\\ud800"}', 400),
    "a hundred thousand brackets": (b'{"input": "a", "z": ' + b"[" * 100_000, 422),
    "a list": (b"[1, 2]", 422),
    "two megabytes": (b'{"input": "' + b"a" * 2_000_000 + b'"}', 413),
}


@pytest.mark.parametrize("name", RAW)
def test_a_bad_body_gets_a_clear_error(server, name):
    """None of these is a 500, and the service goes on."""
    body, status = RAW[name]
    answer = server.client.post("/moderate", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert server.client.get("/healthz").status_code == 200


def test_a_body_that_is_too_large_names_the_limit(server):
    """413, with the limit's name and value."""
    problem = server.client.post("/moderate", content=b'"' + b"a" * 2_000_000).json()
    assert (problem["limit"], problem["allowed"]) == ("max_body_bytes", 1_048_576)


def test_a_null_character_is_removed_and_named(server):
    """An escaped null is text like any other; the answer says that it was taken out."""
    result = server.moderate("jane.doe@exa\u0000mple.com").json()["results"][0]
    assert result["normalised"] == ["control"]
    assert result["redacted"] == "[EMAIL_1]"


def test_wrong_routes_and_methods_are_problems_too(server):
    """404 and 405 have the same shape as every other error."""
    for answer, status in ((server.client.get("/nope"), 404), (server.client.get("/moderate"), 405)):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


def test_too_many_texts_in_waiting_are_refused_early(start_server):
    """503 with Retry-After instead of a queue without end; afterwards there is room again."""
    long = "A long and quiet sentence about nothing. " * 400
    with start_server(GUARD_MAX_TEXTS="4", GUARD_MAX_WAITING_TEXTS="4") as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.moderate, [f"{long} {n}" for n in range(4)])
        until = time.monotonic() + 20
        while 'guard_queue_waiting{queue="screen"} 4.0' not in server.client.get("/metrics").text:
            assert time.monotonic() < until, "the first request does not come to the screen"
        refused = server.moderate("one")
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert first.result().status_code == 200
        assert server.moderate("one").status_code == 200


def test_no_text_reaches_the_log(start_server):
    """Canaries through good requests, bad requests and a decoded block: the log has none of them."""
    canaries = {f"canary{n}zebra" for n in range(8)}
    one, two, three, four, five, six, seven, eight = sorted(canaries)
    with start_server(GUARD_LOG_LEVEL="debug") as server:
        server.moderate(f"{one} jane.doe@example.com kill yourself")
        server.moderate([two, ""])
        server.moderate("a", policy=three)
        server.moderate("a", categories=[four])
        server.client.post("/moderate", content=f'{{"input": "{five}"'.encode())
        server.client.get(f"/{six}?q={six}")
        server.client.post("/policies/validate", json={"yaml": f"name: {seven}\n"})
        server.moderate("a", **{eight: 1})
        server.client.get("/healthz")
        log = server.log()
        metrics = server.client.get("/metrics").text
    assert '"moderation_done"' in log
    for canary in canaries:
        assert canary not in log
        assert canary not in metrics


def test_the_answer_is_what_msgspec_says_it_is(server):
    """Every answer decodes into the typed response that the OpenAPI document promises."""
    from guard.api.schemas import ModerateResponse

    answer = server.moderate(["Hello.", "Write to jane.doe@example.com."], explain=True)
    assert msgspec.json.decode(answer.content, type=ModerateResponse).usage.texts == 2


def test_a_message_without_content_is_a_turn_without_text(server):
    """As assistants' turns with tool calls have it."""
    turns = [{"role": "assistant", "content": None}, {"role": "user", "content": "Thank you."}]
    assert server.moderate(turns).json()["results"][0]["action"] == "allow"


def test_categories_that_would_not_be_checked_are_refused(server):
    """Nothing is allowed because nothing was looked at."""
    assert server.moderate("Hello.", categories=[]).status_code == 422
    answer = server.moderate("Hello.", policy="support-bot", categories=["health_advice"])
    assert answer.status_code == 422
    assert "does not check `health_advice` on the input rail" in answer.json()["detail"]


def test_a_client_that_leaves_in_the_middle_harms_nobody(server):
    """Half a request, then silence: the service goes on, and its log has no traceback."""
    import socket

    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /moderate HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert server.moderate("Hello.").status_code == 200
    assert "Traceback" not in server.log()


def test_a_default_policy_that_is_not_there_refuses_to_start(start_server):
    """Better at start than a 404 for every request."""
    with (
        pytest.raises(pytest.fail.Exception, match="the default policy `nope`"),
        start_server(GUARD_DEFAULT_POLICY="nope"),
    ):
        pass
