"""`POST /v1/chat/completions` over a real socket: Guard as it is served, and an upstream as it is asked."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chat.doubles import a_chunk, an_answer, chunks_of, finishes, said
from tests.conftest import serving

HI = [{"role": "user", "content": "Hi"}]


def ask(guarded: Any, content: Any = "Hi", *, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    """One request."""
    messages = content if isinstance(content, list) else [{"role": "user", "content": content}]
    body = {"model": "m", "messages": messages} | more
    return guarded.server.client.post("/v1/chat/completions", json=body, headers=headers)


def events(response: httpx.Response) -> list[Any]:
    """What a stream holds; its last event is a string."""
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    found = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    return [json.loads(event) if event.startswith("{") else event for event in found]


def until(condition: Any, seconds: float = 15.0) -> None:
    """Waits for what happens in another thread."""
    ends = time.monotonic() + seconds
    while not condition() and time.monotonic() < ends:
        time.sleep(0.005)
    assert condition()


def test_an_answer_comes_with_what_was_found(guarded):
    """OpenAI's answer, unchanged, and ours beside it; the upstream gets the policy's words, its key, and the rest."""
    response = ask(guarded, temperature=0.1, tools=[{"type": "function"}], guard={"policy": "grumpf"})
    body = response.json()
    found = body.pop("guard")
    assert body == an_answer("Hello there.")
    assert found["policy"]["name"] == "grumpf"
    assert (found["input"]["action"], found["output"]["action"]) == ("allow", "allow")
    assert response.headers["x-guard-policy"] == f"grumpf@{found['policy']['fingerprint']}"
    assert response.headers["x-guard-input-action"] == response.headers["x-guard-output-action"] == "allow"
    (told,) = guarded.upstream.calls
    assert (told["temperature"], told["tools"], "guard" in told) == (0.1, [{"type": "function"}], False)
    assert told["messages"][0]["role"] == "system"
    assert told["messages"][1:] == HI
    assert guarded.upstream.headers[0]["Authorization"] == "Bearer the-upstreams-key"


def test_a_stream_comes_as_events(guarded):
    """The chunks, the end, and the same headers."""
    response = ask(guarded, stream=True, headers={"X-Request-Id": "abc"})
    *chunks, done = events(response)
    assert done == "[DONE]"
    assert said(chunks) == "Hello there."
    assert chunks[-1]["guard"]["output"]["action"] == "allow"
    assert response.headers["x-guard-input-action"] == "allow"
    assert response.headers["x-request-id"] == "abc"
    metrics = guarded.server.client.get("/metrics").text
    assert 'guard_http_requests_total{method="POST",route="/v1/chat/completions",status="200"}' in metrics


@pytest.mark.parametrize("stream", [False, True])
def test_a_blocked_prompt_reaches_no_model(guarded, stream):
    """It is answered in its place, in the form that was asked for."""
    response = ask(guarded, "You grumpf", stream=stream, stream_options={"include_usage": True} if stream else None)
    assert response.status_code == 200
    assert response.headers["x-guard-input-action"] == "block"
    assert guarded.upstream.calls == []
    if stream:
        *chunks, usage, done = events(response)
        assert (done, usage["choices"], usage["usage"]["total_tokens"]) == ("[DONE]", [], 0)
        assert (said(chunks), finishes(chunks)) == ("Not that.", {0: "content_filter"})
        found = chunks[-1]["guard"]
    else:
        choice = response.json()["choices"][0]
        assert (choice["finish_reason"], choice["message"]["refusal"]) == ("content_filter", "Not that.")
        found = response.json()["guard"]
    assert found["input"]["categories"]["harassment"]["action"] == "block"
    assert found["output"] is None


@pytest.mark.parametrize("stream", [False, True])
def test_a_block_may_be_an_error(guarded, stream):
    """OpenAI's with its code, Mistral's with its decisions; for prompts and whole answers."""
    response = ask(guarded, "You grumpf", stream=stream, guard={"policy": "as-error"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "content_filter")
    response = ask(guarded, "You grumpf", stream=stream, headers={"X-Guard-Policy": "as-mistral"})
    assert response.status_code == 403
    assert response.json()["guardrails"]["results"]["guard"]["decisions"]["harassment"]["violated"]


def test_a_blocked_answer_is_replaced(guarded):
    """Its text, its probabilities; what the model used is told all the same."""
    answer = an_answer("You grumpf.")
    answer["choices"][0]["logprobs"] = {"content": [{"token": "grumpf"}]}
    guarded.upstream.script = lambda body: answer
    body = ask(guarded).json()
    assert "grumpf." not in json.dumps(body["choices"])
    assert body["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": "Not so.", "refusal": "Not so."},
        "logprobs": None,
        "finish_reason": "content_filter",
    }
    assert body["usage"] == answer["usage"]
    assert ask(guarded, guard={"policy": "as-error"}).status_code == 400


def test_of_several_answers_one_is_blocked(guarded):
    """The others stay."""
    answer = an_answer("Hello.")
    answer["choices"] += an_answer("You grumpf.")["choices"]
    answer["choices"][1]["index"] = 1
    guarded.upstream.script = lambda body: answer
    choices = ask(guarded, n=2).json()["choices"]
    assert [choice["finish_reason"] for choice in choices] == ["stop", "content_filter"]
    assert choices[0]["message"]["content"] == "Hello."


def test_personal_data_goes_to_no_model_and_comes_back(guarded):
    """Placeholders in a call's arguments, too; the answer's own are other ones."""
    call = {"id": "1", "type": "function", "function": {"name": "mail", "arguments": '{"to":"[EMAIL_1]"}'}}
    guarded.upstream.script = lambda body: an_answer("To [EMAIL_1], not to bob@example.org.", tool_calls=[call])
    message = ask(guarded, "Write to jane.doe@example.com").json()["choices"][0]["message"]
    assert guarded.upstream.calls[0]["messages"][-1]["content"] == "Write to [EMAIL_1]"
    assert message["content"] == "To jane.doe@example.com, not to [EMAIL_2]."
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"to": "jane.doe@example.com"}
    guarded.upstream.script = lambda body: chunks_of(["To [EM", "AIL_1", "]."])
    assert said(events(ask(guarded, "Write to jane.doe@example.com", stream=True))[:-1]) == "To jane.doe@example.com."


def test_personal_data_of_earlier_turns_goes_to_no_model_either(guarded):
    """Clients send a conversation's turns again as they were; each keeps its placeholder while more turns follow."""
    turns = [
        {"role": "user", "content": "I am jane.doe@example.com"},
        {"role": "assistant", "content": "Hello, jane.doe@example.com."},
        {"role": "user", "content": "And my friend is bob@example.org"},
    ]
    guarded.upstream.script = lambda body: an_answer("Hello, [EMAIL_2].")
    for known in (1, 3):
        message = ask(guarded, turns[:known]).json()["choices"][0]["message"]["content"]
    assert message == "Hello, bob@example.org."
    assert [message["content"] for message in guarded.upstream.calls[1]["messages"]][-3:] == [
        "I am [EMAIL_1]",
        "Hello, [EMAIL_1].",
        "And my friend is [EMAIL_2]",
    ]


