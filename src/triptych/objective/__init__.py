"""Floor 3: losses and scores. Knows a and b, outputs and targets; never what they show."""
