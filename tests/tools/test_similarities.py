"""The report of similarities: its names and numbers are those of the run's scores."""

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from in_process import run_tool
from keras import ops

from cgt_tf.config import TrainingConfig
from cgt_tf.data.image_set import ImageSet
from cgt_tf.formats.native import save_model
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.registry import create_config, create_method
from cgt_tf.networks.gan import create_gan
from cgt_tf.networks.spec import GanSpec
from cgt_tf.runs.handles import load_source
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.training.loop import TrainingRun

OLD, NEW = list("abcde"), ("x", "y")
FORM = {"resolution": 8, "num_classes": 5, "dim_z": 8, "g_widths": (8, 8)}
FORM |= {"d_widths": (8, 8), "d_halvings": 1, "shared_dim": 6}


@pytest.fixture(scope="module", params=["biggan", "biggan_deep"])
def trained(request, tmp_path_factory):
    """A run's directory and its generator, whose scores and residuals are random."""
    root = tmp_path_factory.mktemp(request.param)
    source = create_gan(GanSpec(architecture=request.param, **FORM), OLD)
    save_model(source, root / "source", {})
    training = TrainingConfig(steps=1, batch_size=4, ema_decay=0.0, sample_every=0)
    training.checkpoint_every = 0
    config = create_config("cgan_transfer", source=f"model:{root / 'source'}", training=training)
    method, strategy = create_method(config), tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        networks = method.build((load_source(config.source),), DataSpec(NEW, 8))
    rng = np.random.default_rng(0)
    for variable in networks.generator.trainable_variables:
        if variable.path.endswith(("scores/kernel", "residual")):
            variable.assign(rng.normal(size=variable.shape))
    pixels = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    images = ImageSet(pixels, np.arange(4, dtype=np.int32) % 2, NEW, "random")
    run = RunDir(root / "run")
    run.open(config, NEW)
    TrainingRun(config, run, strategy, method, networks, images).train()
    return root / "run", networks.generator


def test_the_report_is_that_of_the_largest_scores(trained):
    run, generator = trained
    parts = [part for norm in generator.conditional_norms() for part in (norm.scale, norm.shift)]
    if generator.spec.deep:
        parts.append(generator.class_embedding)
    kept, shares = np.zeros((5, 2)), []
    for part in parts:
        scores = ops.convert_to_numpy(part.scores.kernel)
        smallest = np.argsort(np.abs(scores), axis=0)[:3]
        largest = scores.copy()
        np.put_along_axis(largest, smallest, 0.0, axis=0)
        kept += np.abs(largest)
        table = ops.convert_to_numpy(part.table())
        rest = table - largest.T @ ops.convert_to_numpy(part.prior.kernel)
        shares.append(1 - np.sum(rest**2, axis=1) / np.sum(table**2, axis=1))
    done = run_tool("similarities", f"--workdir={run}", "--top=2")
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for label, line in enumerate(lines):
        name, found = line.split(": ", 1)
        found, share = found.split("; share of the offsets ")
        column = kept[:, label] / kept[:, label].sum()
        nearest = np.argsort(-column)[:2]
        assert name == NEW[label]
        assert re.findall(r"[a-e]", found) == [OLD[i] for i in nearest]
        numbers = [float(x) for x in re.findall(r"-?\d\.\d\d", found)]
        np.testing.assert_allclose(numbers, column[nearest], atol=0.006)
        assert float(share) == pytest.approx(np.mean(shares, axis=0)[label], abs=0.006)


@pytest.mark.parametrize("trained", ["biggan"], indirect=True)
@pytest.mark.parametrize(
    ("group", "field", "value"),
    [("cgan_transfer", "per_layer_scores", False), ("method", "name", "bsa")],
)
def test_other_runs_are_refused_in_one_line(trained, tmp_path, group, field, value):
    run = shutil.copytree(trained[0], tmp_path / "run")
    record = json.loads((run / "config.json").read_text(encoding="utf-8"))
    record["config"][group][field] = value
    if group == "method":
        del record["config"]["cgan_transfer"]
    (run / "config.json").write_text(json.dumps(record), encoding="utf-8")
    done = run_tool("similarities", f"--workdir={run}", check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("similarities: error: expected a run ")
