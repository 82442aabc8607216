"""One HTML file with everything inside: no network, nothing executed but the page's own script.

Labels, texts and names are data in a script element that no browser executes; the page puts them in as text.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
from functools import cache
from importlib import resources
from pathlib import Path

from memorymaps.files.atomic_files import replacing
from memorymaps.viz.explorer.packing import PackedMap

_RESET = "html,body,#mm-root{height:100%;margin:0}"


@cache
def static_asset(name: str) -> str:
    """A built file of the front-end."""
    return resources.files("memorymaps.viz.explorer").joinpath("static", name).read_text(encoding="utf-8")


def page_script() -> str:
    """The page's script, safe inside a script element."""
    return static_asset("explorer.js").strip().replace("</script", "<\\/script").replace("<!--", "<\\!--")


def page_style() -> str:
    """The page's style."""
    return static_asset("explorer.css").strip() + _RESET


def content_security_policy(connect: str) -> str:
    """The Content-Security-Policy: only this script and this style; pictures from the page; `connect` for data."""
    return (
        f"default-src 'none'; script-src {_hash(page_script())}; style-src {_hash(page_style())}; img-src data: blob:; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def html_document(title: str, parts: list[str], connect: str = "'none'") -> str:
    """The page around its parts."""
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{html.escape(content_security_policy(connect))}">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{html.escape(title)}</title><style>{page_style()}</style></head>",
            '<body><div id="mm-root"></div>',
            *parts,
            f"<script>{page_script()}</script></body></html>",
        ]
    )


def _data_element(name: str, content: bytes) -> str:
    text = base64.b64encode(content).decode()
    return f'<script type="application/octet-stream" id="mm-{name}">{text}</script>'


def _metadata_element(text: str) -> str:
    """JSON is ASCII here; three characters are escaped so that no markup can begin inside it."""
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json" id="mm-meta">{text}</script>'


def single_file_html(packed: PackedMap) -> str:
    """The whole page as text."""
    meta = packed.meta
    parts = [_metadata_element(packed.meta_json()), _data_element("table", packed.compressed())]
    for k in range(meta["pictures"]["sheets"] if meta["pictures"] else 0):
        parts.append(_data_element(f"sheet-{k}", packed.sheet(k)))
    for k in range(meta["texts"]["chunks"] if meta["texts"] else 0):
        parts.append(_data_element(f"texts-{k}", gzip.compress(packed.text_chunk(k), 9, mtime=0)))
    return html_document(meta["title"], parts)


def write_page(packed: PackedMap, path: str | Path) -> Path:
    """Write the page; it appears whole or not at all."""
    path = Path(path)
    with replacing(path) as partial:
        partial.write_text(single_file_html(packed), encoding="utf-8")
    return path
