"""Floor 0: errors, settings, runtime choices. Knows nothing of the domain and imports nothing above itself."""
