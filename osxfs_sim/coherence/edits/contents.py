"""What an edit writes, so that a file stays for the workload what it is. Pure.

To a source file a comment line is added, always to the content that it had before all
edits, so that it does not grow; a JSON file gets blank lines. Of other files it is not known
what would leave them valid: they are written anew with the same content, so only their times
change.
"""

from pathlib import PurePosixPath

_HASH, _SLASHES, _BLOCK, _MARKUP = ("# ", ""), ("// ", ""), ("/* ", " */"), ("<!-- ", " -->")
_BY_SUFFIX = {
    **dict.fromkeys((".rb", ".py", ".sh", ".pl", ".yml", ".yaml", ".toml", ".rake"), _HASH),
    **dict.fromkeys((".gemspec", ".ru", ".mk", ".cfg", ".coffee"), _HASH),
    **dict.fromkeys((".js", ".mjs", ".cjs", ".ts", ".jsx", ".tsx", ".go", ".rs"), _SLASHES),
    **dict.fromkeys((".c", ".h", ".cc", ".cpp", ".java", ".css", ".scss", ".less"), _BLOCK),
    **dict.fromkeys((".md", ".html", ".xml", ".svg", ".vue"), _MARKUP),
    ".lua": ("-- ", ""),
    ".sql": ("-- ", ""),
    ".json": None,
}
_BY_NAME = dict.fromkeys(("Rakefile", "Gemfile", "Makefile", "Dockerfile"), _HASH)


def comment_of(path: str, begins: bytes) -> tuple[str, str] | None:
    """What begins and ends a comment in the file at *path*; None if none may be added to it.

    ("", "") is a blank line instead; None where nothing may be added.
    """
    name = PurePosixPath(path)
    if name.suffix in _BY_SUFFIX:
        return _BY_SUFFIX[name.suffix] or ("", "")
    if name.name in _BY_NAME:
        return _BY_NAME[name.name]
    # A script says by its first line whose language it is in.
    if begins.startswith(b"#!") and any(
        word in begins.splitlines()[0] for word in (b"sh", b"python", b"ruby", b"perl")
    ):
        return _HASH
    return None
