"""Claims about the diffusion package, each a test."""
