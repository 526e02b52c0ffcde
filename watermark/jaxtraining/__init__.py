"""Training by Keras on JAX, for a machine with a GPU and without TensorFlow: `experiments/train_{hosts,jobs}_jax.py`.

Nothing here, and nothing that it imports, imports TensorFlow; `watermark.data` does, so images are read and degraded by
a few functions of this package's own, which tests/test_train_hosts_jax.py holds against those of `watermark.data`.
KERAS_BACKEND=jax must stand in the environment before Keras is imported.
"""

JOBS = "jobs.json"  # what `watermark.lab.elsewhere` writes and `jobs` reads
