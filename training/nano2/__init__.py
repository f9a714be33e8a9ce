"""`maskery/nano`, second generation: trained on one GPU, answered as a fold over clicks."""
