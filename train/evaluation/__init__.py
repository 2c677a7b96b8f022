"""Figures of trained models: the bound, the error rate, what samples are like; ``draw-eval``."""
