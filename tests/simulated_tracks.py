"""Videos as rows of TRACK_SCHEMA, without images: any motion, any sampling, known faults.

An object is a rectangle on a grid, its area, box and centroid exact; noise on its outline, where
there is any, changes all three a little and the mask every time.
"""

import hashlib
import math

import numpy as np
import pyarrow as pa

from engine.tracks import TRACK_SCHEMA

MOTIONS = (
    "still", "linear", "sine", "wander", "stop and go", "bounce", "approach", "handheld", "walk",
)  # fmt: skip
SIZES = ((96, 64), (320, 180), (640, 480), (1280, 720), (1920, 1080), (1080, 1920), (3840, 2160))


class Video:
    """One video of one or more objects; `rows` may be changed before `table` is asked for."""

    def __init__(self, seed, *, motion=None, frames=None, step=None, objects=1, noise=None):
        self.rng = np.random.default_rng(seed)
        rng = self.rng
        self.width, self.height = SIZES[rng.integers(len(SIZES))]
        self.fps = float(rng.choice([24, 25, 30, 60]))
        self.step = step or int(rng.choice([1, 2, 3, 6, 15, 30]))
        self.n = frames or int(rng.integers(12, 150))
        self.motion = motion or str(rng.choice(MOTIONS))
        self.noise = float(rng.choice([0.0, 0.01, 0.03])) if noise is None else noise
        self.grid = bool(rng.random() < 0.5)
        self.paths = [self.path() for _ in range(objects)]
        self.rows = [self.row(i) for i in range(self.n)]

    def path(self):
        """Centres and sides of one object, as shares of width and height, float64 (n, 4)."""
        rng, n = self.rng, self.n
        seconds = np.arange(n) * self.step / self.fps
        side = rng.uniform(0.04, 0.35, 2)
        scale = np.ones(n)
        start = rng.uniform(0.3, 0.7, 2)
        speed = rng.uniform(0.02, 0.5) * np.array([math.cos(a := rng.uniform(0, 6.3)), math.sin(a)])
        centre = np.tile(start, (n, 1))
        if self.motion == "linear":  # right through the frame, in and out at its edges
            centre = start + np.outer(seconds - rng.uniform(0, seconds[-1]), speed)
        elif self.motion == "sine":
            turn = np.outer(seconds, rng.uniform(0.5, 4, 2)) + rng.uniform(0, 6, 2)
            centre = start + np.sin(turn) * rng.uniform(0.05, 0.3, 2)
        elif self.motion == "wander":  # velocity forgets itself within a second
            keep = math.exp(-self.step / self.fps)
            push = rng.normal(0, 0.15, (n, 2)) * math.sqrt(1 - keep**2)
            velocity = np.zeros(2)
            for i in range(1, n):
                velocity = keep * velocity + push[i]
                centre[i] = centre[i - 1] + velocity * self.step / self.fps
        elif self.motion == "stop and go":
            phase = np.floor(seconds / rng.uniform(1, 3)).astype(int)
            going = rng.random(phase.max() + 1) < 0.5
            centre = start + np.outer(np.cumsum(going[phase]) * self.step / self.fps, speed / 3)
        elif self.motion == "bounce":
            free = start + np.outer(seconds, speed)
            centre = 0.15 + 0.7 * np.abs((free - 0.15) / 0.7 % 2 - 1)
        elif self.motion == "approach":
            scale = np.exp(seconds * rng.uniform(-0.4, 0.4))
            centre = start + np.outer(seconds, speed / 5)
        elif self.motion == "handheld":  # the camera shakes
            centre = start + rng.normal(0, 0.01, (n, 2)) + 0.02 * np.sin(5 * seconds)[:, None]
        elif self.motion == "walk":  # arms and legs swing
            scale = 1 + 0.1 * np.sin(6 * seconds + rng.uniform(0, 6))
            centre = start + np.outer(seconds, speed * [0.3, 0.02])
        return np.hstack([centre, np.outer(np.clip(scale, 0.05, 3), side)])

    def seen(self, k, path):
        """What is seen of a rectangle: area, box, centroid and mask key; None if nothing is."""
        cells = (256, 256) if self.grid else (self.width, self.height)
        x, y, w, h = path
        low = [round((c - s / 2) * n) for c, s, n in ((x, w, cells[0]), (y, h, cells[1]))]
        far = [round((c + s / 2) * n) for c, s, n in ((x, w, cells[0]), (y, h, cells[1]))]
        low = [max(0, v) for v in low]
        far = [min(n, v) for v, n in zip(far, cells, strict=True)]
        if low[0] >= far[0] or low[1] >= far[1]:
            return None
        px = self.width / cells[0], self.height / cells[1]
        box = [low[0] * px[0], low[1] * px[1], (far[0] - low[0]) * px[0], (far[1] - low[1]) * px[1]]
        rough = self.rng.normal(0, self.noise, 3) if self.noise else np.zeros(3)
        area = max(1, round(box[2] * box[3] * math.exp(np.clip(rough[0], -0.2, 0.2))))
        centroid = [box[0] + box[2] * (0.5 + rough[1] / 3), box[1] + box[3] * (0.5 + rough[2] / 3)]
        box = [round(v) for v in box]
        text = f"{k} {low} {far} {rough.tolist()}"
        key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "little")
        return {"object_ids": k, "labels": "dog", "areas": area, "bounding_boxes": box,
                "centroids": centroid, "masks": key}  # fmt: skip

    def row(self, i):
        objects = [self.seen(k, path[i]) for k, path in enumerate(self.paths)]
        return {
            "frame_index": i * self.step, "timestamp_sec": round(i * self.step / self.fps, 3),
            "objects": [o for o in objects if o], "hidden_object_ids": [], "broken": 0,
            "image": f"image {i}",
        }  # fmt: skip

    def visible(self, k):
        """Positions at which object k is seen."""
        return [i for i, row in enumerate(self.rows)
                if any(o["object_ids"] == k for o in row["objects"])]  # fmt: skip

    def at(self, i, k):
        return next(o for o in self.rows[i]["objects"] if o["object_ids"] == k)

    def put(self, i, k, path):
        """Exchange what is seen of object k; its identity is that of `path`, (x, y, w, h)."""
        objects = self.rows[i]["objects"]
        place = next(p for p, o in enumerate(objects) if o["object_ids"] == k)
        objects[place] = self.seen(k, path) | {"labels": objects[place]["labels"]}

    def hide(self, i, k, *, declared):
        """Take object k away; `declared`: as the known exporter does it."""
        row = self.rows[i]
        row["objects"] = [o for o in row["objects"] if o["object_ids"] != k]
        if declared:
            row["hidden_object_ids"].append(k)

    def occlude(self, k, start, length, *, declared):
        """Let object k go behind something and come out again, partly covered on both sides."""
        for i in self.visible(k):
            away = max(start - i, i - (start + length - 1))
            if away <= 0:
                self.hide(i, k, declared=declared)
            elif away <= 2:
                x, y, w, h = self.paths[k][i]
                left = (0.4, 0.7)[away - 1]
                part = x - (1 - left) * w / 2, y, left * w, h
                if self.seen(k, part) is not None:
                    self.put(i, k, part)

    def table(self):
        columns = {name: [] for name in TRACK_SCHEMA.names}
        for row in self.rows:
            seen, hidden = row["objects"], row["hidden_object_ids"]
            own = {
                "id": f"video/{row['frame_index']:06d}", "video_id": "video", "source": "a.zip",
                "width": self.width, "height": self.height, "annotation_digest": str(seen),
                "objects_declared": len(seen) + len(hidden) + row["broken"],
                "objects_hidden": len(hidden),
            } | row  # fmt: skip
            for name in TRACK_SCHEMA.names:
                columns[name].append(own[name] if name in own else [o[name] for o in seen])
        return pa.table(columns, schema=TRACK_SCHEMA)


