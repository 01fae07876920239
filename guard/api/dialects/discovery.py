"""The discovery document of Perspective's API, by which Google's client libraries know its address and its methods.

Fields and types are those of Google's own document (`commentanalyzer` v1alpha1, revision 20190414 and what was added
until it ended: `dropUnsupportedAttributes`); the words are ours.
"""

from typing import Any
from urllib.parse import parse_qs

import msgspec
from litestar import asgi
from litestar.exceptions import MethodNotAllowedException
from litestar.types import Receive, Scope, Send

from guard.api.dialects.google import GoogleRefused

__all__ = ["discovery", "document"]

_VERSION = "v1alpha1"
_TEXT: dict[str, Any] = {"type": "string"}
_FLAG: dict[str, Any] = {"type": "boolean"}
_TEXTS: dict[str, Any] = {"type": "array", "items": _TEXT}
_NUMBER: dict[str, Any] = {"type": "number", "format": "float"}
_WHOLE: dict[str, Any] = {"type": "integer", "format": "int32"}
_SCORE_TYPE: dict[str, Any] = {"type": "string", "enum": ["SCORE_TYPE_UNSPECIFIED", "PROBABILITY"]}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": name}


def _list(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(name)}


def _map(name: str) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": _ref(name)}


_SCHEMAS: dict[str, dict[str, Any]] = {
    "AnalyzeCommentRequest": {
        "comment": _ref("TextEntry"),
        "context": _ref("Context"),
        "requestedAttributes": _map("AttributeParameters"),
        "languages": _TEXTS,
        "spanAnnotations": _FLAG,
        "doNotStore": _FLAG,
        "dropUnsupportedAttributes": _FLAG,
        "clientToken": _TEXT,
        "sessionId": _TEXT,
        "communityId": _TEXT,
    },
    "AnalyzeCommentResponse": {
        "attributeScores": _map("AttributeScores"),
        "languages": _TEXTS,
        "detectedLanguages": _TEXTS,
        "clientToken": _TEXT,
    },
    "ArticleAndParentComment": {"article": _ref("TextEntry"), "parentComment": _ref("TextEntry")},
    "AttributeParameters": {"scoreType": _SCORE_TYPE, "scoreThreshold": _NUMBER},
    "AttributeScores": {"summaryScore": _ref("Score"), "spanScores": _list("SpanScore")},
    "Context": {"entries": _list("TextEntry"), "articleAndParentComment": _ref("ArticleAndParentComment")},
    "Score": {"value": _NUMBER, "type": _SCORE_TYPE},
    "SpanScore": {"begin": _WHOLE, "end": _WHOLE, "score": _ref("Score")},
    "SuggestCommentScoreRequest": {
        "comment": _ref("TextEntry"),
        "context": _ref("Context"),
        "attributeScores": _map("AttributeScores"),
        "languages": _TEXTS,
        "clientToken": _TEXT,
        "sessionId": _TEXT,
        "communityId": _TEXT,
    },
    "SuggestCommentScoreResponse": {"clientToken": _TEXT, "detectedLanguages": _TEXTS, "requestedLanguages": _TEXTS},
    "TextEntry": {"text": _TEXT, "type": {"type": "string", "enum": ["TEXT_TYPE_UNSPECIFIED", "PLAIN_TEXT", "HTML"]}},
}
_QUERY: dict[str, dict[str, Any]] = {
    "key": {"description": "A key of Guard's. The header x-goog-api-key keeps it out of a proxy's logs."},
    "alt": {"default": "json", "enum": ["json"], "description": "The form of the answer."},
    "fields": {"description": "Left alone: the answer is always whole."},
    "prettyPrint": {"type": "boolean", "description": "Left alone."},
    "quotaUser": {"description": "Left alone: the key has the quota."},
}


def document(root: str) -> dict[str, Any]:
    """The document of a service at `root`, an address with its scheme and a `/` at its end."""
    return {
        "kind": "discovery#restDescription",
        "discoveryVersion": "v1",
        "id": f"commentanalyzer:{_VERSION}",
        "name": "commentanalyzer",
        "version": _VERSION,
        "title": "Guard, in the words of the Perspective Comment Analyzer API",
        "canonicalName": "Comment Analyzer",
        "protocol": "rest",
        "rootUrl": root,
        "servicePath": "",
        "baseUrl": root,
        "basePath": "",
        "batchPath": "batch",
        "parameters": {name: _TEXT | {"location": "query"} | more for name, more in _QUERY.items()},
        "schemas": {
            name: {"id": name, "type": "object", "properties": properties} for name, properties in _SCHEMAS.items()
        },
        "resources": {
            "comments": {
                "methods": {
                    "analyze": _method("analyze", "AnalyzeComment"),
                    "suggestscore": _method("suggestscore", "SuggestCommentScore"),
                }
            }
        },
    }


def _method(name: str, message: str) -> dict[str, Any]:
    path = f"{_VERSION}/comments:{name}"
    return {
        "id": f"commentanalyzer.comments.{name}",
        "path": path,
        "flatPath": path,
        "httpMethod": "POST",
        "parameters": {},
        "parameterOrder": [],
        "request": _ref(f"{message}Request"),
        "response": _ref(f"{message}Response"),
    }


@asgi("/$discovery/rest", copy_scope=False)
async def discovery(scope: Scope, receive: Receive, send: Send) -> None:
    """The document, for the address that the client has come by. It needs no key: it tells what is public."""
    if scope["method"] != "GET":  # type: ignore[typeddict-item]
        raise MethodNotAllowedException(headers={"Allow": "GET"})
    query = parse_qs(scope["query_string"].decode("latin-1"))
    if query.get("version", [_VERSION])[0] != _VERSION:
        message = f"No such version of the API: ask for version={_VERSION}"
        raise GoogleRefused(message, kind="INVALID_REQUEST", path="version", status=404)
    body = msgspec.json.encode(document(_root(scope)))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        # It names the address that the client says it has come by: nobody else's.
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _root(scope: Scope) -> str:
    """The service's address as the client knows it, behind a proxy too."""
    found = {name: value.decode("latin-1") for name, value in scope["headers"]}
    said = found.get(b"x-forwarded-proto", "").partition(",")[0].strip().lower()
    scheme = said if said in ("http", "https") else scope["scheme"]
    return f"{scheme}://{found.get(b'host', 'localhost')}/"
