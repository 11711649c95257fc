"""The ablations: what is taken from a pruning decision, to see whether it mattered. No torch.

An ablation is one entry of `ABLATIONS`; everything that plans, runs, judges and draws reads the entry's flags and
words. New weights that are new science are one function more, named in `REDRAWS`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from prunemark.registry import Entry

UNMODIFIED = "unmodified"


@dataclass(frozen=True, kw_only=True)
class Redraw(Entry):
    """A way to new weights: `target(model, seed=, build=)` returns the model with them and their certificate.

    Attributes:
        depends: whether the new weights depend on the old ones; if not, trainings that differ only in these are one.
    """

    depends: bool = False


REDRAWS: dict[str, Redraw] = {
    "reinit": Redraw(
        target="prunemark.ablations.reinit:redraw_everything", summary="every parameter from its initial distribution"
    ),
    "magnitudes": Redraw(
        target="prunemark.ablations.signs:redraw_magnitudes", summary="magnitudes, under the old signs", depends=True
    ),
    "signs": Redraw(
        target="prunemark.ablations.signs:redraw_signs", summary="signs, of the old magnitudes", depends=True
    ),
}
"""Ways to new weights, by the name that a job calls them."""


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """One way of taking a subnetwork apart.

    Attributes:
        summary: what it does.
        display_name: its name in legends and tables.
        phrase: what it makes of a name in a sentence, such as ", shuffled within layers".
        asks: the question that it answers, about a method ("it", "its").
        shuffles: the mask is permuted within each layer.
        inverts: the ranking is reversed before weights are selected.
        redraws: new weights, by a name in REDRAWS.
    """

    summary: str
    display_name: str
    phrase: str
    asks: str = ""
    shuffles: bool = False
    inverts: bool = False
    redraws: str = ""

    @property
    def own_mask(self) -> bool:
        """True if the mask differs from the unmodified one."""
        return self.shuffles or self.inverts


ABLATIONS: dict[str, Ablation] = {
    UNMODIFIED: Ablation(summary="the subnetwork as it was pruned", display_name="unmodified", phrase=""),
    "shuffle": Ablation(
        summary="permute the mask within each layer",
        display_name="shuffled in each layer",
        phrase=", shuffled within layers",
        asks="does it matter which weights it keeps within a layer?",
        shuffles=True,
    ),
    "reinit": Ablation(
        summary="draw the weights afresh",
        display_name="reinitialised",
        phrase=", reinitialised",
        asks="do the initial values of the weights matter?",
        redraws="reinit",
    ),
    "invert": Ablation(
        summary="prune what ranks first",
        display_name="inverted",
        phrase=", inverted",
        asks="does the order of its scores mean anything?",
        inverts=True,
    ),
    "shuffle+reinit": Ablation(
        summary="permute the mask within each layer and draw the weights afresh",
        display_name="shuffled and reinitialised",
        phrase=", shuffled within layers and reinitialised",
        asks="is there more to it than the fraction of weights that it keeps in each layer?",
        shuffles=True,
        redraws="reinit",
    ),
    "redraw-magnitudes": Ablation(
        summary="draw magnitudes afresh and keep the signs",
        display_name="magnitudes redrawn",
        phrase=", with magnitudes redrawn",
        asks="do the initial magnitudes matter, once the signs are given?",
        redraws="magnitudes",
    ),
    "redraw-signs": Ablation(
        summary="draw signs afresh and keep the magnitudes",
        display_name="signs redrawn",
        phrase=", with signs redrawn",
        asks="do the initial signs matter, once the magnitudes are given?",
        redraws="signs",
    ),
}
"""Every ablation, the unmodified run first, in the order in which reports show them."""


def chosen_ablations() -> dict[str, Ablation]:
    """The ablations that a study may name: all but the unmodified run, which is always there."""
    return {name: ablation for name, ablation in ABLATIONS.items() if name != UNMODIFIED}


def in_report_order(names: Iterable[str]) -> list[str]:
    """These ablations in the order in which reports show them."""
    given = set(names)
    return [name for name in ABLATIONS if name in given]
