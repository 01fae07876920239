"""Connections to Redis: one way to make them, for whoever keeps something there.

    redis://user:password@host:6379/0                          one server
    rediss://host:6379/0?ssl_ca_certs=/run/ca.pem              the same through TLS
    unix:///run/redis.sock?db=0                                the same through a socket
    redis+sentinel://user:password@host:26379,host:26379/name/0   the primary that Sentinels know under a name
    redis+cluster://user:password@host:6379,host:6379          a Cluster, found through any of its nodes

Sentinel and Cluster go through TLS with `rediss+sentinel` and `rediss+cluster`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from guard.errors import ConfigError

__all__ = ["FAILURES", "Client", "connecting", "pipelined", "values"]

Client = Redis | RedisCluster

FAILURES = (RedisError, RedisClusterException, OSError, RuntimeError)
"""What an operation may raise. A Cluster's own exceptions are no `RedisError`; uvloop's word for a connection that ends
between redis-py's look at it and the write is RuntimeError."""

_CONNECT_SECONDS = 0.5
_PORT = 6379
_SENTINEL_PORT = 26379
_FORMS = "redis://host:6379/0, rediss://, unix://, redis+sentinel://host,host/name/0 or redis+cluster://host,host"
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS = (*_FILES, "ssl_cert_reqs", "ssl_check_hostname")
_SENTINEL = ("sentinel_username", "sentinel_password")


def connecting(url: str, *, timeout: float, connections: int) -> Client:
    """A client that connects when first used; it never tries twice, for a breaker decides on that.

    `timeout` bounds each operation, in seconds; there are at most so many `connections` (in a
    Cluster so many to each node, and one more that asks for the map of nodes).

    Raises:
        ConfigError: `url` is not a Redis address; the message repeats nothing of it.
    """
    try:
        address = _parsed(url)
    except ValueError as exc:
        raise ConfigError(f"GUARD_REDIS_URL is not the address of a Redis: {exc}; write {_FORMS}") from None
    common: dict[str, Any] = {
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": timeout,
        "socket_connect_timeout": _CONNECT_SECONDS,
    }
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        more = address.tls | address.user
        return RedisCluster(startup_nodes=nodes, max_connections=connections + 1, **common, **more)
    common["db"] = address.database
    if address.kind == "sentinel":
        known = common | address.tls
        # redis-py gives these two no types.
        make: Any = Sentinel
        sentinel = make(address.hosts, sentinel_kwargs=known | {"db": 0} | dict(address.sentinel), **known)
        make = SentinelConnectionPool
        pool = make(address.service, sentinel, max_connections=connections, **known, **address.user)
        return _Primary.from_pool(pool)
    if address.kind == "unix":
        return Redis(unix_socket_path=address.path, max_connections=connections, **common, **address.user)
    ((host, port),) = address.hosts
    return Redis(host=host, port=port, max_connections=connections, **common, **address.tls, **address.user)


async def values(client: Client, keys: Sequence[bytes]) -> list[Any]:
    """What lies under each key, in their order, None where nothing does: one MGET.

    A Cluster takes no MGET across slots: each of its nodes gets one write with an MGET for each slot.

    Raises:
        RedisError, RedisClusterException, OSError, RuntimeError: see `FAILURES`.
    """
    if isinstance(client, Redis):
        return list(await client.mget(keys))
    slots: dict[int, list[bytes]] = {}
    for key in keys:
        slots.setdefault(client.keyslot(key), []).append(key)
    found: dict[bytes, Any] = {}
    answers = await pipelined(client, [("MGET", *part) for part in slots.values()])
    for part, answer in zip(slots.values(), answers, strict=True):
        found |= zip(part, answer, strict=True)
    return [found[key] for key in keys]


