"""Advice on pairs of one's own: whether to align, with what, how strongly."""
