"""Assessments as bytes, for caches outside of the process: one byte of format, then msgpack."""

import msgspec

from guard.cache import FORMAT
from guard.verdict import Assessment

__all__ = ["decode", "encode"]

_MARK = bytes([FORMAT])
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Assessment)


def encode(assessment: Assessment) -> bytes:
    """The assessment's bytes: ``b"\\x01"`` and a msgpack map for format 1."""
    return _MARK + _encoder.encode(assessment)


def decode(value: bytes) -> Assessment | None:
    """The assessment, or None where the bytes are of another format or damaged."""
    if value[:1] != _MARK:
        return None
    try:
        return _decoder.decode(memoryview(value)[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
