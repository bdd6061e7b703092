"""Augmentation in training: independent draws, ADA's probability, resume and replicas."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import endless
from logical_devices import train_on_one_and_two
from tiny_scratch import TinyScratch

from cgt_tf.config import AUGMENTATIONS, AugmentationConfig
from cgt_tf.methods.adversarial import FAKE, REAL
from cgt_tf.training.augmentation import AdaptiveProbability, Augmentation
from cgt_tf.training.draws import Draws

EVERYTHING = {
    "augmentation": {
        "policy": AUGMENTATIONS,
        "adaptive": True,
        "ada_target": -1.0,  # Any sign is above it: the probability rises.
        "ada_kimg": 0.05,
        "ada_every": 2,
    },
    "generator": {"rampup_steps": 6},
    "training": {
        "accumulation": 2,
        "ema_rampup": True,
        "r1_gamma": 1.0,
        "r1_every": 2,
        "ramp_start": 1,
        "ramp_end": 5,
    },
}


def set_fields(config, values):
    for group, fields in values.items():
        for name, value in fields.items():
            setattr(getattr(config, group), name, value)


@pytest.fixture
def draws():
    return Draws(seed=5, batch_size=8, strategy=tf.distribute.OneDeviceStrategy("/cpu:0"))


def of_microbatch(draws, key):
    return draws.of_microbatch(tf.constant(key, tf.int64))


@pytest.fixture
def batch():
    return tf.constant(np.random.default_rng(0).uniform(-1, 1, (8, 8, 8, 3)).astype(np.float32))


def test_reals_fakes_and_passes_have_draws_of_their_own(draws, batch):
    augmentation = Augmentation(AugmentationConfig(policy=AUGMENTATIONS))
    keys = [(0, REAL), (0, FAKE), (1, REAL), (-1, REAL), (2**40, FAKE)]
    found = [augmentation(batch, of_microbatch(draws, key), use).numpy() for key, use in keys]
    assert len({images.tobytes() for images in found}) == len(keys)
    np.testing.assert_array_equal(augmentation(batch, of_microbatch(draws, 0), REAL), found[0])


def test_streams_are_uncorrelated_with_each_other_and_the_latents(draws):
    passes = [of_microbatch(draws, key) for key in range(400)]
    real, fake = (
        np.stack([drawn.uniforms(use, 4).numpy().ravel() for drawn in passes])
        for use in (REAL, FAKE)
    )
    z = np.stack([drawn.latents(4, 3)[0].numpy().ravel() for drawn in passes])
    for a, b in ((real, fake), (real, z), (fake, z)):
        correlations = [np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(32)]
        assert np.abs(correlations).max() < 0.25
    assert real.min() >= 0 and real.max() < 1
    assert real.mean() == pytest.approx(0.5, abs=0.02)


def test_normal_numbers_begin_with_the_latents(draws):
    """Of one shape, whoever asks; every method then draws the same z for a seed."""
    drawn = of_microbatch(draws, 7)
    np.testing.assert_array_equal(drawn.normal(4), drawn.latents(4, 3)[0])
    assert drawn.normal(2, 3).shape == (8, 2, 3)


def test_without_a_policy_images_pass_through(draws, batch):
    assert Augmentation(AugmentationConfig())(batch, of_microbatch(draws, 0), REAL) is batch


def ada(**fields):
    config = AugmentationConfig(policy=("color",), adaptive=True, ada_kimg=0.1, **fields)
    return AdaptiveProbability(config, batch_size=5)


def follow(ada, signs, first=1):
    """p after each step."""
    found = []
    for step, sign in enumerate(signs, start=first):
        ada.update(tf.constant(step, tf.int64), tf.constant(sign))
        found.append(float(ada.probability))
    return found


def test_the_probability_moves_every_fourth_step_by_the_published_increment():
    """4 steps of 5 images of 100: 0.2 up where D is surer than the target, else down."""
    found = follow(ada(), [0.7] * 8 + [0.5] * 4)
    np.testing.assert_allclose(found, [0, 0, 0, 0.2, 0.2, 0.2, 0.2, 0.4, 0.4, 0.4, 0.4, 0.2])


def test_the_sign_is_the_mean_since_the_last_change():
    adaptive = ada()
    follow(adaptive, [1.0, 1.0, 1.0, -0.5])  # Mean 0.625, though the last is far below.
    assert float(adaptive.mean_sign) == pytest.approx(0.625)
    assert float(adaptive.probability) == pytest.approx(0.2)
    follow(adaptive, [-1.0, -1.0, -1.0, 1.0], first=5)
    assert float(adaptive.mean_sign) == pytest.approx(-0.5)
    assert float(adaptive.probability) == 0.0


def test_the_probability_stays_in_its_bounds():
    adaptive = ada()
    assert max(follow(adaptive, [1.0] * 40)) == 1.0
    assert float(adaptive.probability) == 1.0
    assert min(follow(adaptive, [-1.0] * 80)) == 0.0
    assert float(adaptive.probability) == 0.0


def test_a_probability_of_zero_leaves_images_alone_and_one_does_not(draws, batch):
    adaptive = ada()
    augmentation = Augmentation(AugmentationConfig(policy=AUGMENTATIONS), adaptive)
    drawn = of_microbatch(draws, 0)
    np.testing.assert_array_equal(augmentation(batch, drawn, REAL), batch)
    adaptive.probability.assign(1.0)
    always = Augmentation(AugmentationConfig(policy=AUGMENTATIONS))
    np.testing.assert_array_equal(augmentation(batch, drawn, REAL), always(batch, drawn, REAL))


def test_all_that_the_discriminator_sees_is_augmented(make_run, config, monkeypatch):
    """White images get holes: reals and fakes, in the steps of D and of G, each its own."""
    config.augmentation.policy = ("cutout",)
    config.training.d_steps = 2
    run = make_run(config, method=TinyScratch)
    generator, discriminator = run.networks.generator.call, run.networks.discriminator.call
    seen = []

    def white(*arguments, **options):
        images, endpoints = generator(*arguments, **options)
        return 1.0 + 0.0 * images, endpoints

    def call(images, labels, training):
        seen.append(images.numpy())
        return discriminator(images, labels, training=training)

    monkeypatch.setattr(run.networks.generator, "call", white)
    monkeypatch.setattr(run.networks.discriminator, "call", call)
    labels = np.array([0, 1, 2, 0], np.int32)
    run.make_step()(endless((np.full((4, 8, 8, 3), 255, np.uint8), labels, np.arange(4))))
    assert [len(images) for images in seen] == [8, 8, 4]
    holes = [np.all(images == 0, axis=3) for images in seen]
    assert all(hole.any(axis=(1, 2)).all() for hole in holes)
    assert all((images[~hole] == 1).all() for images, hole in zip(seen, holes, strict=True))
    assert not np.array_equal(holes[0][:4], holes[0][4:])
    assert not np.array_equal(holes[0], holes[1])


def test_flips_reach_the_discriminator(make_run, config):
    config.training.steps = 1
    logged = {}
    for flip in (False, True):
        config.data.flip = flip
        run = make_run(config, f"flip_{flip}", method=TinyScratch)
        run.train()
        logged[flip] = run.run.read_stats()[0]
    assert logged[False]["d_real"] != logged[True]["d_real"]
    assert logged[False]["d_fake"] == logged[True]["d_fake"]


@pytest.mark.slow
def test_a_resumed_run_with_everything_on_ends_bit_for_bit_the_same(
    make_run, config, train_until, stored, assert_ends_alike
):
    set_fields(config, EVERYTHING)
    config.training.accumulation = 1
    config.training.ramp_end = 3
    config.training.early_stop = 5
    config.evaluation.every = 2
    config.data.flip = True

    def evaluate(extended, step):
        return {"fid": 9.0 - step}

    straight = make_run(config, "straight", evaluate, TinyScratch)
    straight.train()
    train_until(make_run(config, "stopped", evaluate, TinyScratch), 2)
    again = make_run(config, "stopped", evaluate, TinyScratch)
    again.train()
    assert_ends_alike(straight.run, again.run, 4)
    found = stored(again.run, 4)
    assert any("adaptive/probability" in name for name in found)
    assert again.state.early_stop.stale == straight.state.early_stop.stale == 0
    records = again.run.read_stats()
    assert [r["step"] for r in records if "fid" in r] == [4]
    assert max(r["ada_probability"] for r in records if "ada_probability" in r) > 0


@pytest.mark.slow
def test_two_replicas_with_everything_on_follow_one_device():
    one, two = train_on_one_and_two(6, EVERYTHING)
    for name in ("discriminator_loss", "generator_loss", "d_real", "d_fake", "r1"):
        np.testing.assert_allclose(two[name], one[name], atol=1e-3, rtol=1e-3, err_msg=name)
        assert np.ptp(one[name]) > 1e-3, name
    for name in ("ada_probability", "ada_mean_sign"):
        np.testing.assert_allclose(two[name], one[name], atol=1e-6, err_msg=name)
    assert max(one["ada_probability"]) > 0
