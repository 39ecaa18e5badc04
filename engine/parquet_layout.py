"""Parquet files with the images in them: what `datasets.load_dataset` streams and the Hub shows.

The columns are those of `hf`, with the image in `images`, a list of one, which TRL, axolotl,
unsloth and LLaMA-Factory take as it is; who wants `image` has `hf` for it. One file a shard, named
without a total, so that no file is ever renamed when shards are added.

A reader that streams holds a row group or two in memory, and one that wants some rows fetches whole
row groups. So a row group ends at 100 rows (what the Hub's viewer shows of a file at a time) or at
32 MB of images (what a reader gets in one large request), whichever comes first. Image bytes are
compressed already: no codec for them, and no statistics, which would be whole images. They lie in
the file as they are, so that the Hub, which stores equal stretches of bytes once, finds them again
in the next version wherever they have moved to (pages that end by content, which pyarrow offers for
that, were tried and added nothing). The page index lets a filter on `frame_index` skip pages.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.hf_columns import arrow_schema, columns_with, training_batch
from engine.samples import Part, Samples
from engine.storage import AtomicFile

__all__ = ["open_part", "parquet_name"]

# Leaves whose values hardly ever come twice: a dictionary of them is a second copy, without pages.
_UNIQUE = ("bytes", "counts", "text", "value")

_GROUP_ROWS = 100
_GROUP_BYTES = 32 * 2**20


def parquet_name(split: str, number: int) -> str:
    """Give the name in OUT of a shard's file; it does not change when shards are added."""
    return f"parquet/{split}-{number:05d}.parquet"


@contextmanager
def open_part(part: Part) -> Iterator[Callable[[Samples], None]]:
    """Write a shard's Parquet file; what is yielded takes its rows."""
    name = parquet_name(part.split, part.number)
    schema = arrow_schema(columns_with("images"))
    with (
        AtomicFile(part.path(name), name=name, durable=False) as sink,
        _writer(sink, schema) as writer,
    ):
        groups = _RowGroups(writer)

        def write(samples: Samples) -> None:
            sizes = [len(image.data or b"") for image in samples.images]
            groups.add(training_batch(schema, samples, samples.images), sizes)

        yield write
        groups.end()
    part.files.append(sink.digest())


def _writer(sink: AtomicFile, schema: pa.Schema) -> pq.ParquetWriter:
    leaves = [path for field in schema for path in _leaves(field.name, field.type)]
    plain = [path for path in leaves if not path.endswith(".bytes")]
    return pq.ParquetWriter(
        pa.PythonFile(sink, mode="w"),
        schema,
        compression={path: "zstd" if path in plain else "none" for path in leaves},
        use_dictionary=[path for path in leaves if path.rsplit(".", 1)[-1] not in _UNIQUE],
        write_statistics=plain,
        write_page_index=True,
    )


def _leaves(path: str, kind: pa.DataType) -> list[str]:
    """Name a column's leaves as the Parquet schema does."""
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(f"{path}.{field.name}", field.type)]
    if pa.types.is_list(kind):
        return _leaves(f"{path}.list.element", kind.value_type)
    return [path]


class _RowGroups:
    """Gathers rows to row groups, however they come in batches.

    Args:
        writer: of the file; it holds nothing back.
    """

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._pending: list[pa.RecordBatch] = []
        self._rows = 0
        self._bytes = 0

    def add(self, batch: pa.RecordBatch, sizes: list[int]) -> None:
        """Take rows; `sizes` are the bytes of their images."""
        start = 0
        for stop, size in enumerate(sizes, start=1):
            self._rows += 1
            self._bytes += size
            if self._rows == _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
                self._pending.append(batch.slice(start, stop - start))
                self.end()
                start = stop
        if start < len(sizes):
            self._pending.append(batch.slice(start))

    def end(self) -> None:
        """Write what is pending as one row group."""
        if self._rows:
            # In one piece: how the rows came must not show in the pages.
            table = pa.Table.from_batches(self._pending).combine_chunks()
            self._writer.write_table(table, row_group_size=self._rows)
        self._pending, self._rows, self._bytes = [], 0, 0
