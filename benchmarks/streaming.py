"""EM on a memory-mapped file: seconds for each pass and peak resident memory.

    python benchmarks/streaming.py [rows]

Writes a file of `rows` points (10,000,000 unless told), 8 features, float32, then fits 16
components to it in a fresh process.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROWS, FEATURES, COMPONENTS, CHUNK = 10_000_000, 8, 16, 500_000
PASSES = 6


def write(path: Path, rows: int) -> None:
    """Clusters, written a chunk at a time."""
    rng = np.random.default_rng(0)
    centres = 4 * rng.normal(size=(COMPONENTS, FEATURES)).astype(np.float32)
    with path.open("wb") as file:
        for begin in range(0, rows, CHUNK):
            n = min(CHUNK, rows - begin)
            noise = rng.normal(size=(n, FEATURES)).astype(np.float32)
            file.write((centres[rng.integers(COMPONENTS, size=n)] + noise).tobytes())


def fit(path: Path) -> None:
    """Fit in this process, and print what it took."""
    import gmm_jax

    def read():
        # Mapped anew for each chunk, so that pages read before are given back.
        rows = path.stat().st_size // (4 * FEATURES)
        for begin in range(0, rows, CHUNK):
            n = min(CHUNK, rows - begin)
            offset = begin * FEATURES * 4
            yield np.memmap(path, np.float32, "r", offset=offset, shape=(n, FEATURES))

    for family in (gmm_jax.Normal, gmm_jax.MultivariateNormal):
        marks = []

        def marked(marks=marks):
            marks.append((time.perf_counter(), time.process_time()))
            return read()

        begin = time.perf_counter()
        result = gmm_jax.fit_chunks(
            marked, COMPONENTS, family=family, max_steps=PASSES, tol=0, n_restarts=2
        )
        # The first two reads look at the first chunk and survey the data.
        seconds = np.median(np.diff(np.array(marks)[2:], axis=0), axis=0)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{family.__name__:<20} {seconds[0]:6.2f} s a pass (CPU {seconds[1]:.2f} s), "
            f"{time.perf_counter() - begin:.1f} s in all, peak memory {peak:.2f} GiB, "
            f"log likelihood per point {result.log_likelihood / result.size:.6f}",
            flush=True,
        )


def main() -> None:
    """Write the file and fit it in a subprocess."""
    if sys.argv[1:2] == ["--fit"]:
        fit(Path(sys.argv[2]))
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "points.float32"
        write(path, rows)
        print(f"{rows} rows of {FEATURES} float32, {path.stat().st_size / 2**20:.0f} MiB")
        subprocess.run([sys.executable, __file__, "--fit", str(path)], check=True)


if __name__ == "__main__":
    main()
