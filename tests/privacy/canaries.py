"""Words that nobody else says, and the search for them in everything that stays."""

import base64
import hashlib
import json
import random
import string
from collections.abc import Iterator, Mapping
from urllib.parse import quote

__all__ = ["Canaries", "forms", "found"]


class Canaries(dict[str, str]):
    """A canary for each place that one is sent to: two words, the second with a letter that is no ASCII."""

    def __missing__(self, place: str) -> str:
        # The letters are far from any language's, and of what a server writes of its own none is like them.
        first, second = ("".join(random.SystemRandom().choices(string.ascii_lowercase, k=14)) for _ in range(2))
        self[place] = f"{first} {second[:7]}ü{second[7:]}"
        return self[place]


def forms(said: str) -> Iterator[bytes]:
    """The whole and each of its words: as they are, in other letters, written otherwise, and hashed without a key."""
    for part in {said, *said.split()}:
        for text in {part, part.upper(), part.title()}:
            raw = text.encode()
            yield from {raw, text.encode("latin-1"), text.encode("utf-16-le")}
            yield from {json.dumps(text)[1:-1].encode(), repr(raw)[2:-1].encode(), quote(text).encode()}
            yield from {quote(text, safe=string.printable).encode(), text.replace(" ", "+").encode()}
            yield from {raw.hex().encode(), raw.hex().upper().encode()}
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                # Three places where it may begin; of the ends only what does not hang on the neighbours.
                for shift in range(3):
                    held = encode(b"\0" * shift + raw)
                    yield held[(0, 2, 3)[shift] : -4]
        for kind in (hashlib.sha256, hashlib.sha1, hashlib.md5, hashlib.blake2b):
            digest = kind(part.encode()).digest()
            yield from (digest, digest.hex().encode())


def found(canaries: Mapping[str, str], kept: Mapping[str, bytes]) -> list[str]:
    """Where which canary was found, as `PLACE in KEPT`; nothing where all is well."""
    return sorted(
        f"{place} in {name}"
        for place, said in canaries.items()
        for name, content in kept.items()
        if any(form in content for form in forms(said))
    )
