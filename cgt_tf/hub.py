"""Modules of TF-Hub, which are Kaggle Models today: their addresses, and tensorflow-hub's cache.

tfhub.dev forwards to Kaggle; tensorflow-hub downloads from both. A module is the same under either
address, but each has a place of its own in the cache.
"""

import hashlib
import os
import re
import tarfile
import tempfile
import urllib.error
import zlib
from pathlib import Path

import tensorflow as tf

from cgt_tf.errors import InputError

FORMS = (
    "deepmind/biggan-128/2, https://tfhub.dev/<publisher>/<model>/<version>, "
    "https://www.kaggle.com/models/<owner>/<model>/tensorFlow1/<variation>/<version> or the "
    "directory of a module"
)
_HUB, _KAGGLE = "https://tfhub.dev/", "https://www.kaggle.com/models/"
_ON_KAGGLE = re.compile(r"(?:https?://)?(?:www\.)?kaggle\.com/models/([^?#]*?)/?(?:[?#].*)?")
# As pages of Kaggle are called, as they were called in 2023, and as its downloads are called.
_LONG = re.compile(r"([^/]+)/([^/]+)/frameworks/([^/]+)/variations/([^/]+)/versions/(\d+)")
_SHORT = re.compile(r"([^/]+)/([^/]+)/(tensorflow[12])/([^/]+)/(\d+)", re.IGNORECASE)
_FRAMEWORKS = {"tensorflow1": "tensorFlow1", "tensorflow2": "tensorFlow2"}
_DOWNLOAD_ERRORS = (
    *(OSError, ValueError, RuntimeError, EOFError, tarfile.TarError, zlib.error),
    tf.errors.OpError,
)


def address(handle: str) -> str:
    """The address that tensorflow-hub downloads a module from.

    Args:
        handle: `deepmind/biggan-128/2`; `deepmind/biggan/tensorFlow1/128/2`, as Kaggle's downloads
            are called; or an address at tfhub.dev, at Kaggle (with or without the words
            frameworks, variations and versions) or elsewhere.

    Raises:
        InputError: something else, or a model of Kaggle without its version or for TensorFlow.
    """
    on_kaggle = _ON_KAGGLE.fullmatch(handle)
    path = on_kaggle.group(1) if on_kaggle else handle
    found = _SHORT.fullmatch(path) or (on_kaggle and _LONG.fullmatch(path))
    framework = _FRAMEWORKS.get(found.group(3).lower()) if found else None
    if framework:
        owner, model, _, variation, version = found.groups()
        return f"{_KAGGLE}{owner}/{model}/{framework}/{variation}/{version}"
    if on_kaggle:
        raise InputError(
            f"expected a model for TensorFlow with its version, {_KAGGLE}<owner>/<model>/"
            f"tensorFlow1/<variation>/<version>, got {handle!r}"
        )
    if handle.startswith("deepmind/"):
        return _HUB + handle
    if handle.startswith(_HUB):
        return handle.partition("?")[0].rstrip("/")
    if not handle.startswith(("https://", "gs://")):
        raise InputError(f"expected {FORMS}, got {handle!r}")
    return handle


def download(handle: str, instead: str) -> Path:
    """The directory of a module, downloaded, or found in tensorflow-hub's cache.

    Args:
        handle: See `address`.
        instead: How a directory is given in its place, for the error.

    Raises:
        InputError: no such handle, or it could not be downloaded; says what to fetch by hand.
    """
    url = address(handle)
    try:
        import tensorflow_hub
    except ImportError as error:
        raise InputError(f"expected to download {url}, but {import_advice(error)}") from error
    try:
        return Path(tensorflow_hub.resolve(url))
    except _DOWNLOAD_ERRORS as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        # Where a server answered there is a network.
        refused = isinstance(error, urllib.error.HTTPError)
        advice = "" if refused else "connect to the network, or "
        raise InputError(
            f"expected to download {url}, got {reason}: {advice}fetch {url}?tf-hub-format="
            f"compressed by hand (a .tar.gz file) and unpack it into {place(url)}, where it is "
            f"looked for, or into any directory, and give {instead}"
        ) from error


def place(url: str) -> Path:
    """Where tensorflow-hub keeps the module of an address; $TFHUB_CACHE_DIR moves its cache."""
    cache = os.environ.get("TFHUB_CACHE_DIR") or Path(tempfile.gettempdir(), "tfhub_modules")
    return Path(cache) / hashlib.sha1(url.encode()).hexdigest()


def import_advice(error: ImportError) -> str:
    """Why tensorflow-hub cannot be imported, and what cures it."""
    if error.name == "pkg_resources":
        return (
            "tensorflow-hub imports pkg_resources, which setuptools has no more since version 81 "
            "(installing another package, torch for one, may have brought it): "
            "pip install 'setuptools<81'"
        )
    reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return f"tensorflow-hub cannot be imported, {reason}: pip install --upgrade tensorflow-hub"
