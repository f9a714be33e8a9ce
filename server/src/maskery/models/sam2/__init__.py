"""SAM 2, SAM 2.1 and EdgeTAM, for images: graphs written from safetensors weights, as for SAM."""
