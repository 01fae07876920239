"""Every form of address against real servers: TLS, users, Sentinel, Cluster; for verdicts and for rates."""

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from guard.access.shared import RedisBuckets
from guard.cache.redis import RedisCache
from guard.errors import ConfigError
from guard.redis_client import connecting
from guard.verdict import Assessment
from tests.cache.conftest import Recorder
from tests.redis_server import EitherProxy, Proxy, RedisServer, a_cluster, a_sentinel

GUARD = "gu%40rd:p%3As%2Fw%23%25"
RIGHTS = ["~guard:*", "+mget", "+set", "+del", "+evalsha", "+script|load", "+hmget", "+hset", "+time", "+pexpire"]
"""What docs/settings.md says that a user needs."""
CLUSTER_RIGHTS = ["+cluster|slots", "+command"]
MANY = {b"%032d" % n: Assessment(scores={}, windows=n) for n in range(60)}


def a_cache(url: str, recorder: Recorder, timeout: float = 2.0) -> RedisCache:
    """A cache without a first level, with time that passes."""
    return RedisCache(url, ttl=60, entries=0, listener=recorder, timeout=timeout)


async def comes_back(cache: RedisCache, entries: dict[bytes, Assessment] = MANY, seconds: float = 30.0) -> int:
    """Writes and reads until all is known; how often that took. Nothing may be raised, or be wrong, on the way."""
    tries = 0
    async with asyncio.timeout(seconds):
        while True:
            tries += 1
            await cache.set_many(entries)
            await asyncio.sleep(0.05)
            found = await cache.get_many(list(entries))
            assert all(hit is None or hit == known for hit, known in zip(found, entries.values(), strict=True))
            if None not in found:
                return tries


async def takes(url: str) -> float:
    """What the shared rates give through this address, of ten that are asked for."""
    buckets = RedisBuckets(connecting(url, timeout=2.0, connections=4), timeout=2.0, listener=Recorder())
    grant = await buckets.take("k1:requests", 100, 10, 1)
    await buckets.close()
    return grant.given if grant is not None else -1


async def takes_soon(url: str) -> None:
    """Returns when the shared rates give; right after a change of primary the first who asks may be told nothing."""
    async with asyncio.timeout(15):
        while await takes(url) != 10:
            await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that vouches for itself, and its key."""
    return a_certificate(tmp_path_factory.mktemp("tls"), "DNS:localhost")


def a_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for that name that vouches for itself, and its key."""
    program = shutil.which("openssl")
    if program is None:
        pytest.fail("These tests make a certificate with the program `openssl`; install it.", pytrace=False)
    made = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-days", "2", "-subj", "/CN=localhost", "-addext", f"subjectAltName={name}"]
    subprocess.run(
        [*made, "-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem")], check=True, capture_output=True
    )
    return folder / "ca.pem", folder / "key.pem"


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """What a server with that certificate speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def strict_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """The same for one that wants to see a client's certificate, as Redis does unless it is told otherwise."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate[0]))
    context.load_cert_chain(*certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def files(certificate: tuple[Path, Path]) -> str:
    """The options of an address that show this certificate and trust it."""
    return f"ssl_ca_certs={certificate[0]}&ssl_certfile={certificate[0]}&ssl_keyfile={certificate[1]}"


async def test_tls_with_a_ca_file(
    shared_server: RedisServer, certificate: tuple[Path, Path], tls: ssl.SSLContext, recorder: Recorder
) -> None:
    """TLS ends before the server, for not every server's binary has it: the client's side is the real one."""
    async with Proxy(shared_server.port, tls) as proxy:
        url = f"rediss://localhost:{proxy.port}/0?ssl_ca_certs={certificate[0]}"
        cache = a_cache(url, recorder)
        assert await comes_back(cache) < 5
        await cache.close()
        assert await takes(url) == 10
    assert recorder.events == []


@pytest.mark.parametrize("wrong", ["rediss://localhost:{port}/0", "rediss://127.0.0.1:{port}/0?ssl_ca_certs={ca}"])
async def test_a_server_that_cannot_prove_its_name_gets_nothing(
    shared_server: RedisServer, certificate: tuple[Path, Path], tls: ssl.SSLContext, recorder: Recorder, wrong: str
) -> None:
    """Signed by somebody unknown, or for another name: a miss, told to the operator."""
    async with Proxy(shared_server.port, tls) as proxy:
        cache = a_cache(wrong.format(port=proxy.port, ca=certificate[0]), recorder)
        await cache.set_many(MANY)
        assert await cache.get_many([*MANY][:1]) == [None]
        await cache.close()
    assert any("certificate verify failed" in error for error in recorder.failures("get"))
    assert shared_server.client.dbsize() == 0


async def test_a_user_with_a_password(shared_server: RedisServer, recorder: Recorder) -> None:
    """A user who may touch Guard's keys alone is enough, and both parts may hold any character."""
    shared_server.client.execute_command("ACL", "SETUSER", "gu@rd", "on", ">p:s/w#%", *RIGHTS)
    url = f"redis://{GUARD}@127.0.0.1:{shared_server.port}/0"
    cache = a_cache(url, recorder)
    assert await comes_back(cache) < 5
    await cache.close()
    assert await takes(url) == 10
    assert recorder.events == []
    shared_server.client.execute_command("ACL", "DELUSER", "gu@rd")


@pytest.fixture
def watched(redis_binary: str, tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer, RedisServer]]:
    """A primary, its replica, and the Sentinel that watches both."""
    folders = [tmp_path / name for name in ("primary", "replica", "sentinel")]
    for folder in folders:
        folder.mkdir()
    primary = RedisServer(redis_binary, folders[0], repl_diskless_sync_delay=0)
    replica = RedisServer(redis_binary, folders[1], replicaof=f"127.0.0.1 {primary.port}")
    try:
        primary.start()
        replica.start()
        with a_sentinel(redis_binary, folders[2], "main", primary.port) as sentinel:
            yield primary, replica, sentinel
    finally:
        for server in (primary, replica):
            server.kill()
            server.client.close()


