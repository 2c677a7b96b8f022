"""Data sets: readers of the official files, fixed splits, and training batches made on the device."""
