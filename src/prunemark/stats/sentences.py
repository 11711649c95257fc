"""The sentences that a study's findings come down to."""

import math
from collections.abc import Callable, Sequence

from prunemark.stats.conclusion import Conclusion
from prunemark.stats.findings import Finding
from prunemark.terms.numbers import percent, pp

MARK = "magnitude pruning after training"
Name = Callable[[str], str]
"""What to call a method, by its label in the results."""


def measured(finding: Finding) -> str:
    """The effect with its interval: "-0.05 [-0.17, +0.07]"."""
    if finding.effect is None:
        return "not measured"
    if math.isnan(finding.effect.difference):
        return "no mean: runs diverged or failed without a number"
    text = pp(finding.effect.difference)
    if math.isfinite(finding.effect.low):
        text += f" [{pp(finding.effect.low)}, {pp(finding.effect.high)}]"
    return text


def place(range_: str, sparsities: Sequence[float]) -> str:
    """Opening of a finding's sentence: "At matching sparsities (48.8 % to 91.41 %)"."""
    ends = list(dict.fromkeys([percent(min(sparsities)), percent(max(sparsities))])) if sparsities else []
    span = f" ({' to '.join(ends)})" if ends else ""
    return f"At all sparsities{span}" if range_ == "all" else f"At {range_} sparsities{span}"


def conclusion_sentence(found: Conclusion, name: Name = str) -> str:
    """C0 in one sentence, with its three numbers in percentage points."""
    whole = found.whole
    where = place(whole.range, whole.sparsities)
    if whole.state == "untested":
        return f"{where} the paper's conclusion is not tested: {whole.because}."
    margin = f"the margin of {whole.margin:g}"
    many = len(found.each)
    methods = f"the {many} methods" if many > 1 else name(found.each[0].subject)
    numbers = f"{measured(found.methods)} points for {methods}, {measured(found.mark)} for {MARK}"
    contrast = measured(found.contrast)
    if whole.state == "supported":
        kept = f"keeps the accuracy of {f'each of the {many} methods' if many > 1 else methods}"
        return (
            f"{where} shuffling a mask within its layers {kept} and costs {MARK} {contrast} points more ({numbers}): "
            "what a method at initialisation chooses can be replaced by per-layer fractions."
        )
    if found.no_contrast:
        return (
            f"There is no contrast to see at these sparsities: {_lower(where)} shuffling a mask within its layers "
            f"costs {MARK} no more than {margin} points either ({numbers}; contrast {contrast})."
        )
    if found.refuted:
        hurt = [f for f in found.each if f.subject in found.refuted]
        losses = conjoined([f"{name(f.subject)} by {measured(f)} points" for f in hurt])
        return (
            f"{where} per-weight decisions at initialisation cannot be replaced by per-layer fractions: shuffling "
            f"changes the accuracy of {losses}, which is beyond {margin} ({MARK}: {measured(found.mark)}; contrast "
            f"{contrast})."
        )
    if whole.state == "contradicted":
        return (
            f"{where} shuffling a mask within its layers does not cost {MARK} more than the methods by {margin} points "
            f"({numbers}; contrast {contrast})."
        )
    return (
        f"{where} it is open whether per-weight decisions at initialisation can be replaced by per-layer fractions: "
        f"shuffling changes accuracy by {numbers}; contrast {contrast}{_outlook(whole)}."
    )


def mark_sentence(each: Sequence[Finding], name: Name = str) -> str:
    """C2 in one sentence: which methods miss magnitude pruning after training, none of them picked by luck."""
    tested = [f for f in each if f.effect is not None]
    if not tested:
        return ""
    words = (("supported", "miss", "misses"), ("contradicted", "reach", "reaches"))
    parts: list[str] = []
    for state, plural, singular in words:
        if here := [f for f in tested if f.state == state]:
            verb = plural if len(here) > 1 else singular
            goal = "it" if parts else f"the mark, {MARK}"
            parts.append(f"{conjoined([f'{name(f.subject)} ({measured(f)})' for f in here])} {verb} {goal}")
    if unsure := [f for f in tested if f.state == "open"]:
        parts.append(f"for {conjoined([f'{name(f.subject)} ({measured(f)})' for f in unsure])} it is open")
    if not parts:
        return ""
    if tested and all(f.state == "open" for f in tested):
        parts = [f"whether the mark, {MARK}, is reached is open for {parts[0][4:].removesuffix(' it is open')}"]
    sparsities = sorted({s for f in tested for s in f.sparsities})
    return f"{place(tested[0].range, sparsities)} {'; '.join(parts)}."


def _outlook(finding: Finding) -> str:
    hope = finding.prospect
    if hope is None:
        return ""
    return (
        f"; about {hope.replicates} more replicate{'' if hope.replicates == 1 else 's'} settle the contrast with a "
        f"chance of {100 * hope.chance:.0f} %"
    )


def conjoined(parts: Sequence[str]) -> str:
    """Parts in a row: "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]