def inject(video, code):
    """Put one fault into object 0 of a clean video.

    Returns:
        (frame index at which it should be found, object id or None); None if this video cannot
        have it: the object is never there, fills the frame, or stands still where it would freeze.
    """
    rng, seen = video.rng, video.visible(0)
    if code in ("timestamp_mismatch", "image_repeated"):
        i = int(rng.integers(1, video.n))
        row = video.rows[i]
        if code == "image_repeated":
            row["image"] = video.rows[i - 1]["image"]
        else:
            row["timestamp_sec"] += rng.choice([-1, 1]) * rng.uniform(1.0, 60) / video.fps
        return row["frame_index"], None
    if len(seen) < 8:
        return None
    i = int(rng.choice(seen[1:-1]))
    # One frame, some frames, or from here to the end.
    stretch = seen[seen.index(i) :][: int(rng.choice([1, 1, 3, video.n]))]
    if seen[1] == i and len(stretch) == len(seen) - 1:
        return None  # which of the two stretches is wrong, the first frame or the rest?
    fault = {"area_jump": _resize, "centroid_jump": _move, "label_change": _rename,
             "object_flicker": _drop, "mask_frozen": _freeze}[code]  # fmt: skip
    place = fault(video, i, stretch)
    return None if place is None else (video.rows[place]["frame_index"], 0)


