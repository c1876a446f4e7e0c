"""Floor 5: takes a run folder, gives something to a person."""
