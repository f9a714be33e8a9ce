"""SAM and SAM-HQ: graphs written from safetensors weights, and what goes around them."""
