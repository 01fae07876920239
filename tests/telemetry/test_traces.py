"""Traces of a running server, at a collector that reads OTLP."""

import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.chat.doubles import UpstreamServer, a_chunk, an_answer, chunks_of, running_upstream
from tests.conftest import Server, serving
from tests.doubles import JudgeServer, running_judge_server
from tests.telemetry.collector import Collector

CLIENTS = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STAGES = {"normalise": {}, "cache": {}, "screen": {}}
DOUBTFUL = "My neighbour is an absolute clown."


class Traced:
    """A server of which everything is traced, with what it calls and what it tells."""

    def __init__(self, server: Server, collector: Collector, upstream: UpstreamServer, judge: JudgeServer) -> None:
        self.server, self.collector, self.upstream, self.judge = server, collector, upstream, judge

    def trace(self, response: httpx.Response) -> str:
        """The trace of an answered request, once all of it has come: its first span is the last to end."""
        request_id = response.headers["X-Request-Id"]
        found = ""

        def logged() -> bool:
            nonlocal found
            for line in self.server.log().splitlines():
                told = json.loads(line)
                if told.get("request_id") == request_id and told["event"] == "request_done":
                    found = told["trace_id"]
            return bool(found)

        self.collector.until(logged)
        self.collector.until(
            lambda: any(s.kind == "server" and s.trace_id == found for s in list(self.collector.spans))
        )
        return found

    def tree(self, response: httpx.Response) -> Any:
        """The tree of its trace."""
        return self.collector.tree(self.trace(response))

    def spans(self, response: httpx.Response, name: str) -> list[Any]:
        """Those spans of its trace."""
        trace_id = self.trace(response)
        return [span for span in self.collector.named(name) if span.trace_id == trace_id]

    def chat(self, text: str = "Hi", **more: Any) -> httpx.Response:
        """One chat; keywords are headers, or the body's."""
        headers = more.pop("headers", {})
        body = {"model": "m", "messages": [{"role": "user", "content": text}]} | more
        return self.server.client.post("/v1/chat/completions", json=body, headers=headers)


@pytest.fixture(scope="module")
def traced_session(module_collector: Collector) -> Iterator[Traced]:
    """One server for the module."""
    with (
        running_upstream() as upstream,
        running_judge_server() as judge,
        serving(
            GUARD_OTLP_ENDPOINT=module_collector.url,
            GUARD_TRACE_SHARE="1",
            GUARD_TRACE_ASKED_PER_SECOND="1000",
            GUARD_LOG_LEVEL="debug",
            GUARD_UPSTREAM_URL=upstream.url,
            GUARD_UPSTREAM_TIMEOUT_SECONDS="0.5",
            GUARD_JUDGE_URL=judge.url,
            GUARD_JUDGE_MODEL="tiny",
            OTEL_BSP_SCHEDULE_DELAY="50",
            OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20theirs",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test,service.name=of-no-use",
            OTEL_SERVICE_NAME="my-guard",
        ) as server,
    ):
        yield Traced(server, module_collector, upstream, judge)


@pytest.fixture
def traced(traced_session: Traced) -> Iterator[Traced]:
    """That server, with servers behind it that answer well and remember nothing of other tests."""
    upstream, judge = traced_session.upstream, traced_session.judge
    for seen in (upstream.calls, upstream.headers, judge.calls, judge.headers):
        seen.clear()
    upstream.script = lambda body: chunks_of(["Hello ", "there."]) if body.get("stream") else an_answer("Hello there.")
    judge.faults, judge.delay = [], 0.0
    yield traced_session
    judge.faults = []


def traceparent(span: Any) -> str:
    return f"00-{span.trace_id}-{span.span_id}-01"


def test_a_new_text_has_a_span_for_each_stage(traced):
    """And one for each call of the judge; a known text goes no further than the cache."""
    new = traced.server.moderate(DOUBTFUL)
    tree = traced.tree(new)
    stages = tree["POST /moderate"]
    assert set(stages) == {"normalise", "cache", "screen", "judge"}
    assert {name.split("#")[0] for name in stages.pop("judge")} == {"POST /tokenize", "POST /v1/completions"}
    assert stages == STAGES
    assert traced.tree(traced.server.moderate(DOUBTFUL)) == {"POST /moderate": {"normalise": {}, "cache": {}}}
    (judging,), (screening,) = traced.spans(new, "judge"), traced.spans(new, "screen")
    assert screening.begun <= screening.ended <= judging.begun <= judging.ended