def test_an_earlier_turn_is_redacted_and_not_refused(guarded):
    """It has been let pass once, by this policy or by another."""
    turns = [
        {"role": "user", "content": "You grumpf, I am jane.doe@example.com"},
        {"role": "assistant", "content": "Please stop."},
        {"role": "user", "content": "Sorry."},
    ]
    found = ask(guarded, turns).json()
    assert found["choices"][0]["finish_reason"] == "stop"
    assert found["guard"]["input"]["action"] == "allow"
    assert guarded.upstream.calls[0]["messages"][-3]["content"] == "You grumpf, I am [EMAIL_1]"


def test_parts_that_cannot_be_looked_at_are_named_or_refused(guarded):
    """As the policy says."""
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    content = [{"role": "user", "content": parts}]
    assert ask(guarded, content).json()["guard"]["input"]["uninspected"] == ["$.messages[0].content[1]: image_url"]
    assert guarded.upstream.calls[0]["messages"][-1]["content"] == parts
    body = ask(guarded, content, guard={"policy": "refusing"}).json()
    assert body["choices"][0]["finish_reason"] == "content_filter"
    assert len(guarded.upstream.calls) == 1


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"stream": "yes"}, "stream"),
        ({"guard": "default"}, "guard"),
        ({"guard": {"polices": "x"}}, "guard.polices"),
        ({"guard": {"policy": 7}}, "guard.policy"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x" * 200_001}]}]}, "messages"),
    ],
)
def test_a_bad_request_is_told_in_openais_form(guarded, change, param):
    """With the place; nothing reaches the upstream."""
    response = guarded.server.client.post("/v1/chat/completions", json={"model": "m", "messages": HI} | change)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert response.json()["error"]["param"] == param
    assert guarded.upstream.calls == []


