"""How it is used: sessions, noise, sampling, classifying, scoring. NumPy and ONNX Runtime only."""
