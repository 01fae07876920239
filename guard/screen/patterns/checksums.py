"""Check digits of the numbers that states, banks and networks give out.

Every function takes the text as it was written (separators allowed) and answers whether it can be
such a number; each names the source of its rule.
"""

import base64
import binascii
import ipaddress
import json
import re
from collections import Counter
from hashlib import sha256
from math import log2

__all__ = [
    "IBAN_LENGTHS",
    "digits_of",
    "entropy",
    "is_aba_routing",
    "is_bsn",
    "is_card_number",
    "is_codice_fiscale",
    "is_crypto_address",
    "is_dni",
    "is_german_id_card",
    "is_german_tax_id",
    "is_iban",
    "is_insee",
    "is_itin",
    "is_jwt",
    "is_luhn",
    "is_nhs_number",
    "is_nie",
    "is_nino",
    "is_passport_mrz",
    "is_public_ip",
    "is_ssn",
]

IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27,
    "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28,
    "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23,
    "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
    "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21,
    "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28,
    "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22,
    "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25,
    "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip
"""Characters per country: SWIFT's IBAN registry."""

_CARD_PREFIXES = re.compile(
    r"""4(?:\d{12}|\d{15}|\d{18})                                          # Visa
    | (?:5[1-5]\d\d | 222[1-9] | 22[3-9]\d | 2[3-6]\d\d | 27[01]\d | 2720)\d{12}  # Mastercard
    | 3[47]\d{13}                                                          # American Express
    | (?:6011\d\d | 65\d{4} | 64[4-9]\d{3})\d{10}                          # Discover
    | 3(?:0[0-5]|[689]\d)\d{11}                                            # Diners Club
    | 35(?:2[89]|[3-8]\d)\d{12}                                            # JCB
    | 62\d{14,17}                                                          # UnionPay
    | (?:50|5[6-8])\d{14}                                                  # Maestro
    """,
    re.VERBOSE,
)
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_UNISSUED_SSN = frozenset({"078051120", "219099999", "457555462"})
_NINO_PREFIXES = frozenset({"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"})
_OMOCODIA = str.maketrans("LMNPQRSTUV", "0123456789")
_ODD_VALUES = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21) * 2 + (2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
        strict=True,
    )
)
_GLOBAL_V6 = ipaddress.ip_network("2000::/3")


def digits_of(text: str) -> str:
    """The ASCII digits of `text`, in order."""
    return "".join(character for character in text if "0" <= character <= "9")


def _compact(text: str) -> str:
    return "".join(character for character in text if character.isalnum()).upper()


