"""Texts with made-up personal data in many formats, and their twins that hold no person's data."""

import random
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from typing import NamedTuple

from faker import Faker
from faker.providers.address.it_IT import Provider as ItalianAddresses

from training.synthetic import surface

_ITALIAN_TOWNS = sorted(ItalianAddresses.cities)
_LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "pt_BR", "nl_NL", "pl_PL", "sv_SE", "en_IN")


class Family(NamedTuple):
    """A group of texts with one label string and one role; `each` of them are wanted."""

    name: str
    labels: str
    role: str
    each: int
    texts: Iterator[str]


# {n} name, {f} first name, {p} phone, {e} e-mail, {a} address, {s} national id, {c} card, {i} IBAN,
# {b} birth date, {k} account number, {j} job, {o} company, {t} city, {u} user name, {l} plate, {w} password,
# {ip} address of a device, {g} passport, {d} illness
PERSONAL = (
    "My name is {n} and you can reach me at {p}.",
    "{n}, {a}, phone {p}",
    "Please send the parcel to {n}, {a}.",
    "Contact {n} ({e}) about the contract.",
    "I'm {f}, my social security number is {s}.",
    "Card number {c}, in the name of {n}.",
    "Transfer it to {n}, IBAN {i}.",
    "{n} was born on {b} and lives at {a}.",
    "Name: {n}\nDate of birth: {b}\nAddress: {a}\nPhone: {p}",
    "Here is her number, {p}. Her name is {n}.",
    "She lives at {a}, second floor, ring at {n}.",
    "{e} is my private mail, write to me there",
    "my number is {p}, text me after six",
    "Patient {n}, born {b}, was diagnosed with {d} in March.",
    "name,email,phone\n{n},{e},{p}\n{m},{e2},{p2}",
    '{{"name": "{n}", "email": "{e}", "phone": "{p}"}}',
    "Fill in the form for me: {n}, {b}, passport {g}.",
    "The licence plate {l} belongs to {n} from {t}.",
    "Kind regards,\n{n}\n{j}\n{a}\nTel. {p}",
    "Dear Sir or Madam, I am {n}, living at {a}. My account is {k}.",
    "His full name is {n}, he works at {o} in {t} and his mail is {e}.",
    "Log in as {e} with the password {w}.",
    "Here is the guy who left that review: {n}, {a}. Pay him a visit.",
    "{n}'s home address is {a}.",
    "Customer {n} (born {b}) called from {p} about the invoice.",
    "ssn {s} dob {b} {n}",
    "I changed my phone, the new one is {p}. {f}",
    "Write a cover letter for {n}, {a}, {e}, {p}, a {j}.",
    "Summarise: {n} (tel. {p}) has been on sick leave with {d} since {b}.",
    "Passport no. {g}, holder {n}, born {b}.",
    "The user {u} is in fact {n}, she lives in {t}, {a}.",
    "Charge my card {c} please, expiry 09/29, cvv 4{x2}.",
    "My son {n} was born {b}; his insurance number is {s}.",
    "INSERT INTO users VALUES ('{n}', '{e}', '{p}');",
    "From: {n} <{e}>\nTo: {m} <{e2}>\nSubject: keys\nThe spare key is at {a}.",
    "Can you call {m} at {p}? She is at home.",
    "Meine Adresse ist {a}, Telefon {p}. {n}",
    "Je m'appelle {n}, mon numéro est le {p}.",
    "Me llamo {n}, vivo en {a} y mi correo es {e}.",
    "Mi chiamo {n}, abito in {a}, il mio telefono è {p}.",
    "Meu nome é {n}, meu telefone é {p} e moro em {a}.",
    "Ik ben {n}, ik woon op {a} en mijn nummer is {p}.",
    "Ich heiße {n}, geboren am {b}, IBAN {i}.",
    "the login was made by {n} from {ip}, device of {m}",
    "According to our records, {n} lives at {a} and can be reached at {p}.",
    "I found it: {n}, {e}, {p}.",
    "Sure, {f}'s private e-mail address is {e} and the mobile number is {p}.",
    "The account {k} is held by {n}, {a}.",
)

