"""Floor 3: fusion, heads, and the model put together. Knows columns, never what is in them."""
