"""Ramps of the learning rate, of the EMA's decay and of D's class part."""

import dataclasses
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import endless
from tiny_scratch import TinyScratch

from cgt_tf.config import TrainingConfig
from cgt_tf.errors import InputError
from cgt_tf.methods import objectives
from cgt_tf.methods.phases import Adam
from cgt_tf.methods.registry import create_config, validate
from cgt_tf.training import schedules
from cgt_tf.training.state import Ema


def test_linear_ramp():
    found = [float(objectives.linear_ramp(step, 10, 20)) for step in (0, 10, 13, 20, 1000)]
    np.testing.assert_allclose(found, [0, 0, 0.3, 1, 1], atol=1e-6)


def test_a_learning_rate_without_ramp_is_a_number():
    assert schedules.learning_rate(Adam(learning_rate=0.5)) == 0.5


def test_a_learning_rate_may_fall_in_steps():
    rate = schedules.learning_rate(Adam(learning_rate=0.4, decay=0.5, decay_every=3))
    found = [float(rate(update)) for update in range(7)]
    np.testing.assert_allclose(found, [0.4] * 3 + [0.2] * 3 + [0.1], rtol=1e-6)


def test_updates_grow_to_the_full_learning_rate_and_go_on_after_a_restore(tmp_path):
    """Adam without memory moves by its learning rate where gradients are large."""

    def make():
        variable = keras.Variable([0.0])
        rate = schedules.learning_rate(Adam(learning_rate=0.4, rampup_steps=4))
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
def test_the_ema_follows_the_formula(rampup):
    decay, start = 0.5, 3
    variable = keras.Variable([0.0])
    average = Ema({"generator": [variable]}, decay, start, rampup)
    (shadow,) = average.shadow["generator"].values()
    expected = 0.0
    for step in range(1, 12):
        variable.assign([float(step)])
        average.update(tf.constant(step, tf.int64))
        t = step - start
        kept = 0.0 if t < 0 else min(decay, (1 + t) / (10 + t)) if rampup else decay
        expected = kept * expected + (1 - kept) * step
        np.testing.assert_allclose(shadow.numpy(), [expected], rtol=1e-5)


def test_the_ema_of_a_default_run_does_not_hold_its_start():
    training = TrainingConfig()
    steps = tf.range(1, training.steps + 1)
    decay = (training.ema_decay, training.ema_start)
    kept = tf.reduce_prod(schedules.ema_decay_at(steps, *decay, training.ema_rampup))
    assert kept < 1e-6
    # What it is for: without, a third of such a short EMA is the source.
    assert tf.reduce_prod(schedules.ema_decay_at(steps, *decay, False)) > 0.36


def test_emas_of_several_networks_are_swapped_in_and_out():
    first, second = keras.Variable([0.0]), keras.Variable([0.0])
    average = Ema({"generator": [first], "miner": [second]}, 0.5)
    first.assign([2.0])
    second.assign([0.3])
    average.update(tf.constant(1, tf.int64))
    with average.swapped():
        assert (first.numpy(), second.numpy()) == (1.0, np.float32(0.15))
    assert (first.numpy(), second.numpy()) == (2.0, np.float32(0.3))
    average.start_over()
    with average.swapped():
        assert (first.numpy(), second.numpy()) == (2.0, np.float32(0.3))


@pytest.fixture
def outputs():
    """What a discriminator returns for two real and two generated images."""
    rng = np.random.default_rng(0)
    parts = {
        name: tf.constant(rng.normal(scale=2, size=4).astype(np.float32))
        for name in ("unconditional", "projection")
    }
    return parts["unconditional"] + parts["projection"], parts


RAMPED = objectives.create_loss(TrainingConfig(ramp_start=10, ramp_end=20))
PLAIN = objectives.create_loss(TrainingConfig())


def hinge(part):
    """Means over two real and two generated images, added up."""
    real, fake = np.split(part.numpy(), 2)
    return np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean()


def test_without_a_ramp_the_loss_is_the_hinge_of_the_logits(outputs):
    logits, _ = outputs
    np.testing.assert_allclose(PLAIN.discriminator(*outputs, 0), hinge(logits), rtol=1e-6)
    plain = objectives.hinge_discriminator_loss(*tf.split(logits, 2))
    assert float(PLAIN.discriminator(*outputs, 0)) == float(plain)
    np.testing.assert_allclose(PLAIN.generator(*outputs, 0), -np.mean(logits), rtol=1e-6)
    np.testing.assert_array_equal(PLAIN.combined(*outputs, 0), logits)


def test_the_ramp_starts_with_the_unconditional_loss(outputs):
    _, parts = outputs
    part = parts["unconditional"]
    for step in (0, 10):
        np.testing.assert_allclose(RAMPED.discriminator(*outputs, step), hinge(part), rtol=1e-6)
        np.testing.assert_allclose(RAMPED.generator(*outputs, step), -np.mean(part), rtol=1e-5)
        np.testing.assert_array_equal(RAMPED.combined(*outputs, step), part)


