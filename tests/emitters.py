"""How XLA makes code of a CPU soonest: the older emitters, in half the time, and, where nothing is
optimised, a program in one piece, in four fifths; a later XLA may not know the flags."""

import importlib.metadata

_KNOWN = importlib.metadata.version('jaxlib').startswith('0.10.')
OLDER = '--xla_cpu_use_fusion_emitters=false' if _KNOWN else ''
WHOLE = '--xla_cpu_parallel_codegen_split_count=1' if _KNOWN else ''
