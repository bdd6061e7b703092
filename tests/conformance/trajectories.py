"""Five-step trajectories of tiny trainings, to hold every change of the training code against.

    python tests/conformance/trajectories.py --record [case ...]

writes tests/goldens/trajectories.json: for each case what each step reported, the norm of every
variable at the end and of its way from the start, and the draws of the first steps. Step sizes are
1e-4 and Adam's epsilon is 3e-2, so that rounding cannot flip an update.
"""

import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

GOLDEN = Path(__file__).parents[1] / "goldens" / "trajectories.json"
STEPS = 5
NAMES = ("x", "y", "z")
OLD = tuple(f"old{i}" for i in range(5))
REPLICAS = {"two_replicas": 2, "bsa_two_replicas": 2}

_RATES = {
    "bsa.code_learning_rate": 3e-4,
    "bsa.class_learning_rate": 2e-4,
    "bsa.linear_learning_rate": 1e-5,
}
_CODE = {
    "cgan_transfer.spectral_norm": True,
    "cgan_transfer.score_bias": True,
    "cgan_transfer.prior_bias": True,
    "cgan_transfer.latent_bias": True,
    "cgan_transfer.scores_init": "orthogonal",
    "cgan_transfer.residual_init": "normal",
    "training.accumulation": 3,
    "training.generator_accumulation": 1,
}
# What differs from the common settings, by the names of the knobs.
CASES = {
    "cgan_transfer": {},
    "cgan_transfer_shared_scores": {
        "cgan_transfer.per_layer_scores": False,
        "cgan_transfer.scores_init": "nearest",
        "cgan_transfer.reduction": "sum",
        "cgan_transfer.train_prior": False,
    },
    "cgan_transfer_code": _CODE,
    "cgan_transfer_controls": {
        "cgan_transfer.prior_init": "permuted",
        "cgan_transfer.prior_classes": 3,
        "cgan_transfer.equal_updates": True,
    },
    "bsa_adv": {"method.name": "bsa_adv", "bsa_adv.residual_init": "mean_old"},
    "scratch": {"method.name": "scratch"},
    "transfergan": {"method.name": "transfergan", "transfergan.class_init": "nearest"},
    "freeze_d": {"method.name": "freeze_d"},
    "bsa": {"method.name": "bsa", **_RATES, "bsa.decay": 0.5, "bsa.decay_every": 2},
    "bsa_accumulation": {"method.name": "bsa", **_RATES, "training.accumulation": 2},
    "fine_tuning": {"cgan_transfer.stages": ("fine_tune",)},
    "ada": {
        "augmentation.policy": ("color", "translation", "cutout"),
        "augmentation.adaptive": True,
        "augmentation.ada_target": -1.0,
        "augmentation.ada_kimg": 0.02,
        "augmentation.ada_every": 2,
        "data.flip": True,
    },
    "r1": {"training.r1_gamma": 2.0, "training.r1_every": 2, "training.accumulation": 2},
    "ramp": {"training.ramp_start": 1, "training.ramp_end": 4},
    "average": {
        "training.ema_start": 2,
        "training.ema_rampup": True,
        "generator.rampup_steps": 4,
        "discriminator.rampup_steps": 3,
    },
    "combined": {
        "training.r1_gamma": 2.0,
        "training.r1_every": 2,
        "training.accumulation": 2,
        "training.generator_accumulation": 3,
        "training.ramp_start": 1,
        "training.ramp_end": 4,
        "training.ema_start": 2,
        "training.ema_rampup": True,
        "generator.rampup_steps": 4,
        "discriminator.rampup_steps": 3,
    },
    "warm_up": {"discriminator.warmup_steps": 3},
    "accumulation": {"training.accumulation": 2, "training.generator_accumulation": 3},
    "d_steps_4": {"training.d_steps": 4},
    "two_replicas": {"training.strategy": "mirrored", "training.accumulation": 2},
    "bsa_two_replicas": {"training.strategy": "mirrored", "method.name": "bsa", **_RATES},
}
# Stopped after step 3 and started again; reproduces the case it is named after.
RESUMED = ("cgan_transfer", "ada", "bsa")
_COMMON = {
    "seed": 3,
    "generator.learning_rate": 1e-4,
    "generator.epsilon": 3e-2,
    "discriminator.learning_rate": 1e-4,
    "discriminator.epsilon": 3e-2,
    "training.steps": STEPS,
    "training.batch_size": 4,
    "training.ema_decay": 0.9,
    "training.ema_rampup": False,
    "training.log_every": 1,
    "training.sample_every": 0,
    "training.checkpoint_every": 3,
    "evaluation.every": 0,
    "model.g_widths": (8, 4, 4, 4),
    "model.d_widths": (4, 4, 8),
    "model.dim_z": 8,
}
_NOT_COMPARED = ("seconds", "images_per_second", "step", "stage")


