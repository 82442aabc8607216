"""The explorer as one HTML file without network access; only the page's own script is executed.

Labels, texts and names are data in script elements that browsers do not execute; the page inserts them as text.
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
    """Text of a built file of the front end (`static/`)."""
    return resources.files("memorymaps.viz.explorer").joinpath("static", name).read_text(encoding="utf-8")


def page_script() -> str:
    """The page's JavaScript, escaped for a script element."""
    return static_asset("explorer.js").strip().replace("</script", "<\\/script").replace("<!--", "<\\!--")


def page_style() -> str:
    """The page's CSS."""
    return static_asset("explorer.css").strip() + _RESET


def content_security_policy(connect: str) -> str:
    """Content-Security-Policy: this script and style only, pictures embedded, data from `connect` (a CSP source)."""
    return (
        f"default-src 'none'; script-src {_hash(page_script())}; style-src {_hash(page_style())}; img-src data: blob:; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def html_document(title: str, elements: list[str], connect: str = "'none'") -> str:
    """The HTML document with the given elements in its body, after the root element and before the script."""
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{html.escape(content_security_policy(connect))}">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{html.escape(title)}</title><style>{page_style()}</style></head>",
            '<body><div id="mm-root"></div>',
            *elements,
            f"<script>{page_script()}</script></body></html>",
        ]
    )


def _data_element(name: str, content: bytes) -> str:
    text = base64.b64encode(content).decode()
    return f'<script type="application/octet-stream" id="mm-{name}">{text}</script>'


def _metadata_element(text: str) -> str:
    """A script element with JSON (ASCII); `<`, `>` and `&` are escaped so that it contains no markup."""
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json" id="mm-meta">{text}</script>'


def single_file_html(packed: PackedMap) -> str:
    """The whole page as HTML text."""
    meta = packed.meta
    elements = [_metadata_element(packed.meta_json()), _data_element("table", packed.compressed())]
    for k in range(meta["pictures"]["sheets"] if meta["pictures"] else 0):
        elements.append(_data_element(f"sheet-{k}", packed.sheet(k)))
    for k in range(meta["texts"]["chunks"] if meta["texts"] else 0):
        elements.append(_data_element(f"texts-{k}", gzip.compress(packed.text_chunk(k), mtime=0)))
    return html_document(meta["title"], elements)


def write_page(packed: PackedMap, path: str | Path) -> Path:
    """Write the page atomically (temporary file, then rename); returns its path."""
    path = Path(path)
    with replacing(path) as partial:
        partial.write_text(single_file_html(packed), encoding="utf-8")
    return path
