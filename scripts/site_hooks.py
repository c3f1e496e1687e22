"""What mkdocs does to every page besides: formulas to MathML, and the roles of docstrings to links.

Browsers draw MathML themselves, so that a formula needs no script and no request.
"""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

import emovox

#: A formula as pymdownx.arithmatex leaves it: ``\\(...\\)`` within a line, ``\\[...\\]`` on its own.
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
#: A role of Sphinx, by which docstrings name other things: the name is already marked as code.
_ROLE = re.compile(r":(?:class|func|meth|attr|data|mod|exc):(?:<code>|`)~?([\w.]+)(?:</code>|`)")


def on_page_content(content: str, **_: object) -> str:
    """Change the HTML of one page, which mkdocs calls this with."""
    return _ROLE.sub(_link, _FORMULA.sub(_drawn, content))


def _drawn(found: re.Match[str]) -> str:
    """Draw a formula."""
    display = "block" if found[1] == "div" else "inline"
    return str(convert(html.unescape(found[2]).strip(), display=display))


def _link(found: re.Match[str]) -> str:
    """Link a name to its description, where the site has one, and show its last part."""
    package, _, name = found[1].rpartition(".")
    home = emovox._HOMES.get(name) if package == "emovox" else None
    identifier = f"{home}.{name}" if home else found[1]
    return f'<autoref identifier="{identifier}" optional><code>{name}</code></autoref>'
