"""Which requests are traced: by a share, and by what their clients ask for, within bounds."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.telemetry.sampling import Came, Sampling, came
from guard.testing import SteppingClock

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
RECORDED, LEFT = Came(TRACE, SPAN, sampled=True), Came(TRACE, SPAN, sampled=False)


def a_sampling(share: float, asked: float, clock: SteppingClock | None = None) -> Sampling:
    return Sampling(share, asked, clock=clock or SteppingClock(), chance=random.Random(1).random)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"00-{TRACE}-{SPAN}-01", RECORDED),
        (f"00-{TRACE}-{SPAN}-00", LEFT),
        (f"00-{TRACE}-{SPAN}-03", RECORDED),
        (f"00-{TRACE}-{SPAN}-02", LEFT),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", RECORDED),
        (f"cc-{TRACE}-{SPAN}-01", RECORDED),
        (f"cc-{TRACE}-{SPAN}-01.", None),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE[:-1]}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        (f"00-{TRACE}-{SPAN}-01\n", None),
        ("", None),
    ],
)
def test_a_traceparent_is_read_as_w3c_has_it(header, expected):
    """Ids that are none, other letters and the version that there never will be are malformed."""
    assert came(header.encode()) == expected


@given(st.binary(max_size=80))
def test_whatever_comes_as_a_traceparent_is_read(header):
    """Without an error; an id that comes out is one."""
    found = came(header)
    assert found is None or (int(found.trace_id, 16) and int(found.span_id, 16))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
def test_the_share_of_those_that_ask_for_nothing(share):
    """Within five standard deviations of 20,000 draws; none and all exactly."""
    sampling = a_sampling(share, 1_000.0)
    count = sum(sampling.records(None) for _ in range(20_000))
    assert abs(count - 20_000 * share) <= 5 * (20_000 * share * (1 - share)) ** 0.5


def test_what_its_client_does_not_record_is_not_recorded():
    """A trace without its beginning is worth little."""
    assert not any(a_sampling(1.0, 1_000.0).records(LEFT) for _ in range(100))


def test_flags_get_as_many_traces_as_the_settings_allow():
    """A flood of them is sampled by the share like everything else; room comes back with time, a second's at most."""
    clock = SteppingClock()
    sampling = a_sampling(0.0, 5.0, clock)
    assert sum(sampling.records(RECORDED) for _ in range(1_000)) == 5
    clock.step(0.4)
    assert sum(sampling.records(RECORDED) for _ in range(1_000)) == 2
    clock.step(3_600.0)
    assert sum(sampling.records(RECORDED) for _ in range(1_000)) == 5
    beyond = a_sampling(0.3, 5.0)
    assert abs(sum(beyond.records(RECORDED) for _ in range(20_000)) - 6_000) < 5 * 65 + 5


def test_flags_may_be_worth_nothing():
    """Then a client's flag is as good as none."""
    assert not any(a_sampling(0.0, 0.0).records(RECORDED) for _ in range(100))


def test_a_slow_rate_still_allows_one():
    """One every ten seconds is not none."""
    clock = SteppingClock()
    sampling = a_sampling(0.0, 0.1, clock)
    assert [sampling.records(RECORDED) for _ in range(3)] == [True, False, False]
    clock.step(10.0)
    assert sampling.records(RECORDED)


@pytest.mark.parametrize("trace_id", ["0" * 31 + "1", "f" * 32, "0" * 16 + "f" * 16, "f" * 16 + "0" * 15 + "1"])
def test_no_chance_hangs_on_an_id_that_a_client_chose(trace_id):
    """Samplers that compare the id with a bound record whatever is below it: here the low and the high do as well."""
    sampling = a_sampling(0.1, 0.0)
    asked = Came(trace_id, SPAN, sampled=True)
    assert abs(sum(sampling.records(asked) for _ in range(20_000)) - 2_000) < 5 * 43
