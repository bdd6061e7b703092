"""How far images of a stored generator move."""

import numpy as np
from export_networks import SPECS, transfer

from cgt_tf.export.difference import largest_difference
from cgt_tf.formats.native import read_model, save_model
from cgt_tf.networks.extended import extended_from
from cgt_tf.networks.gan import Gan


def test_the_difference_is_that_of_the_stored_weights(tmp_path):
    extended = transfer(SPECS["table"])[2]
    gan = Gan(extended.spec, extended.generator, None, extended.class_names)
    full = stored(save_model(gan, tmp_path / "full", {}))
    half = stored(save_model(gan, tmp_path / "half", {}, precision="float16"))
    assert largest_difference(extended.spec, extended, full) == 0
    assert 0 < largest_difference(extended.spec, extended, half) < 2
    # A bias of the output moves all images by as much, before the tanh.
    bias = full.generator.output_conv.bias
    bias.assign(np.asarray(bias) + 1.0)
    assert largest_difference(extended.spec, extended, full) > 20


def stored(path):
    read = read_model(path)
    return extended_from(Gan(read.spec, read.generator, None, read.class_names))
