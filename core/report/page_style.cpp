#include "core/report/page_style.h"

namespace strandwave::report {

std::string_view page_style() {
  return R"(:root {
  color-scheme: light dark;
  --page: #fbfbfa; --card: #ffffff; --ink: #1b1f24; --soft: #57606a; --line: #d9dde2;
  --grid: #e6e9ec; --neutral: #6b737c; --warn: #8a4b00; --warn-back: #fff4e0; --good-back: #e8f3fb;
  --k0: #0068a8; --k1: #c44e00; --k2: #007a58; --k3: #a03c82; --k4: #946200; --k5: #2a8ccb; --k6: #6a5acd;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171b; --card: #1b1f25; --ink: #e8eaed; --soft: #a3abb5; --line: #363c45;
    --grid: #2b3038; --neutral: #a0a8b2; --warn: #ffcf8a; --warn-back: #3a2c14; --good-back: #15303f;
    --k0: #5ab4ee; --k1: #ff9257; --k2: #3ccb9f; --k3: #ea9bcb; --k4: #ecb53c; --k5: #9bd3f7; --k6: #b3a8ff;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 74rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .75rem; padding-top: .75rem; border-top: 2px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .5rem; overflow-wrap: anywhere; }
p { max-width: 46rem; margin: .5rem 0; overflow-wrap: anywhere; }
header p, .note, figcaption span, small { color: var(--soft); }
.note { font-size: .9rem; }
.warning { background: var(--warn-back); color: var(--warn); border-left: 4px solid currentColor;
  padding: .5rem .75rem; border-radius: 4px; }
.verdict { background: var(--good-back); border-left: 4px solid var(--k0); padding: .5rem .75rem; border-radius: 4px; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .75rem 0 0; }
a { color: var(--k0); }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 10.5rem), 1fr)); gap: .75rem; margin: 1rem 0; }
.facts div, figure { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.facts div { padding: .6rem .8rem; min-width: 0; }
dt { color: var(--soft); font-size: .85rem; }
dd { margin: 0; font-size: 1.35rem; font-weight: 600; line-height: 1.25; overflow-wrap: anywhere; }
dd small { display: block; font-size: .8rem; font-weight: 400; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); gap: 1rem; margin: 1rem 0; align-items: start; }
figure { margin: 0; padding: .75rem; min-width: 0; break-inside: avoid; }
figcaption b, figcaption span { display: block; overflow-wrap: anywhere; }
figcaption span { font-size: .85rem; }
figure > svg { display: block; width: 100%; max-width: 32rem; height: auto; margin: .4rem 0 0; }
figure > img { display: block; width: 100%; height: 9rem; margin: .4rem 0; image-rendering: pixelated; }
figure > audio { display: block; width: 100%; }
details { margin: .5rem 0; min-width: 0; }
summary { cursor: pointer; color: var(--soft); font-size: .9rem; }
figure details { margin: .4rem 0 0; }
.scroll { overflow-x: auto; margin: .75rem 0; max-width: 100%; }
figure .scroll, details .scroll { max-height: 22rem; overflow-y: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
.caption { color: var(--soft); font-size: .9rem; margin: .75rem 0 -.4rem; }
.beside { display: flex; flex-wrap: wrap; gap: 0 3rem; }
.beside > div { min-width: 0; max-width: min(100%, 30rem); }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 400; }
tbody th, td { max-width: 26rem; overflow-wrap: break-word; }
.short { white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
.strong th, .strong td { font-weight: 700; }
.swatch { display: inline-block; width: .75em; height: .75em; margin-right: .45em; border-radius: 2px; background: var(--k); }
pre.command { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .6rem .75rem; margin: .4rem 0;
  white-space: pre-wrap; overflow-wrap: anywhere; user-select: all; font: .85rem/1.5 ui-monospace, Menlo, Consolas, monospace; }
:focus-visible { outline: 2px solid var(--k0); outline-offset: 2px; }
svg { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; font-variant-numeric: tabular-nums; }
svg text { fill: var(--soft); }
svg text.name { fill: var(--k); font-weight: 600; }
svg text.row { fill: var(--ink); }
svg text.on { fill: var(--card); }
.rule { stroke: var(--grid); }
.axis { stroke: var(--neutral); }
.path { fill: none; stroke: var(--k); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.thin { stroke-width: 1.25; }
.dashed { stroke-dasharray: 5 4; }
.dot { fill: var(--k); stroke: var(--card); }
.span { stroke: var(--k); stroke-width: 2.5; stroke-linecap: round; }
.level { stroke: var(--neutral); stroke-dasharray: 2 3; }
.mark { stroke: var(--soft); stroke-dasharray: 6 3; }
.skip { fill: var(--k1); }
.leader { stroke: var(--line); }
.cell { fill: var(--k0); }
.frame { fill: none; stroke: var(--grid); }
.kn { --k: var(--neutral); } .k0 { --k: var(--k0); } .k1 { --k: var(--k1); } .k2 { --k: var(--k2); }
.k3 { --k: var(--k3); } .k4 { --k: var(--k4); } .k5 { --k: var(--k5); } .k6 { --k: var(--k6); }
@media print {
  :root { --page: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #bbb; --grid: #ddd; --neutral: #555; --warn: #000;
    --warn-back: #fff; --good-back: #fff; --k0: #0068a8; --k1: #c44e00; --k2: #007a58; --k3: #a03c82; --k4: #946200;
    --k5: #2a8ccb; --k6: #6a5acd; }
  body { max-width: none; padding: 0; font-size: 11pt; }
  nav, details:not([open]) { display: none; }
  h2, h3, figcaption { break-after: avoid; }
  tr, .facts div { break-inside: avoid; }
  .scroll, details .scroll, figure .scroll { overflow: visible; max-height: none; }
  .grid { grid-template-columns: 1fr 1fr; }
}
)";
}

}  // namespace strandwave::report
