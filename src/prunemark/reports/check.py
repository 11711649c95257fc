"""Result of a battery for one method, in words."""

from collections.abc import Mapping, Sequence

from prunemark.stats import Finding, Judged
from prunemark.stats.predicates import State
from prunemark.stats.sentences import measured
from prunemark.terms.numbers import counted

_QUESTIONS: dict[str, Mapping[State, str]] = {
    "C3": {
        "supported": "Which weights it keeps within a layer does not matter: its masks do as well when shuffled",
        "contradicted": "Which weights it keeps within a layer matters: shuffling its masks costs accuracy",
        "open": "Whether it matters which weights it keeps within a layer is open: shuffled masks differ by",
    },
    "C4": {
        "supported": "The initial values of the weights do not matter: its masks do as well with weights drawn afresh",
        "contradicted": "The initial values of the weights matter: drawing them afresh costs accuracy",
        "open": "Whether the initial values of the weights matter is open: drawn afresh they differ by",
    },
    "C4b": {
        "supported": "Its per-layer fractions are all there is to it: shuffled and drawn afresh, its masks do as well",
        "contradicted": "There is more to it than per-layer fractions: shuffling and drawing afresh cost accuracy",
        "open": "Whether there is more to it than per-layer fractions is open: shuffled and drawn afresh it differs by",
    },
    "C5a": {
        "supported": "The order of its scores means little: the weights that it ranks last do as well",
        "contradicted": "The order of its scores means something: keeping what it ranks last costs accuracy",
        "open": "Whether the order of its scores means anything is open: inverted it differs by",
    },
    "C5b": {
        "supported": "The order of its scores means something: keeping what it ranks last costs accuracy",
        "contradicted": "The order of its scores means little: the weights that it ranks last do as well",
        "open": "Whether the order of its scores means anything is open: inverted it differs by",
    },
    "C1": {
        "supported": "It beats random pruning by",
        "contradicted": "It does not beat random pruning by the margin: it differs by",
        "open": "Whether it beats random pruning is open: it differs by",
    },
    "C2": {
        "supported": "It misses the mark: against magnitude pruning after training it loses",
        "contradicted": "It hits the mark, within the margin: against magnitude pruning after training it differs by",
        "open": "Whether it hits the mark is open: against magnitude pruning after training it differs by",
    },
}


def check_words(judged: Judged, method: str) -> list[str]:
    """Sentences on whether a method's decisions matter: one per question and range, with the number that answers it.

    The questions are those of the paper's claims: do the weights that it chooses within a layer matter (C3), the
    initial values of the weights (C4), both (C4b), the order of its scores (C5); does it beat random pruning (C1); does
    it reach magnitude pruning after training (C2)?

    Args:
        judged: of one study.
        method: the method's label.

    Returns:
        A sentence for each question that the study has finished trials for; one that says so where there are none.
    """
    asked = [f for subject in judged.subjects for f in subject.findings if f.subject == method]
    unfit = [subject.fitness.sentence for subject in judged.subjects if not subject.fitness.fit]
    if unfit:
        return unfit
    sentences = [
        _sentence(finding, words[finding.state])
        for claim, words in _QUESTIONS.items()
        for finding in _about(asked, claim)
    ]
    if asked and not sentences:
        return [f"Nothing can be said of {method}: none of its trials finished that could be compared with others."]
    return sentences


def _about(asked: Sequence[Finding], claim: str) -> list[Finding]:
    return [f for f in asked if f.claim == claim and f.effect and f.effect.replicates and f.state != "untested"]


def _sentence(finding: Finding, words: str) -> str:
    where = "" if finding.range == "all" else f"At {finding.range} sparsities: "
    joint = " " if words.endswith((" by", " loses")) else ", "
    outlook = ""
    if finding.prospect:
        more = counted(finding.prospect.replicates, "more replicate")
        outlook = f" About {more} would tell, with a chance of {100 * finding.prospect.chance:.0f} %."
    text = words if not where else words[0].lower() + words[1:]
    return f"{where}{text}{joint}{measured(finding)} points.{outlook}"
