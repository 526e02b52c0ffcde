from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="watermark-image-dnn",
    version="0.1.0",
    description="Watermarks for image-processing networks (Quan et al., TNNLS 2020) in TensorFlow and Keras",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["watermark", "watermark.*"]),
    package_data={"watermark.data": ["sets.json"], "watermark.lab": ["*.mplstyle"]},
    install_requires=[
        "absl-py",
        "h5py",
        "keras>=3.12",
        "matplotlib",
        "numpy",
        "pillow",
        "rich>=14.1",
        "scikit-image",
        "scipy",
        "tensorflow>=2.18",
    ],
    extras_require={"test": ["pytest"], "dev": ["pytest", "pre-commit", "ruff"]},
)
