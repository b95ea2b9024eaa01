"""Packaging of ecdctr_tf; BUILD.md says why each dependency is there."""

from setuptools import setup

setup(
    name="ecdctr-tf",
    version="0.1.0",
    description=(
        "E-CDCTR: natural logs lift advertisement click-through-rate models, "
        "on TensorFlow"
    ),
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=[
        "ecdctr_tf",
        "ecdctr_tf.comparison",
        "ecdctr_tf.diagnostics",
        "ecdctr_tf.export",
        "ecdctr_tf.export.checks",
        "ecdctr_tf.export.server",
        "ecdctr_tf.input",
        "ecdctr_tf.input.beam",
        "ecdctr_tf.input.checking",
        "ecdctr_tf.input.conversion",
        "ecdctr_tf.input.datasets",
        "ecdctr_tf.input.inference",
        "ecdctr_tf.kernels",
        "ecdctr_tf.kinds",
        "ecdctr_tf.layers",
        "ecdctr_tf.metrics",
        "ecdctr_tf.models",
        "ecdctr_tf.monitoring",
        "ecdctr_tf.operation",
        "ecdctr_tf.optimizers",
        "ecdctr_tf.store",
        "ecdctr_tf.results",
        "ecdctr_tf.training",
        "ecdctr_tf.transfer",
    ],
    package_dir={"ecdctr_tf.input": "input", "ecdctr_tf.export": "export"},
    py_modules=["train_main"],
    package_data={
        "ecdctr_tf": ["py.typed"],
        "ecdctr_tf.export": ["*.cc"],
        "ecdctr_tf.input.datasets": ["*.toml"],
        "ecdctr_tf.kernels": ["*.cc"],
        "ecdctr_tf.results": ["*.jinja"],
    },
    install_requires=[
        "absl-py>=2.1,<3",
        "google-crc32c>=1.6,<2",
        "importlib_resources>=6.0,<8",
        "Jinja2>=3.1,<4",
        "matplotlib>=3.9,<4",
        "numpy>=1.26,<3",
        "prometheus_client>=0.21,<1",
        "pyarrow>=18,<27",
        "rich>=13,<16",
        "tensorboard>=2.19,<3",
        "tensorflow>=2.19,<2.22",
        "tensorflow-datasets>=4.9.9,<5",
        "tensorflow-recommenders>=0.7.7,<0.8",
        "tf_keras>=2.19,<2.22",
        "tqdm>=4.66,<5",
    ],
    extras_require={
        "beam": ["apache-beam>=2.77,<3"],
        "delta": ["deltalake>=1.1,<2"],
        "iceberg": ["pyiceberg>=0.10,<0.13"],
        "gpu": ["tensorflow[and-cuda]>=2.19,<2.22"],
        "server": [
            "grpcio>=1.68,<2",
            "tensorflow-serving-api>=2.19,<2.22",
            "Werkzeug>=3.1,<4",
        ],
        "test": [
            "hypothesis>=6,<7",
            "mypy>=2,<3",
            "pytest>=8,<10",
            "pytest-xdist>=3.6,<4",
            "PyYAML>=6,<7",
            "ruff>=0.14,<1",
        ],
    },
    entry_points={
        "console_scripts": [
            "ecdctr-train=train_main:run",
            "ecdctr-convert=ecdctr_tf.input.convert:run",
            "ecdctr-doctor=ecdctr_tf.input.doctor:run",
        ]
    },
)
