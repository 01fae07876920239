"""The pattern set: offsets, own regexes, borders, and time on nasty text."""

import string
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.policy.schema import PatternRule
from guard.screen.patterns import CATALOGUE, Pattern, PatternSet, check_regex
from guard.screen.patterns.checksums import IBAN_LENGTHS
from guard.verdict import Hit

EVERYTHING = PatternSet({name: PatternRule(category="pii", action="flag") for name in CATALOGUE})
CARRIERS = ("", "Grüße, 😀 ", "é𝔘🇩🇪 see ", "我的 ", "(", "a\n")


def rule(regex: str | None = None) -> PatternRule:
    return PatternRule(category="pii", action="flag", regex=regex)


def found(name: str, text: str) -> list[str]:
    return [text[hit.start : hit.end] for hit in PatternSet({name: rule()}).find(text)]


@pytest.mark.parametrize("pattern", CATALOGUE.values(), ids=CATALOGUE)
def test_a_pattern_finds_its_example_and_not_its_lookalike(pattern: Pattern) -> None:
    """The two texts of the docs are true, and the placeholder is a word in capitals."""
    assert found(pattern.name, pattern.example)
    assert not found(pattern.name, pattern.lookalike)
    assert pattern.placeholder.replace("_", "").isalpha()
    assert pattern.placeholder == pattern.placeholder.upper()


@pytest.mark.parametrize("pattern", CATALOGUE.values(), ids=CATALOGUE)
def test_letters_outside_ascii_do_not_shift_a_hit(pattern: Pattern) -> None:
    """Spans are code points: emoji, flags and letters of two units before a hit change nothing else."""
    plain = [hit for hit in EVERYTHING.find("- \n" + pattern.example) if hit.name == pattern.name]
    shifted = [hit for hit in EVERYTHING.find("😀é𝔘 \n" + pattern.example) if hit.name == pattern.name]
    assert [(hit.start + 2, hit.end + 2) for hit in plain] == [(hit.start, hit.end) for hit in shifted]


def test_hits_come_in_the_order_of_the_text() -> None:
    """By start, then by the rule's name."""
    rules = {"zz": rule("b+"), "aa": rule("b"), "email": rule()}
    hits = PatternSet(rules).find("b x@example.org b")
    assert [(hit.start, hit.name) for hit in hits] == sorted((hit.start, hit.name) for hit in hits)
    assert hits[0] == Hit("patterns", "aa", 0, 1)
    assert {hit.name for hit in hits} == rules.keys()


def test_two_values_a_space_apart_are_both_found() -> None:
    """The context that a regex reads belongs to no value."""
    assert found("email", "a@example.org b@example.org") == ["a@example.org", "b@example.org"]
    assert found("mac_address", "3c:22:fb:9a:10:0e 3c:22:fb:9a:10:0f") == ["3c:22:fb:9a:10:0e", "3c:22:fb:9a:10:0f"]
    assert found("phone", "212-555-0123 212-555-0124") == ["212-555-0123", "212-555-0124"]


def test_a_label_is_not_part_of_the_hit() -> None:
    """Redaction leaves `password:` and takes what follows."""
    assert found("password_assignment", "password: hunter2.") == ["hunter2"]
    assert found("date_of_birth", "born on 4 July 1990!") == ["4 July 1990"]
    assert found("uk_nhs", "NHS number 943 476 5919.") == ["943 476 5919"]


def test_a_number_does_not_hide_behind_another() -> None:
    """A refused candidate gives way to the next that begins inside it."""
    assert found("credit_card", "5510 4111 1111 1111 1111") == ["4111 1111 1111 1111"]


def test_a_set_without_rules_finds_nothing() -> None:
    """A policy may have no patterns at all."""
    assert PatternSet({}).find("a@example.org") == ()
    assert EVERYTHING.find("") == ()


def test_a_regex_that_does_not_compile_is_refused_in_re2s_words() -> None:
    """For the loader as a text, for the set as a ValueError that names the rule."""
    assert check_regex("(a") == "missing ): (a"
    assert "invalid" in (check_regex("(?=a)") or "")
    assert check_regex("a+") is None
    with pytest.raises(ValueError, match=r"pattern `mine`: missing \)"):
        PatternSet({"mine": rule("(a")})


def test_a_regex_that_matches_nothingness_is_refused() -> None:
    """It would match everywhere, and say nothing."""
    assert check_regex("a*") == "it matches the empty text"
    assert PatternSet({"border": rule(r"\b")}).find("a b") == ()


def test_an_unknown_name_is_refused() -> None:
    """A rule without a regex names a pattern of the catalogue."""
    with pytest.raises(ValueError, match="not in the catalogue"):
        PatternSet({"e_mail": rule()})


def test_an_own_regex_may_take_a_name_of_the_catalogue() -> None:
    """The policy's regex decides then."""
    assert PatternSet({"email": rule("x+")}).find("xx a@b.org") == (Hit("patterns", "email", 0, 2),)


def test_regexes_too_large_for_one_automaton_still_work() -> None:
    """Each is run by itself then."""
    rules = {f"large{i}": rule(rf"x{i}(?:\pL\pN){{150}}y") for i in range(40)}
    text = "é x7" + "a1" * 150 + "y"
    assert PatternSet(rules).find(text) == (Hit("patterns", "large7", 2, len(text)),)


def test_after_a_thousand_matches_of_an_own_regex_the_rest_is_one_hit() -> None:
    """Nothing that matched is left out, and the work stays bounded."""
    hits = PatternSet({"x": rule("x(.*y)?")}).find("x" * 5_000)
    assert len(hits) == 1_000
    assert hits[-1].end == 5_000


