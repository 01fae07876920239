"""Characters that pass for Latin letters: our own table, in the order of the alphabet.

Read after NFKC, which already folds full-width, mathematical, circled and superscript letters.
`STRICT` look-alikes are indistinguishable in common fonts; the others read as the letter only
beside real Latin letters, and are folded only inside words that mix scripts.
"""

__all__ = ["ENCLOSED", "FLAGS", "FOLD", "STRICT", "script"]

_STRICT = """
A АΑᎪᗅꓮ   a аα      B ВΒᏴᗷꓐ     b Ьᖯ      C СᏟᑕꓚ     c сᴄ     D Ꭰᗞᗪꓓ     d ԁᏧᑯ    E ЕΕᎬꓰ     e еҽ
F Ϝᖴꓝ    G ԌᏀꓖ   g ցɡ        H НΗᎻᕼꓧ    h һհᏂ       I ІӀΙꓲ   i іᎥι       J ЈᎫᒍꓙ   j јϳ
K КΚᏦᛕꓗ   k к       L Ꮮᒪꓡ       l ӏլǀ      M МΜᎷᗰꓟ     N Νꓠ     n ո         O ОΟՕꓳ   o оοօᴏ
P РΡᏢᑭꓑ   p рρ      Q Ԛ         q ԛզ       R ᎡᏒᖇꓣ      r гᴦ     S ЅՏᏚꓢ      s ѕꜱ     T ТΤᎢꓔ
U ՍᑌꓴႮ   u սυ      V ѴᏙᐯꓦ      v ѵνᴠ     W ԜᎳꓪ       w ԝաᴡ    X ХΧꓫ      x хχ     Y УΥҮᎩꓬ   y уүγ
Z ΖᏃꓜ    z ᴢ
"""

_BROAD = """
A ΔΛДᗩᐱ   a ᴀдάลคɑ     B ᗸ        b ʙвьҍ      c ҫςⲥꮯ       C Ͼ        d ᴅժ       D ᗠ      E ΣЄᗴ      e ᴇєэέҽ
F ᖵ     f ꜰғӻ        G ᏵᎶ       g ɢԍ        H ҢҤᏲΉ     h ʜнђћ     I ΪЇ       i ɪїίɩɨιꭵ   J ᒎ        j ᴊɉʝ
K ҚҜԞ    k ᴋкκқҝӄ     L ᒻ        l ʟɭʅเ      M ᘻ        m ᴍм       N ИПᑎᏁⲚ     n ɴпиηπռภ  O ΘӨᎾѲ    o σθөסόჿⲟ
P ᕈ     p ᴘקⲣ         Q Ⴓ        q ɋ         R Я        r ʀяɍᴙꭇ     S ᔕᏕ       s ʂรƨꮪ      T Ҭ        t ᴛтτէՇ
U ЦᏌ     u ᴜцμʋยύ     V ѶᏉ       v ʌꮩ         W ШЩᗯᏇ     w шщωώѡฬꮃ   X Ж        x жҳӽ      Y Ұ        y ʏўұץ
Z Ꙁ     z ʐƶչꮓ
"""


def _pairs(table: str) -> dict[str, str]:
    words = table.split()
    return {odd: letter for letter, odds in zip(words[::2], words[1::2], strict=True) for odd in odds}


_STRICT_PAIRS = _pairs(_STRICT)
STRICT = frozenset(_STRICT_PAIRS)
"""Look-alikes that may make up a whole word of otherwise Latin text."""

FOLD = _pairs(_BROAD) | _STRICT_PAIRS
"""Look-alike to Latin letter, one character to one character."""

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ENCLOSED = {
    chr(first + place): letter for first in (0x1F150, 0x1F170, 0x1F1E6) for place, letter in enumerate(_ALPHABET)
}
"""Negative circled, negative squared and regional-indicator letters, which NFKC leaves alone."""

FLAGS = frozenset(
    """
    AC AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV
    BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CP CR CU CV CW CX CY CZ DE DG DJ DK DM DO DZ EA EC EE EG EH
    ER ES ET EU FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU
    IC ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU
    LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR
    NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM
    SN SO SR SS ST SV SX SY SZ TA TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM UN US UY UZ VA VC
    VE VG VI VN VU WF WS XK YE YT ZA ZM ZW
    """.split()  # noqa: SIM905
)
"""Region codes that have a flag: pairs of regional indicators which are no letters."""

_BLOCKS = (
    ("latin", 0x41, 0x2AF),
    ("latin", 0x1D00, 0x1DBF),
    ("latin", 0x1E00, 0x1EFF),
    ("latin", 0x2C60, 0x2C7F),
    ("latin", 0xA720, 0xA7FF),
    ("latin", 0xAB30, 0xAB6F),
    ("greek", 0x370, 0x3FF),
    ("greek", 0x1F00, 0x1FFF),
    ("cyrillic", 0x400, 0x52F),
    ("cyrillic", 0xA640, 0xA69F),
    ("armenian", 0x530, 0x58F),
    ("hebrew", 0x590, 0x5FF),
    ("thai", 0xE00, 0xE7F),
    ("lao", 0xE80, 0xEFF),
    ("georgian", 0x10A0, 0x10FF),
    ("cherokee", 0x13A0, 0x13FF),
    ("cherokee", 0xAB70, 0xABBF),
    ("coptic", 0x2C80, 0x2CFF),
    ("canadian", 0x1400, 0x167F),
    ("runic", 0x16A0, 0x16FF),
    ("lisu", 0xA4D0, 0xA4FF),
)


def script(letter: str) -> str:
    """The script of a letter by its block, `other` for those that have no look-alikes here."""
    code = ord(letter)
    for name, first, last in _BLOCKS:
        if first <= code <= last:
            return name
    return "other"
