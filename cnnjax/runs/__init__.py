"""What a run leaves on disk: workdir, checkpoints, provenance, reports, lines, pictures; and the signals that end it."""
