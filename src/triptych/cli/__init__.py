"""Floor 6: verbs. Parsing and tables only; heavy imports live inside the verbs."""
