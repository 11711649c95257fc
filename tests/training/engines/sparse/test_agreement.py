"""Whole trainings by both engines agree within the noise of seeds; benchmarks/engine_agreement.py goes further."""

import copy
import statistics

import pytest
from scipy import stats

import prunemark as pm

SEEDS = 20


def differences(network, recipe, *, sparsity):
    """Test losses of the dense trainings, and by how much the sparse ones differ from them, seed by seed."""
    data = pm.dataset("digits")
    dense, apart = [], []
    for seed in range(SEEDS):
        drawn = pm.network(network, input_shape=data.input_shape, classes=data.classes, seed=seed)
        masks = pm.prune(drawn, "random", sparsity=sparsity, input_shape=data.input_shape, seed=seed)
        found = {}
        for engine in ("dense", "sparse"):
            trained = pm.train(copy.deepcopy(drawn), data, recipe, masks=masks, seed=seed, engine=engine, curve=False)
            assert trained.engine == engine
            found[engine] = trained.test_loss
        dense.append(found["dense"])
        apart.append(found["sparse"] - found["dense"])
    return dense, apart


@pytest.mark.soak
@pytest.mark.parametrize(
    ("network", "recipe", "sparsity"),
    [
        ("lenet-300-100", pm.Recipe(epochs=10), 0.9),
        ("resnet-8", pm.Recipe(epochs=4, batch_size=64, weight_decay=0.02, drops=(2, 3)), 0.95),
    ],
)
def test_the_mean_difference_is_smaller_than_the_noise_of_seeds(network, recipe, sparsity):
    dense, apart = differences(network, recipe, sparsity=sparsity)
    assert any(apart), "the engines add up in different orders"
    margin = statistics.stdev(dense)
    reach = stats.t.ppf(0.95, SEEDS - 1) * statistics.stdev(apart) / SEEDS**0.5
    mean = statistics.mean(apart)
    # Both one-sided tests at 5 % reject a difference as large as one standard deviation over seeds.
    assert -margin < mean - reach
    assert mean + reach < margin
