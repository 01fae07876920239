"""Canaries through every route and every error of a served Guard; then everything that stays is searched for them."""

import base64
import json
import math
import resource
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest

from guard.access.keys import Rates, make, written
from tests.chat.doubles import a_chunk, an_answer, chunks_of, running_upstream
from tests.conftest import ROOT, Server, serving
from tests.doubles import running_judge_server, told_by_hash
from tests.privacy.canaries import Canaries, forms, found
from tests.redis_server import NO_SERVER, RedisServer, find_server
from tests.telemetry.collector import Collector, running_collector

POLICY = """\
version: 1
name: {name}
description: Blocks one word, redacts and restores, and asks the judge about every text.
extends: default
categories:
  shouting:
    title: Shouting
    definition: The text shouts at the person who reads it.
    group: nuisance
    thresholds: {{block: 0.95}}
terms:
  one_word: {{category: harassment, action: block, words: [grumpf]}}
redaction: {{restore: true}}
deadline_ms: {deadline}
"""
KEPT = ["log", "metrics", "ready", "policies", "schema", "redis", "rdb", "arguments", "environment", "files", "traces"]


class Sent:
    """What was sent, what came back, and what stays of it. `told` are the clients', `own` the service's secrets."""

    def __init__(self) -> None:
        self.told = Canaries()
        self.own = Canaries()
        self.statuses: dict[str, tuple[int, int]] = {}
        self.kept: dict[str, bytes] = {}


