"""A plan of runs that are compared: which there are, in which order, and with which flags.

A plan is a JSON file; all but `methods` and `tables` may be left out:

    {"about": "one line for people",
     "like": "<plan beside this one>",    whose values are taken for all that is left out
     "arguments": [flags of every run],
     "draws": {"<n>": [names of classes]},
     "search": {"table": "<folder>", "draw": "<n>", "arguments": [flags]},
     "methods": {"<name>": {"flagfile": "<path>",
                            "scaled": [knobs that the search scales; [] for no search],
                            "search_arguments": [flags in the search, after its own]}},
     "tables": [{"table": "<folder>", "draws": ["<n>", ...] or "seeds": ["<n>", ...],
                 "arguments": [flags],
                 "runs": ["<method>", {"name": "<folder>", "method": "<method>",
                                       "arguments": [flags]}]}]}

A run of a draw has the draw's classes and its number as its seed, so that folders of draws and of
seeds look alike. Flags: flagfile, the plan's, the table's, the run's, seed and classes, learning
rates; the last one counts.

The search comes first: every method of the tables at its own learning rates times 10^(-1/2), 1 and
10^(1/2), and, where the best of these lies at an end, at one further half decade beyond it. The
best has the lowest last FID; a run that diverged has none. The tables then take each method at its
best. What
the search found is read from its kept statistics, so a plan gives the same runs wherever these are.
"""

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path

from cgt_tf.errors import InputError
from cgt_tf.flagfiles import expand
from cgt_tf.methods import registry

DIVERGED = "diverged.txt"  # Beside the statistics of a run that did; holds its last words.
STATS = "stats.jsonl"
_RATES = ("generator.learning_rate", "discriminator.learning_rate")
_STEPS = (-1, 0, 1)  # Half decades.
_KEYS = {
    "a plan": {"about", "like", "arguments", "draws", "search", "methods", "tables"},
    "search": {"table", "draw", "arguments"},
    "a method": {"flagfile", "scaled", "search_arguments"},
    "a table": {"table", "draws", "seeds", "arguments", "runs"},
    "a run": {"name", "method", "arguments"},
}


