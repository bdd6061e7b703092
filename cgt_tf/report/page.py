"""The page of a report: HTML with all pictures, data and scripts in it."""

import html
import json
from collections.abc import Sequence
from pathlib import Path

from cgt_tf.report import charts
from cgt_tf.report.collect import RunReport

_ASSETS = Path(__file__).parents[1] / "assets" / "report"
_SCRIPTS = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js", "page.js")
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style></head>
<body><h1>{title}</h1>
{body}
{scripts}
</body></html>
"""


def render(runs: Sequence[RunReport]) -> str:
    """The whole page.

    Args:
        runs: The first is shown in full, with a section of its own each of the others too; curves
            are laid over each other.
    """
    title = f"cgt_tf: {', '.join(run.name for run in runs)}"
    parts = [_facts(runs), _curves(runs)]
    for number, run in enumerate(runs):
        parts.append(_run(run, number, len(runs) > 1))
    return _PAGE.format(
        title=html.escape(title),
        style=(_ASSETS / "page.css").read_text(encoding="utf-8"),
        body="\n".join(parts),
        scripts="\n".join(f"<script>{_script(name)}</script>" for name in _SCRIPTS),
    )


def _script(name: str) -> str:
    # Nothing in a script may look like its end.
    return (_ASSETS / name).read_text(encoding="utf-8").replace("</script", "<\\/script")


def _data(identifier: str, value: object) -> str:
    text = json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{identifier}">{text}</script>'


def _facts(runs: Sequence[RunReport]) -> str:
    names = list(dict.fromkeys(name for run in runs for name in run.facts))
    head = "".join(f"<th>{html.escape(run.name)}</th>" for run in runs)
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th>"
        + "".join(f"<td>{html.escape(run.facts.get(name, ''))}</td>" for run in runs)
        + "</tr>"
        for name in names
    )
    warned = "".join(
        f'<p class="warning">{html.escape(f"{run.name}: {text}")}</p>'
        for run in runs
        for text in run.warnings
    )
    table = f'<div class="wide"><table><tr><th></th>{head}</tr>{rows}</table></div>'
    return f"<h2>What was done</h2>{table}{warned}"


def _curves(runs: Sequence[RunReport]) -> str:
    parts = []
    for i, chart in enumerate(charts.curves(runs)):
        place = f'<div class="chart" data-chart="curve_{i}"></div>'
        parts.append(_data(f"curve_{i}", chart) + place)
    if not parts:
        return ""
    return f'<h2>Curves</h2><div class="charts">{"".join(parts)}</div>'


def _run(run: RunReport, number: int, several: bool) -> str:
    of = f" of {html.escape(run.name)}" if several else ""
    parts = [_grids(run, number, of), _scores(run, of)]
    if run.similarity:
        parts.append(
            f"<h2>Which old classes the new ones take from{of}</h2>"
            '<p class="note">Shares of the learnt scores; of all layers, or of the one chosen '
            "below.</p>"
            + _data(f"heat_{number}", charts.heat_map(run.similarity))
            + f'<div class="chart" data-chart="heat_{number}"></div>'
        )
    if run.pictures:
        figures = "".join(
            f"<div><h3>{html.escape(title)}</h3>{_image(picture, title)}</div>"
            for title, picture in run.pictures.items()
        )
        parts.append(f'<h2>Pictures{of}</h2><div class="pair">{figures}</div>')
    return "\n".join(part for part in parts if part)


def _grids(run: RunReport, number: int, of: str) -> str:
    if not run.steps:
        return ""
    ids = [f"{name}_{number}" for name in ("steps", "grid", "step")]
    last = len(run.steps) - 1
    slider = (
        f'<input type="range" min="0" max="{last}" value="{last}" aria-label="step" '
        f'data-steps="{ids[0]}" data-image="{ids[1]}" data-label="{ids[2]}">'
        f'<output id="{ids[2]}"></output>'
    )
    samples = f'<div><h3>samples</h3>{slider}<div><img id="{ids[1]}" alt="samples"></div></div>'
    reals = f"<div><h3>training images</h3>{_image(run.reals, 'reals')}</div>" if run.reals else ""
    data = _data(ids[0], [[step, picture] for step, picture in run.steps.items()])
    return f'<h2>Samples{of}</h2>{data}<div class="pair">{samples}{reals}</div>'


def _scores(run: RunReport, of: str) -> str:
    scores = run.scores
    if not scores:
        return ""
    about = f"protocol {scores['protocol']}, {scores['num_fake']} samples against "
    about += f"{scores['num_real']} images of {scores['reference']['name']}"
    overall = "".join(
        f'<tr><th>{html.escape(name)}</th><td class="number">{value:.4g}</td></tr>'
        for name, value in scores["metrics"].items()
    )
    parts = [f'<p class="note">{html.escape(about)}</p>', f"<table>{overall}</table>"]
    per_class = scores.get("per_class") or {}
    if per_class:
        names = list(next(iter(per_class.values())))
        head = "".join(
            f"<th><button>{html.escape(name)}</button></th>" for name in ("class", *per_class)
        )
        rows = "".join(_row(name, per_class) for name in names)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        parts.append("<h3>by class; a click on a heading sorts</h3>")
        parts.append(f'<div class="wide">{table}</div>')
    return f"<h2>Scores{of}</h2>{''.join(parts)}"


def _row(name: str, per_class: dict[str, dict[str, float]]) -> str:
    cells = "".join(
        f'<td class="number" data-value="{values[name]!r}">{values[name]:.4g}</td>'
        for values in per_class.values()
    )
    return f"<tr><td>{html.escape(name)}</td>{cells}</tr>"


def _image(picture: str, title: str) -> str:
    return f'<img src="{picture}" alt="{html.escape(title)}" loading="lazy">'
