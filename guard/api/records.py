"""The kept records: read by reviewers, deleted by admins."""

from typing import Any

import msgspec
from litestar import Request, Response, Router, delete, get
from litestar.openapi.spec import OpenAPIFormat, OpenAPIType, Parameter, Schema

from guard.access import Caller
from guard.api.access import admitted, caller_of
from guard.api.body import answer
from guard.api.errors import SchemaMismatch
from guard.api.openapi import described
from guard.errors import InvalidContent, RecordNotFound
from guard.service import Service
from guard.store import MOST, Page, Query, Record, Sight, Store
from guard.verdict import Action

__all__ = ["router"]

_NO_STORE = "No records are kept here: set GUARD_STORE to a file (docs/records.md)"
_TEXT = Schema(type=OpenAPIType.STRING)
_QUERY = (
    Parameter("policy", "query", _TEXT, "Only those of this policy"),
    Parameter(
        "action",
        "query",
        Schema(type=OpenAPIType.STRING, enum=[action.word for action in Action]),
        "Only those with this action",
    ),
    Parameter(
        "since",
        "query",
        Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.DATE_TIME),
        "Only those from this time on; RFC 3339, with its zone",
    ),
    Parameter(
        "limit", "query", Schema(type=OpenAPIType.INTEGER, minimum=1, maximum=MOST, default=50), "At most so many"
    ),
    Parameter("after", "query", _TEXT, "The `next` of the page before"),
    Parameter(
        "shadow",
        "query",
        Schema(type=OpenAPIType.BOOLEAN, default=False),
        "Those of shadows, in place of those of answers: what a candidate would have said otherwise",
    ),
)


class Deleted(msgspec.Struct, frozen=True):
    """A record that is there no more."""

    id: str
    deleted: bool


def router(service: Service) -> Router:
    """The routes of the store's records, bound to their service."""

    def store() -> Store:
        if service.recorder is None:
            raise RecordNotFound(_NO_STORE)
        return service.recorder.store

    @get(
        "/records",
        operation_class=described(
            Page, text="Records, newest first", errors=(401, 403, 404, 422, 429, 503), query=_QUERY
        ),
        summary="List the records of verdicts",
        tags=["records"],
    )
    async def list_records(request: Request[Any, Any, Any]) -> Response[bytes]:
        """A page of records, newest first: a reviewer's of its tenant, an admin's of all."""
        caller = caller_of(request.scope, service.gate, "reviewer")
        query = _query(request)
        if query.policy is not None:
            service.gate.policy(caller, query.policy, "")
        await admitted(service.gate, caller, 0)
        try:
            return answer(await store().find(query, _sight(caller)))
        except InvalidContent as exc:
            raise SchemaMismatch(str(exc), path=exc.path) from exc

    @get(
        "/records/{id:str}",
        operation_class=described(Record, text="The record", errors=(401, 403, 404, 429, 503)),
        summary="Show one record",
        tags=["records"],
    )
    async def show_record(request: Request[Any, Any, Any]) -> Response[bytes]:
        """One record, with its text where the policy keeps texts."""
        caller = caller_of(request.scope, service.gate, "reviewer")
        await admitted(service.gate, caller, 0)
        id = request.path_params["id"]
        record = await store().get(id, _sight(caller))
        if record is None:
            raise _missing(id)
        return answer(record)

    @delete(
        "/records/{id:str}",
        status_code=200,
        operation_class=described(Deleted, text="It is deleted", errors=(401, 403, 404, 429, 503)),
        summary="Delete one record",
        tags=["records"],
    )
    async def delete_record(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Removes one record from the store's files, with those of the shadows beside it."""
        caller = caller_of(request.scope, service.gate, "admin")
        await admitted(service.gate, caller, 0)
        id = request.path_params["id"]
        if not await store().delete(id, _sight(caller)):
            raise _missing(id)
        return answer(Deleted(id, deleted=True))

    return Router("", route_handlers=[list_records, show_record, delete_record])


def _query(request: Request[Any, Any, Any]) -> Query:
    given = dict(request.query_params.multi_items())
    for name in given.keys() - set(Query.__struct_fields__):
        known = ", ".join(Query.__struct_fields__)
        raise SchemaMismatch(f"`{name[:40]}` is nothing that can be asked for; known: {known}", path=f"?{name[:40]}")
    try:
        return msgspec.convert(given, Query, strict=False)
    except msgspec.ValidationError as exc:
        message, _, place = str(exc).partition(" - at `$.")
        raise SchemaMismatch(message, path=f"?{place.rstrip('`')}") from exc


def _sight(caller: Caller) -> Sight:
    """Whoever may delete sees every tenant's: it is who runs Guard. The key's policies bound both."""
    return Sight(None if caller.role == "admin" else caller.tenant, caller.policies)


def _missing(id: str) -> RecordNotFound:
    return RecordNotFound(f"no record `{id[:80]}`, or none that this key may see; `GET /records` lists them")
