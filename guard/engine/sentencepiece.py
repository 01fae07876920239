"""A SentencePiece model, as the `tokenizer.model` of Mistral and Llama 2, in the words of a `tokenizer.json`.

Only byte-pair models that leave a text as it is are read; there is nothing to install for it.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["converted"]

_SPACE = "▁"
_NORMAL, _CONTROL, _USER = 1, 3, 4
_BPE = 2


def converted(model: bytes, added: Mapping[str, int]) -> dict[str, Any]:
    """What `tokenizer.json` would say.

    Args:
        model: the file's content.
        added: tokens that the model has beside it, and their numbers.

    Raises:
        ValueError: the file is no such model.
    """
    try:
        fields = list(_fields(model))
        pieces = [_piece(value) for number, value in fields if number == 1]
        trainer = dict(_fields(_last(fields, 2)))
        normalizer = dict(_fields(_last(fields, 3)))
    except (LookupError, TypeError, AttributeError, ValueError, struct.error) as exc:
        raise ValueError("it is no SentencePiece model") from exc
    vocabulary = {text: number for number, (text, _, _) in enumerate(pieces)}
    unknown = trainer.get(40, 0)
    if not pieces or len(vocabulary) != len(pieces) or not isinstance(unknown, int) or unknown >= len(pieces):
        raise ValueError("it is no SentencePiece model")
    if trainer.get(3, 1) != _BPE or not trainer.get(35) or normalizer.get(2) or normalizer.get(4, 1):
        raise ValueError("only byte-pair models are read that change nothing in a text; give a tokenizer.json")
    special = {unknown: pieces[unknown][0]}
    special |= {number: text for number, (text, _, kind) in enumerate(pieces) if kind in (_CONTROL, _USER)}
    special |= {number: text for text, number in added.items()}
    return {
        "version": "1.0",
        "added_tokens": [
            {
                "id": number,
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number, text in sorted(special.items())
        ],
        "pre_tokenizer": {
            "type": "Metaspace",
            "replacement": _SPACE,
            "prepend_scheme": "first" if normalizer.get(3, 1) else "never",
            "split": False,
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "unk_token": pieces[unknown][0],
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": vocabulary,
            "merges": _merges(pieces),
        },
    }


def _merges(pieces: list[tuple[str, float, int]]) -> list[tuple[str, str]]:
    """Every way to put a piece together of two others, the best pieces first."""
    normal = {text: number for number, (text, _, kind) in enumerate(pieces) if kind == _NORMAL}
    found = []
    for text, number in normal.items():
        ways = [(text[:at], text[at:]) for at in range(1, len(text))]
        known = sorted((normal[left], normal[right]) for left, right in ways if left in normal and right in normal)
        found += [(-pieces[number][1], number, way) for way in known]
    found.sort()
    return [(pieces[left][0], pieces[right][0]) for _, _, (left, right) in found]


def _piece(data: Any) -> tuple[str, float, int]:
    fields = dict(_fields(data))
    (score,) = struct.unpack("<f", fields.get(2, bytes(4)))
    text = fields[1].decode()
    return text, score, fields.get(3, _NORMAL)


def _last(fields: list[tuple[int, Any]], wanted: int) -> Any:
    return next((value for number, value in reversed(fields) if number == wanted), b"")


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of every field of a message in the wire format of Protocol Buffers."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value: Any
            value, at = _varint(data, at)
        else:
            if kind == 2:
                size, at = _varint(data, at)
            else:
                size = {1: 8, 5: 4}[kind]
            value, at = data[at : at + size], at + size
            if at > len(data):
                raise IndexError(at)
        yield key >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
