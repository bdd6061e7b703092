"""Messages."""

import pytest

from cgt_tf.errors import first_few


@pytest.mark.parametrize(
    ("names", "shown"), [("", ""), ("ab", "a, b"), ("abc", "a, b, c"), ("abcd", "a, b, c, ...")]
)
def test_names_that_are_left_out_are_hinted_at(names, shown):
    assert first_few(names, 3) == shown
