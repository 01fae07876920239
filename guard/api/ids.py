"""Identifiers of requests and answers: 96 random bits of the system's, fetched for many at a time.

One call of the system for each would cost a tenth of a cached verdict.
"""

import os
from collections.abc import Iterator

__all__ = ["fresh_id"]

_BYTES = 12
_AT_ONCE = 512


def _ids() -> Iterator[str]:
    while True:
        drawn = os.urandom(_BYTES * _AT_ONCE).hex()
        yield from (drawn[start : start + 2 * _BYTES] for start in range(0, len(drawn), 2 * _BYTES))


_IDS = _ids()
if hasattr(os, "register_at_fork"):
    # Two processes must not go on with the same ones.
    os.register_at_fork(after_in_child=lambda: globals().update(_IDS=_ids()))


def fresh_id() -> str:
    """24 hexadecimal digits that nobody had before. For the event loop's thread."""
    return next(_IDS)
