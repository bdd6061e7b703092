"""What cGANTransfer must be: seven properties, each on the forms of source that it concerns.

Forms: hierarchical latents with a shared embedding, tables without either, and BigGAN-deep.
"""

import functools
import itertools
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from presets import preset
from tiny_sources import OLD, TARGET, normal, tiny_source, trained_variables

from cgt_tf.data.image_set import ImageSet
from cgt_tf.layers.pseudo_class_batch_norm import PseudoClassBatchNorm
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.cgan_transfer import CGANTransfer
from cgt_tf.methods.cgan_transfer_settings import CGANTransferSettings
from cgt_tf.methods.propagation import norm_factory, penalties
from cgt_tf.methods.registry import create_config
from cgt_tf.networks.biggan import Generator
from cgt_tf.networks.fold import parameters_per_class
from cgt_tf.networks.spec import biggan_spec
from cgt_tf.networks.weights import variable_name
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.training.loop import TrainingRun

FORMS = ("shared_hierarchical", "table", "deep")
PRESETS = ("paper", "code_imagenet", "code_cifar")
each_form = pytest.mark.parametrize("form", FORMS)
Z, LABELS = normal(3, 8), np.array([2, 0, 1])


def build(form, **settings):
    method = CGANTransfer(create_config("cgan_transfer", settings, seed=3))
    return method, method.build((tiny_source(form),), TARGET)


def settings_of(name, form):
    """A preset; of latents that a form lacks, no biases."""
    settings = preset(name)
    if form == "table":
        settings.pop("latent_bias", None)
    return settings


def offsets_of(gan):
    norms = gan.generator.conditional_norms()
    parts = [part for norm in norms for part in (norm.scale, norm.shift)]
    return parts + ([gan.generator.class_embedding] if gan.spec.deep else [])


# 1. Scores that are one-hot at an old class, without residual, are that class.


@each_form
def test_one_hot_scores_are_the_pretrained_class(form):
    _, gan = build(form, **preset("paper"))
    old = [4, 0, 3]
    for part in offsets_of(gan):
        part.scores.kernel.assign(np.eye(len(OLD))[:, old])
        part.residual.assign(np.zeros(part.residual.shape))
    expected = tiny_source(form).generator(Z, np.array(old)[LABELS])[0]
    np.testing.assert_allclose(gan.generator(Z, LABELS)[0], expected, atol=1e-5)


# 2. The released codes' trained variables, ImageNet to 5 classes and 80 CIFAR classes to 20.

LEDGERS = {
    "code_imagenet": (
        biggan_spec(128, 1000),
        5,
        {"prior": 14_784_000, "scores": 120_000, "residual": 73_920, "latent": 310_464},
        120,
    ),
    "code_cifar": (
        biggan_spec(32, 80),
        20,
        {"prior": 248_832, "scores": 20_160, "residual": 61_440},
        60,
    ),
    "paper": (
        biggan_spec(128, 1000),
        5,
        {"prior": 14_784_000, "scores": 100_000, "residual": 73_920, "latent": 295_680},
        80,
    ),
}


@pytest.mark.parametrize("name", LEDGERS)
def test_trained_variables_are_those_of_the_ledger(name):
    """At full width only the norms are built; all else is frozen."""
    source, new_classes, expected, tensors = LEDGERS[name]
    spec = biggan_spec(source.resolution, new_classes, shared_dim=0)
    norm = norm_factory(source, spec, CGANTransferSettings(**preset(name)))
    assert isinstance(norm, functools.partial) and norm.func is PseudoClassBatchNorm
    counts, variables = dict.fromkeys(expected, 0), []
    for layer in Generator(spec, norm=norm, spectral_norm=False).conditional_norms():
        layer.build((None, 4, 4, layer.channels))
        variables += layer.trainable_variables
    for variable in variables:
        kind = next(k for k in expected if f"/{k}" in variable.path)
        counts[kind] += int(np.prod(variable.shape))
    assert counts == expected
    assert len(variables) == tensors


