"""Bad input ends with one line and exit status 2, and leaves everything as it was."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import run
from in_process import contents, invoke
from PIL import Image

from cgt_tf.formats.native import save_model
from cgt_tf.networks.gan import create_gan
from cgt_tf.networks.spec import GanSpec

COMMANDS = ("prepare", "import_", "train", "evaluate", "sample", "export", "features")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_answers_quickly_and_without_tensorflow(command):
    code = (
        "import sys, time; start = time.monotonic()\n"
        f"sys.argv = ['cgt-{command.rstrip('_')}', '--help']\n"
        f"from cgt_tf.cli import {command}\n"
        f"try: {command}.entry_point()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    start = time.process_time()
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert f"cgt-{command.rstrip('_')}" in result.stdout
    assert time.process_time() - start < 2


def test_a_reader_that_has_gone_is_no_traceback():
    command = f"{sys.executable} -m cgt_tf.cli.train --help | head -1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert result.stdout.startswith("cgt-train") and not result.stderr


def check(capfd, directory, command, arguments, expected):
    """Status 2, one line that says what was expected, nothing changed below the directory."""
    before = contents(directory)
    capfd.readouterr()
    status = invoke(command, *arguments)
    errors = capfd.readouterr().err
    lines = [line for line in errors.splitlines() if line.startswith("cgt-")]
    assert status == 2, errors
    assert len(lines) == 1 and lines[0].startswith(f"cgt-{command.rstrip('_')}: error: ")
    assert expected in lines[0]
    assert "Traceback" not in errors
    assert contents(directory) == before


NO_NUMBER = "must be a finite number, got nan"
FLAGS = [
    ("train", "", "expected --workdir="),
    ("train", "--config.method.name=gan", "must be one of cgan_transfer"),
    ("train", "--config.training.steps=0", "training.steps must be at least 1, got 0"),
    ("train", "--config.training.steps=many", "many"),
    ("train", "--config.training.steps=1e20", "1e20"),
    ("train", "--config.training.stepz=1", "stepz"),
    ("train", "--config.training.batch_size=0", "must be in [1, 1048576], got 0"),
    ("train", "--config.training.batch_size=2000000", "must be in [1, 1048576], got 2000000"),
    ("train", "--config.training.accumulation=-1", "must be at least 1, got -1"),
    ("train", "--config.training.d_steps=0", "d_steps must be at least 1"),
    ("train", "--config.training.log_every=0", "log_every must be at least 1"),
    ("train", "--config.training.sample_every=-1", "sample_every must be at least 0"),
    ("train", "--config.training.ema_decay=1", "ema_decay must be in [0, 1), got 1"),
    ("train", "--config.training.ema_decay=nan", "ema_decay must be in [0, 1), got nan"),
    ("train", "--config.training.r1_gamma=nan", f"r1_gamma {NO_NUMBER}"),
    ("train", "--config.training.r1_gamma=inf", "r1_gamma must be a finite number, got inf"),
    ("train", "--config.training.collapse_share=nan", f"collapse_share {NO_NUMBER}"),
    ("train", "--config.training.precision=float16", "needs scaled losses"),
    ("train", "--config.training.precision=double", "must be one of float32, bfloat16"),
    ("train", "--config.training.on_divergence=pray", "must be one of stop, reduce_lr"),
    ("train", "--config.training.strategy=tpu", "must be one of auto"),
    ("train", "--config.generator.beta_1=1.5", "must be in [0, 1), got 1.5"),
    ("train", "--config.generator.beta_2=nan", "must be in [0, 1), got nan"),
    ("train", "--config.generator.epsilon=0", "epsilon must be above 0, got 0"),
    ("train", "--config.generator.epsilon=nan", f"epsilon {NO_NUMBER}"),
    ("train", "--config.generator.learning_rate=nan", f"learning_rate {NO_NUMBER}"),
    ("train", "--config.generator.learning_rate=-1", "learning_rate must be at least 0, got -1"),
    ("train", "--config.discriminator.learning_rate=inf", "must be a finite number, got inf"),
    ("train", "--config.discriminator.warmup_steps=-1", "warmup_steps must be at least 0"),
    ("train", "--config.discriminator.freeze_blocks=-1", "freeze_blocks must be at least 0"),
    ("train", "--config.augmentation.policy=blur", "must be one of color"),
    ("train", "--config.augmentation.adaptive", "needs --config.augmentation.policy"),
    ("train", "--config.augmentation.ada_target=2", "ada_target must be in [-1, 1], got 2"),
    ("train", "--config.augmentation.ada_target=nan", "ada_target must be in [-1, 1], got nan"),
    ("train", "--config.augmentation.ada_kimg=0", "ada_kimg must be above 0, got 0"),
    ("train", "--config.augmentation.ada_kimg=nan", f"ada_kimg {NO_NUMBER}"),
    ("train", "--config.evaluation.metrics=", "metrics must name at least one of fid"),
    ("train", "--config.evaluation.metrics=psnr", "psnr"),
    ("train", "--config.evaluation.num_samples=1", "num_samples must be at least 2"),
    ("train", "--config.evaluation.batch_size=0", "batch_size must be in [1, 1048576]"),
    ("train", "--config.evaluation.truncation=0", "truncation must be in (0, 1], got 0"),
    ("train", "--config.evaluation.truncation=nan", "truncation must be in (0, 1], got nan"),
    ("train", "--config.evaluation.protocol=mine", "must be one of run"),
    ("train", "--config.source_truncation=nan", "source_truncation must be in (0, 1], got nan"),
    ("train", "--config.source=", "source must be a handle"),
    ("train", "--config.seed=-1", "seed must be from 0"),
    ("train", "--config.seed=5000000000", "seed must be from 0"),
    ("train", "--config.data.train=", "must name a dataset"),
    ("train", "--config.data.images_per_class=-5", "images_per_class must be at least 0"),
    ("train", "--config.model.resolution=33", "must be one of 32, 64, 128, 256, 512, got 33"),
    ("train", "--config.model.channels=99999999", "channels must be in [0, 65536]"),
    ("train", "--config.model.g_widths=4,0", "g_widths must be in [1, 65536], got 0"),
    ("train", "--config.model.embedding_gain=nan", f"embedding_gain {NO_NUMBER}"),
    ("train", "--config.cgan_transfer.l1_scores=nan", "l1_scores"),
    ("train", "--config.bsa.emd=1", "a knob of the method bsa"),
    ("train", "--wordkir=x", "wordkir"),
    ("train", "--flagfile=missing.flags", "missing.flags"),
    ("train", "word", "expected flags only"),
    ("evaluate", "", "expected --workdir="),
    ("evaluate", "--workdir=x --metrics=psnr", "psnr"),
    ("evaluate", "--workdir=x --model=y", "got --workdir and --model"),
    ("evaluate", "--workdir={tmp} --output={tmp}", "--output must be a file"),
    ("evaluate", "--workdir={tmp} --truncation=nan", "--truncation to be a finite number"),
    ("evaluate", "--workdir={tmp}", "expected a run of cgt-train"),
    ("export", "--workdir=x", "expected --output="),
    ("export", "--format=pb", "pb"),
    ("export", "--workdir=x --output={tmp} --format=tflite", "expected a new directory for the"),
    ("export", "--workdir={tmp} --output={tmp}/new", "expected a run of cgt-train"),
    ("sample", "--model=x", "expected --output="),
    ("sample", "--model=x --output=a.gif", "--output to end in .png"),
    ("sample", "--model=x --output=a.png --truncation=2", "--truncation in (0, 1], got 2"),
    ("sample", "--model=x --output=a.png --truncation=nan", "in (0, 1], got nan"),
    ("sample", "--model=x --output={tmp}/no/a.png", "in an existing directory"),
    ("sample", "--model=x --output={tmp}/a.png --scale=100000", "100000"),
    ("sample", "--model=x --output={tmp}/a.png --seed=1e20", "1e20"),
    (
        "sample",
        "--model=x --output={tmp}/a.png --seed=99999999999999999999",
        "99999999999999999999",
    ),
    ("sample", "--model=bundled:../.. --output={tmp}/a.png", "expected bundled:<name>"),
    ("sample", "--model=ftp:x --output={tmp}/a.png", "ftp:x"),
    ("import_", "--source=model:{tmp} --output={tmp}/new --bn_eps=nan", "--bn_eps to be a finite"),
    ("import_", "--source=model:{tmp} --output={tmp}/new --sn_eps=0", "number above 0, got 0"),
    ("import_", "--source=model:{tmp} --output={tmp}/new", "expected a model directory"),
    ("import_", "--source=pth:{tmp}/a.pth --output={tmp}/new", "a.pth"),
    ("import_", "--source=bundled:glyphs32 --output={tmp}/new --truncation=0", "--truncation in"),
    (
        "export",
        "--workdir={tmp} --output={tmp}/new --format=native --precision=bfloat16",
        "--precision=bfloat16 needs --format=saved_model, got native",
    ),
    (
        "export",
        "--workdir={tmp} --output={tmp}/new --format=tflite --precision=float16",
        "--precision=float16 needs --format=saved_model or native, got tflite",
    ),
    ("features", "--data=x --output=x.h5", "to end in .keras"),
    ("features", "--data=x --output={tmp}/x.keras --learning_rate=nan", "number above 0, got nan"),
    ("features", "--data={tmp}/no --output={tmp}/x.keras", "expected bundled:glyphs"),
    ("prepare", "--images={tmp}/no --output={tmp}/new --resolution=32", "found nothing at"),
]


@pytest.mark.parametrize(("command", "arguments", "expected"), FLAGS)
def test_wrong_flags(capfd, tmp_path, command, arguments, expected):
    (tmp_path / "kept.txt").write_text("kept")
    check(capfd, tmp_path, command, arguments.format(tmp=tmp_path).split(), expected)


def test_it_is_the_same_in_a_process_of_its_own(tmp_path):
    result = run("train", "--config.training.steps=0", check=False)
    assert result.returncode == 2
    line = "cgt-train: error: --config.training.steps must be at least 1, got 0"
    assert result.stderr.strip() == line


# Directories, and what is in them.


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A native model directory of a tiny GAN."""
    fields = {"resolution": 32, "num_classes": 2, "dim_z": 8, "g_widths": (4, 4, 4, 4)}
    gan = create_gan(GanSpec(**fields, d_widths=(4, 4, 4), d_halvings=2), ["ape", "bee"])
    return save_model(gan, tmp_path_factory.mktemp("model") / "model", {})


