"""How many connections there is room for."""

import subprocess
import sys

import pytest

CODE = """
import resource, sys
from guard.api.wire import room
soft, hard, most = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(room(most), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "most", "expected"),
    [
        # Raised as far as is needed, and no further.
        (300, 4_096, 1_000, (1_000, 2_256, 4_096)),
        # As far as it goes: two files for each, and 256.
        (300, 1_256, 1_000, (500, 1_256, 1_256)),
        (4_096, 4_096, 1_000, (1_000, 4_096, 4_096)),
        (200, 200, 1_000, (1, 200, 200)),
    ],
)
def test_the_room_is_what_the_system_lets_us_open(soft: int, hard: int, most: int, expected: tuple[int, int, int]):
    """In a process of its own, for the limits cannot be raised again."""
    command = [sys.executable, "-c", CODE, str(soft), str(hard), str(most)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert tuple(map(int, told.split())) == expected


def test_less_room_than_was_asked_for_is_told(start_server):
    """When the service starts."""
    with start_server(GUARD_MAX_CONNECTIONS="100000000") as server:
        assert '"connections_bounded"' in server.log()
