"""What the site makes of formulas and roles: no page shows the source of either."""

from __future__ import annotations

import html
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from tests import ROOT

pytest.importorskip("latex2mathml")
MATH = "{http://www.w3.org/1998/Math/MathML}"


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "scripts" / "site_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texts(element: ElementTree.Element) -> list[str]:
    return [one.text or "" for one in element.iter() if one.tag in (f"{MATH}mi", f"{MATH}mn", f"{MATH}mo")]


def test_a_formula_is_drawn_by_the_browser_alone(hooks: ModuleType) -> None:
    page = (
        r'<p>Level <span class="arithmatex">\(y &lt; x^{2}\)</span>.</p><div class="arithmatex">\[\frac{1}{N}\]</div>'
    )
    found = hooks.on_page_content(page)
    inline, block = (ElementTree.fromstring(one) for one in re.findall(r"<math.*?</math>", found))
    assert (inline.get("display"), texts(inline)) == ("inline", ["y", "<", "x", "2"])
    assert (block.get("display"), texts(block)) == ("block", ["1", "N"])
    assert block.find(f".//{MATH}mfrac") is not None
    assert "arithmatex" not in found


def formulas() -> list[tuple[str, str]]:
    """Find the formulas of all pages, which are what stands between dollars outside of code."""
    found = []
    for page in sorted((ROOT / "docs").rglob("*.md")):
        text = re.sub(r"(?ms)^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"))
        pattern = r"\$\$(.+?)\$\$|(?<![\w$\\])\$(?!\s)([^$\n]+?(?:\n[^$\n]+?)?)(?<!\s)\$(?!\w)"
        found += [(page.name, one[0] or one[1]) for one in re.findall(pattern, text, re.DOTALL)]
    return found


def test_every_formula_of_the_pages_is_understood(hooks: ModuleType) -> None:
    found = formulas()
    assert len(found) > 50
    for page, source in found:
        drawn = hooks.on_page_content(f'<span class="arithmatex">\\({html.escape(source)}\\)</span>')
        parts = texts(ElementTree.fromstring(drawn))
        assert parts, (page, source)
        assert not any("\\" in part for part in parts), (page, source)  # a command that was not known


def test_roles_become_links_by_their_last_name(hooks: ModuleType) -> None:
    page = "See :class:<code>emovox.Timeline</code> and :meth:<code>~emovox.types.Prediction.to_row</code>, "
    page += "<code>x:y</code>."
    assert hooks.on_page_content(page) == (
        'See <autoref identifier="emovox.recognition.timeline.Timeline" optional><code>Timeline</code></autoref> and '
        '<autoref identifier="emovox.types.Prediction.to_row" optional><code>to_row</code></autoref>, <code>x:y</code>.'
    )


def test_pages_ask_nobody_for_a_script() -> None:
    settings = Path(ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "extra_javascript" not in settings
    assert "font: false" in settings