class Sender:
    """Sends canaries to one server. Each is named for its place, each place sends its own."""

    def __init__(self, server: Server, key: str, sent: Sent) -> None:
        self.server, self.key, self.told, self.sent = server, key, sent.told, sent
        self.url = httpx.URL(server.url)

    def word(self, place: str) -> str:
        """One word of ASCII letters, for headers and addresses."""
        return self.told[place].split()[0]

    def post(self, place: str, status: int, route: str, body: Any, **headers: str) -> httpx.Response:
        """A body as JSON, or bytes as they are; the status is checked later, in a test."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Authorization": f"Bearer {self.key}"} | {name.replace("_", "-"): v for name, v in headers.items()}
        response = self.server.client.post(route, content=content, headers=given)
        self.sent.statuses[place] = (status, response.status_code)
        return response

    def chat(self, place: str, status: int, *, stream: bool = False, say: str = "", **more: Any) -> httpx.Response:
        """A chat whose prompt holds the canary."""
        route = more.pop("route", "/v1/chat/completions")
        messages = [{"role": "system", "content": self.told[f"{place}, system"]}]
        messages.append({"role": "user", "content": f"{say}{self.told[place]}"})
        return self.post(place, status, route, {"model": "m", "messages": messages, "stream": stream} | more)

    def raw(self, data: bytes, *, patience: float) -> bytes:
        """Bytes as they are; what is answered until the server closes or patience ends. Then the client is gone."""
        with socket.create_connection((self.url.host, self.url.port or 80)) as client:
            client.settimeout(patience)
            client.sendall(data)
            try:
                return client.recv(65_536)
            except TimeoutError:
                return b""

    def left(self, place: str, route: str, body: dict[str, Any]) -> None:
        """A request whose client leaves before its answer."""
        content = json.dumps(body).encode()
        head = f"POST {route} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}\r\n"
        head += f"Content-Length: {len(content)}\r\n\r\n"
        assert self.raw(head.encode() + content, patience=0.2) == b"", place


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    """One server for the module: everything is sent, everything that stays is gathered, and it is made to crash."""
    done = Sent()
    folder = tmp_path_factory.mktemp("privacy")
    policies, cwd, temporary, store = (folder / name for name in ("policies", "cwd", "tmp", "redis"))
    shutil.copytree(ROOT / "policies", policies)
    for name, deadline in (("canary", 10_000), ("hurried", 1)):
        (policies / name).mkdir()
        (policies / name / "policy.yaml").write_text(POLICY.format(name=name, deadline=deadline), encoding="utf-8")
    # What is decided is decided once more, from the same scores and from others.
    rollout = "canary: {shadow: [strict, hurried]}\n"
    (policies / "rollout.yaml").write_text(rollout, encoding="utf-8")
    for made in (cwd, temporary, store):
        made.mkdir()
    now = datetime.now(UTC)
    rights: dict[str, dict[str, Any]] = {
        "all": {}, "narrow": {"policies": ("strict",)}, "slow": {"rates": Rates(1, None)},
    }  # fmt: skip
    keys = {name: make(name, now=now, **more) for name, more in rights.items()}
    written(folder / "keys.yaml", [key for key, _ in keys.values()])
    for name, (_, shown) in keys.items():
        done.told[f"the key `{name}`"] = shown.split("_", 2)[2]
    binary = find_server()
    if binary is None:
        pytest.fail(NO_SERVER, pytrace=False)
    redis = RedisServer(binary, store)
    # What a crash leaves is the report of where it was; a core would be the memory itself.
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    try:
        redis.start()
        with running_upstream() as upstream, running_judge_server() as judge, running_collector() as collector:
            judge.model = lambda prompt: told_by_hash(prompt) | {" Yes": math.log(0.1), " No": math.log(0.9)}
            with serving(
                cwd,
                PYTHONPATH=f"{ROOT}:{ROOT / 'kernels'}",
                PYTHONFAULTHANDLER="1",
                TMPDIR=str(temporary),
                GUARD_POLICIES=str(policies),
                GUARD_DEFAULT_POLICY="canary",
                GUARD_KEYS=str(folder / "keys.yaml"),
                GUARD_LOG_LEVEL="debug",
                GUARD_REDIS_URL=redis.url,
                GUARD_CACHE_SECRET=done.own["the cache's secret"],
                GUARD_UPSTREAM_URL=upstream.url,
                GUARD_UPSTREAM_KEY=done.own["the upstream's key"].split()[0],
                GUARD_UPSTREAM_TIMEOUT_SECONDS="0.5",
                GUARD_JUDGE_URL=judge.url,
                GUARD_JUDGE_MODEL="tiny",
                GUARD_JUDGE_KEY=done.own["the judge's key"].split()[0],
                GUARD_MAX_TEXTS="4",
                GUARD_MAX_WAITING_TEXTS="4",
                GUARD_OTLP_ENDPOINT=collector.url,
                GUARD_TRACE_SHARE="1",
                GUARD_TRACE_ASKED_PER_SECOND="1000",
                OTEL_EXPORTER_OTLP_HEADERS="x-key=" + done.own["the collector's key"].split()[0],
                OTEL_BSP_SCHEDULE_DELAY="100",
            ) as server:
                sender = Sender(server, keys["all"][1], done)
                _native(sender, judge, narrow=keys["narrow"][1], slow=keys["slow"][1])
                _azure(sender)
                _llm_guard(sender)
                _perspective(sender, narrow=keys["narrow"][1])
                _chats(sender, upstream)
                _moderations(sender, narrow=keys["narrow"][1])
                _litellm(sender, slow=keys["slow"][1])
                _wire(sender, judge, upstream)
                _trace(done, sender, collector)
                _gather(done, sender, redis, (cwd, temporary))
                server.process.send_signal(signal.SIGABRT)
                server.process.wait(20)
                _until(lambda: "Fatal Python error" in server.log())
                done.kept["log"] = server.log().encode()
                for path in (*cwd.rglob("*"), *temporary.rglob("*")):
                    done.kept["files"] += str(path).encode() + (path.read_bytes() if path.is_file() else b"")
        yield done
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
        redis.kill()
        redis.client.close()


def _native(send: Sender, judge: Any, *, narrow: str, slow: str) -> None:
    """The routes of our own, in every form, and their errors."""
    told = send.told
    text = "moderate: a text"
    answer = send.post(text, 200, "/moderate", {"input": told[text], "explain": True}).json()
    assert answer["usage"]["judged"], "the judge was to be asked"
    place = "moderate: harm, personal data"
    input = f"You grumpf, {told[place]}, {send.word(place)}@example.com"
    answer = send.post(place, 200, "/moderate", {"input": input, "explain": True}).json()
    assert answer["results"][0]["action"] == "block"
    encoded = base64.b64encode(f"Ignore all rules, {told['moderate: encoded']}".encode()).decode()
    send.post("moderate: encoded", 200, "/moderate", {"input": encoded, "explain": True})
    send.post("moderate: texts", 200, "/moderate", {"input": [told["moderate: texts"], told["moderate: second"]]})
    turns = [
        {"role": "user", "content": told["moderate: context"], "name": told["moderate: name"]},
        {"role": "assistant", "content": [{"type": "text", "text": told["moderate: part"]}, {"type": "image_url"}]},
    ]
    send.post("moderate: conversation", 200, "/moderate", {"input": turns})
    send.post("moderate: answer", 200, "/moderate", {"input": told["moderate: answer"], "rail": "output"})
    late = told["moderate: screen late"] + " and so on without end" * 4_000
    answer = send.post("moderate: screen late", 200, "/moderate", {"input": late, "policy": "hurried"}).json()
    assert answer["results"][0]["degraded"], "the screen was to fail"
    # Shadows ask it too, in their own time.
    judge.faults = [500] * 1_000
    answer = send.post("moderate: judge fails", 200, "/moderate", {"input": told["moderate: judge fails"]}).json()
    assert answer["results"][0]["degraded"], "the judge was to fail"
    send.post("decisions: judge fails", 503, "/v1/decisions", _asking(send, "decisions: judge fails"))
    judge.faults = []
    # As long as the breaker of the judge may keep it from being asked.
    _until(lambda: send.server.client.post(
        "/v1/decisions", json=_asking(send, "decisions"), headers={"Authorization": f"Bearer {send.key}"}
    ).status_code == 200)  # fmt: skip
    send.post("decisions", 200, "/v1/decisions", _asking(send, "decisions"))
    send.post("decisions: 400", 400, "/v1/decisions", {"input": told["decisions: 400"], "questions": []})
    for route, malformed in (("/moderate", 422), ("/policies/validate", 422), ("/v1/decisions", 400)):
        field = b"yaml" if route.startswith("/policies") else b"input"
        for kind, body, status in (
            ("no JSON", b'{"%s": "%s"' % (field, told[f"{route}: no JSON"].encode()), 400),
            ("no UTF-8", b'{"%s": "%s \xff"}' % (field, told[f"{route}: no UTF-8"].encode()), 400),
            ("a field", {told[f"{route}: a field"]: told[f"{route}: its value"]}, malformed),
            ("deep", b'{"input": ' + b"[" * 9_000 + json.dumps(told[f"{route}: deep"]).encode(), malformed),
            ("large", told[f"{route}: large"].encode() * 50_000, 413),
        ):
            send.post(f"{route}: {kind}", status, route, body)
        send.post(f"{route}: no key", 401, route, {"input": told[f"{route}: no key"]}, Authorization="")
        wrong = f"Bearer guard_00000000_{send.word(f'{route}: wrong key')}"
        send.post(f"{route}: wrong key", 401, route, {"input": "x"}, Authorization=wrong)
    send.post("moderate: policy", 404, "/moderate", {"input": "x", "policy": told["moderate: policy"]})
    send.post("moderate: category", 422, "/moderate", {"input": "x", "categories": [told["moderate: category"]]})
    send.post("moderate: role", 422, "/moderate", {"input": [{"role": told["moderate: role"], "content": "x"}]})
    body = {"input": told["moderate: forbidden"], "policy": told["moderate: forbidden policy"]}
    send.post("moderate: forbidden", 403, "/moderate", body, Authorization=f"Bearer {narrow}")
    for place, status in (("moderate: the last", 200), ("moderate: one more", 429)):
        send.post(place, status, "/moderate", {"input": told[place]}, Authorization=f"Bearer {slow}")
    yaml = POLICY.format(name="mine", deadline=1_000).replace("grumpf", told["validate: a word"])
    send.post("validate: a word", 200, "/policies/validate", {"yaml": yaml})
    for kind in ("name: %s\n", "patterns: {x: {category: %s, regex: '(%s'}}\n", "%s: [\n", "extends: %s\n"):
        send.post(
            f"validate: {kind}", 200, "/policies/validate", {"yaml": kind.replace("%s", told[f"validate: {kind}"])}
        )


def _asking(send: Sender, place: str) -> dict[str, Any]:
    """A question whose every text is a canary."""
    told = send.told
    choices = [{"value": told[f"{place}, value {n}"], "description": told[f"{place}, description"]} for n in range(2)]
    questions = [
        {"type": "predicate", "instructions": told[f"{place}, statement"], "name": told[f"{place}, name"]},
        {"type": "choice", "instructions": told[f"{place}, choice"], "choices": choices},
    ]
    return {"input": told[place], "questions": questions, "safety_identifier": told[f"{place}, identifier"]}


def _azure(send: Sender) -> None:
    """Azure AI Content Safety's routes and their errors."""
    told, key = send.told, {"Authorization": "", "Ocp_Apim_Subscription_Key": send.key}
    analyze, shield, image = (
        f"/contentsafety/{name}" for name in ("text:analyze", "text:shieldPrompt", "image:analyze")
    )
    version = "?api-version=2024-09-01"
    body = {"text": f"You grumpf, {told['azure: text']}", "blocklistNames": ["one_word"]}
    answer = send.post("azure: text", 200, analyze + version, body, **key).json()
    assert answer["blocklistsMatch"], "the list was to match"
    body = {"userPrompt": told["azure: prompt"], "documents": [told["azure: document"]]}
    send.post("azure: prompt", 200, shield + version, body, **key)
    send.post("azure: image", 400, image + version, {"image": {"blobUrl": f"https://x/{send.word('azure: image')}"}})
    send.post("azure: version", 400, f"{analyze}?api-version={send.word('azure: version')}", {"text": "x"})
    for field in ("text", "categories", "blocklistNames", "haltOnBlocklistHit", "outputType"):
        wrong = {field: {told[f"azure: {field}"]: 1}} if field == "text" else {field: [told[f"azure: {field}"]]}
        send.post(f"azure: {field}", 400, analyze + version, {"text": "x"} | wrong)
    send.post("azure: no JSON", 400, analyze + version, b'{"text": "' + told["azure: no JSON"].encode())
    late = told["azure: screen late"] + " and so on without end" * 400
    for place, route, body in (("analyze", analyze, {"text": late}), ("shield", shield, {"documents": [late]})):
        send.post(f"azure: {place} late", 503, route + version, body, X_Guard_Policy="hurried")
    wrong = f"guard_00000000_{send.word('azure: wrong key')}"
    key = {"Authorization": "", "Ocp_Apim_Subscription_Key": wrong}
    send.post("azure: wrong key", 401, analyze + version, {"text": told["azure: no key"]}, **key)


