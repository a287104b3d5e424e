"""Finds the same slice twice: scaled, cropped, re-encoded, annotated, windowed anew or turned a little.

Three steps, each for what the one before let through. Local features (SIFT: Lowe 2004, doi
10.1023/B:VISI.0000029664.99615.94, through OpenCV) of all slices are looked up in one index (faiss), so
that the time grows far less than with the number of pairs. A pair that shares several is aligned by an
affine map that its features agree on (RANSAC). Aligned, the fine structure of the two is correlated tile
by tile: copies agree in nearly all tiles, arrows and letters spoil a few, and neighbouring slices of one
scan agree in chest wall and table but not in the vessels. Perceptual hashes of the whole picture are
lighter but miss copies that are cropped by a tenth: `benchmarks/near_duplicates.py` measures both.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import faiss
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

SAME_IMAGE = 0.93
"""Similarity from which two slices are one image: of planted copies 99 in 100 reach it."""
SAME_SCAN = 0.6
"""Similarity from which two slices are neighbours in one scan, or one slice under another window."""

_SIDE = 256
_STORED, _INDEXED = 96, 48
"""Features of a slice that are kept, and the strongest of them that are looked up."""
_NEIGHBOURS = 8
_ROOT_DISTANCE = 0.35
"""Largest squared distance of two features that count as one."""
_SHARED = 6
"""Features that two slices share before they are compared."""
_CANDIDATES = 6
"""Slices that one is compared with, at most."""
_CHUNK = 512
"""Slices whose features are looked up at a time."""
_TRAINING = 2000
"""Slices from whose features the index learns its cells, about."""
_EXACT = 20_000
"""Features up to which the index is exact."""
_AGREEING = 8
"""Features that must agree on how two slices lie on each other."""
_TILE, _TILES, _FLAT, _EDGE = 32, 8, 4, 17
"""Side of a tile in pixels, fewest tiles, least variance of a textured tile, pixels left out at the edge."""
_RECORD = np.dtype([("count", "i4"), ("points", "f4", (_STORED, 2)), ("descriptors", "u1", (_STORED, 128))])


class SimilarPair(NamedTuple):
    """Two slices that look alike: their numbers, the lower first, and how alike they are, up to 1."""

    first: int
    second: int
    similarity: float


class FeatureStore:
    """The local features of many slices and small copies of them, numbered in the order in which they came.

    A context manager: it keeps them in temporary files, some 50 kB a slice, which are gone at the end.

    Args:
        folder: Where to make the files, or None for the system's place.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._features = tempfile.TemporaryFile(dir=folder)
        self._pictures = tempfile.TemporaryFile(dir=folder)
        self._ends = [0]
        self._total = 0
        self._sift = cv2.SIFT_create(nfeatures=_STORED, contrastThreshold=0.02)

    def __enter__(self) -> "FeatureStore":
        return self

    def __exit__(self, *_) -> None:
        self._features.close()
        self._pictures.close()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, grey: np.ndarray) -> None:
        """Keep the next slice.

        Args:
            grey: A slice as (height, width) greys of 8 bits.
        """
        small = _shrink(grey)
        points, descriptors = self._sift.detectAndCompute(small, None)
        strongest = sorted(range(len(points)), key=lambda at: -points[at].response)[:_STORED]
        record = np.zeros((), _RECORD)
        record["count"] = len(strongest)
        for row, at in enumerate(strongest):
            record["points"][row] = points[at].pt
            record["descriptors"][row] = descriptors[at]
        self._features.write(record.tobytes())
        encoded = cv2.imencode(".png", small, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
        self._pictures.write(encoded)
        self._ends.append(self._ends[-1] + len(encoded))
        self._total += min(len(strongest), _INDEXED)

    def pairs(self) -> Iterator[SimilarPair]:
        """All pairs of at least `SAME_SCAN`, each once."""
        for first, second in self._candidates():
            aligned = _align(self._records(first, 1)[0], self._records(second, 1)[0])
            if aligned is not None:
                similarity = _similarity(self._picture(first), self._picture(second), aligned)
                if similarity >= SAME_SCAN:
                    yield SimilarPair(first, second, similarity)

    def _records(self, start: int, count: int) -> np.ndarray:
        self._features.seek(start * _RECORD.itemsize)
        return np.frombuffer(self._features.read(count * _RECORD.itemsize), _RECORD)

    def _picture(self, number: int) -> np.ndarray:
        start, end = self._ends[number : number + 2]
        self._pictures.seek(start)
        return cv2.imdecode(np.frombuffer(self._pictures.read(end - start), np.uint8), cv2.IMREAD_GRAYSCALE)

    def _chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Features to look up, chunk by chunk, each with the slice that it belongs to."""
        for start in range(0, len(self), _CHUNK):
            records = self._records(start, min(_CHUNK, len(self) - start))
            counts = np.minimum(records["count"], _INDEXED)
            yield _strongest(records), np.repeat(np.arange(start, start + len(records)), counts)

    def _candidates(self) -> Iterator[tuple[int, int]]:
        """Pairs that share features, the lower number first, each once."""
        index, owner = self._index()
        seen = set()
        chunks = tqdm(self._chunks(), total=-(-len(self) // _CHUNK), desc="comparing", delay=2, disable=None)
        for features, owners in chunks:
            if not len(features):
                continue
            distances, found = index.search(features, _NEIGHBOURS)
            others = np.where((found >= 0) & (distances <= _ROOT_DISTANCE), owner[found], -1)
            others[others == owners[:, None]] = -1
            for number in np.unique(owners):
                rows = others[owners == number]
                shared = Counter(other for row in rows for other in set(row[row >= 0].tolist()))
                for other, count in shared.most_common(_CANDIDATES):
                    pair = (min(int(number), other), max(int(number), other))
                    if count >= _SHARED and pair not in seen:
                        seen.add(pair)
                        yield pair

    def _index(self) -> tuple[faiss.Index, np.ndarray]:
        """An index of all features, and the slice that each belongs to."""
        if self._total < _EXACT:
            index = faiss.IndexFlatL2(128)
        else:
            index = faiss.index_factory(128, f"PCA64,IVF{round(2 * self._total**0.5)},SQ8")
            index.train(self._sample())
            faiss.extract_index_ivf(index).nprobe = 4
        owners = []
        for features, chunk_owners in self._chunks():
            index.add(features)
            owners.append(chunk_owners)
        return index, np.concatenate([*owners, np.zeros(1, int)])

    def _sample(self) -> np.ndarray:
        """Features of slices from all over the data set."""
        step = max(1, len(self) // _TRAINING)
        return _strongest(np.concatenate([self._records(at, 1) for at in range(0, len(self), step)]))


def alike_groups(greys: Iterable[np.ndarray]) -> np.ndarray:
    """Number the groups of slices that near duplicates link, directly or through others.

    Args:
        greys: Slices as (height, width) greys of 8 bits.

    Returns:
        (N,) the group of each slice, counted from 0 in the order of their first slices.
    """
    with FeatureStore() as store:
        for grey in greys:
            store.add(grey)
        links = np.array([pair[:2] for pair in store.pairs()], dtype=int).reshape(-1, 2)
        shape = (len(store), len(store))
    return connected_components(coo_array((np.ones(len(links)), links.T), shape=shape), directed=False)[1]


def _shrink(grey: np.ndarray) -> np.ndarray:
    """A slice whose longer side has `_SIDE` pixels."""
    scale = _SIDE / max(grey.shape)
    size = tuple(max(32, round(side * scale)) for side in grey.shape[::-1])
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _strongest(records: np.ndarray) -> np.ndarray:
    """The features of some slices that are looked up, one after the other."""
    kept = np.arange(_INDEXED) < records["count"][:, None]
    return _root(records["descriptors"][:, :_INDEXED][kept])


def _root(descriptors: np.ndarray) -> np.ndarray:
    """RootSIFT (Arandjelović and Zisserman 2012): Euclidean distance becomes Hellinger's."""
    values = descriptors.astype(np.float32)
    return np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1))


