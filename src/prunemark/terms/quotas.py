"""The names of the rules that fix how many weights each layer keeps; `prunemark.pruning.quotas` applies them."""

from typing import Literal, get_args

QuotaName = Literal["uniform", "uniform-plus", "erk", "igq"]
QUOTAS: tuple[QuotaName, ...] = get_args(QuotaName)
