"""Checks the site that mdBook has built: every link within it leads to a page, file or heading.

    python3 deploy/site/check.py target/site

Prints those that do not; the exit code is then 1."""

import collections
import html.parser
import pathlib
import sys
import urllib.parse


class Page(html.parser.HTMLParser):
    """The ids of a page, and the targets of its links, scripts, styles and pictures."""

    def __init__(self, text):
        super().__init__()
        self.ids = collections.Counter()
        self.targets = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if attrs.get("id"):
            self.ids[attrs["id"]] += 1
        target = attrs.get("href") or attrs.get("src")
        # Only the page for unknown addresses contains the address of the site.
        if target and tag != "base":
            self.targets.append(target)


def faults(root):
    """The dead links and the duplicate ids, as texts."""
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(root.rglob("*.html"))}
    if len(pages) < 10:
        yield f"{root} is no site: {len(pages)} pages"
    for path, page in pages.items():
        name = path.relative_to(root)
        for twice in (identifier for identifier, count in page.ids.items() if count > 1):
            yield f"{name}: the id {twice} is there twice"
        for target in page.targets:
            address = urllib.parse.urlsplit(target)
            if address.scheme or address.netloc:
                continue
            other = (path.parent / urllib.parse.unquote(address.path)).resolve() if address.path else path
            other = other / "index.html" if other.is_dir() else other
            if not other.is_file():
                yield f"{name}: {target} is not there"
            elif address.fragment and other in pages and urllib.parse.unquote(address.fragment) not in pages[other].ids:
                yield f"{name}: {target} is no heading"


if __name__ == "__main__":
    found = list(faults(pathlib.Path(sys.argv[1]).resolve()))
    print("\n".join(found) or "every link leads somewhere")
    sys.exit(1 if found else 0)
