"""From a TF-Hub module, which has no discriminator, to a SavedModel: the whole route."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from helpers import make_feature_net, make_photos
from in_process import invoke

from cgt_tf.runs.handles import load_source

GOLDENS = Path(__file__).parents[1] / "goldens"


@pytest.mark.slow
@pytest.mark.parametrize("module", ["hub_v1_tiny", "hub_deep_tiny"])
def test_warm_up_transfer_scores_and_export(module, tmp_path):
    handle = f"tfhub:{GOLDENS}/{module}"
    make_photos(tmp_path / "photos", {"dog": 4, "emu": 4})
    make_feature_net(tmp_path / "features.keras")
    transfer = (
        f"--config.source={handle} --config.data.train={tmp_path}/photos "
        f"--config.data.cache_dir={tmp_path}/cache --workdir={tmp_path}/run "
        f"--config.evaluation.features={tmp_path}/features.keras --config.evaluation.every=2 "
        "--config.evaluation.num_samples=4 --config.training.steps=2 "
        "--config.training.batch_size=2 --config.training.log_every=1 "
        "--config.discriminator.warmup_steps=2"
    ).split()
    assert invoke("train", *transfer) == 0
    lines = (tmp_path / "run" / "stats.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    stages = [(r["stage"], r["step"]) for r in records if "discriminator_loss" in r]
    assert stages == [("warm_up", 1), ("warm_up", 2), ("propagate", 3), ("propagate", 4)]
    scores = [r["fid"] for r in records if "fid" in r]
    assert scores and np.all(np.isfinite(scores))

    export = (f"--workdir={tmp_path}/run", "--checkpoint=last", f"--output={tmp_path}/served")
    assert invoke("export", *export) == 0
    served = tf.saved_model.load(str(tmp_path / "served" / "1"))
    source = load_source(handle)
    z = np.random.default_rng(0).normal(size=(2, source.spec.dim_z)).astype(np.float32)
    labels = np.array([0, 11])
    images = served.signatures["from_latent"](label=tf.constant(labels), z=tf.constant(z))["image"]
    # Old classes stay as the module has them, but for the rounding of folded networks.
    np.testing.assert_allclose(images, source.generator(z, labels)[0], atol=1e-4)
    names = served.signatures["labels"](label=tf.constant([12, 13], tf.int64))["name"]
    assert names.numpy().tolist() == [b"dog", b"emu"]