def spec_with(**fields):
    def change(directory):
        path = directory / "spec.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return change


def promise_more(directory):
    """An archive whose header says that an array has 4 TB."""
    import zipfile

    source = directory / "generator.npz"
    with zipfile.ZipFile(source) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in parts if name.startswith("linear/kernel"))
    data = parts[name]
    start, end = data.index(b"'shape': ("), data.index(b"), }")
    header = data[:start] + b"'shape': (1000000, 1000000"
    parts[name] = header + data[end : end + 4] + data[end + 4 :]
    size = int.from_bytes(data[8:10], "little") + len(header) - end
    parts[name] = parts[name][:8] + size.to_bytes(2, "little") + parts[name][10:]
    with zipfile.ZipFile(source, "w") as archive:
        for key, value in parts.items():
            archive.writestr(key, value)


def link_out(directory):
    (directory / "generator.npz").unlink()
    (directory / "generator.npz").symlink_to("/etc/hostname")


def write(name, content):
    def change(directory):
        (directory / name).write_bytes(content)

    return change


MODELS = [
    (spec_with(num_classes=10**12), "num_classes must be at most"),
    (spec_with(num_classes=-1), "num_classes must be a finite number of at least 0"),
    (spec_with(num_classes="2"), "num_classes must be int, got str"),
    (spec_with(num_classes=2.5), "num_classes must be int, got float"),
    (spec_with(num_classes=True), "num_classes must be int, got bool"),
    (spec_with(g_widths=4), "g_widths must be a list, got int"),
    (spec_with(g_widths=[4] * 99), "g_widths must have at most 32 items"),
    (spec_with(g_widths=[4, 4, 4, None]), "g_widths must be int, got NoneType"),
    (spec_with(dim_z=65536, g_widths=[65536] * 4), "expected a network that fits memory"),
    (spec_with(bn_eps=float("nan")), "bn_eps must be a finite number"),
    (spec_with(bn_eps=-1.0), "bn_eps must be a finite number of at least 0"),
    (spec_with(wrapper="x"), "wrapper must be one of"),
    (spec_with(unknown=1), "unknown"),
    (write("spec.json", b"[" * 100_000), "expected the JSON of a GanSpec"),
    (write("spec.json", b"\xff\xfe"), "expected a model directory with spec.json"),
    (write("class_names.txt", b"ape\n"), "expected 2 class names"),
    (write("generator.npz", b"PK\x03\x04"), "expected weights in"),
    (write("provenance.json", b"{"), "expected JSON in"),
    (promise_more, "holds less than its header says"),
    (link_out, "expected a file inside the model directory, got a link"),
]


