"""Export of fitted estimators to one ONNX file, and quantisation."""
