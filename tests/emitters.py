"""XLA's older emitters make code of a CPU in half the time; a later XLA may not know the flag."""

import importlib.metadata

OLDER = ('--xla_cpu_use_fusion_emitters=false'
         if importlib.metadata.version('jaxlib').startswith('0.10.') else '')
