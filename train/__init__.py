"""How it is trained: data sets, the loop, evaluation, ``draw-train`` and ``draw-eval``."""

import os

# Left over from a scheduler, and read by Fabric as whole numbers the moment it is imported, wanted or not.
for _name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
    if not os.environ.get(_name, "0").isdecimal():
        del os.environ[_name]
os.environ.pop(
    "LT_CLI_USED", None
)  # of `fabric run`: would put LT_DEVICES and others in the place of our options
