"""Writes the tables of docs/performance.md from what is kept of its measurements.

  python tools/performance_report.py

In the page, a table stands between two lines, and all else is written by hand:

    <!-- table: steps.json -->
    <!-- end of table -->

The file is one that `benchmark_steps.py` or `benchmark_sampling.py` wrote into --measurements. Says
which files the page does not show.
"""

import json
import re
from pathlib import Path

from absl import app, flags

_PAGE = flags.DEFINE_string("page", "docs/performance.md", "Page whose tables are written.")
_MEASUREMENTS = flags.DEFINE_string("measurements", "docs/performance", "Their JSON files.")
_TABLE = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)

# Heading, key in the file, format; columns that no row of a file has are left out.
_STEP_COLUMNS = (
    ("ms a step", "milliseconds", ",.0f"),
    ("fastest turn", "fastest_turn", ",.0f"),
    ("times faster", "times_faster", ".2f"),
    ("GMAC an image", "gmac_per_image", ".3g"),
    ("its convolutions alone, ms", "convolutions_alone", ",.0f"),
    ("share of peak", "share_of_peak", ".0%"),
    ("seconds to trace", "seconds_to_trace", ".1f"),
    ("seconds to the first step", "seconds_to_first_step", ".1f"),
    ("peak memory, GB", "peak_gb", ".2f"),
)
_FORMS = {
    "network": "network",
    "before": "folded, before",
    "folded": "folded",
    "saved_model": "SavedModel",
}


def markdown(rows: list[list[str]]) -> str:
    rows = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def with_ratios(rows: dict[str, dict]) -> dict[str, dict]:
    """Rows with how many times faster each is than the first of its case, `<case>, <what>`."""
    first: dict[str, float] = {}
    for name, row in rows.items():
        first.setdefault(name.split(",")[0], row["milliseconds"])
    return {
        name: {**row, "times_faster": first[name.split(",")[0]] / row["milliseconds"]}
        for name, row in rows.items()
    }


def steps_table(record: dict) -> str:
    """A line a contestant, and what the machine's peak was where it was measured."""
    rows = with_ratios(record["rows"])
    columns = [c for c in _STEP_COLUMNS if any(c[1] in row for row in rows.values())]
    lines = [["contestant", *(heading for heading, _, _ in columns)]]
    for name, row in rows.items():
        cells = [format(row[key], style) if key in row else "" for _, key, style in columns]
        lines.append([name, *cells])
    peaks = record.get("peak_gmac_per_second", {})
    texts = ", ".join(f"{value:,.0f} in {name}" for name, value in peaks.items())
    return markdown(lines) + (f"\nPeak, in GMAC a second: {texts}.\n" if texts else "")


def sampling_table(record: dict) -> str:
    """Milliseconds of a call, a line for each network and batch, a column for each form."""
    found: dict[tuple, dict[str, float]] = {}
    for row in record["rows"]:
        found.setdefault((row["case"], row["batch"]), {})[row["form"]] = row["milliseconds"]
    forms = [form for form in _FORMS if any(form in times for times in found.values())]
    lines = [["network", "images", *(_FORMS[form] for form in forms)]]
    for (case, batch), times in found.items():
        resolution, channels = case.split("x")
        cells = [f"{times[form]:,.0f}" if form in times else "" for form in forms]
        lines.append([f"{resolution}x{resolution}, ch {channels}", str(batch), *cells])
    return markdown(lines)


def filled(page: str, directory: Path) -> tuple[str, set[str]]:
    """A page with its tables written anew, and the files that they are of."""
    shown = set()

    def table(match: re.Match) -> str:
        record = json.loads((directory / match[2]).read_text(encoding="utf-8"))
        shown.add(match[2])
        # Steps have their rows by name.
        made = steps_table(record) if isinstance(record["rows"], dict) else sampling_table(record)
        return f"{match[1]}\n{made}\n{match[3]}"

    return _TABLE.sub(table, page), shown


def main(argv):
    del argv
    page, directory = Path(_PAGE.value), Path(_MEASUREMENTS.value)
    text, shown = filled(page.read_text(encoding="utf-8"), directory)
    page.write_text(text, encoding="utf-8")
    for name in sorted({path.name for path in directory.glob("*.json")} - shown):
        print(f"not shown: {name}")


if __name__ == "__main__":
    app.run(main)
