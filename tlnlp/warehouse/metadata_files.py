"""Read each metadata file of a table once, however often a night needs it.

Iceberg never changes a metadata file, a list of manifests or a manifest, and never uses a name again. So what was read
once under a name holds. Which of these files are current is said by the table's pointer, which is not kept here.
"""

from __future__ import annotations

from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING

from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem
    from pyiceberg.io import FileIO, InputStream
    from pyiceberg.typedef import Properties

# Manifests are cut at 8 MB by default.
MOST_BYTES = 64 * 2**20
_SUFFIXES = (".json", ".avro")


class MetadataFiles:
    """The contents of files by URI, at most ``most_bytes`` in all. The files that were read first leave first."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._contents: dict[str, bytes] = {}
        self._lock = Lock()

    def get(self, uri: str) -> bytes | None:
        """Return the content of a file; None if it must be read."""
        with self._lock:
            return self._contents.get(uri)

    def put(self, uri: str, content: bytes) -> None:
        """Keep the content of a file."""
        with self._lock:
            if uri in self._contents:
                return
            self._contents[uri] = content
            self._bytes += len(content)
            while self._bytes > self._most_bytes:
                self._bytes -= len(self._contents.pop(next(iter(self._contents))))

    def wrapped(self, io: FileIO) -> FileIO:
        """Return access to files that looks here first, if ``io`` is PyIceberg's own through pyarrow; else ``io``."""
        return _CachingFileIO(io.properties, self) if type(io) is PyArrowFileIO else io


class _CachingFileIO(PyArrowFileIO):
    def __init__(self, properties: Properties, files: MetadataFiles) -> None:
        super().__init__(properties)
        self._files = files

    def new_input(self, location: str) -> PyArrowFile:
        if not location.endswith(_SUFFIXES):
            return super().new_input(location)
        scheme, netloc, path = self.parse_location(location, self.properties)
        return _MetadataFile(location, path, self.fs_by_scheme(scheme, netloc), self._files)


class _MetadataFile(PyArrowFile):
    def __init__(self, location: str, path: str, filesystem: FileSystem, files: MetadataFiles) -> None:
        super().__init__(location, path, filesystem)
        self._files = files

    def open(self, seekable: bool = True) -> InputStream:
        content = self._files.get(self.location)
        if content is None:
            with super().open(seekable=False) as stream:
                content = stream.read()
            self._files.put(self.location, content)
        return BytesIO(content)
