"""How it is trained: data sets, the loop, evaluation, ``draw-train`` and ``draw-eval``."""
