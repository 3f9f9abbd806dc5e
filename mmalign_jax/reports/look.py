"""How a page looks: its colours, light and dark, the contrast they must have, and its style."""

LIGHT = {'fg': '#1b1c20', 'dim': '#54565e', 'bg': '#ffffff', 'card': '#f4f5f8', 'line': '#c9ccd4',
         'link': '#174ea6', 'good': '#0b5c34', 's1': '#0059a8', 's2': '#b04400', 's3': '#00704f',
         's4': '#8a3a78', 's5': '#6b5900', 's6': '#3f4148'}
DARK = {'fg': '#e9eaed', 'dim': '#b0b3bc', 'bg': '#15171b', 'card': '#20232a', 'line': '#4a4e58',
        'link': '#8ab4f8', 'good': '#7fd6a4', 's1': '#6fb3f2', 's2': '#ff9a52', 's3': '#4fd0a5',
        's4': '#e79ad0', 's5': '#d9c25c', 's6': '#c8c9ce'}
TEXT, GRAPHIC = 4.5, 3.0  # least contrast of WCAG 2.2 AA: of text, of what carries meaning


def contrast(one: str, other: str) -> float:
  """The ratio of two colours #rrggbb, 1 to 21 (WCAG 2.2).

  Examples:
    >>> round(contrast('#000000', '#ffffff'), 1), round(contrast('#777777', '#ffffff'), 2)
    (21.0, 4.48)
  """
  low, high = sorted(map(_luminance, (one, other)))
  return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
  parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
  r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
  return 0.2126 * r + 0.7152 * g + 0.0722 * b


def _variables(colours: dict[str, str]) -> str:
  return ' '.join(f'--{name}: {value};' for name, value in colours.items())


_HIDDEN = '\n'.join(f'figure:has(.t{i}:not(:checked)) .s{i} {{ display: none; }}'
                    for i in range(1, 7))

_STYLE = """
:root { color-scheme: light dark; LIGHT }
@media screen and (prefers-color-scheme: dark) {
  :root { DARK }
}
body { font: 16px/1.55 system-ui, sans-serif; color: var(--fg); background: var(--bg);
  max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .5rem; }
a { color: var(--link); }
a:focus-visible, summary:focus-visible, input:focus-visible, [tabindex]:focus-visible { outline:
  3px solid var(--link); outline-offset: 2px; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: .5rem; padding: .4rem; background: var(--bg); z-index: 1; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
nav ul { display: flex; flex-wrap: wrap; gap: 0 1.1rem; list-style: none; padding: 0; margin:
  1rem 0; font-size: .9rem; }
nav a { display: inline-block; padding: .25rem 0; }
.answer { background: var(--card); border-left: .3rem solid var(--good); border-radius: .3rem;
  padding: .2rem 1.2rem .8rem; }
.answer h2 { margin-top: .8rem; color: var(--good); }
.answer p { font-size: 1.06rem; margin: .4rem 0; }
dl.head { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .6rem
  1rem; margin: .8rem 0 .2rem; }
dl.head div { min-width: 0; }
dl.head dt { font-size: .8rem; color: var(--dim); }
dl.head dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; }
.words { white-space: pre-wrap; margin: .7rem 0; }
.dim, figcaption, caption, footer { color: var(--dim); font-size: .86rem; }
.wide { overflow-x: auto; }
caption { text-align: left; padding: .2rem .6rem; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
thead th { white-space: normal; border-bottom: 2px solid var(--dim); vertical-align: bottom; }
tbody th { font-weight: 400; }
th.left, td.left { text-align: left; white-space: normal; min-width: 7rem; }
tbody tr:hover { background: var(--card); }
figure { margin: 1rem 0; }
figure > img { max-width: 100%; background: #fff; border-radius: .3rem; }
.chart > svg { width: 100%; max-width: 44rem; height: auto; display: block; }
.chart .grid { stroke: var(--line); }
.chart .tick { fill: var(--dim); font-size: 12px; }
.chart .name { fill: var(--fg); font-size: 13px; }
.chart .tip { fill: var(--fg); font-size: 13px; visibility: hidden; pointer-events: none; }
.point:hover .tip { visibility: visible; }
.chart fieldset { border: 0; padding: 0; margin: .4rem 0; display: flex; flex-wrap: wrap; gap: 0
  1rem; }
.chart legend { float: left; margin-right: 1rem; color: var(--dim); font-size: .86rem; }
.chart label { font-size: .9rem; padding: .15rem 0; }
.key { width: 28px; height: 8px; }
HIDDEN
details > summary { cursor: pointer; padding: .3rem 0; }
summary h2, summary h3 { display: inline; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: .6rem; }
@media print {
  body { max-width: none; padding: 0; font-size: 11pt; }
  nav, .skip, .chart fieldset { display: none; }
  .wide { overflow: visible; }
  h2, h3 { break-after: avoid; }
  tr, figure, .answer { break-inside: avoid; }
  details::details-content { content-visibility: visible; height: auto; }
  table { font-size: 8.5pt; }
  th, td { white-space: normal; padding: .1rem .35rem; }
}
"""
STYLE = _STYLE.replace('LIGHT', _variables(LIGHT)).replace('DARK', _variables(DARK)).replace(
    'HIDDEN', _HIDDEN)
