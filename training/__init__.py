"""How the built-in model `maskery/nano` is made. See README.md."""