def test_the_first_span_tells_what_came_of_the_request(traced):
    """HTTP's names as OpenTelemetry has them; policy, counts and the hardest action."""
    quiet = "A quiet text about tea."
    response = traced.server.moderate([quiet, "Write to jane.doe@example.com.", quiet])
    (span,) = traced.spans(response, "POST /moderate")
    policy = response.json()["policy"]
    assert span.kind == "server"
    assert not span.failed
    facts = dict(span.facts)
    assert facts.pop("guard.judge_tokens") >= 0
    assert facts == {
        "http.request.method": "POST",
        "http.route": "/moderate",
        "http.response.status_code": 200,
        "guard.policy": policy["name"],
        "guard.policy_fingerprint": policy["fingerprint"],
        "guard.rail": "input",
        "guard.texts": 3,
        "guard.cached": 0,
        "guard.judged": response.json()["usage"]["judged"],
        "guard.degraded": 0,
        "guard.partial": False,
        "guard.action": "redact",
    }
    again = traced.server.moderate([quiet, "One more that nobody knows."])
    (span,) = traced.spans(again, "POST /moderate")
    assert (span.facts["guard.texts"], span.facts["guard.cached"]) == (2, 1)
    assert set(STAGES) <= set(traced.tree(again)["POST /moderate"])


def test_a_whole_chat_shows_its_rails_and_its_upstream(traced):
    """The upstream is told the span that asks it."""
    response = traced.chat("Tell me about whole chats.")
    assert traced.tree(response) == {
        "POST /v1/chat/completions": {"input rail": STAGES, "upstream": {}, "output rail": STAGES}
    }
    (upstream,) = traced.spans(response, "upstream")
    assert upstream.kind == "client"
    assert upstream.facts == {"guard.upstream": "upstream", "guard.outcome": "ok"}
    (headers,) = traced.upstream.headers
    assert headers["traceparent"] == traceparent(upstream)
    rails = [traced.spans(response, f"{rail} rail")[0].facts for rail in ("input", "output")]
    assert [(facts["guard.rail"], facts["guard.action"]) for facts in rails] == [
        ("input", "allow"),
        ("output", "allow"),
    ]


def test_a_streams_checks_belong_to_its_output_rail(traced):
    """While it lasts; what was still being written is marked as partial, and was not looked up."""
    tokens = [f"Word {number} is harmless. " for number in range(20)]
    traced.upstream.script = lambda body: [step for chunk in chunks_of(tokens) for step in (0.02, chunk)]
    response = traced.chat("Tell me about streams.", stream=True)
    (whole,) = traced.tree(response).values()
    assert set(whole) == {"input rail", "upstream", "output rail"}
    checks = traced.spans(response, "check")
    assert len(checks) == len(whole["output rail"]) > 1
    assert {name.split("#")[0] for name in whole["output rail"]} == {"check"}
    assert all(check.facts["guard.partial"] for check in checks[:-1])
    assert whole["output rail"]["check"] == {"normalise": {}, "screen": {}}
    (rail,), (upstream,) = traced.spans(response, "output rail"), traced.spans(response, "upstream")
    assert all(rail.begun <= check.begun <= check.ended <= rail.ended for check in checks)
    assert 0.0 < upstream.facts["guard.first_token_seconds"] < upstream.ended - upstream.begun
    assert traced.upstream.headers[0]["traceparent"] == traceparent(upstream)
    (first,) = traced.spans(response, "POST /v1/chat/completions")
    assert first.facts["guard.first_words_seconds"] > 0.0


def test_the_judge_is_told_the_span_that_asks_it(traced):
    """Each call its own."""
    response = traced.server.moderate(f"{DOUBTFUL} And a fool.")
    spans = [span for name in ("POST /tokenize", "POST /v1/completions") for span in traced.spans(response, name)]
    assert "POST /v1/completions" in {span.name for span in spans}
    assert sorted(headers["traceparent"] for headers in traced.judge.headers) == sorted(map(traceparent, spans))
    assert {span.kind for span in spans} == {"client"}


