"""Encoders by name (`sides.ENCODERS`), and what a side is made of: pure init and apply."""
