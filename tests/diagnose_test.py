"""`mmalign diagnose`: singular values by hand, known regimes called right, chance as chance."""

import dataclasses
import json

import numpy as np
import pytest
from sklearn.cross_decomposition import CCA

from mmalign_jax import cli
from mmalign_jax.diagnosis import diagnose, directions
from mmalign_jax.diagnosis.spectra import decomposed


def spiked(seed, *, n=400, kappa=(1.0,), x1=1.0, x2=1.0, nu=0.0, width=8):
  """Two views and their signal [n, k] by the model of arXiv 2606.11190: signal of strength kappa
  with noise of variance 0.3, and nuisances of variance x1, x2, the first correlated by nu."""
  rng = np.random.default_rng(seed)
  signal = rng.normal(size=(n, len(kappa)))
  own, other = rng.normal(size=(2, n, width))
  other[:, 0] = nu * own[:, 0] + np.sqrt(1 - nu**2) * other[:, 0]
  views = [np.hstack([signal * kappa + np.sqrt(0.3) * rng.normal(size=signal.shape),
                      z * np.sqrt(variance)]) for z, variance in ((own, x1), (other, x2))]
  turn = lambda d: np.linalg.qr(rng.normal(size=(d, d)))[0]
  return *(z @ turn(z.shape[1]) for z in views), signal


# -- numbers ---------------------------------------------------------------------------------------


def test_canonical_correlations_are_those_of_scikit_learn():
  x1, x2, _ = spiked(0, kappa=(1.0, 0.7))
  found = diagnose(x1, x2, halves=0).objectives['align'].strengths
  scores = CCA(3, scale=False, max_iter=5000, tol=1e-12).fit(x1, x2).transform(x1, x2)
  theirs = [np.corrcoef(a, b)[0, 1] for a, b in zip(scores[0].T, scores[1].T)]
  np.testing.assert_allclose(found[:3], theirs, rtol=1e-6)


def test_singular_values_by_hand():
  """Of the two matrices of the paper, made of covariances and their inverse roots."""
  x1, x2, _ = spiked(1, kappa=(1.0, 0.7), x2=4.0)
  a, b = (x - x.mean(axis=0) for x in (x1, x2))
  def root(s):
    values, axes = np.linalg.eigh(s)
    return axes / np.sqrt(values) @ axes.T
  s11, s22, s12 = a.T @ a, b.T @ b, a.T @ b
  values = lambda m: np.linalg.svd(m, compute_uv=False)
  found = diagnose(x1, x2, halves=0).objectives
  np.testing.assert_allclose(found['align'].strengths, values(root(s11) @ s12 @ root(s22)),
                             rtol=1e-9)
  np.testing.assert_allclose(found['predict_12'].strengths,
                             values(root(s11) @ s12) / np.sqrt(np.trace(s22)), rtol=1e-9)
  np.testing.assert_allclose(found['predict_21'].strengths,
                             values(root(s22) @ s12.T) / np.sqrt(np.trace(s11)), rtol=1e-9)
  kept = found['align'].signal.sum()  # what the shared directions hold of view 1
  u = np.linalg.svd(root(s11) @ s12 @ root(s22))[0][:, :kept]
  scores = np.linalg.qr(a @ root(s11) @ u)[0]
  assert found['align'].variance[0] == pytest.approx(
      np.square(scores.T @ a).sum() / np.square(a).sum())


def test_what_is_predicted_is_the_adjusted_r_squared():
  """The mean of R^2 under permutation is K / (N - 1)."""
  x1, x2, _ = spiked(2, n=300)
  a, b = (x - x.mean(axis=0) for x in (x1, x2))
  rest = b - a @ np.linalg.lstsq(a, b, rcond=None)[0]
  r2, chance = 1 - np.square(rest).sum() / np.square(b).sum(), 9 / 299
  found = diagnose(x1, x2, halves=0, permutations=2000).predicted[1]
  assert found == pytest.approx((r2 - chance) / (1 - chance), abs=2e-3)


def test_spectra():
  z = np.random.default_rng(0).normal(size=(200, 6)) @ np.diag([9, 9, 1, 1, 1, 0])
  _, spectrum = decomposed(z, 'x1', 3)
  variances = np.linalg.eigvalsh(np.cov(z.T))
  assert (spectrum.width, spectrum.rank, spectrum.kept, spectrum.above_noise) == (6, 5, 3, 2)
  assert spectrum.effective_rank == pytest.approx(variances.sum()**2 / (variances**2).sum())
  assert spectrum.share == pytest.approx(variances[-3:].sum() / variances.sum())


