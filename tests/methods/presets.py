"""The method settings of a preset's flagfile."""

from pathlib import Path

from cgt_tf.config import MethodConfig

CONFIGS = Path(__file__).parents[2] / "configs"


def preset(name: str) -> dict:
    """Fields of `MethodConfig` that configs/presets/<name>.flags sets, but for the name."""
    lines = (CONFIGS / "presets" / f"{name}.flags").read_text(encoding="utf-8").splitlines()
    pairs = [x.removeprefix("--config.method.").split("=") for x in lines if "config.method." in x]
    default = MethodConfig()
    return {k: type(getattr(default, k))(_value(v)) for k, v in pairs if k != "name"}


def _value(text):
    return {"True": 1, "False": ""}.get(text, text)
