"""Progress of long computations where stderr is no terminal."""

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
