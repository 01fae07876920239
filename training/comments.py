"""What the sources of comments say about our heads: one function for each labelling scheme."""

from collections.abc import Callable, Mapping

from training.heads import TONES, Target, clean, harm, negative, toxic
from training.rows import Row

__all__ = ["RULES"]

Rule = Callable[[Row], Target | None]
"""A row's target, or None where the row teaches nothing."""

_RUDE = ("hate", "harassment")
_ELSEWHERE = ("criminal", "self_harm", "jailbreak")
"""What a hate data set's negatives are surely free of, whatever else they hold."""


def _toxic_or_clean(label: str) -> Rule:
    def rule(row: Row) -> Target | None:
        if label not in row.labels:
            return None
        return toxic() if row.has(label) else clean()

    return rule


def _hate_or_not(label: str) -> Rule:
    """Sources that annotate hate alone: their negatives may be rude otherwise."""

    def rule(row: Row) -> Target | None:
        if label not in row.labels:
            return None
        return toxic("hate") if row.has(label) else negative("hate", *_ELSEWHERE).but(identity_attack=0)

    return rule


def _davidson(row: Row) -> Target | None:
    if row.has("class:hate_speech"):
        return toxic("hate")
    if row.has("class:neither"):
        return clean()
    # A third of the "offensive" tweets merely quote slang; only the unanimous ones count as harassment.
    found = toxic(any_of=("harassment", "sexual") if row.has("offensive_language", 1.0) else ())
    return found.but(hate=0, hate_threatening=0, profanity=1)


def _hatexplain(row: Row) -> Target | None:
    if row.has("hatespeech"):
        return toxic("hate")
    return toxic(any_of=_RUDE) if row.has("offensive") else clean()


def _edos(row: Row) -> Target | None:
    if not row.has("sexist"):
        return negative("hate", *_ELSEWHERE)
    found = toxic("hate").but(identity_attack=1)
    if row.has("1. threats, plans to harm and incitement"):
        return found.but(hate_threatening=1, violence=1, threat=1)
    return found


def _hatemoji(row: Row) -> Target | None:
    if row.flagged == 0:
        return negative("hate", *_ELSEWHERE)
    found = toxic("hate").but(identity_attack=1)
    return found.but(hate_threatening=1, violence=1, threat=1) if row.has("type:threateninglanguage") else found


def _context_toxicity(row: Row) -> Target | None:
    return toxic() if row.flagged else clean()


def _waseem(row: Row) -> Target | None:
    if row.has("sexism") or row.has("racism"):
        return toxic("hate")
    return toxic(any_of=_RUDE) if row.has("bullying") else clean()


def _insults(row: Row) -> Target | None:
    return toxic("harassment").but(insult=1) if row.has("bullying") else clean()


def _youtube(row: Row) -> Target | None:
    return toxic("harassment") if row.has("bullying") else negative("harassment", *_ELSEWHERE)


def _misogyny(row: Row) -> Target | None:
    if row.has("misogynistic"):
        return toxic("hate")
    if row.has("level_2:Nonmisogynistic_personal_attack"):
        return toxic("harassment").but(insult=1)
    return negative("hate", *_ELSEWHERE)


def _madlibs(row: Row) -> Target | None:
    return toxic(any_of=_RUDE) if row.has("toxic") else clean()


def _toxic_spans(row: Row) -> Target | None:
    return toxic() if row.has("annotators_all_toxic") or row.has("has_toxic_span") else None


def _perspective(row: Row) -> Target | None:
    """Machine scores: sure ends count, the middle is masked."""
    values: dict[str, int] = {}
    pairs = {
        "sexual": "sexually_explicit", "violence": "threat", "hate": "identity_attack", "harassment": "insult",
    }  # fmt: skip
    for head in TONES:
        score = row.labels.get(f"perspective:{head}")
        if score is not None and not 0.3 < score < 0.6:
            values[head] = int(score >= 0.6)
    for head, tone in pairs.items():
        score = row.labels.get(f"perspective:{tone}")
        if score is not None and not 0.2 < score < 0.7:
            values[head] = int(score >= 0.7)
    if not values:
        return None
    return Target(values | dict.fromkeys(("criminal", "jailbreak"), 0))


def _convabuse(row: Row) -> Target | None:
    if row.flagged is None:
        return None
    if row.flagged == 0:
        return clean(advice=True)
    if row.has("sex_harassment"):
        return toxic("sexual", "harassment")
    return toxic("harassment") if row.has("target.system") else toxic()


def _lexicon(row: Row) -> Target | None:
    """Single words: profane, seldom more; slurs are hate."""
    values = {"profanity": 1, "toxicity": int(row.labels.get("severity_rating", 0) >= 1.6)}
    return Target(values | ({"hate": 1} if row.has("racial / ethnic slurs") else {}))


def _spam(row: Row) -> Target | None:
    return negative("hate", "self_harm", "violence", "jailbreak") if row.has("spam") else clean()


