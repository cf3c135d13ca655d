"""A preprocessor of mdBook: makes links to files outside the book point to the repository.

Pages name them relatively, as GitHub wants it: `../deploy` or `receivers/hook_receiver.py`."""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# What mdBook renders, and what it copies.
OWN = {".md", ".png", ".svg"}
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)


def to_repository(link, url):
    """Converts a link of a page in `docs` to its form in the book."""
    path = (DOCS / link[1]).resolve()
    if path.is_relative_to(DOCS) and path.suffix in OWN:
        return link[0]
    kind = "tree" if path.is_dir() else "blob"
    return f"]({url}/{kind}/main/{path.relative_to(ROOT)}{link[2] or ''})"


def rewrite(items, url):
    """Changes the texts of chapters, and of their subchapters."""
    for item in items:
        # Other items are separators, and titles of parts.
        if isinstance(item, dict) and (chapter := item.get("Chapter")):
            # Every second part is a block of code.
            parts = FENCE.split(chapter["content"])
            parts[::2] = [LINK.sub(lambda link: to_repository(link, url), part) for part in parts[::2]]
            chapter["content"] = "".join(parts)
            rewrite(chapter["sub_items"], url)


if __name__ == "__main__":
    if sys.argv[1:2] == ["supports"]:
        sys.exit(0 if sys.argv[2] == "html" else 1)
    context, book = json.load(sys.stdin)
    rewrite(book["items"], context["config"]["output"]["html"]["git-repository-url"])
    json.dump(book, sys.stdout)