def _align(first: np.void, second: np.void) -> np.ndarray | None:
    """The affine map (2, 3) from the first slice to the second on which their features agree, if any."""
    one, other = (_root(record["descriptors"][: record["count"]]) for record in (first, second))
    if min(len(one), len(other)) < _AGREEING:
        return None
    matches = cv2.BFMatcher().knnMatch(one, other, k=2)
    clear = [best for best, next_best in matches if best.distance < 0.85 * next_best.distance]
    if len(clear) < _AGREEING:
        return None
    aligned, agreeing = cv2.estimateAffine2D(
        first["points"][[match.queryIdx for match in clear]],
        second["points"][[match.trainIdx for match in clear]],
        ransacReprojThreshold=2.5,
    )
    return aligned if aligned is not None and agreeing.sum() >= _AGREEING else None


def _similarity(first: np.ndarray, second: np.ndarray, aligned: np.ndarray) -> float:
    """Correlation of the fine structure of two aligned slices, in the tile at the lower third."""
    height, width = second.shape
    warped = cv2.warpAffine(first, aligned, (width, height))
    inside = cv2.warpAffine(np.full(first.shape, 255, np.uint8), aligned, (width, height)) == 255
    inside = cv2.erode(inside.astype(np.uint8), np.ones((_EDGE, _EDGE), np.uint8)).astype(np.float32)
    one, other = (_fine(picture.astype(np.float32)) for picture in (warped, second))

    def over_tiles(values: np.ndarray) -> np.ndarray:
        summed = cv2.boxFilter(values * inside, -1, (_TILE, _TILE), normalize=False)
        return summed[_TILE // 2 :: _TILE // 2, _TILE // 2 :: _TILE // 2]

    count = np.maximum(over_tiles(np.ones_like(inside)), 1)
    mean_one, mean_other = over_tiles(one) / count, over_tiles(other) / count
    variance_one = over_tiles(one * one) / count - mean_one**2
    variance_other = over_tiles(other * other) / count - mean_other**2
    covariance = over_tiles(one * other) / count - mean_one * mean_other
    textured = (count > _TILE**2 / 2) & (np.maximum(variance_one, variance_other) > _FLAT)
    if textured.sum() < _TILES:
        return 0.0
    correlation = covariance / np.sqrt(np.maximum(variance_one * variance_other, 1))
    return float(np.quantile(correlation[textured], 0.3))


def _fine(picture: np.ndarray) -> np.ndarray:
    """Structure of 1 to 4 pixels: vessels and airways, not the shape of the chest."""
    return cv2.GaussianBlur(picture, (0, 0), 1) - cv2.GaussianBlur(picture, (0, 0), 4)
