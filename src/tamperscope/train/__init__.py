"""Training: crops with their twins, a straight loop, and the export to ONNX. Needs the extra ``train``."""
