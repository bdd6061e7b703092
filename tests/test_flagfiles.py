"""Flagfiles that include each other, presets by name, and what a wheel holds of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from cgt_tf import flagfiles
from cgt_tf.errors import InputError

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import index_flagfiles  # noqa: E402


@pytest.fixture
def files(tmp_path):
    """Flagfiles that include one another, from two folders."""
    texts = {
        "runs/mine.flags": "# comment\n\n--flagfile=../base/common.flags\n--b=2\n// comment\n",
        "base/common.flags": "--a=1\n--flagfile=more.flags\n",
        "base/more.flags": "  --c= x y\n",
        "runs/round.flags": "--flagfile=../base/back.flags\n",
        "base/back.flags": "--flagfile=../runs/round.flags\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_included_relative_to_the_including_file(files, monkeypatch):
    wanted = ["--z", "--a=1", "--c= x y", "--b=2", "--a=3"]
    assert flagfiles.expand(["--z", f"--flagfile={files}/runs/mine.flags", "--a=3"]) == wanted
    monkeypatch.chdir(files / "base")
    assert flagfiles.expand(["--z", "-flagfile", "../runs/mine.flags", "--a=3"]) == wanted


def test_nothing_is_read_after_two_dashes(files):
    given = ["--a", "--", "--flagfile=nowhere", "--preset=nothing"]
    assert flagfiles.expand(given) == given


def test_included_twice_is_read_twice(files):
    (files / "twice.flags").write_text("--flagfile=base/more.flags\n" * 2)
    assert flagfiles.expand([f"--flagfile={files}/twice.flags"]) == ["--c= x y"] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--flagfile=nowhere.flags"], "got nowhere.flags: No such file or directory"),
        (["--flagfile="], "expected a flagfile, got .: Is a directory"),
        (["--flagfile"], "expected a flagfile, got .: Is a directory"),
        (["--flagfile=runs/round.flags"], "expected flagfiles that do not include themselves"),
        (["--preset=nothing"], "expected a preset, one of .*quickstart/glyphs_transfer.*'nothing'"),
        (["--preset=bsa"], "one of cifar100/bsa, faithful/bsa, methods/bsa, got 'bsa'"),
        (["--preset=../quickstart/glyphs_transfer"], "expected a preset"),
        (["--flagfile=binary.flags"], "got binary.flags: no text in UTF-8"),
    ],
)
def test_errors(files, monkeypatch, arguments, message):
    (files / "binary.flags").write_bytes(b"\xff\xfe\x00")
    monkeypatch.chdir(files)
    with pytest.raises(InputError, match=message):
        flagfiles.expand(arguments)


def test_presets_are_the_flagfiles_of_the_package(files, monkeypatch):
    monkeypatch.chdir(files)
    path = ROOT / "configs/quickstart/glyphs_transfer.flags"
    lines = flagfiles.expand([f"--flagfile={path}"])
    assert "--config.source=bundled:glyphs32" in lines
    for name in ("glyphs_transfer", "quickstart/glyphs_transfer", "glyphs_transfer.flags"):
        assert flagfiles.expand([f"--preset={name}"]) == lines


def test_a_wheel_has_the_presets(tmp_path):
    """What setup.py builds, which is what a wheel is zipped from, alone on the path."""
    build = [sys.executable, "setup.py", "-q", "build", f"--build-base={tmp_path}"]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    code = (
        "from cgt_tf import flagfiles as f; print(f.directory());"
        "print(*f.expand(['--preset=methods/minegan']))"
    )
    environment = {"PYTHONPATH": str(tmp_path / "lib"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    place, arguments = done.stdout.splitlines()
    assert place == str(tmp_path / "lib/cgt_tf/configs")
    assert "--config.method.name=minegan" in arguments and "--config.source=bundled" in arguments


def test_the_index_is_made_of_the_files_that_are_there():
    text = (ROOT / "configs/README.md").read_text(encoding="utf-8")
    assert text == index_flagfiles.index(), "make it again: python tools/index_flagfiles.py"
    folders = {path.name for path in (ROOT / "configs").iterdir() if path.is_dir()}
    assert folders == set(index_flagfiles.FOLDERS)
