"""A scan and its mask as axial slices that lie on one another, whichever way the voxels of each run.

A NIfTI header holds an affine, which says where in the patient a voxel is. A mask is brought into its scan's
orientation by the two of them: its axes may run the other way, or in another order. Beyond that the affines must be
one, to :data:`CLOSE`. Where the scan or the mask has none (both codes are 0), and where the affines are not to be
believed, a mask's voxel belongs to the scan's with the same indices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limen.errors import DataError, require

CLOSE = 0.1
"""In voxels of the scan: how far a mask's voxel may lie from it. Affines are stored rounded."""
Affine = NDArray[np.float64]


@dataclass(frozen=True)
class Volume:
    """A NIfTI image and its name for a message."""

    image: Any
    where: str

    @property
    def sides(self) -> str:
        """Voxels along each axis."""
        return "×".join(map(str, self.image.shape))

    @property
    def says_where(self) -> bool:
        """Whether the header says how it lies."""
        return bool(self.image.header["sform_code"] > 0 or self.image.header["qform_code"] > 0)


@dataclass(frozen=True)
class Laid:
    """A scan and its mask with the affine of each."""

    scan: Volume
    mask: Volume
    scan_affine: Affine
    mask_affine: Affine

    @property
    def turned(self) -> bool:
        """Whether the mask's axes run otherwise than the scan's."""
        return not np.array_equal(_orientation(self.scan_affine), _orientation(self.mask_affine))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres from slice to slice, row to row, column to column."""
        sizes = np.linalg.norm(self.scan_affine[:3, :3], axis=0)
        axes = _orientation(self.scan_affine)[:, 0]
        left, front, up = (float(sizes[np.flatnonzero(axes == axis)[0]]) for axis in range(3))
        return up, front, left

    def slices(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Axial slices from the feet up, seen from below with the front up, each with its mask's."""
        return zip(_planes(self.scan.image, self.scan_affine), _planes(self.mask.image, self.mask_affine), strict=True)


def laid(scan: Volume, mask: Volume, *, by_header: bool) -> Laid:
    """The mask on its scan."""
    if by_header and scan.says_where and mask.says_where:
        found = Laid(scan, mask, _affine(scan), _affine(mask))
        _check_grid(found)
        return found
    affine = _affine(mask if mask.says_where and not scan.says_where else scan)
    if scan.image.shape != mask.image.shape:
        raise _other_sides(scan, mask)
    return Laid(scan, mask, affine, affine)


def _affine(volume: Volume) -> Affine:
    found: Affine = volume.image.affine
    if not np.isfinite(found).all() or np.isnan(_orientation(found)).any():
        raise DataError(
            f"{volume.where} does not say how the scan lies (its affine has no inverse); replace or remove it."
        )
    return found


def _orientation(affine: Affine) -> NDArray[np.float64]:
    """For each axis of the voxels the patient's axis (right, front, up) along which it runs, and in which direction."""
    found: NDArray[np.float64] = _nibabel().io_orientation(affine)
    return found


def _nibabel() -> Any:
    return require("nibabel", "medical", "NIfTI volumes need nibabel")


def _check_grid(found: Laid) -> None:
    """Raise unless both have the same voxels once they run the same way."""
    sides, scan = _upright(found.scan, found.scan_affine)
    other_sides, mask = _upright(found.mask, found.mask_affine)
    if sides != other_sides:
        raise _other_sides(found.scan, found.mask)
    corners = np.stack([*map(np.ravel, np.meshgrid(*((0, side - 1) for side in sides))), np.ones(8)])
    apart = float(np.abs(np.linalg.inv(scan) @ mask @ corners - corners).max())
    if not apart <= CLOSE:
        raise DataError(
            f"{found.mask.where} lies up to {apart:.1f} voxels off its scan by their headers: its voxels are "
            f"{_grid(mask)}, those of {found.scan.where} {_grid(scan)}. Resample it onto the scan's voxels, or give "
            "--orientation stored if its header is wrong and voxel lies on voxel as they are stored."
        )


def _upright(volume: Volume, affine: Affine) -> tuple[tuple[int, ...], Affine]:
    """Voxels to the right, to the front and up, and the affine that they would have in this order."""
    orientation = _orientation(affine)
    turn: Affine = affine @ _nibabel().orientations.inv_ornt_aff(orientation, volume.image.shape)
    order = np.argsort(orientation[:, 0])
    return tuple(volume.image.shape[axis] for axis in order), turn


def _grid(affine: Affine) -> str:
    sizes = "×".join(f"{size:.4g}" for size in np.linalg.norm(affine[:3, :3], axis=0))
    return f"{sizes} mm from ({', '.join(f'{place:.4g}' for place in affine[:3, 3])})"


def _other_sides(scan: Volume, mask: Volume) -> DataError:
    return DataError(
        f"{mask.where} has {mask.sides} voxels, but its scan {scan.where} has {scan.sides}; they must be the same."
    )


def _planes(image: Any, affine: Affine) -> Iterator[NDArray[Any]]:
    """Rows from front to back, columns from right to left."""
    lies = _orientation(affine)
    left, front, up = (int(np.flatnonzero(lies[:, 0] == axis)[0]) for axis in range(3))
    flips = tuple(slice(None, None, -1 if lies[axis, 1] > 0 else 1) for axis in (front, left))
    count = image.shape[up]
    for index in range(count) if lies[up, 1] > 0 else range(count - 1, -1, -1):
        plane = np.asarray(image.dataobj[tuple(index if axis == up else slice(None) for axis in range(3))])
        yield (plane.T if left < front else plane)[flips]
