"""Data, from what a user has to what a cell of a sweep asks for.

files/ reads arrays by role -> `pairs` judges their values -> `prepared` splits and standardises
them -> `pair_source` is what a cell draws from; `loading` does all of it, `published` knows data
sets by name. `sources` is the registry of everything that a cell can draw from, generators too.
"""
