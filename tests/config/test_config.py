"""Settings from the environment, and the page that documents them."""

from pathlib import Path

import pytest

from guard.config import settings_from, variables
from guard.errors import ConfigError

ROOT = Path(__file__).parent.parent.parent


def test_an_empty_environment_gives_the_defaults():
    """And an empty variable counts as absent, as compose files write it."""
    settings = settings_from({"GUARD_CACHE_SECRET": "", "HOME": "/root"})
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8000)
    assert settings.default_policy == "default"


def test_variables_and_overrides_set_fields_and_overrides_win():
    """An option on the command line is stronger than the environment."""
    settings = settings_from({"GUARD_PORT": "9000", "GUARD_MAX_TEXTS": "3"}, port=9001, host=None)
    assert (settings.server.port, settings.limits.max_texts) == (9001, 3)


def test_all_mistakes_are_named_at_once():
    """With a suggestion for what was probably meant."""
    with pytest.raises(ConfigError) as caught:
        settings_from({"GUARD_PROT": "1", "GUARD_PORT": "70000", "GUARD_CACHE_TTL_SECONDS": "soon"})
    message = str(caught.value)
    assert "GUARD_PROT is not a setting of this version; did you mean GUARD_PORT?" in message
    assert "GUARD_PORT: expected `int` <= 65535" in message
    assert "GUARD_CACHE_TTL_SECONDS: expected `int`, got `str`" in message


@pytest.mark.parametrize("given", [{"GUARD_MAX_WAITING_TEXTS": "8"}, {"GUARD_MAX_TEXTS": "4096"}])
def test_a_request_of_full_size_must_be_able_to_pass(given):
    """Whichever of the two limits was set, the other counts with its default."""
    with pytest.raises(ConfigError, match="is below GUARD_MAX_TEXTS"):
        settings_from(given)


def test_numbers_are_of_a_local_judge():
    """Nobody may believe that a server's model runs in fp8 because a variable says so."""
    with pytest.raises(ConfigError, match="GUARD_JUDGE_DTYPE is of a local judge"):
        settings_from({"GUARD_JUDGE_DTYPE": "fp8", "GUARD_JUDGE_URL": "http://judge:8000/v1"})
    with pytest.raises(ConfigError, match="GUARD_JUDGE_DTYPE"):
        settings_from({"GUARD_JUDGE_DTYPE": "fp4", "GUARD_JUDGE": "folder"})
    assert settings_from({"GUARD_JUDGE_DTYPE": "fp8", "GUARD_JUDGE": "folder"}).judge.dtype == "fp8"
    assert settings_from({}).judge.dtype == "bf16"


def test_the_cache_secret_is_never_the_same_by_accident():
    """Without a secret each process makes up its own."""
    assert settings_from({}).cache_secret != settings_from({}).cache_secret
    given = settings_from({"GUARD_CACHE_SECRET": "0123456789abcdef"})
    assert given.cache_secret == b"0123456789abcdef"


def test_every_setting_is_documented():
    """docs/settings.md names every variable, and none that does not exist."""
    page = (ROOT / "docs" / "settings.md").read_text()
    named = {word for word in page.replace("`", " ").replace("=", " ").split() if word.startswith("GUARD_")}
    assert named == set(variables())


def test_the_packaged_policies_are_those_of_the_repository(tmp_path, monkeypatch):
    """Outside a folder with policies, those that come with the package are used."""
    monkeypatch.chdir(tmp_path)
    folder = settings_from({}).policies
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [
        "children", "default", "strict", "support-bot",
    ]  # fmt: skip
