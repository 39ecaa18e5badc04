"""Exports of a few small frames, for the tests that care for what becomes of them."""

from engine.sample_export import write_sample_export

SMALL = {"frames": 12, "width": 64, "height": 48, "truth": False}


def write_videos(place, several):
    """Write one export for each description of a video: paths, in order."""
    paths = []
    for number, more in enumerate(several):
        path = place / f"v{number}.zip"
        write_sample_export(path, filename=f"v{number}.mp4", **SMALL | more)
        paths.append(str(path))
    return paths
