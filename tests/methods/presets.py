"""The method settings of a preset's flagfile."""

from pathlib import Path

from cgt_tf.methods.cgan_transfer_settings import CGANTransferSettings

CONFIGS = Path(__file__).parents[2] / "configs"
_KNOB = "--config.cgan_transfer."


def preset(name: str) -> dict:
    """Fields of `CGANTransferSettings` that configs/base/<name>.flags sets."""
    lines = (CONFIGS / "base" / f"{name}.flags").read_text(encoding="utf-8").splitlines()
    pairs = [x.removeprefix(_KNOB).split("=") for x in lines if x.startswith(_KNOB)]
    default = CGANTransferSettings()
    return {k: type(getattr(default, k))(_value(v)) for k, v in pairs}


def _value(text):
    return {"True": 1, "False": ""}.get(text, text)
