"""Files that a person of bad will would write, by format: headers that lie, bombs, pickles, links.

Each function writes its files into a folder and says how a command names them; `Harm` has what it
may refer to. A row of CRAFTED is one kind of malformed file of a format.
"""

from fuzzing.crafted import archives, hdf5, matlab, published, tables, tensors

CRAFTED = {**archives.CRAFTED, **tables.CRAFTED, **hdf5.CRAFTED, **matlab.CRAFTED,
           **tensors.CRAFTED, **published.CRAFTED}
