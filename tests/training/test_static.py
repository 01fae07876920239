"""The static tier: what is distilled in torch is what the service computes, and the bound keeps its promise."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from guard.screen.static import StaticSettings, StaticTier
from training import static
from training.manifest import sha256
from training.model import ROLES
from training.static import (
    CEILING,
    DISAGREE,
    MARGIN,
    MULTIPLIER,
    Agreement,
    Asked,
    Student,
    Taught,
    agreement,
    bound_of,
    distil,
    keep_static,
    seen,
    table,
    write,
)

VOCABULARY = 300


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small matrices on a shared machine: threads would only wait for each other."""
    torch.set_num_threads(1)


def some_lessons(count: int = 6_000, *, seed: int = 0) -> list[Taught]:
    """Token 7 is harmful, but not behind token 8."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        ids = [rng.randrange(101, VOCABULARY) for _ in range(rng.randrange(1, 12))]
        if number % 3 == 0:
            ids += [7]
        if number % 6 == 0:
            ids[-1:] = [8, 7]
        harmful = number % 3 == 0 and number % 6 != 0
        scores = np.array([0.9 if harmful else 0.01, 0.02])
        made.append(Taught(ids, rng.choice(list(ROLES)), scores, "own", "bound" if number % 5 == 0 else "learned"))
    return made


def as_tier(student: Student, path: Path, *, bound: float = 0.0, known: np.ndarray | None = None) -> StaticTier:
    write(student, path, np.ones(VOCABULARY, dtype=bool) if known is None else known)
    return StaticTier(path, StaticSettings(CEILING, bound, {}, tuple(ROLES), 600, 16, MULTIPLIER))


def test_the_written_tier_gives_the_students_logit(tmp_path: Path) -> None:
    """Within what int8 vectors cost; single tokens and every role included."""
    torch.manual_seed(0)
    student = Student(VOCABULARY).eval()
    tier = as_tier(student, tmp_path / "static.npz")
    for ids, role in (([5], "user"), ([5, 6], "unknown"), ([9, 9, 8, 200, 31], "assistant"), ([77] * 16, "comment")):
        with torch.no_grad():
            padded = torch.tensor([ids + [0] * (20 - len(ids))])
            expected = student(padded, torch.tensor([list(ROLES).index(role)]))[0].max()
        assert tier.logit(ids, role) == pytest.approx(float(expected), abs=0.01)
    assert tier.logit([5, 6], "somebody") == tier.logit([5, 6], "unknown")


def test_what_is_beyond_the_tier_is_left_to_the_encoder(tmp_path: Path) -> None:
    """No token, too many, one that was hardly seen, one that there is not: no bound is high enough."""
    known = np.ones(VOCABULARY, dtype=bool)
    known[[0, 42]] = False
    tier = as_tier(Student(VOCABULARY), tmp_path / "static.npz", bound=99.0, known=known)
    assert tier.settles([5] * 16, "user")
    assert not tier.settles([], "user")
    assert not tier.settles([5] * 17, "user")
    assert not tier.settles([5, 42, 6], "user")
    assert not tier.settles([5, 0], "user")
    assert not tier.settles([5, VOCABULARY], "user")


def test_a_token_is_known_from_five_learned_texts_on() -> None:
    """Twice in one text is once; texts that are held back do not count."""
    one = Taught([3, 3, 4], "user", np.array([0.0]), "own", "learned")
    other = Taught([9], "user", np.array([0.0]), "own", "bound")
    found = seen([one] * 4 + [other] * 9, 10)
    assert not found.any()
    found = seen([one] * 5 + [other] * 9, 10)
    assert np.flatnonzero(found).tolist() == [3, 4]


def test_a_student_learns_pairs_of_words_and_the_bound_holds_on_others(tmp_path: Path) -> None:
    """The word alone is risky, behind the other word it is not; what is settled is so on texts not learned from."""
    lessons = some_lessons()
    tier = as_tier(distil(lessons, VOCABULARY, epochs=12), tmp_path / "static.npz")
    alone, behind, plain = (tier.logit(ids, "user") for ids in ([120, 130, 7], [120, 130, 8, 7], [120, 130, 140]))
    assert alone is not None
    assert behind is not None
    assert plain is not None
    assert alone > behind + 2
    assert alone > plain + 2
    bound = bound_of(Asked.by(tier, [lesson for lesson in lessons if lesson.side == "bound"]))
    assert bound is not None
    found = agreement(Asked.by(tier, some_lessons(2_000, seed=1)), bound)
    assert found.settled > 400
    assert found.reached <= 2 * DISAGREE * found.settled + 1


def test_the_bound_is_the_highest_that_keeps_the_promise_less_the_margin() -> None:
    """A thousand plain texts, and harmful ones from a logit of -3 on; one odd text far below is no reason for none."""
    plain = [Taught([1], "user", np.array([0.01]), "own", "bound")] * 1_000
    harmful = [Taught([1], "user", np.array([0.5]), "own", "bound")] * 100
    asked = Asked([*plain, *harmful], [*np.linspace(-8, -1, 1_000), *np.linspace(-3, -1, 100)])
    bound = bound_of(asked)
    assert bound is not None
    assert -3.0 <= bound + MARGIN < -2.7
    assert agreement(asked, bound).reached <= DISAGREE * agreement(asked, bound).settled
    odd = Asked([*asked.lessons, harmful[0]], [*asked.logits, -7.95])
    assert -3.2 <= (bound_of(odd) or 0.0) + MARGIN < -2.7
    assert bound_of(Asked(harmful, [-13.0] * 100)) is None
    assert bound_of(Asked(plain[:100], [-13.0] * 100)) is None, "a hundred texts show nothing of two in a thousand"


def test_the_table_shows_shares_and_disagreements() -> None:
    """A line for all and one for each source."""
    found = table({"all": Agreement(200, 150, 1), "banking77": Agreement(0, 0, 0)})
    assert "| all | 200 | 75.0% | 1 |" in found
    assert "| banking77 | 0 | 0.0% | 0 |" in found


def manifest_of(graph: str, offset: float, **more: object) -> dict:
    calibration = {"user": {"hate": {"scale": 1.0, "offset": offset}}}
    return {"files": {"encoder.onnx": graph}, "calibration": calibration, **more}


def write_manifest(folder: Path, manifest: dict) -> None:
    (folder / "model.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("graph", "offset", "dev", "kept"),
    [
        ("a", 0.1, False, True),
        ("a", 0.1004, False, True),
        ("a", 0.2, False, False),
        ("b", 0.1, False, False),
        ("a", 0.1, True, False),
    ],
)
def test_a_tier_is_kept_for_the_same_encoder_alone(
    tmp_path: Path, graph: str, offset: float, dev: bool, kept: bool
) -> None:
    """Graph and calibration but for the last digits; and where there are measuring sets, only one measured on them."""
    (tmp_path / "static.npz").write_bytes(b"tier")
    old = manifest_of("a", 0.1)
    write_manifest(tmp_path, old)
    section = {"of": static._origin(old), "agreement": {}}
    before = old | {"static": section, "files": old["files"] | {"static.npz": sha256(tmp_path / "static.npz")}}
    write_manifest(tmp_path, manifest_of(graph, offset))
    assert keep_static(tmp_path, before, dev=tmp_path if dev else None) is kept
    now = json.loads((tmp_path / "model.json").read_text())
    assert now.get("static") == (section if kept else None)
    assert ("static.npz" in now["files"]) is kept


def test_without_an_earlier_tier_or_its_file_nothing_is_kept(tmp_path: Path) -> None:
    """A folder that is new, and one whose file somebody has removed to have it made again."""
    old = manifest_of("a", 0.1)
    write_manifest(tmp_path, old)
    assert not keep_static(tmp_path, {}, dev=None)
    section = {"of": static._origin(old), "agreement": {}}
    assert not keep_static(tmp_path, old | {"static": section, "files": old["files"] | {"static.npz": "x"}}, dev=None)
