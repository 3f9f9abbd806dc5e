"""The opcodes of pickles, protocol 0 to 5, which put values on a stack; no unpickler of Python.

What is read is data alone: numbers, text, bytes, lists, tuples, dicts, and NumPy's arrays by the
names of `pickle_values`. Any other name, and every opcode that would make an object, call something
or reach outside the file, is refused. Work, memory and what is nested are bounded; long bytes stay
in the file.
"""

import codecs
from collections.abc import Callable
import struct
from typing import Any

from mmalign_jax.data.files.formats import guard, pickle_values as values

_MOST_STEPS = 2_000_000   # opcodes
_MOST_BYTES = 2**27       # of text and bytes that are read at once
_MOST_LINE = 2**25        # of protocol 0
_SHORT = 4096             # bytes that are read at once; longer ones stay in the file
_REFUSED = {
    **dict.fromkeys('io', 'an instance of a class'), **dict.fromkeys('PQ', 'an object elsewhere'),
    **dict.fromkeys('\x81\x92', 'an instance of a class'),
    **dict.fromkeys('\x82\x83\x84', 'a registered object'),
    **dict.fromkeys('\x8f\x90\x91', 'a set, which has no order'),
    **dict.fromkeys('\x97\x98', 'a buffer outside the file')}


def load(file: guard.File) -> Any:
  """The value of the one pickle that a file holds from its beginning to its end.

  Raises:
    ValueError: damaged, or anything but data.
  """
  return _Machine(file).run()


