"""Dashboard, alerts and docs name the metrics that a running Guard has, all of them, with their labels."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from guard.telemetry import (
    AccessRefused,
    CacheFailed,
    CacheStateChanged,
    CategoryFlip,
    CollectorChanged,
    Connections,
    Event,
    KeysChanged,
    ModerationDone,
    ModerationFailed,
    PoliciesChanged,
    PrometheusListener,
    Queue,
    RailDone,
    RecordsKept,
    RequestDone,
    ShadowDone,
    ShadowDropped,
    SpansDone,
    StoreFailed,
    StoreStateChanged,
    StreamBegun,
    UpstreamDone,
)
from guard.verdict import CategoryVerdict, Verdict

A_VERDICT = Verdict(
    action="block",
    flagged=True,
    categories={"hate": CategoryVerdict(0.9, 0.5, violated=True, action="block", source="encoder")},
    degraded=True,
)


def a_moderation(**changes: object) -> ModerationDone:
    """One call with one verdict that violates, degraded."""
    fields = {
        "policy": "p", "fingerprint": "f", "rail": "input", "verdicts": (A_VERDICT,), "seconds": 0.1, "judged": 1,
        "judge_tokens": 2, "stages": (("normalise", 0.1), ("screen", 0.1)),
    }  # fmt: skip
    return ModerationDone(**(fields | changes))  # type: ignore[arg-type]


A_FLIP = CategoryFlip("hate", "flag", "block", 0.6, 0.7)
EVENTS: tuple[Event, ...] = (
    a_moderation(),
    a_moderation(partial=True),
    ModerationFailed("p", "judge", "away", 1),
    PoliciesChanged(True, ("p",)),
    RequestDone("/moderate", "POST", 200, 0.1),
    AccessRefused("forbidden"),
    KeysChanged(1),
    CacheFailed("get", "TimeoutError"),
    CacheStateChanged("get", "open"),
    UpstreamDone("u", "ok", 0.2, 0.1),
    RailDone("p", "input", "block"),
    StreamBegun("p", 0.1),
    SpansDone("sent", 1),
    CollectorChanged("failing", "503"),
    RecordsKept("p", 1),
    StoreFailed("add", "database or disk is full"),
    StoreStateChanged("database or disk is full"),
    ShadowDone("p", "f", "q", "g", "r", 0, "input", "flag", "block", (A_FLIP,)),
    ShadowDropped("p", "q", "busy"),
)

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operations.md"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "guard.json").read_text())
RULES = [
    rule for group in yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
NOT_SHOWN = {
    "guard_policy_loads_total": "counts looks at the folder; whether it is kept out now is shown",
    "process_cpu_seconds_total": "the machine's own monitoring has it",
    "process_max_fds": "a limit of the system",
    "process_open_fds": "connections are bounded by the settings",
    "process_start_time_seconds": "`up` tells of restarts",
    "process_virtual_memory_bytes": "what is resident is shown",
}
TARGETS = {"instance", "job"}
"""Labels that Prometheus adds to every sample."""


class Metric(NamedTuple):
    """A metric as it is exposed."""

    kind: str
    help: str
    labels: frozenset[str]


def told(text: str) -> dict[str, Metric]:
    """Metrics by name. When a counter began (`_created`) is the client library's, and stands beside each."""
    helps = dict(re.findall(r"^# HELP (\S+) (.*)$", text, flags=re.MULTILINE))
    kinds = dict(re.findall(r"^# TYPE (\S+) (.*)$", text, flags=re.MULTILINE))
    labels: dict[str, set[str]] = {name: set() for name in kinds}
    for sample, given in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", text, flags=re.MULTILINE):
        name = sample if sample in kinds else re.sub(r"_(bucket|sum|count)$", "", sample)
        labels[name] |= set(re.findall(r'(\w+)="', given)) - {"le"}
    return {
        name: Metric(kind, helps[name], frozenset(labels[name]))
        for name, kind in kinds.items()
        if not name.endswith("_created")
    }


@pytest.fixture(scope="module")
def metrics(server) -> dict[str, Metric]:
    """What a running server tells; the labels also of what has not happened to it."""
    registry = CollectorRegistry()
    listener = PrometheusListener(registry)
    listener.look_up(
        queues=[Queue("screen", lambda: 0, 1)],
        windows=lambda: 0,
        streams=lambda: 0,
        judge_open=None,
        connections=Connections(),
    )
    for event in EVENTS:
        listener.on_event(event)
    possible = told(generate_latest(registry).decode())
    running = told(server.client.get("/metrics").text)
    assert {name for name in running if name.startswith("guard_")} == {*possible, "guard_build_info"}
    return {name: metric._replace(labels=possible.get(name, metric).labels) for name, metric in running.items()}


class Used(NamedTuple):
    """A metric in an expression, and the labels that it is selected by."""

    name: str
    labels: frozenset[str]


def used(expression: str) -> Iterator[Used]:
    """The metrics of an expression."""
    for name, selector in re.findall(r"\b((?:guard|process)_\w+)(\{[^}]*\})?", expression):
        yield Used(name, frozenset(re.findall(r"(\w+)\s*[=!]", selector)))


