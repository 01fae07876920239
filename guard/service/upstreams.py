"""The servers that answer chats, as the settings name them."""

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import yaml

from guard.chat.upstream import RemoteUpstream, SystemRole, Upstreams
from guard.chat.watched import WatchedUpstream
from guard.config import UpstreamSettings
from guard.errors import ConfigError
from guard.telemetry import Listener

__all__ = ["upstreams"]


class _Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One server of the file that GUARD_UPSTREAMS names."""

    name: str
    url: str
    key_env: str = ""
    models: tuple[str, ...] = ()
    system_role: SystemRole = "system"
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0.0)] = 600.0


def upstreams(asked: UpstreamSettings, listener: Listener) -> Upstreams:
    """The servers that answer chats.

    Raises:
        ConfigError: an address is none, or the file is missing or wrong.
    """
    if asked.url:
        listed = [_Listed("upstream", asked.url, system_role=asked.system_role, timeout_seconds=asked.timeout_seconds)]
        keys = [asked.key]
    elif asked.file is not None:
        listed = _listed(asked.file)
        keys = [os.environ.get(one.key_env, "") if one.key_env else "" for one in listed]
    else:
        listed, keys = [], []
    for one, key in zip(listed, keys, strict=True):
        if urlsplit(one.url).scheme not in ("http", "https"):
            raise ConfigError(f"the upstream's address `{one.url}` is none: give one such as http://vllm:8000/v1")
        if one.key_env and not key:
            raise ConfigError(f"{asked.file}: `{one.name}` takes its key from {one.key_env}, which is not set")
    return Upstreams(
        [
            WatchedUpstream(
                RemoteUpstream(one.name, one.url, key=key, timeout=one.timeout_seconds, system_role=one.system_role),
                listener,
            )
            for one, key in zip(listed, keys, strict=True)
        ],
        {one.name: one.models for one in listed},
    )


def _listed(file: Path) -> list[_Listed]:
    try:
        listed = msgspec.convert(yaml.safe_load(file.read_text(encoding="utf-8")), list[_Listed])
    except OSError as exc:
        raise ConfigError(f"GUARD_UPSTREAMS: {file} cannot be read ({exc.strerror})") from exc
    except (yaml.YAMLError, msgspec.ValidationError) as exc:
        raise ConfigError(f"GUARD_UPSTREAMS: {file}: {exc}") from exc
    names = [one.name for one in listed]
    if not names or len(set(names)) != len(names):
        raise ConfigError(f"GUARD_UPSTREAMS: {file}: expected a list of servers with different names")
    return listed
