"""`networks/` needs PyTorch, Keras or Ray: `make test-frameworks` runs it in an environment of each.

One process cannot hold both: where TensorFlow is loaded, the compiler that PyTorch brings crashes.
"""

import os

collect_ignore = {
    "": ["networks"],
    "torch": [
        "networks/test_keras.py",
        "networks/test_keras_distributed.py",
        "networks/test_ray.py",
        "networks/test_ray_trials.py",
    ],
    "keras": [
        "networks/test_pytorch.py",
        "networks/test_torch_distributed.py",
        "networks/test_ray.py",
        "networks/test_ray_trials.py",
    ],
    "ray": [
        "networks/test_examples.py",
        "networks/test_pytorch.py",
        "networks/test_torch_distributed.py",
        "networks/test_keras.py",
        "networks/test_keras_distributed.py",
    ],
}[os.environ.get("TRADEWIND_TEST_FRAMEWORK", "")]
