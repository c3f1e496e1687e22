"""From fitted estimators to one ONNX file."""
