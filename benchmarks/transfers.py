"""Large files: uploads and downloads of artifacts beside nginx, which writes and serves the same bytes.

    python -m benchmarks.transfers --size 1GiB --rounds 5

Both servers run on loopback, on the same disk, and take turns; the client is the same for both and costs little.
Reports medians of the rounds, ratios of the same round, and how much memory the service needs meanwhile. In the end one
bit of a file is changed, and has to be found. Exits with 1 when a rate is under half of nginx's, memory grows, or the
bit is not found.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.environment import BUILD, RESULTS, UnavailableError
from benchmarks.machine import task_conditions
from benchmarks.report import fill_page
from benchmarks.tasks_service import Quiet
from benchmarks.transfers_report import PAGE, RANDOM, Damage, Sample, TransferReport
from benchmarks.transfers_servers import Nginx, Ours, Server
from benchmarks.transfers_wire import WireError

MIB, GIB = 1 << 20, 1 << 30
SMALLEST, LARGEST = 16 * MIB, 16 * GIB  # the service takes no larger artifact by default
MOST_ROUNDS = 50
COPIES = 4  # of the file that are on the disk at once: the source, two to download, one that is being uploaded
SPARE = GIB  # bytes of the disk that stay free
RANGE, RANDOM_RANGE, RANDOM_RANGES = 16 * MIB, MIB, 256
SEED = 5


@dataclass(frozen=True)
class Transfer:
    """One way in which bytes go. `move` is what is timed; it may name a file that is deleted afterwards."""

    group: str
    name: str
    server: Server
    move: Callable[[], str | None]
    size: int


class Run:
    """Both servers with the file to download, and what is measured of them."""

    def __init__(self, folder: Path, size: int, say: Callable[[str], None]) -> None:
        self._folder, self._size, self._say = folder, size, say
        self._source = folder / "source"
        self._sha256 = _write(self._source, size)
        self.samples: list[Sample] = []
        self._nginx = Nginx(folder / "nginx")
        try:
            self._ours = Ours(folder / "ours")
        except BaseException:
            self._nginx.stop()
            raise

    def nginx_version(self) -> str:
        return self._nginx.version()

    def stop(self) -> None:
        self._nginx.stop()
        self._ours.stop()

    def prepare(self) -> float:
        """Puts the file into both, checks that both give the same bytes back, and forgets what was for warming up.
        Returns the MiB that the service has at rest."""
        small = self._folder / "small"
        small.write_bytes(bytes(MIB))
        for upload in (self._ours.upload, self._ours.upload_form, self._ours.upload_pieces):
            self._ours.delete(upload(small))
        rest = self._ours.resident_mib()
        self._artifact = self._ours.upload(self._source)
        self._nginx.take(self._source)
        for server, path in ((self._ours, Ours.path(self._artifact)), (self._nginx, Nginx.KEPT)):
            if server.wire.digest(path, self._size) != self._sha256:
                raise WireError("a download has other bytes than the upload")
            for offset, length in self._random()[:3]:
                with self._source.open("rb") as file:
                    file.seek(offset)
                    expected = hashlib.sha256(file.read(length)).hexdigest()
                if server.wire.digest(path, length, (offset, length)) != expected:
                    raise WireError("a range has other bytes than that part of the upload")
        return rest

    def round(self, number: int) -> None:
        """Everything once; who goes first changes."""
        for group in self._groups():
            for transfer in group if number % 2 else group[::-1]:
                self._measure(transfer, number)

    def damage(self) -> Damage:
        """Whether a changed bit is found, and how long the look at all bytes takes."""
        before = self._ours.verify(self._artifact)
        self._ours.damage(self._artifact, self._size // 2 + 7)
        begun = time.perf_counter()
        after = self._ours.verify(self._artifact)
        return Damage(before == "stored" and after == "damaged", time.perf_counter() - begun)

    def _measure(self, transfer: Transfer, number: int) -> None:
        server = transfer.server
        os.sync()  # nobody pays for what was written before
        server.forget_peak()
        cpu, begun = server.cpu(), time.perf_counter()
        made = transfer.move()
        seconds = time.perf_counter() - begun
        sample = Sample(
            transfer.group, transfer.name, number, transfer.size, seconds, server.cpu() - cpu, server.peak_mib()
        )
        self.samples.append(sample)
        self._say(f"  {number}: {transfer.group}, {transfer.name}: {sample.rate:,.0f} MiB/s")
        if made is not None:
            server.delete(made)

    def _groups(self) -> list[list[Transfer]]:
        source, ours, nginx = self._source, self._ours, self._nginx
        uploads: list[tuple[str, Server, Callable[[Path], str]]] = [
            ("nginx", nginx, nginx.upload),
            ("ours, body", ours, ours.upload),
            ("ours, form", ours, ours.upload_form),
            ("ours, 64 MiB a request", ours, ours.upload_pieces),
            ("nginx, then SHA-256 and fsync", nginx, nginx.upload_kept),
        ]
        in_order = [(offset, min(RANGE, self._size - offset)) for offset in range(0, self._size, RANGE)]
        return [
            [Transfer("upload", name, server, partial(up, source), self._size) for name, server, up in uploads],
            self._downloads("download, whole", [None]),
            self._downloads("download, ranges of 16 MiB in order", in_order),
            self._downloads(RANDOM, self._random()),
        ]

    def _downloads(self, group: str, spans: Sequence[tuple[int, int] | None]) -> list[Transfer]:
        size = sum(span[1] if span else self._size for span in spans)

        def fetch(server: Server, path: str) -> None:
            for span in spans:
                server.wire.fetch(path, span[1] if span else self._size, span)

        return [
            Transfer(group, "nginx", self._nginx, lambda: fetch(self._nginx, Nginx.KEPT), size),
            Transfer(group, "ours", self._ours, lambda: fetch(self._ours, Ours.path(self._artifact)), size),
        ]

    def _random(self) -> list[tuple[int, int]]:
        rand = random.Random(SEED)
        return [(rand.randrange(self._size - RANDOM_RANGE), RANDOM_RANGE) for _ in range(RANDOM_RANGES)]


def _write(file: Path, size: int) -> str:
    """Bytes that no one can compress. Their SHA-256."""
    digest = hashlib.sha256()
    with file.open("wb") as opened:
        while size:
            block = os.urandom(min(size, MIB))
            digest.update(block)
            size -= opened.write(block)
    return digest.hexdigest()


def _size(text: str) -> int:
    for unit, factor in (("GiB", GIB), ("MiB", MIB)):
        if text.endswith(unit) and text.removesuffix(unit).isdigit():
            size = int(text.removesuffix(unit)) * factor
            if SMALLEST <= size <= LARGEST:
                return size
    raise argparse.ArgumentTypeError("16MiB to 16GiB")


def _rounds(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MOST_ROUNDS:
        raise argparse.ArgumentTypeError(f"1 to {MOST_ROUNDS}")
    return int(text)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=_size, default="1GiB", help="of the file, 16MiB to 16GiB (default: 1GiB)")
    parser.add_argument("--rounds", type=_rounds, default="5", help=f"1 to {MOST_ROUNDS} (default: 5)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--fill-page", action="store_true", help="measure nothing: put the last results into the docs")
    return parser.parse_args(arguments)


def measure(size: int, rounds: int, say: Callable[[str], None]) -> TransferReport:
    """Raises UnavailableError, WireError, OSError."""
    BUILD.mkdir(parents=True, exist_ok=True)
    wanted = COPIES * size + SPARE
    if shutil.disk_usage(BUILD).free < wanted:
        raise UnavailableError(f"{wanted / GIB:.1f} GiB of free disk are needed")
    conditions, quiet = task_conditions(), Quiet()
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="transfers-") as folder:
        run = Run(Path(folder), size, say)
        try:
            conditions |= {"nginx": run.nginx_version(), "size, MiB": size // MIB, "rounds": rounds}
            rest = run.prepare()
            for number in range(1, rounds + 1):
                run.round(number)
            damage = run.damage()
        finally:
            run.stop()
    return TransferReport(conditions, run.samples, rest, damage, quiet.others())


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.fill_page:
        fill_page(PAGE, options.out / "transfers.md", "make bench-transfers")
        return 0
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        report = measure(options.size, options.rounds, lambda text: console.print(text, style="dim"))
    except (UnavailableError, WireError, OSError) as error:
        console.print(f"cannot run: {error}", style="red")
        return 2
    report.show(console)
    report.write(options.out)
    return 1 if any(verdict.met is False for verdict in report.verdicts()) else 0


if __name__ == "__main__":
    sys.exit(main())