def is_luhn(text: str) -> bool:
    """The Luhn formula: ISO/IEC 7812-1, annex B."""
    total = 0
    for position, digit in enumerate(reversed(digits_of(text))):
        value = int(digit) * (1 + position % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_card_number(text: str) -> bool:
    """A payment card: an issuer's prefix and length (ISO/IEC 7812), and Luhn."""
    digits = digits_of(text)
    return _CARD_PREFIXES.fullmatch(digits) is not None and is_luhn(digits)


def is_iban(text: str) -> bool:
    """ISO 13616: the country's length; moved to the end, the first four leave 1 modulo 97 (ISO 7064)."""
    iban = _compact(text)
    if len(iban) != IBAN_LENGTHS.get(iban[:2]):
        return False
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


def is_ssn(text: str) -> bool:
    """SSA: area neither 000, 666 nor 9xx, group not 00, serial not 0000; not one of those printed in ads."""
    digits = digits_of(text)
    return (
        len(digits) == 9
        and digits[:3] not in {"000", "666"}
        and digits[0] != "9"
        and digits[3:5] != "00"
        and digits[5:] != "0000"
        and digits not in _UNISSUED_SSN
    )


def is_itin(text: str) -> bool:
    """IRS: 9xx, and a group of 50-65, 70-88, 90-92 or 94-99."""
    digits = digits_of(text)
    group = int(digits[3:5])
    given_out = 50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99
    return digits[0] == "9" and given_out


def is_aba_routing(text: str) -> bool:
    """ABA routing transit number: weights 3-7-1, and a Federal Reserve prefix."""
    digits = digits_of(text)
    prefix = int(digits[:2])
    known = 1 <= prefix <= 12 or 21 <= prefix <= 32 or 61 <= prefix <= 72 or prefix == 80
    return known and sum(int(d) * w for d, w in zip(digits, (3, 7, 1) * 3, strict=True)) % 10 == 0


def is_nino(text: str) -> bool:
    """HMRC NIM39110: prefixes that were never given out."""
    return _compact(text)[:2] not in _NINO_PREFIXES


def is_nhs_number(text: str) -> bool:
    """NHS data dictionary: weights 10 to 2, modulo 11."""
    digits = [int(digit) for digit in digits_of(text)]
    check = 11 - sum(d * w for d, w in zip(digits, range(10, 1, -1), strict=False)) % 11
    return len(digits) == 10 and len(set(digits)) > 1 and check % 11 == digits[9] and check != 10


def is_german_tax_id(text: str) -> bool:
    """Steuer-ID (§ 139b AO): one digit of the first ten twice or three times, ISO 7064 MOD 11,10."""
    digits = digits_of(text)
    counts = sorted(Counter(digits[:10]).values())
    repeated = counts[-1] in {2, 3} and counts[-2] == 1 and not re.search(r"(\d)\1\1", digits[:10])
    product = 10
    for digit in digits[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return len(digits) == 11 and digits[0] != "0" and repeated and (11 - product) % 10 == int(digits[10])


def _mrz_check(field: str) -> str:
    """ICAO Doc 9303-3, 4.9: weights 7-3-1, letters from A = 10, filler 0."""
    values = (0 if character == "<" else int(character, 36) for character in field)
    return str(sum(value * (7, 3, 1)[position % 3] for position, value in enumerate(values)) % 10)


def is_german_id_card(text: str) -> bool:
    """Personalausweis: nine characters and a check digit as in ICAO Doc 9303."""
    number = _compact(text)
    return len(number) == 10 and _mrz_check(number[:9]) == number[9]


def is_passport_mrz(text: str) -> bool:
    """ICAO Doc 9303-4, TD3: check digits of number, birth, expiry and all of them."""
    line = "".join(text.split())[44:]
    return (
        len(line) == 44
        and _mrz_check(line[:9]) == line[9]
        and _mrz_check(line[13:19]) == line[19]
        and _mrz_check(line[21:27]) == line[27]
        and _mrz_check(line[:10] + line[13:20] + line[21:43]) == line[43]
    )


def is_insee(text: str) -> bool:
    """NIR (décret 82-103): key = 97 - number modulo 97; Corsica's 2A counts as 19, 2B as 18."""
    number = _compact(text)
    body = number[:13].replace("2A", "19").replace("2B", "18")
    return len(number) == 15 and body.isdigit() and 97 - int(body) % 97 == int(number[13:])


def is_dni(text: str) -> bool:
    """DNI (Ministerio del Interior): the letter is the number modulo 23."""
    dni = _compact(text)
    return dni[:8] != "00000000" and _DNI_LETTERS[int(dni[:8]) % 23] == dni[8]


def is_nie(text: str) -> bool:
    """NIE: X, Y, Z stand for 0, 1, 2, then as in a DNI."""
    nie = _compact(text)
    return _DNI_LETTERS[int(str("XYZ".index(nie[0])) + nie[1:8]) % 23] == nie[8]


def is_codice_fiscale(text: str) -> bool:
    """D.M. 23 dicembre 1976: odd and even places by table, modulo 26; a day of birth that exists."""
    code = _compact(text)
    day = int(code[9:11].translate(_OMOCODIA))
    odd = sum(_ODD_VALUES[character] for character in code[0:15:2])
    even = sum(int(c) if c.isdigit() else ord(c) - ord("A") for c in code[1:15:2])
    return (1 <= day <= 31 or 41 <= day <= 71) and chr(ord("A") + (odd + even) % 26) == code[15]


def is_bsn(text: str) -> bool:
    """Burgerservicenummer: the elfproef, weights 9 to 2 and -1."""
    digits = digits_of(text).zfill(9)
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return int(digits) > 0 and sum(int(d) * w for d, w in zip(digits, weights, strict=True)) % 11 == 0


def is_public_ip(text: str) -> bool:
    """An address of the public internet (IANA's special-purpose registries left out)."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return address in _GLOBAL_V6 and address.is_global
    return address.is_global and not address.is_multicast


def is_crypto_address(text: str) -> bool:
    """Bitcoin by base58check or bech32/bech32m (BIP 173, 350); Ethereum by its form alone."""
    if text[:2] in {"0x", "0X"}:
        return len(set(text[2:].lower())) > 4
    if text[:3].lower() == "bc1":
        return _is_bech32(text)
    return _is_base58check(text)


def _is_base58check(text: str) -> bool:
    number = 0
    for character in text:
        number = number * 58 + _BASE58.index(character)
    if number.bit_length() > 200:
        return False
    raw = number.to_bytes(25, "big")
    return raw[0] in {0, 5} and sha256(sha256(raw[:21]).digest()).digest()[:4] == raw[21:]


def _is_bech32(text: str) -> bool:
    if text not in {text.lower(), text.upper()}:
        return False
    human, data = "bc", text.lower()[3:]
    values = [ord(c) >> 5 for c in human] + [0] + [ord(c) & 31 for c in human]
    values += [_BECH32.index(character) for character in data]
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            checksum ^= generator if top >> bit & 1 else 0
    return checksum in {1, 0x2BC830A3}


def is_jwt(text: str) -> bool:
    """RFC 7519: the first part is the base64url of a JSON object with an `alg`."""
    header = text.partition(".")[0]
    try:
        decoded = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return False
    return isinstance(decoded, dict) and "alg" in decoded


def entropy(text: str) -> float:
    """Shannon's entropy of the characters, in bits per character."""
    return sum(-count / len(text) * log2(count / len(text)) for count in Counter(text).values())
