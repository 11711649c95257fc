"""Progress reports of a run. No torch."""

from collections.abc import Callable
from dataclasses import dataclass

from prunemark.study.job import Job, Kind, Status, Underway
from prunemark.study.plan import Plan
from prunemark.study.stopping import Stopping


@dataclass(frozen=True, kw_only=True)
class Planned:
    """Told once, before anything runs.

    Attributes:
        plan: the whole study.
        jobs, steps: what is left to do of it: jobs, and training steps.
        seconds: how long that will take, from the measured time of a training step.
        step_seconds: that time.
        workers: how many jobs run at the same time.
        device: where they run.
        most_seconds: of a study with looks, how long it will take if none but the last ends it; `plan`, `jobs`, `steps`
            and `seconds` are of the next of them. 0 where the number of replicates is fixed.
        engines: of a dry run, which engine takes which trainings and what layers cost by each, in lines.
    """

    plan: Plan
    jobs: int
    steps: int
    seconds: float
    step_seconds: float
    workers: int
    device: str
    most_seconds: float = 0.0
    engines: str = ""

    def describe(self) -> str:
        """The plan's size and the expected time, in a few lines."""
        present = len(self.plan.jobs) - self.jobs
        lines = [self.plan.describe()]
        if present:
            lines.append(f"  {present:,} of {len(self.plan.jobs):,} jobs are there already")
        if self.jobs:
            workers = f"{self.workers} worker{'' if self.workers == 1 else 's'}"
            lines.append(
                f"  expected time: {duration(self.seconds)}{self._at_most()} ({workers} on {self.device}, "
                f"{1000 * self.step_seconds:.1f} ms per training step)"
            )
        else:
            lines.append(f"  nothing is left to do{' up to this look' if self.plan.study.looks else ''}")
        lines += [f"  {line}" for line in self.engines.splitlines()]
        return "\n".join(lines)

    def _at_most(self) -> str:
        return f" to the next look, {duration(self.most_seconds)} if it takes all" if self.most_seconds else ""


@dataclass(frozen=True, kw_only=True)
class Advanced:
    """Told when a job is finished.

    Attributes:
        key, kind, status, error: the job and what came of it.
        jobs_done, jobs_total, steps_done, steps_total: of this run, up to the next look; failed jobs count as done.
        seconds: since the run began.
        seconds_left: expected, from what jobs of this run have taken.
    """

    key: str
    kind: Kind
    status: Status
    error: str
    jobs_done: int
    jobs_total: int
    steps_done: int
    steps_total: int
    seconds: float
    seconds_left: float


@dataclass(frozen=True, kw_only=True)
class Looked:
    """Told when a study with looks has judged its results.

    Attributes:
        stopping: what it found.
        jobs: how many more there are up to the next look; 0 if there is none.
    """

    stopping: Stopping
    jobs: int

    def describe(self) -> str:
        """The look's findings and their consequence, in one line."""
        more = "" if self.stopping.stops else f": {self.jobs:,} more jobs"
        return f"{self.stopping.words}{more}"


@dataclass(frozen=True, kw_only=True)
class Noted:
    """Told when something stored was found damaged: what it was, and what is done about it.

    Attributes:
        text: that, in one line.
    """

    text: str

    def describe(self) -> str:
        """The note."""
        return f"note: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Working:
    """Told about once a second.

    Attributes:
        underway: what each worker that has a job is doing.
    """

    underway: tuple[Underway, ...]

    def describe(self) -> str:
        """What the workers are doing, in a line."""
        return "; ".join(_doing(each) for each in self.underway) or "waiting for a worker"


@dataclass(frozen=True, kw_only=True)
class Slow:
    """Told once of a job that takes ten times as long as those of its kind did, or ten minutes where none has finished.

    Attributes:
        job, seconds: which, and for how long it has been under way.
        expected_seconds: what it was expected to take; None where none of its kind has finished.
    """

    job: Job
    seconds: float
    expected_seconds: float | None

    def describe(self) -> str:
        """Sentence that says so."""
        told = (
            "none of its kind has finished yet"
            if self.expected_seconds is None
            else f"about {duration(self.expected_seconds)} were expected"
        )
        return (
            f"slow: {job_words(self.job)} has been under way for {duration(self.seconds)}; {told} "
            "(--job-timeout ends such jobs)"
        )


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """Told of a job that found a checkpoint of its own.

    Attributes:
        job, step: which, and after how many steps, or rounds, it resumed; 0 if it could not.
        note: why it could not.
    """

    job: Job
    step: int
    note: str = ""

    def describe(self) -> str:
        """Sentence that says so."""
        if not self.step:
            return f"{job_words(self.job)} begins again: {self.note}"
        unit = "step" if self.job.steps else "round"
        return f"resumed {job_words(self.job)} after {unit} {self.step:,}"


Event = Planned | Advanced | Looked | Noted | Working | Slow | Resumed
Progress = Callable[[Event], None]


def duration(seconds: float) -> str:
    """Seconds in words: "40 s", "3 min 20 s", "2 h 5 min"."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def job_words(job: Job) -> str:
    """What a job is, in a few words: "training 5f0c2e41d7aa", "scores of snip", "mask of snip at 0.9"."""
    method = job.spec.get("method", {})
    name = method.get("name") or method.get("attribute", "")
    match job.kind:
        case "dense":
            return f"dense training to step {job.spec['step']:,}"
        case "score":
            return f"scores of {name}"
        case "mask":
            return f"mask of {name} at {job.spec['sparsity']:g}"
        case "train":
            return f"training {job.key[:12]}"


def _doing(each: Underway) -> str:
    if not each.seconds:
        return f"starting {job_words(each.job)}"
    unit = "step" if each.job.steps else "round"
    far = f"{unit} {each.step:,}, " if each.step else ""
    return f"{job_words(each.job)} ({far}{duration(each.seconds)})"