def test_decisions_show_the_judge(traced):
    """The route asks it without a moderator."""
    asked = {"input": "A rose.", "questions": [{"type": "predicate", "instructions": "A flower."}]}
    response = traced.server.client.post("/v1/decisions", json=asked)
    assert set(traced.tree(response)["POST /v1/decisions"]) == {"judge"}


def test_a_judge_that_fails_is_seen_try_by_try(traced):
    """Kinds of errors and statuses; what its server said is nowhere."""
    traced.judge.faults = [500, 503, 500]
    response = traced.server.moderate(f"{DOUBTFUL} He fails.")
    assert response.json()["results"][0]["degraded"]
    (judging,) = traced.spans(response, "judge")
    assert (judging.failed, judging.facts) == (True, {"guard.failed_texts": 1, "error.type": "judge_failed"})
    tries = [span for span in traced.collector.spans if span.parent_id == judging.span_id]
    assert [(t.facts["http.response.status_code"], t.facts.get("http.request.resend_count")) for t in tries] == [
        (500, None), (503, 1), (500, 2),
    ]  # fmt: skip
    assert all(t.failed and t.facts["error.type"] == str(t.facts["http.response.status_code"]) for t in tries)
    (first,) = traced.spans(response, "POST /moderate")
    assert (first.failed, first.facts["guard.degraded"]) == (False, 1)
    assert not any(b"repeats" in body for body in traced.collector.bodies)


@pytest.mark.parametrize(
    ("script", "outcome", "status"),
    [
        ((429, b"{}", {}), "refused", 429),
        ((200, b"nonsense", {}), "failed", 502),
        ([1.5], "timeout", 504),
    ],
)
def test_an_upstream_that_fails_is_seen(traced, script, outcome, status):
    """As what it was; a server's error is the request's, a client's is not."""
    traced.upstream.script = lambda body: script
    response = traced.chat("Fail.")
    assert response.status_code == status
    (upstream,) = traced.spans(response, "upstream")
    assert (upstream.failed, upstream.facts["error.type"]) == (True, outcome)
    (first,) = traced.spans(response, "POST /v1/chat/completions")
    assert first.failed == (status >= 500)
    assert first.facts.get("error.type") == (str(status) if status >= 500 else None)


def test_a_request_goes_on_with_its_clients_trace(traced):
    """It belongs to the client's span; nothing else that came with it goes along."""
    trace_id, span_id = CLIENTS
    headers = {"traceparent": f"00-{trace_id}-{span_id}-01", "tracestate": "theirs=1", "baggage": "user=jane"}
    response = traced.chat("On with it.", headers=headers)
    assert traced.trace(response) == trace_id
    (first,) = traced.spans(response, "POST /v1/chat/completions")
    assert (first.parent_id, first.raw.trace_state) == (span_id, "")
    (told,) = traced.upstream.headers
    assert told["traceparent"].split("-")[1] == trace_id
    assert not {"tracestate", "baggage"} & {name.lower() for name in told}


def test_what_its_client_does_not_record_is_not_recorded_here_either(traced):
    """And the servers behind learn it, or they would begin traces of their own."""
    before = len(traced.collector.spans)
    trace_id, span_id = "f" * 32, "e" * 16
    response = traced.chat("Not this one.", headers={"traceparent": f"00-{trace_id}-{span_id}-00"})
    assert traced.upstream.headers[0]["traceparent"] == f"00-{trace_id}-{span_id}-00"
    traced.trace(traced.server.moderate("The next one."))
    assert trace_id not in {span.trace_id for span in traced.collector.spans[before:]}
    done = [json.loads(line) for line in traced.server.log().splitlines() if response.headers["X-Request-Id"] in line]
    assert done
    assert not any("trace_id" in line for line in done)


@pytest.mark.parametrize("given", [["nonsense"], [f"00-{CLIENTS[0]}-{CLIENTS[1]}-01"] * 2])
def test_a_trace_that_nobody_can_read_is_begun_anew(traced, given):
    """Malformed, or more than one."""
    response = traced.server.client.post(
        "/moderate", content=b'{"input": "x"}', headers=[("traceparent", value) for value in given]
    )
    assert traced.trace(response) != CLIENTS[0]
    assert traced.spans(response, "POST /moderate")[0].parent_id == ""