async def pipelined(client: Client, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The answers to commands that are sent in one write; in a Cluster in one to each node, at the same time.

    Raises:
        RedisError, RedisClusterException, OSError, RuntimeError: see `FAILURES`; the first error among the answers.
    """
    async with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        answers = await pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception):
            if isinstance(client, RedisCluster) and isinstance(answer, (RedisConnectionError, RedisTimeoutError)):
                # A pipeline does not look for a node that has taken over; a client that was closed does.
                await client.aclose()
            raise answer
    return list(answers)


class _Primary(Redis):
    """A client of the primary that Sentinels name; it closes its connections to them as well."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        pool = cast(SentinelConnectionPool, self.connection_pool)
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


class _Address(NamedTuple):
    """A parsed address. `user`, `tls` and `sentinel` are what redis-py's constructors take."""

    kind: str
    hosts: list[tuple[str, int]]
    database: int
    user: dict[str, Any]
    tls: dict[str, Any]
    service: str = ""
    path: str = ""
    sentinel: Mapping[str, Any] = MappingProxyType({})


def _parsed(url: str) -> _Address:
    """The address.

    Raises:
        ValueError: what is wrong with it, in words that repeat nothing of it.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("its host is malformed") from None
    scheme, _, kind = parts.scheme.partition("+")
    if (scheme, kind) not in {
        *((scheme, kind) for scheme in ("redis", "rediss") for kind in ("", "sentinel", "cluster")),
        ("unix", ""),
    }:
        raise ValueError("it has an unknown scheme")
    kind = kind or ("unix" if scheme == "unix" else "single")
    options = _options(parts, tls=scheme == "rediss", kind=kind)
    user = _user(parts)
    tls = _tls(options) if scheme == "rediss" else {}
    if kind == "unix":
        if not parts.path:
            raise ValueError("it has no path")
        return _Address(kind, [], _number(options.get("db", "0")), user, tls, path=unquote(parts.path))
    hosts = _hosts(parts, _SENTINEL_PORT if kind == "sentinel" else _PORT)
    if kind == "single" and len(hosts) > 1:
        raise ValueError("several hosts are those of Sentinels or of a Cluster")
    pieces = [unquote(piece) for piece in parts.path.strip("/").split("/")] if parts.path.strip("/") else []
    service = ""
    if kind == "sentinel":
        if not pieces:
            raise ValueError("the name that the Sentinels watch is missing")
        service = pieces.pop(0)
    if len(pieces) > 1:
        raise ValueError("its path has too many parts")
    database = _number(pieces[0] if pieces else options.get("db", "0"))
    if kind == "cluster" and database:
        raise ValueError("a Cluster has database 0 alone")
    sentinel = {name.removeprefix("sentinel_"): options[name] for name in _SENTINEL if name in options}
    return _Address(kind, hosts, database, user, tls, service=service, sentinel=sentinel)


def _options(parts: SplitResult, *, tls: bool, kind: str) -> dict[str, str]:
    """What follows the question mark; a name that redis-py would trip over when it connects is refused here."""
    allowed = ("db", *(_TLS if tls else ()), *(_SENTINEL if kind == "sentinel" else ()))
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not options.keys() <= set(allowed):
        raise ValueError(f"it has an unknown option; there are {', '.join(allowed)}, those of TLS with rediss alone")
    return options


def _tls(options: dict[str, str]) -> dict[str, Any]:
    for name in _FILES:
        if name in options and not Path(options[name]).is_file():
            raise ValueError(f"there is no file {name}")
    if options.get("ssl_cert_reqs", "required") not in {"required", "none"}:
        raise ValueError("ssl_cert_reqs is required or none")
    checked = options.get("ssl_check_hostname", "true").lower()
    if checked not in {"true", "false"}:
        raise ValueError("ssl_check_hostname is true or false")
    unchecked = options.get("ssl_cert_reqs") == "none"
    given = {name: options[name] for name in (*_FILES, "ssl_cert_reqs") if name in options}
    return {"ssl": True, "ssl_check_hostname": checked == "true" and not unchecked, **given}


def _user(parts: SplitResult) -> dict[str, Any]:
    """Name and password; a password alone is that of the default user."""
    name, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return {key: unquote(value) for key, value in (("username", name), ("password", password)) if value}


def _hosts(parts: SplitResult, port: int) -> list[tuple[str, int]]:
    hosts = []
    for place in (parts.netloc.rpartition("@")[2] or "localhost").split(","):
        one = urlsplit(f"//{place}")
        try:
            known = one.port
        except ValueError:
            raise ValueError("a port is not a number up to 65535") from None
        if not one.hostname:
            raise ValueError("a host is missing")
        hosts.append((unquote(one.hostname), known if known is not None else port))
    return hosts


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError("its database is not a number")
    return int(text)