class _Machine:
  """The stack, what lies below each mark of it, and what was put aside by number."""

  def __init__(self, file: guard.File):
    self.file, self.end = file, file.tell() + guard.length(file)
    self.stack: list[Any] = []
    self.below: list[list[Any]] = []
    self.memo: dict[int, Any] = {}
    self.bytes = 0

  def run(self) -> Any:
    """Steps until the end of the pickle."""
    read, steps = self.file.read, _STEPS
    for _ in range(_MOST_STEPS):
      code = read(1)
      if code == b'.':
        return self.result()
      if code not in steps:
        self.refuse(code)
      steps[code](self)
    raise ValueError(f'more than {_MOST_STEPS} steps; save its arrays as .npz')

  def result(self) -> Any:
    if len(self.stack) != 1 or self.below:
      raise ValueError('damaged: it ends before it is whole')
    if self.file.read(1):
      raise ValueError('there is more after the end of the pickle')
    return self.stack[0]

  def refuse(self, code: bytes) -> None:
    if not code:
      raise ValueError('cut off')
    what = _REFUSED.get(code.decode('latin-1'))
    if code == b'i':
      module, name = self.line().decode('latin-1'), self.line().decode('latin-1')
      values.named(module, name)
    raise ValueError(f'it holds {what}: of a pickle, only arrays, numbers and text in dicts, lists '
                     'and tuples are read' if what else f'damaged: byte {code!r} is no opcode')

  # -- bytes ---------------------------------------------------------------------------------------

  def take(self, count: int) -> bytes:
    """The next bytes."""
    self.bytes += count
    if count < 0 or self.bytes > _MOST_BYTES:
      raise ValueError(f'more than {_MOST_BYTES} bytes of short text; save its arrays as .npz')
    data = self.file.read(count)
    if len(data) < count:
      raise ValueError('cut off')
    return data

  def line(self) -> bytes:
    """Up to the end of a line."""
    data = self.file.readline(_MOST_LINE + 1)
    self.bytes += len(data)
    if not data.endswith(b'\n'):
      raise ValueError('a line that does not end, or is too long' if data else 'cut off')
    if self.bytes > _MOST_BYTES:
      raise ValueError(f'more than {_MOST_BYTES} bytes of text; save it in protocol 2 or later')
    return data[:-1]

  def whole(self, count: int, signed: bool = False) -> int:
    return int.from_bytes(self.take(count), 'little', signed=signed)

  def span(self, count: int) -> int:
    """Where the next bytes begin, which are left in the file."""
    at = self.file.tell()
    if not 0 <= count <= self.end - at:
      raise ValueError(f'cut off: {count} bytes are claimed, and {self.end - at} are there')
    self.file.seek(at + count)
    return at

  # -- values --------------------------------------------------------------------------------------

  def push(self, value: Any) -> None:
    self.stack.append(value)

  def pop(self) -> Any:
    if not self.stack:
      raise ValueError('damaged: a value is missing')
    return self.stack.pop()

  def top(self, kind: type) -> Any:
    if not self.stack or type(self.stack[-1]) is not kind:
      raise ValueError(f'damaged: a {kind.__name__} is missing')
    return self.stack[-1]

  def marked(self) -> list[Any]:
    """What was put above the last mark."""
    if not self.below:
      raise ValueError('damaged: a mark is missing')
    found, self.stack = self.stack, self.below.pop()
    return found

  def put(self, place: int) -> None:
    if place < 0 or not self.stack:
      raise ValueError('damaged: nothing to put aside')
    self.memo[place] = self.stack[-1]

  def get(self, place: int) -> None:
    if place not in self.memo:
      raise ValueError(f'damaged: nothing was put aside as {place}')
    self.push(self.memo[place])

  def number(self, data: bytes) -> None:
    """A whole number in decimal digits, or 00 and 01."""
    text = data.decode('ascii').removesuffix('L')
    if len(text) > 24:
      raise ValueError('a whole number of more than 24 digits')
    self.push({'00': False, '01': True}.get(text) if text in ('00', '01') else int(text))

  def long(self, count: int) -> None:
    if not 0 <= count <= 10:
      raise ValueError(f'a whole number of {count} bytes')
    self.push(self.whole(count, True))

  def floating(self) -> None:
    data = self.line()
    if len(data) > 64:
      raise ValueError('a number of more than 64 digits')
    self.push(float(data))

  def bytestring(self, count: int) -> None:
    self.push(self.take(count) if 0 <= count <= _SHORT else values.Span(self.span(count), count))

  def text(self, count: int) -> None:
    self.push(str(self.take(count), 'utf-8', 'surrogatepass') if 0 <= count <= _SHORT
              else values.Text(self.span(count), count))

  def quoted(self) -> None:
    data = self.line()
    if len(data) < 2 or data[:1] != data[-1:] or data[:1] not in b'\'"':
      raise ValueError('damaged: a string without quotes')
    self.push(codecs.escape_decode(data[1:-1])[0])  # pyright: ignore[reportAttributeAccessIssue]

  # -- containers ----------------------------------------------------------------------------------

  def appends(self, items: list[Any]) -> None:
    self.top(list).extend(items)

  def items(self, into: dict[str, Any], pairs: list[Any]) -> None:
    """Keys and values in turn."""
    if len(pairs) % 2:
      raise ValueError('damaged: a key without a value')
    for key, value in zip(pairs[::2], pairs[1::2]):
      into[_key(key)] = value

  def call(self) -> None:
    arguments, name = self.pop(), self.pop()
    if not isinstance(name, values.Name) or type(arguments) is not tuple or name.call is None:
      raise ValueError('it calls what is no function')
    try:
      self.push(name.call(*arguments))
    except TypeError:
      raise ValueError(f'{name.name} with {len(arguments)} arguments') from None

  def build(self) -> None:
    state, made = self.pop(), self.stack[-1] if self.stack else None
    if type(made) is values.Dtype:
      values.fill_dtype(made, state)
    elif type(made) is values.Array:
      values.fill_array(made, state)
    else:
      raise ValueError('it sets the state of what is neither an array nor a type')

  def stack_global(self) -> None:
    name, module = self.pop(), self.pop()
    self.push(values.named(values.text(module), values.text(name)))


def _key(key: object) -> str:
  """The key of a dict as text."""
  if type(key) is int and abs(key) < 2**63:
    return str(key)
  return values.text(key)


def _tuple(count: int) -> Callable[[_Machine], None]:
  def step(m: _Machine) -> None:
    m.push(tuple(m.pop() for _ in range(count))[::-1])
  return step


