"""How far images of a stored generator move."""

import numpy as np
from export_networks import SPECS, transfer

from cgt_tf.export.difference import largest_difference
from cgt_tf.formats.native import read_model, save_model
from cgt_tf.networks.gan import Gan


def test_the_difference_is_that_of_the_stored_weights(tmp_path):
    extended = transfer(SPECS["table"])[2]
    gan = Gan(extended.spec, extended.generator, None, extended.class_names)
    full = save_model(gan, tmp_path / "full", {})
    half = save_model(gan, tmp_path / "half", {}, precision="float16")
    assert largest_difference(extended, full) == 0
    assert 0 < largest_difference(extended, half) < 2
    # A bias of the output moves all images by as much, before the tanh.
    moved = read_model(full)
    bias = moved.generator.output_conv.bias
    bias.assign(np.asarray(bias) + 1.0)
    shifted = Gan(moved.spec, moved.generator, None, moved.class_names)
    assert largest_difference(extended, save_model(shifted, tmp_path / "moved", {})) > 20
