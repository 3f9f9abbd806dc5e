"""Reports: one document, three forms."""

import html.parser
import json

import numpy as np
import pytest

from mmalign_jax.reports import document, style
from mmalign_jax.reports.document import Document, Picture, Section, Table, Words

EVIL = '<script>alert("1")</script> & \'x\''


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  path = tmp_path_factory.mktemp('d') / 'curve.png'
  figure, axes = style.grid(2, 1)
  axes[0, 0].plot(np.arange(3))
  style.save(figure, path)
  return Document(EVIL, [
      Section('Answer', [Table(['name', 'gain'], [['a', '+1.0'], [EVIL, '-10.0']], left=(0,)),
                         Words('two\nlines')]),
      Section('Picture', [Picture(path, f'a curve {EVIL}')]),
      document.settings({'lam': (0.0, 1.0), 'name': 'x'})])


class Reader(html.parser.HTMLParser):
  """Tags in order, their attributes, and the text; refuses what is not closed."""

  def __init__(self):
    super().__init__()
    self.tags, self.open, self.said, self.attributes = [], [], [], []

  def handle_starttag(self, tag, attributes):
    self.tags.append(tag)
    self.attributes += attributes
    if tag not in ('meta', 'img', 'input'):
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if self.open and self.open[-1] != 'style':
      self.said.append(data)


def test_the_text_is_what_is_said(made):
  lines = document.text(made).split('\n')
  assert lines[-2:] == ['two', 'lines'] and lines[0].split() == ['name', 'gain']
  assert lines[1].startswith('a ') and lines[1].endswith(' +1.0') and 'lam' not in str(lines)


def test_the_page_is_whole_and_asks_for_nothing(made, tmp_path):
  document.write(tmp_path / 'report.html', made)
  reader = Reader()
  reader.feed((tmp_path / 'report.html').read_text())
  assert not reader.open and 'script' not in reader.tags and 'link' not in reader.tags
  assert reader.tags.count('tr') == 6 and reader.tags.count('img') == 1
  said = ' '.join(reader.said)
  assert said.count(EVIL) == 4 and '0.0, 1.0' in said  # title, head, cell, words of the picture
  urls = [value for name, value in reader.attributes if name in ('src', 'href')]
  assert all(url.startswith(('data:image/png;base64,', '#')) for url in urls)


def test_the_content_is_json(made):
  found = json.loads(json.dumps(document.content(made)))
  assert [s['title'] for s in found['sections']] == ['Answer', 'Picture', 'Settings']
  assert found['sections'][0]['parts'][0]['rows'][1] == [EVIL, '-10.0']
  assert found['sections'][1]['parts'] == [{'picture': 'curve.png', 'words': f'a curve {EVIL}'}]