def machine() -> str:
    """The processor and the libraries that the last digits of a case depend on."""
    from importlib.metadata import version

    cpu = next(
        (x for x in _lines("/proc/cpuinfo") if x.startswith("model name")), platform.processor()
    )
    flags = next((x for x in _lines("/proc/cpuinfo") if x.startswith("flags")), "")
    wide = [name for name in ("avx2", "avx512f", "amx_tile") if f" {name}" in flags]
    versions = [f"{name} {version(name)}" for name in ("tensorflow", "keras", "numpy")]
    return "; ".join([cpu.partition(":")[2].strip(), ",".join(wide), *versions])


def _lines(path):
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def write_inputs(directory: Path) -> None:
    """A source of random values at 8x8, and class folders of random images at 8x8 and 32x32."""
    for side in (8, 32):
        rng = np.random.default_rng(side)
        for name in NAMES:
            folder = directory / f"images_{side}" / name
            folder.mkdir(parents=True)
            for i in range(4):
                pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    save_source(directory / "source")


def knobs(case: str, directory: Path) -> dict:
    """All knobs of a case that are not at their defaults, by name."""
    own = CASES[case]
    side = 32 if own.get("method.name") == "scratch" else 8
    places = {
        "source": f"model:{directory / 'source'}",
        "data.train": str(directory / f"images_{side}"),
        "data.cache_dir": str(directory / "cache"),
    }
    if case == "fine_tuning":
        places["cgan_transfer.start"] = str(directory / "cgan_transfer")
    return {**places, **_COMMON, **own}