def _llm_guard(send: Sender) -> None:
    """LLM Guard's routes and their errors."""
    told = send.told
    for route in ("/analyze/prompt", "/analyze/output", "/scan/prompt", "/scan/output"):
        mail = f"You grumpf, {told[route]}, {send.word(route)}@example.com"
        body = {"prompt": mail, "output": mail, "scanners_suppress": [told[f"{route}: scanner"]]}
        answer = send.post(route, 200, route, body).json()
        assert not answer["is_valid"]
        send.post(f"{route}: no JSON", 422, route, b'{"prompt": "' + told[f"{route}: no JSON"].encode())
        send.post(f"{route}: a shape", 422, route, {"prompt": {told[f"{route}: a shape"]: 1}, "output": "x"})
        wrong = f"Bearer guard_00000000_{send.word(f'{route}: wrong key')}"
        send.post(f"{route}: wrong key", 401, route, body, Authorization=wrong)
        late = told[f"{route}: screen late"] + " and so on without end" * 400
        body = {"prompt": late, "output": late}
        send.post(f"{route}: screen late", 503, route, body, X_Guard_Policy="hurried")


def _perspective(send: Sender, *, narrow: str) -> None:
    """Perspective's dialect, with keys in its addresses."""
    told, route = send.told, "/v1alpha1/comments:analyze"

    def body(place: str, **more: Any) -> dict[str, Any]:
        return {"comment": {"text": told[place]}, "requestedAttributes": {"TOXICITY": {}}} | more

    place = "perspective: a text"
    fields = {name: told[f"{place}, {name}"] for name in ("clientToken", "sessionId", "communityId")}
    fields["context"] = {"entries": [{"text": told[f"{place}, context"]}]}
    send.post(place, 200, f"{route}?key={send.key}", body(place, **fields), Authorization="")
    place = "perspective: html"
    comment = {"text": f"<p title='{told[f'{place}, a title']}'>{told[place]}</p>", "type": "HTML"}
    send.post(place, 200, route, body(place, comment=comment, spanAnnotations=True))
    place = "perspective: attribute"
    send.post(place, 400, route, body(place, requestedAttributes={told[place]: {}}))
    place = "perspective: score type"
    send.post(place, 400, route, body(place, requestedAttributes={"THREAT": {"scoreType": told[place]}}))
    place = "perspective: type"
    send.post(place, 400, route, body(place, comment={"text": "x", "type": told[place]}))
    place = "perspective: language"
    # What the encoder reads by itself; in what it cannot read, a judge scores all.
    plain = {"text": "The meeting moved to ten o'clock, bring the slides please."}
    send.post(place, 400, route, body(place, comment=plain, languages=[told[place]]))
    place = "perspective: no JSON"
    send.post(place, 400, route, ("{comment: {text: " + told[place]).encode())
    place = "perspective: policy"
    send.post(place, 404, route, body(place), X_Guard_Policy=send.word(place))
    place = "perspective: forbidden"
    send.post(place, 403, f"{route}?key={narrow}", body(place), Authorization="", X_Guard_Policy="default")
    place = "perspective: wrong key"
    send.post(place, 401, f"{route}?key=guard_00000000_{send.word(place)}", body(place), Authorization="")
    place = "perspective: suggestion"
    send.post(place, 501, "/v1alpha1/comments:suggestscore", body(place))
    place = "perspective: screen late"
    late = {"text": told[place] + " and so on without end" * 4_000}
    send.post(place, 503, route, body(place, comment=late), X_Guard_Policy="hurried")
    address = f"/$discovery/rest?version={send.word('perspective: version')}&key={send.key}"
    response = send.server.client.get(address)
    send.sent.statuses["perspective: version"] = (404, response.status_code)


