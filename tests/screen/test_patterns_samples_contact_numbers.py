"""Contact data and national numbers: texts in which each is found, and texts that only look alike."""

import pytest

from guard.policy.schema import PatternRule
from guard.screen.patterns import PatternSet

_SEPARATOR = "\n"

_FOUND = {
    "email": """
jane.doe@example.com
Mail <o'brien@example.ie>, please
müller@straße.example
我的邮箱是foo@example.com谢谢
a+b_c@mail.sub.example.co.uk.
mailto:first.last@example.org?subject=hi""",
    "phone": """
call me on 07911123456
reach us at 020 7946 0958
(212) 555-0123 after noon
+1-212-555-0123
+442079460958
01 23 45 67 89
0171/1234567
030 12 34 56 78
612 34 56 78
06-12345678
347 1234567
0049 30 123456
电话+8613800138000。
Tel.: 030/1234567""",
    "street_address": """
221B Baker Street
He lives at 1600 Pennsylvania Avenue, Washington
send it to 350 Fifth Ave, New York
10 Downing Street
42 North Elm Road
7 St. John's Crescent""",
    "date_of_birth": """
DOB: 04/07/1990
She was born on 4 July 1990 in Leeds
geboren am 04.07.1990
né le 4 juillet 1990
Fecha de nacimiento: 4 de julio de 1990
Geboortedatum: 04-07-1990
date of birth is 1990-07-04
nato il 4/7/1990""",
    "ip_address": """
81.2.69.142
from 8.8.8.8.
http://8.8.4.4/index
8.8.8.8:53 answered
2a00:1450:4001:81b::200e
[2606:4700:4700::1111]:443""",
    "mac_address": """
3c:22:fb:9a:10:0e
MAC 3C-22-FB-9A-10-0E
the card (3c:22:fb:9a:10:0f)
00:1A:2B:3C:4D:5E.
3c:22:fb:9a:10:0e, 3c:22:fb:9a:10:0f""",
    "iban": """
DE89 3704 0044 0532 0130 00
GB82WEST12345698765432
fr14 2004 1010 0505 0001 3m02 606
NL91ABNA0417164300 BIC ABNANL2A
NO93 8601 1117 947
CH93-0076-2011-6238-5295-7""",
    "credit_card": """
4111 1111 1111 1111
5555-5555-5555-4444
378282246310005
6011111111111117
3530111333300000
5510 4111 1111 1111 1111
3056 930902 5904""",
    "us_ssn": """
536-22-1234
SSN: 536221234
ssn is 536 22 1234
social security number 536-22-1234
(536-22-1234)""",
    "us_itin": """
912-70-1234
ITIN: 912701234
itin number 912 70 1234
900-88-1234 on file
999-94-0001""",
    "us_routing": """
routing number 021000021
ABA: 011401533
Routing transit number is 091000019
rtn #122105155
the ABA routing no. 121000248""",
    "uk_nino": """
AB123456C
AB 12 34 56 C
NI number: JG103759A
CE 12 34 56 D.
(SR123456B)""",
    "uk_nhs": """
NHS number 943 476 5919
NHS no. 9434765919
nhs: 943-476-5919
NHS number is 401 023 2137
NHS #4010232137""",
    "de_tax_id": """
86095742719
Steuer-ID 86 095 742 719
IdNr. 47036892816
65929970489 laut Bescheid
57 549 285 017""",
    "de_id_card": """
Personalausweis T220001293
Ausweisnummer: T220001293
Personalausweis-Nr. T220001293
ID card number T220001293
Ausweis-Nr.: t220001293""",
    "fr_insee": """
1 84 12 76 451 089 46
184127645108946
n° 184127645108946.
2 55 08 14 168 025 38
NIR 255081416802538""",
    "es_dni": """
12345678Z
12.345.678-Z
DNI 12345678-z
87654321X
00000001R""",
    "es_nie": """
X1234567L
X-1234567-L
nie x1234567l
Y1234567X
Z1234567R""",
    "it_codice_fiscale": """
RSSMRA85T10A562S
rssmra85t10a562s
CF: RSSMRA85T10A562S.
RSSMRA80A01H501U
(RSSMRA80A01H501U)""",
    "nl_bsn": """
BSN 111222333
bsn: 123456782
burgerservicenummer is 111222333
BSN-nummer: 1112.22.333
sofinummer 123456782""",
    "passport_mrz": """
P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<< L898902C36UTO7408122F1204159ZE184226B<<<<<10
the lines P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<< L898902C36UTO7408122F1204159ZE184226B<<<<<10
P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<  L898902C36UTO7408122F1204159ZE184226B<<<<<10 end
"P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<< L898902C36UTO7408122F1204159ZE184226B<<<<<10"
PPUTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<< L898902C36UTO7408122F1204159ZE184226B<<<<<10""",
    "crypto_address": """
1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa
3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy
bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq
BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4
0x52908400098527886E0F7030069857D2E4169EE7""",
}

