"""`Study` -> `Plan`: which jobs a study needs, each once, and which rows come of them. No torch."""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prunemark.datasets import form_of, overlap_words, short_dataset
from prunemark.methods import METHODS
from prunemark.networks import NETWORKS
from prunemark.own_code import OwnCode, is_own_code, short_name
from prunemark.randomness import derive
from prunemark.registry import Entry
from prunemark.study.job import Job, Kind
from prunemark.study.key import content_key
from prunemark.study.method_spec import MethodSpec
from prunemark.study.spec import Study
from prunemark.study.toml_text import toml_value
from prunemark.terms.ablations import ABLATIONS, REDRAWS, UNMODIFIED
from prunemark.terms.benchmarks import parse as parse_benchmark
from prunemark.terms.numbers import counted
from prunemark.terms.scoring import SCORING_BATCH
from prunemark.terms.sparsity import rounds_to

_MAGNITUDE = MethodSpec(name="magnitude")
_SETTLED = {"claims": "every question about a claim is settled", "cells": "every cell is settled"}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One row of the results, and the job whose accuracy it shows."""

    study: str
    network: str
    dataset: str
    method: str
    ablation: str
    benchmark: str
    prune_at: str
    sparsity: float
    replicate: int
    job_key: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The jobs of a study, each after those it needs, and its trials."""

    study: Study
    jobs: tuple[Job, ...]
    trials: tuple[Trial, ...]
    notes: tuple[str, ...] = ()

    @property
    def replicates(self) -> int:
        """Number of its replicates: all of the study's, or those up to one of its looks."""
        return max(trial.replicate for trial in self.trials) + 1

    @property
    def steps(self) -> int:
        """Optimizer steps of all jobs."""
        return sum(job.steps for job in self.jobs)

    def counts(self) -> dict[Kind, int]:
        """Jobs by kind."""
        return dict(Counter(job.kind for job in self.jobs))

    def describe(self) -> str:
        """The plan's size, in a few lines."""
        study, counts = self.study, self.counts()
        methods = ", ".join(method.label for method in study.methods)
        benchmarks, ablations = _benchmarks(study.benchmarks), ", ".join(study.ablations)
        lines = [
            f"study {study.name}: {short_name(study.network)} on {short_dataset(study.dataset)}, "
            f"{study.looks or counted(self.replicates, 'replicate')}",
            f"  methods: {methods or 'none'}, at {', '.join(study.prune_at)}",
            f"  benchmarks: {benchmarks or 'none'}; ablations: {ablations or 'none'}",
            f"  sparsities: {', '.join(f'{s:g}' for s in study.sparsities)}",
            f"  {self._extent()}{counted(len(self.trials), 'trial')} from {counted(len(self.jobs), 'job')}: "
            f"{counts.get('train', 0)} trainings of subnetworks, {counts.get('dense', 0)} stretches of dense training, "
            f"{counts.get('score', 0)} scores, {counts.get('mask', 0)} masks; {self.steps:,} training steps",
        ]
        if study.changes:
            lines.insert(
                1, f"  set: {', '.join(f'{path} = {toml_value(value)}' for path, value in study.changes.items())}"
            )
        if study.looks:
            lines.append(f"  it ends at the first look at which {_SETTLED[study.looks.until]}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    def _extent(self) -> str:
        return f"up to the look at {self.replicates} replicates: " if self.study.looks else ""


def plan(study: Study, replicates: int | None = None) -> Plan:
    """Work out the jobs and trials of a study.

    Whatever two trials share is one job. Adding a sparsity, a replicate, a method, an ablation, a benchmark or
    a step to a study adds jobs and leaves the keys of the others as they were.

    Args:
        study: what to run.
        replicates: only the first so many, as a study with looks needs at one of them; by default all it may have.
    """
    return _Planner(study).plan(study.sizes[-1] if replicates is None else replicates)


Files = dict[str, list[str]]
"""The digest of a user's file -> its path, then those of what it depends on."""


def identify(name: str, table: Mapping[str, Any], depends_on: Iterable[str] = ()) -> tuple[dict[str, Any], Files]:
    """Identity of a network or method in a job's key: its name, or a user's attribute and the digest of the file.

    Args:
        name: the network's or method's.
        table: the known ones.
        depends_on: what the user's files read.

    A network that was changed has its version beside its name, and an entry of another package that package.

    Returns:
        That, and the file by its digest.
    """
    if name in table:
        return {"name": name} | versioned(table[name]) | packaged(table[name]), {}
    code = OwnCode.find(name, depends_on)
    return {"attribute": code.attribute, "file_sha256": code.digest}, {code.digest: [str(code.path), *depends_on]}


def versioned(entry: object) -> dict[str, int]:
    """The version of an entry of a table, where it is not the first: keys of what never changed do not move."""
    version: int = getattr(entry, "version", 1)
    return {"version": version} if version > 1 else {}


def packaged(entry: Entry) -> dict[str, Any]:
    """The package of an entry that is not ours, with the digest of its files."""
    return {} if entry.package is None else {"package": entry.package.identity()}


class _Planner:
    def __init__(self, study: Study) -> None:
        self.study = study
        self.files: Files = {}
        self.identities: dict[str, dict[str, Any]] = {}
        self.recipe = json.loads(json.dumps(study.full_recipe.to_dict()))
        # It says which state is rewound to, which is a field of its own; training itself never reads it.
        del self.recipe["rewind_to"]
        if is_own_code(loss := self.recipe.get("loss", "")):
            self.recipe["loss"] = self._named(loss, {})
        self.network = self._named(study.network, NETWORKS) | {"options": study.network_options}
        # What is as ever is not in a spec, so that keys do not move.
        data = versioned(study.data) | packaged(study.data)
        self.deviations: dict[str, Any] = {f"dataset_{name}": value for name, value in data.items()}
        self.dataset: str | dict[str, str] = study.dataset
        if form_of(study.dataset):
            # Wherever they are and whoever reads them, equal data are the same.
            self.dataset = {"fingerprint": study.data.fingerprint}
        elif study.data.fingerprint:
            self.deviations["dataset_fingerprint"] = study.data.fingerprint
        self.readers = self._readers()
        # What every training measures is in its result anyway; a metric of the user's is computed where one ends.
        name = study.measure.name
        self.metric = {"metric": self._named(name, {})} if is_own_code(name) else {}
        if study.normalise != "own":
            self.deviations["normalise"] = study.normalise
        self.total_steps = study.total_steps
        self.jobs: dict[str, Job] = {}
        self.trials: list[Trial] = []
        self.dense: dict[int, str] = {}

    def plan(self, replicates: int) -> Plan:
        study = self.study
        for replicate in range(replicates):
            self.replicate, self.seed = replicate, derive(study.seed, "replicate", replicate)
            self.dense = self._dense_chain()
            self._trial("dense", UNMODIFIED, "", "", 0.0, self.dense[self.total_steps])
            for method in study.methods:
                for at in study.prune_at:
                    scored, weights = study.score_at or at, study.weights_at or at
                    # What a subnetwork is given is known by the later of the two.
                    known_by = max(scored, weights, key=study.step)
                    state, trained = self.dense[study.step(scored)], self.dense[study.step(weights)]
                    self._cells(method, self._ablations(method), "", known_by, state, trained)
            for text in study.benchmarks:
                benchmark, step = parse_benchmark(text)
                rewound = self.dense[study.step(step or study.rewind_step)] if benchmark.rewinds else None
                if benchmark.iterative:
                    self._iterative_cells(text, rewound)
                else:
                    end = self.dense[self.total_steps]
                    self._cells(_MAGNITUDE, (UNMODIFIED, *study.ablations), text, "end", end, rewound or end)
        return Plan(study=study, jobs=tuple(self.jobs.values()), trials=tuple(self.trials), notes=self._notes())

    def _readers(self) -> Files:
        """The user's file that reads the data, if there is one, as in `Job.files`."""
        if not is_own_code(self.study.dataset):
            return {}
        code = OwnCode.find(self.study.dataset, self.study.depends_on)
        return {code.digest: [str(code.path), *self.study.depends_on]}

    def _named(self, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
        if name not in self.identities:
            self.identities[name], files = identify(name, table, self.study.depends_on)
            self.files |= files
        return self.identities[name]

    def _add(
        self,
        kind: Kind,
        fields: Mapping[str, Any],
        inputs: Mapping[str, str],
        *,
        steps: int = 0,
        cost: float = 0.0,
        keeps_state: bool = False,
    ) -> str:
        data = {"dataset": self.dataset, **self.deviations}
        spec: dict[str, Any] = {"network": self.network, **data, "seed": self.seed, **fields}
        if self.study.tf32:
            spec["tf32"] = True
        key = content_key(kind, spec)
        if key not in self.jobs:
            named = [spec.get(part) for part in ("network", "method", "loss", "metric")]
            named.append((spec.get("recipe") or {}).get("loss"))
            used = {each.get("file_sha256") for each in named if isinstance(each, dict)}
            files = {digest: paths for digest, paths in self.files.items() if digest in used} | self.readers
            self.jobs[key] = Job(
                key=key,
                kind=kind,
                spec=spec,
                inputs=dict(inputs),
                files=files,
                data=self.study.dataset if isinstance(self.dataset, dict) else "",
                steps=steps,
                cost=cost or steps,
                curves=self.study.curves and steps > 0,
            )
        if keeps_state:
            self.jobs[key] = dataclasses.replace(self.jobs[key], keeps_state=True)
        return key

    def _dense_chain(self) -> dict[int, str]:
        """Dense training of a replicate, cut at every step that something starts from: step -> key."""
        study = self.study
        steps = {0, self.total_steps, *map(study.step, study.prune_at)}
        steps |= {study.step(at) for at in (study.score_at, study.weights_at) if at}
        for benchmark, step in map(parse_benchmark, study.benchmarks):
            if benchmark.rewinds:
                steps.add(study.step(step or study.rewind_step))
        chain: dict[int, str] = {}
        before: int | None = None
        for step in sorted(steps):
            # The initial state is the same whatever it is then trained with.
            recipe = self.recipe if step else None
            inputs = {} if before is None else {"start": chain[before]}
            fields = {"recipe": recipe, "step": step} | (self.metric if step == self.total_steps else {})
            chain[step] = self._add("dense", fields, inputs, steps=step - (before or 0))
            before = step
        return chain

    def _ablations(self, method: MethodSpec) -> tuple[str, ...]:
        return (UNMODIFIED,) if method.name == "random" else (UNMODIFIED, *self.study.ablations)

    def _cells(
        self, method: MethodSpec, ablations: Iterable[str], benchmark: str, at: str, state: str, weights: str
    ) -> None:
        for sparsity in self.study.sparsities:
            for ablation in ablations:
                if sparsity == 0:
                    # Nothing is pruned: there is no mask to score for, and nothing that an ablation could change.
                    if ablation != UNMODIFIED:
                        continue
                    key = self._train(None, state, weights, UNMODIFIED)
                else:
                    mask = self._mask(method, state, sparsity, invert=ABLATIONS[ablation].inverts)
                    key = self._train(mask, state, weights, ablation)
                self._trial(method.label, ablation, benchmark, at, sparsity, key)

    def _iterative_cells(self, benchmark: str, rewound: str | None) -> None:
        """Iterative magnitude pruning: each round's mask comes of the weights that the round before trained.

        Args:
            benchmark: its text.
            rewound: the state that each round trains from; None: from the weights that were pruned.
        """
        for sparsity in self.study.sparsities:
            mask, state = None, self.dense[self.total_steps]
            *before, _ = rounds_to(sparsity)
            for reached in before:
                mask = self._mask_within(mask, state, reached)
                state = self._train(mask, state, rewound or state, UNMODIFIED, keeps_state=True)
            weights = rewound or state
            if sparsity == 0:
                self._trial(
                    "magnitude", UNMODIFIED, benchmark, "end", 0.0, self._train(None, state, weights, UNMODIFIED)
                )
                continue
            mask = self._mask_within(mask, state, sparsity)
            for ablation in (UNMODIFIED, *self.study.ablations):
                if not ABLATIONS[ablation].inverts:
                    key = self._train(mask, state, weights, ablation)
                    self._trial("magnitude", ablation, benchmark, "end", sparsity, key)

    def _mask_within(self, survivors: str | None, state: str, sparsity: float) -> str:
        """The largest magnitudes of a state among the survivors of an earlier mask."""
        if survivors is None:
            return self._mask(_MAGNITUDE, state, sparsity, invert=False)
        fields = {
            "state": state,
            "within": survivors,
            **self._scoring(_MAGNITUDE),
            "sparsity": sparsity,
        }
        return self._add("mask", fields, {"state": state, "within": survivors}, cost=1)

    def _mask(self, method: MethodSpec, state: str, sparsity: float, *, invert: bool) -> str:
        rounds, scoring = method.entry_rounds, self._scoring(method)
        fields = {
            "state": state,
            **scoring,
            "rounds": rounds,
            "quotas": method.quotas,
            "sparsity": sparsity,
            "invert": invert,
        }
        cost = self._scoring_cost(method)
        if rounds > 1:
            return self._add("mask", fields, {"state": state}, cost=rounds * cost)
        scores = self._add("score", {"state": state, **scoring}, {"state": state}, cost=cost)
        return self._add("mask", fields, {"scores": scores}, cost=1)

    def _scoring(self, method: MethodSpec) -> dict[str, Any]:
        scoring: dict[str, Any] = {"method": self._named(method.name, METHODS), "options": dict(method.options)}
        # What is as ever is not named, so that keys do not move.
        if method.needs_data:
            scoring["options"] = {"examples_per_class": self.study.examples_per_class} | scoring["options"]
            if self.study.scoring_batch != SCORING_BATCH:
                scoring["scoring_batch"] = self.study.scoring_batch
            if loss := self.recipe.get("loss"):
                scoring["loss"] = loss
        dtype = self.study.score_dtype or ("float64" if method.entry_rounds > 1 else None)
        if dtype and not method.own_precision:
            scoring["score_dtype"] = dtype
        return scoring

    def _scoring_cost(self, method: MethodSpec) -> float:
        if not method.needs_data:
            return 1.0
        # A gradient, and for GraSP a second one: about three passes over the examples.
        classes = self.study.data.classes if self.study.data.task == "classification" else 1
        return 3 * math.ceil(self.study.examples_per_class * classes / self.recipe["batch_size"])

    def _train(self, mask: str | None, state: str, weights: str, ablation: str, *, keeps_state: bool = False) -> str:
        if mask is None and weights == self.dense[0]:
            return self.dense[self.total_steps]
        inputs = {} if mask is None else {"mask": mask}
        entry = ABLATIONS[ablation]
        if not entry.redraws:
            inputs["weights"] = weights
            fields = {"weights": weights}
        elif REDRAWS[entry.redraws].depends:
            inputs["state"] = weights
            fields = {"weights": entry.redraws, "of": weights} | self._drawn_by()
        else:
            # The fresh weights depend on the seed alone. The state is read to certify that they differ from it.
            inputs["state"] = state
            fields = {"weights": entry.redraws} | self._drawn_by()
        fields |= {"recipe": self.recipe, "mask": mask, "shuffle": entry.shuffles}
        begins = self._begins(weights)
        if begins:
            fields["begins"] = begins
        fields |= self.metric
        return self._add("train", fields, inputs, steps=self.total_steps - begins, keeps_state=keeps_state)

    def _begins(self, weights: str) -> int:
        """At which step of the schedule a subnetwork's training begins, given the state that its weights are from."""
        if self.study.retrain == "whole":
            return 0
        step = next((step for step, key in self.dense.items() if key == weights), self.total_steps)
        # What is pruned after training has nothing left of its schedule, and begins it anew.
        return step % self.total_steps

    def _drawn_by(self) -> dict[str, str]:
        """A user's own network is built again; until version 0.2 its modules' `reset_parameters` was guessed at."""
        return {} if "name" in self.network else {"drawn_by": "build"}

    def _trial(self, method: str, ablation: str, benchmark: str, at: str, sparsity: float, key: str) -> None:
        self.trials.append(
            Trial(
                study=self.study.name,
                network=short_name(self.study.network),
                dataset=short_dataset(self.study.dataset),
                method=method,
                ablation=ablation,
                benchmark=benchmark,
                prune_at=at,
                sparsity=sparsity,
                replicate=self.replicate,
                job_key=key,
            )
        )

    def _notes(self) -> tuple[str, ...]:
        study = self.study
        recipe = study.full_recipe
        notes = list(recipe.notes(study.base_recipe))
        notes += [words] if (words := overlap_words(study.data.overlap, study.data.test_examples)) else []
        if recipe.ema and (span := 1 / (1 - recipe.ema)) > self.total_steps:
            notes.append(f"ema = {recipe.ema:g} averages over some {span:,.0f} steps, of {self.total_steps:,} in all")
        if study.score_at or study.weights_at:
            scored, weights = (at or "the step of pruning" for at in (study.score_at, study.weights_at))
            notes.append(
                f"methods take masks from {scored} and weights from {weights}; results name the later as prune_at"
            )
        if study.retrain == "rest":
            notes.append("subnetworks train what is left of the schedule; those pruned after training train all of it")
        if study.ablations and any(method.name == "random" for method in study.methods):
            notes.append("random gets no ablations: shuffled, reinitialised or inverted it is still random")
        inverts = any(ABLATIONS[name].inverts for name in study.ablations)
        if inverts and any(parse_benchmark(text)[0].iterative for text in study.benchmarks):
            notes.append("iterative magnitude pruning is not inverted: each round would train an inverted network")
        if study.ablations and 0 in study.sparsities:
            notes.append("nothing is pruned at sparsity 0, so there are no ablations there")
        notes += dict.fromkeys(OwnCode.find(name, study.depends_on).coverage() for name in study.own_code)
        notes += dict.fromkeys(
            f"{name} is of the package {package}; a change of it is noticed and its jobs run again, a change of other "
            "packages that it uses is not"
            for name, package in study.packages
        )
        if study.sizes[-1] < 3:
            notes.append("fewer than 3 replicates: there will be accuracies but no verdicts")
        return tuple(notes)


def _benchmarks(texts: Iterable[str]) -> str:
    """Their names, each once, with the steps that it rewinds to: "imp, lottery-rewinding (0ep, 2ep)"."""
    steps: dict[str, list[str]] = {}
    for text in texts:
        name, _, step = text.partition(":")
        steps.setdefault(name, []).extend([step] if step else [])
    return ", ".join(f"{name} ({', '.join(named)})" if named else name for name, named in steps.items())
