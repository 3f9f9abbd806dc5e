"""Pages: one file that asks for nothing, read by anyone; of any folder, and of several."""

import html.parser
import json
import math
import re

import numpy as np
import pytest
import xarray as xr

from mmalign_jax import cli
from mmalign_jax.information import ATOMS, estimation
from mmalign_jax.reports import chart, decomposed, document, look, results, style
from mmalign_jax.reports.chart import Chart, Series
from mmalign_jax.reports.document import Document, Picture, Section, Table, Words
from mmalign_jax.reports.text import write_json
from mmalign_jax.runs.dataset import with_encoders, write_dataset

EVIL = '"><img src=x onerror=alert(1)><script>alert(2)</script>'
EMPTY = ('meta', 'img', 'input', 'line', 'circle', 'polyline')


class Page(html.parser.HTMLParser):
  """Tags with attributes, headings with their levels, and text; refuses what is not closed."""

  def __init__(self, text: str):
    super().__init__()
    self.tags, self.open, self.said, self.headings = [], [], [], []
    self.named, self.last = {}, ''  # text by id
    self.feed(text)
    assert not self.open

  def handle_starttag(self, tag, attributes):
    self.tags.append((tag, dict(attributes)))
    self.last = dict(attributes).get('id', '')
    if tag not in EMPTY:
      self.open.append(tag)
    if re.fullmatch('h[1-6]', tag):
      self.headings.append(int(tag[1]))

  def handle_startendtag(self, tag, attributes):
    self.tags.append((tag, dict(attributes)))

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if self.last:
      self.named.setdefault(self.last, data)
    if self.open and self.open[-1] != 'style':
      self.said.append(data)

  def of(self, tag: str) -> list[dict[str, str]]:
    return [attributes for name, attributes in self.tags if name == tag]


def check(text: str) -> Page:
  """What every page must be."""
  page = Page(text)
  assert not {'script', 'link', 'iframe', 'object', 'embed', 'base'} & {t for t, _ in page.tags}
  assert not [name for _, a in page.tags for name in a if name.startswith('on')]
  urls = [a[name] for _, a in page.tags for name in ('src', 'href', 'action') if name in a]
  assert all(url.startswith(('data:image/png;base64,', '#')) for url in urls)
  assert not re.search(r'url\(|@import|https?:', look.STYLE)
  assert page.headings[0] == 1 and page.headings.count(1) == 1
  assert all(b <= a + 1 for a, b in zip(page.headings, page.headings[1:]))  # no level is left out
  ids = [a['id'] for _, a in page.tags if 'id' in a]
  assert len(ids) == len(set(ids))
  named = [one.lstrip('#') for _, a in page.tags
           for name in ('href', 'aria-labelledby') if name in a for one in a[name].split()]
  landmarks = [a['aria-labelledby'] for a in page.of('section') if 'aria-labelledby' in a]
  assert len(landmarks) == len({' '.join(page.named[one] for one in name.split())
                                for name in landmarks})
  assert set(named) <= set(ids)
  assert page.of('html')[0]['lang'] == 'en' and len(page.of('main')) == len(page.of('header')) == 1
  assert all(a.get('alt') for a in page.of('img'))
  assert all(a.get('aria-label') or a.get('aria-hidden') for a in page.of('svg'))
  assert len(page.of('caption')) == len(page.of('table'))
  assert all(a.get('scope') in ('col', 'row') for a in page.of('th'))
  assert '<th scope="col"></th>' not in text and 'class="left"></th>' not in text
  assert [t for t, _ in page.tags if t == 'a'] and page.of('a')[0]['class'] == 'skip'
  return page


@pytest.fixture(scope='module')
def made(tmp_path_factory) -> Document:
  path = tmp_path_factory.mktemp('d') / 'curve.png'
  figure, axes = style.grid(2, 1)
  axes[0, 0].plot(np.arange(3))
  style.save(figure, path)
  curve = Chart(f'a curve {EVIL}', 'lam', 'accuracy', [
      Series(EVIL, [0, 0.3, 1], [0.5, math.nan, 0.7], [0.4, math.nan, 0.6], [0.6, math.nan, 0.8]),
      Series('b', [0, 1], [0.2, 0.3])])
  return Document(EVIL, [
      Section(EVIL, [Table(['name', EVIL], [[EVIL, '-10.0']], left=(0,)), Words(EVIL), curve]),
      Section('Picture', [Picture(path, EVIL)]),
      document.settings({EVIL: EVIL, 'lam': (0.0, 1.0)})], [EVIL], {EVIL: EVIL})


# -- one page --------------------------------------------------------------------------------------


