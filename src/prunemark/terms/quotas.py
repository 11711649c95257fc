"""The names of the rules that fix how many weights each layer keeps; `prunemark.pruning.quotas` applies them."""

from collections.abc import Mapping
from typing import Literal, get_args

QuotaName = Literal["uniform", "uniform-plus", "erk", "igq"]
QUOTAS: tuple[QuotaName, ...] = get_args(QuotaName)
SparsityByPattern = Mapping[str, float]
"""Sparsity of each layer whose name a pattern matches, by pattern: {"stages.2.*": 0.95}."""
