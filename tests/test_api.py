"""The package from Python: a transfer and what can be done with its run."""

import numpy as np
import pytest
from helpers import make_feature_net, make_photos, make_source

import cgt_tf
from cgt_tf.api import make_config
from cgt_tf.errors import InputError
from cgt_tf.export.served import load_saved_model


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("api")
    make_photos(place / "photos", {"dog": 4, "emu": 4})
    make_feature_net(place / "features.keras")
    make_source(place / "source")
    return place


def transfer(place, **values):
    training = {"steps": 1, "batch_size": 2, **values.pop("training", {})}
    evaluation = {
        "every": 1,
        "best": "kmmd",
        "features": f"{place}/features.keras",
        "num_samples": 8,
    }
    return cgt_tf.transfer(
        *(f"model:{place}/source", f"{place}/photos", f"{place}/run"),
        data={"cache_dir": f"{place}/cache"},
        training=training,
        evaluation={**evaluation, "metrics": ("kmmd",)},
        **values,
    )


@pytest.fixture(scope="module")
def run(place):
    return transfer(place)


def test_a_run_is_trained_and_knows_what_it_learnt(place, run):
    assert run.path == place / "run" and run.classes == ("dog", "emu")
    assert repr(run) == f"cgt_tf.Run('{place}/run')"
    assert [record["step"] for record in run.history if "kmmd" in record] == [0, 1]


def test_samples_are_by_class_and_seed(run):
    images = run.sample(count=3)
    assert images.shape == (2, 3, 8, 8, 3) and images.dtype == np.uint8
    again = run.sample(["emu", "A"], 2, seed=1)
    # The batch has another size, which rounds otherwise.
    assert np.abs(again[0].astype(int) - images[1, 1:]).max() <= 1
    assert (again[1] != again[0]).any()
    grid = run.grid(count=3, scale=1)
    assert grid.height > 2 * 8 and grid.width > 3 * 8


def test_a_run_is_scored_and_exported(place, run):
    scores = run.evaluate(metrics=["kmmd"], num_samples=8, cache_dir=f"{place}/cache", trust=True)
    assert scores.metrics["kmmd"] > 0 and scores.num_fake == 8
    assert (place / "run/eval.json").is_file()
    served = load_saved_model(str(run.export(place / "served")))
    assert served.class_names[-2:] == ["dog", "emu"]
    native = run.export(place / "native", form="native")
    assert cgt_tf.load_source(f"model:{native}").class_names[-2:] == ["dog", "emu"]


def test_the_same_call_comes_back_and_more_steps_go_on(place, run):
    before = run.history
    assert transfer(place).history == before
    more = transfer(place, training={"steps": 2})
    assert more.history[: len(before)] == before
    assert more.history[-1]["step"] == 2


def test_knobs_of_a_preset_groups_and_dotted_names():
    values = {"training.steps": 7, "data.classes": ("Ö",), "data.flip": True}
    config = make_config("glyphs_transfer_ada", values)
    assert config.training.steps == 7 and config.data.classes == ("Ö",)
    assert config.augmentation.adaptive and config.augmentation.ada_kimg == 5
    assert config.evaluation.metrics == ("fid", "kmmd", "diversity")
    assert make_config("methods/minegan", {}).minegan.mine_steps == 300
    assert make_config(None, {"method.name": "bsa_adv"}).method.name == "bsa_adv"


@pytest.mark.parametrize(
    ("preset", "values", "message"),
    [
        ("nothing", {}, "expected a preset"),
        (None, {"training.step": 1}, "knobs of a run of cgan_transfer, got 'training.step'"),
        (None, {"training": 1}, "got 'training'"),
        (None, {"training.steps": "many"}, "training.steps must be int, got str"),
        (None, {"training.steps": 0}, "must be at least 1, got 0"),
        (None, {"minegan.mine_steps": 1}, "knobs of a run of cgan_transfer, got 'minegan"),
        (None, {"method.name": "gan"}, "method.name must be one of"),
    ],
)
def test_wrong_knobs_are_input_errors(preset, values, message):
    with pytest.raises(InputError, match=message):
        make_config(preset, values)


def test_wrong_calls_are_input_errors(tmp_path, run):
    with pytest.raises(InputError, match="expected workdir="):
        cgt_tf.transfer("bundled:glyphs32", "photos")
    with pytest.raises(InputError, match="expected a run of cgt-train"):
        cgt_tf.Run(tmp_path).sample()
    with pytest.raises(InputError, match="count of at least 1"):
        run.sample(count=0)
    with pytest.raises(InputError, match="got 'cat'"):
        run.sample(["cat"])
    with pytest.raises(InputError, match="expected fields of a request, got 'metric'"):
        run.evaluate(metric="fid")


def test_the_package_lists_its_public_names():
    assert {"transfer", "Run", "load_source", "evaluation", "InputError"} <= set(dir(cgt_tf))
    assert all(getattr(cgt_tf, name) is not None for name in cgt_tf.__all__)
