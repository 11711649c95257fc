"""MLflow: one experiment per study, one run per trial."""

import time
from pathlib import Path
from typing import Any

from prunemark.study.tracking.record import Record

_MOST = 1000
"""Metrics that MLflow takes at once."""


class MLflowTracker:
    """Makes a run for each trial in the experiment of the study's name.

    What was asked are its parameters; metrics are the curve by epoch, and results under "result/".

    Args:
        target: a tracking URI; by default MLflow's own (MLFLOW_TRACKING_URI).
        folder: of results.
        study: the study's name.
    """

    def __init__(self, target: str, folder: Path, study: str, /) -> None:
        from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]

        self.client: Any = MlflowClient(tracking_uri=target or None)
        known = self.client.get_experiment_by_name(study)
        self.experiment: str = known.experiment_id if known else self.client.create_experiment(study)

    def send(self, record: Record, /) -> None:
        """Make a run of a trial."""
        from mlflow.entities import Metric, Param  # pyright: ignore[reportMissingImports]

        now = int(1000 * time.time())
        run: str = self.client.create_run(self.experiment, run_name=record.name).info.run_id
        metrics = [
            Metric(name, value, now, epoch) for epoch, measured in record.curve for name, value in measured.items()
        ]
        last = record.curve[-1][0] if record.curve else 0
        metrics += [Metric(f"result/{name}", value, now, last) for name, value in record.results.items()]
        for start in range(0, len(metrics), _MOST):
            self.client.log_batch(run, metrics=metrics[start : start + _MOST])
        self.client.log_batch(run, params=[Param(name, str(value)) for name, value in record.asked.items()])
        self.client.set_terminated(run)

    def close(self) -> None:
        """Nothing is open between trials."""
