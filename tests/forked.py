"""Processes that begin with what they all import: forked from one that has it, and has no backend
of JAX. All else is as in one of their own: arguments, folder, streams, exit status."""

import json
import os
import select
import subprocess
import sys
import tempfile

_SERVER = """
import json, os, sys
exec(sys.argv[1])
for line in sys.stdin:
  code, sys.argv, folder, *streams = json.loads(line)
  pid = os.fork()
  if not pid:
    break
  print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
else:
  sys.exit()
for number, name in enumerate((os.devnull, *streams)):
  os.dup2(os.open(name, os.O_RDWR), number)
os.chdir(folder)
exec(code, {'__name__': '__main__'})
"""


# What launch/*.py imports, and the code that runs the one that the first argument names.
LIBRARIES = """
import absl.app, ml_collections.config_flags, mmalign_jax.cluster.executors
import mmalign_jax.studies.registry, mmalign_jax.studies.strength.plan
"""
LAUNCH = """
import runpy, sys
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


class Forked:
  """Runs code in forks of a process that has run `first`; to be closed."""

  def __init__(self, first: str, environment: dict[str, str], cwd: os.PathLike):
    self._server = subprocess.Popen([sys.executable, '-c', _SERVER, first], cwd=cwd, text=True,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

  def __call__(self, code: str, *arguments: object,
               cwd: os.PathLike) -> subprocess.CompletedProcess:
    with tempfile.NamedTemporaryFile('r') as out, tempfile.NamedTemporaryFile('r') as error:
      asked = [code, ['-c', *map(str, arguments)], str(cwd), out.name, error.name]
      self._server.stdin.write(json.dumps(asked) + '\n')
      self._server.stdin.flush()
      assert select.select([self._server.stdout], [], [], 300)[0], 'still running'
      status = int(self._server.stdout.readline())
      return subprocess.CompletedProcess(arguments, status, out.read(), error.read())

  def close(self) -> None:
    self._server.communicate(timeout=60)
