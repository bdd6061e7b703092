"""What cgt-sample takes, and what it refuses before anything is loaded."""

import pytest

from cgt_tf.drawing.request import PictureRequest
from cgt_tf.errors import InputError

DEFAULTS = {
    "model": "runs/x",
    "checkpoint": "best",
    "output": "a.png",
    **dict.fromkeys(("columns", "rows", "truncation", "scale")),
    "seed": 0,
    **{name: [] for name in ("classes", "interpolate", "mix", "truncations")},
    "pseudo_classes": False,
    "layers": False,
}


def request(**values):
    return PictureRequest.from_flags({**DEFAULTS, **values})


def test_flags_become_a_request():
    assert request().kind == "classes" and list(request(columns=2, seed=5).seeds) == [5, 6]
    assert request(interpolate=["a", "b"], rows=2).kind == "interpolate"
    mixed = request(mix=["a:0.7", "b:c:2", "::0"])
    assert mixed.kind == "mix" and mixed.mix == {"a": 0.7, "b:c": 2.0, ":": 0.0}
    assert request(truncations=["0.4", "1"]).truncations == (0.4, 1.0)


def test_classes_that_were_not_chosen_are_as_many_as_fit():
    names = [f"{i}" for i in range(100)]
    assert request().chosen(names) == names[:40]
    assert request().chosen(names, 3) == names[:13] and request().chosen(names, 99) == names[:1]
    assert request(classes=["x"]).chosen(names) == ("x",)


@pytest.mark.parametrize(
    ("output", "folder"), [("a.png", False), ("A.PNG", False), ("a", True), ("strips_0.5", True)]
)
def test_what_does_not_end_in_png_is_a_folder(output, folder):
    assert request(output=output).to_folder == folder


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": True, "mix": ["a:1"]}, "one kind of picture, got --mix and --layers"),
        ({"layers": True, "columns": 3}, "no --columns with --layers, got 3"),
        ({"mix": ["a:1"], "classes": ["b", "c"]}, "no --classes with --mix, got b,c"),
        ({"truncations": ["1"], "truncation": 0.5}, "no --truncation with --truncations, got 0.5"),
        ({"interpolate": ["a", "b"], "classes": ["a"]}, "no --classes with --interpolate"),
        ({"rows": 3}, "no --rows, got 3"),
        ({"pseudo_classes": True, "rows": 3}, "no --rows with --pseudo_classes, got 3"),
        ({"interpolate": ["a"]}, "two different ones, got a"),
        ({"interpolate": ["a", "a"]}, "two different ones, got a,a"),
        ({"interpolate": ["a", "b", "a"]}, "two different ones, got a,b,a"),
        ({"mix": ["a"]}, "with numbers, got 'a'"),
        ({"mix": ["a:x"]}, "with numbers, got 'a:x'"),
        ({"mix": ["a:nan"]}, "with numbers, got 'a:nan'"),
        ({"mix": ["a:1", "a:2"]}, "different classes and weights of at least 0, got 'a:2'"),
        ({"mix": ["a:-1"]}, "different classes and weights of at least 0, got 'a:-1'"),
        ({"mix": [":1"]}, "different classes and weights of at least 0, got ':1'"),
        ({"mix": ["a:0"]}, "--mix with a weight above 0, got a:0"),
        ({"truncations": ["0.4", "2"]}, r"--truncations in \(0, 1\], got 2"),
        ({"truncations": ["x"]}, "--truncations with numbers, got 'x'"),
        ({"truncation": float("nan")}, r"--truncation in \(0, 1\], got nan"),
        ({"output": "a.gif"}, "--output to end in .png, or a folder for single images, got a.gif"),
        ({"output": "a", "scale": 2}, "no --scale with a folder of images, got 2"),
    ],
)
def test_what_makes_no_sense_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        assert request(**values).to_folder


def test_an_ending_is_refused_once_it_is_asked_for():
    with pytest.raises(InputError, match=r"got a\.jpeg"):
        assert request(output="a.jpeg").to_folder
