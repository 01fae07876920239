"""What changed from one run to the next, and whether that is more than chance."""

import msgspec
import pytest

from guard.errors import DatasetError
from guard.metrics import Interval
from guard.regress.flips import Baseline, Remembered, compared, mcnemar, read_baseline
from guard.regress.gates import CategoryGate, Gates, checked
from guard.regress.scores import CategoryScores


def a_run(fingerprint: str = "f", **cases: Remembered) -> Baseline:
    return Baseline(1, "test", fingerprint, {"screen": "s", "judge": None}, {"hate": fingerprint}, cases)


def one(action: str = "allow", *, passed: bool = True, case: str = "c", **violated: float) -> Remembered:
    return Remembered(case, action, passed, violated)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("broken", "mended", "expected"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (6, 0, 0.03125), (0, 6, 0.03125), (3, 3, 1.0), (10, 2, 0.038574)],
)
def test_mcnemar_is_exact(broken: int, mended: int, expected: float):
    """Against the binomial distribution, by hand."""
    assert mcnemar(broken, mended) == pytest.approx(expected, abs=1e-6)


def test_mcnemar_bears_many_cases():
    assert mcnemar(2_000, 1_000) < 1e-50
    assert mcnemar(2_000, 2_000) == 1.0


def test_flips_are_told_by_direction_worst_first():
    before = a_run(
        kept=one("flag", hate=0.8),
        broken=one("allow"),
        mended=one("allow", passed=False),
        changed=one("flag", hate=0.6),
        edited=one("allow", case="old"),
        gone=one(),
    )
    after = a_run(
        "g",
        kept=one("flag", hate=0.7),
        broken=one("block", passed=False, violence=0.9),
        mended=one("flag", hate=0.75),
        changed=one("review", hate=0.6),
        edited=one("block", case="new"),
        new=one(),
    )
    found = compared(before, after)
    assert [(flip.id, flip.direction, flip.before, flip.after) for flip in found.flips] == [
        ("broken", "broken", "allow", "block"),
        ("changed", "changed", "flag", "review"),
        ("mended", "mended", "allow", "flag"),
    ]
    assert (found.broken, found.mended, found.p_value) == (1, 1, 1.0)
    assert (found.new, found.gone, found.edited) == (("new",), ("gone",), ("edited",))
    assert (found.policy_changed, found.models_changed) == (True, False)
    assert found.flips[0].violated_after == {"violence": 0.9}
    assert found.definitions == ("hate",)
    assert reached(Gates(), flips=found)["unread_definitions"] is False
    assert "unread_definitions" not in reached(Gates(), flips=found, judge=True)
    assert "unread_definitions" not in reached(Gates(unread_definitions=True), flips=found)


def test_a_baseline_is_written_a_line_for_each_case_and_read_again(tmp_path):
    path = tmp_path / "baseline.json"
    run = a_run(b=one("flag", hate=0.81), a=one())
    path.write_bytes(run.encoded())
    assert read_baseline(path) == run
    lines = path.read_text().splitlines()
    assert [line[:5] for line in lines[1:3]] == ['  "a"', '  "b"']
    assert len(lines) == 4
    assert read_baseline(tmp_path / "none.json") is None
    path.write_text("{}")
    with pytest.raises(DatasetError, match=r"is no baseline .* --update-baseline"):
        read_baseline(path)


def scores(recall: float, rate: float = 0.0) -> CategoryScores:
    whole = Interval(1.0, 1.0, 1.0)
    return CategoryScores(10, 10, whole, Interval(recall, 0, 1), whole, Interval(rate, 0, 1))


def reached(gates: Gates, **found: object) -> dict[str, bool]:
    base = {"cases": 10, "failed": 0, "known": 0, "categories": {}, "tags": {}, "flips": None, "judge": False}
    return {gate.name: gate.reached for gate in checked(gates, **(base | found))}  # type: ignore[arg-type]


def test_gates_are_reached_or_not():
    gates = Gates(categories={"hate": CategoryGate(recall=0.8, false_positive_rate=0.1)}, known_failures=0.2)
    found = reached(gates, categories={"hate": scores(0.8, 0.1)}, known=2)
    assert found == {
        "failed": True,
        "known_failures": True,
        "categories.hate.recall": True,
        "categories.hate.false_positive_rate": True,
    }
    found = reached(gates, categories={"hate": scores(0.79, 0.11)}, known=3, failed=1)
    assert not any(found.values())


def test_a_gate_on_a_category_without_cases_is_not_reached():
    assert reached(Gates(categories={"hate": CategoryGate(recall=0.0)}))["categories.hate.recall"] is False
    undefined = msgspec.structs.replace(scores(float("nan")))
    found = reached(Gates(categories={"hate": CategoryGate(recall=0.0)}), categories={"hate": undefined})
    assert found["categories.hate.recall"] is False


def test_only_a_significant_turn_for_the_worse_fails():
    def flips(broken: int, mended: int) -> object:
        before = {f"b{n}": one() for n in range(broken)} | {f"m{n}": one(passed=False) for n in range(mended)}
        after = {f"b{n}": one("flag", passed=False, hate=0.9) for n in range(broken)}
        after |= {f"m{n}": one("flag", hate=0.9) for n in range(mended)}
        return compared(a_run(**before), a_run(**after))

    assert reached(Gates(), flips=flips(5, 0))["significance"] is True
    assert reached(Gates(), flips=flips(6, 0))["significance"] is False
    assert reached(Gates(), flips=flips(0, 6))["significance"] is True
    assert "significance" not in reached(Gates(significance=None), flips=flips(6, 0))
    assert reached(Gates(broken=2), flips=flips(3, 9))["broken"] is False
