"""The static tier: what is distilled in torch is what the service computes, and the margin keeps its promise."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from guard.screen.static import StaticSettings, StaticTier
from training.model import ROLES
from training.static import MULTIPLIER, PAIRS, Agreement, Student, Taught, agreement, distil, table, write

VOCABULARY = 300


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small matrices on a shared machine: threads would only wait for each other."""
    torch.set_num_threads(1)


def some_lessons(count: int = 600) -> list[Taught]:
    """Token 7 is harmful, but not behind token 8."""
    rng = random.Random(0)
    made = []
    for number in range(count):
        ids = [rng.randrange(10, VOCABULARY) for _ in range(rng.randrange(1, 12))]
        if number % 3 == 0:
            ids += [7]
        if number % 6 == 0:
            ids[-1:] = [8, 7]
        harmful = number % 3 == 0 and number % 6 != 0
        logits = np.array([3.0 if harmful else -4.0, -5.0], dtype=np.float32)
        made.append(Taught(ids, rng.choice(list(ROLES)), logits, "own", "report" if number % 5 == 0 else "learned"))
    return made


def as_tier(student: Student, path: Path, *, margin: float = 0.0) -> StaticTier:
    write(student, path)
    return StaticTier(
        path,
        StaticSettings(("hate", "violence"), margin, 16, PAIRS, MULTIPLIER),
        {role: (np.ones(2), np.zeros(2)) for role in ROLES},
    )


def test_the_written_tier_gives_the_students_logits(tmp_path: Path) -> None:
    """Within what int8 vectors cost; single tokens and every role included."""
    torch.manual_seed(0)
    student = Student(VOCABULARY, 2).eval()
    tier = as_tier(student, tmp_path / "static.npz")
    for ids, role in (([5], "user"), ([5, 6], "unknown"), ([9, 9, 8, 200, 31], "assistant"), ([77] * 16, "comment")):
        with torch.no_grad():
            padded = torch.tensor([ids + [0] * (20 - len(ids))])
            expected = student(padded, torch.tensor([list(ROLES).index(role)]))[0].numpy()
        assert np.abs(tier.logits(ids, role) - expected).max() < 0.01


def test_a_student_learns_pairs_of_words(tmp_path: Path) -> None:
    """The word alone raises the score, behind the other word it does not."""
    student = distil(some_lessons(), VOCABULARY, [0, 1], epochs=12)
    tier = as_tier(student, tmp_path / "static.npz")
    assert tier.logits([20, 30, 7], "user")[0] > 0
    assert tier.logits([20, 30, 8, 7], "user")[0] < 0
    assert tier.logits([20, 30, 40], "user")[0] < -2
    careful = as_tier(student, tmp_path / "static.npz", margin=3.0).foresee([20], "somebody")
    logits = tier.logits([20], "unknown")
    assert careful.scores == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-4)
    assert careful.at_most == pytest.approx(1 / (1 + np.exp(-logits - 3.0)), abs=1e-4)


def test_what_is_beyond_the_tier_is_left_to_the_encoder(tmp_path: Path) -> None:
    """No token, or too many."""
    tier = as_tier(Student(VOCABULARY, 2), tmp_path / "static.npz")
    assert tier.foresee([], "user") is None
    assert tier.foresee([5] * 17, "user") is None


def test_the_table_shows_shares_and_disagreements() -> None:
    """A line for all and one for each source."""
    found = table({"all": Agreement(200, 150, 1), "banking77": Agreement(0, 0, 0)})
    assert "| all | 200 | 75.0% | 1 |" in found
    assert "| banking77 | 0 | 0.0% | 0 |" in found


class Scripted:
    """An encoder with a scale and offset for every role."""

    def __init__(self) -> None:
        self.heads = ("violence", "hate")

    def scaling(self, role: str) -> tuple[np.ndarray, np.ndarray]:
        return np.ones(2), np.zeros(2)


def test_agreement_counts_what_the_policy_would_have_acted_on(tmp_path: Path) -> None:
    """A larger margin settles less and errs less; texts beyond the tier are texts that it does not settle."""
    student = distil(some_lessons(), VOCABULARY, [0, 1], epochs=12)
    tier = as_tier(student, tmp_path / "static.npz")
    swapped = [replace(one, logits=one.logits[::-1].copy()) for one in some_lessons()]
    beyond = [replace(one, ids=[]) for one in swapped[:50]]
    below = np.array([0.3, 0.3])
    brave, careful, never = (
        agreement(tier, Scripted(), [*swapped, *beyond], below, margin) for margin in (-3.0, 1.0, 99.0)
    )
    assert brave.texts == 650
    assert brave.otherwise > careful.otherwise == 0
    assert 300 < careful.settled < brave.settled <= 600
    assert (never.settled, never.otherwise) == (0, 0)
