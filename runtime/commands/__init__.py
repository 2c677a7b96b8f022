"""What a terminal runs: ``draw-gen``, ``draw-classify``, ``draw-score`` and ``draw-doctor``."""

import os

# Before NumPy is imported: its OpenBLAS makes a thread for each CPU, which nothing here uses, and interrupts the process
# where there is no room for them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
