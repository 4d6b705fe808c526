"""An object store that speaks S3's protocol, as far as artifacts use it: objects, their parts, lists, deletions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

from web_stub import Page, Sent, WebStub, web_stub

BUCKET = "bucket"
SECRET = "the-key-that-signs"
MOST_LISTED = 3  # so that lists have several pages
_KEY = re.compile(r"<Key>(.*?)</Key>")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_XML = {"Content-Type": "application/xml"}
MODIFIED = {"Last-Modified": "Sat, 21 Nov 2026 12:00:00 GMT"}


@dataclass
class S3Stub:
    """`objects` by key. `unsigned`: requests that had no signature. `closed`: nothing is allowed any more."""

    objects: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    uploads: int = 0
    unsigned: int = 0
    closed: bool = False
    web: WebStub | None = None

    def environment(self) -> dict[str, str]:
        """Variables by which a client finds it."""
        assert self.web is not None
        return {
            "AWS_ENDPOINT_URL": self.web.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "ID-OF-THE-KEY",
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def answer(self, sent: Sent) -> Page:
        if not sent.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
            self.unsigned += 1
            return Page(403)
        if self.closed:
            return _fault(403, "AccessDenied")
        place = urlsplit(sent.path)
        bucket, _, key = unquote(place.path).lstrip("/").partition("/")
        if bucket != BUCKET:
            return _fault(404, "NoSuchBucket")
        asked = {name: values[0] for name, values in parse_qs(place.query, keep_blank_values=True).items()}
        if not key:
            return self._deleted(sent) if sent.method == "POST" else self._listed(asked)
        match sent.method:
            case "PUT" if "uploadId" in asked:
                self.parts[asked["uploadId"]][int(asked["partNumber"])] = sent.body
                return Page(headers=_tag(sent.body))
            case "PUT":
                self.objects[key] = sent.body
                return Page(headers=_tag(sent.body))
            case "POST":
                return self._in_parts(key, asked)
            case "DELETE":
                self.objects.pop(key, None)
                return Page(204)
        return self._read(key, sent)

    def _read(self, key: str, sent: Sent) -> Page:
        if key not in self.objects:
            return _fault(404, "NoSuchKey")
        content = self.objects[key]
        about = {**_tag(content), **MODIFIED}
        wanted = _RANGE.match(sent.headers.get("range", ""))
        if wanted is None:
            return Page(body=content, headers=about)
        start, end = int(wanted[1]), int(wanted[2] or len(content) - 1)
        if start >= len(content):
            return _fault(416, "InvalidRange")
        piece = content[start : end + 1]
        told = {"Content-Range": f"bytes {start}-{start + len(piece) - 1}/{len(content)}"}
        return Page(206, piece, {**about, **told})

    def _in_parts(self, key: str, asked: dict[str, str]) -> Page:
        if "uploads" in asked:
            self.uploads += 1
            name = f"upload-{self.uploads}"
            self.parts[name] = {}
            told = f"<InitiateMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{escape(key)}</Key>"
            return _xml(f"{told}<UploadId>{name}</UploadId></InitiateMultipartUploadResult>")
        parts = self.parts.pop(asked["uploadId"])
        self.objects[key] = b"".join(content for _, content in sorted(parts.items()))
        return _xml(
            f"<CompleteMultipartUploadResult><Key>{escape(key)}</Key><ETag>{_tag(self.objects[key])['ETag']}</ETag>"
            "</CompleteMultipartUploadResult>"
        )

    def _listed(self, asked: dict[str, str]) -> Page:
        after = asked.get("continuation-token", asked.get("start-after", ""))
        names = sorted(key for key in self.objects if key.startswith(asked.get("prefix", "")) and key > after)
        shown = names[:MOST_LISTED]
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-21T12:00:00.000Z</LastModified>"
            f"<ETag>{_tag(self.objects[key])['ETag']}</ETag><Size>{len(self.objects[key])}</Size></Contents>"
            for key in shown
        )
        more = len(names) > len(shown)
        token = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
        told = f"<IsTruncated>{str(more).lower()}</IsTruncated><KeyCount>{len(shown)}</KeyCount>"
        return _xml(f"<ListBucketResult>{told}{token}{rows}</ListBucketResult>")

    def _deleted(self, sent: Sent) -> Page:
        keys = [unescape(key) for key in _KEY.findall(sent.body.decode())]
        for key in keys:
            self.objects.pop(key, None)
        return _xml(
            f"<DeleteResult>{''.join(f'<Deleted><Key>{escape(key)}</Key></Deleted>' for key in keys)}</DeleteResult>"
        )


def _tag(content: bytes) -> dict[str, str]:
    return {"ETag": f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'}


def _xml(body: str) -> Page:
    return Page(body=f'<?xml version="1.0" encoding="UTF-8"?>{body}'.encode(), headers=_XML)


def _fault(status: int, code: str) -> Page:
    return Page(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode(), _XML)


@asynccontextmanager
async def s3_stub() -> AsyncIterator[S3Stub]:
    """One on a free port, with an empty bucket."""
    stub = S3Stub()
    async with web_stub(stub.answer) as stub.web:
        yield stub
