"""The scoring methods, by name. Reading the table imports no torch; a method is imported when it is used."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunemark.own_code import OwnCode, is_own_code
from prunemark.plugins import Table
from prunemark.registry import Entry, find

if TYPE_CHECKING:
    from prunemark.methods.base import Method, Problem
    from prunemark.methods.force import Force
    from prunemark.methods.grasp import Grasp
    from prunemark.methods.magnitude import Magnitude
    from prunemark.methods.ntk_sap import NtkSap
    from prunemark.methods.options import Custom
    from prunemark.methods.phew import Phew
    from prunemark.methods.prospr import ProsPr
    from prunemark.methods.random import Random
    from prunemark.methods.snip import Snip, SnipMilAd, SnipOfficial, SnipSynapticFlow
    from prunemark.methods.synflow import SynFlow


@dataclass(frozen=True, kw_only=True)
class MethodEntry(Entry):
    """A line of METHODS.

    `rounds` is the number of rounds in which the method prunes by default; `needs_data` says whether its
    scores need examples; `own_precision` that they do not depend on the precision of the model.
    """

    rounds: int = 1
    needs_data: bool = False
    own_precision: bool = False

    def load(self) -> Any:
        """Import and return the target, a class of methods.

        Raises:
            ValueError: it is no class, which may be so in an entry of another package.
        """
        target = super().load()
        if not isinstance(target, type):
            raise ValueError(f"{self.target} must be a class, such as a Method, not {type(target).__name__}")
        return target


_OWN: dict[str, MethodEntry] = {
    "random": MethodEntry(
        target="prunemark.methods.random:Random",
        summary="uniform random numbers",
        source="baseline",
        own_precision=True,
    ),
    "magnitude": MethodEntry(
        target="prunemark.methods.magnitude:Magnitude",
        summary="|w|",
        source="Han et al. 2015",
        own_precision=True,
    ),
    "snip": MethodEntry(
        target="prunemark.methods.snip:Snip",
        summary="|w * dL/dw|: how much the loss would change",
        source="Lee et al. 2019",
        needs_data=True,
    ),
    "snip:mil-ad": MethodEntry(
        target="prunemark.methods.snip:SnipMilAd",
        summary="SNIP of the first batch only, on weights drawn afresh",
        source="mil-ad/snip",
        needs_data=True,
    ),
    "snip:official": MethodEntry(
        target="prunemark.methods.snip:SnipOfficial",
        summary="SNIP of one ordinary batch, BatchNorm in its inference setting",
        source="namhoonlee/snip-public",
        needs_data=True,
    ),
    "snip:synaptic-flow": MethodEntry(
        target="prunemark.methods.snip:SnipSynapticFlow",
        summary="SNIP as |w * sum of gradients| in eval mode; several rounds revive weights",
        source="ganguli-lab/Synaptic-Flow",
        needs_data=True,
    ),
    "grasp": MethodEntry(
        target="prunemark.methods.grasp:Grasp",
        summary="w * Hg: how much the gradient norm would fall",
        source="Wang et al. 2020",
        needs_data=True,
    ),
    "grasp:halves": MethodEntry(
        target="prunemark.methods.grasp:Grasp",
        options={"halves": True},
        summary="GraSP with g summed over two halves of the batch and H taken per half",
        source="alecwangcq/GraSP",
        needs_data=True,
    ),
    "grasp:open-lth": MethodEntry(
        target="prunemark.methods.grasp:Grasp",
        options={"over": "all"},
        summary="GraSP with g over all weights in every round, pruned ones at 0 included",
        source="Frankle et al. 2021",
        needs_data=True,
    ),
    "grasp:reversed": MethodEntry(
        target="prunemark.methods.grasp:Grasp",
        options={"keep": "smallest"},
        summary="-w * Hg: GraSP with the opposite sign",
        source="Frankle et al. 2021",
        needs_data=True,
    ),
    "graspabs": MethodEntry(
        target="prunemark.methods.grasp:Grasp",
        options={"keep": "magnitude"},
        summary="|w * Hg|: GraSP by magnitude",
        source="Frankle et al. 2021",
        needs_data=True,
    ),
    "synflow": MethodEntry(
        target="prunemark.methods.synflow:SynFlow",
        summary="|w * dR/dw|: synaptic flow, without data",
        source="Tanaka et al. 2020",
        rounds=100,
        own_precision=True,
    ),
    "synflow:synaptic-flow": MethodEntry(
        target="prunemark.methods.synflow:SynFlow",
        options={"dtype": "float32", "buffers": True},
        summary="SynFlow in float32, buffers made positive too",
        source="ganguli-lab/Synaptic-Flow",
        rounds=100,
        own_precision=True,
    ),
    "force": MethodEntry(
        target="prunemark.methods.force:Force",
        summary="|w * dL/d(w * m)|: SNIP of the pruned network, whose pruned weights may come back",
        source="de Jorge et al. 2021",
        rounds=60,
        needs_data=True,
    ),
    "iter-snip": MethodEntry(
        target="prunemark.methods.snip:Snip",
        summary="SNIP in many rounds",
        source="de Jorge et al. 2021",
        rounds=60,
        needs_data=True,
    ),
    "prospr": MethodEntry(
        target="prunemark.methods.prospr:ProsPr",
        summary="|w * dL_M/dw|: SNIP of the loss after M steps of training",
        source="Alizadeh et al. 2022",
        needs_data=True,
    ),
    "phew": MethodEntry(
        target="prunemark.methods.phew:Phew",
        summary="paths of random walks that prefer large |w|, without data",
        source="Patil & Dovrolis 2021",
        own_precision=True,
    ),
    "ntk-sap": MethodEntry(
        target="prunemark.methods.ntk_sap:NtkSap",
        summary="|m * d(trace of the neural tangent kernel)/dm| over random weights, without data",
        source="Wang et al. 2023",
        rounds=20,
    ),
}
METHODS = Table("prunemark.methods", "method", MethodEntry, _OWN)
"""Ours by name, and those of other packages, see `prunemark.plugins`."""

_HOMES = {
    "Custom": "options",
    "Force": "force",
    "Grasp": "grasp",
    "Magnitude": "magnitude",
    "Method": "base",
    "NtkSap": "ntk_sap",
    "Phew": "phew",
    "Problem": "base",
    "ProsPr": "prospr",
    "Random": "random",
    "Snip": "snip",
    "SnipMilAd": "snip",
    "SnipOfficial": "snip",
    "SnipSynapticFlow": "snip",
    "SynFlow": "synflow",
}

__all__ = [
    "METHODS",
    "Custom",
    "Force",
    "Grasp",
    "Magnitude",
    "Method",
    "MethodEntry",
    "NtkSap",
    "Phew",
    "Problem",
    "ProsPr",
    "Random",
    "Snip",
    "SnipMilAd",
    "SnipOfficial",
    "SnipSynapticFlow",
    "SynFlow",
    "resolve",
]


def resolve(method: "str | Method | Callable[[Problem], Mapping[str, Any]]", **options: Any) -> "Method":
    """A method object from its name, from "FILE.py:attribute", from a scoring function, or from itself.

    Args:
        method: a name in METHODS; "FILE.py:attribute"; a function `(Problem) -> {name: scores}`; a method.
        options: fields of the method's dataclass that differ from its defaults.

    Raises:
        ValueError: an unknown name or option (the message lists the known ones); a value that does not fit its
            option; a switch that is misspelt; options for an object that is configured already; something else than
            all of these.
    """
    from prunemark.methods.options import adapt, configure
    from prunemark.methods.other_signatures import bridged

    if isinstance(method, str):
        if is_own_code(method):
            return resolve(OwnCode.find(method).load(), **options)
        entry = find(METHODS, "method", method)
        return configure(entry.load(), method, {"rounds": entry.rounds, **entry.options, **options})
    method = bridged(method)
    if isinstance(method, type):
        return configure(method, method.__name__, options)
    if options:
        raise ValueError(f"{method!r} is configured already; it takes no options {sorted(options)}")
    if not callable(method):
        raise ValueError(
            f"a method is a name, a function (problem) -> scores or an object of prunemark.methods; got {method!r}"
        )
    return adapt(method)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'prunemark.methods' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"prunemark.methods.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
