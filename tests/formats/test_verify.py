"""The verdict on a comparison with an original."""

import pytest

from cgt_tf.formats.verify import Verification


@pytest.mark.parametrize(
    ("images", "agrees", "last"),
    [
        (1e-3, True, "the outputs agree: max |difference| 0.001"),
        (2e-3, False, "differs by more than --tolerance=0.001"),
        (float("nan"), False, "differs by more than --tolerance=0.001"),
    ],
)
def test_the_images_decide(images, agrees, last):
    found = Verification("the original", {"block_0": 9.0, "images": images}, 1e-3)
    assert found.agrees == agrees
    first, block, _, verdict = found.lines()
    assert first == "compared with the original:" and block == "  block_0: max |difference| 9"
    assert verdict == last
