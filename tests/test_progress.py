"""Progress of long computations where stderr is no terminal."""

import importlib
import sys
from types import SimpleNamespace

import pytest

from cgt_tf import progress
from cgt_tf.progress import Progress


def test_a_log_gets_a_line_now_and_then(monkeypatch, capsys):
    clock = iter([0.0, 10.0, 31.0, 40.0, 62.0, 63.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Progress("scored images", 500) as bar:
        for _ in range(5):
            bar.add(100)
    assert capsys.readouterr().err.splitlines() == [
        "scored images: 200 of 500 images",
        "scored images: 400 of 500 images",
    ]


def test_what_is_done_soon_prints_nothing(capsys):
    with Progress("features") as bar:
        bar.add(3)
    assert capsys.readouterr() == ("", "")


def test_lines_count_in_the_unit_that_is_named(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    with Progress("reading", unit="file") as bar:
        assert list(bar.over("ab")) == ["a", "b"]
    assert capsys.readouterr().err.splitlines() == ["reading: 1 files", "reading: 2 files"]


def test_an_item_is_done_when_the_next_is_asked_for(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    with Progress("reading", 2, "file") as bar:
        items = bar.over([1, 2])
        next(items)
        assert capsys.readouterr().err == ""
        next(items)
    assert capsys.readouterr().err == "reading: 1 of 2 files\n"


def test_what_is_not_shown_prints_nothing(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    with Progress("reading", 5, shown=False) as bar:
        bar.add(5)
    assert capsys.readouterr() == ("", "")


def test_a_line_is_said_on_stderr(capsys):
    progress.say("warning: low")
    assert capsys.readouterr() == ("", "warning: low\n")


@pytest.fixture
def in_a_notebook(monkeypatch):
    """tqdm.auto as a notebook with ipywidgets has it; yields the bars."""
    bars = []

    class Widget:
        def __init__(self, total, disable, **options):
            self.disable, self.n = disable, 0
            bars.append(self)

        def update(self, count):
            self.n += count

        def close(self):
            pass

    Widget.__module__ = "tqdm.notebook"
    monkeypatch.setitem(sys.modules, "tqdm.auto", SimpleNamespace(tqdm=Widget))
    yield bars
    monkeypatch.undo()
    importlib.reload(progress)


def test_a_notebook_shows_a_bar_where_there_is_no_terminal(in_a_notebook, capsys):
    module = importlib.reload(progress)
    with module.Progress("features", 3) as bar:
        bar.add(3)
    with module.Progress("hidden", 3, shown=False) as bar:
        bar.add(1)
    assert [(bar.disable, bar.n) for bar in in_a_notebook] == [(False, 3), (True, 1)]
    assert capsys.readouterr() == ("", "")
