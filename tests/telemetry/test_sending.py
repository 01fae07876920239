"""How spans get to their collector, what becomes of them where they do not, and what a start without it says."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time

import pytest

from guard.config import TraceSettings
from guard.errors import ConfigError
from guard.service import tracing
from guard.telemetry import CollectorChanged, ModerationFailed, RequestDone, SpansDone, otlp, traced
from guard.telemetry.sampling import Sampling
from guard.telemetry.traces import OPEN_SPAN, UNTRACED, facts_of
from guard.testing import Recorder
from tests.chat.doubles import running_upstream
from tests.conftest import ROOT, serving

ALL = {"GUARD_TRACE_SHARE": "1", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}


def a_dead_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def a_tracer(url: str, listener: Recorder, share: float = 1.0) -> otlp.OtlpTracer:
    return otlp.OtlpTracer(url, Sampling(share, 0.0), listener)


def counted(server, outcome: str) -> float:
    text = server.client.get("/metrics").text
    (line,) = [line for line in text.splitlines() if line.startswith(f'guard_trace_spans_total{{outcome="{outcome}"}}')]
    return float(line.split()[1])


def until(holds, seconds: float = 20.0) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_what_waits_is_sent_when_the_service_stops(collector):
    """Long before a batch would have been due."""
    with serving(GUARD_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="60000", **ALL) as server:
        for number in range(3):
            server.moderate(f"Text {number}.")
        assert not collector.spans
        server.process.terminate()
        assert server.process.wait(20) == 0
    assert len(collector.named("POST /moderate")) == 3
    assert len(collector.bodies) == 1


@pytest.mark.parametrize(("share", "least", "most"), [("0", 0, 0), ("0.5", 140, 260)])
def test_the_share_is_the_servers(collector, share, least, most):
    """Of 400 requests; six standard deviations to each side. Flags of clients are worth nothing here."""
    settings = {"GUARD_TRACE_SHARE": share, "GUARD_TRACE_ASKED_PER_SECOND": "0"}
    with serving(GUARD_OTLP_ENDPOINT=collector.url, **settings) as server:
        for number in range(400):
            headers = {"traceparent": f"00-{number + 1:032x}-00f067aa0ba902b7-01"} if number % 2 else {}
            assert server.client.get("/healthz", headers=headers).status_code == 200
    assert least <= len(collector.named("GET /healthz")) <= most


def test_a_dead_collector_delays_nobody_and_is_told_of_once():
    """However many batches it loses; they are counted. What is wrong with it is in the one warning."""
    settings = ALL | {"OTEL_BSP_SCHEDULE_DELAY": "20"}
    with serving(GUARD_OTLP_ENDPOINT=a_dead_address(), **settings) as server:
        server.moderate("Warm.")
        slowest, failed = 0.0, []
        for _ in range(3):
            for _ in range(20):
                begun = time.monotonic()
                assert server.moderate("Warm.").status_code == 200
                slowest = max(slowest, time.monotonic() - begun)
            lost = failed[-1] if failed else 0.0
            until(lambda lost=lost: counted(server, "failed") > lost)
            failed.append(counted(server, "failed"))
        assert slowest < 0.5
        assert counted(server, "sent") == 0
        begun = time.monotonic()
        server.process.terminate()
        assert server.process.wait(20) == 0
        assert time.monotonic() - begun < otlp.CLOSE_SECONDS + 4.0
        until(lambda: "collector_failed" in server.log())
        lines = [json.loads(line) for line in server.log().splitlines()]
    told = [line for line in lines if line["level"] in ("warning", "error")]
    assert [(line["event"], line["error"]) for line in told] == [("collector_failed", "ConnectionError")]


@pytest.mark.parametrize("status", [401, 302])
def test_a_collector_that_comes_back_is_told_of(collector, status):
    """What it would not take is lost; what comes later arrives. A status says what it did not like."""
    collector.status = status
    settings = ALL | {"OTEL_BSP_SCHEDULE_DELAY": "20"}
    with serving(GUARD_OTLP_ENDPOINT=collector.url, **settings) as server:
        server.moderate("Lost.")
        until(lambda: "collector_failed" in server.log())
        assert not collector.spans
        collector.status = 200
        server.moderate("Kept.")
        until(lambda: "collector_answers" in server.log())
        log = server.log()
    assert log.count("collector_failed") == log.count("collector_answers") == 1
    assert f'"error":"{status}"' in log
    assert collector.named("POST /moderate")


def test_a_collector_that_hangs_does_not_hold_a_stop(collector):
    """Longer than it may."""
    collector.delay = 60.0
    with serving(GUARD_OTLP_ENDPOINT=collector.url, GUARD_TRACE_SHARE="1") as server:
        server.moderate("x")
        begun = time.monotonic()
        server.process.terminate()
        assert server.process.wait(20) == 0
    assert otlp.CLOSE_SECONDS - 1.0 < time.monotonic() - begun < otlp.CLOSE_SECONDS + 6.0


async def test_what_finds_no_room_is_dropped_and_counted(collector, monkeypatch):
    """What waits is bounded, what is on its way included."""
    monkeypatch.setattr(otlp, "MOST_WAITING", 512)
    collector.delay = 1.0
    recorder = Recorder()
    tracer = a_tracer(collector.url, recorder)
    for _ in range(1_000):
        with tracer.begin(b""):
            pass
    await tracer.close()
    told = dict.fromkeys(("sent", "dropped", "failed"), 0)
    for event in recorder.events:
        if isinstance(event, SpansDone):
            told[event.outcome] += event.spans
    assert told["sent"] + told["dropped"] == 1_000
    assert 512 <= told["sent"] == len(collector.spans) < 1_000
    assert not any(isinstance(event, CollectorChanged) for event in recorder.events)


async def test_a_trace_has_an_end_to_its_spans(collector, monkeypatch):
    """The first tells how many are missing; what is called in one of those still belongs to the trace."""
    monkeypatch.setattr(otlp, "MOST_SPANS", 10)
    tracer = a_tracer(collector.url, Recorder())
    with tracer.begin(b"") as first:
        for _ in range(8):
            with traced("kept"):
                pass
        with traced("around") as around:
            for _ in range(3):
                with traced("left out") as left, traced("inside of it"):
                    assert left.headers() == around.headers()
            assert OPEN_SPAN.get() is around
        first.told(RequestDone("/x", "GET", 200, 0.1))
    await tracer.close()
    assert sorted(span.name for span in collector.spans) == ["GET /x", "around", *["kept"] * 8]
    assert collector.named("GET /x")[0].facts["guard.spans_left_out"] == 6


async def test_an_error_leaves_its_kind_and_not_its_words(collector):
    """The span ends, and the one around it is open again."""
    tracer = a_tracer(collector.url, Recorder())
    with tracer.begin(b"") as first:
        with pytest.raises(RuntimeError), traced("work"):
            raise RuntimeError("about the text: zyxw")
        assert OPEN_SPAN.get() is first
    assert OPEN_SPAN.get() is UNTRACED
    await tracer.close()
    (work,) = collector.named("work")
    assert (work.failed, work.facts, work.raw.status.message) == (True, {"error.type": "RuntimeError"}, "")
    assert not work.raw.events
    assert not any(b"zyxw" in body for body in collector.bodies)


async def test_the_open_span_is_each_tasks_own(collector):
    """What a task opens is not seen beside it; what it is begun in is its parent."""
    tracer = a_tracer(collector.url, Recorder())

    async def work(name: str) -> None:
        with traced(name):
            await asyncio.sleep(0.01)
            with traced(f"in {name}"):
                await asyncio.sleep(0.01)

    with tracer.begin(b"") as first:
        await asyncio.gather(work("a"), work("b"))
    await tracer.close()
    assert collector.tree(first.trace_id) == {"HTTP": {"a": {"in a": {}}, "b": {"in b": {}}}}


async def test_what_is_not_recorded_carries_one_trace_along():
    """Made up once, the same for all that are called; nothing is ended, nothing sent."""
    recorder = Recorder()
    tracer = a_tracer(a_dead_address(), recorder, share=0.0)
    first = tracer.begin(b"")
    assert first.headers() == first.child("x", calls=True).headers()
    assert first.headers()["traceparent"].endswith("-00")
    assert first.headers() != tracer.begin(b"").headers()
    assert first.trace_id == ""
    await tracer.close()
    assert not recorder.events


@pytest.mark.parametrize(
    ("event", "name", "error"),
    [
        (RequestDone("/moderate", "POST", 200, 0.1), "POST /moderate", ""),
        (RequestDone("/moderate", "POST", 422, 0.1), "POST /moderate", ""),
        (RequestDone("/moderate", "POST", 500, 0.1), "POST /moderate", "500"),
        (RequestDone("unmatched", "GET", 404, 0.1), "GET", ""),
        (RequestDone("unmatched", "JANE", 405, 0.1), "HTTP", ""),
        (ModerationFailed("p", "screen", "words of an error", 2), "", "screen_failed"),
    ],
)
def test_a_span_is_called_after_its_route(event, name, error):
    """Never after what a client wrote; errors are kinds."""
    facts = facts_of(event)
    assert (facts.name, facts.error) == (name, error)
    assert not {"JANE", "words of an error"} & set(facts.attributes.values())


def guard(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GUARD_", "OTEL_"))}
    env |= {"GUARD_PORT": "0"} | environment
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=env, timeout=100)


SERVE = "import sys; sys.argv = ['guard', 'serve']; from guard.cli import main; main()"


def test_without_the_extra_a_start_names_what_is_missing():
    """And how to get it."""
    code = f"import sys; sys.modules['opentelemetry.exporter'] = None; {SERVE}"
    done = guard(code, GUARD_OTLP_ENDPOINT="http://localhost:4318")
    assert done.returncode == 2
    assert "GUARD_OTLP_ENDPOINT needs a package that is not installed (opentelemetry.exporter" in done.stderr
    assert "pip install 'guard-moderation[otel]'" in done.stderr


@pytest.mark.parametrize("address", ["collector:4318", "grpc://collector:4317", "http://:4318", "http://"])
def test_an_address_that_is_none_refuses_to_start(address):
    """With one that would do."""
    with pytest.raises(ConfigError, match="such as http://collector:4318"):
        tracing(TraceSettings(endpoint=address), Recorder())


def test_a_bad_variable_of_opentelemetrys_refuses_to_start(monkeypatch):
    """It says so, and not with a traceback."""
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100000")
    with pytest.raises(ConfigError, match=r"OTEL_\* variables is wrong: max_export_batch_size"):
        tracing(TraceSettings(endpoint="http://localhost:4318"), Recorder())


def test_opentelemetrys_own_word_for_off_is_understood(monkeypatch):
    """As every other service understands it."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert tracing(TraceSettings(endpoint="http://localhost:4318"), Recorder()) is None


