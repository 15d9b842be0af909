"""The pages in `docs/`: what of them is generated from the code."""
