"""GAN specs: the published tables, derived sizes, rejected values, JSON."""

import json

import pytest

from cgt_tf.errors import InputError
from cgt_tf.networks.spec import GanSpec, biggan_spec

TINY = {
    "resolution": 16,
    "num_classes": 3,
    "dim_z": 12,
    "g_widths": (4, 4, 4),
    "d_widths": (4, 4),
    "d_halvings": 1,
}

# (resolution, G widths, D widths, halvings, dim_z, chunk), BigGAN paper tables 4 to 9 at ch 1.
PUBLISHED = [
    (64, (16, 16, 8, 4, 2), (1, 2, 4, 8, 16), 4, 120, 24),
    (128, (16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16), 5, 120, 20),
    (256, (16, 16, 8, 8, 4, 2, 1), (1, 2, 4, 8, 8, 16, 16), 6, 140, 20),
    (512, (16, 16, 8, 8, 4, 2, 1, 1), (1, 1, 2, 4, 8, 8, 16, 16), 7, 128, 16),
]


@pytest.mark.parametrize("resolution, g_widths, d_widths, halvings, dim_z, chunk", PUBLISHED)
def test_published_imagenet_specs(resolution, g_widths, d_widths, halvings, dim_z, chunk):
    spec = biggan_spec(resolution, 1000)
    assert spec.g_widths == tuple(96 * w for w in g_widths)
    assert spec.d_widths == tuple(96 * w for w in d_widths)
    assert (spec.d_halvings, spec.dim_z, spec.chunk_dim, spec.first_dim) == (
        halvings,
        dim_z,
        chunk,
        chunk,
    )
    assert spec.hierarchical and spec.shared_dim == 128
    assert spec.g_attention == spec.d_attention == (64,)
    assert (spec.bn_momentum, spec.bn_eps, spec.sn_eps) == (0.9, 1e-5, 1e-6)


def test_published_cifar_spec():
    spec = biggan_spec(32, 10)
    assert spec.g_widths == spec.d_widths == (256, 256, 256, 256)
    assert (spec.d_halvings, spec.dim_z, spec.shared_dim) == (2, 128, 0)
    assert not spec.hierarchical
    assert (spec.chunk_dim, spec.first_dim, spec.num_blocks) == (0, 128, 3)
    assert spec.g_attention == spec.d_attention == ()
    assert spec.sn_eps == 1e-8


def test_changes_and_channels():
    spec = biggan_spec(128, 7, channels=8, bn_eps=1e-4, g_attention=[32])
    assert spec.g_widths == (128, 128, 64, 32, 16, 8)
    assert (spec.num_classes, spec.bn_eps, spec.g_attention) == (7, 1e-4, (32,))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_classes": 0}, "num_classes must be at least 1, got 0"),
        (
            {"resolution": 32},
            "expected resolution 16, which 2 blocks make from 4, got 32",
        ),
        (
            {"hierarchical": True, "dim_z": 13},
            r"dim_z must divide into 3 equal chunks \(first layer and 2 blocks\), got 13",
        ),
    ],
)
def test_rejects_what_does_not_fit_together(changes, message):
    with pytest.raises(InputError, match=message):
        GanSpec(**{**TINY, **changes})


def test_unknown_resolution():
    with pytest.raises(InputError, match=r"one of \[32, 64, 128, 256, 512\], got 100"):
        biggan_spec(100, 10)


@pytest.mark.parametrize("resolution", [32, 128])
def test_json_round_trip(resolution):
    spec = biggan_spec(resolution, 5, channels=8)
    assert GanSpec.from_json(spec.to_json()) == spec
    assert hash(GanSpec.from_json(spec.to_json())) == hash(spec)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "[1, 2]",
        json.dumps({"resolution": 16}),
        json.dumps({**TINY, "colour": 1}),
        json.dumps({**TINY, "num_classes": "three"}),
        json.dumps({**TINY, "g_widths": 4}),
    ],
)
def test_damaged_json_is_an_input_error_of_one_line(text):
    with pytest.raises(InputError) as error:
        GanSpec.from_json(text)
    assert "\n" not in str(error.value)


def test_is_frozen():
    with pytest.raises(AttributeError):
        biggan_spec(32, 10).num_classes = 11