def check_expression(expression: str, shown: str, metrics: dict[str, Metric]) -> set[str]:
    """Fails where an expression, or the text `shown` with it, asks for what there is not; the metrics in it."""
    names, there = set(), set(TARGETS)
    for one in used(expression):
        family = one.name
        if family not in metrics:
            family = re.sub(r"_(bucket|sum|count)$", "", one.name)
            assert metrics[family].kind == "histogram", one.name
            there.add("le")
        elif metrics[family].kind == "counter":
            assert re.search(rf"rate\({one.name}\b", expression), f"{one.name} only grows: show its rate"
        assert one.labels <= metrics[family].labels | TARGETS, expression
        there |= metrics[family].labels
        names.add(family)
    grouped = [label for labels in re.findall(r"\bby \(([^)]*)\)", expression) for label in labels.split(", ")]
    assert set(grouped) <= there, expression
    wanted = set(re.findall(r"\{\{\s*\$?(?:labels\.)?(\w+)\s*\}\}", shown))
    assert wanted <= (set(grouped) or there), f"{shown}: {expression}"
    return names


def test_the_dashboard_shows_the_metrics_that_there_are(metrics):
    """Each name and label exists, and each metric is shown or has a reason not to be."""
    targets = [target for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    assert len(targets) > 20
    shown: set[str] = set()
    for target in targets:
        found = check_expression(target["expr"], target["legendFormat"], metrics)
        assert found, target["expr"]
        shown |= found
    assert set(metrics) - shown == set(NOT_SHOWN)


def test_the_dashboard_has_no_two_panels_in_one_place():
    """Ids are unique, no panel lies on another, and each has a title and, where it shows something, says what."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24
    assert all(panel["title"] and (panel["type"] == "row" or panel["description"]) for panel in panels)


def test_the_alerts_watch_metrics_that_there_are(metrics):
    """And each leads to the part of the page that says what to do."""
    page = PAGE.read_text()
    anchors = {_anchor(line) for line in re.findall(r"^#+ (.*)$", page, flags=re.MULTILINE)}
    for rule in RULES:
        found = check_expression(rule["expr"], rule["annotations"]["summary"], metrics)
        assert found or "up{" in rule["expr"], rule["alert"]
        path, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert ROOT / path == PAGE
        assert anchor in anchors, rule["alert"]
    named = set(re.findall(r"`(Guard[A-Z]\w+)`", page))
    assert named == {rule["alert"] for rule in RULES}


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_page_lists_every_metric(metrics):
    """As the code has it: type, labels, meaning."""
    rows = re.findall(r"^\| `(guard_\w+)` \| (\w+) \| (.*?) ?\| (.*) \|$", PAGE.read_text(), flags=re.MULTILINE)
    listed = {name: Metric(kind, text, frozenset(re.findall(r"\w+", labels))) for name, kind, labels, text in rows}
    assert len(listed) == len(rows)
    assert listed == {name: metric for name, metric in metrics.items() if name.startswith("guard_")}


def test_every_metric_that_the_page_speaks_of_exists(metrics):
    """Also outside its table; and so do its links."""
    page = PAGE.read_text()
    assert set(re.findall(r"`(guard_\w+)`", page)) <= set(metrics)
    anchors = {_anchor(line) for line in re.findall(r"^#+ (.*)$", page, flags=re.MULTILINE)}
    for path, _, anchor in [link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", page)]:
        assert (PAGE.parent / path).exists() if path else anchor in anchors, (path, anchor)


def test_the_overlay_gives_both_services_what_they_read():
    """Pinned images; every file that is mounted is there, and is where the configuration looks for it."""
    services = yaml.safe_load((ROOT / "docker-compose.monitoring.yml").read_text())["services"]
    inside = {}
    for service in services.values():
        assert re.fullmatch(r"[\w/.-]+:v?\d+\.\d+\.\d+", service["image"])
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for source, target in [volume.split(":")[:2] for volume in service["volumes"]]:
            if source.startswith("."):
                assert (ROOT / source).exists(), source
                inside[target] = ROOT / source
    prometheus = yaml.safe_load(inside["/etc/prometheus/prometheus.yml"].read_text())
    assert all(f"/etc/prometheus/{file}" in inside for file in prometheus["rule_files"])
    names = {name for job in prometheus["scrape_configs"] for sd in job["dns_sd_configs"] for name in sd["names"]}
    others = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert names == set(others) - {"redis"}
    provisioning = inside["/etc/grafana/provisioning"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "guard.yml").read_text())["providers"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert inside[home].name == "guard.json"
    assert str(Path(home).parent) == provider["options"]["path"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    asked = {target["datasource"]["uid"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])}
    assert asked == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"


def test_a_second_look_at_a_text_is_a_hit_and_asks_no_stage(start_server):
    """Stages are timed, windows counted, queues shown empty with their room."""
    with start_server(GUARD_MAX_WAITING_TEXTS="300") as own:
        for _ in range(2):
            own.moderate("A plain text for the metrics.")
        text = own.client.get("/metrics").text
    for line in (
        'guard_cache_lookups_total{result="hit"} 1.0',
        'guard_cache_lookups_total{result="miss"} 1.0',
        'guard_stage_seconds_count{stage="normalise"} 2.0',
        'guard_stage_seconds_count{stage="cache"} 2.0',
        'guard_stage_seconds_count{stage="screen"} 1.0',
        'guard_stage_seconds_count{stage="judge"} 0.0',
        'guard_queue_waiting{queue="screen"} 0.0',
        'guard_queue_room{queue="screen"} 1200.0',
        "guard_encoder_windows_total 1.0",
        "guard_judge_open 0.0",
        "guard_policies_rejected 0.0",
    ):
        assert line in text.splitlines()
