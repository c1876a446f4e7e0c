"""Floor 2: torch blocks with no modality in them."""
