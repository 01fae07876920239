"""Which upstream answers, and what is wrong with a file that lists them."""

import pytest

from guard.chat.upstream import Upstreams
from guard.config import settings_from
from guard.errors import ConfigError
from guard.service import build
from tests.chat.doubles import ScriptedUpstream


def named(name: str) -> ScriptedUpstream:
    """An upstream of that name."""
    upstream = ScriptedUpstream()
    upstream.name = name
    return upstream


def test_a_model_says_who_answers():
    """By the upstream's name, by its list, else the first; a slash in a model's own name stays."""
    one, two = named("one"), named("two")
    both = Upstreams([one, two], {"two": ["m"]})
    assert both.of("m") == (two, "m")
    assert both.of("one/m") == (one, "m")
    assert both.of("mistralai/x") == (one, "mistralai/x")
    assert Upstreams([one], {}).of("one/m") == (one, "one/m")
    assert not Upstreams([], {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "different names"),
        ("- {name: a, url: 'http://x'}\n- {name: a, url: 'http://y'}", "different names"),
        ("- {name: a}", "url"),
        ("- {name: a, url: x}", "http://vllm:8000/v1"),
        ("- {name: a, url: 'http://x', key: secret}", "key"),
        ("- {name: a, url: 'http://x', key_env: NOT_SET_ANYWHERE}", "NOT_SET_ANYWHERE"),
        ("- [", "upstreams.yaml"),
        (None, "cannot be read"),
    ],
)
def test_a_bad_file_is_refused_with_its_mistake(tmp_path, text, said):
    """At the start, not with the first chat."""
    file = tmp_path / "upstreams.yaml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        build(settings_from({"GUARD_UPSTREAMS": str(file)}))


def test_one_server_or_a_file_of_them():
    """Not both."""
    with pytest.raises(ConfigError, match="give one of the two"):
        settings_from({"GUARD_UPSTREAMS": "x.yaml", "GUARD_UPSTREAM_URL": "http://x"})
