"""Kept runs of a comparison as curves: scores, when a level is reached, and how long that took."""

import dataclasses
import json
from pathlib import Path

import numpy as np
from comparison_plan import DIVERGED, STATS

SCORES = ("fid", "accuracy", "kid", "recall", "diversity", "diversity_of_real")


@dataclasses.dataclass(frozen=True, eq=False)
class Curves:
    """A run's evaluations.

    Attributes:
        step: of each evaluation, ascending.
        scores: {name: values at these steps}, not a number where there is none.
        minutes: of training alone at these steps, by the run's own images per second.
        facts: its config.json.
        diverged: whether it ended early, with a loss or weight that was not finite.
    """

    step: np.ndarray
    scores: dict[str, np.ndarray]
    minutes: np.ndarray
    facts: dict
    diverged: bool = False

    @property
    def method(self) -> str:
        return self.facts["config"]["method"]["name"]

    def at(self, name: str, step: int) -> float:
        """A score at a step; not a number where there is none."""
        found = self.scores[name][self.step == step]
        return float(found[0]) if len(found) else np.nan

    def reached(self, name: str, level: float) -> float:
        """Step at which a score first comes to a level, interpolated; infinite: it never does.

        FID falls to it, linearly in its logarithm between two evaluations; others rise, linearly.
        """
        values = self.scores[name]
        falls = name == "fid"
        there = np.flatnonzero(values <= level if falls else values >= level)
        if not len(there):
            return np.inf
        last = there[0]
        if not last or np.isnan(values[last - 1]):
            return float(self.step[last])
        before, after, wanted = values[last - 1], values[last], level
        if falls:
            before, after, wanted = np.log([before, after, wanted])
        share = (wanted - before) / (after - before)
        return float(self.step[last - 1] + share * (self.step[last] - self.step[last - 1]))

    def minutes_at(self, step: float, milliseconds: float | None = None) -> float:
        """Of training up to a step: the run's own, or at so many milliseconds a step."""
        if not np.isfinite(step):
            return np.inf
        if milliseconds is not None:
            return step * milliseconds / 6e4
        return float(np.interp(step, self.step, self.minutes))


def read_run(directory: Path) -> Curves:
    """The curves of a kept run."""
    lines = (directory / STATS).read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    facts = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    scored = [record for record in records if "fid" in record]
    steps = np.array([record["step"] for record in scored], float)
    scores = {name: np.array([r.get(name, np.nan) for r in scored], float) for name in SCORES}
    seconds = _seconds(records, facts["config"]["training"], steps)
    return Curves(steps, scores, seconds / 60, facts, (directory / DIVERGED).exists())


def read_table(directory: Path) -> dict[str, dict[str, Curves]]:
    """Runs by name and seed."""
    names: dict[str, dict[str, Curves]] = {}
    for path in sorted(directory.glob(f"*/seed_*/{STATS}")):
        run = path.parent
        names.setdefault(run.parent.name, {})[run.name.removeprefix("seed_")] = read_run(run)
    return names


def _seconds(records: list[dict], training: dict, steps: np.ndarray) -> np.ndarray:
    """Of training up to these steps, each step at the median of its stage.

    The median leaves out the compilation at a stage's start and what else the machine did.
    """
    images = training["batch_size"] * training.get("accumulation", 1) * training.get("d_steps", 1)
    timed = [record for record in records if "images_per_second" in record]
    stages: dict[str, list[float]] = {}
    for record in timed:
        stages.setdefault(record.get("stage", ""), []).append(images / record["images_per_second"])
    ends, seconds = [0.0], [0.0]
    for record in timed:
        if record["step"] > ends[-1]:
            taken = float(np.median(stages[record.get("stage", "")]))
            seconds.append(seconds[-1] + taken * (record["step"] - ends[-1]))
            ends.append(record["step"])
    return np.interp(steps, ends, seconds)
