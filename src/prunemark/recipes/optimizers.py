"""The optimizers of torch that a recipe can name, and what each of them takes. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prunemark.recipes.values import AMOUNT, FRACTION, FRACTIONS, NUMBER, NUMBERS, POSITIVE, SWITCH, Kind
from prunemark.registry import Entry, unknown


@dataclass(frozen=True, kw_only=True)
class OptimizerEntry(Entry):
    """A line of OPTIMIZERS; `target` is the class in torch.optim.

    Attributes:
        lr: the learning rate where a recipe gives none: torch's default, but SGD's, which is the paper's.
        momentum: the recipe's momentum where it gives none; None: the optimizer has no argument of that name.
        weight_decay: whether it has weight decay.
        takes: its other options. Those that only choose how the same step is computed are not among them.
    """

    lr: float
    momentum: float | None = None
    weight_decay: bool = True
    takes: Mapping[str, Kind] = field(default_factory=dict[str, Kind])


_ADAM: dict[str, Kind] = {"betas": FRACTIONS, "eps": AMOUNT}

OPTIMIZERS: dict[str, OptimizerEntry] = {
    "adadelta": OptimizerEntry(
        target="torch.optim:Adadelta",
        summary="steps in units of earlier steps",
        source="Zeiler 2012, arXiv 1212.5701",
        lr=1.0,
        takes={"rho": FRACTION, "eps": AMOUNT},
    ),
    "adafactor": OptimizerEntry(
        target="torch.optim:Adafactor",
        summary="Adam with the second moments of a matrix as a product",
        source="Shazeer & Stern 2018, arXiv 1804.04235",
        lr=0.01,
        takes={"beta2_decay": NUMBER, "d": POSITIVE},
    ),
    "adagrad": OptimizerEntry(
        target="torch.optim:Adagrad",
        summary="steps in units of the sum of squared gradients",
        source="Duchi, Hazan & Singer 2011",
        lr=0.01,
        takes={"lr_decay": AMOUNT, "initial_accumulator_value": AMOUNT, "eps": AMOUNT},
    ),
    "adam": OptimizerEntry(
        target="torch.optim:Adam",
        summary="steps in units of the mean squared gradient; weight decay as an L2 penalty",
        source="Kingma & Ba 2015, arXiv 1412.6980",
        lr=0.001,
        takes=_ADAM | {"amsgrad": SWITCH},
    ),
    "adamax": OptimizerEntry(
        target="torch.optim:Adamax",
        summary="Adam with the largest gradient for the mean squared one",
        source="Kingma & Ba 2015, arXiv 1412.6980",
        lr=0.002,
        takes=_ADAM,
    ),
    "adamw": OptimizerEntry(
        target="torch.optim:AdamW",
        summary="Adam with weight decay apart from the gradient",
        source="Loshchilov & Hutter 2019, arXiv 1711.05101",
        lr=0.001,
        takes=_ADAM | {"amsgrad": SWITCH},
    ),
    "asgd": OptimizerEntry(
        target="torch.optim:ASGD",
        summary="SGD with a learning rate that falls by itself",
        source="Polyak & Juditsky 1992",
        lr=0.01,
        takes={"lambd": AMOUNT, "alpha": AMOUNT, "t0": AMOUNT},
    ),
    "nadam": OptimizerEntry(
        target="torch.optim:NAdam",
        summary="Adam with Nesterov momentum",
        source="Dozat 2016",
        lr=0.002,
        takes=_ADAM | {"momentum_decay": AMOUNT, "decoupled_weight_decay": SWITCH},
    ),
    "radam": OptimizerEntry(
        target="torch.optim:RAdam",
        summary="Adam whose first steps are rectified",
        source="Liu et al. 2020, arXiv 1908.03265",
        lr=0.001,
        takes=_ADAM | {"decoupled_weight_decay": SWITCH},
    ),
    "rmsprop": OptimizerEntry(
        target="torch.optim:RMSprop",
        summary="steps in units of the mean squared gradient",
        source="Hinton 2012",
        lr=0.01,
        momentum=0.0,
        takes={"alpha": FRACTION, "eps": AMOUNT, "centered": SWITCH},
    ),
    "rprop": OptimizerEntry(
        target="torch.optim:Rprop",
        summary="steps by the sign of the gradient alone",
        source="Riedmiller & Braun 1993",
        lr=0.01,
        weight_decay=False,
        takes={"etas": NUMBERS, "step_sizes": NUMBERS},
    ),
    "sgd": OptimizerEntry(
        target="torch.optim:SGD",
        summary="stochastic gradient descent with momentum",
        source="Robbins & Monro 1951; Nesterov 1983",
        lr=0.1,
        momentum=0.9,
        takes={"nesterov": SWITCH, "dampening": AMOUNT},
    ),
}

_UNFIT = {
    "lbfgs": "evaluates the loss several times for each step",
    "muon": "steps matrices only",
    "sparseadam": "takes sparse gradients only",
}


def optimizer_problem(name: str) -> str:
    """What is wrong with the name of an optimizer, in a sentence; empty if it is one of OPTIMIZERS."""
    if name in OPTIMIZERS:
        return ""
    if name in _UNFIT:
        return f'optimizer "{name}" {_UNFIT[name]}, which training does not do; known: {", ".join(OPTIMIZERS)}'
    return unknown("optimizer", name, OPTIMIZERS)


def option_problems(
    name: str, options: Mapping[str, Any], *, lr: object, momentum: object, weight_decay: object
) -> list[str]:
    """What is wrong with the options of an optimizer of OPTIMIZERS; the learning rate and so on are the recipe's."""
    entry = OPTIMIZERS[name]
    problems: list[str] = []
    if momentum and entry.momentum is None:
        problems.append(f"{name} has no momentum of this name: leave momentum out, see its optimizer_options")
    if weight_decay and not entry.weight_decay:
        problems.append(f"{name} has no weight decay: set weight_decay = 0")
    for option, value in options.items():
        where = f"optimizer_options.{option}"
        if option in ("lr", "momentum", "weight_decay"):
            problems.append(f"{where}: {option} is a field of the recipe itself")
        elif option not in entry.takes:
            problems.append(f"optimizer_options: {unknown(f'option of {name}', option, entry.takes)}")
        elif not entry.takes[option].holds(value):
            problems.append(f"{where} is {entry.takes[option].words}, not {value!r}")
    if not problems and options.get("nesterov") and (not momentum or options.get("dampening")):
        problems.append("optimizer_options.nesterov needs momentum above 0 and no dampening")
    return problems


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options in one spelling: numbers as floats, lists as tuples, in the order of their names."""

    def spelled(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple(map(float, value))
        return value if isinstance(value, bool) else float(value)

    return {name: spelled(options[name]) for name in sorted(options)}
