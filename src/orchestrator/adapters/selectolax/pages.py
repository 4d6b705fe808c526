"""What a process reads from a page: it is hostile text, and large."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode

MOST_TEXT, MOST_LINKS, MOST_IMAGES, MOST_LABEL, MOST_NODES = 1_000_000, 1_000, 500, 500, 500_000
_SILENT = "script, style, noscript, template, svg, math, iframe, object, head"
_BLOCKS = frozenset(
    {
        "address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "fieldset", "figcaption", "figure",
        "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre",
        "section", "table", "td", "th", "tr", "ul",
    }
)  # fmt: skip
_TOLD = ("description", "author", "keywords", "og:title", "og:description")
_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s{0,5}=\s{0,5}["']?\s{0,5}([\w-]{1,40})""", re.IGNORECASE)


def decoded(content: bytes, content_type: str) -> str:
    """By the byte order mark, the header, the page's own word, or as UTF-8."""
    for mark, name in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if content.startswith(mark):
            return content.decode(name, "replace").lstrip("\ufeff")
    named = re.search(r"charset\s*=\s*[\"']?([\w-]{1,40})", content_type, re.IGNORECASE)
    found = _CHARSET.search(content[:4_096])
    name = named[1] if named else found[1].decode("ascii", "replace") if found else "utf-8"
    try:
        return content.decode("cp1252" if name.lower() in ("iso-8859-1", "latin-1", "ascii") else name, "replace")
    except (LookupError, ValueError):
        return content.decode("utf-8", "replace")


def read(url: str, content: str, content_type: str) -> dict[str, Any]:
    """Title, text, links, images and metadata. `content` has one character for each byte (latin-1)."""
    text = decoded(content.encode("latin-1"), content_type)
    if "html" not in content_type.lower() and "<html" not in text[:1_000].lower():
        return _shown("", text, [], [], {})
    page = LexborHTMLParser(text)
    base = page.css_first("base[href]")
    url = (_joined(url, _attribute(base, "href")) if base is not None else "") or url
    title = page.css_first("title")
    metadata = _metadata(page)
    words = _line(title.text(deep=True)) if title is not None else ""
    for node in page.css(_SILENT):
        node.decompose()
    return _shown(words[:MOST_LABEL], _text(page), _links(page, url), _images(page, url), metadata)


def _shown(title: str, text: str, links: Any, images: Any, metadata: Any) -> dict[str, Any]:
    return {
        "title": title,
        "text": text[:MOST_TEXT],
        "links": links,
        "images": images,
        "metadata": metadata,
        "word_count": len(text.split()),
        "truncated": len(text) > MOST_TEXT,
    }


def _attribute(node: LexborNode, name: str) -> str:
    return node.attributes.get(name) or ""


def _metadata(page: LexborHTMLParser) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in page.css("meta[content]"):
        name = (_attribute(node, "name") or _attribute(node, "property")).lower()
        if name in _TOLD:
            found.setdefault(name, _attribute(node, "content")[:2_000])
    return found


def _text(page: LexborHTMLParser) -> str:
    """With a line for each block."""
    parts: list[str] = []
    root = page.body or page.root
    size = 0
    for number, node in enumerate(root.traverse(include_text=True) if root is not None else ()):
        if number >= MOST_NODES or size > MOST_TEXT:
            break
        if node.tag in _BLOCKS:
            parts.append("\n")
        elif node.tag == "-text":
            before = node.prev
            if before is not None and before.tag in _BLOCKS:
                parts.append("\n")
            parts.append(node.text_content or "")
            size += len(parts[-1])
    lines = (_line(line) for line in "".join(parts).split("\n"))
    return "\n".join(line for line in lines if line)


def _links(page: LexborHTMLParser, base: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for node in page.css("a[href]"):
        url = _joined(base, _attribute(node, "href"))
        if url:
            found.append({"url": url, "text": _line(node.text(deep=True)[: 4 * MOST_LABEL])[:MOST_LABEL]})
        if len(found) >= MOST_LINKS:
            break
    return found


def _images(page: LexborHTMLParser, base: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for node in page.css("img[src]"):
        url = _joined(base, _attribute(node, "src"))
        if url:
            found.append({"url": url, "alt": _line(_attribute(node, "alt"))[:MOST_LABEL]})
        if len(found) >= MOST_IMAGES:
            break
    return found


def _joined(base: str, url: str) -> str:
    """The whole URL of a link; empty for what leads to no page."""
    try:
        found = urljoin(base, url.strip()[:8_192])
        return found if urlsplit(found).scheme in ("http", "https") and url.strip() else ""
    except ValueError:
        return ""


def _line(text: str) -> str:
    return " ".join(text.split())


def results(content: str, most: int) -> dict[str, Any]:
    """`{"results": [{title, url, snippet}]}` of DuckDuckGo's page for browsers without scripts; `challenge`: it wants a
    person."""
    page = LexborHTMLParser(content)
    found: list[dict[str, str]] = []
    for node in page.css(".result"):
        link, snippet = node.css_first("a.result__a"), node.css_first(".result__snippet")
        url = _target(_attribute(link, "href")) if link is not None else ""
        if link is not None and urlsplit(url).scheme in ("http", "https") and len(found) < most:
            words = _line(snippet.text(deep=True)) if snippet is not None else ""
            found.append({"title": _line(link.text(deep=True)), "url": url, "snippet": words})
    return {"results": found, "challenge": not found and "anomaly" in content}


def _target(link: str) -> str:
    """Where a link of the result page leads to in the end; empty for an advertisement."""
    parts = urlsplit(urljoin("https://duckduckgo.com/", link))
    if parts.path == "/l/":
        return (parse_qs(parts.query).get("uddg") or [""])[0]
    return "" if parts.path == "/y.js" else parts.geturl()
