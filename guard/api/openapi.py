"""The OpenAPI document: what handlers read and answer, with examples, and the shape of errors.

Handlers decode and encode bytes themselves, so each says here what these bytes are; the schemas come
from the same msgspec structs that do the work.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from litestar import Request
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import (
    Example,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Parameter,
    PathItem,
    Reference,
    RequestBody,
    Schema,
)

from guard import __version__
from guard.api.errors import MEDIA_TYPE, ProblemDetails

__all__ = ["config", "describe_path", "described"]

_REF = "#/components/schemas/{name}"
_ERRORS = {
    400: "The body is no JSON",
    401: "No API key, or one that is not valid",
    403: "The API key's rights do not reach that far",
    404: "No such policy, or no such record",
    408: "The body took too long to come",
    413: "The body is too large",
    415: "The body is compressed",
    422: "The body has another shape, exceeds a limit, or cannot be moderated",
    429: "The API key has used what it may use in a minute: come back after the seconds of `Retry-After`",
    502: "The upstream cannot be reached, or what it says is no answer",
    503: "Too busy: come back after the seconds of `Retry-After`; or what is needed is not there",
    504: "The upstream said nothing for too long",
}

EXAMPLES: dict[str, dict[str, Example | Reference]] = {
    "ChatModerationRequest": {
        "conversation": Example(
            summary="The last turn of a conversation, in its context",
            value={
                "model": "mistral-moderation-latest",
                "input": [
                    {"role": "user", "content": "My ankle is swollen."},
                    {"role": "assistant", "content": "Take 800 mg of ibuprofen every four hours."},
                ],
            },
        )
    },
    "ChatRequest": {
        "chat": Example(
            summary="One question, streamed, under another policy",
            value={
                "model": "mistral-small",
                "messages": [{"role": "user", "content": "How do I kill a Linux process?"}],
                "stream": True,
                "guard": {"policy": "strict"},
            },
        )
    },
    "DecisionRequest": {
        "questions": Example(
            summary="Two questions about one text",
            value={
                "input": "My parcel never came and your bot keeps sending me in circles. Last chance.",
                "questions": [
                    {"type": "predicate", "name": "angry", "instructions": "The customer is angry."},
                    {
                        "type": "choice",
                        "name": "topic",
                        "instructions": "What is the message about?",
                        "choices": [{"value": "delivery"}, {"value": "billing"}, {"value": "other"}],
                    },
                ],
            },
        )
    },
    "ModerateRequest": {
        "text": Example(summary="One text", value={"input": "How do I kill a Linux process?"}),
        "texts": Example(
            summary="Several texts under another policy",
            value={"input": ["You are welcome.", "I will find you and hurt you."], "policy": "strict"},
        ),
        "conversation": Example(
            summary="The last turn of a conversation, in its context",
            value={
                "input": [
                    {"role": "user", "content": "My ankle is swollen."},
                    {"role": "assistant", "content": "Take 800 mg of ibuprofen every four hours."},
                ],
                "rail": "output",
                "categories": ["health_advice"],
            },
        ),
    },
    "ModerationRequest": {
        "texts": Example(
            summary="Several texts, in OpenAI's words",
            value={"model": "omni-moderation-latest", "input": ["You are welcome.", "I will find you and hurt you."]},
        ),
        "parts": Example(
            summary="A text beside an image, which is not looked at",
            value={
                "input": [
                    {"type": "text", "text": "You are welcome."},
                    {"type": "image_url", "image_url": {"url": "https://example.com/image.png"}},
                ]
            },
        ),
        "mistral": Example(
            summary="A text, in Mistral's words",
            value={"model": "mistral-moderation-latest", "input": ["You are welcome."]},
        ),
    },
    "PolicyText": {
        "minimal": Example(
            summary="A policy that changes one threshold",
            value={
                "yaml": "version: 1\nname: forum\ndescription: Our forum\nextends: default\n"
                "categories:\n  harassment:\n    thresholds: {flag: 0.4}\n"
            },
        )
    },
}


class _Described:
    """The kinds that routes were described with; their schemas become the document's components."""

    def __init__(self) -> None:
        self.kinds: list[Any] = [ProblemDetails]
        self.paths: dict[str, PathItem] = {}

    def media(self, *kinds: Any) -> OpenAPIMediaType:
        """One of these kinds."""
        self.kinds += [kind for kind in kinds if kind not in self.kinds]
        references = [Reference(ref=_REF.format(name=kind.__name__)) for kind in kinds]
        schema = references[0] if len(references) == 1 else Schema(any_of=references)
        return OpenAPIMediaType(schema=schema, examples=EXAMPLES.get(kinds[0].__name__))

    def components(self) -> dict[str, Any]:
        _, components = msgspec.json.schema_components(self.kinds, ref_template=_REF)
        return components


_described = _Described()


def described(
    answer: Any,
    *,
    body: Any = None,
    text: str = "The answer",
    errors: tuple[int, ...] = (),
    error: Any = ProblemDetails,
    streams: bool = False,
    query: Sequence[Parameter] = (),
) -> type[Operation]:
    """An operation class for a handler that reads `body`, answers `answer` (one of them, where they are several), or
    fails with `errors`.

    `error` is the body of a failure: problem details, or a dialect's own. `streams`: it also answers with events.
    `query`: what its address may say besides.
    """
    content = {"application/json": _described.media(*(answer if isinstance(answer, tuple) else (answer,)))}
    if streams:
        content["text/event-stream"] = OpenAPIMediaType()
    responses: dict[str, OpenAPIResponse | Reference] = {"200": OpenAPIResponse(description=text, content=content)}
    for status in errors:
        kind = MEDIA_TYPE if error is ProblemDetails else "application/json"
        responses[str(status)] = OpenAPIResponse(description=_ERRORS[status], content={kind: _described.media(error)})
    read = None
    if body is not None:
        read = RequestBody(required=True, content={"application/json": _described.media(body)})

    @dataclass
    class Described(Operation):
        request_body: RequestBody | Reference | None = field(default_factory=lambda: read)
        responses: dict[str, OpenAPIResponse | Reference] | None = field(default_factory=lambda: responses)

        def __post_init__(self) -> None:
            self.request_body = read
            self.responses = responses
            if query:
                self.parameters = [*(self.parameters or ()), *query]

    return Described


def describe_path(path: str, *, post: Operation) -> None:
    """Puts a raw ASGI route, which Litestar does not describe, into the document."""
    _described.paths[path] = PathItem(post=post)


class _Document(JsonRenderPlugin):
    """Serves the document with the components of everything that was described."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        own = openapi_schema.setdefault("components", {}).setdefault("schemas", {})
        own.update(_described.components())
        openapi_schema["paths"] |= {path: item.to_schema() for path, item in _described.paths.items()}
        return msgspec.json.encode(openapi_schema)


def config() -> OpenAPIConfig:
    """The document's frame; served as JSON at `/schema` and `/schema/openapi.json`."""
    return OpenAPIConfig(
        title="Guard",
        version=__version__,
        description="Self-hosted content moderation. Errors are RFC 9457 problem details.",
        path="/schema",
        render_plugins=[_Document(path=["/", "/openapi.json"])],
        use_handler_docstrings=True,
    )
