"""Data sets that stay where they are: what is selected travels, and Zarr readers see them as a store."""