def test_a_path_that_leads_nowhere_is_not_told(traced):
    """A client wrote it."""
    response = traced.server.client.get("/users/jane")
    (span,) = traced.spans(response, "GET")
    assert span.facts == {"http.request.method": "GET", "http.response.status_code": 404}
    assert not span.failed


def test_a_client_that_leaves_is_no_failure(traced):
    """What was under way is marked as given up."""
    traced.judge.delay = 1.0
    content = json.dumps({"input": f"{DOUBTFUL} He leaves."}).encode()
    url = httpx.URL(traced.server.url)
    before = len(traced.collector.named("judge"))
    with socket.create_connection((url.host, url.port)) as client:
        client.sendall(
            f"POST /moderate HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
        )
        until = time.monotonic() + 10
        while not traced.judge.calls:
            assert time.monotonic() < until
            time.sleep(0.02)
    traced.collector.until(lambda: len(traced.collector.named("judge")) > before)
    judging = traced.collector.named("judge")[-1]
    assert (judging.failed, judging.facts) == (False, {"guard.abandoned": True})


def test_work_for_several_requests_is_in_the_trace_of_one(traced):
    """The others say how many texts they waited for."""
    traced.judge.delay = 0.3
    body = {"input": f"{DOUBTFUL} Several ask."}
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(httpx.post, f"{traced.server.url}/moderate", json=body, timeout=30) for _ in range(4)]
        responses = [one.result() for one in asked]
    trees = [traced.tree(response)["POST /moderate"] for response in responses]
    assert sorted("screen" in tree for tree in trees) == [False, False, False, True]
    waited = [traced.spans(response, "POST /moderate")[0].facts.get("guard.waited_for", 0) for response in responses]
    assert sorted(waited) == [0, 1, 1, 1]


def test_opentelemetrys_own_variables_hold(traced):
    """Headers for the collector, and what this service is called."""
    traced.trace(traced.server.moderate("x"))
    assert traced.collector.headers[-1]["Authorization"] == "Bearer theirs"
    assert traced.collector.resource["service.name"] == "my-guard"
    assert traced.collector.resource["deployment.environment.name"] == "test"
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", traced.collector.resource["service.version"])


def test_what_was_sent_is_counted(traced):
    """As much as has come; nothing failed, nothing was dropped."""
    traced.trace(traced.server.moderate("Count this."))
    told = dict(
        re.findall(r'guard_trace_spans_total\{outcome="(\w+)"\} (\S+)', traced.server.client.get("/metrics").text)
    )
    assert 0 < float(told.pop("sent")) <= len(traced.collector.spans)
    assert told == {"failed": "0.0", "dropped": "0.0"}
    assert "collector_failed" not in traced.server.log()


def test_an_early_answer_belongs_to_the_request(collector, tmp_path):
    """A model that begins while its prompt is checked is asked beside the input rail, not inside of it."""
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "policy.yaml").write_text(
        "version: 1\nname: early\ndescription: Begins early.\nextends: default\nchat: {speculative: true}\n"
    )
    from tests.conftest import ROOT

    (tmp_path / "default").symlink_to(ROOT / "policies" / "default")
    settings = {"GUARD_POLICIES": str(tmp_path), "GUARD_DEFAULT_POLICY": "early", "GUARD_TRACE_SHARE": "1"}
    with running_upstream() as upstream:
        upstream.script = lambda body: [a_chunk("Hello."), a_chunk(finish="stop")]
        with serving(GUARD_OTLP_ENDPOINT=collector.url, GUARD_UPSTREAM_URL=upstream.url, **settings) as server:
            body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
            assert server.client.post("/v1/chat/completions", json=body).status_code == 200
    (trace_id,) = {span.trace_id for span in collector.spans}
    (whole,) = collector.tree(trace_id).values()
    assert set(whole) == {"input rail", "upstream", "output rail"}
    assert upstream.headers[0]["traceparent"] == traceparent(collector.named("upstream")[0])
