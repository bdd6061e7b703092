"""Variables by their names, and copies of weights from one network to another."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from keras import ops

from cgt_tf.errors import InputError


def variable_name(variable) -> str:
    """A Keras variable's path below its network: `block_0/conv1/kernel`."""
    return variable.path.partition("/")[2]


def select_variables(variables: list, patterns: tuple[str, ...]) -> list:
    """The trainable variables whose path below the network matches any of `patterns`.

    Args:
        variables: Keras variables; `generator/block_0/conv1/kernel` is matched as
            `block_0/conv1/kernel`, from its start to its end.
        patterns: Regular expressions; each must match at least one variable.

    Raises:
        InputError: a pattern that matches nothing.
    """
    for pattern in patterns:
        if not any(re.fullmatch(pattern, variable_name(v)) for v in variables):
            raise InputError(f"expected the pattern {pattern!r} to match a variable, got none")
    return [v for v in variables if any(re.fullmatch(p, variable_name(v)) for p in patterns)]


def by_name(network) -> dict:
    """The variables of a network or a layer, by their paths below it."""
    above = f"{network.path}/"
    return {variable.path.removeprefix(above): variable for variable in network.variables}


def copy_weights(
    source,
    target,
    leave: Callable[[str], bool] = lambda name: False,
    convert: Callable[[str, np.ndarray], np.ndarray] = lambda name, value: value,
) -> None:
    """Sets the variables of a network or layer from those of the same names in another.

    Args:
        source: May have more variables.
        target: Built.
        leave: Whether a variable of the target, by its name, stays as it is.
        convert: Makes the target's value of a name and the source's value.

    Raises:
        KeyError: a variable that the source has not.
        ValueError: a value of another shape.
    """
    values = by_name(source)
    for name, variable in by_name(target).items():
        if not leave(name):
            variable.assign(convert(name, ops.convert_to_numpy(values[name])))
