"""What a run leaves on disk: workdir, checkpoints, provenance, reports, lines, pictures; and signals that end it."""
