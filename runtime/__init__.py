"""How it is used: sessions, noise, sampling, classifying, scoring, pictures. NumPy and ONNX Runtime only."""
