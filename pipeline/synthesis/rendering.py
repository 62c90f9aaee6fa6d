"""Move a still face: one smooth dense warp a frame, and one resampling of the still however much is moved at once."""

from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates
from scipy.sparse import coo_array, csr_array
from scipy.spatial.distance import cdist

from pipeline.clip.frames import Frame
from pipeline.clip.mesh.geometry import face_mesh
from pipeline.synthesis.anatomy import Muscles
from pipeline.synthesis.expression import Motion
from pipeline.synthesis.recording import Camera, Portrait
from pipeline.synthesis.skin import Skin

Array = NDArray[np.float64]
Field = NDArray[np.float32]

_STEP = 2  # px of the frame per node of the grid on which displacements live
_TOLERANCE = 0.02  # px, of the inverse of a warp
_MOST_STEPS = 60
_CLOSED = 0.012  # face widths between lips that touch
_OPEN = 2.0  # px that they part until what is between them is seen fully
_MOUTH = 0.3  # brightness of the inside of a mouth that opens, of what is seen of the lips
# Vertices of the mesh along the inner lips, from the right corner over the upper lip; number 5 and 15 face each other.
_INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)


class Stage:
    """A person before a camera: everything about the warp that does not change from frame to frame.

    Args:
        portrait: the person at rest.
        camera: the dataset's camera.
    """

    def __init__(self, portrait: Portrait, camera: Camera) -> None:
        self.portrait, self.camera = portrait, camera
        self._shape = (-(-camera.height // _STEP), -(-camera.width // _STEP))
        rows, columns = np.mgrid[: self._shape[0], : self._shape[1]]
        self._nodes = np.stack([columns, rows], -1).astype(np.float32)  # grid units
        self._centre = portrait.points[:, :2].mean(0)
        self._weights = self._interpolation()

    def forward(self, moved: Array, head: Array) -> Field:
        """Where points of the still go, as displacements on the grid ``(h, w, 2)`` px.

        Args:
            moved: ``(478, 2)`` px, displacement of the mesh with the head's pitch and yaw in it.
            head: a row of ``Motion.head``.
        """
        field = (self._weights @ moved.astype(np.float32)).reshape(*self._shape, 2)
        field = cv2.GaussianBlur(field, (0, 0), 0.006 * self.portrait.face_width / _STEP)
        rigid = self._seats @ self._rigid(head) + (head[:2] * self.portrait.face_width).astype(np.float32)
        return np.asarray(field + self._head_fade[..., None] * rigid, np.float32)

    def backward(self, forward: Field) -> Field:
        """Where points of a frame come from, as displacements on the grid: the inverse of a forward field.

        Fixed point of g(y) = -f(y + g(y)), which contracts while nothing folds over. Most nodes agree
        within a few steps; those of a closing lid take many, so only they go on.
        """
        field = -forward
        for _ in range(3):
            before, field = field, -self._sample(forward, self._nodes + field / _STEP)
        rows, columns = np.nonzero(np.abs(field - before).max(-1) > _TOLERANCE)
        for _ in range(_MOST_STEPS):
            if not len(rows):
                break
            at = np.stack([rows + field[rows, columns, 1] / _STEP, columns + field[rows, columns, 0] / _STEP])
            value = -np.stack([map_coordinates(forward[..., axis], at, order=1, mode="nearest") for axis in (0, 1)], -1)
            going_on = np.abs(value - field[rows, columns]).max(-1) > _TOLERANCE
            field[rows, columns] = value
            rows, columns = rows[going_on], columns[going_on]
        return field

    def resample(self, backward: Field, gain: Field | None = None) -> NDArray[np.float32]:
        """The still seen through a backward warp, ``(H, W, C) float32``.

        ``gain`` ``(H, W)`` is how many times lighter the skin is than on the still, at its place there.
        """
        rows, columns = np.mgrid[: self.camera.height, : self.camera.width].astype(np.float32)
        x, y = cv2.split(self._full(backward) + np.stack([columns, rows], -1))
        still = self.portrait.image
        lit = still if gain is None else cv2.multiply(still, cv2.merge([gain] * still.shape[2])).reshape(still.shape)
        frame = cv2.remap(lit, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(frame.reshape(still.shape), np.float32)

    def part_lips(self, frame: NDArray[np.float32], moved: Array, head: Array) -> NDArray[np.float32]:
        """A frame with the dark of the mouth where lips that are closed on the still leave each other.

        One smooth warp cannot tear them apart. Where the still shows an open mouth, it shows what is in it.

        Args:
            frame: ``(H, W, C) float32``.
            moved: ``(478, 2)`` px, as for ``forward``.
            head: a row of ``Motion.head``.
        """
        still = self.portrait.points[list(_INNER_LIPS), :2]
        if _gap(still) > _CLOSED * self.portrait.face_width:
            return frame
        lips = still + moved[list(_INNER_LIPS)]
        opened = float(np.clip((_gap(lips) - _gap(still)) / _OPEN, 0, 1))
        if opened == 0:
            return frame
        lips = lips + (still - self._centre) @ self._rigid(head) + head[:2] * self.portrait.face_width
        inside = np.zeros(frame.shape[:2], np.float32)
        cv2.fillPoly(inside, [np.asarray((lips * 16).round(), np.int32)], opened, cv2.LINE_AA, 4)
        dark = cv2.GaussianBlur(inside, (0, 0), 0.003 * self.portrait.face_width)[..., None]
        return np.asarray(frame * (1 - dark * (1 - np.float32(_MOUTH))), np.float32)

    def spread(self, values: Array) -> Field:
        """Values of vertices ``(478,)`` between them and fading beside the face, ``(H, W) float32``."""
        return self._full((self._weights @ values.astype(np.float32)).reshape(self._shape))

    def follow(self, forward: Field) -> Array:
        """Where the vertices of the mesh are after a forward warp, ``(478, 2)`` px."""
        at = ((self.portrait.points[:, :2] - (_STEP - 1) / 2) / _STEP).astype(np.float32)
        return np.asarray(self.portrait.points[:, :2] + self._sample(forward, at[None])[0], np.float64)

    def flow(self, start: Field, end: Field) -> NDArray[np.float16]:
        """Motion of each pixel between frames of two forward fields, ``(H, W, 2) float16`` px."""
        back = self.backward(start)
        return self._full(back + self._sample(end, self._nodes + back / _STEP)).astype(np.float16)

    def depth(self, z: Array, forward: Field) -> NDArray[np.float16]:
        """Height of the moved mesh towards the camera, ``(H, W) float16`` px; NaN beside the face."""
        still = (self._surface @ z.astype(np.float32)).reshape(self._shape)
        inside = np.asarray(self._surface.sum(1), np.float32).reshape(self._shape)
        at = self._nodes + self.backward(forward) / _STEP
        moved = self._full(np.stack([self._sample(still, at), self._sample(inside, at)], -1))
        covered = moved[..., 1] > 0.5
        return np.where(covered, moved[..., 0] / np.where(covered, moved[..., 1], 1), np.nan).astype(np.float16)

    def _sample(self, grid: Field, at: NDArray[np.floating]) -> Field:
        x, y = cv2.split(at.astype(np.float32))
        sampled = cv2.remap(grid, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(sampled, np.float32)

    def _full(self, grid: NDArray[np.floating]) -> Field:
        height, width = self._shape
        large = cv2.resize(grid.astype(np.float32), (width * _STEP, height * _STEP), interpolation=cv2.INTER_LINEAR)
        return np.asarray(large[: self.camera.height, : self.camera.width], np.float32)

    @cached_property
    def _seats(self) -> Field:
        return np.asarray(self._nodes * _STEP + (_STEP - 1) / 2 - self._centre, np.float32)

    @cached_property
    def _head_fade(self) -> Field:
        """1 on head and hair, 0 on shoulders and background."""
        width = self.portrait.face_width
        radius = np.hypot(self._seats[..., 0], self._seats[..., 1] * np.where(self._seats[..., 1] < 0, 0.8, 0.9))
        x = np.clip((1.15 - radius / width) / 0.5, 0, 1)
        return np.asarray(x * x * (3 - 2 * x), np.float32)

    def _rigid(self, head: Array) -> Field:
        roll, scale = head[4], np.exp(head[5])
        cos, sin = scale * np.cos(roll), scale * np.sin(roll)
        return np.array([[cos - 1, sin], [-sin, cos - 1]], np.float32)  # acts on row vectors

    @cached_property
    def _surface(self) -> csr_array:
        """Barycentric weights of the nearest triangle at each node, ``(h*w, 478)``; empty rows beside the face."""
        xy = (self.portrait.points[:, :2] - (_STEP - 1) / 2) / _STEP
        triangles = face_mesh(self.camera.width).triangles
        nearest_last = np.argsort(self.portrait.points[triangles, 2].mean(1))
        owner = np.full(self._shape, -1, np.int32)
        bary = np.zeros((*self._shape, 3))
        for index in nearest_last:
            a, b, c = xy[triangles[index]]
            area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
            x0, y0 = np.maximum(np.floor(np.minimum(np.minimum(a, b), c)).astype(int), 0)
            x1, y1 = np.ceil(np.maximum(np.maximum(a, b), c)).astype(int) + 1
            y, x = np.mgrid[y0 : min(y1, self._shape[0]), x0 : min(x1, self._shape[1])]
            if abs(area) < 1e-9 or not x.size:
                continue
            u = ((b[0] - x) * (c[1] - y) - (c[0] - x) * (b[1] - y)) / area
            v = ((c[0] - x) * (a[1] - y) - (a[0] - x) * (c[1] - y)) / area
            weights = np.stack([u, v, 1 - u - v], -1)
            inside = (weights >= -1e-6).all(-1)
            owner[y[inside], x[inside]] = index
            bary[y[inside], x[inside]] = weights[inside]
        nodes = np.flatnonzero(owner.ravel() >= 0)
        columns = triangles[owner.ravel()[nodes]]
        size = (owner.size, len(self.portrait.points))
        values = bary.reshape(-1, 3)[nodes].astype(np.float32)
        return coo_array((values.ravel(), (nodes.repeat(3), columns.ravel())), size).tocsr()

    def _interpolation(self) -> csr_array:
        """The surface's weights, carried on beyond its silhouette and faded to nothing."""
        surface = self._surface
        inside = np.asarray(surface.sum(1)).reshape(self._shape) > 0.5
        reach = 0.16 * self.portrait.face_width / _STEP
        distance = distance_transform_edt(~inside)  # that of OpenCV 5 has two answers, with one thread
        outside = np.flatnonzero((~inside & (distance < reach)).ravel())
        contours, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        rim = max(contours, key=len)[::3, 0]
        nodes = self._nodes.reshape(-1, 2)[outside]
        gap = distance.ravel()[outside]
        spread = 0.5 * gap + 2
        near = np.exp(-0.5 * (cdist(nodes, rim) ** 2 - gap[:, None] ** 2) / spread[:, None] ** 2)
        near[near < 1e-2] = 0
        fade = np.cos(np.pi / 2 * gap / reach) ** 2
        carried = csr_array((near / near.sum(1, keepdims=True) * fade[:, None]).astype(np.float32))
        rim_weights = surface[np.asarray(rim[:, 1] * self._shape[1] + rim[:, 0], np.int64)]
        extended = (carried @ rim_weights).tocoo()
        size = surface.shape
        return csr_array(surface + coo_array((extended.data, (outside[extended.row], extended.col)), size).tocsr())


class Performance:
    """A script played by a person on a stage: frames, and what is true about them.

    Args:
        stage: person and camera.
        muscles, skin: of the person.
        script: what happens.
        wobble: ``(K, 478, 3)`` smooth motions that no action unit explains, in face widths.
        seed: of the sensor noise; each frame has its own stream, so that frames can be rendered in any order.
    """

    def __init__(
        self, stage: Stage, muscles: Muscles, skin: Skin, script: Motion, wobble: Array, seed: tuple[int, ...]
    ) -> None:
        self.stage, self.muscles, self.skin, self.script = stage, muscles, skin, script
        self._wobble, self._seed = wobble, seed

    def moved(self, position: int) -> Array:
        """Intended displacement of the mesh against the portrait, ``(478, 3)`` px, without shift, roll and scale."""
        points, script = self.stage.portrait.points, self.script
        motion = np.einsum("as,asvd->vd", script.au[position], self.muscles.moves)
        motion += np.einsum("k,kvd->vd", script.wobble[position], self._wobble) * self.stage.portrait.face_width
        pitch, yaw = script.head[position, 2:4]
        pivot = points.mean(0) - [0, 0, 0.2 * self.stage.portrait.face_width]
        turned = (points + motion - pivot) @ _nod(pitch, yaw).T + pivot
        return np.asarray(turned - points, np.float64)

    def forward(self, position: int) -> Field:
        """The forward field of one frame."""
        return self.stage.forward(self.moved(position)[:, :2], self.script.head[position])

    def frame(self, position: int) -> Frame:
        """One frame as the camera records it, ``(H, W, 3) uint8`` RGB."""
        moved, head = self.moved(position), self.script.head[position]
        gain = self.skin.fold(1 + self.stage.spread(self.skin.shading(moved)), self.script.au[position])
        image = self.stage.resample(self.stage.backward(self.stage.forward(moved[:, :2], head)), gain)
        image = self.stage.part_lips(image, moved[:, :2], head)
        height, width, channels = image.shape
        brightness, across, down = self.script.light[position]
        gain = 1 + brightness + across * np.linspace(-1, 1, width)[None] + down * np.linspace(-1, 1, height)[:, None]
        noise = np.random.default_rng([*self._seed, position]).standard_normal((height, width), np.float32)
        lit = cv2.multiply(image, cv2.merge([gain.astype(np.float32)] * channels))
        noise_of_all = cv2.merge([noise * np.float32(self.stage.camera.noise)] * channels)
        recorded = cv2.add(lit, noise_of_all, dtype=cv2.CV_8U).reshape(image.shape)  # rounds, and stays in 0..255
        return np.asarray(recorded if channels == 3 else recorded.repeat(3, 2), np.uint8)

    def depth(self, position: int) -> NDArray[np.float16]:
        """Height of the face in a frame towards the camera, ``(H, W) float16`` px; NaN beside it."""
        return self.stage.depth(self.vertices(position)[:, 2], self.forward(position))

    def vertices(self, position: int) -> Array:
        """The mesh in a frame, ``(478, 3)`` px, z towards the camera: x and y as the warp really moved them."""
        z = self.stage.portrait.points[:, 2] + self.moved(position)[:, 2]
        return np.column_stack([self.stage.follow(self.forward(position)), z])


def _gap(lips: Array) -> float:
    """Between the middle of the upper and of the lower lip, px; below 0 where they cross."""
    return float(lips[15, 1] - lips[5, 1])


def _nod(pitch: float, yaw: float) -> Array:
    cp, sp, cy, sy = np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw)
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return np.asarray(about_y @ about_x)