KINDS = {
    "paper": {"prior/kernel", "scores/kernel", "residual", "latent/kernel"},
    "code_imagenet": {
        *("prior/kernel", "scores/kernel", "scores/bias", "residual"),
        *("latent/kernel", "latent/bias"),
    },
    "code_cifar": {
        *("prior/kernel", "prior/bias", "scores/kernel", "scores/bias", "residual"),
        "latent/kernel",
    },
}
IN_FINE_TUNING = {"residual", "latent/kernel", "latent/bias"}


@each_form
@pytest.mark.parametrize("name", KINDS)
def test_stages_train_what_the_paper_and_the_code_train(name, form):
    """Of norms and embedding; in fine-tuning scores and pseudo-classes rest, all else moves."""
    for only in ("propagate", "fine_tune"):
        method, gan = build(form, **settings_of(name, form), stages=(only,))
        (stage,) = method.stages(gan)
        assert stage.name == only
        trained = trained_variables(gan, stage, "generator")
        names = {variable_name(v) for v in trained}
        propagated = {n for n in names if re.match(r"(block_\d+/norm\d|class_embedding)/", n)}
        kinds = {n.removeprefix("class_embedding/").rpartition("/scale/")[2] for n in propagated}
        kinds = {kind.rpartition("/shift/")[2] for kind in kinds}
        expected = set(KINDS[name])
        if only == "fine_tune":
            expected &= IN_FINE_TUNING
        if form == "table":
            expected -= {"latent/kernel", "latent/bias"}
        assert kinds == expected, only
        others = {variable_name(v) for v in gan.generator.trainable_variables} - names
        frozen = {n for n in others if "/norm" not in n and not n.startswith("class_embedding/")}
        if only == "fine_tune":
            assert not frozen
        else:
            assert names == propagated
            assert {"linear/kernel", "output_norm/gain", "output_conv/kernel"} <= frozen


# 3. Under code_imagenet, pseudo-classes and scores are used with a largest singular value of 1.


@pytest.mark.parametrize("form", ["shared_hierarchical", "deep"])
def test_used_matrices_have_norm_1_in_the_main_code(form):
    _, gan = build(form, **preset("code_imagenet"))
    raw = 0.0
    for part in offsets_of(gan):
        for layer in (part.prior, part.scores, part.latent):
            if layer is None:
                continue
            left, values, right = np.linalg.svd(ops.convert_to_numpy(layer.kernel))
            # Where the power iteration ends; the outputs of scores are their rows.
            layer.u.assign(left.T[:1] if layer is part.scores else right[:1])
            used = ops.convert_to_numpy(layer.normalized_kernel(False))
            assert np.linalg.svd(used, compute_uv=False)[0] == pytest.approx(1, abs=1e-3)
            raw = max(raw, values[0])
    assert raw > 2, "some matrix was not of norm 1 anyway"


# 4 and 5. After a first stage folding changes nothing, and the old classes are what they were.

RUNS = [
    ("paper", "shared_hierarchical"),
    pytest.param(("paper", "table"), marks=pytest.mark.slow),
    ("paper", "deep"),
    ("code_imagenet", "shared_hierarchical"),
    ("code_cifar", "table"),
]


def train(config, form, directory):
    """The method, its networks, and the old classes' images of the untrained export."""
    method = CGANTransfer(config)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        gan = method.build((tiny_source(form),), TARGET)
    images = np.random.default_rng(2).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    data = ImageSet(images, np.arange(12, dtype=np.int32) % 3, TARGET.class_names, "random")
    before = ops.convert_to_numpy(method.extended(gan)(Z, LABELS))
    run = RunDir(directory)
    run.open(config, TARGET.class_names)
    TrainingRun(config, run, strategy, method, gan, data).train()
    return method, gan, before


def config_of(name, form):
    """Two steps large enough to move everything far."""
    config = create_config("cgan_transfer", settings_of(name, form), seed=3)
    config.generator.learning_rate = 0.05
    training = config.training
    training.steps, training.batch_size, training.ema_decay = 2, 4, 0.5
    training.sample_every = config.evaluation.every = 0
    training.checkpoint_every = 1
    return config


