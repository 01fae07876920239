"""Which sources train the encoder, how much of each, and what a row of theirs says about our heads.

A source that is silent about a head leaves it masked. Of `hh_harmless_test` (no label of harm), `i2p` and
`adversarial_nibbler` (labelled by the pictures they gave, not by their text) only the rows that we judged ourselves
are used. Left out on purpose: `flames_zh` (no label of harm), `jade_v3_responses` and the Korean, Chinese, Japanese,
Bengali and Vietnamese sets (the base vocabulary has their letters at best, no words).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from training import comments, prompts
from training.heads import ADVICE, ALL_HEADS, CATEGORIES, HARMS, Target
from training.rows import Row

__all__ = ["ADVICE", "ALL_HEADS", "CATEGORIES", "HARMS", "LANGUAGES", "SOURCES", "Share", "Target", "target_of"]

LANGUAGES = frozenset({"en", "de", "pt", "fr", "es", "da"})


@dataclass(frozen=True, slots=True)
class Share:
    """At most `cap` rows of a source, each seen `times` in an epoch on average.

    `in_context` marks a source whose labels hold only in the light of the turn before.
    """

    cap: int
    times: float = 1.0
    in_context: bool = False


SOURCES: Mapping[str, Share] = {
    "civil_comments_10k": Share(6_000),
    "davidson": Share(5_000),
    "hatexplain": Share(9_000),
    "edos": Share(8_000),
    "stormfront": Share(3_500),
    "hatemojibuild": Share(4_800, 1.5),
    "hatemojibuild_val": Share(600),
    "paradetox": Share(7_000),
    "cat_large": Share(2_500),
    "cat_small": Share(800, in_context=True),
    "wiki_toxicity_nonfuzzed": Share(1_500),
    "waseem_twitter": Share(4_000),
    "kaggle_insults": Share(5_000),
    "youtube_cyberbullying": Share(800),
    "online_misogyny": Share(1_500),
    "bias_madlibs": Share(1_500),
    "toxic_spans_comments": Share(2_500),
    "tsd_semeval21": Share(1_500),
    "rtp_decodingtrust": Share(7_000),
    "safenlp_implicithate": Share(5_000),
    "safenlp_toxigen": Share(6_000),
    "toxigen_demonstrations": Share(600),
    "convabuse": Share(2_300, in_context=True),
    "convabuse_valid": Share(800, in_context=True),
    "diasafety": Share(9_000, in_context=True),
    "diasafety_val": Share(1_200, in_context=True),
    "profanity_lexicon": Share(800),
    "sms_spam": Share(1_500),
    "goemotions": Share(6_000),
    "positive_frames": Share(2_500),
    "presidio_pii": Share(2_500),
    "pii_nano": Share(150),
    "mlma": Share(2_000, 0.5),
    "told_br": Share(2_000, 0.5),
    "germeval2018": Share(2_500, 0.5),
    "dkhate": Share(800, 0.5),
    "aart": Share(3_300, 1.5),
    "cysecbench": Share(700),
    "cyberseceval_interpreter": Share(150),
    "catqa": Share(550, 2.0),
    "harmfulqa_dangerousqa": Share(2_200, 1.5),
    "forbidden_questions": Share(400, 2.0),
    "forbidden_questions_jailbroken": Share(900),
    "inthewild_jailbreaks": Share(700),
    "jbb_artifacts": Share(300, 1.5),
    "sap200": Share(900),
    "trustllm_misuse": Share(800, 2.0),
    "trustllm_jailbreak": Share(900),
    "trustllm_privacy_query": Share(300),
    "saladbench_mcq_queries": Share(1_600, 2.0),
    "navirocker_redteam": Share(310, 2.0),
    "deepset_prompt_injections": Share(600, 4.0),
    "gandalf_ignore_instructions": Share(930),
    "compass_ctf_pi": Share(180, 4.0),
    "pi_benign_500": Share(500),
    "malicious_prompts_sample": Share(700),
    "hh_harmless_test": Share(6_000, in_context=True),
    "i2p": Share(2_500, 0.5),
    "adversarial_nibbler": Share(2_500, 0.5),
    "jade_db": Share(100),
    "jailjudge_mini": Share(1_000),
    "gptfuzz_responses": Share(1_600),
    "jbb_artifact_responses": Share(1_300),
    "safetext": Share(1_500),
    "caia_ai_safety": Share(2_200),
    "banking77": Share(2_000),
    "clinc150": Share(6_000),
    "dolly_1k": Share(2_000),
    "gpteacher_roleplay": Share(2_500),
    "gsm8k": Share(1_500),
    "llamafactory_demo": Share(3_000),
    "llm_bench_prompts": Share(2_900, 1.5),
    "medquad": Share(2_500),
    "prompts_chat": Share(1_000),
    "taskmaster": Share(2_000),
    "truthfulqa": Share(815, 2.0),
    "wildchat_benign": Share(300, 2.0),
}
"""Comments are cut down to about the number of prompts and answers; ordinary prompts are shown more often,
so that the encoder does not learn that an imperative sentence is harmful."""

_RULES = {**comments.RULES, **prompts.RULES}


def target_of(row: Row) -> Target | None:
    """What a row teaches; None where its source, or the row, is left out."""
    rule = _RULES.get(row.source)
    return rule(row) if rule is not None and row.source in SOURCES else None
