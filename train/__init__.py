"""How it is trained: data sets, the loop, evaluation, ``draw-train`` and ``draw-eval``."""

import os

# Left over from a scheduler, and read by Fabric as whole numbers the moment it is imported, wanted or not.
for _name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
    if not os.environ.get(_name, "0").isdecimal():
        del os.environ[_name]
# Fabric would take these in the place of our options and of the checkpoint's settings.
for _name in ("ACCELERATOR", "STRATEGY", "DEVICES", "NUM_NODES", "PRECISION", "CLI_USED"):
    os.environ.pop(f"LT_{_name}", None)