async def test_the_primary_dies_and_the_replica_that_sentinel_chose_takes_over(
    watched: tuple[RedisServer, RedisServer, RedisServer], recorder: Recorder
) -> None:
    """One Sentinel of those in the address may be away. Verdicts and rates go on with the new primary."""
    primary, replica, sentinel = watched
    url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/main/0"
    cache = a_cache(url, recorder, timeout=0.2)
    await comes_back(cache)
    assert await takes(url) == 10
    async with asyncio.timeout(20):
        while not (
            replica.client.dbsize() == len(MANY) + 1 and sentinel.client.execute_command("SENTINEL REPLICAS", "main")
        ):
            await asyncio.sleep(0.05)
    primary.kill()
    assert await cache.get_many([*MANY][:1]) == [None]
    await comes_back(cache)
    assert replica.client.info("replication")["role"] == "master"
    await takes_soon(url)
    assert recorder.states("get")[-1:] in ([], ["closed"])
    await cache.close()


async def test_sentinels_that_refuse_do_not_bring_their_password_into_the_log(
    watched: tuple[RedisServer, RedisServer, RedisServer], recorder: Recorder
) -> None:
    """Their password is not that of the servers, and is wrong here; so is the name that they watch."""
    port = watched[2].port
    for url in (
        f"redis+sentinel://127.0.0.1:{port}/main?sentinel_password=open-sesame&sentinel_username=somebody",
        f"redis+sentinel://somebody:open-sesame@127.0.0.1:{port}/other",
    ):
        cache = a_cache(url, recorder)
        assert await cache.get_many([*MANY][:1]) == [None]
        await cache.close()
    assert len(recorder.failures("get")) == 2
    assert "open-sesame" not in repr(recorder.events)


async def test_a_cluster_keeps_keys_of_all_slots_and_outlives_a_node(
    redis_binary: str, tmp_path: Path, recorder: Recorder
) -> None:
    """Found through one node of which another is away; while a replica takes over, requests keep their answers."""
    with a_cluster(redis_binary, tmp_path) as nodes:
        url = f"redis+cluster://127.0.0.1:1,127.0.0.1:{nodes[1].port}"
        cache = a_cache(url, recorder, timeout=0.5)
        await comes_back(cache)
        assert all(node.client.dbsize() > 5 for node in nodes[:3])
        assert await takes(url) == 10
        reads = [node.info("commandstats", "cmdstat_mget") for node in nodes[:3]]
        before = [node.info("stats", "total_reads_processed") for node in nodes[:3]]
        assert None not in await cache.get_many(list(MANY))
        after = [node.info("stats", "total_reads_processed") for node in nodes[:3]]
        assert reads != [0, 0, 0]
        assert max(now - then for now, then in zip(after, before, strict=True)) < 10
        nodes[0].kill()
        for key, known in MANY.items():
            assert await cache.get_many([key]) in ([None], [known])
        assert recorder.failures("get")
        await comes_back(cache)
        assert nodes[3].client.info("replication")["role"] == "master"
        await takes_soon(url)
        await cache.close()


