"""In which precision scores are computed."""

import pytest
import torch
from torch import nn

import prunemark as pm
from prunemark.methods import METHODS
from prunemark.models.precision import true_float32

source = torch.Generator().manual_seed(0)
DATA = [(torch.randn(30, 3, 8, 8, generator=source), torch.arange(30) % 10)]
pytestmark = pytest.mark.filterwarnings("ignore::prunemark.UnscoredWarning")


def narrow(dtype: torch.dtype = torch.float32) -> nn.Module:
    return pm.network("resnet-20", input_shape=(3, 8, 8), classes=10, seed=0, width=0.25).to(dtype)


@pytest.mark.parametrize("method", ["snip", "grasp", "force"])
def test_several_rounds_are_scored_in_float64_and_one_in_the_models_own(method):
    model, double = narrow(), narrow(torch.float64)
    exact = [(DATA[0][0].double(), DATA[0][1])]
    masks = pm.prune(model, method, sparsity=0.9, rounds=5, data=DATA)
    assert masks == pm.prune(double, method, sparsity=0.9, rounds=5, data=exact)
    assert masks.provenance["score_dtype"] == "float64"
    assert masks.provenance["data"] == pm.prune(model, method, sparsity=0.9, rounds=1, data=DATA).provenance["data"]
    assert pm.prune(model, method, sparsity=0.9, rounds=1, data=DATA).provenance["score_dtype"] == "float32"
    assert pm.score(model, method, data=DATA, score_dtype="float64")["conv.weight"].dtype == torch.float64
    assert next(model.parameters()).dtype == torch.float32


def test_a_precision_can_be_asked_for_and_methods_with_their_own_keep_it():
    seen: list[torch.dtype] = []

    def spy(problem):
        seen.extend({next(iter(problem.weights.values())).dtype, problem.batches[0][0].dtype})
        return {name: weight.detach().abs() for name, weight in problem.weights.items()}

    pm.prune(narrow(), spy, sparsity=0.5, rounds=2, data=DATA, score_dtype="float32")
    pm.prune(narrow(torch.bfloat16), spy, sparsity=0.5, rounds=2, data=DATA)
    assert seen == [torch.float32] * 2 + [torch.float64] * 2
    for method in METHODS:
        assert METHODS[method].own_precision == getattr(METHODS[method].load(), "own_precision", False)
        if METHODS[method].own_precision:
            single, double = (pm.score(narrow(), method, data=DATA, score_dtype=d) for d in ("float32", "float64"))
            assert all(torch.equal(single[name], double[name]) for name in single)
    with pytest.raises(ValueError, match=r"score_dtype is 'float32' or 'float64', or None; got 'half'"):
        pm.score(narrow(), "snip", data=DATA, score_dtype="half")


def test_scores_are_true_float32_whatever_the_process_has_set_which_is_restored():
    def state():
        return torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()

    inside: list[tuple[bool, str]] = []

    def forward(model, inputs):
        inside.append(state())
        return model(inputs)

    before = state()
    try:
        torch.backends.cudnn.allow_tf32 = True
        torch.set_float32_matmul_precision("high")
        for allowed in (False, True):
            pm.score(narrow(), "snip", data=DATA, forward=forward, tf32=allowed)
            assert state() == (True, "high")
        with pytest.raises(RuntimeError, match="oops"), true_float32():
            raise RuntimeError("oops")
        assert state() == (True, "high")
    finally:
        torch.backends.cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])
    assert inside == [(False, "highest"), (True, "high")]
