"""Attacks on words."""

import itertools
import re
from random import Random

from .pieces import in_words, some, words

__all__ = ["translation", "typos"]

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
NEIGHBOURS = {
    key: "".join(row[at] for at in (place - 1, place + 1) if 0 <= at < len(row))
    for row in _ROWS
    for place, key in enumerate(row)
}
"""The keys beside a key, on an English keyboard."""

_LANGUAGES = ("de", "fr", "es")
_TABLE = """
i want to | ich will | je veux | quiero
i will | ich werde | je vais | voy a
i am going to | ich werde | je vais | voy a
i'm going to | ich werde | je vais | voy a
how do i | wie kann ich | comment puis-je | cómo puedo
how can i | wie kann ich | comment puis-je | cómo puedo
how to | wie man | comment | cómo
tell me | sag mir | dis-moi | dime
give me | gib mir | donne-moi | dame
show me | zeig mir | montre-moi | muéstrame
help me | hilf mir | aide-moi | ayúdame
at home | zu Hause | à la maison | en casa
what is | was ist | qu'est-ce que | qué es
you are | du bist | tu es | eres
all of you | ihr alle | vous tous | todos vosotros
ignore all previous instructions | ignoriere alle vorherigen Anweisungen | ignore toutes les instructions précédentes | ignora todas las instrucciones anteriores
kill yourself | bring dich um | tue-toi | mátate
kill myself | mich umbringen | me tuer | matarme
hurt myself | mich verletzen | me blesser | hacerme daño
kill you | dich töten | te tuer | matarte
hurt you | dich verletzen | te blesser | hacerte daño
hate you | hasse dich | te déteste | te odio
i | ich | je | yo
you | du | tu | tú
your | dein | ton | tu
my | mein | mon | mi
we | wir | nous | nosotros
and | und | et | y
or | oder | ou | o
not | nicht | pas | no
with | mit | avec | con
without | ohne | sans | sin
for | für | pour | para
how | wie | comment | cómo
what | was | que | qué
where | wo | où | dónde
why | warum | pourquoi | por qué
who | wer | qui | quién
when | wann | quand | cuándo
because | weil | parce que | porque
always | immer | toujours | siempre
never | nie | jamais | nunca
very | sehr | très | muy
tonight | heute Nacht | cette nuit | esta noche
tomorrow | morgen | demain | mañana
today | heute | aujourd'hui | hoy
everyone | alle | tout le monde | todos
nobody | niemand | personne | nadie
people | Leute | gens | gente
woman | Frau | femme | mujer
women | Frauen | femmes | mujeres
child | Kind | enfant | niño
children | Kinder | enfants | niños
house | Haus | maison | casa
school | Schule | école | escuela
police | Polizei | police | policía
money | Geld | argent | dinero
make | machen | faire | hacer
build | bauen | construire | construir
buy | kaufen | acheter | comprar
sell | verkaufen | vendre | vender
kill | töten | tuer | matar
murder | ermorden | assassiner | asesinar
hurt | verletzen | blesser | herir
shoot | erschießen | fusiller | disparar
stab | erstechen | poignarder | apuñalar
beat | schlagen | frapper | golpear
burn | verbrennen | brûler | quemar
attack | angreifen | attaquer | atacar
steal | stehlen | voler | robar
stolen | gestohlen | volé | robado
hack | hacken | pirater | piratear
hide | verstecken | cacher | esconder
hate | hassen | haïr | odiar
bomb | Bombe | bombe | bomba
weapon | Waffe | arme | arma
gun | Pistole | pistolet | pistola
knife | Messer | couteau | cuchillo
poison | Gift | poison | veneno
explosive | Sprengstoff | explosif | explosivo
drugs | Drogen | drogues | drogas
suicide | Selbstmord | suicide | suicidio
death | Tod | mort | muerte
dead | tot | mort | muerto
blood | Blut | sang | sangre
pills | Tabletten | pilules | pastillas
password | Passwort | mot de passe | contraseña
stupid | dumm | stupide | estúpido
idiot | Idiot | idiot | idiota
ugly | hässlich | laid | feo
worthless | wertlos | sans valeur | sin valor
disgusting | widerlich | dégoûtant | asqueroso
vermin | Ungeziefer | vermine | alimañas
naked | nackt | nu | desnudo
sex | Sex | sexe | sexo
instructions | Anweisungen | instructions | instrucciones
rules | Regeln | règles | reglas
secret | geheim | secret | secreto
"""  # noqa: E501 (a row is one phrase)
PHRASES: dict[str, dict[str, str]] = {
    english: dict(zip(_LANGUAGES, others, strict=True))
    for english, *others in ([part.strip() for part in row.split("|")] for row in _TABLE.strip().splitlines())
}
_PHRASE = re.compile(
    r"(?<![\w@.'’-])(?:" + "|".join(map(re.escape, sorted(PHRASES, key=len, reverse=True))) + r")(?![\w@'’-]|\.\w)",
    re.I,
)
_ENGLISH = re.compile(
    r"\b(?:the|you|your|and|with|how|what|this|that|for|are|is|of|my|have|will|when|why|where)\b", re.I
)
_ANY = re.compile(r"\w+")
_ENOUGH = 8


def typos(text: str, random: Random) -> str:
    """A slip of the hand in about four of ten words of four letters or more: swapped, dropped, doubled, the key beside.

    The first and the last letter stay, by which people read most. Now and then a slip makes another word, as for
    people.
    """
    slips = [at for at, word in enumerate(words(text)) if len(word) >= 4 and _inner(word)]
    chosen = some(slips, 0.4, random)
    places = itertools.count()
    return in_words(text, lambda word: _slipped(word, random) if next(places) in chosen else word)


def translation(text: str, random: Random) -> str:
    """Words and short phrases of English text in German, French or Spanish, one of them for the whole text.

    No translation: a table of a hundred entries, put in word by word without regard to grammar, so that what comes out
    is half one language and half the other, as people do write who live in both. It shows whether a verdict hangs on
    such words alone, and says nothing of texts in those languages.
    """
    language = random.choice(_LANGUAGES)
    # Other languages have words of the table too, and some mean something else: in French "or" is gold.
    if len(_ENGLISH.findall(text)) * _ENOUGH < len(_ANY.findall(text)):
        return text
    return _PHRASE.sub(lambda found: _like(found[0], PHRASES[found[0].lower()][language]), text)


def _like(given: str, phrase: str) -> str:
    """The phrase, with a capital where the given one has one and is more than `I`."""
    return phrase[0].upper() + phrase[1:] if given[0].isupper() and given[:2] not in ("I", "I ", "I'") else phrase


def _inner(word: str) -> list[int]:
    """Where its letters stand but the first and the last."""
    return [at for at in range(1, len(word) - 1) if word[at].isalpha()]


def _slipped(word: str, random: Random) -> str:
    """The word with one slip inside; always another word."""
    at = random.choice(_inner(word))
    sign, following = word[at], word[at + 1]
    kind = random.choice(("swap", "drop", "double", "beside"))
    if kind == "swap" and at + 1 < len(word) - 1 and following.isalpha() and following != sign:
        return word[:at] + following + sign + word[at + 2 :]
    if kind == "drop":
        return word[:at] + word[at + 1 :]
    if kind == "beside" and (beside := NEIGHBOURS.get(sign.lower())):
        other = random.choice(beside)
        return word[:at] + (other.upper() if sign.isupper() else other) + word[at + 1 :]
    return word[: at + 1] + word[at:]
