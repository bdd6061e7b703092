"""cgt-features: a feature net from a user's own images, and what is refused."""

import numpy as np
import pytest
from in_process import run
from PIL import Image

from cgt_tf.features.loading import load_feature_net


def make_photos(directory, counts):
    """Classes that differ in brightness."""
    rng = np.random.default_rng(0)
    for level, (name, count) in enumerate(counts.items()):
        (directory / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 40, (16, 16, 3)) + 100 * level
            Image.fromarray(pixels.astype(np.uint8)).save(directory / name / f"{i}.png")


def test_own_images_make_a_feature_net(tmp_path, graph):
    make_photos(tmp_path / "photos", {"dark": 10, "Ж": 10})
    output = tmp_path / "net.keras"
    arguments = (f"--data={tmp_path}/photos", f"--output={output}", f"--cache_dir={tmp_path}/c")
    result = run("features", *arguments, "--resolution=16", "--epochs=30")
    assert result.returncode == 0, result.stderr
    assert "held-out accuracy" in result.stdout and "4 images" in result.stdout
    assert f"--features={output}" in result.stdout
    net = load_feature_net(str(output))
    assert (net.resolution, net.dim, net.class_names) == (16, 64, ("dark", "Ж"))
    assert net.facts.accuracy > 0.9 and net.facts.heldout_images == 4 and net.facts.epochs == 30
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["c", "net.keras", "photos"]
    again = run("features", *arguments, check=False)
    assert (
        again.returncode == 2 and "--output must be a new file, or with --overwrite" in again.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "expected --data="),
        (["--data=photos"], "expected --output="),
        (["--data=photos", "--output=a.h5"], "expected --output to end in .keras"),
        (["--data=photos", "--output=no/a.keras"], "in an existing directory, got no/a.keras"),
        (["--data=nowhere", "--output=a.keras"], "got 'nowhere'"),
        (["--data=single", "--output=a.keras"], "at least 2 images of class 'b'"),
        (["--data=lonely", "--output=a.keras"], "at least 2 classes in lonely"),
        (["--data=photos,photos", "--output=a.keras"], "got 'a' twice"),
        (["--data=photos", "--output=a.keras", "--resolution=4"], "resolution"),
    ],
)
def test_bad_input_ends_with_status_2_and_writes_nothing(
    arguments, expected, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CGT_TF_CACHE", str(tmp_path / "cache"))
    make_photos(tmp_path / "photos", {"a": 3, "b": 3})
    make_photos(tmp_path / "single", {"a": 3, "b": 1})
    make_photos(tmp_path / "lonely", {"a": 3})
    result = run("features", *arguments, check=False)
    assert result.returncode == 2, result.stderr
    assert expected in result.stderr.splitlines()[-1]
    assert result.stderr.splitlines()[-1].startswith("cgt-features: error: ")
    assert not list(tmp_path.glob("*.keras"))
