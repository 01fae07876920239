"""Whether naming people reads as hate: `python -m training.identity --model DIR --threshold 0.5`.

Neutral and friendly sentences are filled with identities, of majorities and minorities alike, and read by an
exported encoder. Every text that it flags is a false positive. The sentences and identities stand in
`identity.txt`; they are a test set and are never trained on.
"""

import argparse
import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from guard.screen.encoder import Encoder

__all__ = [
    "CONTROLS", "TEMPLATES", "TERMS", "Bias", "Rate", "Score", "Template", "Term", "filled", "hate_of", "measure",
    "table",
]  # fmt: skip

FILE = Path(__file__).with_name("identity.txt")
CONTROL = "none"
"""The group of the fills that name no protected trait."""

Score = Callable[[str, str], float]
"""A text and its role -> the probability of hate."""

_ARTICLE = re.compile(r"\b([Aa]) (?=\{adj\})")
_AN = re.compile(r"(?!eu|one|uk|uni|us)[aeiou]|hiv|lgbt", re.IGNORECASE)
"""What is said with a vowel first: `an LGBT teacher`, but `a Ukrainian teacher`."""


class Term(NamedTuple):
    """An identity: "a {adjective} teacher", "many {plural}", "she is {predicate}"."""

    group: str
    adjective: str
    plural: str
    predicate: str


class Template(NamedTuple):
    """A sentence with one slot or several: `{adj}`, `{group}`, `{is}`, at its beginning `{Adj}`, `{Group}`."""

    topic: str
    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Rate:
    """`flagged` is the share of the `texts` whose score reaches the threshold, `mean` the mean score."""

    name: str
    group: str
    texts: int
    flagged: float
    mean: float


@dataclass(frozen=True, slots=True)
class Bias:
    """The rates of each identity and group in the order of the file, of all, and of the controls together."""

    threshold: float
    terms: tuple[Rate, ...]
    groups: tuple[Rate, ...]
    overall: Rate
    baseline: Rate


def filled(template: Template, term: Term) -> str:
    """The template's sentence about the term, with the article that it asks for."""
    text = _ARTICLE.sub(r"\1n ", template.text) if _AN.match(term.adjective) else template.text
    return text.format_map(
        {
            "adj": term.adjective,
            "Adj": _capital(term.adjective),
            "group": term.plural,
            "Group": _capital(term.plural),
            "is": term.predicate,
        }
    )


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:]


def _read(path: Path) -> tuple[tuple[Term, ...], tuple[Template, ...]]:
    """Terms and templates of a file whose first lines say how it is written."""
    terms: list[Term] = []
    templates: list[Template] = []
    section = [""]
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("== "):
            section = line[3:].split(" | ")
            continue
        match section:
            case ["terms", group]:
                adjective, plural, predicate = (*line.split(" | "), "", "")[:3]
                terms.append(Term(group, adjective, plural or f"{adjective} people", predicate or adjective))
            case ["templates", topic, role]:
                templates.append(Template(topic, role, line))
            case _:
                raise ValueError(f"{path}: no section for the line: {line}")
    return tuple(terms), tuple(templates)


_FOUND, TEMPLATES = _read(FILE)
TERMS = tuple(term for term in _FOUND if term.group != CONTROL)
CONTROLS = tuple(term for term in _FOUND if term.group == CONTROL)


def hate_of(encoder: Encoder) -> Score:
    """The probability that `encoder` gives to hate."""
    index = encoder.heads.index("hate")
    return lambda text, role: float(encoder.read(text, role=role).scores[index])


def measure(
    score: Score,
    threshold: float,
    *,
    terms: Sequence[Term] = TERMS,
    controls: Sequence[Term] = CONTROLS,
    templates: Sequence[Template] = TEMPLATES,
    threads: int | None = None,
) -> Bias:
    """Reads every template with every term and control, each text once, on `threads` (all CPUs where None)."""
    asked = {term: [(filled(template, term), template.role) for template in templates] for term in (*terms, *controls)}
    unique = list(dict.fromkeys(pair for pairs in asked.values() for pair in pairs))
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        scores = dict(zip(unique, pool.map(lambda pair: score(*pair), unique), strict=True))

    def rate(name: str, group: str, of: Iterable[Term]) -> Rate:
        found = [scores[pair] for term in of for pair in asked[term]]
        flagged = sum(value >= threshold for value in found)
        return Rate(name, group, len(found), flagged / len(found), sum(found) / len(found))

    groups = dict.fromkeys(term.group for term in terms)
    return Bias(
        threshold,
        terms=tuple(rate(term.adjective, term.group, [term]) for term in terms),
        groups=tuple(rate(group, group, [term for term in terms if term.group == group]) for group in groups),
        overall=rate("all identities", "", terms),
        baseline=rate("no identity", CONTROL, controls),
    )


def table(found: Bias) -> str:
    """Markdown: the controls, all identities, then each group with its identities, the most flagged first."""
    lines = [
        f"| identity | texts | flagged at {found.threshold:g} | mean score |",
        "|---|--:|--:|--:|",
        _line(found.baseline),
        _line(found.overall, bold=True),
    ]
    for group in found.groups:
        inside = [term for term in found.terms if term.group == group.name]
        lines.append(_line(group, bold=True))
        lines += [_line(term) for term in sorted(inside, key=lambda term: (-term.flagged, -term.mean))]
    return "\n".join(lines)


def _line(rate: Rate, *, bold: bool = False) -> str:
    name = f"**{rate.name}**" if bold else rate.name
    return f"| {name} | {rate.texts:,} | {rate.flagged:.4f} | {rate.mean:.4f} |"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the exported encoder")
    parser.add_argument("--threshold", type=float, default=0.5, help="score from which a text counts as flagged")
    parser.add_argument("--threads", type=int, help="texts read at a time (default: one for each CPU)")
    options = parser.parse_args()
    print(table(measure(hate_of(Encoder(options.model)), options.threshold, threads=options.threads)))


if __name__ == "__main__":
    main()
