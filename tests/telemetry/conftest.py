"""A collector for each test."""

from collections.abc import Iterator

import pytest

from tests.telemetry.collector import Collector, running_collector


@pytest.fixture
def collector() -> Iterator[Collector]:
    """One that only this test sends to."""
    with running_collector() as running:
        yield running


@pytest.fixture(scope="module")
def module_collector() -> Iterator[Collector]:
    """One for the tests of a module."""
    with running_collector() as running:
        yield running
