"""The look of the page: one style sheet, readable on a phone, on paper and by a screen reader."""

from typing import Final

CSS: Final = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 16px; font: 16px/1.45 system-ui, sans-serif; color: #1a1a1a;
  background: #fff; }
h1 { margin: 0; font-size: 1.7rem; overflow-wrap: anywhere; }
h1 small { font-weight: 400; color: #555; font-size: 1rem; }
h2 { margin: 0 0 6px; font-size: 1.1rem; }
p { margin: 6px 0; }
.news:first-of-type { font-size: 1.25rem; }
th small { font-weight: 400; }
.meta, .empty { color: #555; }
.note { border-left: 4px solid #8a6d00; padding: 4px 10px; background: #fdf8e6; overflow-wrap: anywhere; }
.grid2 { display: grid; grid-template-columns: minmax(0, 1fr); gap: 20px; margin: 20px 0; }
@media (min-width: 900px) { .grid2 { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
section { break-inside: avoid; margin-bottom: 8px; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: #333; paint-order: stroke; stroke: #fff; stroke-width: 3px;
  stroke-linejoin: round; }
svg .grid { stroke: #dcdcdc; stroke-width: 1; }
svg .axis { stroke: #555; stroke-width: 1; }
svg line.limit { stroke: #b00020; stroke-width: 1.4; stroke-dasharray: 4 3; }
svg text.limit { fill: #b00020; }
.swatch { width: 28px; height: 10px; display: inline-block; vertical-align: middle; margin-right: 5px; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 4px 0; padding: 0;
  font-size: .9rem; }
.legend li { overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #555; padding: 2px 0; }
th, td { text-align: left; padding: 5px 10px 5px 0; border-bottom: 1px solid #ddd; vertical-align: top; }
td.number, th.number { text-align: right; white-space: nowrap; }
.bad { color: #b00020; font-weight: 600; }
.good { color: #1b6e3a; }
.long { overflow-wrap: anywhere; min-width: 150px; }
details { margin: 4px 0; font-size: .93rem; }
summary { cursor: pointer; color: #0050a0; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .8rem; background: #f5f5f5; padding: 8px; }
footer { color: #555; font-size: .9rem; border-top: 1px solid #ddd; margin-top: 24px; padding-top: 8px; }
@media print {
  body { max-width: none; padding: 0; font-size: 11pt; }
  .grid2 { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 12px; }
  .wide { overflow: visible; }
  details:not([open]) { display: none; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
