"""Every method: its config, checkpoint, native model and SavedModel are what was trained."""

import contextlib
import functools

import numpy as np
import pytest
import trajectories
from helpers import as_graphs
from training.logical_devices import train_on_one_and_two

from cgt_tf.config import to_dict
from cgt_tf.export.of_run import export_run
from cgt_tf.export.sampler import open_sampler
from cgt_tf.methods.registry import METHODS, config_from_dict
from cgt_tf.networks.weights import variable_name
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.training.session import Session

# What a method needs to be through with all its stages in two steps.
KNOBS = {
    "cgan_transfer": {},
    "bsa_adv": {},
    "scratch": {},
    "transfergan": {},
    "freeze_d": {},
    "bsa": {},
    "minegan": {"minegan.mine_steps": 1, "training.steps": 1},
    "hyper_modulation": {},
    "d3t_gan": {"d3t_gan.inversion_steps": 2},
}
# Without terms that are of all pairs of a replica's own images or codes, not of all replicas'; from
# scratch with steps so small that rounding does not grow to 0.4 % of a loss within six of them.
TWO_REPLICAS = {
    "bsa": {"bsa": {"emd": 0.0}},
    "d3t_gan": {"d3t_gan": {"lambda_g": 0.0}},
    "scratch": {part: {"learning_rate": 1e-5} for part in ("generator", "discriminator")},
}
# Methods between which all kinds of networks are exported in the default run.
EXPORTED = {"scratch", "cgan_transfer", "minegan", "hyper_modulation"}
# Those with steps of their own; test_trajectories.py makes a graph of cgan_transfer's.
AS_GRAPHS = {"transfergan", "bsa", "minegan", "hyper_modulation", "d3t_gan"}
SEEDS = np.array([3, 1, 4, 1], np.int64)


def make_config(name, directory):
    case = "scratch" if name == "scratch" else "cgan_transfer"
    fields = trajectories.knobs(case, directory) | {"method.name": name}
    fields |= {"training.steps": 2, "training.checkpoint_every": 1, **KNOBS[name]}
    return trajectories.make_config(fields)


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Config, run and networks of a method after two steps, by its name."""

    @functools.cache
    def train(name):
        directory = tmp_path_factory.mktemp(name)
        trajectories.write_inputs(directory)
        session = Session.create(make_config(name, directory))
        with as_graphs() if name in AS_GRAPHS else contextlib.nullcontext():
            run = session.train(str(directory / "run"), None)
        return session.config, run, session.networks

    return train


def values(networks):
    return {
        f"{label}/{variable_name(v)}": v.numpy()
        for label, network in networks.named.items()
        for v in network.variables
    }


def images(model, checkpoint="last"):
    sampler = open_sampler(str(model), checkpoint)
    labels = np.resize([sampler.class_names.index(x) for x in trajectories.NAMES], len(SEEDS))
    return list(sampler.class_names), sampler.sample(labels, SEEDS, 0.7)


def test_every_method_has_a_case():
    assert KNOBS.keys() == METHODS.keys()


@pytest.mark.parametrize("name", METHODS)
def test_config_round_trip(train, name):
    config, run, _ = train(name)
    assert config_from_dict(run.config()) == config
    assert type(config_from_dict(to_dict(config))) is type(config)


@pytest.mark.parametrize("name", METHODS)
def test_checkpoint_round_trip(train, name):
    """A new process finds every variable of every network as it was left."""
    config, run, networks = train(name)
    again = Session.create(config)
    before = values(again.networks)
    again.train(str(run.path), None)
    expected, found = values(networks), values(again.networks)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert any(not np.array_equal(before[name], value) for name, value in found.items())


@pytest.mark.parametrize(
    "name", [n if n in EXPORTED else pytest.param(n, marks=pytest.mark.slow) for n in METHODS]
)
@pytest.mark.parametrize("form", ["native", "saved_model"])
def test_exports_sample_what_the_run_samples(train, name, form, tmp_path):
    run, model = train(name)[1], tmp_path / "model"
    names, expected = images(run.path)
    assert set(trajectories.NAMES) <= set(names) and expected.std() > 1
    export_run(str(run.path), str(model), checkpoint="last", form=form)
    found_names, found = images(f"model:{model}" if form == "native" else model)
    assert found_names == names
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_two_replicas_follow_one_device(name):
    fields = {"method": {"name": name}, **TWO_REPLICAS.get(name, {})}
    one, two = train_on_one_and_two(6, fields)
    assert one.keys() == two.keys()
    for label, losses in one.items():
        np.testing.assert_allclose(two[label], losses, rtol=1e-3, atol=1e-3, err_msg=label)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_run_ends_like_an_uninterrupted_one(name, tmp_path, monkeypatch):
    trajectories.write_inputs(tmp_path)
    config = make_config(name, tmp_path)
    straight, stopped = Session.create(config), Session.create(config)
    straight.train(str(tmp_path / "straight"), None)
    keep = RunDir.keep_checkpoints

    def stop(run, last, best):
        keep(run, last, best)
        if run.saved_steps()[-1] == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunDir, "keep_checkpoints", stop)
        stopped.train(str(tmp_path / "stopped"), None)
    assert RunDir(tmp_path / "stopped").saved_steps()[-1] == 1
    resumed = Session.create(config)
    resumed.train(str(tmp_path / "stopped"), None)
    expected, found = values(straight.networks), values(resumed.networks)
    for label, value in expected.items():
        np.testing.assert_array_equal(found[label], value, err_msg=label)
