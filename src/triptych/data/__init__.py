"""Floor 3: rows, from any source to batches. Knows columns and rooms by their protocol, never what is in a cell."""