def test_the_ramp_is_linear_and_ends_with_both_losses(outputs):
    logits, parts = outputs
    losses = [float(RAMPED.discriminator(*outputs, step)) for step in (10, 15, 20, 99)]
    first, class_part = hinge(parts["unconditional"]), hinge(parts["projection"])
    expected = [first, first + class_part / 2, first + class_part, first + class_part]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    # To the generator, two terms are then the plain loss.
    plain = PLAIN.generator(*outputs, 20)
    np.testing.assert_allclose(RAMPED.generator(*outputs, 20), plain, rtol=1e-5)
    np.testing.assert_allclose(RAMPED.combined(*outputs, 20), logits, rtol=1e-6)


def test_the_ramp_blends_the_generators_classes_from_their_mean(make_run, config):
    """mean + lambda (own - mean), shown by a generator whose table holds just that."""
    generator = make_run(config, method=TinyScratch).networks.generator
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(3, generator.spec.dim_z)).astype(np.float32), tf.range(3)
    table = generator.class_embedding.kernel
    own = table.numpy()
    for step, share in ((0, 0.0), (15, 0.5), (20, 1.0)):
        blended, _ = generator(z, RAMPED.generator_classes(labels, 3, step))
        table.assign(own.mean(axis=0) + share * (own - own.mean(axis=0)))
        np.testing.assert_allclose(blended, generator(z, labels)[0], atol=1e-6)
        table.assign(own)


def test_a_ramp_may_leave_the_generators_classes_alone():
    labels = tf.constant([1, 0])
    unscaled = TrainingConfig(ramp_end=9, ramp_generator=False)
    for loss in (PLAIN, objectives.create_loss(unscaled)):
        assert loss.generator_classes(labels, 3, 0) is labels


def softplus(x):
    return np.log1p(np.exp(np.float64(x)))


@pytest.mark.parametrize("head", ["logits", "unconditional", "projection"])
def test_softplus_of_any_head(outputs, head):
    logits, parts = outputs
    part = {"logits": logits, **parts}[head].numpy()
    loss = objectives.create_loss(TrainingConfig(), "softplus", head)
    expected = softplus(-part[:2]).mean() + softplus(part[2:]).mean()
    np.testing.assert_allclose(loss.discriminator(*outputs, 0), expected, rtol=1e-6)
    np.testing.assert_allclose(loss.generator(*outputs, 0), softplus(-part).mean(), rtol=1e-6)
    np.testing.assert_array_equal(loss.combined(*outputs, 0), part)


def test_a_ramp_needs_both_heads():
    with pytest.raises(InputError, match="got unconditional alone"):
        objectives.create_loss(TrainingConfig(ramp_end=20), "hinge", "unconditional")


@pytest.mark.parametrize("ramp_generator", [True, False])
def test_what_tells_classes_apart_waits_for_the_ramp(make_run, config, ramp_generator):
    config.training.ramp_start, config.training.ramp_end = 2, 3
    config.training.ramp_generator = ramp_generator
    config.training.checkpoint_every = 0
    run = make_run(config, method=TinyScratch)
    step = run.make_step()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    batches = endless((images, np.array([0, 1, 2, 0], np.int32), np.arange(4)))
    tables = [
        run.networks.discriminator.class_projection.kernel,
        run.networks.generator.class_embedding.kernel,
    ]

    def apart_and_mean():
        """Differences between the classes of both networks, and the mean of the generator's."""
        values = [table.numpy() for table in tables]
        return [*(np.diff(value, axis=0) for value in values), values[1].mean(axis=0)]

    history = [apart_and_mean()]
    for _ in range(4):
        step(batches)
        history.append(apart_and_mean())
    moved = [
        # Steps are 1e-4; rounding of what all classes have in common is not a difference.
        tuple(bool(np.abs(b - a).max() > 1e-6) for a, b in zip(before, after, strict=True))
        for before, after in itertools.pairwise(history)
    ]
    early = (False, not ramp_generator, True)
    assert moved == [early, early, early, (True, True, True)]


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
    config = create_config()
    for name, value in fields.items():
        setattr(getattr(config, group), name, value)
    with pytest.raises(InputError, match=r"^[^\n]*$") as error:
        validate(config)
    assert part in str(error.value)


@pytest.mark.parametrize("changes", [{"every": 0}, {"best": ""}])
def test_early_stop_needs_scores(changes):
    config = create_config()
    config.training.early_stop = 3
    validate(config)
    config.evaluation = dataclasses.replace(config.evaluation, **changes)
    with pytest.raises(InputError, match=r"early_stop needs --config\.evaluation\.every above 0"):
        validate(config)
