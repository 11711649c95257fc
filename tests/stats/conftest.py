from collections.abc import Sequence

import pandas as pd
import pytest

from tests.stats.tables import dense, rows, table, trained


@pytest.fixture
def study() -> pd.DataFrame:
    """A study in which every claim of the paper holds in every cell that counts: five replicates, three sparsities.

    At 50 % everything reaches the dense network, at 90 % magnitude after training does, at 99 % nothing does.
    """
    noise = (0.0, 0.1, -0.1, 0.05, -0.05)
    other = (0.1, -0.1, 0.0, -0.05, 0.05)

    def around(accuracy: float, jitter: Sequence[float] = noise) -> list[float]:
        return [accuracy + x for x in jitter]

    parts = [dense(around(98))]
    parts += [rows("random", around(a), sparsity=s) for s, a in ((0.5, 98), (0.9, 90), (0.99, 50))]
    for method in ("snip", "grasp"):
        for s, a in ((0.9, 95), (0.99, 70)):
            parts.append(rows(method, around(a, other), sparsity=s))
            parts += [rows(method, around(a), sparsity=s, ablation=name) for name in ("shuffle", "reinit")]
            inverted = a if method == "grasp" else a - 20
            parts.append(rows(method, around(inverted), sparsity=s, ablation="invert"))
            parts.append(rows(method, around(a + 1.5), sparsity=s, prune_at="1000it"))
    for name in ("magnitude-after-training", "lottery-rewinding"):
        for s, a in ((0.5, 98), (0.9, 98), (0.99, 80)):
            parts.append(trained(around(a, other), name, sparsity=s))
            if s > 0.5:
                parts += [trained(around(a - 5), name, sparsity=s, ablation=x) for x in ("shuffle", "reinit")]
    return table(*parts)
