"""Data sets at their owner's: what they are made of, one version of them as it is served, and reading parts of it."""
