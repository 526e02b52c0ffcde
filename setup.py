from pathlib import Path

from setuptools import find_packages, setup

# The hosts and one marked network go into the wheel as watermark/shipped; in a checkout they are read where they lie.
SHIPPED = ["*-host-0-*.keras", "*-host-0-*.json", "dncnn-marked-ours-0-*.keras", "dncnn-marked-ours-0-*.json"]
ONNX = ["onnx", "onnxruntime", "tf2onnx"]
TEST = ["pytest", "ipykernel", "kserve", "nbclient", "nbformat", "pytest-xdist", "setuptools>=64", *ONNX]
SITE = ["latex2mathml", "mkdocs-material", "mkdocstrings[python]", "pymdown-extensions"]

setup(
    name="watermark-image-dnn",
    version="0.1.0",
    description="Watermarks for image-processing networks (Quan et al., TNNLS 2020) in TensorFlow and Keras",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",  # as Keras; no Muon of an earlier one trains with TensorFlow
    packages=[*find_packages(include=["watermark", "watermark.*"]), "watermark.shipped"],
    package_dir={"watermark.shipped": "checkpoints"},
    py_modules=["watermark_image_dnn"],
    package_data={"watermark": ["pages/*", "py.typed"], "watermark.data": ["sets.json"],
                  "watermark.lab": ["paper.json"], "watermark.shipped": SHIPPED},
    entry_points={"console_scripts": ["watermark = watermark_image_dnn:main"]},
    install_requires=[
        "absl-py",
        "anyio",
        "ai-edge-litert",
        "cachetools",
        "cryptography",
        "filelock",
        "h5py",
        "httpx",
        "imagecodecs",
        "jinja2",
        # CVE-2026-0897, -1462, -1669 and what followed: https://github.com/keras-team/keras/releases/tag/v3.15.1
        "keras>=3.15.1",
        "matplotlib",
        "numpy",
        "pillow",
        "rfc3161-client>=1.0.3",  # CVE-2025-52556: before, a response's signature was not verified
        "rich>=14.1",
        "scikit-image",
        "scipy",
        "tensorflow>=2.18",
        "tifffile",
    ],
    extras_require={
        "gpu": ["jax"],  # for experiments/train_*_jax.py; which GPU, jax's own extras say, such as jax[cuda13]
        "onnx": ONNX,
        "ray": ["ray"],  # for --runner=ray
        "test": TEST,
        "dev": [*TEST, *SITE, "pre-commit", "ruff"],
    },
)