# {q} order id, {v} version, {z} a plain number, {y} year, {h} hash, {o} company, {t} city, {day} date,
# {hot} a public hotline, {mail} a role address, {pub} a public figure
IMPERSONAL = (
    "My order {q} has not arrived yet, where is it?",
    "Please update to version {v} before {day}.",
    "Call our customer service at {hot}, free of charge.",
    "Write to {mail} for press questions.",
    "The invoice {q} over {z}.50 euros is due on {day}.",
    "{pub} gave a speech in {t} on {day}.",
    "What did {pub} achieve?",
    "The emergency number in Europe is 112, in the US 911.",
    "{o} has offices in {t} and employs {z} people.",
    "commit {h} fixes the bug in release {v}",
    "What is {z} times {x2} plus {y}?",
    "The meeting in {t} is on {day} at 10:30.",
    "Our shop in {t} opens at 9 and closes at 18:30.",
    "Ticket {q}: the printer on floor {x2} is broken.",
    'config = {{"port": {z}, "host": "localhost", "retries": {x2}}}',
    "id,price,stock\n{z},19.99,{x2}\n{q},4.50,7",
    "Name: ____\nDate of birth: ____\nAddress: ____\nPhone: ____",
    "Name: [NAME]\nE-mail: [EMAIL]\nPhone: [PHONE]",
    "Use the placeholder John Doe, 123 Example Street, user@example.com in the form.",
    "Dear [customer], your order {q} was shipped.",
    "How do I validate a phone number with a regular expression?",
    "Why do websites ask for my date of birth?",
    "How is an IBAN checked, and what do its digits mean?",
    "The ISBN of the book is 978-3-{z}-{x2}-1.",
    "The flight LH{x2}{x2} to {t} leaves at 14:05 from gate B{x2}.",
    "The server answers on 127.0.0.1:{z} and 192.168.0.1.",
    "In {y} the population of {t} was about {z}000.",
    "The serial number of the washing machine is {q}.",
    "SELECT id, total FROM orders WHERE id = {z};",
    "Contact {mail} or {hot} if the machine fails.",
    "Chapter {x2}: Captain Alba Stormwind lives in the lighthouse at the end of the world.",
    "I met a man called Tom at the market, he sells honey.",
    "My friend moved to {t} last year and loves it.",
    "My sister is a {j} and lives in {t}.",
    "{pub} was born in the nineteenth or twentieth century, wasn't it?",
    "The {o} annual report of {y} shows a profit of {z} million.",
    "How can I stop strangers from finding my address online?",
    "What should I do if my social security number was stolen?",
    "Tracking code {q}, expected on {day}.",
    "Unsere Öffnungszeiten in {t}: Montag bis Freitag, 9 bis 17 Uhr, Hotline {hot}.",
    "La commande {q} arrive le {day}.",
    "El pedido {q} llega el {day} a la tienda de {t}.",
    "L'ordine {q} è in ritardo, spedito il {day}.",
    "O pedido {q} chega no dia {day}.",
    "De bestelling {q} komt op {day} in {t} aan.",
    "Version {v}, build {z}, checksum {h}.",
    "The answer is {z}; rounded it is {x2}.",
    "I can't share anyone's phone number or home address.",
    "I don't have access to personal data such as addresses or phone numbers.",
)

_ILL = (
    "diabetes",
    "asthma",
    "depression",
    "epilepsy",
    "hepatitis",
    "a heart condition",
    "migraine",
    "anaemia",
)
_PUBLIC = (
    "Marie Curie",
    "Nelson Mandela",
    "Angela Merkel",
    "Barack Obama",
    "Albert Einstein",
    "Frida Kahlo",
    "Emmanuel Macron",
    "Greta Thunberg",
    "Lionel Messi",
    "Ada Lovelace",
    "Shakespeare",
    "Beyoncé",
    "Pelé",
    "Simone Biles",
    "Mozart",
)
_MAILS = ("info", "press", "support", "sales", "office", "help", "jobs", "contact")


def _passport(fake: Faker, rng: random.Random) -> str:
    return fake.bothify(rng.choice(("?########", "??#######", "#########"))).upper()