def test_other_mistakes_have_their_statuses(guarded):
    """No such policy, no JSON, another method."""
    assert ask(guarded, guard={"policy": "nope"}).status_code == 404
    client = guarded.server.client
    assert client.post("/v1/chat/completions", content=b"{").json()["error"]["code"] == "invalid_json"
    assert client.get("/v1/chat/completions").status_code == 405
    assert client.post("/v1/chat/completions", content=b" " * 2_000_000).status_code == 413


@pytest.mark.parametrize("stream", [False, True])
def test_an_upstreams_error_is_passed_on(guarded, stream):
    """Its own words where they are in OpenAI's form, ours where not."""
    told = {"error": {"message": "slow down", "type": "rate_limit", "param": None, "code": "rate_limit_exceeded"}}
    headers = {"Content-Type": "application/json", "Retry-After": "7"}
    guarded.upstream.script = lambda body: (429, json.dumps(told).encode(), headers)
    response = ask(guarded, stream=stream)
    assert (response.status_code, response.json(), response.headers["retry-after"]) == (429, told, "7")
    guarded.upstream.script = lambda body: (500, b"<html>THE TEXT</html>", {})
    response = ask(guarded, stream=stream)
    assert (response.status_code, response.json()["error"]["code"]) == (500, "upstream_refused")
    assert "THE TEXT" not in response.text
    guarded.upstream.script = lambda body: (302, b"", {"Location": "http://127.0.0.1:9/"})
    assert ask(guarded, stream=stream).status_code == 502


def test_an_upstream_that_says_nothing_is_waited_for_so_long(guarded):
    """Then 504; in the middle of a stream an error inside it."""
    guarded.upstream.script = lambda body: [3.0]
    response = ask(guarded, stream=True)
    assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")
    guarded.upstream.script = lambda body: [a_chunk("Hello there. "), 3.0]
    chunk, *_, error = events(ask(guarded, stream=True))
    assert said([chunk]) == "Hello there. "
    assert error["error"]["code"] == "upstream_timeout"


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ([a_chunk("Hello "), None], "upstream_closed"),
        ([a_chunk("Hello "), b"data: {nonsense\n\n"], "upstream_malformed"),
        ([a_chunk("Hello "), {"choices": [7]}], "upstream_malformed"),
    ],
)
def test_a_stream_that_goes_wrong_ends_with_an_error(guarded, script, code):
    """After what was vetted; without `[DONE]`."""
    guarded.upstream.script = lambda body: script
    *chunks, error = events(ask(guarded, stream=True))
    assert said(chunks) == "Hello "
    assert error["error"]["code"] == code


def test_an_answer_in_another_form_is_no_answer(guarded):
    """A whole one where a stream was asked for; no choices; no JSON."""
    guarded.upstream.script = lambda body: an_answer("Hello.")
    assert ask(guarded, stream=True).json()["error"]["code"] == "upstream_malformed"
    for answer in ({"choices": None}, {"choices": [{"message": 7}]}):
        guarded.upstream.script = lambda body, answer=answer: answer
        assert ask(guarded).json()["error"]["code"] == "upstream_malformed"
    guarded.upstream.script = lambda body: (200, b"hello", {})
    assert ask(guarded).status_code == 502


def test_a_chunk_of_ten_megabytes_is_vetted_and_passed_on(guarded):
    """Here a field that holds no text."""
    guarded.upstream.script = lambda body: [a_chunk("Hello."), a_chunk(id="x" * 10_000_000), a_chunk(finish="stop")]
    *chunks, _ = events(ask(guarded, stream=True))
    assert len(chunks[1]["choices"][0]["delta"]["id"]) == 10_000_000


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("policy", ["grumpf", "early"])
def test_a_client_that_leaves_ends_the_upstreams_work(guarded, stream, policy):
    """Within a tenth of a second."""
    guarded.upstream.script = lambda body: [a_chunk("Hello there. And"), *[0.01] * 300]
    body = json.dumps({"model": "m", "messages": HI, "stream": stream, "guard": {"policy": policy}}).encode()
    url = httpx.URL(guarded.server.url)
    with socket.create_connection((url.host, url.port)) as client:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        until(lambda: guarded.upstream.calls)
        if stream:
            client.recv(100)
        time.sleep(0.1)
        left = time.monotonic()
    until(lambda: guarded.upstream.cancelled)
    assert guarded.upstream.cancelled[0] - left < 0.1
    assert "Traceback" not in guarded.server.log()


