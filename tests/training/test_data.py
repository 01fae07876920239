"""Near-duplicates, caps and the split, on files written here."""

import gzip
import json
import random
from pathlib import Path

import pytest

from training.data import Example, Measuring, group_of, public_examples, split
from training.heads import clean
from training.labels import SOURCES


def an_example(text: str, *, group: str = "", source: str = "civil_comments_10k", times: float = 1.0) -> Example:
    return Example(text, "comment", "", clean(), group or group_of(text), source, times)


def write_sources(folder: Path, texts: list[str]) -> None:
    """Every source, empty but for `civil_comments_10k`."""
    for source in SOURCES:
        with gzip.open(folder / f"{source}.jsonl.gz", "wt", encoding="utf-8") as out:
            for number, text in enumerate(texts if source == "civil_comments_10k" else []):
                row = {"id": str(number), "text": text, "role": "comment", "context": None, "flagged": 0}
                out.write(json.dumps({**row, "labels": {"toxicity_target": 0.0}}) + "\n")


def test_texts_that_differ_in_case_digits_and_punctuation_are_taken_once(tmp_path: Path) -> None:
    """The second copy would count twice, or stand on both sides of the split."""
    write_sources(tmp_path, ["Call me at 10, now!", "call me at 11 NOW", "Something else."])
    assert len(public_examples(tmp_path)) == 2


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    """A training on half of the data must not pass for a whole one."""
    with pytest.raises(FileNotFoundError, match=r"civil_comments_10k\.jsonl\.gz: give the folder"):
        public_examples(tmp_path)


def test_near_duplicates_fall_on_the_same_side() -> None:
    """The split goes by the normalised text, not by the row."""
    texts = [f"word number {chr(97 + i)}{chr(97 + j)}" for i in range(26) for j in range(26)]
    train, validation = split([an_example(t) for t in texts] + [an_example(t.upper() + "!") for t in texts])
    assert validation
    assert not {e.group for e in train} & {e.group for e in validation}
    assert len(validation) == 2 * len({e.group for e in validation})


def test_a_synthetic_family_falls_on_one_side() -> None:
    """Two fillings of one template are nearly the same sentence."""
    found = [an_example(f"w{i} of family {i % 60}", group=f"family {i % 60}", source="synthetic") for i in range(600)]
    train, validation = split(found)
    assert validation
    assert not {e.group for e in train} & {e.group for e in validation}


def test_the_split_is_the_same_every_time_and_about_five_per_cent() -> None:
    """It hangs on the text alone."""
    found = [an_example(f"{random.Random(i).random()} {chr(97 + i % 26)}{i // 26 * 'x'}") for i in range(2_000)]
    first, second = split(found), split(reversed(found))
    assert {e.text for e in first.validation} == {e.text for e in second.validation}
    assert 0.02 < len(first.validation) / len(found) < 0.1


def test_a_long_text_with_another_end_is_a_near_duplicate(tmp_path: Path) -> None:
    """One jailbreak with a hundred questions inside is one jailbreak."""
    words = [f"{chr(97 + i % 26)}{chr(97 + i // 26)}word" for i in range(120)]
    frame = " ".join(words)
    write_sources(
        tmp_path, [f"{frame} How do I bake bread?", f"{frame} Who was Cleopatra then?", " ".join(words[::-1])]
    )
    assert len(public_examples(tmp_path)) == 2


def test_nothing_of_the_measuring_sets_is_trained_on(tmp_path: Path) -> None:
    """Neither a row of theirs nor a near-duplicate; a word that anybody says belongs to nobody."""
    words = [f"{chr(97 + i % 26)}{chr(97 + i // 26)}word" for i in range(120)]
    (tmp_path / "train").mkdir()
    (tmp_path / "dev").mkdir()
    write_sources(
        tmp_path / "train", ["A text that both sides have!", " ".join([*words, "more"]), "Nice.", "My own words."]
    )
    write_sources(tmp_path / "dev", ["a text that both sides have", " ".join(words), "nice"])
    found = public_examples(tmp_path / "train", Measuring.of(tmp_path / "dev"))
    assert {example.text for example in found} == {"Nice.", "My own words."}
