"""Arrow tables at rest: Parquet files written whole or not at all, read by column.

Parquet rather than Arrow IPC for everything between the stages and in `OUT/index`: the driver reads
the narrow columns of a million frames without touching their masks.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.byte_ranges import local_path
from engine.measures import note
from engine.storage import AtomicFile, FileDigest, read_bytes

__all__ = ["read_stream", "read_table", "write_table"]


def write_table(path: str, table: pa.Table, *, name: str = "", durable: bool = True) -> FileDigest:
    """Write a table as one Parquet file, atomically; the same table gives the same bytes.

    Args:
        path: local path or fsspec URL.
        table: what to write.
        name: the file's name in the manifest.
        durable: wait until it is on the disk; what is only staged need not.
    """
    with AtomicFile(path, name=name, durable=durable) as sink:
        # pyarrow closes a Python file it was given by path only; ours is committed by `with`.
        pq.write_table(table, pa.PythonFile(sink, mode="w"), compression="zstd")
    return sink.digest()


def read_table(path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file, or only some of its columns.

    Raises:
        FileNotFoundError: there is no such file.
    """
    place = local_path(path)
    source = pa.BufferReader(read_bytes(path)) if place is None else str(place)
    file = pq.ParquetFile(source)
    if place is not None:  # or `read_bytes` has counted all of it
        note("bytes_read", _stored_bytes(file.metadata, columns))
    return file.read(columns=None if columns is None else list(columns))


def _stored_bytes(metadata: Any, columns: Sequence[str] | None) -> int:
    """Bytes that some columns of a Parquet file take."""
    chunks = (
        metadata.row_group(group).column(place)
        for group in range(metadata.num_row_groups)
        for place in range(metadata.num_columns)
    )
    wanted = None if columns is None else set(columns)
    return sum(
        chunk.total_compressed_size
        for chunk in chunks
        if wanted is None or chunk.path_in_schema.partition(".")[0] in wanted
    )


def read_stream(path: str) -> pa.Table:
    """Read an Arrow IPC stream, as the shards of `hf` are; a local one is mapped, not read.

    Raises:
        FileNotFoundError: there is no such file.
        pa.ArrowInvalid: it is no stream.
    """
    place = local_path(path)
    source = pa.memory_map(str(place)) if place is not None else pa.BufferReader(read_bytes(path))
    with pa.ipc.open_stream(source) as stream:
        return stream.read_all()