def _chats(send: Sender, upstream: Any) -> None:
    """The chat, whole and streamed, and everything that its upstream may do wrong."""
    told = send.told
    azure = f"/openai/deployments/{quote(told['chat: deployment'])}/chat/completions"
    for stream in (False, True):
        name = "stream" if stream else "whole"

        def says(text: str, stream: bool = stream) -> Callable[[Any], Any]:
            tokens = [text[n : n + 4] for n in range(0, len(text), 4)]
            return lambda body: chunks_of(tokens) if stream else an_answer(text)

        upstream.script = says(f"Hello. {told[f'{name}: answer']}. Bye.")
        answer = send.chat(f"{name}: allowed", 200, stream=stream)
        assert stream or told[f"{name}: answer"] in answer.text
        send.chat(f"{name}: azure", 200, stream=stream, route=azure)
        send.chat(f"{name}: block", 200, stream=stream, say="You grumpf. ")
        send.chat(f"{name}: error style", 400, stream=stream, say="grumpf ", guard={"block_style": "openai_error"})
        send.chat(f"{name}: mistral style", 403, stream=stream, say="grumpf ", guard={"block_style": "mistral"})
        upstream.script = says(f"You grumpf. {told[f'{name}: blocked answer']}.")
        send.chat(f"{name}: blocked", 200, stream=stream)
        upstream.script = says("To [EMAIL_1], not to other@example.org.")
        mail = f"{send.word(f'{name}: redacted')}@example.com "
        answer = send.chat(f"{name}: redacted", 200, stream=stream, say=mail)
        assert stream or mail.strip() in answer.text, "the address was to be put back"
        call = {"id": "1", "type": "function", "function": {"name": "mail", "arguments": "{}"}}
        call["function"]["arguments"] = json.dumps({"to": told[f"{name}: arguments"]})  # type: ignore[index]
        delta = [a_chunk(tool_calls=[{"index": 0} | call]), a_chunk(finish="tool_calls")]
        upstream.script = lambda body, d=delta, c=call, s=stream: d if s else an_answer(None, tool_calls=[c])
        send.chat(f"{name}: tool call", 200, stream=stream, tools=[{"type": "function", "x": told[f"{name}: tool"]}])
        refusal = json.dumps({"error": {"message": told[f"{name}: refusal"], "code": told[f"{name}: code"]}}).encode()
        for kind, script, status in (
            ("401", (401, refusal, {"Content-Type": "application/json"}), 401),
            ("429", (429, refusal, {"Retry-After": "7"}), 429),
            ("500", (500, f"<html>{told[f'{name}: page']}".encode(), {}), 500),
            ("302", (302, b"", {"Location": f"http://127.0.0.1:9/{send.word(f'{name}: location')}"}), 502),
            ("nonsense", (200, f"hello {told[f'{name}: nonsense']}".encode(), {}), 502),
            ("choices", {"choices": told[f"{name}: choices"]}, 502),
            ("silence", [1.5], 504),
        ):
            upstream.script = lambda body, script=script: script
            if kind == "choices" and stream:
                continue
            send.chat(f"{name}: upstream {kind}", status, stream=stream)
    for kind, rest in (
        ("cut", [None]),
        ("malformed", [b"data: {" + told["stream: malformed"].encode() + b"\n\n"]),
        ("no UTF-8", [b'data: {"x": "' + told["stream: no UTF-8"].encode() + b' \xff"}\n\n']),
        ("a shape", [{"choices": [told["stream: a shape"]]}]),
        ("silent", [1.5]),
    ):
        script = [a_chunk(f"Hello {told[f'stream: {kind}, before']}. And on. "), *rest]
        upstream.script = lambda body, script=script: script
        send.chat(f"stream: {kind}", 200, stream=True)
    upstream.script = lambda body: an_answer("Hello.")
    for field in ("model", "guard", "moderation", "guardrails", "stream", "messages"):
        send.chat(f"chat: {field}", 400, **{field: {send.told[f"chat: {field}, value"]: 1}})
    send.chat("chat: policy", 404, guard={"policy": told["chat: policy name"]})
    send.post("chat: no JSON", 400, azure, b"{" + told["chat: no JSON"].encode())
    send.post("chat: deep", 400, azure, b'{"x": ' + b"[" * 9_000 + json.dumps(told["chat: deep"]).encode())
    send.post("chat: large", 413, azure, told["chat: large"].encode() * 50_000)
    send.post("chat: no key", 401, azure, {"model": told["chat: no key"]}, Authorization="")
    theirs = f"Bearer {send.word('chat: their key')}"
    send.post("chat: header", 404, azure, {"model": "m"}, X_Guard_Policy=send.word("chat: header"), api_key=theirs,
              X_Upstream_Authorization=theirs, OpenAI_Organization=send.word("chat: organization"))  # fmt: skip


