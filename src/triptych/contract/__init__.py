"""Floor 1: the shapes everyone agrees on. Review this folder hardest: every room and every floor above speaks it."""
