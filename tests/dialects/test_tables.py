"""The tables of docs/dialects.md are those of the code."""

import subprocess
import sys

import pytest

from guard.dialects.perspective import STANDS_FOR
from guard.dialects.tables import tables
from guard.dialects.taxonomy import NEAR, TOGETHER, parts_of
from guard.policy import load_policies
from guard.service import pattern_names
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def default():
    return load_policies(ROOT / "policies", pattern_names())["default"]


def test_the_page_has_the_tables_of_the_code(default):
    """Whoever changes a map, a composite or a note changes the page."""
    page = (ROOT / "docs" / "dialects.md").read_text(encoding="utf-8")
    assert page.endswith(f"a test compares. -->\n\n{tables(default)}"), "run: guard policy dialects default"


def test_the_command_prints_them(default):
    """For any policy."""
    command = [sys.executable, "-c", "from guard.cli import main; main()", "policy", "dialects", "default"]
    done = subprocess.run(
        [*command, "--policies", str(ROOT / "policies")], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == tables(default)


def test_a_name_that_there_is_not_is_an_error():
    """With those that there are."""
    command = [sys.executable, "-c", "from guard.cli import main; main()", "policy", "dialects", "nobody"]
    done = subprocess.run(
        [*command, "--policies", str(ROOT / "policies")], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "no policy `nobody`; there is: children, default" in done.stderr


def test_composites_and_notes_speak_of_categories_that_there_are(default):
    """A name that nobody carries would be a note on nothing."""
    for table in (TOGETHER, NEAR):
        for taxonomy, names in table.items():
            known = {*parts_of(default, taxonomy), *STANDS_FOR}
            assert set(names) <= known
    for taxonomy, names in TOGETHER.items():
        assert {other for others in names.values() for other in others} <= set(parts_of(default, taxonomy))
