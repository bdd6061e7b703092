"""The typed config: defaults, range checks with their messages, JSON round trip.

Of the common knobs, and of each method's own.
"""

import copy
import dataclasses
import json
import typing

import pytest

from cgt_tf.config import Config, from_dict, to_dict
from cgt_tf.errors import InputError
from cgt_tf.methods.registry import METHODS, config_from_dict, create_config, validate
from cgt_tf.metrics.registry import METRICS, directions


def changed(name, value):
    """A default config with one field, e.g. "training.steps", set.

    The method is the one whose group the field is in, else the default one.
    """
    *group, field = name.split(".")
    config = create_config(group[0]) if group and group[0] in METHODS else create_config()
    owner = getattr(config, group[0]) if group else config
    assert hasattr(owner, field)
    setattr(owner, field, value)
    return config


@pytest.mark.parametrize("name", METHODS)
def test_defaults_are_valid(name):
    validate(create_config(name))


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("method.name", "magic", f"must be one of {', '.join(METHODS)}, got 'magic'"),
        ("cgan_transfer.reduction", "max", "must be one of mean, sum, got 'max'"),
        (
            "cgan_transfer.scores_init",
            "zeros",
            "must be one of uniform, nearest, similar, random, orthogonal, got 'zeros'",
        ),
        (
            "bsa_adv.residual_init",
            "ones",
            "must be one of zeros, normal, orthogonal, mean_old, got 'ones'",
        ),
        (
            "cgan_transfer.stages",
            ("fine_tune", "propagate"),
            "must be propagate, or fine_tune, or propagate,fine_tune, got 'fine_tune,propagate'",
        ),
        ("cgan_transfer.propagate_steps", 0, "must be at least 1, got 0"),
        ("cgan_transfer.nearest_classes", 0, "must be at least 1, got 0"),
        (
            "transfergan.class_init",
            "zeros",
            "must be one of mean_old, nearest, normal, got 'zeros'",
        ),
        ("transfergan.class_init_std", -0.1, "must be at least 0, got -0.1"),
        ("freeze_d.nearest_classes", 0, "must be at least 1, got 0"),
        ("bsa.code_learning_rate", -0.1, "must be at least 0, got -0.1"),
        ("bsa.decay_every", 0, "must be at least 1, got 0"),
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
        *(
            ("evaluation.best", name, f"must be one of {', '.join(directions())}, got {name!r}")
            for name in ("psnr", "kid_standard_error")
        ),
        (
            "evaluation.best",
            "kid",
            "must be a score of --config.evaluation.metrics (fid, kmmd, diversity, "
            "variance_ratio) or empty, got 'kid'",
        ),
        ("training.steps", 0, "must be at least 1, got 0"),
        ("training.batch_size", 0, "must be in [1, 1048576], got 0"),
        ("training.accumulation", 0, "must be at least 1, got 0"),
        ("training.generator_accumulation", -1, "must be at least 0, got -1"),
        ("seed", -1, "must be from 0 to 2**32 - 1, got -1"),
        ("seed", 2**32, "must be from 0 to 2**32 - 1, got 4294967296"),
        ("model.channels", -1, "must be in [0, 65536], got -1"),
        ("model.g_widths", (8, 0), "must be in [1, 65536], got 0"),
        ("training.d_steps", 0, "must be at least 1, got 0"),
        ("training.steps_per_call", 0, "must be at least 1, got 0"),
        ("training.log_every", 0, "must be at least 1, got 0"),
        ("training.sample_every", -1, "must be at least 0, got -1"),
        ("training.checkpoint_every", -1, "must be at least 0, got -1"),
        ("training.ema_start", -1, "must be at least 0, got -1"),
        ("evaluation.num_samples", 1, "must be at least 2, got 1"),
        ("evaluation.batch_size", 0, "must be in [1, 1048576], got 0"),
        ("evaluation.every", -1, "must be at least 0, got -1"),
        ("data.images_per_class", -5, "must be at least 0, got -5"),
        ("data.memory_gb", -1.0, "must be at least 0, got -1.0"),
        ("cgan_transfer.l1_scores", -0.1, "must be at least 0, got -0.1"),
        ("cgan_transfer.l2_residual", -0.1, "must be at least 0, got -0.1"),
        ("cgan_transfer.scores_std", -0.1, "must be at least 0, got -0.1"),
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
        ("data.draw_seed", 0),
        ("evaluation.every", 0),
        ("evaluation.best", "variance_ratio"),
        ("evaluation.best", ""),
        ("cgan_transfer.l1_scores", 0.0),
        ("cgan_transfer.reduction", "sum"),
        ("generator.learning_rate", 0.0),
    ],
)
def test_limits_are_allowed(name, value):
    validate(changed(name, value))


