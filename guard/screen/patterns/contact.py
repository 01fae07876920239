"""Contact data: how and where a person is reached, in life and on the network."""

import re

from guard.screen.patterns.checksums import digits_of, is_public_ip
from guard.screen.patterns.pattern import Pattern

__all__ = ["CONTACT"]

_LETTER = r"A-Za-z\x{C0}-\x{24F}\x{370}-\x{52F}"
_MONTH = (
    r"(?:jan(?:uary|uar|vier)?|feb(?:ruary|ruar)?|f[ée]vrier|mar(?:ch|s|zo)?|märz|apr(?:il)?|avril|may|mai"
    r"|mayo|june?|juni|juin|july?|juli|juillet|aug(?:ust)?|ao[uû]t|sept?(?:ember)?|septembre|o[ck]t(?:ober)?"
    r"|octobre|nov(?:ember)?|novembre|de[cz](?:ember)?|d[ée]cembre|enero|febrero|abril|junio|julio|agosto"
    r"|septiembre|octubre|noviembre|diciembre)"
)
_DATE = (
    r"(?:\d{1,2}[./-]\d{1,2}[./-](?:19|20)?\d{2}|(?:19|20)\d{2}[-/.]\d{1,2}[-/.]\d{1,2}"
    r"|\d{1,2}(?:st|nd|rd|th|\.|er)?\s(?:of\s|de\s)?" + _MONTH + r"\.?,?\s(?:de\s|del\s)?(?:19|20)\d{2}"
    r"|" + _MONTH + r"\.?\s\d{1,2}(?:st|nd|rd|th)?,?\s(?:19|20)\d{2})"
)
_BIRTH = (
    r"(?:born(?:\son)?(?:\sthe)?|date\sof\sbirth|birth\s?da(?:te|y)|d\.o\.b\.?|dob|geboren(?:\sam|\sop)?"
    r"|geburtsdatum|geburtstag|geb\.|née?\sle|date\sde\snaissance|nacid[oa]\sel|fecha\sde\snacimiento"
    r"|nat[oa]\sil|data\sdi\snascita|nascid[oa]\s(?:em|a)|data\sde\snascimento|geboortedatum)"
)
_NATIONAL = (
    # United States, Canada
    r"(?:(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])\d{3}[ .-]\d{4}",
    # United Kingdom
    r"\(0\d{2,4}\) ?\d{3,4} ?\d{3,4}|02\d \d{4} \d{4}|01\d{3} \d{3} ?\d{3}|01\d{2} \d{3} \d{4}"
    r"|07\d{3} \d{3} ?\d{3}|0[38]\d{2} \d{3} ?\d{4}",
    # Germany, Italy's and the Netherlands' landlines
    r"0[1-9]\d{1,3}(?:/\d{5,8}|[ -]\d{6,8})(?:-\d{1,4})?|0[1-9]\d{1,3}(?:/| / | )\d{2,4}(?: \d{2,4}){1,4}",
    # France
    r"0[1-9](?:(?: \d\d){4}|(?:\.\d\d){4}|(?:-\d\d){4})",
    # Spain
    r"[6789]\d{2}(?: \d\d){3}|6\d{2}[ -]\d{3}[ -]\d{3}|[789]\d{2}-\d{3}-\d{3}",
    # Italy's and the Netherlands' mobiles
    r"3\d{2}[ .-]\d{6,7}|06[ -]\d{8}|06[ -]\d{4} \d{4})",
)
_CALLED = (
    r"(?:phone|telephone|tel|mobile|cell|whatsapp|fax|handy|telefon(?:nummer)?|rufnummer|mobil|portable"
    r"|téléphone|teléfono|móvil|telefono|cellulare|telefone|telefoon|call\sme(?:\sat|\son)?"
    r"|text\sme(?:\sat|\son)?|ring\sme(?:\sat|\son)?)"
)
_STREET = (
    r"Street|Avenue|Road|Boulevard|Lane|Drive|Court|Place|Square|Terrace|Crescent|Parkway|Highway|Gardens"
    r"|Grove|Mews|Close|Way"
)


def _is_phone(text: str) -> bool:
    """ITU-T E.164: at most 15 digits; not a round amount, not one digit over and over."""
    digits = digits_of(text)
    if not 7 <= len(digits) <= 15 or len(set(digits)) < 3:
        return False
    return re.fullmatch(r"\+\d{1,3}(?:[ .]\d{3}){1,2}|\+?\d{1,3}(?:[ .-]\d{3})*[ .-]000", text) is None


def _is_mac(text: str) -> bool:
    """IEEE 802: neither all zeros nor the broadcast address."""
    return len(set(re.sub("[:-]", "", text).lower())) > 1


def _is_house_number(text: str) -> bool:
    """Years stand before a street's name in news (`In 2008 Wall Street …`)."""
    number = int(digits_of(text.split(maxsplit=1)[0]))
    return number > 0 and not 1900 <= number <= 2099