def test_a_floor_is_where_p_passes():
  rng = np.random.default_rng(0)
  null = rng.normal(size=(99, 4, 3))
  coupling = 3 * rng.normal(size=(4, 3))
  found = directions.found(coupling, null)
  np.testing.assert_array_equal(found.p_values <= 0.05, found.strengths > found.floors)
  assert (np.diff(found.p_values) >= 0).all()
  largest = np.linalg.svd(null, compute_uv=False)[:, 0]
  assert found.p_values[0] == (1 + (largest >= found.strengths[0]).sum()) / 100


# -- known regimes ---------------------------------------------------------------------------------

KNOWN = {  # the settings, whether the signal is known, the regimes 1 -> 2 and 2 -> 1
    'strong in both': (dict(kappa=(1.0, 1.0)), False, 'both', 'both'),
    'below the noise of 2': (dict(x2=400.0), False, 'align', 'both'),
    'below the noise of both': (dict(x1=400.0, x2=400.0), False, 'align', 'align'),
    'nothing shared': (dict(kappa=(0.0,)), False, 'neither', 'neither'),
    # nu < rho = 1 / 1.3; in 2 its nuisance is the larger: nu sqrt(30) > 1 / sqrt(1.3)
    'a weak, large nuisance': (dict(nu=0.4, x2=30.0), True, 'align', 'both'),
    # nu > rho; small in both: nu / 10 < 1 / sqrt(1.3)
    'a close, small nuisance': (dict(nu=0.97, x1=0.01, x2=0.01), True, 'predict', 'predict'),
    'a close, large nuisance': (dict(nu=0.97, x1=9.0, x2=9.0), True, 'neither', 'neither'),
    'a weak, small nuisance': (dict(nu=0.4, x1=0.3, x2=0.3), True, 'both', 'both')}


@pytest.mark.parametrize('name', KNOWN)
def test_known_regimes(name):
  """In most data sets: each of three tests is wrong in one of twenty."""
  settings, labelled, *wanted = KNOWN[name]
  right = 0
  for seed in range(20):
    x1, x2, signal = spiked(seed, **settings)
    found = diagnose(x1, x2, y=signal if labelled else None, halves=0, permutations=99)
    right += list(found.regimes.values()) == wanted
  assert right >= 16


def test_classes_tell_signal_from_nuisance():
  x1, x2, signal = spiked(0, nu=0.97, x1=0.01, x2=0.01)
  classes = np.digitize(signal[:, 0], [-0.5, 0.5])
  for y in (classes, np.array(['low', 'mid', 'high'])[classes]):
    assert diagnose(x1, x2, y=y, halves=0).regimes == {'1->2': 'predict', '2->1': 'predict'}
  assert diagnose(x1, x2, halves=0).regimes['1->2'] == 'both'  # both are taken for signal


def test_agreement_tells_sure_from_unsure():
  sure = diagnose(*spiked(0, kappa=(1.0, 1.0))[:2])
  unsure = diagnose(*spiked(0, kappa=(0.42,), width=20)[:2])
  assert sure.agreement['1->2'] == 1.0 and 0 <= unsure.agreement['1->2'] < 1


# -- chance ----------------------------------------------------------------------------------------


def false_alarms(draws, grouped=False, told=True):
  found = []
  for seed in range(draws):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(30), rng.integers(3, 8, 30)) if grouped else np.arange(60)
    x1, x2 = (rng.normal(size=(g.max() + 1, 3))[g] + 0.3 * rng.normal(size=(len(g), 3))
              for _ in range(2))
    groups = g if grouped and told else None
    found.append(diagnose(x1, x2, groups=groups, halves=0, permutations=99, components=3))
  return found


@pytest.mark.parametrize('grouped', [False, True])
def test_chance_is_found_in_one_of_twenty(grouped):
  found = false_alarms(200, grouped)
  p = np.array([one.p_value for one in found])
  assert 3 <= (p <= 0.05).sum() <= 20    # of 200: mean 10, deviation 3.1
  assert 0.4 < np.mean([one.objectives['align'].p_values[0] for one in found]) < 0.6
  assert sum(one.regimes['1->2'] != 'neither' for one in found) <= 20


def test_groups_that_are_not_told_are_taken_for_evidence():
  p = np.array([one.p_value for one in false_alarms(20, grouped=True, told=False)])
  assert (p <= 0.05).mean() > 0.5