@pytest.mark.parametrize(("change", "expected"), MODELS)
def test_damaged_models(capfd, tmp_path, model, change, expected):
    damaged = Path(shutil.copytree(model, tmp_path / "model"))
    change(damaged)
    arguments = [f"--model=model:{damaged}", f"--output={tmp_path}/a.png"]
    check(capfd, tmp_path, "sample", arguments, expected)


def photos(directory, names=("cat", "dog"), count=2):
    for name in names:
        (directory / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (32, 32), (40 * i, 90, 9)).save(directory / name / f"{i}.png")
    return directory


def no_folder(directory):
    (directory / "photos").mkdir()


def no_image(directory):
    photos(directory / "photos")
    (directory / "photos" / "owl").mkdir()


def not_an_image(directory):
    photos(directory / "photos", ("cat",))
    (directory / "photos" / "owl").mkdir()
    (directory / "photos" / "owl" / "1.png").write_bytes(b"no image")


def old_class(directory):
    photos(directory / "photos", ("ape", "dog"))


def other_heldout(directory):
    photos(directory / "photos")
    photos(directory / "more", ("cat",))


DATA = [
    (no_folder, "", "expected one folder per class"),
    (no_image, "", "class 'owl' has none"),
    (not_an_image, "", "class 'owl' has none"),
    (old_class, "", "got classes of the source: ape"),
    (lambda d: photos(d / "photos"), "--config.data.classes=cat,cow", "got 'cow'"),
    (lambda d: photos(d / "photos"), "--config.data.images_per_class=9", "at least 9 images"),
    (other_heldout, "--config.data.heldout={tmp}/more", "held-out images (--config.data.heldout)"),
    (lambda d: photos(d / "photos"), "--workdir={tmp}/photos", "--workdir to be new or a run"),
    (lambda d: photos(d / "photos"), "--workdir={tmp}/photos/cat/0.png", "to be a directory"),
]


