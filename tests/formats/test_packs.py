"""Class packs: out of one run, into a model of another; old classes bit for bit."""

import dataclasses
import functools
import json

import keras
import numpy as np
import pytest
import safetensors.numpy
from methods.tiny_sources import FORMS, tiny_source
from PIL import Image

from cgt_tf.errors import InputError
from cgt_tf.formats import packs
from cgt_tf.formats.native import read_model, save_model
from cgt_tf.formats.packs import add, extract, fingerprint, read, remove, write
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.registry import create_config, create_method
from cgt_tf.networks.gan import Gan

FACTS = {"licence": "CC0-1.0", "scores": {"metrics": {"fid": 3.5}}}
each_form = pytest.mark.parametrize("form", FORMS)


@functools.cache
def transferred(form, names, seed):
    """Old and new classes of a transfer; what new classes have of their own is drawn."""
    keras.utils.set_random_seed(seed)
    config = create_config("cgan_transfer", {"scores_init": "random"}, seed=seed)
    method = create_method(config)
    networks = method.build((tiny_source(form),), DataSpec(names, 8))
    rng = np.random.default_rng(seed)
    for norm in networks.generator.conditional_norms():
        for name in ("moving_mean", "moving_variance"):
            variable = getattr(norm, name)
            variable.assign(variable + rng.uniform(0.1, 1, variable.shape))
    return method.extended(networks).gan(networks.discriminator)


def images(gan, names, truncation=1.0):
    rng = np.random.default_rng(1)
    z = rng.normal(size=(len(names), gan.spec.dim_z)).astype(np.float32)
    labels = np.array([gan.class_names.index(name) for name in names])
    return np.asarray(gan.generator(z, labels, truncation=truncation)[0])


def pack_of(form, names, seed=0, chosen=None):
    return extract(transferred(form, names, seed), chosen or names, FACTS, None)


@each_form
def test_packs_of_two_runs_join_into_one_model(form, tmp_path):
    """Images of new classes equal their own run's, those of old ones are bit-identical."""
    first, second = (transferred(form, n, s) for n, s in ((("x", "y"), 0), (("w", "v", "ü"), 7)))
    write(pack_of(form, ("w", "v", "ü"), 7, ["ü", "w"]), tmp_path / "a.cgtpack")
    joined = add(first, [read(tmp_path / "a.cgtpack")])
    assert joined.class_names == [*first.class_names, "ü", "w"]
    assert joined.spec.domain_classes == (*first.spec.domain_classes, 2)
    for truncation in (1.0, 0.25):
        old = [*first.class_names, *first.class_names[:3]]
        np.testing.assert_array_equal(
            images(joined, old, truncation), images(first, old, truncation)
        )
        new = ["ü", "w", "ü"]
        np.testing.assert_array_equal(
            images(joined, new, truncation), images(second, new, truncation)
        )
    assert (images(joined, ["ü"]) != images(joined, ["w"])).any()


@each_form
def test_a_source_takes_packs_and_gives_them_back(form):
    source, pack = tiny_source(form), pack_of(form, ("x", "y"))
    joined = add(source, [pack])
    assert joined.class_names == [*source.class_names, "x", "y"]
    np.testing.assert_array_equal(
        images(joined, ["x", "y"]), images(transferred(form, ("x", "y"), 0), ["x", "y"])
    )
    again = extract(joined, ["x", "y"], FACTS, None)
    for name, array in pack.domain.rows.items():
        np.testing.assert_array_equal(again.domain.rows[name], array)
    without = remove(joined, ["x"])
    assert without.class_names == [*source.class_names, "y"]
    np.testing.assert_array_equal(images(without, ["y"]), images(joined, ["y"]))
    if not source.spec.domain_classes[1:]:
        assert remove(joined, ["y", "x"]).class_names == list(source.class_names)


def test_a_joined_model_is_a_native_model_and_keeps_its_discriminator(tmp_path):
    joined = add(transferred("table", ("x", "y"), 0), [pack_of("table", ("w",), 7)])
    stored = read_model(save_model(joined, tmp_path / "model", {}))
    gan = Gan(stored.spec, stored.generator, stored.discriminator, stored.class_names)
    np.testing.assert_array_equal(images(gan, ["w", "x"]), images(joined, ["w", "x"]))
    assert stored.discriminator.num_classes == 2
    source = add(tiny_source("table"), [pack_of("table", ("w",), 7)])
    assert source.spec.d_classes == 5 and source.discriminator is not None


