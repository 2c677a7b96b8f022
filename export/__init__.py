"""How it becomes a graph: the builder, the graphs, the parity check, ``draw-export``."""