def test_a_page_is_safe_and_can_be_read_by_all(made):
  page = check(document.html(made))
  assert page.headings == [1, 2, 2, 2, 2] and len(page.of('nav')) == 1
  said = ' '.join(page.said)
  assert said.index('Answer') < said.index('Picture')
  assert said.count(EVIL) > 10 and 'b, lam 1: 0.3' in said
  assert len(page.of('details')) == 2  # settings, and the values of the curve
  assert len(page.of('input')) == 2


def test_several_are_compared_and_each_has_its_own_place(made):
  page = check(document.html(made, made, title='two', before=[
      Section('Side by side', [Table(['', 'x'], [['a', '1']])])]))
  assert page.headings[:4] == [1, 2, 2, 3] and len(page.of('article')) == 2
  assert len(page.of('a')) == 1 + 3


def test_a_report_comes_back_from_its_json(made, tmp_path):
  content = json.loads(json.dumps(document.content(made), allow_nan=True))
  (tmp_path / 'report.json').write_text(json.dumps(content))
  (tmp_path / 'curve.png').write_bytes(made.sections[1].parts[0].path.read_bytes())
  again = document.read(tmp_path / 'report.json')
  assert document.html(again) == document.html(made)
  write_json(tmp_path / 'report.json', document.content(made))  # where NaN is null
  assert document.html(document.read(tmp_path / 'report.json')) == document.html(made)
  (tmp_path / 'report.json').write_text('{"title": "x"}')
  with pytest.raises(ValueError, match=r'report\.json: no report of this version'):
    document.read(tmp_path / 'report.json')


# -- colours ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('colours', [look.LIGHT, look.DARK], ids=['light', 'dark'])
def test_colours_have_the_contrast_of_wcag_aa(colours):
  for name in ('fg', 'dim', 'link', 'good'):
    for ground in ('bg', 'card'):
      assert look.contrast(colours[name], colours[ground]) >= look.TEXT, name
  for i in range(1, chart.MOST + 1):
    assert look.contrast(colours[f's{i}'], colours['bg']) >= look.GRAPHIC
  assert look.LIGHT.keys() == look.DARK.keys()
  assert all(f'--{name}: {value};' in look.STYLE for name, value in colours.items())


def test_contrast_is_that_of_the_standard():
  assert look.contrast('#000000', '#ffffff') == pytest.approx(21)
  assert look.contrast('#ff0000', '#ffffff') == pytest.approx(3.998, abs=1e-3)  # by hand


def test_paper_and_focus_have_rules():
  assert '@media print' in look.STYLE and ':focus-visible' in look.STYLE
  assert 'prefers-color-scheme: dark' in look.STYLE and 'user-select' not in look.STYLE


# -- curves ----------------------------------------------------------------------------------------


def test_a_curve_has_every_value_in_its_picture_and_its_table():
  one = Chart('w', 'lam', 'y', [Series('a', [0, 1], [0.5, 0.25], [0.4, 0.2], [0.6, 0.3])], '.2f')
  assert chart.rows(one) == (['lam', 'a'], [['0', '0.50 [0.40, 0.60]'], ['1', '0.25 [0.20, 0.30]']])
  assert chart.svg(one).count('class="point"') == 2
  y = [float(v) for v in re.findall(r'cy="([\d.]+)" r="4"', chart.svg(one))]
  assert y[0] < y[1]  # higher is up
  for values in ([math.nan], [0.3], []):
    picture = chart.svg(Chart('w', 'x', 'y', [Series('a', list(range(len(values))), values)]))
    assert 'nan' not in picture and 'inf' not in picture


@pytest.mark.parametrize('low, high', [(0, 1), (-3e-4, 2e-4), (41.3, 41.4), (0, 0), (1e9, 3e9)])
def test_ticks_are_few_and_hold_all(low, high):
  found = chart.steps(low, high)
  assert 3 <= len(found) <= 8 and found[0] <= low and found[-1] >= high
  assert np.allclose(np.diff(found), found[1] - found[0])


# -- JSON of other commands ------------------------------------------------------------------------


MEASURED = {EVIL: {'value': 0.5, 'null_mean': 0.1, 'null_q95': 0.2, 'calibrated': 0.4,
                   'p_value': 0.005, 'interval': [0.4, 0.6]},
            'cka': {'value': 0.1, 'null_mean': 0.1, 'null_q95': 0.2, 'calibrated': 0.0,
                    'p_value': 0.5}}
DIAGNOSED = {'regimes': {'1->2': 'align', '2->1': 'both'}, 'p_value': 0.01, 'shared': 2, 'n': 9,
             'objectives': {'align': {'works': True, 'above_chance': 2, 'signal': 1, 'recovered': 1,
                                      'separation': 1.5}}}
DECOMPOSED = {'redundancy': 0.3, 'unique_1': 0.1, 'unique_2': 0.0, 'synergy': 0.05, 'n': 100}

