"""SavedModels whose weights are stored in half the bytes."""

import json

import numpy as np
import pytest
import tensorflow as tf
from export_networks import SPECS, latents, transfer

from cgt_tf.errors import InputError
from cgt_tf.export.saved_model import export_saved_model
from cgt_tf.export.served import load_saved_model
from cgt_tf.networks.fold import STATISTICS
from cgt_tf.networks.weights import by_name

# Half a unit in the last place.
RELATIVE = {"float16": 2.0**-11, "bfloat16": 2.0**-8}


@pytest.fixture(scope="module")
def table():
    return transfer(SPECS["table"])[2]


@pytest.fixture(scope="module", params=RELATIVE)
def narrow(request, table, tmp_path_factory):
    directory = tmp_path_factory.mktemp("narrow") / "model"
    return request.param, export_saved_model(table, directory, precision=request.param)


def stored_arrays(path):
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    types = reader.get_variable_to_dtype_map()
    return [reader.get_tensor(name) for name in types if "generator_variables" in name]


def test_kernels_and_tables_are_stored_narrow_all_else_in_float32(narrow, table):
    precision, path = narrow
    arrays = stored_arrays(path)
    assert len(arrays) == len(table.read_variables())
    wide = [array for array in arrays if array.dtype == np.float32]
    statistics = [v for name, v in by_name(table.generator).items() if name.endswith(STATISTICS)]
    assert any(len(v.shape) == 2 for v in statistics)  # A row a domain.
    kept = [v for v in table.read_variables() if len(v.shape) < 2 or v.path.endswith(STATISTICS)]
    assert sorted(x.shape for x in wide) == sorted(tuple(v.shape) for v in kept)
    narrow_types = {array.dtype for array in arrays} - {np.dtype("float32")}
    assert narrow_types == {np.dtype(tf.as_dtype(precision).as_numpy_dtype)}


def test_served_images_are_those_of_the_rounded_weights(narrow, table):
    """Computed in float32: as near as any export is to its generator."""
    precision, path = narrow
    z, labels = latents(4, table.spec.dim_z), np.array([0, 2, 3, 4])
    exact = np.asarray(table(z, labels))
    saved = [(v, np.asarray(v)) for v in table.read_variables()]
    try:
        for variable, value in saved:
            if value.ndim >= 2 and not variable.path.endswith(STATISTICS):
                rounded = tf.cast(tf.cast(value, precision), tf.float32)
                np.testing.assert_allclose(rounded, value, rtol=RELATIVE[precision], atol=1e-7)
                variable.assign(rounded)
        wanted = np.asarray(table(z, labels))
    finally:
        for variable, value in saved:
            variable.assign(value)
    call = load_saved_model(path).signatures["from_latent"]
    images = call(label=tf.constant(labels, tf.int64), z=z)["image"]
    np.testing.assert_allclose(images, wanted, atol=1e-5)
    assert np.abs(wanted - exact).max() > 1e-5  # Rounding can be seen, so it was done.


def test_the_card_says_what_is_stored_and_how_far_images_move(narrow, table):
    precision, path = narrow
    card = json.loads((path / "model_card.json").read_text())
    weights = card["weights"]
    assert (weights["stored"], weights["computed"]) == (precision, "float32")
    z, labels = latents(4, table.spec.dim_z), np.array([0, 2, 3, 4])
    call = load_saved_model(path).signatures["from_latent"]
    moved = call(label=tf.constant(labels, tf.int64), z=z)["image"] - table(z, labels)
    # These four are not among the images that were measured, but much like them.
    largest = 127.5 * np.abs(moved).max()
    assert largest / 10 < weights["largest_difference"] < 10 * largest


def test_the_files_of_a_large_model_are_half_as_large(table, tmp_path):
    def stored(precision):
        path = export_saved_model(table, tmp_path / precision, precision=precision)
        return sum(array.nbytes for array in stored_arrays(path)), path

    (full, path), (half, _) = stored("float32"), stored("float16")
    assert 0.5 < half / full < 0.6
    weights = json.loads((path / "model_card.json").read_text())["weights"]
    assert weights == {"stored": "float32", "computed": "float32", "largest_difference": 0.0}


def test_precisions_that_cannot_hold_a_weight_are_refused(table, tmp_path):
    with pytest.raises(InputError, match="expected a precision of float32, float16, bfloat16"):
        export_saved_model(table, tmp_path / "base", precision="int8")
    large = transfer(SPECS["table"])[2]
    kernel = large.generator.linear.kernel
    kernel.assign(np.full(kernel.shape, 7e4))
    with pytest.raises(InputError, match=r"finite values in float16, .*linear/kernel has others"):
        export_saved_model(large, tmp_path / "base", precision="float16")
    assert list(tmp_path.iterdir()) == []
