"""Tags for geometries."""
