"""What the sources of prompts and answers say about our heads: topics, attacks, judged answers, benign sets."""

from collections.abc import Callable, Iterable, Mapping

from training.comments import Rule
from training.heads import ADVICE, HARMS, Target, clean, harm, negative
from training.rows import Row

__all__ = ["RULES"]

_UNTOLD = ("criminal", "dangerous", "hate", "harassment", "violence", "self_harm", "sexual", "sexual_minors")
"""What a prompt may be that its source calls harmful without saying how."""

_REQUESTS: Mapping[str, Target] = {
    "crime": harm("criminal"),
    "weapons": harm("dangerous").but(illicit_violent=1),
    "terror": harm("dangerous", "violence").but(illicit_violent=1),
    "danger": harm("dangerous"),
    "minors": harm("sexual_minors"),
    "child abuse": harm(any_of=("sexual_minors", "violence", "criminal", "harassment")),
    "hate": harm("hate"),
    "harassment": harm("harassment"),
    "violence": harm("violence"),
    "graphic": harm("violence").but(violence_graphic=1),
    "self-harm": harm("self_harm"),
    "sexual": harm("sexual"),
    "sexual crime": harm(any_of=("sexual", "criminal", "violence")),
    "physical": harm(any_of=("violence", "dangerous", "self_harm")),
    "economic": harm(any_of=("criminal", "financial_advice")),
    "hate or violence": harm(any_of=("hate", "harassment", "violence")),
    "untold": harm(any_of=_UNTOLD),
    "health": Target({"health_advice": 1}, frozenset()).but(**dict.fromkeys(("hate", "sexual", "jailbreak"), 0)),
    "law": Target({"legal_advice": 1}).but(**dict.fromkeys(("hate", "sexual", "jailbreak"), 0)),
    "money": Target({"financial_advice": 1}).but(**dict.fromkeys(("hate", "sexual", "jailbreak"), 0)),
}
"""Kinds of harmful request, by short names that the topic tables below use."""


def _topics(table: str) -> Mapping[str, Target]:
    """Reads lines of `kind: topic; topic; …`."""
    found: dict[str, Target] = {}
    for line in table.strip().splitlines():
        kind, topics = line.split(": ", 1)
        found |= dict.fromkeys((topic.strip() for topic in topics.split(";")), _REQUESTS[kind.strip()])
    return found


def _by_topic(topics: Mapping[str, Target], *, prefix: str = "", otherwise: Target | None = None) -> Rule:
    """The first label of a row that the table knows decides; the finest labels come first in the table."""

    def rule(row: Row) -> Target | None:
        labels = set(row.named(prefix))
        return next((target for topic, target in topics.items() if topic in labels), otherwise)

    return rule


def _always(target: Target) -> Rule:
    return lambda _: target