@dataclasses.dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        table, name, seed: where its statistics go, `<table>/<name>/seed_<seed>`.
        arguments: of cgt-train, but --workdir.
    """

    table: str
    name: str
    seed: str
    arguments: tuple[str, ...]

    @property
    def path(self) -> Path:
        return Path(self.table) / self.name / f"seed_{self.seed}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """See the head of this file; the values are those of the JSON file."""

    methods: dict[str, dict]
    tables: list[dict]
    arguments: list[str] = dataclasses.field(default_factory=list)
    draws: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    search: dict | None = None
    about: str = ""

    def __post_init__(self) -> None:
        for method in self.methods.values():
            _check_keys(method, "a method", "flagfile")
        if self.search is not None:
            _check_keys(self.search, "search", "table", "draw")
            self._check(self.search["draw"], self.draws, "a draw of the plan")
        for table in self.tables:
            _check_keys(table, "a table", "table", "runs")
            if ("draws" in table) == ("seeds" in table):
                raise InputError(f"expected draws or seeds of the table {table['table']!r}")
            for draw in table.get("draws", ()):
                self._check(draw, self.draws, "a draw of the plan")
            for entry in table["runs"]:
                if isinstance(entry, dict):
                    _check_keys(entry, "a run", "name", "method")
                method = entry["method"] if isinstance(entry, dict) else entry
                self._check(method, self.methods, "a method of the plan")

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """Raises an InputError for a file that is no plan."""
        values = _read(path)
        if "like" in values:
            values = {**_read(path.parent / values.pop("like")), **values}
        _check_keys(values, "a plan", "methods", "tables")
        return cls(**values)

    def runs(self, kept: Path) -> Iterator[Run]:
        """All runs, each of which must be kept in `kept` before the next one is asked for.

        Otherwise it ends where the next run depends on one that is not there.
        """
        entries = [entry for table in self.tables for entry in table["runs"]]
        used = {entry if isinstance(entry, str) else entry["method"] for entry in entries}
        for name in self.methods if self.search else ():
            yield from self._searched(name, kept) if name in used else ()
        for table in self.tables:
            # Seed by seed, so that a comparison that is stopped early is still one of all methods.
            for seed in table.get("draws") or table["seeds"]:
                for entry in table["runs"]:
                    entry = {"name": entry, "method": entry} if isinstance(entry, str) else entry
                    step = self.best_step(entry["method"], kept)
                    if step is None:
                        return
                    more = [*table.get("arguments", ()), *entry.get("arguments", ())]
                    classes = self.draws[seed] if "draws" in table else ()
                    names = (table["table"], entry["name"], seed)
                    yield self._run(names, entry["method"], more, classes, step)

    def best_step(self, method: str, kept: Path) -> int | None:
        """Half decades from a method's own learning rates to its best; None: not known yet."""
        if not self._scaled(method):
            return 0
        fids = self._found(method, kept)
        complete = {*_STEPS, *self._widened(fids)} <= set(fids)
        return _best(fids) if complete else None

    def _searched(self, method: str, kept: Path) -> Iterator[Run]:
        if not self._scaled(method):
            return
        for step in _STEPS:
            yield self._search_run(method, step)
        for step in self._widened(self._found(method, kept)):
            yield self._search_run(method, step)

    def _widened(self, fids: dict[int, float]) -> list[int]:
        """What is tried besides: one more where the best of the first three is at an end."""
        first = {step: fids[step] for step in _STEPS if step in fids}
        if len(first) < len(_STEPS):
            return []
        best = _best(first)
        return [2 * best] if best else []

    def _found(self, method: str, kept: Path) -> dict[int, float]:
        """The last FID of what is kept of a method's search, by half decades."""
        steps = range(_STEPS[0] - 1, _STEPS[-1] + 2)
        places = {step: kept / self._search_run(method, step).path for step in steps}
        return {step: last_fid(place) for step, place in places.items() if place.exists()}

    def _search_run(self, method: str, step: int) -> Run:
        names = (self.search["table"], f"{method}_x{10 ** (step / 2):.3g}", self.search["draw"])
        more = [*self.search.get("arguments", ())]
        more += self.methods[method].get("search_arguments", ())
        return self._run(names, method, more, self.draws[self.search["draw"]], step)

    def _run(
        self, names: tuple[str, str, str], method: str, more: list[str], classes, step: int
    ) -> Run:
        flagfile = self.methods[method]["flagfile"]
        arguments = [f"--flagfile={flagfile}", *self.arguments, *more, f"--config.seed={names[2]}"]
        if classes:
            arguments.append(f"--config.data.classes={','.join(classes)}")
        if step:
            for knob in self._scaled(method):
                rate = own_value(flagfile, knob) * 10 ** (step / 2)
                arguments.append(f"--config.{knob}={rate:.4g}")
        return Run(*names, tuple(arguments))

    def _scaled(self, method: str) -> list[str]:
        return self.methods[method].get("scaled", list(_RATES)) if self.search else []

    def _check(self, name: str, known: dict, what: str) -> None:
        if name not in known:
            raise InputError(f"expected {what}, one of {', '.join(known)}, got {name!r}")


def last_fid(run: Path) -> float:
    """Of a kept run; infinite where it diverged."""
    if (run / DIVERGED).exists():
        return math.inf
    lines = (run / STATS).read_text(encoding="utf-8").splitlines()
    fids = [record["fid"] for record in map(json.loads, lines) if "fid" in record]
    if not fids:
        raise InputError(f"expected scores of a searched run, got none in {run / STATS}")
    return fids[-1]


def own_value(flagfile: str, knob: str) -> float:
    """A knob's value as a flagfile and those that it includes set it, else its default."""
    arguments = expand([f"--flagfile={flagfile}"])
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if f"--config.{knob}" in given:
        return float(given[f"--config.{knob}"])
    value = registry.config_type(given.get("--config.method.name", registry.DEFAULT))()
    for part in knob.split("."):
        value = getattr(value, part)
    return value


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"expected a plan in JSON, got {path}: {error}") from None


def _best(fids: dict[int, float]) -> int:
    """The lowest; of equal ones the nearest to the method's own."""
    return min(fids, key=lambda step: (fids[step], abs(step), step))


def _check_keys(values: dict, what: str, *needed: str) -> None:
    unknown, lacking = set(values) - _KEYS[what], set(needed) - set(values)
    if unknown or lacking:
        raise InputError(
            f"expected the keys {', '.join(sorted(_KEYS[what]))} of {what}, {', '.join(needed)} "
            f"among them, got {', '.join(sorted(values))}"
        )
