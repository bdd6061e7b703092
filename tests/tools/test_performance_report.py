"""The page of performance is what its measurements say, around what is written by hand."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import performance_report  # noqa: E402

STEPS = {
    "peak_gmac_per_second": {"float32": 1234.5},
    "rows": {
        "32x4x1, before": {"milliseconds": 1200.4, "times_faster": 1, "peak_gb": 1.0},
        "32x4x1, float32": {
            "milliseconds": 600.2,
            "times_faster": 2.0,
            "peak_gb": 0.5,
            "share_of_peak": 0.3,
        },
        # Of another case, whose first it is.
        "32x4x4, before": {"milliseconds": 2400.8, "times_faster": 0.5, "peak_gb": 1.0},
    },
}
SAMPLING = {
    "rows": [
        {"case": "32x64", "batch": 1, "form": "network", "milliseconds": 72},
        {"case": "32x64", "batch": 1, "form": "folded", "milliseconds": 44},
        {"case": "32x64", "batch": 8, "form": "folded", "milliseconds": 195},
    ]
}
PAGE = """By hand.
<!-- table: steps.json -->
old
<!-- end of table -->
More.
<!-- table: sampling.json -->
<!-- end of table -->
"""


@pytest.fixture
def measurements(tmp_path):
    for name, record in {"steps": STEPS, "sampling": SAMPLING, "other": STEPS}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")
    return tmp_path


def test_tables_are_written_and_prose_stays(measurements):
    text, shown = performance_report.filled(PAGE, measurements)
    assert shown == {"steps.json", "sampling.json"}
    assert text.splitlines() == [
        "By hand.",
        "<!-- table: steps.json -->",
        "",
        "| contestant | ms a step | times faster | share of peak | peak memory, GB |",
        "| --- | --- | --- | --- | --- |",
        "| 32x4x1, before | 1,200 | 1.00 |  | 1.00 |",
        "| 32x4x1, float32 | 600 | 2.00 | 30% | 0.50 |",
        "| 32x4x4, before | 2,401 | 1.00 |  | 1.00 |",
        "",
        "Peak, in GMAC a second: 1,234 in float32.",
        "",
        "<!-- end of table -->",
        "More.",
        "<!-- table: sampling.json -->",
        "",
        "| network | images | network | folded |",
        "| --- | --- | --- | --- |",
        "| 32x32, ch 64 | 1 | 72 | 44 |",
        "| 32x32, ch 64 | 8 |  | 195 |",
        "",
        "<!-- end of table -->",
    ]
    assert performance_report.filled(text, measurements)[0] == text


def test_the_page_is_up_to_date():
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    text, shown = performance_report.filled(page, ROOT / "docs/performance")
    assert text == page
    assert shown == {path.name for path in (ROOT / "docs/performance").glob("*.json")}
