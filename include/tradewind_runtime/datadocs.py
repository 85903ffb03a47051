"""Great Expectations' pages, made to be read by themselves: no script, style or picture of another host.

As they come they show next to nothing where a CDN is out of reach, and behind Airflow's login they may not ask one.
"""

from __future__ import annotations

import re

_REMOTE = re.compile(
    r"""<script\b[^>]*\bsrc=["']https?:[^>]*>\s*</script>|<(?:link|img)\b[^>]*\b(?:href|src)=["']https?:[^>]*>"""
    r"""|<footer\b.*?</footer>""",
    re.DOTALL,
)

_STYLE = """<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 2rem 2rem; color: #1f2937; }
h4, h5, h6, p { margin: .4rem 0; } h4 { font-size: 1.3rem; } h5 { font-size: 1.1rem; } h6 { font-size: 1rem; }
a { color: #1d4ed8; } ol, ul { padding: 0; list-style: none; } nav ol { display: flex; gap: .5rem; }
.row { display: flex; gap: 2rem; } .col-lg-2 { flex: 0 0 14rem; } .col-lg-10 { flex: 1; min-width: 0; }
.row .row { display: block; } .nav-link { display: block; padding: .15rem .4rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.2rem; }
th, td { border-bottom: 1px solid #e5e7eb; padding: .4rem .6rem; text-align: left; vertical-align: top; }
.badge { background: #e5e7eb; border-radius: .3rem; padding: 0 .35rem; font-size: .9em; }
.fa-check-circle::before { content: "\\2713"; } .fa-times::before { content: "\\2717"; }
.fa-exclamation-triangle::before { content: "!"; } i[class*=fa] { font-style: normal; font-weight: bold; }
.text-success { color: #15803d; } .text-danger { color: #b91c1c; } .text-warning { color: #b45309; }
.card:has(.btn-group-toggle), [data-toggle=collapse], .navbar-brand { display: none; }
</style>
"""


def alone(page: bytes) -> bytes:
    """A page with a style of its own, and nothing from elsewhere."""
    return _REMOTE.sub("", page.decode()).replace("</head>", f"{_STYLE}</head>", 1).encode()


def leading_to(path: str) -> bytes:
    """A first page that goes on to the only one there is to see: the list in its place is drawn by a script."""
    return f'<!doctype html><meta http-equiv="refresh" content="0; url={path}"><a href="{path}">{path}</a>\n'.encode()
