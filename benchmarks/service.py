"""The service: start-up, an uncached text, cached texts against an empty Litestar handler and with traces, memory."""

import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.load import Load, Running, bare_litestar, guard_server, load
from benchmarks.record import write
from guard.screen.encoder import Encoder

__all__ = ["cached", "collector", "imports", "memory", "startup", "tracing", "uncached"]

SENTENCE = (
    "The parcel that I ordered on Monday has not arrived yet and the tracking page shows nothing new so "
    "please tell me whether it was sent and when I can expect"
)
WORDS = SENTENCE.split()
COMMAND = "python -m benchmarks"


def sentence(number: int) -> str:
    """A text of 30 words that no other number gives."""
    return " ".join([*WORDS[:29], f"it{number}"])


def imports() -> None:
    """What `import guard.moderator` loads, and how long it takes."""
    heavy = "{'torch', 'redis', 'onnxruntime', 'transformers'}"
    code = f"import sys, guard.moderator; print(sorted({heavy} & set(sys.modules)))"
    times = []
    for _ in range(7):
        begun = time.perf_counter()
        loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        times.append(time.perf_counter() - begun)
    write(
        "imports", f"{COMMAND} imports", {"heavy_packages_loaded": loaded, "seconds_median": statistics.median(times)}
    )


def startup() -> None:
    """From the start of the process to the first answer of /readyz."""
    times = []
    for _ in range(7):
        with guard_server() as server:
            times.append(server.seconds_to_ready)
    write(
        "startup",
        f"{COMMAND} startup",
        {
            "seconds_median": statistics.median(times),
            "seconds_min": min(times),
            "seconds_max": max(times),
            "goal": "<= 2",
        },
    )


def uncached() -> None:
    """POST /moderate with a 30-word text that was never sent before, against the encoder alone on such a text.

    The static tier is off, or it would settle these texts and there would be nothing to compare.
    """
    encoder = Encoder.shipped()
    count = 300
    with guard_server(GUARD_STATIC_TIER="false") as server:
        port = int(server.url.rsplit(":", 1)[1])
        connection = http.client.HTTPConnection("127.0.0.1", port)
        alone, whole = [], []
        for number in range(count):
            begun = time.perf_counter()
            encoder.read(sentence(number))
            alone.append(time.perf_counter() - begun)
            body = json.dumps({"input": sentence(number)})
            begun = time.perf_counter()
            connection.request("POST", "/moderate", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
            whole.append(time.perf_counter() - begun)
            assert not answer["results"][0]["cached"]
        connection.close()
    encoder_ms, request_ms = (statistics.median(times[20:]) * 1e3 for times in (alone, whole))
    write(
        "uncached",
        f"{COMMAND} uncached",
        {
            "encoder_ms_median": encoder_ms,
            "request_ms_median": request_ms,
            "ratio": request_ms / encoder_ms,
            "goal": "<= 4",
        },
    )


def cached(rounds: int = 5, seconds: int = 4) -> None:
    """A cached verdict with metrics, request ids and limits on, against an empty handler; the two in turn."""
    ours: list[Load] = []
    bare: list[Load] = []
    body = {"input": sentence(0)}
    with guard_server() as guard, bare_litestar() as litestar:
        for server in (guard, litestar):
            load(server, body, seconds=2)
        for _ in range(rounds):
            ours.append(load(guard, body, seconds=seconds))
            bare.append(load(litestar, body, seconds=seconds))
    ratios = [a.requests_per_second / b.requests_per_second for a, b in zip(ours, bare, strict=True)]
    write(
        "cached",
        f"{COMMAND} cached",
        {
            "requests_per_second": _median(ours, "requests_per_second"),
            "bare_requests_per_second": _median(bare, "requests_per_second"),
            "ratio": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
            "cpu_us": _median(ours, "cpu_us"),
            "bare_cpu_us": _median(bare, "cpu_us"),
            "p99_ms": _median(ours, "p99"),
            "bare_p99_ms": _median(bare, "p99"),
            "errors": sum(one.errors for one in ours),
            "goal": "ratio >= 0.6",
        },
    )


class _Sink(BaseHTTPRequestHandler):
    """A collector that takes everything and keeps nothing."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def collector() -> Iterator[str]:
    """The address of one, for as long as it is used."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def tracing(rounds: int = 9, seconds: int = 3) -> None:
    """A cached verdict without traces, with one in a hundred requests traced, and with all of them; in turn."""
    names = ("off", "share_0.01", "share_1")
    found: dict[str, list[Load]] = {name: [] for name in names}
    body = {"input": sentence(0)}
    with collector() as url, guard_server(8901) as off:
        traced = {"GUARD_OTLP_ENDPOINT": url}
        with (
            guard_server(8903, GUARD_TRACE_SHARE="0.01", **traced) as some,
            guard_server(8904, GUARD_TRACE_SHARE="1", **traced) as every,
        ):
            servers = dict(zip(names, (off, some, every), strict=True))
            for server in servers.values():
                load(server, body, seconds=2)
            for number in range(rounds):
                # Each of them comes first as often as the others.
                for name in names[number % 3 :] + names[: number % 3]:
                    found[name].append(load(servers[name], body, seconds=seconds))
    figures: dict[str, float | str] = {"goal": "share_0.01: at most 10 % fewer requests a second"}
    for name, loads in found.items():
        figures |= {
            f"{name}_requests_per_second": _median(loads, "requests_per_second"),
            f"{name}_cpu_us": _median(loads, "cpu_us"),
            f"{name}_p99_ms": _median(loads, "p99"),
            f"{name}_errors": sum(one.errors for one in loads),
        }
        if name != "off":
            rounds_of = list(zip(loads, found["off"], strict=True))
            ratios = [a.requests_per_second / b.requests_per_second for a, b in rounds_of]
            figures |= {
                f"{name}_ratio": statistics.median(ratios),
                f"{name}_ratio_min": min(ratios),
                f"{name}_ratio_max": max(ratios),
                f"{name}_cpu_ratio": statistics.median([a.cpu_us / b.cpu_us for a, b in rounds_of]),
            }
    write("tracing", f"{COMMAND} tracing", figures)


def memory() -> None:
    """Resident memory of the server: fresh, and after different texts of many lengths."""
    with guard_server() as server:
        fresh = server.process.memory_info().rss
        _different_texts(server, 1_500)
        used = server.process.memory_info().rss
    figures = {"fresh_mb": fresh / 1e6, "after_1500_texts_mb": used / 1e6, "goal": "<= 400"}
    write("memory", f"{COMMAND} memory", figures)


def _different_texts(server: Running, count: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    for number in range(count):
        text = " ".join([sentence(number)] * (1 + number % 7 + 40 * (number % 100 == 0)))
        connection.request("POST", "/moderate", json.dumps({"input": text}), {"Content-Type": "application/json"})
        connection.getresponse().read()
    connection.close()


def _median(loads: list[Load], field: str) -> float:
    return float(statistics.median([getattr(one, field) for one in loads]))
