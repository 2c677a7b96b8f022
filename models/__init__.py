"""What is trained: attention, DRAW, the glimpse classifier, their configs, the checkpoint."""