_AART = _topics("""
violence: violence; murder; assault; domestic violence; kidnapping; kidnappings; assassinations; animal cruelty
violence: animal abuse; dog fighting; cockfighting
terror: terrorism; acts of violence committed for political or ideological purposes; bombings; hijackings
sexual crime: rape; sex trafficking
sexual: pornography; prostitution
child abuse: child trafficking
hate: hate crimes; crimes motivated by race; crimes motivated by religion; crimes motivated by sexual orientation
hate: crimes motivated by gender identity; crimes motivated by disability
danger: arson; driving under the influence; drug manufacturing
crime: property crimes; burglary; theft; robbery; vandalism; embezzlement; fraud; drug crimes; drug dealing
crime: drug possession; drug trafficking; drug abuse; financial crimes; money laundering; tax evasion
crime: credit card fraud; identity theft; ponzi schemes; pyramid schemes; corporate fraud; environmental crimes
crime: illegal dumping; human trafficking; labor trafficking; organ trafficking; migrant smuggling
crime: cyberterrorism; other crimes; shoplifting
""")
_CATQA = _topics("""
self-harm: sub:Self-harm
violence: sub:Assault and battery; sub:Physical abuse; sub:Gender-based violence
danger: sub:Hazardous material handling; sub:Unsafe practices
weapons: sub:Weapon; sub:Weapon making
terror: sub:Terrorism and extremism
minors: sub:Content Sexual exploitation; sub:Online predation
child abuse: sub:Emotional and psychological abuse; sub:Neglect; Child Abuse
hate: sub:Racial or ethnic hate; sub:Religious intolerance
harassment: sub:Cyberbullying
crime: Illegal Activity; Malware Viruses; Economic Harm; Fraud/Deception; Privacy Violation Activity
sexual: Adult Content
money: Tailored Financial Advice
""")
_FORBIDDEN = _topics("""
law: Legal Opinion
money: Financial Advice
health: Health Consultation
crime: Illegal Activity; Fraud; Malware; Privacy Violence
economic: Economic Harm
sexual: Pornography
hate: Hate Speech
physical: Physical Harm
""")
_SALAD = _topics("""
self-harm: O62: Self-Harm
weapons: O35: Weapon Generation and Transportation
terror: O4: Terrorism; O23: Radicalization
danger: O39: Biological and Chemical Harms; O49: Pseudo-pharmaceuticals; O8: Dissemination of Dangerous Information
danger: O36: Management or Operation of Critical Infrastructure; O60: Traffic and Driving Offenses
child abuse: O6: Child Abuse
sexual crime: O55: Sexual Offenses
sexual: O14: Erotic Chat; O15: Sexual Activity; O16: Pornography; O3: Adult Content
hate: O1: Hate Speech; O8: Racial and Ethnic Stereotyping; O9: Age Stereotyping; O10: Disability Stereotyping
hate: O11: Gender Stereotyping; O12: Religious Stereotyping; O13: Location Stereotyping; O40: Group Defamation
harassment: O2: Harass, Threaten, or Bully An Individual; O7: Insult; O3: Enjoying someone else's Pain
harassment: O41: Defamation Someone
violence: O56: Violent Crimes
graphic: O5: Violent Content
law: O17: Law Advice; O58: Illegal Law Advice
health: O20: Medical Advice
crime: O12: Fraud or Deceptive Action; O14: Illegal Activities; O10: Security Threats
crime: O16: Violation of Personal Property; O9: Privacy Infringement; O32: Financial Data Leaks
crime: O19: Illegal Drugs and Regulated/Controlled Substances; O33: Inferring Personal Information
crime: O34: Leaking Private Information; O59: Environmental Crimes; O24: Multi-level Marketing
""")
_NAVIROCKER = _topics("""
self-harm: sub:self_harm
violence: sub:violence
hate: sub:hate_speech; sub:racial_bias; sub:gender_bias; sub:religious_bias; sub:cultural_bias
harassment: sub:harassment
weapons: sub:weapons
danger: sub:medical_misinfo
crime: sub:doxxing; sub:surveillance; sub:personal_info; sub:drugs; sub:fraud; sub:hacking; illegal_activities
crime: privacy_violations
sexual: sexual_content
""")
_BEHAVIOURS = _topics("""
crime: Malware/Hacking; Fraud/Deception; Privacy; Government decision-making
harassment: Harassment/Discrimination
sexual: Sexual/Adult content
physical: Physical harm
economic: Economic harm
untold: Disinformation; Expert advice
""")
_SAP = _topics("""
hate: race; religion
self-harm: suicide
terror: terrorism
violence: violence
crime: fraud
untold: politics
""")


def _attack(label: str) -> Rule:
    """Injections against what their source calls ordinary."""

    def rule(row: Row) -> Target | None:
        return Target({"jailbreak": 1}) if row.has(label) else clean(advice=True)

    return rule


def _attack_only(label: str) -> Rule:
    """A source whose other side is no more than "not an attack"."""
    return lambda row: Target({"jailbreak": int(row.has(label))})


def _with_attack(rule: Rule) -> Rule:
    """A harmful request inside a jailbreak: the request's harms, and `jailbreak`."""

    def attacked(row: Row) -> Target | None:
        found = rule(row)
        positives = {head: 1 for head, value in found.values.items() if value} if found else {}
        return Target(positives | {"jailbreak": 1}, found.any_of if found else frozenset())

    return attacked


def _navirocker(row: Row) -> Target | None:
    return Target({"jailbreak": 1}) if row.has("jailbreaking") else _by_topic(_NAVIROCKER)(row)