OF_SAMPLES = {'units': 'bits', 'n': 100, 'permutations': 99, **{  # as `decompose --json` has it
    atom: {'value': value, 'interval': [value - 0.1, value + 0.1], 'p_value': p, 'verdict': verdict}
    for atom, value, p, verdict in (
        ('redundancy', 0.1, 0.01, 'present'), ('unique_1', 0.3, 0.02, 'present'),
        ('unique_2', 0.4, 0.3, 'undecided at this n'),
        ('synergy', -0.02, 1.0, 'not distinguishable from chance'))}}
NOISE = OF_SAMPLES | {atom: OF_SAMPLES['unique_2'] for atom in ('redundancy', 'unique_1')}
UNJUDGED = {atom: {'value': 0.1, 'verdict': None} for atom in ('redundancy', 'synergy')}
VIEWS = {'pairs': {'x1,x2': OF_SAMPLES, 'x1,x3': NOISE}, 'rest': {'x3': NOISE}}
GATE = {'redundancy': 0.3, 'unique_1': 0.0, 'unique_2': 1e-9, 'synergy': 0.3, 'gap': 1e-7}
ALONE = {'cka': {'value': 0.1, 'calibrated': None, 'p_value': None}}
ROUNDED = {'cka': {'value': 0.1, 'calibrated': 0.3, 'p_value': 0.05000000074505806}}  # of float32
APART = {**MEASURED, 'hsic': MEASURED['cka'], 'modality_gap': MEASURED[EVIL]}
OWN_GAP = {**MEASURED, 'mine': MEASURED[EVIL] | {'null': 'sides', 'layer_x': 3, 'layer_y': 0}}
UNSURE = DIAGNOSED | {'agreement': {'1->2': 0.4, '2->1': 0.9}, 'permutations': 99}


@pytest.mark.parametrize('found, said', [
    (OF_SAMPLES, 'Certainly present: unique 1 0.3 bits [0.2, 0.4], redundancy 0.1 bits [0, 0.2].'),
    (OF_SAMPLES, 'unique 2 (bits) 0.4 [0.3, 0.5], undecided at this n'), (OF_SAMPLES, '<= 0.01'),
    (NOISE, 'No atom is certainly present; undecided at this n: redundancy, unique 1, unique 2.'),
    (UNJUDGED, 'Not compared with chance, so that no atom is called present.'),
    (VIEWS, 'x1,x2: certainly present: unique 1 0.3 bits'), (VIEWS, 'x3, rest: no atom is cert'),
    (VIEWS, 'x1,x2 (bits) redundancy 0.1, unique 1 0.3 x1,x3 (bits) none certain'),
    (GATE, 'Most is redundancy and synergy, 0.3 nats each.'),
    (dict.fromkeys(GATE, 0.0), 'The sides tell nothing of the label.'),
    (DECOMPOSED, 'Most is redundancy, 0.3 nats.'), (DECOMPOSED, 'redundancy (nats) 0.3'),
    (ALONE, 'Not compared with chance.'), (ROUNDED, 'By 1 of 1 measures'),
    (MEASURED, 'By 1 of 2 measures the sides are more alike than chance'),
    (APART, 'By 1 of 3 measures the sides are more alike than chance'),
    (APART, 'By 1 of 1 measures the sides are further apart than chance (p at most 0.05, each by '
     'itself): modality_gap.'), (APART, 'value - chance for hsic, modality_gap. chance: '),
    (OWN_GAP, 'itself): mine.'), (OWN_GAP, 'layer of X'),
    (DIAGNOSED, '1 -> 2: align.'), (UNSURE, '2 -> 1: align or predict (the same in 90 % of'),
    (UNSURE, '1 -> 2: align (the same in 40 % of random halves: uncertain).'),
    (UNSURE, 'p <= 0.01'), ({'a': {'b': [1, 2, 3]}}, 'a.b'), ({'a': [True, math.nan]}, 'yes, -')])
def test_json_of_every_command_is_understood(found, said, tmp_path):
  path = tmp_path / 'found.json'
  path.write_text(json.dumps(found))
  assert said in ' '.join(' '.join(check(document.html(results.read(path))).said).split())


def test_verdicts_are_those_of_the_package():
  assert (decomposed.PRESENT, decomposed.UNDECIDED) == (estimation.PRESENT, estimation.UNDECIDED)
  assert decomposed.ATOMS == ATOMS


# -- folders ---------------------------------------------------------------------------------------


