"""A short transfer from every published kind of source; old classes stay what they were."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from cgt_tf.data.image_set import ImageSet
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.registry import create_config, create_method
from cgt_tf.runs.handles import load_source
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.training.loop import TrainingRun

GOLDENS = Path(__file__).parents[1] / "goldens"
STEPS = 20
SOURCES = {
    "hub_v1": (f"tfhub:{GOLDENS}/hub_v1_tiny", None),
    "hub_deep": (f"tfhub:{GOLDENS}/hub_deep_tiny", None),
    "pth_32": (f"pth:{GOLDENS}/pth_32/G_ema.pth", f"pth:{GOLDENS}/pth_32/D.pth"),
    "pth_128": (f"pth:{GOLDENS}/pth_128/G_ema.pth", f"pth:{GOLDENS}/pth_128/D.pth"),
}
NAMES = ("x", "y")


@pytest.mark.parametrize(
    "kind",
    [
        "pth_32",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in SOURCES if "32" not in kind),
    ],
)
def test_twenty_steps_leave_the_old_classes_bit_identical(kind, tmp_path):
    handle, discriminator = SOURCES[kind]
    if "pth" in kind:
        pytest.importorskip("torch", reason="torch reads .pth files and is not installed")
    keras.utils.set_random_seed(0)
    config = create_config("cgan_transfer", source=handle, source_truncation=0.5)
    config.discriminator.warmup_steps = 0 if discriminator else 2
    config.training.steps, config.training.batch_size = STEPS, 4
    config.training.sample_every = config.training.checkpoint_every = config.evaluation.every = 0
    source = load_source(handle, discriminator)
    before = [ops.convert_to_numpy(v) for v in source.generator.variables]
    method = create_method(config)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    side = source.spec.resolution
    with strategy.scope():
        networks = method.build((source,), DataSpec(NAMES, side))
    z = np.random.default_rng(1).normal(size=(2, source.spec.dim_z)).astype(np.float32)
    old, new = np.array([0, source.spec.num_classes - 1]), source.spec.num_classes + np.arange(2)
    extended = method.extended(networks)
    images = {y[0]: ops.convert_to_numpy(extended(z, y, 0.5)) for y in (old, new)}
    np.testing.assert_allclose(images[0], source.generator(z, old, truncation=0.5)[0], atol=2e-4)
    data = np.random.default_rng(2).integers(0, 256, (8, side, side, 3), dtype=np.uint8)
    image_set = ImageSet(data, np.arange(8, dtype=np.int32) % 2, NAMES, "random")
    run = RunDir(tmp_path / "run")
    run.open(config, NAMES)
    TrainingRun(config, run, strategy, method, networks, image_set).train()
    trained = method.extended(networks)
    np.testing.assert_array_equal(trained(z, old, 0.5), images[0])
    assert np.abs(trained(z, new, 0.5) - images[new[0]]).max() > 1e-3
    for variable, value in zip(source.generator.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)