def test_no_direction_too_many():
  """Two are shared: a third is found in one of twenty."""
  counts = [diagnose(*spiked(seed, n=200, kappa=(2.0, 1.0))[:2], halves=0,
                     permutations=99).objectives['align'].signal.sum() for seed in range(60)]
  assert min(counts) == 2 and sum(count > 2 for count in counts) <= 9


# -- invariances -----------------------------------------------------------------------------------


def numbers(found):
  return [v for o in found.objectives.values() for v in (o.strengths, o.variance)]


def test_what_changes_nothing():
  x1, x2, _ = spiked(3, kappa=(1.0, 0.5))
  found = diagnose(x1, x2, halves=0)
  order = np.random.default_rng(0).permutation(len(x1))
  turn = np.linalg.qr(np.random.default_rng(1).normal(size=(x1.shape[1],) * 2))[0]
  for a, b in ((x1[order], x2[order]), (x1 @ turn, x2), (1e-200 * x1 + 0.0, 1e150 * x2),
               (x1 + 5, x2 - 3)):
    other = diagnose(a, b, halves=0)
    assert other.regimes == found.regimes and other.shared == found.shared
    for mine, theirs in zip(numbers(found), numbers(other)):
      np.testing.assert_allclose(mine, theirs, rtol=1e-7, atol=1e-9)
  swapped = diagnose(x2, x1, halves=0)
  np.testing.assert_allclose(swapped.objectives['predict_12'].strengths,
                             found.objectives['predict_21'].strengths, rtol=1e-9)


