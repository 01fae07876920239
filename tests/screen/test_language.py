"""Whether a text is in a language that the encoder was made for."""

from pathlib import Path

import pytest

from guard.content import Content
from guard.errors import ModelError
from guard.screen import Material, language
from guard.screen.encoder import Encoder
from guard.screen.language import LanguageIdentifier
from guard.screen.standard import StandardScreen
from guard.testing import a_policy
from guard.text import normalise


@pytest.fixture(scope="module")
def english() -> LanguageIdentifier:
    """The shipped encoder's language."""
    return LanguageIdentifier(["en"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ok",
        "hola",
        "1234 5678",
        "😀😀😀",
        "lol wtf bro u good",
        "you are an idiot and everybody here knows it",
        "How do I kill a process that hangs on Linux?",
        "SELECT name FROM users WHERE id = 7;",
        "I had 寿司 and ラーメン for lunch today, and both were very good.",
        "def area(width, height):\n    return width * height",
        "y0u 4re an 1d10t and I h8 you so much",
    ],
)
def test_english_and_what_is_too_short_to_tell_is_supported(english: LanguageIdentifier, text: str) -> None:
    """A remark on a harmless English text would teach people to ignore the remark."""
    assert english.supports(text)


@pytest.mark.parametrize(
    "text",
    [
        "Ich weiß nicht, was ich heute Abend kochen soll.",
        "No sé qué voy a cocinar esta noche para mi familia.",
        "Je ne sais pas quoi préparer ce soir pour le dîner.",
        "Não sei o que vou cozinhar hoje à noite para a família.",
        "Nie wiem, co ugotować dzisiaj wieczorem na kolację.",
        "Bu akşam yemek için ne pişireceğimi bilmiyorum.",
        "Jeg ved ikke, hvad jeg skal lave til aftensmad i aften.",
        "Я не знаю, что готовить.",
        "今天晚上我不知道做什么菜。",
        "오늘 저녁에 뭘 요리할지 모르겠어요.",
        "لا أعرف ماذا أطبخ الليلة.",
        "मुझे नहीं पता कि आज रात क्या पकाऊँ।",
        "ไม่รู้ว่าคืนนี้จะทำอะไรกิน",
        "죽어라",
    ],
)
def test_another_language_is_not_supported(english: LanguageIdentifier, text: str) -> None:
    """The vocabulary may spell it, the scores still mean little."""
    assert not english.supports(text)


def test_a_supported_script_other_than_latin(english: LanguageIdentifier) -> None:
    """The rule is about languages, not about scripts."""
    korean = LanguageIdentifier(["ko"])
    assert korean.supports("오늘 저녁에 뭘 요리할지 모르겠어요.")
    assert not korean.supports("Я не знаю, что готовить.")


@pytest.mark.parametrize("text", ["a\ud800b" * 20, "x\x00y " * 20, "\n" * 50, "a" * 200_000])
def test_no_text_is_too_strange(english: LanguageIdentifier, text: str) -> None:
    """Halves of characters, zeros, blank lines, one endless word."""
    assert english.supports(text) in (True, False)


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the remedy."""
    monkeypatch.setattr(language, "MODEL", tmp_path / "gone.ftz")
    with pytest.raises(ModelError, match=r"gone\.ftz cannot be read .*reinstall"):
        LanguageIdentifier(["en"])


async def test_the_screen_says_so_of_each_text_alone() -> None:
    """Beside a supported neighbour."""
    screen = StandardScreen(Encoder.shipped(), threads=1, max_waiting=8)
    texts = ["Ich weiß nicht, was ich heute Abend kochen soll.", "I do not know what to cook tonight."]
    found = await screen.assess([Material(Content(text), normalise(text)) for text in texts], a_policy())
    assert [assessment.language_supported for assessment in found] == [False, True]
