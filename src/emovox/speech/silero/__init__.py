"""Silero's voice activity detector as one ONNX file, with its licence."""
