"""cgt-prepare as a user runs it: in a process of its own."""

import os
import subprocess
import sys

import pytest
from PIL import Image


@pytest.fixture
def images(tmp_path):
    root = tmp_path / "images"
    for name in ("cat", "été 写真"):
        (root / name).mkdir(parents=True)
        for index in range(2):
            Image.new("RGB", (16, 16), (index, 0, 0)).save(root / name / f"{index}.png")
    (root / "cat" / "é.jpg").write_text("not a picture")
    return root


def prepare(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "cgt_tf.cli.prepare", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def assert_one_line_error(result, *parts):
    assert result.returncode == 2, result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("cgt-prepare: error: ") and "Traceback" not in result.stderr
    for part in parts:
        assert part in last


def test_report(images, tmp_path):
    output = tmp_path / "out put"
    arguments = f"--images={images}", "--resolution=16", f"--output={output}"
    result = prepare(*arguments)
    assert result.returncode == 0, result.stderr
    assert "    0      2  cat\n    1      2  été 写真\n" in result.stdout
    assert "skipped 1 file:\n  cat/é.jpg  not a picture in a known format\n" in result.stdout
    assert f"prepared 4 images of 2 classes at 16x16: {output}\n" in result.stdout
    assert f"next: cgt-train '--config.data.train={output}' " in result.stdout
    again = prepare(*arguments)
    assert again.returncode == 0 and "found, already prepared, 4 images" in again.stdout
    assert_one_line_error(prepare(*arguments[::2], "--resolution=8"), "overwrite")
    assert prepare(*arguments[::2], "--resolution=8", "--overwrite").returncode == 0


def test_names_print_in_any_encoding(images, tmp_path):
    result = prepare(f"--images={images}", CGT_TF_CACHE=str(tmp_path), PYTHONIOENCODING="ascii")
    assert result.returncode == 0, result.stderr
    assert "\\u5199\\u771f" in result.stdout


def test_class_without_usable_image(images, tmp_path):
    (images / "broken").mkdir()
    (images / "broken" / "a.png").write_bytes(b"")
    arguments = f"--images={images}", f"--output={tmp_path / 'deep' / 'out'}"
    result = prepare(*arguments)
    assert_one_line_error(result, "class 'broken' has none")
    assert "skipped 2 files:" in result.stderr
    assert "broken/a.png" in result.stderr and "cat/é.jpg" in result.stderr
    assert os.listdir(tmp_path) == ["images"]
    result = prepare(*arguments, "--drop_empty_classes")
    assert result.returncode == 0
    assert "warning: class 'broken' has no usable image and was dropped" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((), "--images"),
        (("--images=no/such/place",), "found nothing at no/such/place"),
        (("--image=x",), "Unknown command line flag 'image'"),
        (("--images=.", "--resolution=1.5"), "--resolution=1.5"),
        (("--images=.", "--resolution=4"), "[8, 1024]"),
        (("photos", "--images=."), "got the argument 'photos'"),
        (("--flagfile=no/such/file",), "no/such/file"),
    ],
)
def test_wrong_flags_are_one_line(arguments, part):
    result = prepare(*arguments)
    assert_one_line_error(result, part)
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("flag", ["--help", "-h", "--helpshort"])
def test_help(flag):
    result = prepare(flag)
    assert result.returncode == 0
    assert result.stdout.startswith("cgt-prepare: decodes")
    for name in ("images", "resolution", "output", "drop_empty_classes", "overwrite"):
        assert f"--{name}" in result.stdout


@pytest.mark.parametrize(("flag", "status"), [("--help", 0), ("--images=no/such/place", 2)])
def test_help_and_wrong_flags_need_no_tensorflow(flag, status):
    code = """if True:
        import sys
        from cgt_tf.cli import prepare
        try:
            prepare.entry_point()
        except SystemExit as end:
            sys.exit("imported" if "tensorflow" in sys.modules else end.code)
    """
    result = subprocess.run([sys.executable, "-c", code, flag], capture_output=True, text=True)
    assert result.returncode == status, result.stderr