_LOOKALIKES = {
    "email": """
@jane on the #general channel
user@localhost
jane (at) example (dot) com
3 apples @ 2.50 each
http://localhost:8080/?q=a@b
import x from "@scope/package"
a..b@example
foo@bar..com""",
    "phone": """
2024-01-15 10:30:00
order 112-3456789-0123456
article no. 0123-45678
ISBN 978-3-16-148410-0
ISBN 0-306-40615-2
192.168.100.200
version 4.18.0-305
1700000000123
+12 345 678 people
a budget of 650 000 000 euros
912.345.678 in all
20240115103000
12.03.2024 - 15.03.2024
IBAN DE89 3704 0044""",
    "street_address": """
In 2008 Wall Street fell
5 Star Hotels
3 roads were closed
20 Questions
2 Fast Drivers
100 metres of road
the 7 Wonders
12 Angry Men
a 10 Way Bridge
21 Jump Street Food""",
    "date_of_birth": """
The contract was signed on 04/07/1990
She was born on a Tuesday
born in the USA
04.07.1990
ein geborener Redner
a newborn, 3.5 kg
reborn in 1990
birthday cake 4 eggs
DOB: 45/67/1990""",
    "ip_address": """
127.0.0.1
192.168.0.7 and 10.0.0.1
version 10.2.1.4
v1.2.3.4
300.1.2.3
203.0.113.7
::1 and fe80::1
2001:db8::1
std::vector<int> and 10:30:15
1.2.3.4.5""",
    "mac_address": """
3c:22:fb:9a:10:0e:77:12
00:00:00:00:00:00
ff:ff:ff:ff:ff:ff
10:30:15
3c:22:fb:9a:10
3c:22-fb:9a-10:0e
ab-cd-ef
zz:22:fb:9a:10:0e
3c22fb9a100e""",
    "iban": """
DE88 3704 0044 0532 0130 00
DE89 3704 0044 0532 0130
XX89 3704 0044 0532 0130 00
NO12 the quick brown fox
GB82 WEST 1234 5698 7654 33
BE CAREFUL 12 34 56
ORDER DE12345678901234567890
FR14 is a road in France""",
    "credit_card": """
0000 0000 0000 0000
4111 1111 1111 1112
1234 5678 9012 3456
1700000000000000
4111 1111 1111
9999 9999 9999 9999
84111111111111111
4111-1111-1111-1111-9
2024 0115 1030 0000""",
    "us_ssn": """
000-22-1234
666-22-1234
536-00-1234
536-22-0000
078-05-1120
536221234
1-536-22-1234
536-22-12345
2024-12-3456""",
    "us_itin": """
912-49-1234
912-66-1234
912-93-1234
812-70-1234
912701234
912-70-12345
1-912-70-1234
ITIN of 2024""",
    "us_routing": """
021000021
routing number 021000022
ticket 021000021
routing table 10
ABA 991000021
route 66
aba 02100002
routing numbers differ""",
    "uk_nino": """
GB123456C
DA123456C
QQ123456C
AB123456E
ab123456c
AB12345C
XAB123456C
ZZ 12 34 56 A""",
    "uk_nhs": """
943 476 5919
NHS number 943 476 5918
the NHS in 2024
NHS 111
phone 943 476 5919
NHS number 0000000000
NHS trusts employ 1400000000
NHS number 943 476 591""",
    "de_tax_id": """
86095742718
12345678901
11111111111
06095742719
8609574271
860957427190
1700000000123
99 999 999 999""",
    "de_id_card": """
T220001293
Personalausweis T220001294
Bestell-Nr. T220001293
Personalausweis beantragen
Ausweis 123
ID card holder
ID card T22000129
Ausweis: ABCDEFGHIJ""",
    "fr_insee": """
1 84 12 76 451 089 47
384127645108946
184137645108946 is long
18412764510894
1841276451089461
184 127 645
1 84 00 76 451 089 46
2024 12 76 451 089 46""",
    "es_dni": """
12345678A
1234567Z
123456789Z
00000000T
12345678
12345678ZZ
el modelo 12345678I
12.345.67-Z""",
    "es_nie": """
X1234567A
W1234567L
X123456L
X12345678L
AX1234567L
X1234567
X1234567I
XYZ""",
    "it_codice_fiscale": """
RSSMRA85T10A562T
RSSMRA85T10A562
RSSMRA85Z10A562S
RSSMRA85T99A562S
ARSSMRA85T10A562S
RSSMRA85T10A562SX
CODICE PRODOTTO
RSSMRA 85T10 A562S""",
    "nl_bsn": """
111222333
BSN 111222334
ordernummer 111222333
BSN 000000000
BSN aanvragen
BSN 1112223334
mijn bsn is geheim
bsn: 12345""",
    "passport_mrz": """
P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<< L898902C36UTO7408122F1204159ZE184226B<<<<<11
P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<< L898902C37UTO7408122F1204159ZE184226B<<<<<10
P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<
L898902C36UTO7408122F1204159ZE184226B<<<<<10
P<TEMPLATE<
<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<
PASSPORT
P<UTO<<X L898902C36""",
    "crypto_address": """
1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb
bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdr
bc1Qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq
0x0000000000000000000000000000000000000000
0xdeadbeef
9fceb02d0ae598e95dc970b74767f19372d6cd88
123456789123456789123456789
3aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""",
}


def _cases(table: dict[str, str]) -> list[tuple[str, str]]:
    return [(name, line) for name, lines in table.items() for line in lines.strip().split(_SEPARATOR)]


def _finds(name: str, text: str) -> bool:
    return bool(PatternSet({name: PatternRule(category="pii", action="redact")}).find(text))


@pytest.mark.parametrize(("name", "text"), _cases(_FOUND))
def test_the_pattern_finds_what_it_is_for(name: str, text: str) -> None:
    """Each written form of the datum is found."""
    assert _finds(name, text)


@pytest.mark.parametrize(("name", "text"), _cases(_LOOKALIKES))
def test_the_pattern_passes_over_what_only_looks_alike(name: str, text: str) -> None:
    """Wrong checksums, other numbers of the same shape and unlabelled digits are no hits."""
    assert not _finds(name, text)


def test_every_pattern_has_samples_enough() -> None:
    """Five texts that match and eight that do not, for each."""
    assert _FOUND.keys() == _LOOKALIKES.keys()
    counts = {name: (len(_cases({name: _FOUND[name]})), len(_cases({name: _LOOKALIKES[name]}))) for name in _FOUND}
    assert {name: count for name, count in counts.items() if count[0] < 5 or count[1] < 8} == {}
