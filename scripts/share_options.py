"""Writes down what the table of a share's options says, where it is kept in a file.

    python scripts/share_options.py            # after a change of the table
    python scripts/share_options.py --check    # says what is not up to date, and fails

The table is osxfs_sim.settings.OPTIONS. Made of it are the options of a share in
docs/reference.md, and the keywords of osxfs_sim.share() that a type checker is told of.
"""

import sys
import textwrap
from pathlib import Path

from osxfs_sim.settings import OPTIONS
from osxfs_sim.share_options import keywords_of, table_of

ROOT = Path(__file__).parents[1]
PLACES = (
    (
        ROOT / "docs" / "reference.md",
        "<!-- the options of a share: made by scripts/share_options.py -->\n",
        "<!-- (end of the options) -->\n",
        lambda: f"\n{table_of(OPTIONS)}\n\n",
    ),
    (
        ROOT / "osxfs_sim" / "sharing.py",
        "        # the keywords: made by scripts/share_options.py\n",
        "        # (end of the keywords)\n",
        lambda: f"{textwrap.indent(keywords_of(OPTIONS), ' ' * 8)}\n",
    ),
)


def main() -> None:
    """Write, or check, each place."""
    stale = []
    for path, begin, end, made in PLACES:
        text = path.read_text()
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            sys.exit(f"{path} has no place for the options: {begin.strip()} ... {end.strip()}")
        new = f"{before}{begin}{made()}{end}{after}"
        if new == text:
            continue
        stale.append(path.relative_to(ROOT))
        if "--check" not in sys.argv:
            path.write_text(new)
    if stale and "--check" in sys.argv:
        named = ", ".join(map(str, stale))
        sys.exit(f"not what the table of options says: {named}; run {Path(__file__).name}")


if __name__ == "__main__":
    main()
