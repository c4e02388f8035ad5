"""The documentation builds as a site, without a warning, and needs nothing from elsewhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_LOADED = re.compile(
    r"<(?:script|img|iframe|source)[^>]*\bsrc=\"([^\"]*)\"|<link[^>]*href=\"([^\"]*)\""
)


def build(root: Path, site: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
    )


def loaded_by(page: str) -> set[str]:
    """What a browser loads for a page by itself."""
    return {first or second for first, second in _LOADED.findall(page)}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """All that the site is made of, to be spoiled."""
    root = tmp_path / "copy"
    sources = [ROOT / name for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md")]
    sources += [ROOT / "CHANGELOG.md", ROOT / "bench" / "README.md", ROOT / "scripts/site_pages.py"]
    sources += (ROOT / "osxfs_sim" / "cases").glob("*/README.md")
    sources += (path for path in (ROOT / "docs").rglob("*") if path.is_file())
    # Links into the code lead to names only; the code itself need not be here.
    for source in sources:
        target = root / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    return root


@pytest.mark.starts_processes
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(
    tmp_path: Path,
) -> None:
    done = build(ROOT, tmp_path / "site")
    assert (done.returncode, "WARNING" in done.stderr) == (0, False), done.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    names = {str(page.relative_to(tmp_path / "site")) for page in pages}
    assert {"index.html", "tutorial.html", "cases/rake/index.html"} <= names
    for page in pages:
        for target in loaded_by(page.read_text()):
            assert not target.startswith(("http:", "https:", "//")), (page, target)


@pytest.mark.starts_processes
def test_a_link_that_leads_nowhere_stops_the_build(copy: Path, tmp_path: Path) -> None:
    (copy / "docs" / "tutorial.md").write_text("# Tutorial\n\n[nowhere](no-such-page.md)\n")
    done = build(copy, tmp_path / "site")
    assert done.returncode != 0
    assert "no-such-page.md" in done.stderr


def test_a_page_that_loads_something_would_be_noticed() -> None:
    assert loaded_by('<p><img alt="" src="https://example.org/a.png"></p>') == {
        "https://example.org/a.png"
    }
    assert loaded_by('<link rel="stylesheet" href="css/a.css">') == {"css/a.css"}
