"""What a run leaves on disk: workdir, checkpoints, provenance, reports, curves; and the signals that end it."""
