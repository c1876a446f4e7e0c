"""Floor 4: the only place where data, model and objective meet."""
