"""Ramps of the step size, of the average's decay and of D's class part."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgt_tf.config import Config, OptimizerConfig, TrainingConfig
from cgt_tf.config_checks import validate
from cgt_tf.errors import InputError
from cgt_tf.training import objectives, schedules
from cgt_tf.training.adversarial import create_loss
from cgt_tf.training.state import GeneratorAverage


def test_linear_ramp():
    found = [float(schedules.linear_ramp(step, 10, 20)) for step in (0, 10, 13, 20, 1000)]
    np.testing.assert_allclose(found, [0, 0, 0.3, 1, 1], atol=1e-6)


def test_a_step_size_without_ramp_is_a_number():
    assert schedules.step_size(OptimizerConfig(learning_rate=0.5)) == 0.5


def test_updates_grow_to_the_full_step_size_and_go_on_after_a_restore(tmp_path):
    """Adam without memory moves by its step size where gradients are large."""

    def make():
        variable = keras.Variable([0.0])
        rate = schedules.step_size(OptimizerConfig(learning_rate=0.4, rampup_steps=4))
        optimizer = keras.optimizers.Adam(rate, beta_1=0.0, beta_2=0.0, epsilon=1e-9)
        optimizer.build([variable])
        values = {str(i): v.value for i, v in enumerate(optimizer.variables)}
        return variable, optimizer, tf.train.Checkpoint(variable=variable.value, **values)

    def positions(variable, optimizer, count):
        found = []
        for _ in range(count):
            optimizer.apply([tf.constant([-1.0])], [variable])
            found.append(float(variable.value[0]))
        return found

    variable, optimizer, checkpoint = make()
    found = positions(variable, optimizer, 2)
    path = checkpoint.write(str(tmp_path / "state"))
    variable, optimizer, checkpoint = make()
    checkpoint.read(path).assert_consumed()
    found += positions(variable, optimizer, 4)
    np.testing.assert_allclose(np.diff([0, *found]), [0.1, 0.2, 0.3, 0.4, 0.4, 0.4], rtol=1e-4)


def test_a_schedule_survives_its_config():
    rate = schedules.LinearRampUp(0.4, 4)
    again = schedules.LinearRampUp.from_config(rate.get_config())
    assert float(again(1)) == float(rate(1)) == pytest.approx(0.2)


@pytest.mark.parametrize("rampup", [False, True])
def test_the_average_follows_the_formula(rampup):
    decay, start = 0.5, 3
    variable = keras.Variable([0.0])
    average = GeneratorAverage([variable], decay, start, rampup)
    expected = 0.0
    for step in range(1, 12):
        variable.assign([float(step)])
        average.update(tf.constant(step, tf.int64))
        t = step - start
        kept = 0.0 if t < 0 else min(decay, (1 + t) / (10 + t)) if rampup else decay
        expected = kept * expected + (1 - kept) * step
        np.testing.assert_allclose(average.shadow[0].numpy(), [expected], rtol=1e-5)


@pytest.fixture
def outputs():
    """What a discriminator returns for two real and two generated images."""
    rng = np.random.default_rng(0)
    parts = {
        name: tf.constant(rng.normal(scale=2, size=4).astype(np.float32))
        for name in ("unconditional", "projection")
    }
    return parts["unconditional"] + parts["projection"], parts


def ramped(step, start=10, end=20):
    return create_loss(TrainingConfig(ramp_start=start, ramp_end=end), tf.Variable(step))


def hinge(part):
    real, fake = np.split(part.numpy(), 2)
    return np.maximum(0, 1 - real).sum() + np.maximum(0, 1 + fake).sum()


def test_without_a_ramp_the_loss_is_the_hinge_of_the_logits(outputs):
    loss = create_loss(TrainingConfig(), tf.Variable(0))
    logits, _ = outputs
    np.testing.assert_allclose(loss.discriminator(*outputs), hinge(logits), rtol=1e-6)
    plain = objectives.hinge_discriminator_loss(*tf.split(logits, 2))
    assert float(loss.discriminator(*outputs)) == float(plain)
    np.testing.assert_array_equal(loss.combined(*outputs), logits)


def test_the_ramp_starts_with_the_unconditional_loss(outputs):
    _, parts = outputs
    for step in (0, 10):
        loss = ramped(step)
        unconditional = parts["unconditional"]
        np.testing.assert_allclose(loss.discriminator(*outputs), hinge(unconditional), rtol=1e-6)
        np.testing.assert_allclose(loss.generator(*outputs), -np.sum(unconditional), rtol=1e-5)
        np.testing.assert_array_equal(loss.combined(*outputs), unconditional)


def test_the_ramp_is_linear_and_ends_with_both_losses(outputs):
    logits, parts = outputs
    losses = [float(ramped(step).discriminator(*outputs)) for step in (10, 15, 20, 99)]
    first, class_part = hinge(parts["unconditional"]), hinge(parts["projection"])
    expected = [first, first + class_part / 2, first + class_part, first + class_part]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    # To the generator, two terms are then the plain loss.
    plain = create_loss(TrainingConfig(), tf.Variable(0)).generator(*outputs)
    np.testing.assert_allclose(ramped(20).generator(*outputs), plain, rtol=1e-5)
    np.testing.assert_allclose(ramped(20).combined(*outputs), logits, rtol=1e-6)


def test_the_ramp_scales_the_generators_classes():
    labels = tf.constant([1, 0])
    one_hot = np.float32([[0, 1, 0], [1, 0, 0]])
    for step, share in ((0, 0.0), (15, 0.5), (20, 1.0)):
        np.testing.assert_allclose(ramped(step).generator_classes(labels, 3), share * one_hot)
    for config in (TrainingConfig(), TrainingConfig(ramp_end=9, ramp_generator=False)):
        loss = create_loss(config, tf.Variable(0))
        assert loss.generator_classes(labels, 3) is labels


@pytest.mark.parametrize("ramp_generator", [True, False])
def test_the_class_tables_wait_for_the_ramp(make_run, config, ramp_generator):
    config.training.ramp_start, config.training.ramp_end = 2, 3
    config.training.ramp_generator = ramp_generator
    config.training.checkpoint_every = 0
    run = make_run(config)
    step = run.make_step()
    rng = np.random.default_rng(0)
    images = tf.constant(rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8))
    labels = tf.constant([0, 1, 2, 0])
    tables = [
        run.gan.discriminator.class_projection.kernel,
        run.gan.generator.class_embedding.kernel,
    ]
    history = [[table.numpy() for table in tables]]
    for _ in range(4):
        step([(images, labels)])
        history.append([table.numpy() for table in tables])
    moved = [
        tuple(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
        for before, after in itertools.pairwise(history)
    ]
    early = (False, not ramp_generator)
    assert moved == [early, early, early, (True, True)]


@pytest.mark.parametrize(
    ("group", "fields", "part"),
    [
        ("training", {"ramp_start": 5}, "ramp_end must be at least 6, got 0"),
        ("training", {"ramp_start": 5, "ramp_end": 5}, "ramp_end must be at least 6, got 5"),
        ("training", {"r1_gamma": -1.0}, "r1_gamma must be at least 0, got -1.0"),
        ("training", {"r1_every": 0}, "r1_every must be at least 1, got 0"),
        ("training", {"collapse_share": -0.1}, "collapse_share must be at least 0"),
        ("training", {"early_stop": -1}, "early_stop must be at least 0, got -1"),
        ("generator", {"rampup_steps": -1}, "generator.rampup_steps must be at least 0, got -1"),
        ("augmentation", {"policy": ("colour",)}, "must be one of color, translation, cutout"),
        ("augmentation", {"adaptive": True}, "augmentation.adaptive needs"),
        ("augmentation", {"ada_kimg": 0.0}, "ada_kimg must be above 0, got 0.0"),
        ("augmentation", {"ada_every": 0}, "ada_every must be at least 1, got 0"),
    ],
)
def test_wrong_values_are_refused(group, fields, part):
    config = Config()
    for name, value in fields.items():
        setattr(getattr(config, group), name, value)
    with pytest.raises(InputError, match=r"^[^\n]*$") as error:
        validate(config)
    assert part in str(error.value)


def test_early_stop_needs_fids():
    config = Config()
    config.training.early_stop = 3
    validate(config)
    config.evaluation.metrics = ("kmmd",)
    with pytest.raises(InputError, match="early_stop needs fid"):
        validate(config)