def _mlma(row: Row) -> Target | None:
    if row.flagged is None:
        return None
    if row.has("hateful"):
        return toxic("hate")
    return toxic(any_of=_RUDE) if row.flagged else clean()


def _told(row: Row) -> Target | None:
    if row.flagged == 0:
        return clean()
    if any(row.has(kind) for kind in ("homophobia", "racism", "misogyny", "xenophobia")):
        return toxic("hate")
    if row.has("insult"):
        return toxic("harassment").but(insult=1)
    return toxic(any_of=()).but(profanity=1)


def _germeval(row: Row) -> Target | None:
    if row.flagged == 0:
        return clean()
    if row.has("ABUSE"):
        return toxic("hate")
    if row.has("INSULT"):
        return toxic("harassment").but(insult=1)
    return toxic(any_of=()).but(profanity=1)


_FRIENDLY = frozenset(
    {
        "neutral",
        "admiration",
        "approval",
        "gratitude",
        "amusement",
        "curiosity",
        "love",
        "optimism",
        "joy",
        "realization",
        "caring",
        "surprise",
        "excitement",
        "desire",
        "remorse",
        "relief",
        "pride",
        "confusion",
    }
)


def _emotions(row: Row) -> Target | None:
    emotions = row.named("emotion:")
    return clean() if emotions and set(emotions) <= _FRIENDLY else None


def _frames(_: Row) -> Target | None:
    return clean().masking("self_harm", "self_harm_intent")


_CONTACT = frozenset(
    {
        "ADDRESS",
        "STREET_ADDRESS",
        "CREDIT_CARD",
        "PHONE_NUMBER",
        "EMAIL_ADDRESS",
        "US_SSN",
        "IBAN_CODE",
        "IP_ADDRESS",
        "US_DRIVER_LICENSE",
    }
)
_NAMES = frozenset({"PERSON", "AGE", "ZIP_CODE", "NRP", "LOCATION", "GPE"})


def _presidio(row: Row) -> Target | None:
    kinds = {name for name in row.labels if row.has(name)}
    safe = clean(advice=True)
    if kinds & _CONTACT:
        return safe.but(pii=1)
    # A bare name or place may or may not identify somebody.
    return safe if kinds & _NAMES else safe.but(pii=0)


def _pii_nano(row: Row) -> Target | None:
    return clean(advice=True).but(pii=int(row.has("has_pii")))


def _diasafety(row: Row) -> Target | None:
    """Answers of chatbots, unsafe in the light of the turn before; each belongs to one category."""
    unsafe = row.has("unsafe")
    if row.has("category:Offending User"):
        return toxic("harassment") if unsafe else clean()
    if row.has("category:Biased Opinion"):
        return harm("hate") if unsafe else clean()
    if row.has("category:Unauthorized Expertise"):
        # Mostly a diagnosis, a drug or a dose, from a machine that cannot know: who follows it may be hurt.
        return harm("dangerous").but(health_advice=1) if unsafe else clean()
    if row.has("category:Toxicity Agreement"):
        return harm(any_of=(*_RUDE, "violence")) if unsafe else clean()
    if row.has("category:Risk Ignorance"):
        return harm(any_of=("dangerous", "self_harm")) if unsafe else clean()
    return None


RULES: Mapping[str, Rule] = {
    "civil_comments_10k": _toxic_or_clean("toxicity_target"),
    "davidson": _davidson,
    "hatexplain": _hatexplain,
    "edos": _edos,
    "stormfront": _hate_or_not("hate"),
    "hatemojibuild": _hatemoji,
    "hatemojibuild_val": _hatemoji,
    "paradetox": _toxic_or_clean("toxic"),
    "cat_large": _context_toxicity,
    "cat_small": _context_toxicity,
    "wiki_toxicity_nonfuzzed": _toxic_or_clean("toxic"),
    "waseem_twitter": _waseem,
    "kaggle_insults": _insults,
    "youtube_cyberbullying": _youtube,
    "online_misogyny": _misogyny,
    "bias_madlibs": _madlibs,
    "toxic_spans_comments": _toxic_spans,
    "tsd_semeval21": _toxic_spans,
    "rtp_decodingtrust": _perspective,
    "safenlp_implicithate": _hate_or_not("hate"),
    "safenlp_toxigen": _hate_or_not("hate"),
    "toxigen_demonstrations": _hate_or_not("hate"),
    "convabuse": _convabuse,
    "convabuse_valid": _convabuse,
    "diasafety": _diasafety,
    "diasafety_val": _diasafety,
    "profanity_lexicon": _lexicon,
    "sms_spam": _spam,
    "mlma": _mlma,
    "told_br": _told,
    "dkhate": _toxic_or_clean("OFF"),
    "germeval2018": _germeval,
    "goemotions": _emotions,
    "positive_frames": _frames,
    "presidio_pii": _presidio,
    "pii_nano": _pii_nano,
}
