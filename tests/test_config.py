"""The typed config: defaults, range checks with their messages, JSON round trip."""

import copy
import dataclasses
import json

import pytest

from cgt_tf.config import METHODS, METRICS, Config, from_dict, to_dict
from cgt_tf.config_checks import validate
from cgt_tf.errors import InputError


def changed(name, value):
    """A default config with one field, e.g. "training.steps", set."""
    config = Config()
    *group, field = name.split(".")
    owner = getattr(config, group[0]) if group else config
    assert hasattr(owner, field)
    setattr(owner, field, value)
    return config


def test_defaults_are_valid():
    validate(Config())


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("method.name", "magic", f"must be one of {', '.join(METHODS)}, got 'magic'"),
        ("method.reduction", "max", "must be one of mean, sum, got 'max'"),
        (
            "training.strategy",
            "tpu",
            "must be one of auto, one_device, mirrored, multi_worker, got 'tpu'",
        ),
        (
            "evaluation.metrics",
            ("fid", "psnr"),
            f"must be one of {', '.join(METRICS)}, got 'psnr'",
        ),
        ("training.steps", 0, "must be at least 1, got 0"),
        ("training.batch_size", 0, "must be at least 1, got 0"),
        ("training.accumulation", 0, "must be at least 1, got 0"),
        ("training.generator_accumulation", -1, "must be at least 0, got -1"),
        ("training.ramp_end", 1001, "must be at most --config.training.steps 1000, got 1001"),
        ("seed", -1, "must be from 0 to 2**32 - 1, got -1"),
        ("seed", 2**32, "must be from 0 to 2**32 - 1, got 4294967296"),
        ("model.channels", -1, "must be at least 0, got -1"),
        ("model.g_widths", (8, 0), "must be at least 1, got 0"),
        ("training.d_steps", 0, "must be at least 1, got 0"),
        ("training.log_every", 0, "must be at least 1, got 0"),
        ("training.sample_every", -1, "must be at least 0, got -1"),
        ("training.checkpoint_every", -1, "must be at least 0, got -1"),
        ("training.ema_start", -1, "must be at least 0, got -1"),
        ("evaluation.num_samples", 1, "must be at least 2, got 1"),
        ("evaluation.batch_size", 0, "must be at least 1, got 0"),
        ("evaluation.every", -1, "must be at least 0, got -1"),
        ("data.images_per_class", -5, "must be at least 0, got -5"),
        ("method.l1_scores", -0.1, "must be at least 0, got -0.1"),
        ("method.l2_residual", -0.1, "must be at least 0, got -0.1"),
        ("method.scores_std", -0.1, "must be at least 0, got -0.1"),
        ("generator.learning_rate", -1e-4, "must be at least 0, got -0.0001"),
        ("generator.beta_1", 1.0, "must be in [0, 1), got 1.0"),
        ("generator.beta_2", -0.5, "must be in [0, 1), got -0.5"),
        ("discriminator.learning_rate", -1.0, "must be at least 0, got -1.0"),
        ("discriminator.beta_1", 2.0, "must be in [0, 1), got 2.0"),
        ("training.ema_decay", 1.0, "must be in [0, 1), got 1.0"),
        ("data.train", "", "must name a dataset or a directory, got ''"),
        ("source", "", "must be a handle for cgan_transfer, got ''"),
    ],
)
def test_out_of_range(name, value, message):
    with pytest.raises(InputError) as error:
        validate(changed(name, value))
    assert str(error.value) == f"--config.{name} {message}"


@pytest.mark.parametrize(
    "name, value",
    [
        ("training.steps", 1),
        ("training.ema_decay", 0.0),
        ("training.sample_every", 0),
        ("evaluation.metrics", ()),
        ("evaluation.every", 0),
        ("method.l1_scores", 0.0),
        ("method.reduction", "sum"),
        ("generator.learning_rate", 0.0),
    ],
)
def test_limits_are_allowed(name, value):
    validate(changed(name, value))


def test_scratch_needs_no_source():
    config = changed("source", "")
    config.method.name = "scratch"
    validate(config)


def test_json_round_trip():
    config = Config(seed=7, source="model:somewhere")
    config.data.classes = ("Ö", "Ж")
    config.model.g_widths = (8, 4)
    config.evaluation.metrics = ("kmmd",)
    config.discriminator.learning_rate = 1e-5
    again = from_dict(json.loads(json.dumps(to_dict(config))))
    assert again == config
    assert again.data.classes == ("Ö", "Ж")
    assert isinstance(again.model.g_widths, tuple)


def test_every_field_survives_the_round_trip():
    """Each field away from its default, whatever its type."""

    def disturb(group):
        for field in dataclasses.fields(group):
            value = getattr(group, field.name)
            if dataclasses.is_dataclass(value):
                disturb(value)
            elif isinstance(value, bool):
                setattr(group, field.name, not value)
            elif isinstance(value, (int, float)):
                setattr(group, field.name, value + 1)
            elif isinstance(value, str):
                setattr(group, field.name, value + "x")
            else:
                setattr(group, field.name, (*value, "x"))

    config = Config()
    disturb(config)
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    assert config != Config()


def test_missing_fields_take_their_defaults():
    assert from_dict({}) == Config()
    assert from_dict({"training": {"steps": 3}}) == changed("training.steps", 3)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"colour": 1}, "unknown config field colour"),
        ({"training": {"stepz": 3}}, "unknown config field training.stepz"),
        ({"training": 3}, "config field training must be a group of fields, got 3"),
        ({"data": None}, "config field data must be a group of fields, got None"),
    ],
)
def test_what_is_not_a_config(values, message):
    with pytest.raises(InputError) as error:
        from_dict(values)
    assert str(error.value) == message


def test_groups_are_not_shared_between_configs():
    first, second = Config(), Config()
    expected = copy.deepcopy(second)
    first.training.steps = 12345
    first.generator.learning_rate = 0.5
    assert second == expected
    assert first.discriminator.learning_rate == 4e-4


def test_every_field_has_help():
    def fields(cls):
        for field in dataclasses.fields(cls):
            group = field.default_factory
            if group is not dataclasses.MISSING and dataclasses.is_dataclass(group()):
                yield from fields(type(group()))
            else:
                yield field

    assert all(field.metadata.get("help") for field in fields(Config))
