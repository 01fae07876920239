"""The server that OpenAI's and Mistral's moderation routes are tested on: policies in which one made-up word does one
thing, so that a test knows what is found."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT, Server, serving

HARMLESS = "The meeting moved to ten o'clock, bring the slides please."
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/image.png"}}
LONG = "and so on without end " * 4_000
"""Longer than the policies `hurried` and `careless` have time for."""

# grumpf: harassment, blocked. zorbl: hate, blocked. kwyjib: violence, for a person to look at. plonk: a category that
# no other vendor has a name for, blocked. snarf: one of one's own that goes by names of theirs, blocked.
WORDS = """\
version: 1
name: {name}
description: Acts on made-up words.
extends: default
categories:
  rivals:
    title: Rivals
    definition: The text speaks well of a rival's product.
    group: business
    thresholds: {{block: 0.9}}
  taunts:
    title: Taunts
    definition: The text taunts the other team.
    group: business
    thresholds: {{block: 0.9}}
    maps: {{openai: [harassment], mistral: [hate_and_discrimination]}}
terms:
  word_of_harassment: {{category: harassment, action: block, words: [grumpf]}}
  word_of_hate: {{category: hate, action: block, words: [zorbl]}}
  word_of_violence: {{category: violence, action: review, words: [kwyjib]}}
  word_of_rivals: {{category: rivals, action: block, words: [plonk]}}
  word_of_taunts: {{category: taunts, action: block, words: [snarf]}}
"""
ALONE = """\
version: 1
name: alone
description: Knows one category.
categories:
  sexual:
    title: Sexual content
    definition: The text describes sexual acts in order to arouse.
    group: adult
    thresholds: {flag: 0.5}
    maps: {openai: [sexual], mistral: [sexual]}
"""
MORE = {
    "words": "",
    "refusing": "chat: {uninspected: refuse}\n",
    "hurried": "deadline_ms: 1\nwhen_screen_fails: block\n",
    "careless": "deadline_ms: 1\nwhen_screen_fails: allow\n",
}


@contextmanager
def serving_words(folder: Path, **environment: str) -> Iterator[Server]:
    """A server whose default policy is `words`; `refusing`, `hurried` and `careless` are like it, `alone` is not."""
    policies = folder / "policies"
    shutil.copytree(ROOT / "policies", policies)
    texts = {name: WORDS.format(name=name) + more for name, more in MORE.items()} | {"alone": ALONE}
    for name, text in texts.items():
        (policies / name).mkdir()
        (policies / name / "policy.yaml").write_text(text, encoding="utf-8")
    own = {"GUARD_POLICIES": str(policies), "GUARD_DEFAULT_POLICY": "words"}
    with serving(**own | environment) as server:
        yield server
