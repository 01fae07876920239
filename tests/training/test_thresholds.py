"""Thresholds are as low as the harmless texts allow, and no lower."""

import numpy as np
import pytest

from training.heads import DECIDING
from training.thresholds import LEAST, SHARES, TOP, choose, weights_of


def scores_of(rng: np.random.Generator, rows: int, *, high: dict[int, float] | None = None) -> np.ndarray:
    """Low everywhere, and in the columns of `high` spread up to that score."""
    found = rng.uniform(0.0, 0.1, (rows, len(DECIDING)))
    for column, top in (high or {}).items():
        found[:, column] = rng.uniform(0.0, top, rows)
    return found


def chosen_for(harmless: dict[str, np.ndarray], allowed: dict[str, float], harmful: np.ndarray, bar: float) -> dict:
    known = np.where(harmful > bar, 1, 0).astype(np.int8)
    weights = np.full(len(harmful), 1 / len(harmful))
    return choose(harmless, allowed, harmful, weights, harmful, known)


def test_no_set_is_flagged_more_than_allowed_and_actions_climb() -> None:
    """For each action, its part of the share."""
    rng = np.random.default_rng(0)
    harmless = {"easy": scores_of(rng, 2_000, high={3: 0.4}), "hard": scores_of(rng, 400, high={0: 0.9, 3: 0.6})}
    harmful = scores_of(rng, 1_000, high={0: 1.0, 3: 1.0, 5: 1.0})
    allowed = {"easy": 0.05, "hard": 0.15}
    chosen = chosen_for(harmless, allowed, harmful, 0.3)
    for action, share in SHARES.items():
        bars = np.array([getattr(chosen[name], action) for name in DECIDING])
        for name, scores in harmless.items():
            assert (scores >= bars).any(1).mean() <= allowed[name] * share
    assert all(one.flag < one.review < one.block for one in chosen.values())
    assert all(getattr(one, action) >= LEAST[action] for one in chosen.values() for action in SHARES)
    assert all(one.doubt[0] < one.flag and one.doubt[1] >= one.block for one in chosen.values())


def test_a_category_that_costs_nothing_is_lowered_first() -> None:
    """Column 5 is never high in a harmless text, column 0 often is."""
    rng = np.random.default_rng(1)
    harmless = {"set": scores_of(rng, 1_000, high={0: 0.95})}
    chosen = chosen_for(harmless, {"set": 0.05}, scores_of(rng, 500, high={0: 1.0, 5: 1.0}), 0.5)
    assert chosen[DECIDING[5]].flag == pytest.approx(0.15, abs=0.011)
    assert chosen[DECIDING[0]].flag > 0.8


def test_what_may_not_be_lowered_stays_at_the_top_with_its_actions_apart() -> None:
    """A set that is over its share from the start binds the category that flags it, not the others."""
    rng = np.random.default_rng(2)
    bad = scores_of(rng, 200, high={4: 1.0})
    assert (bad[:, 4] >= TOP["flag"]).mean() > 0.05
    chosen = chosen_for({"set": bad}, {"set": 0.05}, scores_of(rng, 500, high={0: 1.0, 4: 1.0}), 0.5)
    held, free = chosen[DECIDING[4]], chosen[DECIDING[0]]
    assert held.flag < held.review < held.block == TOP["block"]
    assert free.flag < 0.3
    assert free.block == LEAST["block"]


def test_each_role_weighs_the_same() -> None:
    """However many rows it has."""
    weights = weights_of(["user"] * 90 + ["comment"] * 10)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[:90].sum() == pytest.approx(0.5)