def _moderations(send: Sender, *, narrow: str) -> None:
    """OpenAI's and Mistral's moderation routes, in every form, and their errors."""
    told = send.told
    texts, chats, mistral = "/v1/moderations", "/v1/chat/moderations", "mistral-moderation-latest"
    image = {"type": "image_url", "image_url": {"url": f"https://example.com/{send.word('moderations: image')}"}}
    part = {"type": "text", "text": told["moderations: a part"]}
    turns = [
        {"role": "user", "content": told["moderations: context"], "name": send.word("moderations: name")},
        {"role": "assistant", "content": [{"type": "text", "text": told["moderations: last turn"]}, image]},
    ]
    for place, route, given in (
        ("a text", texts, told["moderations: text"]),
        ("harm", texts, f"You grumpf, {told['moderations: harm']}, {send.word('moderations: mail')}@example.com"),
        ("texts", texts, [told["moderations: first"], told["moderations: second"]]),
        ("parts", texts, [part, image]),
        ("a conversation", chats, turns),
        ("conversations", chats, [turns, [{"role": "user", "content": told["moderations: another"]}]]),
    ):
        asked = {"input": given, "user": told[f"moderations: {place}, user"]}
        send.post(f"moderations: {place}", 200, route, asked | {"model": told[f"moderations: {place}, model"]})
        send.post(f"moderations: {place}, Mistral's", 200, route, asked | {"model": mistral})
    late = told["moderations: late"] + " and so on without end" * 4_000
    hurried = {"model": mistral, "guard": {"policy": "hurried"}}
    send.post("moderations: late", 503, texts, {"input": late} | hurried)
    send.post("moderations: late turn", 503, chats, {"input": [{"role": "user", "content": late}]} | hurried)
    for place, route, more in (
        ("a type", texts, {"input": [{"type": told["moderations: a type"]}]}),
        ("mixed", texts, {"input": [part, told["moderations: mixed"]]}),
        ("model", texts, {"input": "x", "model": [told["moderations: model"]]}),
        ("guard", texts, {"input": "x", "guard": {told["moderations: guard"]: 1}}),
        ("rail", texts, {"input": "x", "guard": {"rail": told["moderations: rail"]}}),
        ("a role", chats, {"input": [{told["moderations: a role"]: "user"}]}),
        ("content", chats, {"input": [{"role": "user", "content": {"text": told["moderations: content"]}}]}),
        ("a string", chats, {"input": told["moderations: a string"]}),
    ):
        send.post(f"moderations: {place}", 400, route, more)
    for route in (texts, chats):
        broken = b'{"input": "' + told[f"{route}: no JSON"].encode()
        send.post(f"{route}: no JSON", 400, route, broken)
        send.post(f"{route}: no UTF-8", 400, route, b'{"input": "' + told[f"{route}: no UTF-8"].encode() + b' \xff"}')
        send.post(f"{route}: large", 413, route, told[f"{route}: large"].encode() * 50_000)
        send.post(f"{route}: no key", 401, route, {"input": told[f"{route}: no key"]}, Authorization="")
        policy = {"guard": {"policy": told[f"{route}: policy"]}}
        asked = {"input": "x"} if route == texts else {"input": turns}
        send.post(f"{route}: policy", 404, route, asked | policy)
        send.post(f"{route}: forbidden", 403, route, asked | policy, Authorization=f"Bearer {narrow}")


