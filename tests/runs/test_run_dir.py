"""A run's directory: what a resumed run may change, damage that is found, one process at a time."""

import json
import subprocess
import sys

import numpy as np
import pytest

from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.methods.registry import create_config
from cgt_tf.runs import saved
from cgt_tf.runs.run_dir import RunDir

NAMES = ("ape", "bee")


def image_set(names=NAMES, changed=None):
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    if changed is not None:
        images[changed] += 1
    return ImageSet(images, np.arange(6, dtype=np.int32) % len(names), tuple(names), "random")


def opened(path, names=NAMES, images=None, last_step=None, **changes):
    config = create_config("scratch", seed=1)
    for path_, value in changes.items():
        group, _, name = path_.partition("__")
        setattr(getattr(config, group), name, value)
    run = RunDir(path)
    run.open(config, names, images or image_set(names), last_step)
    return run


@pytest.fixture
def run(tmp_path):
    return opened(tmp_path / "run")


def save(run, step, **values):
    state, gan = run.new_checkpoint(step)
    gan.mkdir()
    (gan / "generator.npz").write_bytes(b"weights %d" % step)
    state.with_suffix(".index").write_bytes(b"index %d" % step)
    state.with_name("state.data-00000-of-00001").write_bytes(b"data" * 100)
    run.complete_checkpoint(step)
    run.append_stats({"step": step, **values})


@pytest.mark.parametrize(
    ("names", "images", "message"),
    [
        (("ape", "cow"), None, "keeps its classes, got them without 'bee' and with 'cow'"),
        (("ape", "bee", "cow"), None, "got them with 'cow'"),
        (("bee", "ape"), None, "in another order"),
        (NAMES, image_set(changed=3), "keeps its training images: 'bee' has other images"),
        (NAMES, image_set(("ape", "bee")).few_shot(2, 0)[0], "'ape' has 2 images, there were 3"),
    ],
)
def test_a_resumed_run_keeps_its_classes_and_images(run, names, images, message):
    before = (run.path / "config.json").read_bytes()
    with pytest.raises(InputError, match=message):
        opened(run.path, names, images)
    assert (run.path / "config.json").read_bytes() == before


def test_what_may_change_is_noted_in_the_history(run):
    save(run, 10, fid=3.0)
    opened(run.path, training__steps=77, evaluation__every=5)
    record = json.loads((run.path / "config.json").read_text())
    changes = {"training.steps": [1000, 77], "evaluation.every": [200, 5]}
    assert record["history"] == [{"step": 10, "changes": changes}]
    assert run.config()["training"]["steps"] == 77
    assert run.scores() == {10: 3.0}
    with pytest.raises(InputError, match=r"got changes: training\.batch_size was 64, is 8"):
        opened(run.path, training__steps=77, evaluation__every=5, training__batch_size=8)
    with pytest.raises(InputError, match="at least the 10 steps that it has made"):
        opened(run.path, training__steps=5, last_step=5)


def test_scores_with_other_features_are_not_compared(run):
    save(run, 10, fid=3.0)
    opened(run.path, evaluation__features="inception")
    save(run, 20, fid=90.0)
    save(run, 30, fid=95.0)
    assert run.scores() == {20: 90.0, 30: 95.0}
    assert run.resolve_checkpoint("best") == 20


@pytest.mark.parametrize(
    ("best", "ranking"),
    [("fid", [10, 30, 20]), ("kid", [30, 10, 20]), ("precision", [20, 30, 10])],
)
def test_the_best_goes_by_the_score_that_the_config_names(tmp_path, best, ranking):
    run = opened(tmp_path / "run", evaluation__best=best)
    save(run, 10, fid=3.0, kid=0.2, precision=0.1)
    save(run, 20, fid=9.0, kid=0.9, precision=0.9)
    save(run, 30, fid=4.0, kid=-0.1, precision=0.5)
    save(run, 40)
    for count in (3, 2, 1):
        run.keep_checkpoints(1, count)
        assert run.saved_steps() == sorted([*ranking[:count], 40])
        assert run.resolve_checkpoint("best") == ranking[0]


@pytest.mark.parametrize("best", ["", "kid"])
def test_without_scores_the_last_checkpoint_is_the_best_and_that_is_said(tmp_path, best, caplog):
    run = opened(tmp_path / "run", evaluation__best=best)
    save(run, 10, fid=3.0)
    save(run, 20, fid=9.0)
    assert run.resolve_checkpoint("last") == 20 and not caplog.records
    assert run.resolve_checkpoint("best") == 20
    (line,) = [r.getMessage() for r in caplog.records]
    assert line == f"there are no scores, so step 20, the last checkpoint, is the best: {run.path}"


def test_another_criterion_looks_back_at_the_scores_there_are(run):
    save(run, 10, fid=3.0, kid=0.2)
    save(run, 20, fid=4.0, kid=0.1)
    assert run.resolve_checkpoint("best") == 10
    opened(run.path, evaluation__best="kid")
    assert run.scores() == {10: 0.2, 20: 0.1}
    assert run.resolve_checkpoint("best") == 20


def damage_by(run, step, change):
    change(saved.directory_of(run.path, step))


def truncate(directory):
    (directory / "state.data-00000-of-00001").write_bytes(b"data")


def zero(directory):
    (directory / "gan" / "generator.npz").write_bytes(bytes(len(b"weights 20")))


def lose(directory):
    (directory / "state.index").unlink()
    (directory / "gan" / "generator.npz").unlink()


def rename(directory):
    directory.rename(directory.with_name("step_0000030"))


def spoil(directory):
    (directory / "manifest.json").write_text('{"step": 20, "files": {"state.index": 3}}')


