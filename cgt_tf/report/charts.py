"""Charts of a report, as Vega-Lite specifications."""

from collections.abc import Sequence

from cgt_tf.report.collect import RunReport

_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
_LOSSES = ("discriminator_loss", "generator_loss", "loss")
# Scores in the order that they are shown in; only FID has a logarithmic axis.
_SCORES = ("fid", "accuracy", "kid", "kmmd", "recall", "variance_ratio", "mind", "fld")


def curves(runs: Sequence[RunReport]) -> list[dict]:
    """A chart for each score that the runs have, and one of the losses."""
    charts = []
    for name in _SCORES:
        values = _series(runs, (name,))
        if values:
            charts.append(_line(name, values, "run", log=name == "fid"))
    losses = _series(runs, _LOSSES)
    if losses:
        charts.append(_line("losses", losses, "score"))
    return charts


def _series(runs: Sequence[RunReport], names: Sequence[str]) -> list[dict]:
    return [
        {"run": run.name, "step": record["step"], "score": name, "value": record[name]}
        for run in runs
        for record in run.records
        for name in names
        if name in record
    ]


def _line(title: str, values: list[dict], colour: str, log: bool = False) -> dict:
    scale = {"type": "log"} if log and all(v["value"] > 0 for v in values) else {"zero": False}
    several = len({value["run"] for value in values}) > 1
    # Where both are of the runs, Vega-Lite shows one legend, if they are asked for alike; else two
    # side by side.
    below = {"orient": "bottom", "columns": 0 if colour == "run" else 1}
    legend = below if several or colour != "run" else None
    # Vega-Lite's legend shows dashes of lines without points alone.
    point = colour == "run" and len(values) < 200
    return {
        "$schema": _SCHEMA,
        "title": title,
        "width": "container",
        "height": 220,
        "data": {"values": values},
        "mark": {"type": "line", "point": point, "tooltip": True},
        "encoding": {
            "x": {"field": "step", "type": "quantitative"},
            "y": {"field": "value", "type": "quantitative", "title": None, "scale": scale},
            "color": {"field": colour, "type": "nominal", "title": None, "legend": legend},
            "strokeDash": {
                "field": "run",
                "type": "nominal",
                "title": None,
                "legend": below if several else None,
            },
        },
    }


def heat_map(similarity: dict) -> dict:
    """New by old classes, with a choice of the layer."""
    tables = {"all layers": similarity["total"], **similarity["layers"]}
    values = [
        {"layer": layer, "new": new, "old": old, "share": share}
        for layer, table in tables.items()
        for new, row in zip(similarity["new"], table, strict=True)
        for old, share in zip(similarity["old"], row, strict=True)
    ]
    return {
        "$schema": _SCHEMA,
        "width": "container",
        "height": 18 * len(similarity["new"]),
        "data": {"values": values},
        "params": [
            {
                "name": "chosen",
                "value": "all layers",
                "bind": {"input": "select", "options": list(tables), "name": "layer "},
            }
        ],
        "transform": [{"filter": "datum.layer == chosen"}],
        "mark": {"type": "rect", "tooltip": True},
        "encoding": {
            "x": {"field": "old", "type": "nominal", "sort": None, "title": "old class"},
            "y": {"field": "new", "type": "nominal", "sort": None, "title": "new class"},
            "color": {"field": "share", "type": "quantitative", "scale": {"scheme": "blues"}},
        },
    }