def _is_date(text: str) -> bool:
    """Whether numbers in the text can be a day and a month, in either order."""
    parts = [int(part) for part in re.findall(r"\d+", text) if len(part) <= 2]
    return all(1 <= part <= 31 or (part > 31 and index == 2) for index, part in enumerate(parts))


CONTACT = (
    Pattern(
        name="email",
        title="An e-mail address",
        placeholder="EMAIL",
        regex=rf"[{_LETTER}0-9][{_LETTER}0-9._%+'-]{{0,63}}@(?:[{_LETTER}0-9][{_LETTER}0-9-]{{0,62}}\.)"
        rf"{{1,6}}(?:[{_LETTER}]{{2,24}}|xn--[a-z0-9-]{{2,40}})",
        example="Write to jane.doe+news@example.co.uk, please.",
        lookalike="Ping @jane on the #general channel, or look at user@localhost.",
        valid=lambda text: ".." not in text and ".@" not in text and "-." not in text,
    ),
    Pattern(
        name="phone",
        title="A phone number: E.164, or in a national form of the US, UK, DE, FR, ES, IT, NL",
        placeholder="PHONE",
        regex=r"(?:^|[^\w+])(?P<value>\+[1-9](?:(?:[ ./-]|\(0?\)| ?\(|\) ?)?\d){7,14})"
        r"|\b(?P<value_dialled>00[1-9]\d{0,2}[ -]\d{1,4}(?:[ /-]\d{2,8}){1,4})\b"
        rf"|(?:^|[^\w(+])(?P<value_national>{'|'.join(_NATIONAL)})\b"
        rf"|(?i:\b{_CALLED}\b)\.?(?i:\s(?:number|no\.?|nr\.?|is))?(?i:\sis)?[\s:#]{{0,3}}"
        r"(?P<value_labelled>\(?\d(?:[ ./()-]{0,2}\d){6,13})\b",
        example="Call +49 (0)30 1234 5678 after six.",
        lookalike="Order 20240115-4471, built 2024-01-15 10:30, version 10.0.19041.",
        valid=_is_phone,
        alone=True,
    ),
    Pattern(
        name="street_address",
        title="A street address in the US or UK form: house number, name, kind of street",
        placeholder="ADDRESS",
        regex=r"\b(?P<value>\d{1,5}[A-Da-d]? (?:[NSEW]\.? |North |South |East |West )?"
        rf"(?:(?:[A-Z][a-z'’-]{{1,20}}\.?|\d{{1,3}}(?:st|nd|rd|th)) ){{1,3}}(?:(?:{_STREET})\b"
        r"|(?:St|Ave|Rd|Blvd|Ln|Dr|Ct|Pl|Sq|Pkwy|Hwy)\b))"
        r"(?P<unless>\s(?:Journal|Fighters?|Food|Cred|Art|Smart|View|Boys|Band|Trip|Test|Rage|to)\b)?",
        example="Deliver it to 221B Baker Street, London.",
        lookalike="In 2008 Wall Street fell, and 3 roads were closed.",
        valid=_is_house_number,
    ),
    Pattern(
        name="date_of_birth",
        title="A date of birth, with its label (born, DOB, geboren am, né le, fecha de nacimiento, …)",
        placeholder="DATE_OF_BIRTH",
        regex=rf"(?i)\b{_BIRTH}[\s:=(-]{{1,4}}(?:is\s|was\s|am\s|on\s)?(?P<value>{_DATE})\b",
        example="Patient DOB: 04/07/1990.",
        lookalike="The contract was signed on 04/07/1990.",
        valid=_is_date,
        alone=True,
    ),
    Pattern(
        name="ip_address",
        title="A public IP address, v4 or v6; private, loopback and documentation ranges are nobody's",
        placeholder="IP_ADDRESS",
        regex=r"(?P<unless>(?i:\b(?:version|release|build|firmware|section|clause|chapter|v)"
        r"[\s.:=]{0,3}(?:\d{1,3}\.){3}\d{1,3}))"
        r"|(?:^|[^\w.])(?P<value>(?:\d{1,3}\.){3}\d{1,3})(?:$|[^\w.]|\.(?:\D|$))"
        r"|(?:^|[^\w:])(?P<value_v6>[23][0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4})",
        example="The login came from 81.2.69.142.",
        lookalike="It listens on 127.0.0.1 and 192.168.0.7, since version 10.2.1.4.",
        valid=is_public_ip,
    ),
    Pattern(
        name="mac_address",
        title="A network card's address (EUI-48)",
        placeholder="MAC_ADDRESS",
        regex=r"(?:^|[^\w:-])(?P<value>(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{2}-){5}"
        r"[0-9A-Fa-f]{2})(?:$|[^\w:-]|[:-](?:\W|$))",
        example="The printer is 3c:22:fb:9a:10:0e.",
        lookalike="The fingerprint is 3c:22:fb:9a:10:0e:77:12:aa:01.",
        valid=_is_mac,
    ),
)
