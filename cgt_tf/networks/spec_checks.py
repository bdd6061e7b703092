"""Types and sizes of a `GanSpec`'s fields, checked before anything is allocated by them."""

import dataclasses
import math
from typing import get_args, get_type_hints

from cgt_tf.errors import InputError

# Of any one field: more than any published network has by far.
_MOST = {"num_classes": 1 << 20, "d_classes": 1 << 20, "table_classes": 1 << 20}
_MOST_ITEMS = {"domain_classes": 1 << 12, "truncation_grid": 1 << 10}
_LARGEST, _ITEMS = 1 << 16, 32
# Of the largest single table or kernel, in numbers.
_MOST_NUMBERS = 1 << 31


def check_fields(spec) -> None:
    """`InputError` for the first field of another type, not finite, negative, or beyond all size.

    Args:
        spec: A dataclass of numbers, texts, flags and tuples of numbers.
    """
    hints = get_type_hints(type(spec))
    for field in dataclasses.fields(spec):
        value, kind = getattr(spec, field.name), hints[field.name]
        kinds = get_args(kind)
        if kinds and Ellipsis in kinds:
            most = _MOST_ITEMS.get(field.name, _ITEMS)
            if len(value) > most:
                raise InputError(f"{field.name} must have at most {most} items, got {len(value)}")
            for item in value:
                _check(field.name, item, kinds[0])
        elif type(None) in kinds:
            if value is not None:
                _check(field.name, value, kinds[0])
        else:
            _check(field.name, value, kind)
    widest = max(*spec.g_widths, *spec.d_widths)
    numbers = {
        "a convolution": 9 * widest**2,
        "the first layer": spec.dim_z * spec.bottom_width**2 * widest,
        "a class table": spec.num_classes * max(widest, spec.shared_dim),
    }
    for name, count in numbers.items():
        if count > _MOST_NUMBERS:
            raise InputError(f"expected a network that fits memory, got {count:,} for {name}")


def _check(name: str, value, kind: type) -> None:
    allowed = (int, float) if kind is float else (kind,)
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, allowed):
        raise InputError(f"{name} must be {kind.__name__}, got {type(value).__name__}")
    if kind in (int, float) and not (math.isfinite(value) and value >= 0):
        raise InputError(f"{name} must be a finite number of at least 0, got {value}")
    if kind is int and value > _MOST.get(name, _LARGEST):
        raise InputError(f"{name} must be at most {_MOST.get(name, _LARGEST)}, got {value}")