def reported(workdir: Path) -> list[dict]:
    """What each step wrote to stats.jsonl, in order."""
    text = (workdir / "stats.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in row.items() if k not in _NOT_COMPARED} for row in rows]


def norms(values: dict) -> dict:
    return {
        name: float(np.linalg.norm(np.asarray(value, np.float64).ravel()))
        for name, value in values.items()
    }


def trajectory(case: str, directory: Path, resumed: bool = False) -> dict:
    """Trains a case in `directory`, where `write_inputs` has been."""
    if case == "fine_tuning" and not (directory / "cgan_transfer").exists():
        trajectory("cgan_transfer", directory)
    workdir = directory / (f"{case}_resumed" if resumed else case)
    before, after, drawn = train(knobs(case, directory), workdir, resumed)
    moved = {name: after[name] - value for name, value in before.items()}
    return {
        "steps": reported(workdir),
        "norms": norms(after),
        "moved": norms(moved),
        "draws": drawn,
    }


# What follows knows the code under test.


def save_source(path: Path) -> None:
    from cgt_tf.formats.native import save_model
    from cgt_tf.networks.gan import create_gan
    from cgt_tf.networks.spec import GanSpec

    gan = create_gan(
        GanSpec(
            resolution=8,
            num_classes=len(OLD),
            dim_z=8,
            g_widths=(8, 8),
            d_widths=(8, 8),
            d_halvings=1,
            d_attention=(4,),
            shared_dim=6,
            hierarchical=True,
        ),
        list(OLD),
    )
    for network in (gan.generator, gan.discriminator):
        for i, variable in enumerate(network.variables):
            value = np.random.default_rng(i).normal(size=variable.shape).astype(np.float32)
            positive = variable.name == "moving_variance"
            variable.assign(np.abs(value) + 0.5 if positive else value / 2)
    save_model(gan, path, {})


def make_config(fields: dict):
    from cgt_tf.methods.registry import config_from_dict

    nested: dict = {}
    for name, value in fields.items():
        *groups, field = name.split(".")
        group = nested
        for part in groups:
            group = group.setdefault(part, {})
        group[field] = value
    return config_from_dict(nested)


def train(fields: dict, workdir: Path, resumed: bool) -> tuple[dict, dict, dict]:
    """Values of all variables before and after, by name, and draws of the first microbatches."""
    from cgt_tf.networks.weights import variable_name
    from cgt_tf.runs.run_dir import RunDir
    from cgt_tf.training.loop import TrainingRun
    from cgt_tf.training.session import Session

    def start():
        config = make_config(fields)
        session = Session.create(config)
        run = RunDir(workdir)
        training = TrainingRun(
            config, run, session.strategy, session.method, session.networks, session.train_images
        )
        run.open(config, session.networks.class_names)
        return training

    def values(training):
        found = {}
        for label, network in training.networks.named.items():
            for v in network.variables:
                found[f"{label}/{variable_name(v)}"] = v.numpy()
        for label, group in training.state.ema.shadow.items():
            for name, shadow in group.items():
                found[f"average/{label}/{name}"] = shadow.numpy()
        return found

    training = start()
    before = values(training)
    if resumed:
        keep = type(training.run).keep_checkpoints

        class Stopped(Exception):
            pass

        def stop(run, last, best):
            keep(run, last, best)
            if run.saved_steps()[-1] == 3:
                raise Stopped

        type(training.run).keep_checkpoints = stop
        try:
            training.train()
        except Stopped:
            pass
        finally:
            type(training.run).keep_checkpoints = keep
        training = start()
    training.train()
    return before, values(training), draws(training)


def draws(training) -> dict:
    """Images, labels, latents and generated labels of the first microbatches of all replicas."""
    import tensorflow as tf

    from cgt_tf.data.pipeline import index_stream
    from cgt_tf.training.draws import Draws

    config, strategy = training.config, tf.distribute.OneDeviceStrategy("/cpu:0")
    drawn = Draws(config.seed, config.training.batch_size, strategy)
    stream = index_stream(
        training.data, config.training.batch_size, config.seed, flip=config.data.flip
    )
    rows = []
    for key, (images, labels) in enumerate(stream.take(3)):
        with strategy.scope():
            z, fake = strategy.run(
                lambda key=key: drawn.of_microbatch(tf.constant(key, tf.int64)).latents(
                    8, len(NAMES)
                )
            )
        rows.append(
            {
                "images": int(np.sum(images.numpy(), dtype=np.int64)),
                "labels": labels.numpy().tolist(),
                "z": float(np.sum(z.numpy() * np.arange(1, 9))),
                "fake_labels": fake.numpy().tolist(),
            }
        )
    return {"microbatches": rows}


def compute(cases: list[str], directory: Path, resumed: bool = False) -> dict:
    """Trajectories by case; those of several replicas must be in a process of their own."""
    write_inputs(directory)
    return {case: trajectory(case, directory, resumed) for case in cases}


def compute_apart(case: str) -> dict:
    """The trajectory of a case with several replicas."""
    command = [sys.executable, __file__, "--apart", case]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(result.stderr[-3000:])
    return json.loads(result.stdout.splitlines()[-1])


def _split_devices(count: int) -> None:
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * count
    )


def main(arguments: list[str]) -> None:
    mode, *cases = arguments
    if mode == "--apart":
        _split_devices(REPLICAS[cases[0]])
        with tempfile.TemporaryDirectory() as directory:
            print(json.dumps(compute(cases, Path(directory))[cases[0]]))
        return
    cases = cases or list(CASES)
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {"cases": {}}
    for case in cases:
        if case in REPLICAS:
            found = compute_apart(case)
        else:
            with tempfile.TemporaryDirectory() as directory:
                found = compute([case], Path(directory))[case]
        golden["cases"][case] = {"machine": machine(), **found}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
