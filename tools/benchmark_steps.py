"""Times training steps against each other: methods, published networks, precisions, calls, code.

  python tools/benchmark_steps.py --output=docs/comparison/step_times.json \
    --flagfiles=configs/methods/cgan_transfer.flags,configs/methods/bsa_adv.flags
  python tools/benchmark_steps.py --output=docs/performance/steps.json \
    --cases=32x16x1,32x64x1 --precisions=float32,bfloat16 --before=<an older checkout>

A flagfile is a training as `cgt-train` would start it. A case, <resolution>x<channels>x<D steps>,
is a transfer by --method from a random source of the published network. Each contestant is a
process of its own, all are alive at the same time and take turns, so that other load on the machine
meets all of them; the median turn counts. Ratios are to the first contestant, turn by turn.

Beside them runs one large convolution a precision: the multiply-adds that it makes in a second, in
its best turn, are the machine's peak, which the steps' own are a share of. After its steps each
contestant runs their convolutions alone, one after the other, which says what is left around them.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from absl import app, flags

from cgt_tf.api import make_config
from cgt_tf.config import to_dict

_FLAGFILES = flags.DEFINE_list("flagfiles", [], "One a method.")
_CASES = flags.DEFINE_list("cases", [], "Networks and D steps.")
_PRECISIONS = flags.DEFINE_list("precisions", ["float32"], "Of each case.")
_CALLS = flags.DEFINE_list("steps_per_call", ["10"], "Steps of a call; of each contestant.")
_BEFORE = flags.DEFINE_string("before", "", "Older checkout; cases are timed in float32 there too.")
_METHOD = flags.DEFINE_string("method", "cgan_transfer", "Of the cases.")
_BATCH = flags.DEFINE_integer("batch_size", 50, "Images of a case's step.", lower_bound=1)
_OLD = flags.DEFINE_integer("old_classes", 80, "Of a case's source.", lower_bound=2)
_NEW = flags.DEFINE_integer("new_classes", 20, "Of a case's transfer.", lower_bound=1)
_TURNS = flags.DEFINE_integer("turns", 7, "Turns of each.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 30, "Steps of a turn.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
_TOOLS = Path(__file__).absolute().parent


def read_config(flagfile: str) -> dict:
    """The config that cgt-train makes of a flagfile."""
    return to_dict(make_config(flagfile, {}))


class Contestant:
    """A worker process; its first steps are made when it is started."""

    def __init__(self, name: str, case: dict, code: Path = _TOOLS.parent):
        self.name = name
        self.answers: list[dict] = []
        path = os.pathsep.join((str(code), str(code / "tools")))
        environment = {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = subprocess.Popen(
            [sys.executable, str(code / "tools" / "step_worker.py"), json.dumps(case)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.facts = self._answer()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: the worker ended, see its messages above")
        return json.loads(line)

    def turn(self, steps: int) -> None:
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        self.answers.append(self._answer())

    def figures(self, key: str) -> list[float]:
        """One of each turn."""
        return [answer[key] for answer in self.answers]

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def contestants() -> list[Contestant]:
    """All that the flags name, started one after the other."""
    calls = [int(text) for text in _CALLS.value]
    found = []
    for flagfile in _FLAGFILES.value:
        case = {"config": read_config(flagfile)}
        found += [Contestant(Path(flagfile).stem + k, {**case, **c}) for k, c in _each(calls)]
    for text in _CASES.value:
        resolution, channels, d_steps = map(int, text.split("x"))
        case = {
            "method": _METHOD.value,
            "resolution": resolution,
            "channels": channels,
            "d_steps": d_steps,
            "batch_size": _BATCH.value,
            "old_classes": _OLD.value,
            "new_classes": _NEW.value,
        }
        if _BEFORE.value:
            code = Path(_BEFORE.value).absolute()
            older = {**case, "precision": "float32", "steps_per_call": calls[0]}
            found.append(Contestant(f"{text}, before", older, code))
        for precision in _PRECISIONS.value:
            named = {**case, "precision": precision}
            found += [
                Contestant(f"{text}, {precision}{k}", {**named, **c}) for k, c in _each(calls)
            ]
    return found


def _each(calls: list[int]) -> list[tuple[str, dict]]:
    """What is added to a contestant's name, and to its case."""
    return [
        (f", calls of {count}" if len(calls) > 1 else "", {"steps_per_call": count})
        for count in calls
    ]


def row(contestant: Contestant, first: Contestant, peaks: dict[str, float]) -> dict:
    """Figures of a contestant, compared with the first and with the machine's peak."""
    times = contestant.figures("milliseconds")
    ratios = [a / b for a, b in zip(first.figures("milliseconds"), times, strict=True)]
    found = {
        "milliseconds": round(statistics.median(times), 2),
        "fastest_turn": round(min(times), 2),
        "times_faster": round(statistics.median(ratios), 3),
        "peak_gb": round(max(contestant.figures("peak_gb")), 2),
        **contestant.facts,
    }
    if "convolutions_alone" in contestant.answers[0]:  # Older code has not.
        alone = statistics.median(contestant.figures("convolutions_alone"))
        found["convolutions_alone"] = round(alone, 2)
    if "gmac_per_step" in found:
        rate = found["gmac_per_step"] / (found["milliseconds"] / 1e3)
        found["share_of_peak"] = round(rate / peaks[found["precision"]], 3)
    return found


def main(argv):
    del argv
    found = contestants()
    if not found:
        raise app.UsageError("expected --flagfiles or --cases, got neither")
    precisions = sorted({c.facts["precision"] for c in found if "precision" in c.facts})
    convolutions = [Contestant(f"peak, {p}", {"peak": p}) for p in precisions]
    for _ in range(_TURNS.value):
        for contestant in found:
            contestant.turn(_STEPS.value)
        for convolution in convolutions:
            convolution.turn(3)
    for contestant in (*found, *convolutions):
        contestant.close()
    peaks = {
        precision: round(max(convolution.figures("gmac_per_second")), 1)
        for precision, convolution in zip(precisions, convolutions, strict=True)
    }
    rows = {contestant.name: row(contestant, found[0], peaks) for contestant in found}
    for name, figures in rows.items():
        print(f"{name}: {json.dumps(figures)}")
    if _OUTPUT.value:
        record = {
            "milliseconds": {name: figures["milliseconds"] for name, figures in rows.items()},
            "machine": (
                f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
            ),
            "turns": _TURNS.value,
            "steps": _STEPS.value,
            "batch_size": _BATCH.value,
            "old_classes": _OLD.value,
            "new_classes": _NEW.value,
            "peak_gmac_per_second": peaks,
            "rows": rows,
        }
        Path(_OUTPUT.value).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app.run(main)
