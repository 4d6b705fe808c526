"""A multipart form with one file, read as it comes: nothing of the file is held back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from orchestrator.domain.errors import BodyIncomplete, InvalidRequest

MOST_FIELDS = 100
LONGEST_FIELD = 64 * 1024  # bytes


class FileForm:
    """First `fields()`, then `file()`. Fields must come before the file, as with S3's forms: what they say counts
    before the first byte of it is kept. Both raise InvalidRequest."""

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise InvalidRequest("multipart/form-data needs a boundary")
        self.file_name = ""
        self.mime_type = ""
        self._body = body
        self._fields: dict[str, str] = {}
        self._name = ""
        self._header = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._data: list[bytes] = []  # of the part that is being read
        self._size = 0
        self._in_file = self._file_over = self._over = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begins,
                    "on_part_data": self._part_data,
                    "on_part_end": self._part_ends,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_ends,
                    "on_headers_finished": self._headers_end,
                    "on_end": self._ends,
                },
            )
        except FormParserError as error:
            raise InvalidRequest(f"the form cannot be read: {error}") from None

    async def fields(self) -> dict[str, str]:
        """Everything before the file."""
        while not self._in_file:
            if not await self._more():
                raise InvalidRequest("the form has no file: a part with a filename")
        return self._fields

    async def file(self) -> AsyncGenerator[bytes]:
        """The file's bytes; whole only when this ends without an error."""
        while True:
            data, self._data = self._data, []
            for piece in data:
                yield piece
            if self._file_over or not await self._more():
                break
        for piece in self._data:
            yield piece
        self._data = []
        while not self._over:
            if not await self._more():
                raise BodyIncomplete("The form ended too soon.")

    async def _more(self) -> bool:
        piece = await anext(self._body, None)
        if piece is None:
            return False
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise InvalidRequest(f"the form cannot be read: {error}") from None
        return True

    def _part_begins(self) -> None:
        if self._file_over:
            raise InvalidRequest("the form's file must be its last part: fields come before it")
        if len(self._fields) >= MOST_FIELDS:
            raise InvalidRequest(f"the form has over {MOST_FIELDS} fields")
        self._headers = {}
        self._size = 0

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        file_name = options.get(b"filename")
        if file_name is not None:
            self._in_file = True
            self.file_name = file_name.decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
            self.mime_type = self._headers.get(b"content-type", b"").decode("latin-1")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if not self._in_file and self._size > LONGEST_FIELD:
            raise InvalidRequest(f"the form's field {self._name[:50]!r} is over {LONGEST_FIELD} bytes")
        self._data.append(data[start:end])

    def _part_ends(self) -> None:
        if self._in_file:
            self._file_over = True
            return
        self._fields[self._name] = b"".join(self._data).decode("utf-8", "replace")
        self._data = []

    def _ends(self) -> None:
        self._over = True