def test_a_slow_reader_slows_the_upstream_down(guarded):
    """What waits for it is bounded, in Guard and before it."""
    guarded.upstream.script = lambda body: [a_chunk("Word. ", id="y" * 50_000) for _ in range(4_000)]
    body = json.dumps({"model": "m", "messages": HI, "stream": True}).encode()
    url = httpx.URL(guarded.server.url)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    with client:
        client.connect((url.host, url.port))
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        until(lambda: guarded.upstream.sent)
        seen = [0]
        # Until it stands still for as long as a busy machine may need for a step.
        while guarded.upstream.sent > seen[-1]:
            seen.append(guarded.upstream.sent)
            assert seen[-1] < 60_000_000  # of 200, most of it in the sockets
            time.sleep(1.0)


def test_many_chats_at_the_same_time_do_not_meet(guarded):
    """Each has its own answer and its own placeholders."""

    def script(body: dict[str, Any]) -> list[Any]:
        return chunks_of([f"You said {body['messages'][-1]['content']}"[n : n + 3] for n in range(0, 80, 3)])

    guarded.upstream.script = script
    with ThreadPoolExecutor(8) as pool:
        asked = [f"number {n} and x{n}@example.org" for n in range(40)]
        found = list(pool.map(lambda text: said(events(ask(guarded, text, stream=True))[:-1]), asked))
    assert found == [f"You said {text}" for text in asked]


def test_no_text_is_ever_logged(guarded):
    """Neither prompts nor answers, also where the upstream's are nonsense."""
    guarded.upstream.script = lambda body: [a_chunk("ZEBRA answers"), b"data: {ZEBRA\n\n"]
    ask(guarded, "ZEBRA asks", stream=True)
    guarded.upstream.script = lambda body: (500, b"ZEBRA", {})
    ask(guarded, "ZEBRA grumpf")
    ask(guarded, "ZEBRA asks")
    log = guarded.server.log()
    assert "moderation_done" in log
    assert "ZEBRA" not in log
    assert "request_failed" not in log


def test_nobody_is_asked_where_nobody_is_configured(server):
    """503, and what to do."""
    response = server.client.post("/v1/chat/completions", json={"model": "m", "messages": HI})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "upstream_not_configured")
    assert "GUARD_UPSTREAM_URL" in response.json()["error"]["message"]
    assert server.client.get("/v1/models").status_code == 503


def test_several_upstreams_are_told_apart(guarded, tmp_path: Path):
    """By name, by the models that are listed for them, the first else; one that is away hides no other."""
    file = tmp_path / "upstreams.yaml"
    servers = [
        {"name": "away", "url": "http://127.0.0.1:9/v1", "models": ["gone"]},
        {"name": "here", "url": guarded.upstream.url, "models": ["m"], "system_role": "none"},
    ]
    file.write_text(json.dumps(servers), encoding="utf-8")
    with serving(GUARD_UPSTREAMS=str(file)) as server:
        assert [m["id"] for m in server.client.get("/v1/models").json()["data"]] == ["here/m"]
        for model in ("m", "here/m", "here/other"):
            body = {"model": model, "messages": HI}
            assert server.client.post(
                "/v1/chat/completions", json=body, headers={"Authorization": "Bearer mine"}
            ).is_success
        response = server.client.post("/v1/chat/completions", json={"model": "gone", "messages": HI})
        assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_closed")
    assert [call["model"] for call in guarded.upstream.calls] == ["m", "m", "other"]
    assert [message["role"] for message in guarded.upstream.calls[0]["messages"]] == ["user"]
    assert guarded.upstream.headers[-1]["Authorization"] == "Bearer mine"


def test_the_document_describes_the_chat(server):
    """With its request, its answer and its errors."""
    found = server.client.get("/schema").json()["paths"]["/v1/chat/completions"]["post"]
    assert set(found["responses"]) == {
        "200",
        "400",
        "401",
        "403",
        "404",
        "408",
        "413",
        "415",
        "429",
        "502",
        "503",
        "504",
    }
