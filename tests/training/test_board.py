"""What TensorBoard is given, read back from the event files."""

import dataclasses
from types import SimpleNamespace

import pytest
import tensorflow as tf
from tensorboard.plugins.hparams import plugin_data_pb2
from tiny_scratch import TinyScratch

from cgt_tf.methods.phases import Adam, Trained
from cgt_tf.training.board import Board


def values_of(run):
    """All `(tag, step, value)` of a run's event files."""
    for path in sorted(run.events.glob("events*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                yield value.tag, event.step, value


def scalars_of(run):
    """Numbers by tag and step."""
    return {
        (tag, step): float(tf.make_ndarray(value.tensor))
        for tag, step, value in values_of(run)
        if value.metadata.plugin_data.plugin_name == "scalars" or not value.HasField("metadata")
        if value.tensor.dtype == tf.float32.as_datatype_enum
    }


class TwoRates(TinyScratch):
    """The generator's first layer has a learning rate of its own."""

    def stages(self, networks):
        (stage,) = super().stages(networks)
        critic, generator = stage.phases
        parts = tuple(
            Trained("generator", Adam(learning_rate=rate), (pattern,))
            for rate, pattern in ((0.5, "linear/.*"), (0.25, "(?!linear/).*"))
        )
        generator = dataclasses.replace(generator, trained=parts)
        return (dataclasses.replace(stage, phases=(critic, generator)),)


def test_a_run_writes_scalars_in_groups_and_its_config(make_run, config):
    config.training.sample_every = config.evaluation.every = 2
    config.discriminator.rampup_steps = 8
    config.augmentation.adaptive = True
    run = make_run(config, evaluate=lambda extended, step: {"fid": 10.0 + step}, method=TwoRates)
    run.train()
    scalars = scalars_of(run.run)
    assert {tag for tag, _ in scalars} == {
        *("loss/discriminator_loss", "loss/generator_loss"),
        *("monitor/d_real", "monitor/d_fake", "monitor/d_sign"),
        *("monitor/ada_probability", "monitor/ada_mean_sign"),
        "speed/images_per_second",
        "learning_rate/discriminator/discriminator",
        *("learning_rate/generator/generator_0", "learning_rate/generator/generator_1"),
        *("score/fid", "score/d_gap"),
    }
    records = {r["step"]: r for r in run.run.read_stats() if "generator_loss" in r}
    for step, record in records.items():
        wanted = pytest.approx(record["generator_loss"])
        assert scalars["loss/generator_loss", step] == wanted
    assert [scalars["score/fid", step] for step in (0, 2, 4)] == [10.0, 12.0, 14.0]
    # Of the next update, as the schedule has it.
    found = [scalars["learning_rate/discriminator/discriminator", step] for step in (2, 4)]
    rate = config.discriminator.learning_rate
    assert found == pytest.approx([rate * 3 / 8, rate * 5 / 8])
    assert scalars["learning_rate/generator/generator_0", 4] == 0.5
    assert scalars["learning_rate/generator/generator_1", 4] == 0.25

    config.training.steps = 5
    again = make_run(config, method=TwoRates)
    again.train()
    # Each time from the step on that it counts from.
    assert [step for tag, step, _ in values_of(again.run) if tag == "config"] == [0, 4]


def test_the_config_is_a_table_and_hparams(tmp_path, config):
    config.data.classes = ("a", "b")
    config.augmentation.adaptive = True
    run = SimpleNamespace(events=tmp_path / "events")
    board = Board(run.events)
    board.config(config, "run", 3)
    board.close()
    found = {tag: (step, value) for tag, step, value in values_of(run)}
    step, table = found["config"]
    text = tf.make_ndarray(table.tensor).item()
    rows = text.decode().splitlines()
    assert step == 3 and rows[0] == "| knob | value |"
    assert "| training.batch_size | 4 |" in rows and "| method.name | scratch |" in rows
    # As flags write it.
    assert "| data.classes | a,b |" in rows
    _, started = found["_hparams_/session_start_info"]
    content = started.metadata.plugin_data.content
    chosen = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert chosen["training.batch_size"].number_value == 4
    assert chosen["training.steps"].number_value == 4
    assert chosen["method.name"].string_value == "scratch"
    assert chosen["augmentation.adaptive"].bool_value
    # Where things are and how often they are measured decides nothing.
    assert not {"data.cache_dir", "evaluation.every", "training.log_every"} & set(chosen)
