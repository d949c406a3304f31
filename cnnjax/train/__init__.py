"""Training: one plan, one step, one loop; what a run is, and everything that keeps it alive."""
