"""What has been computed, in a folder: SQLite for numbers, a journal, one safetensors file per artifact. No torch.

The driver of a study is the only writer; anybody may read meanwhile. Several studies may share a folder: jobs
they have in common are then run once. Running a study again under its name replaces its rows, never its jobs.

Every row has a hash of its own, and every artifact's digest stands in its job's row: what does not verify counts as not
there, and is computed again. The journal has all rows as JSON lines, so a database that is lost or damaged is rebuilt.
"""

from prunemark.study.store.folder import DamagedRowsWarning, Store, open_log

__all__ = ["DamagedRowsWarning", "Store", "open_log"]