def test_the_best_checkpoints_score_is_measured_where_there_are_scores():
    config = changed("evaluation.metrics", ("nearest",))
    with pytest.raises(
        InputError, match=r"best must be .* \(which have none\) or empty, got 'fid'"
    ):
        validate(config)
    config.evaluation.every = 0
    validate(config)


def test_scratch_needs_no_source():
    validate(create_config("scratch", source=""))


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"propagate": False, "residual": False},
            r"^--config\.cgan_transfer\.propagate and .*\.residual are both False$",
        ),
        ({"stages": ("fine_tune",)}, r"stages=fine_tune and .*go together, got 'fine_tune' and ''"),
        ({"start": "run"}, r"start=<run> go together, got 'propagate' and 'run'"),
        (
            {"stages": ("propagate", "fine_tune"), "start": "run"},
            r"go together, got 'propagate,fine_tune' and 'run'",
        ),
    ],
)
def test_knobs_that_do_not_go_together(settings, message):
    with pytest.raises(InputError, match=message):
        validate(create_config("cgan_transfer", settings))


@pytest.mark.parametrize("name", ["cgan_transfer", "bsa_adv"])
def test_a_run_that_is_gone_on_with_has_no_warm_up(name):
    config = create_config(name, {"stages": ("fine_tune",), "start": "run"})
    validate(config)
    config.discriminator.warmup_steps = 2
    message = rf"warmup_steps=0 with --config\.{name}\.start, whose discriminator is .*, got 2"
    with pytest.raises(InputError, match=message):
        validate(config)


def test_json_round_trip():
    config = create_config(seed=7, source="model:somewhere")
    config.data.classes = ("Ö", "Ж")
    config.model.g_widths = (8, 4)
    config.evaluation.metrics = ("kmmd",)
    config.discriminator.learning_rate = 1e-5
    config.cgan_transfer.stages = ("propagate", "fine_tune")
    again = config_from_dict(json.loads(json.dumps(to_dict(config))))
    assert again == config
    assert again.data.classes == ("Ö", "Ж")
    assert isinstance(again.model.g_widths, tuple)
    assert again.cgan_transfer.stages == ("propagate", "fine_tune")


@pytest.mark.parametrize("name", METHODS)
def test_every_field_survives_the_round_trip(name):
    """Each field away from its default, whatever its type; but for the method's name."""

    def disturb(group):
        for field in dataclasses.fields(group):
            value = getattr(group, field.name)
            if field.name == "method":
                continue
            if dataclasses.is_dataclass(value):
                disturb(value)
            elif isinstance(value, bool):
                setattr(group, field.name, not value)
            elif isinstance(value, (int, float)):
                setattr(group, field.name, value + 1)
            elif isinstance(value, str):
                setattr(group, field.name, value + "x")
            else:
                (kind,) = set(typing.get_args(typing.get_type_hints(type(group))[field.name])) - {
                    ...
                }
                setattr(group, field.name, (*value, kind()))

    config = create_config(name)
    disturb(config)
    assert config_from_dict(json.loads(json.dumps(to_dict(config)))) == config
    assert config != create_config(name)


def test_missing_fields_take_their_defaults():
    assert from_dict({}) == Config()
    assert config_from_dict({}) == create_config()
    assert config_from_dict({"training": {"steps": 3}}) == changed("training.steps", 3)
    expected = changed("bsa.emd", 3.0)
    assert config_from_dict({"method": {"name": "bsa"}, "bsa": {"emd": 3.0}}) == expected


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
    for read in (from_dict, config_from_dict):
        with pytest.raises(InputError) as error:
            read(values)
        assert str(error.value) == message


def test_groups_are_not_shared_between_configs():
    first, second = create_config(), create_config()
    expected = copy.deepcopy(second)
    first.training.steps = 12345
    first.generator.learning_rate = 0.5
    first.method.name, first.cgan_transfer.l1_scores = "bsa", 7.0
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