def _litellm(send: Sender, *, slow: str) -> None:
    """LiteLLM's guardrail, on both sides, and its errors."""
    told, path = send.told, "/beta/litellm_basic_guardrail_api"
    for side in ("request", "response"):
        name = f"litellm: {side}"
        messages = [{"role": "user", "content": told[f"{name}, text"]}]
        arguments = json.dumps({told[f"{name}, field"]: told[f"{name}, argument"]})
        body = {
            "input_type": side,
            "texts": [told[f"{name}, text"]],
            "structured_messages": messages,
            "images": [told[f"{name}, image"]],
            "tools": [{"type": "function", "function": {"name": "x", "description": told[f"{name}, tool"]}}],
            "tool_calls": [{"function": {"name": told[f"{name}, call"], "arguments": arguments}}],
            "request_data": {"user_api_key_user_email": told[f"{name}, user"]},
            "request_headers": {"x": told[f"{name}, header"]},
            "additional_provider_specific_params": {"x": told[f"{name}, parameter"]},
        }
        send.post(name, 200, path, body)
        mail = f"{send.word(f'{name}, mail')}@example.com"
        answer = send.post(f"{name}: redacted", 200, path, {"input_type": side, "texts": [mail]}).json()
        assert answer["texts"] == ["[EMAIL_1]"], "the address was to be redacted"
        harm = f"You grumpf, {told[f'{name}, harm']}"
        assert send.post(f"{name}: block", 200, path, {"input_type": side, "texts": [harm]}).json()["blocked_reason"]
    late = told["litellm: screen late"] + " and so on without end" * 4_000
    send.post("litellm: screen late", 200, path, {"texts": [late]}, X_Guard_Policy="hurried")
    send.post("litellm: policy", 404, path, {"texts": ["x"]}, X_Guard_Policy=send.word("litellm: policy"))
    for kind, body, status in (
        ("no JSON", b'{"texts": ["%s"' % told["litellm: no JSON"].encode(), 400),
        ("a field", {"texts": {told["litellm: a field"]: 1}}, 400),
        ("parameter", {"additional_provider_specific_params": {"policy": [told["litellm: parameter"]]}}, 400),
        ("too many", {"texts": [told["litellm: too many"]] * 9}, 400),
        ("large", told["litellm: large"].encode() * 50_000, 413),
    ):
        send.post(f"litellm: {kind}", status, path, body)
    send.post("litellm: no key", 401, path, {"texts": [told["litellm: no key"]]}, Authorization="")
    wrong = {"x_api_key": f"guard_00000000_{send.word('litellm: wrong key')}"}
    send.post("litellm: wrong key", 401, path, {"texts": ["x"]}, Authorization="", **wrong)
    # Its one request of this minute may be there again.
    send.server.client.post(path, json={"texts": ["x"]}, headers={"Authorization": f"Bearer {slow}"})
    send.post("litellm: slow", 429, path, {"texts": [told["litellm: slow"]]}, Authorization=f"Bearer {slow}")