def _resize(video, i, stretch):
    factor = video.rng.uniform(2.5, 6) ** video.rng.choice([-1, 1])
    before = video.at(i, 0)["areas"]
    x, y, w, h = video.paths[0][i]
    after = video.seen(0, (x, y, w * factor**0.5, h * factor**0.5))
    if after is None or abs(math.log(after["areas"] / before)) < math.log(2.2):
        return None
    for k in stretch:
        x, y, w, h = video.paths[0][k]
        new = x, y, w * factor**0.5, h * factor**0.5
        if video.seen(0, new) is not None:
            video.put(k, 0, new)
    return i


def _move(video, i, stretch):
    diagonal = math.hypot(video.width, video.height)
    x, y, w, h = video.paths[0][i]
    if w > 0.5 or h > 0.5 or not (w / 2 < x < 1 - w / 2 and h / 2 < y < 1 - h / 2):
        return None  # wholly inside before, and wholly inside after
    steps = np.diff(video.paths[0][:, :2] * [video.width, video.height], axis=0)
    usual = float(np.quantile(np.linalg.norm(steps, axis=1), 0.9))
    for _ in range(50):
        there = video.rng.uniform((w / 2, h / 2), (1 - w / 2, 1 - h / 2))
        away = (there[0] - x) * video.width, (there[1] - y) * video.height
        if math.hypot(*away) >= max(0.25 * diagonal, 2 * usual):  # or it would be motion
            break
    else:
        return None
    for k in stretch:
        x1, y1, w1, h1 = video.paths[0][k]
        new = x1 + there[0] - x, y1 + there[1] - y, w1, h1
        if video.seen(0, new) is not None:
            video.put(k, 0, new)
    return i


def _rename(video, i, stretch):
    for k in stretch:
        video.at(k, 0)["labels"] = "cat"
    return i


def _drop(video, i, _stretch):
    gap = [i, i + 1] if video.step * 3 <= 15 and video.rng.random() < 0.3 else [i]
    if any(k not in video.visible(0) for k in (gap[0] - 1, *gap, gap[-1] + 1)):
        return None
    (x0, y0, w, h), (x1, y1, _, _) = (video.paths[0][k] for k in (gap[0] - 1, gap[-1] + 1))
    if not (w / 2 < x0 < 1 - w / 2 and h / 2 < y0 < 1 - h / 2 and w > 0.02 and h > 0.02):
        return None
    if math.hypot((x1 - x0) * video.width, (y1 - y0) * video.height) > 0.3 * math.hypot(
        w * video.width, h * video.height
    ):
        return None  # at another place: that it was hidden on its way is as likely
    declared = video.step == 1 and len(gap) == 1 and video.rng.random() < 0.5
    if not declared and any(len(video.rows[k]["objects"]) == 1 for k in gap):
        return None  # a frame without any record is an error of its own
    for k in gap:
        video.hide(k, 0, declared=declared)
    return gap[0]


def _freeze(video, i, _stretch):
    length = int(video.rng.integers(3, 9))
    run = list(range(i, min(i + length, video.n)))
    if len(run) < 3 or any(k not in video.visible(0) for k in (i - 1, *run)):
        return None
    way = np.diff(video.paths[0][i - 1 : run[-1] + 1, :2], axis=0)
    if np.linalg.norm(way, axis=1).min() < 2 / 256:
        return None  # the object moves on all the while
    kept = video.at(i - 1, 0)
    for k in run:
        objects = video.rows[k]["objects"]
        place = next(p for p, o in enumerate(objects) if o["object_ids"] == 0)
        objects[place] = dict(kept)
    return i