@pytest.mark.parametrize(
    ("change", "state", "gan"),
    [
        (truncate, 10, 20),
        (zero, 20, 10),
        (lose, 10, 10),
        (rename, 10, 10),
        (spoil, 10, 10),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(run, change, state, gan, caplog):
    save(run, 10)
    save(run, 20)
    damage_by(run, 20, change)
    assert run.newest_sound() == state
    assert run.resolve_checkpoint("last") == gan
    warned = [r.getMessage() for r in caplog.records if "is damaged" in r.getMessage()]
    assert warned and all("of step 20" in line or "of step 30" in line for line in warned)
    if gan == 10:
        with pytest.raises(InputError, match="expected a sound checkpoint of step"):
            run.resolve_checkpoint("30" if change is rename else "20")


def test_lost_checkpoints_are_said(run):
    assert run.newest_sound() is None
    save(run, 10)
    truncate(saved.directory_of(run.path, 10))
    with pytest.raises(InputError, match="to go on from"):
        run.newest_sound()
    zero(saved.directory_of(run.path, 10))
    with pytest.raises(InputError, match="all are damaged"):
        run.resolve_checkpoint("best")
    saved.directory_of(run.path, 10).rename(run.path / "elsewhere")
    with pytest.raises(InputError, match="to go on from"):
        run.newest_sound()


def test_other_folders_are_no_checkpoints(run, caplog):
    save(run, 10)
    (run.path / "checkpoints" / "step_foo").mkdir()
    assert run.saved_steps() == [10]
    assert "step_foo is no checkpoint" in caplog.text


def test_unfinished_checkpoints_are_removed(run):
    run.new_checkpoint(5)
    save(run, 10)
    run.new_checkpoint(15)
    run.keep_checkpoints(2, 3)
    names = sorted(p.name for p in (run.path / "checkpoints").iterdir())
    assert names == ["step_0000010", "step_0000015"]
    assert run.saved_steps() == [10]


# stats.jsonl and config.json.


def test_a_torn_last_line_is_left_out(run, caplog):
    run.append_stats({"step": 1, "fid": 2.0})
    with (run.path / "stats.jsonl").open("a") as file:
        file.write('{"step": 2, "fi')
    assert run.read_stats() == [{"step": 1, "fid": 2.0}]
    assert "last line is incomplete" in caplog.text
    run.truncate_stats(5)
    run.append_stats({"step": 3})
    assert [r["step"] for r in run.read_stats()] == [1, 3]


@pytest.mark.parametrize(
    "line",
    ["{", "[]", "{}", '{"step": "1"}', '{"step": 1, "fid": NaN}', "é", "1", '{"step": true}'],
)
def test_another_damaged_line_is_named(run, line):
    run.append_stats({"step": 1})
    with (run.path / "stats.jsonl").open("a", encoding="latin-1") as file:
        file.write(f"{line}\n")
    run.append_stats({"step": 2})
    with pytest.raises(InputError, match=r"on line 2 of .*stats\.jsonl"):
        run.read_stats()


@pytest.mark.parametrize("value", ["low", None, True, [1.0]])
def test_a_score_that_is_no_number_is_named(run, value):
    run.append_stats({"step": 1, "fid": 2.0})
    run.append_stats({"step": 3, "fid": value})
    with pytest.raises(InputError, match=r"a number as fid of step 3 in .*stats\.jsonl, got"):
        run.scores()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "1", "{}", '{"config": 1}', "[" * 100_000, '{"config": {}, "class_names": [1]'],
)
def test_a_damaged_config_is_one_line(run, text):
    (run.path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json") as error:
        run.config()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("entry", [1, {}, {"step": 1, "changes": []}, {"changes": {}}])
def test_a_damaged_history_is_one_line(run, entry):
    path = run.path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "history": [entry]}))
    with pytest.raises(InputError, match="expected steps and changes in the history"):
        run.scores()


# Who may write.

HOLD = """
import sys, time
from cgt_tf.runs.run_dir import RunDir
with RunDir(sys.argv[1]).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_process_trains_a_run(tmp_path):
    path = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(InputError, match=rf"process {other.pid} on .* does since 20"),
            RunDir(path).locked(),
        ):
            pass
        other.kill()
        other.wait()
    # The lock of a dead process is none.
    with RunDir(path).locked():
        opened(path)
    assert (path / "config.json").is_file()


def test_a_refused_run_leaves_nothing(tmp_path):
    path = tmp_path / "new" / "run"
    with pytest.raises(ZeroDivisionError), RunDir(path).locked():
        raise ZeroDivisionError
    assert not path.exists()
    (tmp_path / "photo.jpg").touch()
    with (
        pytest.raises(InputError, match="expected --workdir to be new or a run"),
        RunDir(tmp_path).locked(),
    ):
        pass
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["photo.jpg"]
    with pytest.raises(InputError, match="to be a directory, got the file"):
        RunDir(tmp_path / "photo.jpg").check_place()


def test_another_worker_neither_writes_nor_waits(tmp_path):
    """It may come before the first one has written anything, or while it writes."""
    path = tmp_path / "run"
    for name in (None, ".new-0-config.json"):
        if name:
            path.mkdir()
            (path / name).touch()
        worker = RunDir(path, chief=False)
        with worker.locked():
            worker.open(create_config("scratch"), NAMES, image_set())
        assert worker.newest_sound() is None and worker.scores() == {}
        assert not (path / "config.json").exists()
        own = worker.samples.parent
        assert own.is_dir() and not own.is_relative_to(tmp_path)
        del worker
        assert not own.exists()
