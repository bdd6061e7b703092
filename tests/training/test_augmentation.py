"""Augmentation in training: independent draws, ADA's probability, resume and replicas."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from cgt_tf.config import AUGMENTATIONS, AugmentationConfig
from cgt_tf.training.augmentation import FAKE, REAL, AdaptiveProbability, Augmentation
from cgt_tf.training.draws import Draws

EVERYTHING = {
    "augmentation": {
        "policy": AUGMENTATIONS,
        "adaptive": True,
        "ada_target": -1.5,  # Any sign is above it: the probability rises.
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


@pytest.fixture
def batch():
    return tf.constant(np.random.default_rng(0).uniform(-1, 1, (8, 8, 8, 3)).astype(np.float32))


def test_reals_fakes_and_passes_have_draws_of_their_own(draws, batch):
    augmentation = Augmentation(AugmentationConfig(policy=AUGMENTATIONS), draws)
    keys = [(0, REAL), (0, FAKE), (1, REAL), (-1, REAL), (2**40, FAKE)]
    found = [augmentation(batch, tf.constant(key, tf.int64), use).numpy() for key, use in keys]
    assert len({images.tobytes() for images in found}) == len(keys)
    again = augmentation(batch, tf.constant(0, tf.int64), REAL)
    np.testing.assert_array_equal(again, found[0])


def test_streams_are_uncorrelated_with_each_other_and_the_latents(draws):
    keys = [tf.constant(key, tf.int64) for key in range(400)]
    real, fake = (
        np.stack([draws.uniforms(key, use, 4).numpy().ravel() for key in keys])
        for use in (REAL, FAKE)
    )
    z = np.stack([draws.latents(key, 4, 3)[0].numpy().ravel() for key in keys])
    for a, b in ((real, fake), (real, z), (fake, z)):
        correlations = [np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(32)]
        assert np.abs(correlations).max() < 0.25
    assert real.min() >= 0 and real.max() < 1
    assert real.mean() == pytest.approx(0.5, abs=0.02)


def test_without_a_policy_images_pass_through(draws, batch):
    assert Augmentation(AugmentationConfig(), draws)(batch, tf.constant(0), REAL) is batch


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
    augmentation = Augmentation(AugmentationConfig(policy=AUGMENTATIONS), draws, adaptive)
    key = tf.constant(0, tf.int64)
    np.testing.assert_array_equal(augmentation(batch, key, REAL), batch)
    adaptive.probability.assign(1.0)
    always = Augmentation(AugmentationConfig(policy=AUGMENTATIONS), draws)
    np.testing.assert_array_equal(augmentation(batch, key, REAL), always(batch, key, REAL))


def test_all_that_the_discriminator_sees_is_augmented(make_run, config, monkeypatch):
    """White images get holes: reals and fakes, in the steps of D and of G, each its own."""
    config.augmentation.policy = ("cutout",)
    config.training.d_steps = 2
    run = make_run(config)
    white = tf.ones((4, 8, 8, 3))
    monkeypatch.setattr(run.gan.generator, "call", lambda z, labels, training: (white, {}))
    discriminator, seen = run.gan.discriminator.call, []

    def call(images, labels, training):
        seen.append(images.numpy())
        return discriminator(images, labels, training=training)

    monkeypatch.setattr(run.gan.discriminator, "call", call)
    for optimizer in (run.state.generator_optimizer, run.state.discriminator_optimizer):
        monkeypatch.setattr(optimizer, "apply", lambda gradients, variables: None)
    monkeypatch.setattr("cgt_tf.training.step._sum_of_passes", lambda passes: None)
    batch = (tf.cast(255 * white, tf.uint8), tf.constant([0, 1, 2, 0]))
    run.make_step()._replica_step([batch, batch])
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
        run = make_run(config, f"flip_{flip}")
        run.train()
        logged[flip] = run.run.read_stats()[0]
    assert logged[False]["d_real"] != logged[True]["d_real"]
    assert logged[False]["d_fake"] == logged[True]["d_fake"]


def test_a_resumed_run_with_everything_on_ends_bit_for_bit_the_same(make_run, config):
    set_fields(config, EVERYTHING)
    config.training.accumulation = 1
    config.training.early_stop = 5
    config.evaluation.every = 2
    config.data.flip = True

    def evaluate(sample, step):
        return {"fid": 9.0 - step}

    straight = make_run(config, "straight", evaluate)
    straight.train()
    stopped = make_run(config, "stopped", evaluate)
    last = stopped.stage.steps
    object.__setattr__(stopped.stage, "steps", 2)
    stopped.train()
    again = make_run(config, "stopped", evaluate)
    assert again.stage.steps == last == 4
    again.train()

    readers = [
        tf.train.load_checkpoint(str(run.run.checkpoint_path(4))) for run in (straight, again)
    ]
    names = [n for n in readers[0].get_variable_to_shape_map() if "OBJECT_GRAPH" not in n]
    assert any("adaptive/probability" in name for name in names)
    for name in names:
        expected, found = (reader.get_tensor(name) for reader in readers)
        np.testing.assert_array_equal(found, expected, err_msg=name)
    records = [
        [{k: v for k, v in r.items() if "second" not in k} for r in run.run.read_stats()]
        for run in (straight, again)
    ]
    assert records[0] == records[1]
    probabilities = [r["ada_probability"] for r in records[0] if "ada_probability" in r]
    assert max(probabilities) > 0


@pytest.mark.slow
def test_two_replicas_with_everything_on_follow_one_device():
    script = Path(__file__).with_name("train_on_logical_devices.py")
    fields, steps = json.dumps(EVERYTHING), 6
    commands = [
        subprocess.Popen(
            [sys.executable, str(script), name, str(steps), fields],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one_device", "mirrored")
    ]
    outputs = [command.communicate()[0] for command in commands]
    assert all(command.returncode == 0 for command in commands)
    one, two = (json.loads(output.splitlines()[-1]) for output in outputs)
    assert (one["replicas"], two["replicas"]) == (1, 2)
    for name in ("discriminator_loss", "generator_loss", "d_real", "d_fake", "r1"):
        np.testing.assert_allclose(two[name], one[name], atol=1e-3, rtol=1e-3, err_msg=name)
        assert np.ptp(one[name]) > 1e-3, name
    for name in ("ada_probability", "ada_mean_sign"):
        np.testing.assert_allclose(two[name], one[name], atol=1e-6, err_msg=name)
    assert max(one["ada_probability"]) > 0
