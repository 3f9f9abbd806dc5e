"""A study on many machines: its shards are tasks of an engine that is there already.

`shard` is a task: a process of its own, which continues where another one of the same shard was
killed. `executors` gives tasks to processes of this machine, to SLURM (submitit) or to Ray. `drive`
waits, says how far the whole is, and gives lost tasks again.
"""
