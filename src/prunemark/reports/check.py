"""Result of a battery for one method, in words."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prunemark.stats import Finding, Judged
from prunemark.stats.predicates import State
from prunemark.stats.sentences import measured
from prunemark.terms.numbers import counted

if TYPE_CHECKING:
    import pandas as pd

_QUESTIONS: dict[str, Mapping[State, str]] = {
    "C3": {
        "supported": "Which weights {name} keeps within a layer does not matter: its masks do as well when shuffled",
        "contradicted": "Which weights {name} keeps within a layer matters: shuffling its masks costs accuracy",
        "open": "Whether it matters which weights {name} keeps within a layer is open: shuffled masks differ by",
    },
    "C4": {
        "supported": "The initial values of the weights do not matter to {name}: drawn afresh they do as well",
        "contradicted": "The initial values of the weights matter to {name}: drawing them afresh costs accuracy",
        "open": "Whether the initial values of the weights matter to {name} is open: drawn afresh they differ by",
    },
    "C4b": {
        "supported": "Per-layer fractions are all there is to {name}: shuffled and drawn afresh, its masks do as well",
        "contradicted": "There is more to {name} than per-layer fractions: shuffling and drawing afresh cost accuracy",
        "open": "Whether there is more to {name} than per-layer fractions is open: without the rest it differs by",
    },
    "C5a": {
        "supported": "The order of the scores of {name} means little: the weights that it ranks last do as well",
        "contradicted": "The order of the scores of {name} means something: keeping what it ranks last costs accuracy",
        "open": "Whether the order of the scores of {name} means anything is open: inverted it differs by",
    },
    "C5b": {
        "supported": "The order of the scores of {name} means something: keeping what it ranks last costs accuracy",
        "contradicted": "The order of the scores of {name} means little: the weights that it ranks last do as well",
        "open": "Whether the order of the scores of {name} means anything is open: inverted it differs by",
    },
    "C1": {
        "supported": "{name} beats random pruning by",
        "contradicted": "{name} does not beat random pruning by the margin: it differs by",
        "open": "Whether {name} beats random pruning is open: it differs by",
    },
    "C2": {
        "supported": "{name} misses the mark: against magnitude pruning after training it loses",
        "contradicted": "{name} hits the mark, within the margin: from magnitude pruning after training it differs by",
        "open": "Whether {name} hits the mark is open: against magnitude pruning after training it differs by",
    },
}


_SHORT = {
    "C3": "weights within layers do not matter",
    "C4": "initial values do not matter",
    "C4b": "per-layer fractions are all",
    "C5a": "order means little",
    "C5b": "order means something",
    "C1": "beats random pruning",
    "C2": "misses magnitude pruning after training",
}
# Of sentences that do not begin with the method's name.
_OPENINGS = ("Which ", "Whether ", "The ", "There ", "Per-")
_RIVAL: Mapping[str, str] = {
    "better": "{name} does better than {rival}, by",
    "worse": "{name} does worse than {rival}, by",
    "as well": "{name} does as well as {rival}, within the margin: it differs by",
    "open": "Whether {name} does better than {rival} is open: it differs by",
}


def check_words(judged: Judged, method: str, rivals: Sequence[Finding] = ()) -> list[str]:
    """Sentences on whether a method's decisions matter: one per question and range, with the number that answers it.

    The questions are those of the paper's claims: do the weights that it chooses within a layer matter (C3), the
    initial values of the weights (C4), both (C4b), the order of its scores (C5); does it beat random pruning (C1); does
    it reach magnitude pruning after training (C2)?

    Args:
        judged: of one study.
        method: the method's label, which the sentences name.
        rivals: how it compares with other methods, see `prunemark.stats.rivals`.

    Returns:
        A sentence for each question that the study has finished trials for, and for each reason why some are not
        answered, as where accuracies are at chance; one that says so where there is nothing to be said.
    """
    asked = [f for subject in judged.subjects for f in subject.findings if f.subject == method]
    unfit = [subject.fitness.sentence for subject in judged.subjects if not subject.fitness.fit]
    if unfit:
        return unfit
    sentences = [
        _sentence(finding, words[finding.state].format(name=method))
        for claim, words in _QUESTIONS.items()
        for finding in _about(asked, claim)
    ]
    sentences += [
        _sentence(finding, _RIVAL[compared(finding)].format(name=method, rival=finding.subject))
        for finding in rivals
        if finding.state != "untested"
    ]
    if asked and not sentences:
        sentences = [
            f"Nothing can be said of {method}: none of its trials finished that could be compared with others."
        ]
    return [*sentences, *_unanswered([*asked, *rivals], method)]


def compared(finding: Finding) -> str:
    """Outcome of one method against another: better, worse, as well (within the margin) or open, by the interval."""
    if finding.size == "within the margin":
        return "as well"
    found = finding.effect
    if found is None or not (found.low > 0 or found.high < 0):
        return "open"
    return "better" if found.low > 0 else "worse"


def answers(judged: Judged, method: str, rivals: Sequence[Finding] = ()) -> "pd.DataFrame":
    """`check_words` as a table: question, range, answer, difference, low, high (percentage points) and replicates."""
    import pandas as pd

    fit = all(subject.fitness.fit for subject in judged.subjects)
    asked = [
        f for subject in judged.subjects for f in subject.findings if f.subject == method and f.claim in _QUESTIONS
    ]
    rows = [(_SHORT[f.claim], f, f.state) for f in asked]
    rows += [(f"better than {f.subject}", f, compared(f) if f.effect and fit else "untested") for f in rivals]
    table = [(method, question, f.range, answer, *_numbers(f)) for question, f, answer in rows]
    columns = ["method", "question", "range", "answer", "difference", "low", "high", "replicates"]
    return pd.DataFrame(table, columns=columns)


def _numbers(finding: Finding) -> tuple[float, float, float, int]:
    found = finding.effect
    return (found.difference, found.low, found.high, found.replicates) if found else (math.nan, math.nan, math.nan, 0)


def _unanswered(findings: Sequence[Finding], method: str) -> list[str]:
    """One sentence per range and reason, such as that all accuracies there are at chance."""
    counts = Counter((f.range, f.because) for f in findings if f.state == "untested" and f.because)
    return [
        f"{'' if range_ == 'all' else f'At {range_} sparsities: '}{counted(number, 'question')} about {method} "
        f"{'is' if number == 1 else 'are'} not answered, because {because}."
        for (range_, because), number in counts.items()
    ]


def _about(asked: Sequence[Finding], claim: str) -> list[Finding]:
    return [f for f in asked if f.claim == claim and f.effect and f.effect.replicates and f.state != "untested"]


def _sentence(finding: Finding, words: str) -> str:
    where = "" if finding.range == "all" else f"At {finding.range} sparsities: "
    joint = " " if words.endswith((" by", " loses")) else ", "
    outlook = ""
    if finding.prospect:
        more = counted(finding.prospect.replicates, "more replicate")
        outlook = f" About {more} would tell, with a chance of {100 * finding.prospect.chance:.0f} %."
    text = words[0].lower() + words[1:] if where and words.startswith(_OPENINGS) else words
    return f"{where}{text}{joint}{measured(finding)} points.{outlook}"
