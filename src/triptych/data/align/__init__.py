"""Rows brought together: long recordings cut into windows, tables joined by key or by time. `apply.py` is the way in."""