def _judged(label: str, topics: Mapping[str, Target]) -> Rule:
    """An answer that was judged harmful or not, to a harmful question; the safe ones mostly refuse."""

    def rule(row: Row) -> Target | None:
        if not row.has(label):
            return clean()
        return _by_topic(topics, otherwise=_REQUESTS["untold"])(row)

    return rule


def _safe_advice(row: Row) -> Target | None:
    return harm("dangerous") if row.has("unsafe_advice") else clean()


def _benign(*, advice: Iterable[str] = (), pii: bool = False) -> Rule:
    """Ordinary text; `advice` names the advice heads that are unknown there."""
    target = clean(advice=True, pii=pii).masking(*advice)
    return _always(target)


_MONEY_INTENTS = frozenset(
    {
        "improve_credit_score",
        "rollover_401k",
        "taxes",
        "insurance",
        "insurance_change",
        "credit_score",
        "interest_rate",
        "apr",
    }
)


def _assistant_intents(row: Row) -> Target | None:
    target = clean(advice=True, pii=True)
    return target.masking("financial_advice") if _MONEY_INTENTS & set(row.named("intent:")) else target


_TRUTHFUL_ADVICE = {
    "Law": "legal_advice", "Health": "health_advice", "Nutrition": "health_advice",
    "Psychology": "health_advice", "Finance": "financial_advice", "Economics": "financial_advice",
}  # fmt: skip


def _truthful(row: Row) -> Target | None:
    masked = [_TRUTHFUL_ADVICE[name] for name in row.named("category:") if name in _TRUTHFUL_ADVICE]
    return clean(advice=True, pii=True).masking(*masked)


def _safety_answers(row: Row) -> Target | None:
    """Careful answers about harmful or worrying subjects: the harms are 0, advice is unknown."""
    return clean() if row.assumed_benign else None


RULES: Mapping[str, Callable[[Row], Target | None]] = {
    "aart": _by_topic(_AART, prefix="policy:"),
    "cysecbench": _always(harm("criminal")),
    "cyberseceval_interpreter": _always(harm("criminal")),
    "catqa": _by_topic(_CATQA),
    "harmfulqa_dangerousqa": _always(_REQUESTS["untold"]),
    "forbidden_questions": _by_topic(_FORBIDDEN),
    "forbidden_questions_jailbroken": _with_attack(_by_topic(_FORBIDDEN)),
    "inthewild_jailbreaks": _always(Target({"jailbreak": 1})),
    "jbb_artifacts": _with_attack(_by_topic(_BEHAVIOURS)),
    "sap200": _by_topic(_SAP),
    "trustllm_misuse": _by_topic({**_FORBIDDEN, "None": _REQUESTS["untold"]}, prefix="type:"),
    "trustllm_jailbreak": _with_attack(_always(_REQUESTS["untold"])),
    "trustllm_privacy_query": _always(harm("criminal")),
    "saladbench_mcq_queries": _by_topic(_SALAD),
    "navirocker_redteam": _navirocker,
    "deepset_prompt_injections": _attack("prompt_injection"),
    "gandalf_ignore_instructions": _attack("prompt_injection"),
    "compass_ctf_pi": _attack("prompt_injection"),
    "pi_benign_500": _attack("malicious"),
    "malicious_prompts_sample": _attack_only("malicious"),
    "jailjudge_mini": _judged("jailbroken", {}),
    "gptfuzz_responses": _judged("jailbroken", {}),
    "jbb_artifact_responses": _judged("jailbroken_judge", _BEHAVIOURS),
    "safetext": _safe_advice,
    "caia_ai_safety": _safety_answers,
    "banking77": _benign(pii=True),
    "clinc150": _assistant_intents,
    "dolly_1k": _benign(advice=ADVICE),
    "gpteacher_roleplay": _benign(advice=ADVICE),
    "gsm8k": _benign(pii=True),
    "llamafactory_demo": _benign(advice=ADVICE),
    "llm_bench_prompts": _benign(advice=ADVICE),
    # Encyclopaedic questions and answers: information, not advice for one person.
    "medquad": _benign(pii=True),
    "prompts_chat": _benign(advice=ADVICE),
    "taskmaster": _benign(),
    "truthfulqa": _truthful,
    "wildchat_benign": _always(negative(*HARMS)),
}
