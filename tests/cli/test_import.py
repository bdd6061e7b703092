"""cgt-import: report, verification, statistics, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from in_process import run

from cgt_tf.runs.handles import load_source

GOLDENS = Path(__file__).parents[1] / "goldens"
V1 = f"--source=tfhub:{GOLDENS}/hub_v1_tiny"


def images(handle, truncation):
    gan = load_source(handle)
    z = np.random.default_rng(0).normal(size=(1, gan.spec.dim_z)).astype(np.float32)
    return np.asarray(gan.generator(z * truncation, np.array([3]), truncation=truncation)[0])


def test_a_module_is_read_verified_and_written(tmp_path):
    out = run("import_", V1, f"--output={tmp_path}/m", "--verify", "--tolerance=1e-4").stdout
    assert "Generator/GBlock/conv0/b/ema_b999900 [64] -> block_0/conv1/bias: as it is" in out
    assert "ignored: the raw copy of a variable" in out
    assert "note: TF-Hub modules hold a generator only" in out
    assert "compared with the module's own graph:\n  block_0: max |difference|" in out
    assert "the outputs agree" in out
    for truncation in (1.0, 0.4):
        expected = images(f"tfhub:{GOLDENS}/hub_v1_tiny", truncation)
        np.testing.assert_array_equal(images(f"model:{tmp_path}/m", truncation), expected)


def test_a_difference_above_the_tolerance_writes_nothing(tmp_path):
    arguments = (V1, f"--output={tmp_path}/m", "--verify", "--tolerance=0", "--quiet")
    result = run("import_", *arguments, check=False)
    assert result.returncode == 1
    assert "differs by more than --tolerance=0" in result.stdout
    assert not any(tmp_path.iterdir())


def test_standing_statistics_hold_for_their_truncation(tmp_path):
    options = ("--standing_stats=2", "--standing_batch_size=4", "--truncation=0.5", "--quiet")
    out = run("import_", V1, f"--output={tmp_path}/m", *options).stdout
    assert "standing statistics of 2 batches of 4 samples, truncation 0.5" in out
    gan = load_source(f"model:{tmp_path}/m")
    assert gan.spec.truncation_grid == ()
    text = (tmp_path / "m" / "provenance.json").read_text(encoding="utf-8")
    assert '"truncation": 0.5' in text
    original = load_source(f"tfhub:{GOLDENS}/hub_v1_tiny")
    np.testing.assert_array_equal(
        gan.generator.blocks[0].conv1.kernel, original.generator.blocks[0].conv1.kernel
    )
    assert np.abs(images(f"model:{tmp_path}/m", 0.5)).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "expected --source="),
        ([V1], "expected --output="),
        (["--source=tfhub:nowhere"], "or the directory of a module, got 'nowhere'"),
        (["--source=hub:x"], "expected a source bundled:<name>, tfhub:"),
        ([V1, "--truncation=0"], "expected --truncation in (0, 1], got 0"),
        ([V1, "--weights=best"], "best"),
        (["--source=bundled:glyphs32", "--weights=raw"], "--weights=raw is for tfhub:"),
        (["--source=bundled:glyphs32", "--verify"], "expected a tfhub: or pth: source to verify"),
        ([V1, "--discriminator=bundled:glyphs32"], "with resolution 128 as tfhub:"),
    ],
)
def test_one_line_and_status_2_and_nothing_written(arguments, expected, tmp_path):
    output = [] if arguments == [V1] or not arguments else [f"--output={tmp_path}/m"]
    result = run("import_", *arguments, *output, check=False)
    assert result.returncode == 2, result.stderr
    assert expected in result.stderr.splitlines()[-1]
    assert result.stderr.splitlines()[-1].startswith("cgt-import: error: ")
    assert not any(tmp_path.iterdir())


def test_an_output_in_use_is_left_alone(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    result = run("import_", V1, f"--output={tmp_path}", check=False)
    assert result.returncode == 2
    assert "new or empty directory" in result.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["note.txt"]
