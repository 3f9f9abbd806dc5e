"""Malformed inputs made of valid ones, the real commands run on them, and witnesses of harm.

`valid` writes files of every format, `values`, `damage`, `crafted` and `places` make them wrong,
`draw` picks one of all these by (seed, number), `process` runs a command on it in a process of its
own and says what happened. A new format is one function and one row of `valid.FORMATS`.
"""