def study(folder, name: str = 'mine', seeds: int = 5) -> None:
  """A finished study of strength, as it lies on disk, accuracies exact; encoder 1 gains 4 points at
  lam 1."""
  g = np.random.default_rng(0)
  lam, seed = np.array([0.0, 0.3, 1.0]), np.arange(seeds)
  values = 0.5 + np.array([0.0, 0.02, 0.04])[:, None] + 0.002 * g.normal(size=(3, seeds))
  cells = {f'accuracy_{i}': (('lam', 'seed'), values if i == 1 else np.full((3, seeds), 0.6))
           for i in (1, 2)}
  cells |= {f'ceiling_{i}': (('lam', 'seed'), np.full((3, seeds), 0.9)) for i in (1, 2)}
  cells |= {'cka': (('lam', 'seed'), values), 'diverged': (('lam', 'seed'), values < 0)}
  made = with_encoders(xr.Dataset(cells, {'lam': lam, 'seed': seed}, {
      'name': name, 'configuration': json.dumps({'generator': 'own'}), 'notes': EVIL}))
  folder.mkdir(exist_ok=True)
  write_dataset(made, folder / 'results.zarr')
  (folder / 'config.json').write_text(json.dumps({'generator': 'pairs', 'name': name}))
  (folder / 'settings.json').write_text(json.dumps({'resamples': 50}))


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  place = tmp_path_factory.mktemp('folders')
  study(place / 'one', EVIL)
  study(place / 'two')
  (place / 'told').mkdir()
  (place / 'told' / 'alike.json').write_text(json.dumps(MEASURED))
  return place


def test_a_folder_of_results_becomes_a_page_with_its_answer_first(folders, capsys):
  assert cli.main(['report', str(folders / 'one')]) == 0
  assert capsys.readouterr().out.strip() == str(folders / 'one' / 'report.html')
  page = check((folders / 'one' / 'report.html').read_text())
  said = ' '.join(page.said)
  assert 'Encoder 1: align, at about 1 (+3.8 points' in said
  assert 'Encoder 2: no difference shows' in said
  assert said.index('Encoder 1: align') < said.index('no difference shows', said.index('ceiling'))
  assert sorted(p.name for p in (folders / 'one').iterdir()) == [
      'config.json', 'report.html', 'results.zarr', 'settings.json']


def test_several_folders_stand_side_by_side(folders, tmp_path, capsys):
  out = tmp_path / 'all.html'
  names = [str(folders / name) for name in ('one', 'two', 'told')]
  assert cli.main(['report', *names, f'--out={out}']) == 0
  page = check(out.read_text())
  said = ' '.join(page.said)
  assert 'Side by side' in said and len(page.of('article')) == 3
  assert said.count('encoder 1: largest gain (points)') == 3  # the table, and two answers
  capsys.readouterr()


def test_what_cannot_be_reported_is_said_in_a_line(folders, tmp_path, capsys):
  (tmp_path / 'empty').mkdir()
  (tmp_path / 'bad.json').write_text('[1')
  (tmp_path / 'list.json').write_text('[1]')
  (tmp_path / 'begun').mkdir()
  (tmp_path / 'begun' / 'config.json').write_text('{"generator": "bits"}')
  one = str(folders / 'one')
  for arguments, said in (
      ([str(tmp_path / 'none')], 'no such folder'), ([str(tmp_path / 'empty')], 'no results there'),
      ([str(tmp_path / 'bad.json')], 'bad.json: damaged'), ([one, one], 'given twice'),
      ([str(tmp_path / 'list.json')], 'a JSON object is needed'),
      ([str(tmp_path / 'begun')], 'results.zarr: missing'),
      ([one, '--out=page.pdf'], 'must end in .html'),
      ([one, f'--out={tmp_path}/none/a.html'], 'no folder')):
    assert cli.main(['report', *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count('\n') == 1, error


def test_the_page_is_shown_where_that_is_asked(folders, monkeypatch, capsys):
  shown = []
  monkeypatch.setattr('webbrowser.open', shown.append)
  assert cli.main(['report', str(folders / 'told'), '--open']) == 0
  assert shown == [(folders / 'told' / 'report.html').resolve().as_uri()]
  capsys.readouterr()


def test_equal_titles_end_in_what_tells_their_paths_apart(tmp_path, capsys):
  files = [tmp_path / name / 'alike.json' for name in ('a', 'b')]
  for path in files:
    path.parent.mkdir()
    path.write_text(json.dumps(DECOMPOSED))
  (tmp_path / 'c.json').write_text(json.dumps(DECOMPOSED))
  out = tmp_path / 'all.html'
  assert cli.main(['report', *map(str, files), str(tmp_path / 'c.json'), f'--out={out}']) == 0
  said = [text.strip() for text in check(out.read_text()).said]
  for title in ('alike (a/alike.json)', 'alike (b/alike.json)', 'c'):
    assert said.count(f'What is shared: {title}') >= 2  # the table, and the head
  assert cli.main(['report', str(tmp_path / 'a'), str(tmp_path / 'b'), f'--out={out}']) == 0
  assert 'What is shared: alike (a)' in out.read_text()
  capsys.readouterr()
