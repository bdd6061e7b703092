"""cgt-report: what the page holds, and that it works in a browser where one is at hand."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from helpers import make_feature_net, make_photos, make_source
from in_process import invoke

from cgt_tf.drawing import layerwise, similarity
from cgt_tf.errors import InputError
from cgt_tf.methods.registry import METHODS
from cgt_tf.networks.domains import domains_of
from cgt_tf.report import charts, collect, page, pictures_of
from cgt_tf.runs.snapshots import open_snapshot

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Moves the slider to its start, sorts by the last column twice, and notes what is seen.
PROBE = """<script>setTimeout(() => {
  const slider = document.querySelector("input[data-steps]");
  const [last, end] = [document.getElementById("step_0").textContent, grid_0.src];
  slider.value = 0; slider.dispatchEvent(new Event("input"));
  const seen = { last, first: document.getElementById("step_0").textContent,
    moved: grid_0.src !== end, charts: document.querySelectorAll("svg.marks").length };
  const button = [...document.querySelectorAll("th button")].at(-1);
  const order = () => [...button.closest("table").tBodies[0].rows].map((row) =>
    Number(row.cells[row.cells.length - 1].dataset.value));
  button.click(); seen.up = order(); button.click(); seen.down = order();
  seen.wide = document.documentElement.scrollWidth - innerWidth;
  const note = document.createElement("pre"); note.id = "seen";
  note.textContent = JSON.stringify(seen); document.body.append(note);
}, 4000)</script></body>"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two runs of two steps, the first with scores by class."""
    place = tmp_path_factory.mktemp("report")
    make_photos(place / "photos", {"dog": 3, "<i>Ж": 3})
    make_feature_net(place / "features.keras")
    source = make_source(place / "source")
    for name, extra in (("first", ()), ("second", (f"--config.method.name={[*METHODS][1]}",))):
        arguments = (
            f"--config.source={source}",
            f"--config.data.train={place}/photos",
            f"--config.data.cache_dir={place}/cache",
            *("--config.training.steps=2", "--config.training.batch_size=2"),
            *("--config.training.log_every=1", "--config.training.sample_every=1"),
            *("--config.evaluation.every=1", "--config.evaluation.num_samples=8"),
            f"--config.evaluation.features={place}/features.keras",
        )
        assert invoke("train", *arguments, *extra, f"--workdir={place}/{name}") == 0
    evaluate = ("--trust", f"--cache_dir={place}/cache", "--metrics=fid,diversity,nearest")
    assert invoke("evaluate", f"--workdir={place}/first", *evaluate) == 0
    return place


@pytest.fixture(scope="module")
def written(place):
    workdirs = f"--workdir={place}/first,{place}/second"
    assert invoke("report", workdirs, f"--output={place}/both.html") == 0
    return (place / "both.html").read_text(encoding="utf-8")


def data_of(text, identifier):
    return json.loads(re.search(rf'id="{identifier}">(.*?)</script>', text)[1])


def test_the_page_holds_all_in_itself(written):
    page_alone = re.sub(r"(?s)<script.*?</script>", "", written)
    assert not re.search(r'(src|href)="(?!data:)', page_alone)
    assert written.count("<script>") == 4 and "</html>" in written
    # Names are text, wherever they are.
    assert "&lt;i&gt;Ж" in page_alone and "<i>Ж" not in written


def test_curves_lay_runs_over_each_other(written):
    fid = data_of(written, "curve_0")
    assert fid["title"] == "fid" and fid["encoding"]["y"]["scale"] == {"type": "log"}
    found = {(value["run"], value["step"]) for value in fid["data"]["values"]}
    assert found == {(run, step) for run in ("first", "second") for step in (0, 1, 2)}
    # One legend says whose lines they are.
    colour, dash = (fid["encoding"][name] for name in ("color", "strokeDash"))
    assert colour == dash and dash["field"] == "run" and dash["legend"]
    losses = next(
        data_of(written, name)
        for name in re.findall(r'id="(curve_\d)">', written)
        if data_of(written, name)["title"] == "losses"
    )
    assert {v["score"] for v in losses["data"]["values"]} == {
        "discriminator_loss",
        "generator_loss",
    }
    assert losses["encoding"]["color"]["legend"] and losses["encoding"]["strokeDash"]["legend"]