@pytest.mark.parametrize(
    ("base", "asked"),
    [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http://c:4318/v1/traces"),
        ("https://c/otlp", "https://c/otlp/v1/traces"),
        ("http://c:4318/v1/traces", "http://c:4318/v1/traces"),
    ],
)
def test_the_address_may_be_the_collectors_or_the_routes(base, asked):
    """As OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_TRACES_ENDPOINT have it."""
    assert otlp.address(base) == asked


def test_without_an_address_nothing_of_it_is_loaded():
    """redis-py loads the API's metrics where they are installed; exporter and SDK's traces are ours to load."""
    code = (
        "import sys; from guard.api.app import create_app; from guard.config import settings_from;"
        "from guard.service import build; create_app(build(settings_from()));"
        "ours = {'guard.telemetry.otlp', 'opentelemetry.exporter', 'opentelemetry.sdk.trace'};"
        "print(sorted(ours & set(sys.modules)))"
    )
    done = guard(code)
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stderr
    with_it = guard(code, GUARD_OTLP_ENDPOINT="http://localhost:4318")
    assert "guard.telemetry.otlp" in with_it.stdout


def test_without_an_address_a_clients_trace_ends_here():
    """Nobody behind Guard hears of it, and no line of the log has it."""
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    with running_upstream() as upstream, serving(GUARD_UPSTREAM_URL=upstream.url, GUARD_LOG_LEVEL="debug") as server:
        assert server.client.post("/v1/chat/completions", json=body, headers=headers).status_code == 200
        until(lambda: "request_done" in server.log())
        assert "trace" not in server.log()
    (told,) = upstream.headers
    assert "traceparent" not in told
