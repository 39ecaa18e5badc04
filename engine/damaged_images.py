"""Images that a dataset has set aside because they could not be read, and whether they come whole.

The digest of an export's content is made of names, sizes and CRCs as its ZIP declares them. A
download that went wrong leaves those as they were: the damaged export and the repaired one have one
digest, and only the bytes of its images tell them apart.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine.config import Config
from engine.frame_check import image_problem
from engine.images import ImageInfo, read_header
from engine.manifest import read_issues
from engine.members import Member, MemberError, content_digest, read_member, with_crcs
from engine.pixels import DAMAGED
from engine.sav_listing import list_exports
from engine.shards import check_level
from engine.storage import file_name, join
from engine.tables import read_table

__all__ = ["Damaged", "brings_repaired", "damaged_images"]

Damaged = Mapping[str, frozenset[tuple[str, int, int]]]
"""Name without folders, size in bytes and CRC-32 of images, by the digest of their export."""

_QUARANTINE = "index/quarantine-"


def damaged_images(out: str, manifest: Mapping[str, Any]) -> Damaged:
    """Name the images that a dataset has set aside because their bytes could not be read.

    Args:
        out: the dataset.
        manifest: of it.
    """
    files = [f["path"] for f in manifest["files"] if f["path"].startswith(_QUARANTINE)]
    if not files:
        return {}
    found_bad = (issue["frame_id"] for issue in read_issues(out) if issue["code"] in DAMAGED)
    bad = pa.array(found_bad, pa.string())
    found: dict[str, set[tuple[str, int, int]]] = {}
    columns = ["export_digest", "image_name", "image_bytes", "image_crc32"]
    for file in files:
        table = read_table(join(out, file), ["id", *columns])
        for row in table.filter(pc.is_in(table["id"], value_set=bad)).select(columns).to_pylist():
            digest, *image = row.values()
            found.setdefault(digest, set()).add(tuple(image))
    return {digest: frozenset(images) for digest, images in found.items()}


def brings_repaired(export: str, damaged: Damaged, config: Config) -> bool:
    """Say whether an export whose content a dataset knows has an image whole that was damaged then.

    Reads these images alone, up to the first one that is whole.

    Args:
        export: a source, as `find_sources` gives it.
        damaged: as `damaged_images` gives it.
        config: how far images are checked, and the caps.

    Raises:
        ExportError: it cannot be read.
    """
    if not damaged:
        return False
    for members in list_exports(export, caps=config.caps):
        listed = list(with_crcs(members).values())
        wanted = damaged.get(content_digest(listed), ())
        for member in listed:
            image = (file_name(member.name), member.size, member.crc32)
            if image in wanted and _is_whole(members.location, member, config):
                return True
    return False


def _is_whole(location: str, member: Member, config: Config) -> bool:
    try:
        data = read_member(location, member)
    except MemberError:
        return False
    if not isinstance(read_header(data), ImageInfo):
        return False
    return image_problem(data, check_level(config, data)) is None