async def test_sentinels_and_their_primary_behind_tls_with_users(
    redis_binary: str, tmp_path: Path, certificate: tuple[Path, Path], recorder: Recorder
) -> None:
    """Each has a user of its own with the rights that the docs name; every connection is encrypted both ways."""
    primary = RedisServer(redis_binary, tmp_path)
    context = strict_tls(certificate)
    try:
        primary.start()
        primary.client.execute_command("ACL", "SETUSER", "gu@rd", "on", ">p:s/w#%", *RIGHTS)
        async with EitherProxy(primary.port, context) as server_proxy:
            with a_sentinel(redis_binary, tmp_path, "main", server_proxy.port, host="localhost") as sentinel:
                watcher = ["ACL", "SETUSER", "watcher", "on", ">open-sesame", "+sentinel|masters"]
                sentinel.client.execute_command(*watcher)
                sentinel.client.execute_command("ACL", "SETUSER", "default", "off")
                async with Proxy(sentinel.port, context) as sentinel_proxy:
                    who = "sentinel_username=watcher&sentinel_password=open-sesame"
                    url = f"rediss+sentinel://{GUARD}@localhost:{sentinel_proxy.port}/main/0?{files(certificate)}&{who}"
                    cache = a_cache(url, recorder)
                    await comes_back(cache)
                    recorder.events.clear()
                    assert await comes_back(cache) < 5
                    await cache.close()
                    await takes_soon(url)
                    assert server_proxy.encrypted >= 2
                    assert recorder.events == []
                    # Without a certificate of its own nobody gets as far as to log in.
                    bare = a_cache(url.replace(files(certificate), f"ssl_ca_certs={certificate[0]}"), recorder)
                    assert await bare.get_many([*MANY][:1]) == [None]
                    await bare.close()
                    assert recorder.failures("get")
                    assert "open-sesame" not in repr(recorder.events)
    finally:
        primary.kill()
        primary.client.close()


async def test_a_cluster_behind_tls_with_a_user(redis_binary: str, tmp_path: Path, recorder: Recorder) -> None:
    """The nodes that are not in the address are encrypted too, and log the same user in.

    The certificate is for 127.0.0.1: that is what redis-py makes of `localhost`, in a Cluster alone.
    """
    certificate = a_certificate(tmp_path, "IP:127.0.0.1")
    with a_cluster(redis_binary, tmp_path) as nodes:
        async with contextlib.AsyncExitStack() as stack:
            context = strict_tls(certificate)
            proxies = [await stack.enter_async_context(EitherProxy(node.port, context)) for node in nodes]
            for node, proxy in zip(nodes, proxies, strict=True):
                node.client.execute_command("ACL", "SETUSER", "gu@rd", "on", ">p:s/w#%", *RIGHTS, *CLUSTER_RIGHTS)
                node.client.config_set("cluster-announce-port", proxy.port)
            # A replica is told only once it has data.
            ports = {proxy.port for proxy in proxies[:3]}
            async with asyncio.timeout(20):
                while not all(told(node) >= ports for node in nodes):
                    await asyncio.sleep(0.05)
            url = f"rediss+cluster://{GUARD}@127.0.0.1:{proxies[1].port}?{files(certificate)}"
            cache = a_cache(url, recorder)
            # Opening so many connections may take too long on a busy machine; once they are there nothing fails.
            await comes_back(cache)
            recorder.events.clear()
            assert await comes_back(cache) < 5
            assert all(proxy.encrypted for proxy in proxies[:3])
            assert all(node.client.dbsize() > 5 for node in nodes[:3])
            await cache.close()
            assert recorder.events == []
            await takes_soon(url)


def told(node: RedisServer) -> set[int]:
    """The ports that a node of a Cluster tells to those who ask it for the map."""
    slots = node.client.execute_command("CLUSTER SLOTS")
    return {found[1] for one in slots for found in one[2:]}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis+sentinel://h:1", "name that the Sentinels watch"),
        ("redis+sentinel://h:1/main/x", "database"),
        ("redis+sentinel://h:1/main/0/1", "too many parts"),
        ("redis+sentinel://h:1,:2/main", "host is missing"),
        ("redis+cluster://h:1/3", "database 0"),
        ("redis+cluster://h:99999", "port"),
        ("redis://h,i", "several hosts"),
        ("redis+other://h", "scheme"),
        ("redis://h/zero", "database"),
        ("redis://h?ssl_ca_certs=x", "unknown option"),
        ("redis://h?socket_timeout=9", "unknown option"),
        ("rediss://h?ssl_ca_certs=/there/is/none", "no file ssl_ca_certs"),
        ("rediss://h?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
        ("rediss://h?ssl_check_hostname=maybe", "ssl_check_hostname"),
        ("unix://", "path"),
        ("redis://[h", "malformed"),
    ],
)
def test_a_bad_address_says_what_is_wrong(url: str, why: str) -> None:
    """When the service starts, and not when it first connects; without the address, which may hold a password."""
    scheme, _, rest = url.partition("://")
    with pytest.raises(ConfigError, match=f"GUARD_REDIS_URL.*{why}") as refused:
        connecting(f"{scheme}://somebody:open-sesame@{rest}", timeout=1, connections=1)
    assert "open-sesame" not in str(refused.value)


async def test_a_socket_and_a_password_alone(redis_binary: str, tmp_path: Path, recorder: Recorder) -> None:
    """`unix://` and a password without a name, as most installations have it."""
    server = RedisServer(redis_binary, tmp_path, unixsocket=tmp_path / "s")
    server.start()
    server.client.config_set("requirepass", "open-sesame")
    try:
        for url in (f"unix://:open-sesame@{tmp_path}/s?db=2", f"redis://:open-sesame@127.0.0.1:{server.port}/2"):
            cache = a_cache(url, recorder)
            assert await comes_back(cache) < 5
            await cache.close()
            assert await takes(url) == 10
    finally:
        server.kill()
        server.client.close()
    assert recorder.events == []