@pytest.mark.parametrize(("make", "arguments", "expected"), DATA)
def test_data_that_cannot_be_used(capfd, tmp_path, model, make, arguments, expected):
    place = tmp_path / "place"
    place.mkdir()
    make(place)
    given = [
        *(f"--config.source=model:{model}", f"--config.data.train={place}/photos"),
        *(f"--config.data.cache_dir={tmp_path}/cache", f"--workdir={place}/run"),
        *arguments.format(tmp=place).split(),
    ]
    check(capfd, place, "train", given, expected)


def test_places_that_cannot_be_written(capfd, tmp_path, model, monkeypatch):
    """Before anything is built; by a stand-in, as nothing is forbidden to root."""

    def refused(*arguments, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    source = f"--config.source=model:{model}"
    output = f"--output={tmp_path}/new"
    for command, arguments, expected in (
        ("train", [source, f"--workdir={tmp_path}/run"], "a --workdir that can be written"),
        ("export", [f"--workdir={tmp_path}/run", output], "--output in a place that can be"),
        ("sample", [f"--model=model:{model}", f"{output}.png"], "--output in a place that can be"),
        ("features", ["--data=x", f"{output}.keras"], "--output in a place that can be"),
        ("import_", [f"--source=model:{model}", output], "--output in a place that can be"),
    ):
        check(capfd, tmp_path, command, arguments, expected)


def test_a_malformed_tf_config(capfd, tmp_path, model, monkeypatch):
    place = photos(tmp_path / "photos")
    arguments = [f"--config.source=model:{model}", f"--config.data.train={place}"]
    arguments += ["--config.training.strategy=multi_worker", f"--workdir={tmp_path}/run"]
    for text in ("{", "[]", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker"}}'):
        monkeypatch.setenv("TF_CONFIG", text)
        check(capfd, tmp_path, "train", arguments, "expected TF_CONFIG=")


def test_a_foreign_run_names_no_program(capfd, tmp_path, model):
    from cgt_tf.methods.registry import create_config
    from cgt_tf.runs.run_dir import RunDir

    config = create_config("scratch")
    config.evaluation.features = f"savedmodel:{tmp_path}/program"
    RunDir(tmp_path / "run").open(config, ["ape"])
    expected = "which is a program: give it with --features, or --trust the run"
    check(capfd, tmp_path, "evaluate", [f"--workdir={tmp_path}/run"], expected)


def test_mixtures_of_nothing(model):
    import tensorflow as tf

    from cgt_tf.export.serving import make_signatures
    from cgt_tf.export.stored import StoredWeights
    from cgt_tf.networks.extended import extended_from
    from cgt_tf.runs.handles import load_source

    extended = extended_from(load_source(f"model:{model}"))
    signature = make_signatures(extended, StoredWeights(extended))["mix"]
    z = tf.zeros((1, 8))
    for weights in ([0.0, 0.0], [-1.0, 2.0], [np.nan, 1.0]):
        with pytest.raises(tf.errors.InvalidArgumentError, match="numbers >= 0, not all 0"):
            signature(class_weights=tf.constant([weights], tf.float32), z=z)
