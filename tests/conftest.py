"""One thread for each worker and for what it starts: faster for small tensors, alike everywhere."""

import os

# Read by PyTorch and NumPy when they are imported.
os.environ["OMP_NUM_THREADS"] = "1"
