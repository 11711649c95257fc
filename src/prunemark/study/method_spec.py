"""`MethodSpec`: one method of a study, with its rounds, quotas and options. No torch."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, StrictInt, model_validator

from prunemark.methods import METHODS
from prunemark.own_code import is_own_code
from prunemark.study.fields import CHECKED, Label, MethodName, Options, QuotaRule


class MethodSpec(BaseModel):
    """One method of a study.

    Attributes:
        name: a name in METHODS, or "FILE.py:function" for one's own (one round unless `rounds` says otherwise).
        rounds: in how many rounds to prune; None = the method's own number.
        quotas: None ranks the weights of all layers together; "uniform", "uniform-plus", "erk" or "igq" fix how many
            each layer keeps, and so do sparsities by pattern for layers' names, {"stages.2.*": 0.95}; see
            `prunemark.pruning.quotas.quotas`.
        label: its name in the results, printable and of at most 60 characters; by default the method's or the
            function's name.
        options: the method's own, such as {bn = "eval"}.
    """

    model_config = CHECKED

    name: MethodName
    rounds: Annotated[StrictInt, Field(ge=1)] | None = None
    quotas: QuotaRule = None
    label: Label = ""
    options: Options = {}

    @model_validator(mode="before")
    @classmethod
    def _labelled(cls, data: Any) -> Any:
        if isinstance(data, str):
            data = {"name": data}
        if isinstance(data, Mapping) and not data.get("label") and isinstance(data.get("name"), str):
            return {**data, "label": default_label(data["name"])}
        return data

    @property
    def entry_rounds(self) -> int:
        """In how many rounds it prunes."""
        if self.rounds is not None:
            return self.rounds
        return METHODS[self.name].rounds if self.name in METHODS else 1

    @property
    def own_precision(self) -> bool:
        """True if its scores do not depend on the precision of the network; not known of a user's own method."""
        return self.name in METHODS and METHODS[self.name].own_precision

    @property
    def needs_data(self) -> bool:
        """True if its scores depend on examples; assumed of a user's own method."""
        return METHODS[self.name].needs_data if self.name in METHODS else True


def default_label(name: str) -> str:
    """The name in the results of a method that has no label: its own, or the function's in "FILE.py:function"."""
    return name.rpartition(":")[2] if is_own_code(name) else name