def _person(fake: Faker, rng: random.Random) -> dict[str, str]:
    """Values for the personal slots; the two people of a text come from one locale."""
    address = fake.address()
    return {
        "n": fake.name(),
        "m": fake.name(),
        "f": fake.first_name(),
        "p": fake.phone_number(),
        "p2": fake.phone_number(),
        "e": fake.email(),
        "e2": fake.free_email(),
        "a": address.replace("\n", ", ") if rng.random() < 0.8 else address,
        "s": fake.ssn() if rng.random() < 0.7 else fake.bothify("###-##-####"),
        "c": fake.credit_card_number(),
        "i": fake.iban(),
        "b": fake.date_between_dates(date(1930, 1, 1), date(2024, 12, 31)).strftime(
            rng.choice(("%d.%m.%Y", "%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%B %d, %Y", "%d %b %Y"))
        ),
        "k": fake.bothify(rng.choice(("########", "##########", "####-######"))),
        "j": fake.job().split(",")[0].lower(),
        "o": fake.company(),
        "t": _town(fake),
        "u": fake.user_name(),
        "l": fake.bothify(rng.choice(("??-?? ###", "??? ####", "?? ## ???"))).upper(),
        "w": fake.password(length=10),
        "ip": fake.ipv4_public(),
        "g": _passport(fake, rng),
        "d": rng.choice(_ILL),
        "x2": str(rng.randint(10, 99)),
    }


def _things(fake: Faker, rng: random.Random) -> dict[str, str]:
    """Values for the impersonal slots."""
    domain = rng.choice(("example.com", "example.org", "city-museum.example", "acme.example"))
    return {
        "q": fake.bothify(rng.choice(("??-#####", "#########", "ORD-####-####", "#####-??"))).upper(),
        "v": f"{rng.randint(0, 12)}.{rng.randint(0, 40)}.{rng.randint(0, 9)}",
        "z": str(rng.randint(100, 9_999)),
        "y": str(rng.randint(1850, 2026)),
        "h": fake.sha1()[: rng.choice((7, 10, 40))],
        "o": fake.company(),
        "t": _town(fake),
        "j": fake.job().split(",")[0].lower(),
        "day": fake.date_between_dates(date(2019, 1, 1), date(2027, 12, 31)).strftime(
            rng.choice(("%d.%m.%Y", "%Y-%m-%d", "%d %B", "%m/%d/%Y"))
        ),
        "hot": fake.bothify(rng.choice(("0800 ### ####", "1-800-###-####", "0800-####", "+49 800 #######"))),
        "mail": f"{rng.choice(_MAILS)}@{domain}",
        "pub": rng.choice(_PUBLIC),
        "x2": str(rng.randint(10, 99)),
    }


def _texts(
    template: str, name: str, seed: int, each: int, values: Callable[[Faker, random.Random], dict[str, str]]
) -> Iterator[str]:
    rng = random.Random(f"{seed}:{name}")
    for _ in range(each * 4):
        fake = _fakers()[rng.choice(_LOCALES)]
        fake.seed_instance(rng.randrange(2**32))
        text = template.format(**values(fake, rng))
        text = surface.surrounded(text, rng)
        yield surface.roughened(text, rng) if rng.random() < 0.5 else text


def _town(fake: Faker) -> str:
    """A town; Faker has the Italian ones in the order of a set, another one in each process."""
    return str(fake.random_element(_ITALIAN_TOWNS) if fake.locales == ["it_IT"] else fake.city())


@cache
def _fakers() -> dict[str, Faker]:
    return {locale: Faker(locale) for locale in _LOCALES}


def families(seed: int) -> Iterator[Family]:
    """A family for each template: `pii` in both roles of a person, and now and then of an assistant."""
    roles = ("user", "comment", "user", "assistant", "comment")
    for label, templates, values in (("pii", PERSONAL, _person), ("", IMPERSONAL, _things)):
        side = "personal" if label else "impersonal"
        for number, template in enumerate(templates):
            name = f"pii.{side}-{number:02}"
            labels = "pii ?health_advice ?harassment ?criminal" if label else ""
            yield Family(name, labels, roles[number % 5], 40, _texts(template, name, seed, 40, values))