def test_samples_by_step_and_scores_by_class(place, written):
    assert [step for step, _ in data_of(written, "steps_0")] == [0, 1, 2]
    assert "training images" in written and "nearest real images" in written
    scores = json.loads((place / "first/eval.json").read_text(encoding="utf-8"))
    assert f"{scores['metrics']['fid']:.4g}</td>" in written
    ratio = scores["per_class"]["variance_ratio"]["dog"]
    assert f'data-value="{ratio!r}"' in written
    for warning in scores["warnings"]:
        assert f"first: {warning}".split("'")[0] in written


def test_shares_of_old_classes_are_those_of_the_scores(place):
    found = similarity.of_run(open_snapshot(str(place / "first"), "best"))
    assert found["old"] == list("ABCDE") and found["new"] == ["<i>Ж", "dog"]
    assert len(found["layers"]) == 4
    for table in (found["total"], *found["layers"].values()):
        assert np.shape(table) == (2, 5)
        np.testing.assert_allclose(np.sum(table, axis=1), 1, atol=1e-2)
    chart = charts.heat_map(found)
    assert len(chart["data"]["values"]) == 5 * 2 * 5
    # A run without scores has no such section.
    assert similarity.of_run(open_snapshot(str(place / "second"), "best")) is None


def test_layer_by_layer_goes_from_the_old_class_to_the_new_one(place):
    snapshot = open_snapshot(str(place / "first"), "best")
    drawn, shares = pictures_of.drawn(snapshot)
    assert list(drawn) == [
        "new classes",
        "old classes",
        "truncation 0.2 to 1",
        "between classes",
        "layer by layer, from the nearest old class",
        "old classes that a new one is made of",
    ]
    old = shares["old"][int(np.argmax(shares["total"][1]))]
    domains = domains_of(snapshot.gan.generator, snapshot.gan.class_names)
    new, other = domains[1].of_classes(["dog"]), domains[0].of_classes([old])
    hybrids = layerwise._hybrids(new, other)
    assert len(hybrids) == len(list(snapshot.gan.generator.conditional_norms())) + 1
    for name, array in hybrids[0].rows.items():
        np.testing.assert_array_equal(array, other.rows[name])
        np.testing.assert_array_equal(hybrids[-1].rows[name], new.rows[name])
    np.testing.assert_array_equal(
        hybrids[1].rows["norm_0/scale_table"], new.rows["norm_0/scale_table"]
    )
    np.testing.assert_array_equal(
        hybrids[1].rows["norm_1/scale_table"], other.rows["norm_1/scale_table"]
    )


def test_one_run_has_its_report_in_its_directory(place):
    assert invoke("report", f"--workdir={place}/second") == 0
    text = (place / "second/report.html").read_text(encoding="utf-8")
    assert "<h2>Scores" not in text and "heat_0" not in text and "<h2>Pictures</h2>" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected --workdir="),
        (["--workdir=a,b"], "expected --output="),
        (["--workdir=a", "--output=a.pdf"], "--output to end in .html"),
        (["--workdir=nowhere", "--output=a.html"], "expected a run of cgt-train"),
        (["--workdir=x/a,y/a", "--output=a.html"], "different names"),
    ],
)
def test_wrong_commands_end_with_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert invoke("report", *arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_report_of_nothing_is_refused():
    with pytest.raises(InputError, match="different names"):
        collect.check_workdirs([])
    assert "<h2>Curves" not in page.render([])


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_works_in_a_browser(written, tmp_path, width):
    file = tmp_path / "probed.html"
    before, _, after = written.rpartition("</body>")  # The scripts speak of it, too.
    file.write_text(f"{before}{PROBE}{after}", encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [
        f"--window-size={width},900",
        "--virtual-time-budget=9000",
        "--enable-logging=stderr",
    ]
    done = subprocess.run([*command, f"file://{file}"], capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in done.stderr, done.stderr
    seen = json.loads(re.search(r'<pre id="seen">(.*?)</pre>', done.stdout)[1])
    assert (seen["last"], seen["first"], seen["moved"]) == ("step 2", "step 0", True)
    assert seen["charts"] >= 5
    assert seen["up"] == sorted(seen["up"]) and seen["down"] == seen["up"][::-1]
    assert seen["wide"] <= 0