def test_groups_of_one_size_are_all_used_and_others_cut():
  x1, x2, _ = spiked(4, n=60)
  assert diagnose(x1, x2, groups=np.arange(60) // 3, halves=0).used == 60
  uneven = np.repeat(np.arange(10), [3, 3, 3, 3, 3, 9, 9, 9, 9, 9])
  found = diagnose(x1, x2, groups=uneven, halves=0)
  assert (found.used, found.groups) == (60, 10)


def test_components_that_always_correlate_are_refused_and_halves_left_out():
  """K1 + K2 > M - 1 columns of mean 0 have a direction in common, whatever the pairing."""
  same = np.random.default_rng(0).normal(size=(60, 90))
  with pytest.raises(ValueError, match='components=60: 59 of x1 and 59 of x2 .* take 29 at most'):
    diagnose(same, same, components=60, halves=0)
  with pytest.raises(ValueError, match='components=60: 59 of x1 and 4 of x2 .* take 55 at most'):
    diagnose(same, same[:, :4], components=60, halves=0)
  assert diagnose(same, same[:, :4], components=55, halves=0).used == 60
  found = diagnose(same, same, components=20, halves=2)
  assert found.regimes['1->2'] == 'both' and found.agreement is None  # 40 of 30 samples
  assert diagnose(same, same, components=14, halves=2).agreement is not None


# -- one line for what is wrong --------------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(40, 3))
GAPS = np.where(np.arange(120).reshape(40, 3) == 22, np.nan, X)


@pytest.mark.parametrize('arguments, settings, said', [
    ((X, X[:30]), {}, 'x1 has N=40 samples and x2 has N=30'),
    ((X[:10], X[:10]), {}, 'N=10 samples are too few; at least 20'),
    ((X, np.ones((40, 2))), {}, 'x2 is constant'),
    ((GAPS, X), {}, 'x1 has 1 values not finite, first nan at row 7, column 1'),
    ((X[:, 0], X), {}, r'x1 has shape \(40,\)'),
    ((X, X), {'groups': np.zeros(40)}, 'one group only'),
    ((X, X), {'groups': np.arange(40) // 10}, '24 ways only; 60 are needed'),
    ((X, X), {'groups': np.arange(30)}, r'groups has shape \(30,\)'),
    ((X, X), {'y': np.zeros(40)}, 'y has one value only'),
    ((X, X), {'y': np.arange(30)}, r'y has shape \(30,\)'),
    ((X, X), {'permutations': 19}, 'permutations=19 must be at least 59'),
    ((X, X), {'halves': -1}, 'halves=-1'), ((X, X), {'components': 0}, 'components=0')])
def test_arguments_that_do_not_fit(arguments, settings, said):
  with pytest.raises(ValueError, match=said):
    diagnose(*arguments, **settings)


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
  """run(*arguments) -> what is printed, in a folder with files; run.said: the messages."""
  monkeypatch.chdir(tmp_path)
  x1, x2, signal = spiked(0, nu=0.97, x1=0.01, x2=0.01)
  np.savez('both.npz', x1=x1, x2=x2, y=signal[:, 0], who=np.arange(400) // 4)
  for name, array in (('x1', x1), ('x2', x2), ('y', signal[:, 0]), ('short', x2[:300]),
                      ('few', x1[:10]), ('flat', np.ones((400, 2))),
                      ('huge', np.full((400, 2), 1.7e308))):
    np.save(f'{name}.npy', array)
  np.save('gaps.npy', np.where(np.arange(x1.size).reshape(x1.shape) == 7, np.nan, x1))
  np.save('one.npy', np.zeros(400, int))
  def call(*arguments, status=0):
    assert cli.main(['diagnose', *arguments]) == status, capsys.readouterr().err
    printed = capsys.readouterr()
    call.said = printed.err
    return printed.out
  return call


def test_the_command_says_the_same_as_the_function(run):
  found = json.loads(run('both.npz', '--y=y', '--json', '--seed=3'), parse_constant=pytest.fail)
  with np.load('both.npz') as file:
    wanted = diagnose(file['x1'], file['x2'], y=file['y'], seed=3)
  assert found['regimes'] == wanted.regimes and found['agreement'] == wanted.agreement
  for name, o in wanted.objectives.items():
    assert found['objectives'][name]['strengths'] == o.strengths.tolist()
    assert found['objectives'][name]['separation'] == o.separation
  assert found['views']['x1'] == dataclasses.asdict(wanted.views[0])
  assert found == json.loads(run('--x1=x1.npy', '--x2=x2.npy', '--y=y.npy', '--json', '--seed=3'))


def test_words_first(run):
  text = run('both.npz', '--y=y')
  assert text.startswith('Regime: predict: alignment would miss what the views share (the same in')
  assert 'behind shared directions that do not tell of the label' in ' '.join(text.split())
  assert max(map(len, text.splitlines())) <= 100
  text = run('both.npz', '--group=who', '--halves=0')
  assert text.startswith('Regime: align or predict') and '100 groups' in text
  assert 'no label: every direction that both views share counts as wanted' in run.said
  independent = np.random.default_rng(3).normal(size=(400, 4))
  np.save('other.npy', independent)
  text = run('--x1=x1.npy', '--x2=other.npy', '--halves=0')
  assert text.startswith('Regime: neither: a linear model finds nothing to gain')


@pytest.mark.parametrize('arguments, said', [
    ([], '--x1 and --x2 must say which files to look at'),
    (['none.npz'], 'no such file'),
    (['both.npz', '--x1=x3'], "no key 'x3'"),
    (['--x1=x1.npy', '--x2=short.npy'], 'N=400 samples, and'),
    (['--x1=few.npy', '--x2=few.npy'], 'N=10 samples are too few'),
    (['--x1=huge.npy', '--x2=x2.npy'], "--x1='huge.npy': values too large to centre"),
    (['--x1=flat.npy', '--x2=x2.npy'], "--x1='flat.npy': constant features"),
    (['--x1=gaps.npy', '--x2=x2.npy'], 'values not finite'),
    (['both.npz', '--group=one.npy'], 'all samples have the same'),
    (['both.npz', '--y=one.npy'], 'one class only'),
    (['both.npz', '--task=l1'], '--task has no effect without --y'),
    (['both.npz', '--null=10'], '--permutations=10 is not in 59..10000'),
    (['both.npz', '--seed=-1'], '--seed=-1 is not in'),
    (['both.npz', '--nul=99'], 'did you mean --null')])
def test_bad_input_is_one_line(run, arguments, said):
  assert not run(*arguments, status=2)
  assert said in run.said and run.said.startswith('error: ') and run.said.count('\n') == 1


def test_units_of_columns_matter_until_they_are_taken_away(run):
  x1, x2, _ = spiked(0, kappa=(1.0, 1.0))
  np.save('a.npy', x1 * np.logspace(0, 3, x1.shape[1]))
  np.save('b.npy', x1)
  np.save('x2.npy', x2)
  a, b = (json.loads(run(f'--x1={name}.npy', '--x2=x2.npy', '--standardize', '--json'))
          for name in 'ab')
  np.testing.assert_allclose(a['objectives']['predict_21']['strengths'],
                             b['objectives']['predict_21']['strengths'], rtol=1e-9)