def _protocol(m: _Machine) -> None:
  if (version := m.whole(1)) > 5:
    raise ValueError(f'protocol {version}; 0 to 5 are known')


def _frame(m: _Machine) -> None:
  count = m.whole(8)
  if count > m.end - m.file.tell():
    raise ValueError(f'cut off: a frame claims {count} bytes')


def _mark(m: _Machine) -> None:
  m.below.append(m.stack)
  m.stack = []


def _dict(m: _Machine) -> None:
  made: dict[str, Any] = {}
  m.items(made, m.marked())
  m.push(made)


def _set_item(m: _Machine) -> None:
  value, key = m.pop(), m.pop()
  m.items(m.top(dict), [key, value])


def _set_items(m: _Machine) -> None:
  pairs = m.marked()
  m.items(m.top(dict), pairs)


def _append(m: _Machine) -> None:
  value = m.pop()
  m.appends([value])


def _appends(m: _Machine) -> None:
  items = m.marked()
  m.appends(items)


def _global(m: _Machine) -> None:
  module, name = m.line(), m.line()
  m.push(values.named(module.decode('utf-8', 'replace'), name.decode('utf-8', 'replace')))


def _pop(m: _Machine) -> None:
  m.pop() if m.stack else m.marked()


def _line_number(m: _Machine) -> int:
  """The number in a line of protocol 0."""
  data = m.line()
  if not data.isdigit() or len(data) > 18:
    raise ValueError('damaged: a number is needed')
  return int(data)


def _twice(m: _Machine) -> None:
  value = m.pop()
  m.push(value), m.push(value)


_STEPS: dict[bytes, Callable[[_Machine], Any]] = {
    b'\x80': _protocol, b'\x95': _frame, b'(': _mark, b'0': _pop, b'1': _Machine.marked,
    b'2': _twice,
    b'N': lambda m: m.push(None), b'\x88': lambda m: m.push(True), b'\x89': lambda m: m.push(False),
    b'I': lambda m: m.number(m.line()), b'L': lambda m: m.number(m.line()),
    b'J': lambda m: m.push(m.whole(4, True)), b'K': lambda m: m.push(m.whole(1)),
    b'M': lambda m: m.push(m.whole(2)), b'\x8a': lambda m: m.long(m.whole(1)),
    b'\x8b': lambda m: m.long(m.whole(4, True)), b'F': _Machine.floating,
    b'G': lambda m: m.push(struct.unpack('>d', m.take(8))[0]),
    b'S': _Machine.quoted, b'T': lambda m: m.bytestring(m.whole(4, True)),
    b'U': lambda m: m.bytestring(m.whole(1)), b'C': lambda m: m.bytestring(m.whole(1)),
    b'B': lambda m: m.bytestring(m.whole(4)), b'\x8e': lambda m: m.bytestring(m.whole(8)),
    b'\x96': lambda m: m.bytestring(m.whole(8)),
    b'V': lambda m: m.push(str(m.line(), 'raw-unicode-escape')),
    b'X': lambda m: m.text(m.whole(4)), b'\x8c': lambda m: m.text(m.whole(1)),
    b'\x8d': lambda m: m.text(m.whole(8)),
    b']': lambda m: m.push([]), b'l': lambda m: m.push(m.marked()), b'a': _append, b'e': _appends,
    b'}': lambda m: m.push({}), b'd': _dict, b's': _set_item, b'u': _set_items,
    b')': lambda m: m.push(()), b't': lambda m: m.push(tuple(m.marked())),
    b'\x85': _tuple(1), b'\x86': _tuple(2), b'\x87': _tuple(3),
    b'p': lambda m: m.put(_line_number(m)), b'q': lambda m: m.put(m.whole(1)),
    b'r': lambda m: m.put(m.whole(4)), b'\x94': lambda m: m.put(len(m.memo)),
    b'g': lambda m: m.get(_line_number(m)), b'h': lambda m: m.get(m.whole(1)),
    b'j': lambda m: m.get(m.whole(4)),
    b'c': _global, b'\x93': _Machine.stack_global, b'R': _Machine.call, b'b': _Machine.build}