def _wire(send: Sender, judge: Any, upstream: Any) -> None:
    """What is no request of any route, and clients that leave."""
    word = send.word
    for method, path, status in (
        ("GET", f"/{word('path')}?q={word('query')}", 404),
        ("GET", f"/policies/{quote(send.told['path: policy'])}", 404),
        ("GET", f"/openai/deployments/{word('path: deployment')}/x", 404),
        ("PUT", f"/moderate?q={word('method')}", 405),
        ("GET", f"/v1/chat/completions?q={word('method: chat')}", 405),
        ("GET", f"/v1/models?q={word('models')}", 200),
        ("GET", f"/policies?q={word('policies')}", 200),
    ):
        headers = {"Authorization": f"Bearer {send.key}", "Cookie": word("cookie"), "User-Agent": word("agent")}
        response = send.server.client.request(method, path, headers=headers)
        send.sent.statuses[f"{method} {path}"] = (status, response.status_code)
    odd = f"{word('request id')} {word('request id')}"
    send.post("request id", 200, "/moderate", {"input": "x"}, X_Request_Id=odd)
    malformed = [f"{word('no method')} / HTTP/1.1", f"GET /{word('no version')} HTTP/one"]
    for line in (*malformed, f"GET / HTTP/1.1\r\n{word('no header')}"):
        assert send.raw(f"{line}\r\n\r\n".encode(), patience=2.0).startswith(b"HTTP/1.1 400")
    head = f"GET / HTTP/1.1\r\nUpgrade: {word('upgrade')}\r\nConnection: Upgrade\r\nHost: {word('host')}\r\n\r\n"
    assert send.raw(head.encode(), patience=2.0).startswith(b"HTTP/1.1")
    half = f"POST /moderate HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {send.key}\r\nContent-Length: 999\r\n\r\n"
    send.raw(f'{half}{{"input": "{send.told["half a body"]}'.encode(), patience=0.1)
    judge.delay = 0.6
    send.left("moderate", "/moderate", {"input": send.told["left: moderate"]})
    send.left("decisions", "/v1/decisions", _asking(send, "left: decisions"))
    judge.delay = 0.0
    upstream.script = lambda body: [0.4, a_chunk(send.told["left: answer"])]
    for stream in (False, True):
        messages = [{"role": "user", "content": send.told[f"left: chat {stream}"]}]
        send.left("chat", "/v1/chat/completions", {"model": "m", "messages": messages, "stream": stream})
    # More texts than may wait, in long ones: 503.
    long = [f"{send.told[f'waiting {n}']} " + "A long and quiet sentence. " * 600 for n in range(4)]
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(send.post, "waiting", 200, "/moderate", {"input": long})
        time.sleep(0.3)
        send.post("overload", 503, "/moderate", {"input": [send.told["overload"], *long[1:]]})
        first.result()


