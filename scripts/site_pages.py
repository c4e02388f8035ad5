"""For mkdocs: pages that lie beside what they describe become pages of the site.

The README, a case's page and the benchmarks' are read where they are, by whoever
reads the code. On the site they have addresses of their own (_PAGES), and links
to them and from them are followed. A link to any other file of the repository
becomes its name in the text: the site has only pages.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
_DOCS = "docs"
_MARKED = re.compile(r"^```(sh|python) slow$", re.MULTILINE)
_LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s]+)\)")


def _pages() -> dict[str, str]:
    """Paths in the repository, and what each is on the site."""
    pages = {name: name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")}
    pages["bench/README.md"] = "bench/README.md"
    for case in sorted((ROOT / "osxfs_sim" / "cases").glob("*/README.md")):
        pages[str(case.relative_to(ROOT))] = f"cases/{case.parent.name}/README.md"
    return pages


_PAGES = _pages()
_SOURCES = {page: source for source, page in _PAGES.items()}


def on_files(files: Files, config: Any) -> Files:
    """The site's pages: those in docs, and those that lie elsewhere."""
    for source, page in _PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:  # noqa: ARG001
    """The page with its links as the site has them."""
    # What runs an example says more after its language than this Markdown knows.
    markdown = _MARKED.sub(r"```\1", markdown)
    here = page.file.src_uri
    source = Path(_SOURCES.get(here, f"{_DOCS}/{here}")).parent

    def on_site(link: re.Match[str]) -> str:
        text, target = link[1], link[2]
        path, hash_sign, anchor = target.partition("#")
        if not path or "://" in target:
            return link[0]
        in_repository = os.path.normpath(source / path)
        known = _PAGES.get(in_repository)
        if known is None and in_repository.startswith(f"{_DOCS}/"):
            known = in_repository.removeprefix(f"{_DOCS}/")
        if known is None or files.get_file_from_path(known) is None:
            if not (ROOT / in_repository).exists():
                return link[0]  # mkdocs says that it leads nowhere
            return f"{text} (`{in_repository}`)" if text != in_repository else f"`{text}`"
        return f"[{text}]({os.path.relpath(known, Path(here).parent)}{hash_sign}{anchor})"

    return _LINK.sub(on_site, markdown)