@pytest.fixture(scope="module", params=RUNS, ids="-".join)
def trained(request, tmp_path_factory):
    name, form = request.param
    directory = tmp_path_factory.mktemp("run") / "straight"
    return name, form, directory, *train(config_of(name, form), form, directory)


def test_the_folded_generator_samples_what_was_trained(trained):
    _, _, _, method, gan, _ = trained
    moved = [part.residual for part in offsets_of(gan)]
    assert all(np.abs(residual).max() > 0.02 for residual in moved)
    expected = gan.generator(Z, LABELS)[0]
    images = method.extended(gan)(Z, LABELS + len(OLD))
    np.testing.assert_allclose(images, expected, atol=1e-4)


def test_old_classes_are_bit_identical_after_the_first_stage(trained):
    _, form, _, method, gan, before = trained
    extended = method.extended(gan)
    np.testing.assert_array_equal(extended(Z, LABELS), before)
    source = tiny_source(form).generator(Z, LABELS)[0]
    np.testing.assert_allclose(before, source, atol=1e-5)
    statistics = [norm.moving_mean for norm in extended.generator.conditional_norms()]
    assert all(np.abs(rows[0] - rows[-1]).max() > 1e-3 for rows in statistics), "one a domain"


def test_each_new_class_costs_the_same(trained):
    """Parameters of the export are linear in the number of new classes."""
    _, form, _, method, _, _ = trained
    sizes = []
    for names in itertools.accumulate("xyz"):
        one = CGANTransfer(method.config)
        gan = one.build((tiny_source(form),), DataSpec(tuple(names), 8))
        sizes.append(sum(v.value.shape.num_elements() for v in trainable(one.extended(gan))))
    assert np.diff(sizes).tolist() == [parameters_per_class(gan.generator)] * 2


def test_published_networks_cost_what_the_paper_says():
    costs = [parameters_per_class(Generator(biggan_spec(side, 9))) for side in (128, 32)]
    assert costs == [14_784, 3_072]


def trainable(extended):
    return extended.generator.trainable_variables


# 6. The weights of means and of sums convert into each other.


@each_form
def test_weights_of_means_and_sums_convert(form):
    _, gan = build(form)
    for i, part in enumerate(offsets_of(gan)):
        part.scores.kernel.assign(normal(*part.scores.kernel.shape, seed=i))
        part.residual.assign(normal(*part.residual.shape, seed=i))
    # Layers of one width: the weight of residuals depends on it.
    parts = [part for part in offsets_of(gan) if part.residual.shape == (3, 8)]
    assert len(parts) >= 4
    entries = {"l1_scores": len(OLD) * 3, "l2_residual": 8 * 3}
    weights = {"l1_scores": 0.01, "l2_residual": 0.1}
    mean = penalties(parts, CGANTransferSettings(**weights))
    sums = {name: weight / entries[name] for name, weight in weights.items()}
    total = penalties(parts, CGANTransferSettings(**sums, reduction="sum"))
    assert mean.keys() == total.keys() == weights.keys()
    for name, value in mean.items():
        assert float(value) > 1e-3
        assert float(total[name]) == pytest.approx(float(value), rel=1e-5)


# 7. A resumed run takes the step that it would have taken.


@pytest.mark.parametrize("trained", [RUNS[0], RUNS[3]], ids="-".join, indirect=True)
def test_a_resumed_run_takes_the_same_steps(trained):
    name, form, straight, _, _, _ = trained
    resumed = straight.with_name("resumed")
    shutil.copytree(straight, resumed)
    last = RunDir(straight).checkpoint_path(2)
    shutil.rmtree(RunDir(resumed).checkpoint_path(2).parent)
    train(config_of(name, form), form, resumed)
    expected, found = stored(last), stored(RunDir(resumed).checkpoint_path(2))
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)
    middle = stored(RunDir(straight).checkpoint_path(1))
    assert any(not np.array_equal(middle[key], value) for key, value in expected.items())


def stored(path):
    reader = tf.train.load_checkpoint(str(path))
    names = [name for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name]
    return {name: reader.get_tensor(name) for name in names}