def test_the_file_holds_facts_and_a_sample(tmp_path):
    sample = Image.new("RGB", (5, 4), (1, 2, 3))
    gan = transferred("table", ("x", "y"), 0)
    write(extract(gan, ["y"], FACTS, sample), tmp_path / "y.cgtpack")
    pack = read(tmp_path / "y.cgtpack")
    assert pack.domain.class_names == ("y",) and pack.facts == FACTS
    assert pack.fingerprint == fingerprint(gan) == fingerprint(tiny_source("table"))
    assert pack.sample.size == (5, 4) and pack.sample.getpixel((0, 0)) == (1, 2, 3)
    assert list(tmp_path.iterdir()) == [tmp_path / "y.cgtpack"]


def test_another_source_and_classes_that_do_not_fit_are_refused():
    gan, pack = transferred("table", ("x", "y"), 0), pack_of("table", ("w",), 7)
    other = pack_of("shared_hierarchical", ("w",), 7)
    with pytest.raises(InputError, match=rf"{fingerprint(gan)[:16]}, got {other.fingerprint[:16]}"):
        add(gan, [other])
    with pytest.raises(InputError, match="that the model does not have, got 'x'"):
        add(gan, [pack_of("table", ("x", "y"))])
    with pytest.raises(InputError, match="that the model does not have, got 'w'"):
        add(gan, [pack, pack])
    with pytest.raises(InputError, match="that were added, got 'old1' of the source"):
        remove(gan, ["x", "old1"])
    with pytest.raises(InputError, match=r"classes of the model's 7 .* got 'q'"):
        remove(gan, ["q"])
    with pytest.raises(InputError, match="classes of one run, got old1, x of several"):
        extract(gan, ["old1", "x"], FACTS, None)
    with pytest.raises(InputError, match="got 'none'"):
        extract(gan, [], FACTS, None)
    shared = {name: array[..., :-1] for name, array in pack.domain.shared.items()}
    broken = dataclasses.replace(pack.domain, shared=shared)
    with pytest.raises(InputError, match="arrays of other shapes"):
        add(gan, [dataclasses.replace(pack, domain=broken)])


def damaged(path, change):
    """A pack whose arrays and header were changed."""
    arrays = safetensors.numpy.load(path.read_bytes())
    with safetensors.safe_open(path, "numpy") as file:
        about = json.loads(file.metadata()["cgt_tf"])
    change(arrays, about)
    path.write_bytes(safetensors.numpy.save(arrays, {"cgt_tf": json.dumps(about)}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, b: b.update(format="other"), "its format is 'other'"),
        (lambda a, b: b.pop("fingerprint"), "fingerprint"),
        (lambda a, b: b.update(class_names=["w", "v"]), r"names 2 classes and has rows of \[1\]"),
        (lambda a, b: b.update(class_names=[]), "holds no classes"),
        (lambda a, b: a["rows/norm_0/scale_table"].fill(np.nan), "no finite float32"),
        (lambda a, b: a.update(sample_png=np.zeros(9, np.uint8)), "cannot identify image"),
    ],
)
def test_damaged_packs_are_refused_in_one_line(tmp_path, change, message):
    path = tmp_path / "w.cgtpack"
    write(pack_of("table", ("w",), 7), path)
    damaged(path, change)
    with pytest.raises(InputError, match=rf"expected a class pack, got .*w\.cgtpack: .*{message}"):
        read(path)


def test_what_is_no_pack_is_refused(tmp_path):
    path = tmp_path / "w.cgtpack"
    write(pack_of("table", ("w",), 7), path)
    whole = path.read_bytes()
    for text in (whole[: len(whole) // 2], whole[:4], b"", b"PK\x03\x04", b"\xff" * 100):
        path.write_bytes(text)
        with pytest.raises(InputError, match="expected a class pack, got"):
            read(path)
    with pytest.raises(InputError, match="expected a class pack, got"):
        read(tmp_path / "nowhere.cgtpack")
    safetensors.numpy.save_file({"a": np.zeros(2)}, path)
    with pytest.raises(InputError, match="expected a class pack, got"):
        packs.read(path)
