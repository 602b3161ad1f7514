"""Looking at a trained generator: grids, interpolations, latent arithmetic, and its export."""
