"""Who is let in, over HTTP."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from guard.access.keys import Rates, make, read, revoked, written
from tests.chat.doubles import UpstreamServer, an_answer, running_upstream
from tests.conftest import Server, serving

NOW = datetime.now(UTC)
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


class Keyed(NamedTuple):
    """A server that asks for keys, their file, what their owners send, and the upstream of its chats."""

    server: Server
    file: Path
    keys: dict[str, str]
    upstream: UpstreamServer

    def post(self, route: str, key: str | None, body: dict[str, Any], **headers: str) -> httpx.Response:
        """The answer to a request with the key of that name."""
        known = {} if key is None else {"Authorization": f"Bearer {self.keys[key]}"}
        return self.server.client.post(route, json=body, headers=known | headers)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One server for all of these tests; `shop` may use two policies, `slow` three requests a minute."""
    file = tmp_path_factory.mktemp("access") / "keys.yaml"
    rights: dict[str, dict[str, Any]] = {
        "shop": {"policies": ("strict", "children"), "tenant": "shop"},
        "shop-too": {"tenant": "shop"},
        "forum": {"block_style": "openai_error"},
        "slow": {"rates": Rates(3, None)},
        "short": {"rates": Rates(None, 40)},
        "gone": {},
    }
    made = {name: make(name, now=NOW, **more) for name, more in rights.items()}
    written(file, [key for key, _ in made.values()])
    with (
        running_upstream() as upstream,
        serving(GUARD_KEYS=str(file), GUARD_UPSTREAM_URL=upstream.url, GUARD_RELOAD_SECONDS="0.1") as server,
    ):
        yield Keyed(server, file, {name: shown for name, (_, shown) in made.items()}, upstream)


def test_nobody_comes_in_without_a_key(keyed: Keyed):
    """By any route that does something, each in its dialect's shape; the routes of operations are open."""
    for method, route, body in (
        ("POST", "/moderate", {"input": "Hi"}),
        ("POST", "/policies/validate", {"yaml": ""}),
        ("GET", "/policies", None),
        ("GET", "/policies/default", None),
    ):
        response = keyed.server.client.request(method, route, json=body)
        assert response.status_code == 401, route
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert response.json()["type"] == "urn:guard:problem:unauthenticated"
    for method, route, body in (
        ("POST", "/v1/chat/completions", CHAT),
        ("POST", "/openai/deployments/m/chat/completions", CHAT),
        ("POST", "/v1/decisions", {"input": "x", "questions": [{"type": "predicate", "instructions": "y"}]}),
        ("GET", "/v1/models", None),
    ):
        response = keyed.server.client.request(method, route, json=body)
        assert response.status_code == 401, route
        assert response.json()["error"]["code"] == "invalid_api_key"
    for route in ("/healthz", "/readyz", "/metrics", "/schema/openapi.json"):
        assert keyed.server.client.get(route).status_code == 200, route
    assert keyed.upstream.calls == []


@pytest.mark.parametrize("wrong", ["Bearer guard_00000000_x", "Bearer", "Basic eA==", "Bearer \u00e9"])
def test_a_wrong_key_is_no_key(keyed: Keyed, wrong: str):
    """And no error of ours."""
    response = keyed.server.client.post(
        "/moderate", json={"input": "Hi"}, headers={"Authorization": wrong.encode("latin-1")}
    )
    assert response.status_code == 401


def test_a_key_may_come_in_any_of_its_places(keyed: Keyed):
    """As a bearer token, as `x-api-key`, as Azure's `api-key`."""
    key = keyed.keys["forum"]
    for headers in ({"Authorization": f"bearer {key}"}, {"X-API-Key": key}, {"api-key": key}):
        assert keyed.server.client.post("/moderate", json={"input": "Hi"}, headers=headers).status_code == 200


