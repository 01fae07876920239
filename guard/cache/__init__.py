"""The verdict cache: assessments by key, so that the same text under the same policy is scored once.

What is kept is the assessment (scores), never the decision: an edited threshold takes effect at
once. A cache may forget anything at any time and must never raise: a failure is a miss.
"""

import struct
from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple, Protocol

from guard.content import Content
from guard.text import Normalised
from guard.verdict import Assessment

__all__ = ["CacheKeyer", "Claim", "VerdictCache"]

FORMAT = 1
"""Raise it whenever an assessment's meaning or encoding changes: old entries become misses."""


class Claim(NamedTuple):
    """What came of claiming keys. The keys in neither are being worked on by somebody else."""

    mine: frozenset[bytes]
    """For the caller to work on: each ends with `set_many` or `release`."""
    known: Mapping[bytes, Assessment]
    """What somebody else has found out meanwhile."""


class VerdictCache(Protocol):
    """Assessments by key. Results come in the order of the keys; None is a miss."""

    async def get_many(self, keys: Sequence[bytes]) -> list[Assessment | None]:
        """What is known for each key."""

    async def set_many(self, entries: Mapping[bytes, Assessment]) -> None:
        """Remembers each entry for the cache's time to live."""

    async def claim(self, keys: Sequence[bytes], seconds: float) -> Claim:
        """Takes on the work on keys that are not known, as far as nobody else is at it.

        A claim ends after `seconds` even where its holder has died. One that cannot be made counts as
        made: the work is then done twice rather than never.
        """

    async def release(self, keys: Collection[bytes]) -> None:
        """Gives claims up of which nothing came, so that others need not wait for their end."""

    async def close(self) -> None:
        """Gives connections back; the cache is not used afterwards."""


class CacheKeyer:
    """Makes cache keys: 32 bytes, keyed with a secret, so that a stolen cache tells no text.

    The key covers everything that an assessment depends on, each part behind its length so that no
    two different inputs can run together.
    """

    def __init__(self, secret: bytes, *, screen: str, judge: str) -> None:
        # A secret of any length counts to its last byte.
        self._seed = blake2b(key=blake2b(secret).digest(), digest_size=32, person=b"guard-verdict")
        self._seed.update(_packed([str(FORMAT), screen, judge]))

    def key(
        self,
        content: Content,
        normalised: Normalised,
        policy: str,
        only: frozenset[str] | None = None,
        tenant: str = "",
    ) -> bytes:
        """The key of one text of a tenant's under the policy with this assessment fingerprint."""
        asked = "*" if only is None else ",".join(sorted(only))
        counts = f"{len(content.context)} {len(normalised.views)}"
        parts = [tenant, policy, content.rail.value, content.role, normalised.text, asked, counts]
        parts += [part for turn in content.context for part in (turn.role, turn.text)]
        parts += [part for view in normalised.views for part in (view.kind, view.text)]
        state = self._seed.copy()
        state.update(_packed(parts))
        return state.digest()


def _packed(parts: list[str]) -> bytes:
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return b"".join([struct.pack("<Q", len(part)) + part for part in encoded])
