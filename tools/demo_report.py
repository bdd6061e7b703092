"""Says where a run's pictures, scores and SavedModel are: python tools/demo_report.py <workdir>."""

import json
import sys
from pathlib import Path

from cgt_tf.cli import quiet

quiet.before_tensorflow()
from cgt_tf.runs.run_dir import RunDir  # noqa: E402 (imports TensorFlow)


def main(workdir: str) -> None:
    run = RunDir(workdir)
    first = next(record for record in run.read_stats() if "fid" in record)
    result = json.loads((run.path / "eval.json").read_text(encoding="utf-8"))
    after = result["metrics"]["fid"]
    versions = sorted((run.path / "served").glob("[0-9]*"), key=lambda path: int(path.name))
    for label, value in (
        ("pictures", run.path / "grid.png"),
        ("progress", run.samples),
        ("report", run.path / "report.html"),
        ("FID before", f"{first['fid']:.2f} at step {first['step']}"),
        ("FID after", f"{after:.2f} at step {result['checkpoint_step']}"),
        ("ratio", f"{after / first['fid']:.2f}"),
        ("SavedModel", versions[-1]),
    ):
        print(f"{label:<11} {value}")


if __name__ == "__main__":
    main(*[Path(argument) for argument in sys.argv[1:2]])