def test_a_key_has_its_policies(keyed: Keyed):
    """Its first one by default; others are refused by name, and not shown."""
    assert keyed.post("/moderate", "shop", {"input": "Hi"}).json()["policy"]["name"] == "strict"
    assert keyed.post("/moderate", "shop", {"input": "Hi", "policy": "children"}).status_code == 200
    refused = keyed.post("/moderate", "shop", {"input": "Hi", "policy": "default"})
    assert refused.status_code == 403
    assert "strict, children" in refused.json()["detail"]
    refused = keyed.post("/v1/chat/completions", "shop", CHAT, **{"X-Guard-Policy": "default"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    headers = {"Authorization": f"Bearer {keyed.keys['shop']}"}
    page = keyed.server.client.get("/policies", headers=headers).json()
    assert {policy["name"] for policy in page["policies"]} == {"strict", "children"}
    assert keyed.server.client.get("/policies/default", headers=headers).status_code == 403


def test_a_key_has_its_rates(keyed: Keyed):
    """What is left stands in every answer; then 429 with the seconds to wait, in the dialect's shape."""
    for left in (2, 1, 0):
        response = keyed.post("/moderate", "slow", {"input": "Hi"})
        assert response.status_code == 200
        assert response.headers["x-ratelimit-limit-requests"] == "3"
        assert response.headers["x-ratelimit-remaining-requests"] == str(left)
    refused = keyed.post("/moderate", "slow", {"input": "Hi"})
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 20
    assert refused.json()["type"] == "urn:guard:problem:rate-limited"
    refused = keyed.post("/v1/chat/completions", "slow", CHAT)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert refused.headers["Retry-After"]
    assert keyed.post("/moderate", "forum", {"input": "Hi"}).status_code == 200


def test_characters_are_counted(keyed: Keyed):
    """What no minute would suffice for is refused without a time to wait."""
    assert keyed.post("/moderate", "short", {"input": ["x" * 20, "y" * 10]}).status_code == 200
    assert "Retry-After" in keyed.post("/moderate", "short", {"input": "x" * 39}).headers
    refused = keyed.post("/moderate", "short", {"input": "x" * 41})
    assert refused.status_code == 429
    assert "Retry-After" not in refused.headers


def test_a_key_goes_no_further(keyed: Keyed):
    """The upstream never sees Guard's keys; its own come under a name of their own."""
    keyed.upstream.script = lambda body: an_answer("Hello.")
    assert keyed.post("/v1/chat/completions", "forum", CHAT).status_code == 200
    assert "Authorization" not in keyed.upstream.headers[-1]
    assert keyed.post("/v1/chat/completions", "forum", CHAT, **{"X-Upstream-Authorization": "Bearer theirs"}).is_success
    assert keyed.upstream.headers[-1]["Authorization"] == "Bearer theirs"
    assert not any(key in str(keyed.upstream.headers) for key in keyed.keys.values())


def test_a_key_has_its_style(keyed: Keyed):
    """How a block looks to it; a request may say otherwise."""
    harm = {"model": "m", "messages": [{"role": "user", "content": "I will find you tonight and I will kill you."}]}
    assert keyed.post("/v1/chat/completions", "forum", harm).status_code == 400
    assert keyed.post("/v1/chat/completions", "shop-too", harm).status_code == 200
    asked = harm | {"guard": {"block_style": "mistral"}}
    assert keyed.post("/v1/chat/completions", "forum", asked).status_code == 403


def test_verdicts_are_shared_within_a_tenant_alone(keyed: Keyed):
    """Not to be felt by another: neither by `cached` nor by time."""
    body = {"input": f"The kettle whistles at {time.time()}.", "policy": "strict"}
    assert keyed.post("/moderate", "shop", body).json()["results"][0]["cached"] is False
    assert keyed.post("/moderate", "shop-too", body).json()["results"][0]["cached"] is True
    assert keyed.post("/moderate", "forum", body).json()["results"][0]["cached"] is False


def test_a_revoked_key_ends_at_once(keyed: Keyed):
    """And a bad file takes nobody's key away: `/readyz` and the metrics say what is wrong with it."""
    assert keyed.post("/moderate", "gone", {"input": "Hi"}).status_code == 200
    good = keyed.file.read_bytes()
    after, ended = revoked(read(keyed.file), "gone", NOW)
    assert len(ended) == 1
    written(keyed.file, after)
    _until(lambda: keyed.post("/moderate", "gone", {"input": "Hi"}).status_code == 401)
    assert keyed.post("/moderate", "forum", {"input": "Hi"}).status_code == 200
    keyed.file.write_text("keys: [7]", encoding="utf-8")
    _until(lambda: "$.keys[0]" in (keyed.server.client.get("/readyz").json()["keys_rejected"] or ""))
    assert "guard_keys_rejected 1.0" in keyed.server.client.get("/metrics").text
    assert keyed.post("/moderate", "forum", {"input": "Hi"}).status_code == 200
    keyed.file.write_bytes(good)
    _until(lambda: keyed.server.client.get("/readyz").json()["keys_rejected"] is None)


def test_refusals_are_counted_and_no_key_is_logged(keyed: Keyed):
    """By their reason alone."""
    metrics = keyed.server.client.get("/metrics").text
    for reason in ("unauthenticated", "forbidden", "rate_limited"):
        assert f'guard_access_refused_total{{reason="{reason}"}}' in metrics
    log = keyed.server.log()
    assert "access_refused" in log
    assert not any(key in log for key in keyed.keys.values())
    assert json.loads(log.splitlines()[0])


def _until(holds: Any) -> None:
    until = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)
