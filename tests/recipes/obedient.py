"""A model that does whatever it is told, so that all that is seen of a rail is the rail's own work.

`python -m tests.recipes.obedient` runs it alone: the figures in docs/recipes/README.md are of this model.
"""

import re
import time
from base64 import b64decode
from typing import Any

from tests.chat.doubles import an_answer, chunks_of, running_upstream

BASE64 = re.compile(r"\b(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?(?![A-Za-z0-9+/=])")


def obey(body: dict[str, Any]) -> Any:
    """Repeats the last message, and decodes what in it is Base64."""
    asked = body["messages"][-1]["content"]
    said = "\n".join([asked, *filter(None, map(_decoded, BASE64.findall(asked)))])
    return chunks_of([said]) if body.get("stream") else an_answer(said)


def _decoded(text: str) -> str:
    """What it stands for; empty where that is no text."""
    decoded = b64decode(text).decode("ascii", errors="replace")
    return decoded if decoded.isascii() and decoded.isprintable() else ""


if __name__ == "__main__":
    with running_upstream() as upstream:
        upstream.script = obey
        print(upstream.url, flush=True)
        while True:
            time.sleep(3_600)
