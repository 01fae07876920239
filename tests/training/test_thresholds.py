"""Thresholds are as low as the harmless prompts allow, and no lower."""

import numpy as np
import pytest

from training.heads import DECIDING
from training.thresholds import BUDGETS, choose


def scores_of(rng: np.random.Generator, rows: int, *, high: dict[int, float] | None = None) -> np.ndarray:
    """Low everywhere, and in the columns of `high` spread up to that score."""
    found = rng.uniform(0.0, 0.1, (rows, len(DECIDING)))
    for column, top in (high or {}).items():
        found[:, column] = rng.uniform(0.0, top, rows)
    return found


def test_no_budget_is_overdrawn_and_actions_climb() -> None:
    """Of all harmless prompts and of each set, for each action."""
    rng = np.random.default_rng(0)
    harmless = {"easy": scores_of(rng, 2_000), "hard": scores_of(rng, 400, high={0: 0.9, 3: 0.6})}
    harmful = scores_of(rng, 1_000, high={0: 1.0, 3: 1.0, 5: 1.0})
    known = np.where(harmful > 0.3, 1, 0).astype(np.int8)
    chosen = choose(harmless, harmful, harmful, known)
    for action, (total, each) in BUDGETS.items():
        bars = np.array([getattr(chosen[name], action) for name in DECIDING])
        flagged = {name: (scores >= bars).any(1) for name, scores in harmless.items()}
        assert sum(found.sum() for found in flagged.values()) <= total * 2_400
        assert all(found.mean() <= each for found in flagged.values())
    assert all(one.flag < one.review < one.block for one in chosen.values())
    assert all(one.doubt[0] < one.flag and one.doubt[1] >= one.block for one in chosen.values())


def test_a_category_that_costs_nothing_is_lowered_first() -> None:
    """Column 5 is never high in a harmless prompt, column 0 often is."""
    rng = np.random.default_rng(1)
    harmless = {"set": scores_of(rng, 1_000, high={0: 0.95})}
    harmful = scores_of(rng, 500, high={0: 1.0, 5: 1.0})
    chosen = choose(harmless, harmful, harmful, np.where(harmful > 0.5, 1, 0).astype(np.int8))
    assert chosen[DECIDING[5]].flag == pytest.approx(0.15, abs=0.011)
    assert chosen[DECIDING[0]].flag > 0.8
