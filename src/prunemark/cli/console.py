"""The console that the command line prints on, and the progress of a run."""

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from prunemark.study.progress import Event, Progress


# Where there is no bar, a line says what the workers do when nothing else was said for so long.
_QUIET_S = 600.0


def make_console(*, stderr: bool = False, quiet: bool = False) -> "Console":
    from rich.console import Console

    # A file or pipe has no width, and what is read there is plain text.
    console = Console(stderr=stderr, highlight=False, quiet=quiet)
    if console.is_terminal:
        return console
    return Console(stderr=stderr, highlight=False, width=80, no_color=True, quiet=quiet)


class ProgressBar:
    """A bar with the time left and what is being done on terminals; elsewhere a line per tenth, or in ten minutes."""

    def __init__(self, *, quiet: bool = False) -> None:
        """Say what there is to say; if `quiet`, only what fails."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.console, self.quiet = make_console(stderr=True), quiet
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("jobs, {task.fields[left]} left; {task.fields[doing]}"),
            console=self.console,
            transient=True,
            disable=quiet or not self.console.is_terminal,
        )
        self.task: Any = None
        self.tenths = 0
        self.quiet_since = time.monotonic()

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self._tell

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def _tell(self, event: "Event") -> None:
        from prunemark.study.progress import Advanced, Looked, Noted, Planned, Working, duration

        failed = isinstance(event, Advanced) and event.status == "failed"
        if self.quiet and not failed and not isinstance(event, Noted):
            return
        if isinstance(event, Planned):
            self.console.print(event.describe(), markup=False)
            if event.jobs:
                self.task = self.bar.add_task("", total=event.jobs, left=duration(event.seconds), doing="")
            return
        if isinstance(event, Working):
            self._tell_work(event.describe())
            return
        if not isinstance(event, Advanced):
            self.console.print(event.describe(), markup=False, soft_wrap=isinstance(event, Noted))
            self.tenths = 0 if isinstance(event, Looked) else self.tenths
            return
        self.quiet_since = time.monotonic()
        left = duration(event.seconds_left)
        if event.status == "failed":
            self.console.print(
                f"failed {event.kind} {event.key[:12]}: {event.error.partition(chr(10))[0]}", markup=False
            )
        if self.task is not None:
            self.bar.update(self.task, completed=event.jobs_done, total=event.jobs_total, left=left)
        tenths = 0 if self.quiet else 10 * event.jobs_done // event.jobs_total
        if not self.console.is_terminal and tenths > self.tenths:
            self.tenths = tenths
            self.console.print(f"{event.jobs_done:,} of {event.jobs_total:,} jobs done, {left} left", markup=False)

    def _tell_work(self, doing: str) -> None:
        if self.task is not None:
            self.bar.update(self.task, doing=doing)
        if not self.console.is_terminal and time.monotonic() - self.quiet_since > _QUIET_S:
            self.quiet_since = time.monotonic()
            self.console.print(f"at work: {doing}", markup=False)
