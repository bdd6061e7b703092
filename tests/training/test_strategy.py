"""Two replicas follow one device."""

import numpy as np
import pytest
from logical_devices import train_on_one_and_two

STEPS = 20


@pytest.fixture(scope="module")
def losses():
    """Losses of one and of two replicas."""
    return train_on_one_and_two(STEPS, {})


@pytest.mark.parametrize("name", ["discriminator_loss", "generator_loss", "d_real", "d_fake"])
@pytest.mark.slow
def test_mirrored_replicas_follow_one_device(losses, name):
    one, two = losses
    assert len(one[name]) == STEPS
    np.testing.assert_allclose(two[name], one[name], atol=1e-4)
    assert np.ptp(one[name]) > 1e-3


@pytest.mark.slow
def test_steps_of_one_call_are_those_of_single_calls(losses):
    """The default's calls make ten steps."""
    for several, single in zip(
        losses, train_on_one_and_two(STEPS, {"training": {"steps_per_call": 1}}), strict=True
    ):
        assert several == single


@pytest.mark.slow
def test_reconstructing_replicas_follow_one_device():
    # The distance of a replica's own codes is not the same on two.
    fields = {
        "method": {"name": "bsa"},
        "bsa": {"emd": 0.0},
        "training": {"accumulation": 2},
    }
    one, two = train_on_one_and_two(8, fields)
    assert one.keys() == two.keys() == {"loss", "l1", "emd", "regularizer"}
    for name, values in one.items():
        assert len(values) == 8
        np.testing.assert_allclose(two[name], values, atol=1e-4, err_msg=name)
    assert np.ptp(one["l1"]) > 1e-3


@pytest.mark.slow
def test_replicas_in_bfloat16_follow_one_device():
    """More loosely, as moments of half a batch are rounded before they are joined."""
    one, two = train_on_one_and_two(6, {"training": {"precision": "bfloat16"}})
    for name in ("discriminator_loss", "generator_loss", "d_real", "d_fake"):
        np.testing.assert_allclose(two[name], one[name], atol=0.03, err_msg=name)
        assert np.ptp(one[name]) > 1e-3
