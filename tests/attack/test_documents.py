"""What the docs say is defended, and what they say of failures: each test that they name is there, and each switch."""

import re
from pathlib import Path

import msgspec
import pytest

from guard.policy import PolicySpec

ROOT = Path(__file__).parents[2]


def rows(page: str, last: str) -> list[list[str]]:
    """The cells of the page's tables whose last column is called `last`."""
    found, within = [], False
    for line in (ROOT / "docs" / page).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            within = False
        elif cells[-1] == last:
            within = True
        elif within and not set(cells[-1]) <= {"-"}:
            found.append(cells)
    return found


def named(cell: str) -> list[tuple[str, str]]:
    """The files and tests of a cell."""
    return re.findall(r"`(tests/[\w/.]*)(?:::(\w+))?`", cell)


@pytest.mark.parametrize(("page", "last"), [("threat-model.md", "tests"), ("operations.md", "test")])
def test_every_row_names_a_test_that_there_is(page: str, last: str):
    """By file, and where a name is given by that name."""
    table = rows(page, last)
    assert len(table) > 10
    for cells in table:
        assert named(cells[-1]), cells[0]
        for file, name in named(cells[-1]):
            assert (ROOT / file).exists(), file
            if name:
                assert re.search(rf"^(?:async )?def {name}\(", (ROOT / file).read_text(), flags=re.MULTILINE), name


def test_every_failure_has_a_metric_and_every_switch_is_in_the_table():
    """With the default that the policy's schema has. That the metrics exist is shown in tests/deploy."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(PolicySpec)}
    switches: dict[str, set[object]] = {}
    for what, switch, _, metric, _ in rows("operations.md", "test"):
        assert re.search(r"`guard_\w+`", metric), what
        for name, default in re.findall(r"`(when_\w+)`(?: \(`(\w+)`\))?", switch):
            switches.setdefault(name, set()).update([default] if default else [])
    there = {name: {default} for name, default in defaults.items() if name.startswith("when_")}
    assert switches == there
