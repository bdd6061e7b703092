"""The flags of a config dataclass."""

import subprocess
import sys

import pytest

import cgt_tf

_COMMAND = """
import dataclasses
from cgt_tf.cli import common, config_flag

@dataclasses.dataclass
class Data:
    names: tuple[str, ...] = ("x",)
    sides: tuple[int, ...] = ()
    flip: bool = False

@dataclasses.dataclass
class Config:
    rate: float = 0.5
    data: Data = dataclasses.field(default_factory=Data)

CONFIG = config_flag.define_config(Config())

def main(argv):
    print(CONFIG.value)

common.run(main, "cgt-test", "A description.")
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "command.py").write_text(_COMMAND)

    def run(*arguments):
        command = [sys.executable, str(tmp_path / "command.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    return run


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("--config.rate=2", "rate=2.0"),
        ("--config.data.names=a b,1", "names=('a b', '1')"),
        ("--config.data.names=('a, b',)", "names=('a, b',)"),
        ("--config.data.names=", "names=()"),
        ("--config.data.sides=16,8", "sides=(16, 8)"),
        ("--config.data.flip", "flip=True"),
    ],
)
def test_values(run, argument, shown):
    result = run(argument)
    assert result.returncode == 0, result.stderr
    assert shown in result.stdout


def test_flagfile(run, tmp_path):
    (tmp_path / "a.flags").write_text("# comment\n--config.rate=3\n--config.data.names=a,b\n")
    result = run(f"--flagfile={tmp_path / 'a.flags'}", "--config.rate=4")
    assert "rate=4.0" in result.stdout and "names=('a', 'b')" in result.stdout


@pytest.mark.parametrize(
    ("argument", "part"),
    [
        ("--config.rat=2", "Unknown command line flag 'config.rat'"),
        ("--config.data.name=2", "Unknown command line flag 'config.data.name'"),
        ("--config.rate=x", "--config.rate=x"),
        ("--config.data.sides=16,x", "--config.data.sides=16,x"),
        ("--config.data.names=('a", "expected a,b or"),
        ("--flagfile=no/such/file", "no/such/file"),
    ],
)
def test_errors_are_one_line(run, argument, part):
    result = run(argument)
    assert result.returncode == 2
    assert result.stderr.startswith("cgt-test: error: ") and part in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_help_lists_every_field(run):
    result = run("--help")
    assert result.returncode == 0 and result.stdout.startswith("A description.")
    for line in ("--config.rate=0.5", "--config.data.names=x", "--config.data.flip=False"):
        assert line in result.stdout


def test_presets_are_listed_with_what_they_are(run):
    result = run("--list_presets")
    assert result.returncode == 0
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines["quickstart/glyphs_transfer"].startswith("The bundled source (80 glyph classes)")
    assert len(lines) > 40 and not any(name.startswith("base/") for name in lines)


def test_the_version_is_that_of_the_package(run):
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, f"cgt_tf {cgt_tf.__version__}\n")
