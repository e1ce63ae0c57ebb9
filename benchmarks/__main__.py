"""``python -m benchmarks``: every figure of one run, as a table or as JSON.

``--client`` measures the client library of data keys alone, ``--datasets`` re-encryption alone, and
``--load`` nginx under load alone.
"""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks import client, daemon, files, issue, listing, reencryption, under_load

COUNT = 200
SAMPLE = 20
MANY = 10_000
RELOADED_BUDGET = 110
"""MiB that the daemon may hold after its reloads."""


def main(arguments: list[str]) -> None:
    """Measure, and print; a tool that did not do its work ends the run."""
    if "--client" in arguments:
        with tempfile.TemporaryDirectory(prefix="certrotd-bench-") as directory:
            library = client.measure(Path(directory) / "client")
        if "--json" in arguments:
            print(json.dumps({"client": asdict(library)}, indent=1))
        else:
            _print_client(library)
        return
    if "--datasets" in arguments:
        found = reencryption.measure()
        of_files = files.measure()
        if "--json" in arguments:
            told = {"datasets": asdict(found), "files": asdict(of_files)}
            print(json.dumps(told, indent=1))
        else:
            reencryption.show(found)
            files.show(of_files)
        if not found.within_memory:
            sys.exit(1)
        return
    if "--load" in arguments:
        with tempfile.TemporaryDirectory(prefix="certrotd-bench-") as directory:
            loaded = under_load.measure(Path(directory) / "load")
        if "--json" in arguments:
            print(json.dumps({"load": asdict(loaded)}, indent=1))
        else:
            under_load.show(loaded)
        if loaded.failed:
            sys.exit(1)
        return
    sample = COUNT if "--full" in arguments else SAMPLE
    with tempfile.TemporaryDirectory(prefix="certrotd-bench-") as directory:
        # before the disk is busy with 10,000 certificates: it is the file systems that differ most
        results = issue.measure(Path(directory) / "issue", count=COUNT, sample=sample)
        loaded = under_load.measure(Path(directory) / "load")
        crowd = listing.multiplied(Path(directory) / "many", MANY)
        waits = listing.measure(Path(directory) / "listing", crowd, many=MANY)
        service = daemon.measure(crowd, certificates=MANY)
        library = client.measure(Path(directory) / "client")
    if "--json" in arguments:
        issued = [asdict(result) for result in results]
        figures = {
            "issue": issued,
            "load": asdict(loaded),
            "waits": asdict(waits),
            "service": asdict(service),
            "client": asdict(library),
        }
        print(json.dumps(figures, indent=1))
    else:
        _print_issue(results)
        under_load.show(loaded)
        _print_waits(waits)
        _print_service(service)
        _print_client(library)
    if loaded.failed:
        sys.exit(1)


def _print_issue(results: list[issue.Result]) -> None:
    ours = results[0].scaled(COUNT)
    print(f"{COUNT} certificates from Pebble over RFC 2136 (TSIG, BIND), on this machine:\n")
    print(f"{'tool':10}{'measured':>9}{'wall':>10}{'CPU':>10}{'CPU each':>11}{'ratio':>8}  how")
    for result in results:
        cost = result.scaled(COUNT)
        print(
            f"{result.tool:10}{result.count:>9}{cost.wall:>8.1f} s{cost.cpu:>8.1f} s"
            f"{cost.cpu / COUNT * 1000:>8.1f} ms{cost.wall / ours.wall:>7.1f}×  {result.setup}"
        )
    print(f"\nRows measured for fewer than {COUNT} are scaled. The fastest row of each peer:")
    for peer in dict.fromkeys(result.tool for result in results[1:]):
        best = min(r.scaled(COUNT).wall for r in results if r.tool == peer)
        print(f"  {peer} takes {best / ours.wall:.1f} times as long as certrotd")


def _print_waits(waits: listing.Waits) -> None:
    print("\nCold processes (medians; pages in memory, bytecode compiled):\n")
    print(f"  certrotd --version               {waits.version.wall * 1000:7.0f} ms")
    print(f"  certrotd status, 1 certificate   {waits.status.wall * 1000:7.0f} ms")
    print(
        f"  certrotd status, {waits.many:,}         {waits.status_of_many.wall * 1000:7.0f} ms"
        f"  ({waits.status_of_many.cpu * 1000:.0f} ms CPU,"
        f" {waits.status_of_many.peak:.0f} MiB peak)"
    )


def _print_service(service: daemon.Service) -> None:
    print(f"\ncertrotd run with {service.certificates:,} certificates, none of them due:\n")
    print(f"  from start to ready              {service.ready:7.1f} s")
    print(f"  memory when ready, and at most   {service.resident:7.0f} MiB {service.peak:.0f} MiB")
    print(
        f"  memory after {daemon.RELOADS} reloads          {service.reloaded:7.0f} MiB"
        f"  (budget {RELOADED_BUDGET} MiB)"
    )
    print(f"  CPU of an idle second (a tick)   {service.idle:7.1f} ms")
    print(f"  a scrape of {service.scraped:.1f} MB of metrics    {service.scrape:7.0f} ms")


def _print_client(library: client.Client) -> None:
    print("\ncertrotd.client, processor time of one message (AES-256-GCM but for MultiFernet):\n")
    print(f"{'library':17}{'bytes':>7}{'encrypt':>10}{'decrypt':>10}{'ratio':>9}{'':>8}  budget")
    for speed in library.speeds:
        line = f"{speed.library:17}{speed.size:>7}{speed.encrypt:>7.2f} µs{speed.decrypt:>7.2f} µs"
        if speed.library in client.BUDGETS:
            ratios = [library.ratio(speed.library, speed.size, w) for w in ("encrypt", "decrypt")]
            budget = client.BUDGETS[speed.library]
            line += f"{ratios[0]:>8.2f}×{ratios[1]:>7.2f}×  at least {budget:g}×"
        print(line)
    print("\nThe ratio is how many messages certrotd.client does while the library does one.")
    start = library.start
    added = (start.imported.wall - start.python.wall) * 1000
    print(f"\n  python3 -c pass                  {start.python.wall * 1000:7.0f} ms")
    print(
        f"  import certrotd.client           {start.imported.wall * 1000:7.0f} ms"
        f"  ({added:.0f} ms more; budget {client.START_BUDGET * 1000:.0f} ms)"
    )
    print(f"  and Keyring.open()               {start.opened.wall * 1000:7.0f} ms")
    print(f"  from tink import aead, register  {start.tink.wall * 1000:7.0f} ms")


if __name__ == "__main__":
    main(sys.argv[1:])
