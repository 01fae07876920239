"""Numbers that stand for a person or an account: states', banks' and networks'."""

from guard.screen.patterns import checksums
from guard.screen.patterns.pattern import Pattern

__all__ = ["NUMBERS"]


def _iban_regex() -> str:
    """The countries of each length as one alternative, so that no match runs on into the next word."""
    by_length: dict[int, list[str]] = {}
    for country, length in checksums.IBAN_LENGTHS.items():
        by_length.setdefault(length, []).append(country)
    return "|".join(
        rf"(?:{'|'.join(countries)})\d{{2}}(?:[ -]?[A-Z0-9]){{{length - 4}}}"
        for length, countries in sorted(by_length.items())
    )


NUMBERS = (
    Pattern(
        name="iban",
        title="An international bank account number",
        placeholder="IBAN",
        regex=rf"(?i)\b(?:{_iban_regex()})\b",
        example="Pay to DE89 3704 0044 0532 0130 00 by Friday.",
        lookalike="Pay to DE88 3704 0044 0532 0130 00 by Friday.",
        valid=checksums.is_iban,
    ),
    Pattern(
        name="credit_card",
        title="A payment card's number",
        placeholder="CREDIT_CARD",
        regex=r"\b(?:[2-6]\d{3}(?:[ .-]?\d{4}){3}(?:[ .-]?\d{3})?|3[47]\d{2}[ .-]?\d{6}[ .-]?\d{5}"
        r"|3[0689]\d{2}[ .-]?\d{6}[ .-]?\d{4}|4\d{12})\b",
        example="My card is 4111 1111 1111 1111.",
        lookalike="My order is 4111 1111 1111 1112.",
        valid=checksums.is_card_number,
        alone=True,
    ),
    Pattern(
        name="us_ssn",
        title="A US social security number: with hyphens, or after its label",
        placeholder="SSN",
        regex=r"\b(?P<value>\d{3}-\d{2}-\d{4})\b|(?i:\b(?:ssn|social\ssecurity)(?:\s(?:number|no\.?|#))?)"
        r"(?i:\sis)?[\s:#]{1,3}(?P<value_labelled>\d{3} ?\d{2} ?\d{4})\b",
        example="Her SSN is 536-22-1234.",
        lookalike="The part is 000-22-1234, its price 536-22.",
        valid=checksums.is_ssn,
        alone=True,
    ),
    Pattern(
        name="us_itin",
        title="A US individual taxpayer number: with hyphens, or after its label",
        placeholder="ITIN",
        regex=r"\b(?P<value>9\d{2}-\d{2}-\d{4})\b|(?i:\bitin(?:\s(?:number|no\.?|#))?(?:\sis)?)[\s:#]{1,3}"
        r"(?P<value_labelled>9\d{2} ?\d{2} ?\d{4})\b",
        example="ITIN 912-70-1234 is on the form.",
        lookalike="Item 912-49-1234 is on the form.",
        valid=checksums.is_itin,
        alone=True,
    ),
    Pattern(
        name="us_routing",
        title="A US bank's routing number, after its label",
        placeholder="ROUTING_NUMBER",
        regex=r"(?i)\b(?:routing|aba|rtn)(?:\s(?:transit|number|no\.?|num\.?|code|#)){0,2}(?:\sis)?[\s:#]{1,3}"
        r"(?P<value>\d{9})\b",
        example="Routing number: 021000021.",
        lookalike="Ticket number: 021000021.",
        valid=checksums.is_aba_routing,
        alone=True,
    ),
    Pattern(
        name="uk_nino",
        title="A UK national insurance number",
        placeholder="NINO",
        regex=r"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b",
        example="National Insurance: AB 12 34 56 C.",
        lookalike="Flight GB 12 34 56 C does not exist.",
        valid=checksums.is_nino,
    ),
    Pattern(
        name="uk_nhs",
        title="An NHS number, after its label",
        placeholder="NHS_NUMBER",
        regex=r"(?i)\bnhs(?:\s(?:number|no\.?|num\.?|#))?(?:\sis)?[\s:#]{1,3}"
        r"(?P<value>\d{3}[ -]?\d{3}[ -]?\d{4})\b",
        example="NHS number 943 476 5919.",
        lookalike="Reference number 943 476 5919.",
        valid=checksums.is_nhs_number,
        alone=True,
    ),
    Pattern(
        name="de_tax_id",
        title="A German tax identification number (Steuer-ID)",
        placeholder="TAX_ID",
        regex=r"\b[1-9]\d ?\d{3} ?\d{3} ?\d{3}\b",
        example="Steuer-ID: 86 095 742 719.",
        lookalike="Bestellung 86 095 742 718.",
        valid=checksums.is_german_tax_id,
        alone=True,
    ),
    Pattern(
        name="de_id_card",
        title="A German identity card's number with its check digit, after its label",
        placeholder="ID_CARD",
        regex=r"(?i)\b(?:personalausweis|ausweis|perso|identity\scard|id\scard)(?:-?\s?(?:nummer|nr\.?|number"
        r"|no\.?))?(?:\sist|\sis|\slautet)?[\s:#]{1,3}(?P<value>[CFGHJ-NPRTV-Z0-9]{9} ?\d)\b",
        example="Personalausweis-Nr. T220001293.",
        lookalike="Bestell-Nr. T220001293.",
        valid=checksums.is_german_id_card,
    ),
    Pattern(
        name="fr_insee",
        title="A French social security number (NIR) with its key",
        placeholder="INSEE",
        regex=r"\b[12] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}\b",
        example="Sécurité sociale : 1 84 12 76 451 089 46.",
        lookalike="Commande : 1 84 12 76 451 089 47.",
        valid=checksums.is_insee,
        alone=True,
    ),
    Pattern(
        name="es_dni",
        title="A Spanish identity number (DNI)",
        placeholder="DNI",
        regex=r"(?i)\b(?:\d{8}|\d{2}\.\d{3}\.\d{3})[ -]?[A-HJ-NP-TV-Z]\b",
        example="Mi DNI es 12345678Z.",
        lookalike="Mi pedido es 12345678A.",
        valid=checksums.is_dni,
        alone=True,
    ),
    Pattern(
        name="es_nie",
        title="A Spanish foreigner's number (NIE)",
        placeholder="NIE",
        regex=r"(?i)\b[XYZ][ -]?\d{7}[ -]?[A-HJ-NP-TV-Z]\b",
        example="Mi NIE es X1234567L.",
        lookalike="El modelo es X1234567A.",
        valid=checksums.is_nie,
        alone=True,
    ),
    Pattern(
        name="it_codice_fiscale",
        title="An Italian fiscal code",
        placeholder="CODICE_FISCALE",
        regex=r"(?i)\b[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPR-T][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]\b",
        example="Codice fiscale RSSMRA85T10A562S.",
        lookalike="Codice prodotto RSSMRA85T10A562T.",
        valid=checksums.is_codice_fiscale,
    ),
    Pattern(
        name="nl_bsn",
        title="A Dutch citizen service number, after its label",
        placeholder="BSN",
        regex=r"(?i)\b(?:bsn|burgerservicenummer|sofinummer|citizen\sservice\snumber)(?:-?\s?(?:nummer|number"
        r"|nr\.?))?(?:\sis)?[\s:#]{1,3}(?P<value>\d{8,9}|\d{4}[ .]\d{2}[ .]\d{3})\b",
        example="Mijn BSN is 111222333.",
        lookalike="Mijn ordernummer is 111222333.",
        valid=checksums.is_bsn,
        alone=True,
    ),
    Pattern(
        name="passport_mrz",
        title="The machine-readable lines of a passport",
        placeholder="PASSPORT",
        regex=r"P[A-Z<][A-Z<]{42}\s{1,3}[A-Z0-9<]{44}",
        example="P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10",
        lookalike="P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<11",
        valid=checksums.is_passport_mrz,
    ),
    Pattern(
        name="crypto_address",
        title="A Bitcoin or Ethereum address",
        placeholder="CRYPTO_ADDRESS",
        regex=r"\b(?:[13][1-9A-HJ-NP-Za-km-z]{25,34}|(?i:bc1[02-9ac-hj-np-z]{11,71})|0[xX][0-9a-fA-F]{40})\b",
        example="Send it to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa.",
        lookalike="Send it to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb.",
        valid=checksums.is_crypto_address,
    ),
)
