"""Modules of TF-Hub and Kaggle: their addresses, the cache, and what a failed download says."""

import hashlib
import io
import shutil
import sys
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from cgt_tf import hub, tfgan
from cgt_tf.errors import InputError
from cgt_tf.features.loading import load_feature_net
from cgt_tf.runs.handles import load_source, read_source

MODULE = Path(__file__).parent / "goldens" / "hub_v1_tiny"
BIGGAN = "https://www.kaggle.com/models/deepmind/biggan/tensorFlow1/128/2"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*arguments, **options):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("handle", "url"),
    [
        ("deepmind/biggan-128/2", "https://tfhub.dev/deepmind/biggan-128/2"),
        ("https://tfhub.dev/deepmind/biggan-128/2", "https://tfhub.dev/deepmind/biggan-128/2"),
        (
            "https://tfhub.dev/deepmind/biggan-deep-256/1?tf-hub-format=compressed",
            "https://tfhub.dev/deepmind/biggan-deep-256/1",
        ),
        ("deepmind/biggan/tensorFlow1/128/2", BIGGAN),
        ("deepmind/biggan/tensorflow1/128/2", BIGGAN),
        (BIGGAN, BIGGAN),
        (f"{BIGGAN}/", BIGGAN),
        (f"{BIGGAN}?tfhub-redirect=true", BIGGAN),
        ("https://kaggle.com/models/deepmind/biggan/TensorFlow1/128/2", BIGGAN),
        (
            "https://www.kaggle.com/models/deepmind/biggan/frameworks/TensorFlow1/variations/128/"
            "versions/2",
            BIGGAN,
        ),
        ("https://example.org/my/module.tar.gz", "https://example.org/my/module.tar.gz"),
        ("gs://bucket/module.tar.gz", "gs://bucket/module.tar.gz"),
    ],
)
def test_both_forms_of_a_handle_have_one_address(handle, url):
    assert hub.address(handle) == url


@pytest.mark.parametrize(
    ("handle", "message"),
    [
        ("https://www.kaggle.com/models/deepmind/biggan", "with its version"),
        ("https://www.kaggle.com/models/deepmind/biggan/tensorFlow1/128", "with its version"),
        ("https://www.kaggle.com/models/google/gemma/pyTorch/2b/1", "a model for TensorFlow"),
        ("biggan-128", "expected deepmind/biggan-128/2, .*directory of a module, got 'biggan-128'"),
    ],
)
def test_what_is_no_module_is_an_input_error(handle, message):
    with pytest.raises(InputError, match=message):
        hub.address(handle)


@pytest.mark.parametrize("handle", ["deepmind/biggan-128/2", BIGGAN])
def test_a_module_in_the_cache_needs_no_network(cache, handle):
    # As tensorflow-hub names its places.
    name = hashlib.sha1(hub.address(handle).encode()).hexdigest()
    shutil.copytree(MODULE, cache / name)
    assert hub.place(hub.address(handle)) == cache / name
    assert load_source(f"tfhub:{handle}").spec.num_classes == 12


def test_the_default_cache_is_where_tensorflow_hub_looks(monkeypatch, tmp_path):
    from tensorflow_hub import compressed_module_resolver

    monkeypatch.delenv("TFHUB_CACHE_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert hub.place(BIGGAN) == Path(compressed_module_resolver._module_dir(BIGGAN))


def test_provenance_holds_a_checksum_of_every_file(cache):
    shutil.copytree(MODULE, hub.place(BIGGAN))
    (hub.place(BIGGAN) / "notes.txt").write_text("of no account")
    provenance = read_source(f"tfhub:{BIGGAN}").provenance
    names = ["saved_model.pb", "variables/variables.index"]
    assert {*names, "variables/variables.data-00000-of-00001"} == provenance["sha256"].keys()
    for name in names:
        digest = hashlib.sha256((MODULE / name).read_bytes()).hexdigest()
        assert provenance["sha256"][name] == digest
    assert load_source(f"tfhub:{BIGGAN}").provenance == provenance


@pytest.mark.parametrize(
    ("load", "url", "instead"),
    [
        (lambda: load_source(f"tfhub:{BIGGAN}"), BIGGAN, "tfhub:<directory>"),
        (
            lambda: load_feature_net("inception"),
            "https://tfhub.dev/tensorflow/tfgan/eval/inception/1",
            "inception:<folder>",
        ),
    ],
    ids=["source", "features"],
)
class TestWhatCannotBeHad:
    def test_without_a_network_the_file_and_its_place_are_named(self, cache, load, url, instead):
        with pytest.raises(InputError) as raised:
            load()
        text = str(raised.value)
        assert "Name or service not known" in text and "connect to the network" in text
        assert f"fetch {url}?tf-hub-format=compressed by hand" in text
        assert f"into {hub.place(url)}" in text and instead in text and "\n" not in text

    def test_a_server_that_refuses_is_no_missing_network(
        self, cache, load, url, instead, monkeypatch
    ):
        def refuse(*arguments, **options):
            raise urllib.error.HTTPError(url, 403, "Forbidden", {}, None)

        monkeypatch.setattr(urllib.request, "urlopen", refuse)
        with pytest.raises(InputError, match="got HTTP Error 403: Forbidden: fetch ") as raised:
            load()
        assert "connect to" not in str(raised.value)

    def test_missing_pkg_resources_is_named_with_its_cure(
        self, cache, load, url, instead, monkeypatch
    ):
        monkeypatch.delitem(sys.modules, "tensorflow_hub", raising=False)
        monkeypatch.setitem(sys.modules, "pkg_resources", None)
        with pytest.raises(InputError, match="pip install 'setuptools<81'") as raised:
            load()
        assert "network" not in str(raised.value)

    def test_a_package_that_is_missing_is_named(self, cache, load, url, instead, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorflow_hub", None)
        with pytest.raises(InputError, match=r"tensorflow_hub.*pip install --upgrade") as raised:
            load()
        assert "network" not in str(raised.value)


def test_a_page_in_the_place_of_a_module_is_one_line(cache, monkeypatch):
    class Page(io.BytesIO):
        def info(self):
            return {}

        def geturl(self):
            return BIGGAN

    monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **b: Page(b"<html>log in</html>"))
    with pytest.raises(InputError, match=r"expected to download .*, got ") as raised:
        load_source(f"tfhub:{BIGGAN}")
    assert isinstance(raised.value.__cause__, (tarfile.TarError, OSError))


def test_metrics_of_tensorflow_gan_name_the_cure_too(monkeypatch):
    metrics = "tensorflow_gan.python.eval.classifier_metrics"
    for name in [name for name in sys.modules if name.startswith("tensorflow_gan.python.eval")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, metrics, raising=False)
    monkeypatch.delitem(sys.modules, "tensorflow_hub", raising=False)
    monkeypatch.setitem(sys.modules, "pkg_resources", None)
    with pytest.raises(InputError, match="pip install 'setuptools<81'"):
        tfgan.classifier_metrics()
