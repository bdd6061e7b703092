"""Packaging of cgt_tf."""

import re
from pathlib import Path

from setuptools import find_packages, setup

_ROOT = Path(__file__).parent
_COMMANDS = (
    "prepare",
    "import_",
    "train",
    "evaluate",
    "sample",
    "export",
    "features",
    "pack",
    "report",
)
# Stubs of TensorFlow Serving's messages; each release goes with the TensorFlow of its number.
_SERVING = ["tensorflow-serving-api>=2.18"]
# Downloads from TF-Hub: tensorflow-hub imports pkg_resources, which later ones lack.
_HUB = ["setuptools<81"]
# What cgt-export --format=onnx converts with, and checks what it wrote with.
_ONNX = ["onnx>=1.14", "onnxruntime", "tf2onnx>=1.17"]

setup(
    name="cgt_tf",
    version=re.search(r'VERSION = "(.+)"', (_ROOT / "cgt_tf/version.py").read_text())[1],
    description="Adds new classes to a pretrained class-conditional GAN from a few images each.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Typing :: Typed",
    ],
    packages=[*find_packages(include=["cgt_tf", "cgt_tf.*"]), "cgt_tf.configs"],
    # Beside the package in a checkout; inside of it in a wheel, where --preset finds them, too.
    package_dir={"cgt_tf.configs": "configs"},
    package_data={
        "cgt_tf": ["py.typed", "assets/*", "assets/*/*"],
        "cgt_tf.configs": ["README.md", "*/*.flags", "*/*.json"],
    },
    python_requires=">=3.10",
    install_requires=[
        "absl-py",
        "array_record>=0.5.0",
        "importlib_resources",  # tensorflow-datasets imports it without requiring it
        "keras>=3.8",
        "matplotlib",
        "ml-collections>=1.0",
        "numpy",
        "pillow>=10",
        "protobuf",
        "safetensors>=0.4",
        "tensorboard>=2.18",
        "tensorflow>=2.18",
        "tensorflow-datasets>=4.9.7",
        "tensorflow-gan==2.1.0",
        "tensorflow-hub>=0.16",
        "tqdm",
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]>=2.18"],
        "hub": _HUB,
        "torch": ["torch>=2.4"],
        "serving": _SERVING,
        "onnx": _ONNX,
        "dev": [
            *("jax", "pytest>=8", "pytest-xdist>=3", "ruff>=0.8", "scipy"),
            "setuptools>=70.1",  # builds wheels by itself
            # Imported by the metrics of tensorflow-gan, which the tests compare with.
            *("tensorflow-probability>=0.24", "tf_keras>=2.18"),
            *_HUB,
            *_ONNX,
            *_SERVING,
        ],
    },
    entry_points={
        "console_scripts": [
            # "import" is no module's name in Python.
            f"cgt-{name.rstrip('_')} = cgt_tf.cli.{name}:entry_point"
            for name in _COMMANDS
        ]
    },
)
