"""What the documentation points at is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("", "docs/", "docs/*/", "configs/", "cgt_tf/assets/", "cgt_tf/assets/*/")
    for path in ROOT.glob(f"{folder}*.md")
)
_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([\w-]+))?\)")
_PATH = re.compile(r"`((?:configs|docs|tools|tests|cgt_tf)/[\w./]+)`")
_HEADING = re.compile(r"(?m)^#+ (.+)$")


def anchors(text):
    """Names of a page's headings in links."""
    plain = (re.sub(r"[^\w\s-]", "", heading.lower()) for heading in _HEADING.findall(text))
    return {heading.strip().replace(" ", "-") for heading in plain}


def dead_links(page, text):
    """Links, anchors and paths in a page at ROOT / page that lead nowhere."""
    for target, anchor in _LINK.findall(text):
        if target.startswith(("http:", "https:")):
            continue
        path = ROOT / page if not target else (ROOT / page).parent / target
        if not path.exists():
            yield target
        elif anchor and anchor not in anchors(path.read_text(encoding="utf-8")):
            yield f"{target}#{anchor}"
    yield from (path for path in _PATH.findall(text) if not (ROOT / path).exists())


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_lead_somewhere(page):
    assert list(dead_links(page, (ROOT / page).read_text(encoding="utf-8"))) == []


def test_dead_links_are_found():
    assert {"README.md", "docs/methods.md", "docs/comparison/README.md"} <= set(PAGES)
    good = "[a](docs/serving.md#ask-it) [b](#two-commands) [c](https://x.y/z) `configs/base/`"
    assert list(dead_links("README.md", good)) == []
    bad = "[a](docs/none.md) [b](docs/serving.md#nothing) `tools/none.py`"
    wanted = ["docs/none.md", "docs/serving.md#nothing", "tools/none.py"]
    assert list(dead_links("README.md", bad)) == wanted
