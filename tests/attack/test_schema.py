"""Requests made up from the OpenAPI document, good ones and bad ones, against the running service."""

from collections.abc import Iterator

import hypothesis
import pytest
import schemathesis

# Here, and not where it is first needed: pytest rewrites each of its modules, which Python 3.11 sometimes refuses deep
# in a test's stack ("AST constructor recursion depth mismatch").
import schemathesis.specs.openapi.schemas
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.chat.doubles import a_chunk, an_answer, running_upstream
from tests.conftest import Server, serving

OPERATIONS = [
    ("/moderate", "POST"),
    ("/policies", "GET"),
    ("/policies/{name}", "GET"),
    ("/policies/validate", "POST"),
    ("/records", "GET"),
    ("/records/{id}", "GET"),
    ("/records/{id}", "DELETE"),
    ("/v1/chat/completions", "POST"),
    ("/beta/litellm_basic_guardrail_api", "POST"),
    ("/v1/decisions", "POST"),
    ("/contentsafety/text:analyze", "POST"),
    ("/contentsafety/text:shieldPrompt", "POST"),
    ("/analyze/prompt", "POST"),
    ("/analyze/output", "POST"),
    ("/scan/prompt", "POST"),
    ("/scan/output", "POST"),
    ("/v1/moderations", "POST"),
    ("/v1/chat/moderations", "POST"),
    ("/v1alpha1/comments:analyze", "POST"),
    ("/healthz", "GET"),
    ("/readyz", "GET"),
    ("/metrics", "GET"),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, schemathesis.schemas.BaseSchema]]:
    """A server with an upstream and a store and without a judge, and what its document says."""
    store = str(tmp_path_factory.mktemp("store") / "records.db")
    with running_upstream() as upstream, serving(GUARD_UPSTREAM_URL=upstream.url, GUARD_STORE=store) as server:
        upstream.script = lambda body: [a_chunk("Hello.")] if body.get("stream") else an_answer("Hello.")
        yield server, schemathesis.openapi.from_url(f"{server.url}/schema/openapi.json")


def test_every_operation_of_the_document_is_attacked(served):
    """None is left out of this file."""
    found = {(o.ok().path, o.ok().method.upper()) for o in served[1].get_all_operations()}
    assert found == set(OPERATIONS)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_as_the_document_says(served, path: str, method: str):
    """Its status and its shape; 5xx only as 503 where no judge is configured."""
    server, schema = served
    operation = schema[path][method]
    checks = [content_type_conformance, response_schema_conformance, status_code_conformance]
    seen: set[int] = set()

    @hypothesis.settings(max_examples=40, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(case=operation.as_strategy())
    def attack(case: schemathesis.Case) -> None:
        response = case.call()
        seen.add(response.status_code)
        assert response.status_code < 500 or (response.status_code == 503 and path == "/v1/decisions"), response.text
        case.validate_response(response, checks=checks)

    attack()
    # What these need to succeed is not made up by chance: a name that there is, a judge.
    rare = ("/policies/{name}", "/records/{id}", "/v1/decisions", "/v1alpha1/comments:analyze")
    assert 200 in seen or path in rare, seen
    assert "request_failed" not in server.log()
