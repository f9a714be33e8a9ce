"""SAM and SAM-HQ: ONNX graphs built from safetensors weights, preprocessing and prompt encoding."""
