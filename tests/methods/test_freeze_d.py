"""Frozen blocks of the discriminator: which variables, and that nothing in them moves."""

import re

import numpy as np
import pytest
import tensorflow as tf
from tiny_sources import TARGET, tiny_source, trained_variables, values

from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.methods.adversarial import discriminator_patterns
from cgt_tf.methods.registry import create_config, create_method, validate
from cgt_tf.networks.gan import Gan, create_discriminator
from cgt_tf.networks.spec import biggan_spec
from cgt_tf.networks.weights import select_variables, variable_name
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.training.loop import TrainingRun


def config_of(name, blocks):
    config = create_config(name, seed=3)
    config.discriminator.freeze_blocks = blocks
    config.generator.learning_rate = config.discriminator.learning_rate = 0.01
    config.training.steps = 2
    config.training.batch_size = 4
    config.training.sample_every = config.evaluation.every = 0
    return config


def is_frozen(name, blocks):
    return any(name.startswith((f"block_{i}/", f"attention_{i}/")) for i in range(blocks))


@pytest.mark.parametrize(
    "name, blocks", [("transfergan", 1), ("cgan_transfer", 1), ("freeze_d", 2), ("freeze_d", 3)]
)
def test_trained_variables(name, blocks):
    transfer = create_method(config_of(name, blocks))
    gan = transfer.build((tiny_source("table"),), TARGET)
    (stage,) = transfer.stages(gan)
    variables = gan.discriminator.trainable_variables
    trained = {variable_name(v) for v in trained_variables(gan, stage, "discriminator")}
    expected = {variable_name(v) for v in variables}
    expected = {name for name in expected if not is_frozen(name, blocks)}
    assert trained == expected
    assert {"linear/kernel", "linear/bias", "class_projection/embeddings"} <= trained


def test_more_than_nine_blocks_are_told_apart():
    (pattern,) = discriminator_patterns(2)

    class Variable:
        def __init__(self, name):
            self.path = f"discriminator/{name}"

    names = ["block_0/a", "block_1/a", "block_10/a", "attention_1/a", "attention_12/a", "linear/a"]
    variables = [Variable(name) for name in names]
    trained = [variable_name(v) for v in select_variables(variables, (pattern,))]
    assert trained == ["block_10/a", "attention_12/a", "linear/a"]
    assert discriminator_patterns(0) == (".*",)


def test_heads_without_a_loss_are_left_out():
    names = ["block_0/conv1/kernel", "block_1/conv1/kernel", "linear/bias", "class_projection/u"]
    for blocks, unused, expected in (
        (0, ("linear",), [0, 1, 3]),
        (1, ("class_projection",), [1, 2]),
    ):
        (pattern,) = discriminator_patterns(blocks, unused)
        found = [i for i, name in enumerate(names) if re.fullmatch(pattern, name)]
        assert found == expected


@pytest.mark.parametrize("resolution, expected", [(128, 3), (32, 2)])
def test_freeze_d_freezes_half_of_the_published_blocks(resolution, expected):
    spec = biggan_spec(resolution, 4)
    method = create_method(create_config("freeze_d"))
    assert method.frozen_blocks(spec) == expected
    assert method.config.discriminator.freeze_blocks == 0
    assert create_method(config_of("freeze_d", 1)).frozen_blocks(spec) == 1
    assert create_method(create_config("transfergan")).frozen_blocks(spec) == 0


@pytest.mark.parametrize("name, blocks", [("freeze_d", 1), ("cgan_transfer", 0)])
def test_two_steps_leave_frozen_blocks_bit_for_bit(name, blocks, tmp_path):
    config = config_of(name, 0)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    source = tiny_source("table")
    transfer = create_method(config)
    with strategy.scope():
        gan = transfer.build((source,), TARGET)
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    data = ImageSet(images, np.arange(6, dtype=np.int32) % 3, TARGET.class_names, "random")
    run = RunDir(tmp_path / "run")
    run.open(config, TARGET.class_names)
    TrainingRun(config, run, strategy, transfer, gan, data).train()
    before, after = values(source.discriminator), values(gan.discriminator)
    assert any(name.endswith("/u") and is_frozen(name, 1) for name in after)
    for name in after.keys() - {"class_projection/embeddings", "class_projection/u"}:
        same = np.array_equal(before[name], after[name])
        assert same == is_frozen(name, blocks), name


def test_frozen_blocks_keep_their_power_vectors_in_every_transfer():
    config = config_of("cgan_transfer", 2)
    gan = create_method(config).build((tiny_source("table"),), TARGET)
    assert gan.discriminator.frozen_blocks == 2
    before = values(gan.discriminator)
    gan.discriminator(np.ones((2, 8, 8, 3), np.float32), np.array([0, 1]), training=True)
    for name, value in values(gan.discriminator).items():
        moved = name.endswith("/u") and not is_frozen(name, 2)
        assert np.array_equal(before[name], value) != moved, name


def test_the_output_is_the_same_frozen_or_not():
    source = tiny_source("table").discriminator
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    frozen = create_discriminator(source.spec)
    for variable, value in zip(frozen.variables, source.variables, strict=True):
        variable.assign(value)
    frozen.frozen_blocks = 3
    labels = np.array([0, 1])
    expected = source(images, labels)[0]
    np.testing.assert_allclose(frozen(images, labels, training=True)[0], expected, rtol=1e-5)


def test_bad_numbers_of_blocks():
    source = tiny_source("table")
    message = "of at most the 3 blocks of a source's discriminator, and 0 where there is none, got"
    with pytest.raises(InputError, match=f"{message} 4"):
        create_method(config_of("transfergan", 4)).build((source,), TARGET)
    config = config_of("transfergan", 1)
    config.discriminator.warmup_steps = 3
    without = Gan(source.spec, source.generator, None, source.class_names)
    with pytest.raises(InputError, match=f"{message} 1"):
        create_method(config).build((without,), TARGET)
    with pytest.raises(InputError, match=r"freeze_blocks 0 for scratch.*, got 1"):
        validate(config_of("scratch", 1))
    with pytest.raises(InputError, match="freeze_blocks must be at least 0, got -1"):
        validate(config_of("transfergan", -1))
