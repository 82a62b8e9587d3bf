"""What a newcomer waits for: importing, the first fit with its compilation, and a fit after that.

CPU seconds, in fresh processes, run in turn; medians. The warm fit is wall time.
"""

import statistics
import subprocess
import sys

from paired import header

CLOCK = """
import resource, statistics, time
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
"""
IMPORT = CLOCK + "begin = cpu(); import {}; print(cpu() - begin)"
FIT = (
    CLOCK
    + """
import gmm_jax
from gmm_jax.datasets import BENTOS
begin = cpu()
gmm_jax.fit(BENTOS, 2)
first = cpu() - begin
times = []
for _ in range(200):
    begin = time.perf_counter()
    gmm_jax.fit(BENTOS, 2)
    times.append(time.perf_counter() - begin)
print(first, statistics.median(times) * 1e3)
"""
)


def run(program: str) -> list[float]:
    """The numbers that a fresh process prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return [float(number) for number in done.stdout.split()]


def main() -> None:
    """Print the figures and what they should be at most."""
    header()
    rounds = [
        (*run(IMPORT.format("jax")), *run(IMPORT.format("gmm_jax")), *run(FIT)) for _ in range(7)
    ]
    jax_import, our_import, first, warm = (statistics.median(c) for c in zip(*rounds, strict=True))
    print(f"import jax            {jax_import:6.2f} s")
    print(f"import gmm_jax        {our_import:6.2f} s   {our_import / jax_import:.2f} x (<= 1.3)")
    print(f"first fit of bentos   {first:6.2f} s   (< 3)")
    print(f"warm fit of bentos    {warm:6.2f} ms  (< 2)")


if __name__ == "__main__":
    main()