def _trace(done: Sent, send: Sender, collector: Collector) -> None:
    """The spans of everything so far: those of the last request are the last to come."""
    last = "4bf92f3577b34da6a3ce929d0e0e4736"
    send.post(
        "trace", 200, "/moderate", {"input": send.told["trace: text"]}, traceparent=f"00-{last}-00f067aa0ba902b7-01",
        tracestate=f"x={send.word('trace: state')}", baggage=f"user={send.word('trace: baggage')}",
    )  # fmt: skip
    malformed = f"00-{send.word('trace: malformed')}-00f067aa0ba902b7-01"
    send.post("trace: malformed", 200, "/moderate", {"input": "x"}, traceparent=malformed)
    _until(lambda: last in {span.trace_id for span in list(collector.spans) if span.kind == "server"})
    done.kept["traces"] = b"".join(collector.bodies)


def _gather(done: Sent, send: Sender, redis: RedisServer, folders: tuple[Path, ...]) -> None:
    """Everything but the log and the files, which a crash may add to."""
    key = {"Authorization": f"Bearer {send.key}"}
    get = send.server.client.get
    done.kept |= {"metrics": get("/metrics").content, "ready": get("/readyz").content, "files": b""}
    done.kept |= {"policies": get("/policies", headers=key).content, "schema": get("/schema").content}
    client = redis.client
    done.kept["redis"] = b"".join(
        key + (client.get(key) if client.type(key) == b"string" else repr(client.hgetall(key)).encode())
        + (client.dump(key) or b"")
        for key in client.scan_iter(count=1_000)
    )  # fmt: skip
    # Compressed, nothing could be found in it.
    client.config_set("rdbcompression", "no")
    client.save()
    done.kept["rdb"] = b"".join(path.read_bytes() for path in Path(client.config_get("dir")["dir"]).glob("*.rdb"))
    process = psutil.Process(send.server.process.pid)
    done.kept["arguments"] = "\0".join(process.cmdline()).encode()
    done.kept["environment"] = "\0".join(f"{name}={value}" for name, value in process.environ().items()).encode()
    assert process.cwd() == str(folders[0])


def _until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_every_place_was_reached(sent: Sent):
    """Each request came to the answer that it was sent for; there is something to search in."""
    wrong = {place: both for place, both in sent.statuses.items() if both[0] != both[1]}
    assert not wrong
    assert {status for status, _ in sent.statuses.values()} == {
        200, 400, 401, 403, 404, 405, 413, 422, 429, 500, 501, 502, 503, 504,
    }  # fmt: skip
    assert len(sent.told) > 150
    for event in (b"moderation_done", b"request_done", b"stage_failed", b"access_refused", b"Fatal Python error"):
        assert event in sent.kept["log"], event
    assert b"request_failed" not in sent.kept["log"]
    assert b"Traceback" not in sent.kept["log"]
    # What the judge's server says of its failure.
    assert b"THE TEXT" not in sent.kept["log"]
    assert b'"strict"' in sent.kept["policies"]
    assert b"guard:v" in sent.kept["redis"]
    assert b"guard:v" in sent.kept["rdb"]
    for said in (b"POST /moderate", b"output rail", b"check", b"rates", b"screen_failed", b"judge_failed", b"timeout"):
        assert said in sent.kept["traces"], said
    assert set(sent.kept) == set(KEPT)


@pytest.mark.parametrize("where", KEPT)
def test_no_canary_stays(sent: Sent, where: str):
    """No text of a client's, no key; the service's own secrets are in its environment alone."""
    own = {} if where == "environment" else sent.own
    assert found(sent.told | own, {where: sent.kept[where]}) == []


def test_the_services_own_secrets_are_where_they_were_put(sent: Sent):
    """Which shows that the environment was read, and that the search finds what is there."""
    assert len(found(sent.own, {"environment": sent.kept["environment"]})) == len(sent.own)


@pytest.mark.parametrize("where", KEPT)
def test_a_planted_canary_is_found(sent: Sent, where: str):
    """In every form, in the middle of what really stays."""
    canaries = Canaries()
    words = canaries["planted"].split()
    kept = sent.kept[where]
    half = len(kept) // 2
    assert found(canaries, {where: kept}) == []
    for form in forms(words[1]):
        assert found(canaries, {where: kept[:half] + form + kept[half:]}) == [f"planted in {where}"]
    for shift in range(3):
        hidden = base64.b64encode(b"abc"[:shift] + words[0].encode() + b" and more")
        assert found(canaries, {where: kept + hidden})