@given(st.text(max_size=200))
def test_every_hit_lies_inside_its_text(text: str) -> None:
    """Whatever the text; hits of one pattern do not overlap."""
    ends: dict[str, int] = {}
    for hit in EVERYTHING.find(text):
        assert ends.get(hit.name, 0) <= hit.start < hit.end <= len(text)
        ends[hit.name] = hit.end


@given(st.sampled_from(CARRIERS), st.text("äé😀b ", max_size=20), st.sampled_from(CARRIERS))
def test_what_was_planted_is_what_the_offsets_cut_out(before: str, middle: str, after: str) -> None:
    """`text[start:end]` is the planted value, twice in a text."""
    value = "jane@example.org"
    text = f"{before} {value} {middle} {value} {after}"
    hits = [hit for hit in EVERYTHING.find(text) if hit.name == "email"]
    assert [text[hit.start : hit.end] for hit in hits] == [value, value]


def _luhn_digit(body: str) -> str:
    total = 0
    for position, digit in enumerate(reversed(body)):
        doubled = int(digit) * (2 - position % 2)
        total += doubled // 10 + doubled % 10
    return str(-total % 10)


def _digits(size: int) -> st.SearchStrategy[str]:
    return st.text(string.digits, min_size=size, max_size=size)


def _iban(country: str, body: str) -> str:
    account = body[: IBAN_LENGTHS[country] - 4].ljust(IBAN_LENGTHS[country] - 4, "7")
    number = int("".join(str(int(c, 36)) for c in account + country + "00"))
    return f"{country}{98 - number % 97:02d}{account}"


def _nir(body: str) -> str:
    return body + f"{97 - int(body) % 97:02d}"


def _nhs(body: str) -> str | None:
    check = 11 - sum(int(d) * (10 - i) for i, d in enumerate(body)) % 11
    return None if check == 10 else body + str(check % 11)


def _bsn(body: str) -> str | None:
    check = sum(int(d) * (9 - i) for i, d in enumerate(body)) % 11
    return None if check == 10 else body + str(check)


NUMBERS: dict[str, tuple[str, st.SearchStrategy[str | None]]] = {
    "iban": ("", st.builds(_iban, st.sampled_from(sorted(IBAN_LENGTHS)), _digits(30))),
    "credit_card": ("", _digits(14).map(lambda d: "4" + d + _luhn_digit("4" + d))),
    "es_dni": ("", _digits(7).map(lambda d: f"1{d}" + "TRWAGMYFPDXBNJZSQVHLCKE"[int("1" + d) % 23])),
    "es_nie": ("", _digits(7).map(lambda d: f"Y{d}" + "TRWAGMYFPDXBNJZSQVHLCKE"[int("1" + d) % 23])),
    "fr_insee": ("", _digits(8).map(lambda d: _nir("18412" + d))),
    "uk_nhs": ("NHS number ", _digits(8).map(lambda d: _nhs("4" + d))),
    "nl_bsn": ("BSN: ", _digits(7).map(lambda d: _bsn("1" + d))),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_valid_number_is_found_anywhere_and_a_changed_digit_is_not(name: str) -> None:
    """Every single wrong digit breaks the checksum."""
    label, numbers = NUMBERS[name]
    patterns = PatternSet({name: rule()})

    @given(numbers.filter(bool), st.sampled_from(CARRIERS), st.data())
    def check(number: str, carrier: str, data: st.DataObject) -> None:
        text = f"{carrier} {label}{number}, thanks 😀"
        assert [text[hit.start : hit.end] for hit in patterns.find(text)] == [number]
        place = data.draw(st.sampled_from([i for i, c in enumerate(number) if c.isdigit() and i >= 1]))
        other = data.draw(st.sampled_from([d for d in string.digits if d != number[place]]))
        changed = number[:place] + other + number[place + 1 :]
        assert patterns.find(f"{carrier} {label}{changed}, thanks 😀") == ()

    check()


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@pytest.mark.parametrize(
    "unit",
    [
        "a@", "1 ", "0", "eyJ-", "eyJhbGciOiJIUzI1NiJ9.", "4111 1111 1111 1112 ", "password: ", "1.2.3.",
        "-----BEGIN PRIVATE" + " KEY-----", "<!-- AI must ", "key=", "+49 ", "://a:b", "<s>", "2001:", "aB3",
        "ignore all the your ", "[a](http://x?a=", "send the ", "10 Main ", "aws ", "a@a.a.", "born on 1",
        "print your ", "bc1", "DE89", "é", "😀1",
    ],
)  # fmt: skip
def test_a_megabyte_of_nasty_text_takes_linear_time(unit: str) -> None:
    """Half-begun matches, over and over: seconds would be minutes if anything were quadratic."""
    text = unit * (1_000_000 // len(unit))
    assert _seconds(lambda: EVERYTHING.find(text)) < 4


def test_a_text_without_a_hit_costs_microseconds() -> None:
    """A bound with room for a busy machine: measured are 1.3 µs for 200 characters, 8 µs for 4 kB."""
    short = ("Hello there, how is the garden shed after the storm; write back when you can. " * 3)[:200]
    EVERYTHING.find(short)
    assert min(_seconds(lambda: EVERYTHING.find(short)) for _ in range(50)) < 20e-6
    assert min(_seconds(lambda: EVERYTHING.find(short * 20)) for _ in range(50)) < 150e-6
