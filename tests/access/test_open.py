"""Nobody opens Guard to strangers by accident."""

import pytest

from guard.cli.serve import check_open
from guard.config import settings_from
from guard.errors import ConfigError


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_the_loopback_needs_no_keys(host):
    """Whoever is on this machine may."""
    check_open(settings_from({}, host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "guard.example.org", ""])
def test_any_other_address_needs_keys_or_a_word(host, tmp_path):
    """And the message says what to do."""
    if host:
        with pytest.raises(ConfigError, match="guard keys create"):
            check_open(settings_from({}, host=host))
    check_open(settings_from({"GUARD_KEYS": str(tmp_path / "keys.yaml")}, host=host))
    check_open(settings_from({"GUARD_WITHOUT_KEYS": "true"}, host=host))
