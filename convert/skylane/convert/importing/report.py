"""Prints the result of an import as text and tables."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from skylane.convert.importing.triton import ModelReport
from skylane.convert.importing.version import ImportedVersion
from skylane.convert.publishing.store import outcome
from skylane.convert.wording import shape_text
from skylane.manifest import Manifest


def show_version(imported: ImportedVersion, out: Console) -> None:
    """Print the interface of a version, how it was verified, and where it is."""
    manifest = imported.manifest
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("", "name", "type", "shape"):
        table.add_column(heading, overflow="fold")
    for kind, specs in (("input", manifest.tensors), ("output", manifest.outputs)):
        for spec in specs:
            table.add_row(kind, spec.name, spec.dtype, shape_text(spec.shape))
    out.print(table)
    for line in (*facts(manifest), *remarks(manifest)):
        out.print(line)
    out.print(f"{imported.name}: {location(imported)}")


def location(imported: ImportedVersion) -> str:
    """Version and path, and whether the version is new."""
    return f"{outcome(created=imported.created)} version {imported.version} in {imported.path}"


def facts(manifest: Manifest) -> list[str]:
    """The result of the verification and the latency, as lines."""
    imported = manifest.imported
    assert imported is not None, "it was imported"
    rows = "rows of the sample" if imported.rows == "sample" else "random rows"
    independent = {
        True: "each gets the same answer alone and in a batch",
        False: "the answers of a batch depend on each other",
        None: "whether rows are independent could not be verified",
    }[imported.rows_independent]
    lines = [f"verified on {imported.verified_rows} {rows}: {independent}"]
    if imported.latency_us:
        times = ", ".join(f"{us:,.1f} µs for {size}" for size, us in imported.latency_us.items())
        lines.append(f"a run takes {times} row{'s' * (list(imported.latency_us) != ['1'])}")
    return lines


def remarks(manifest: Manifest) -> list[str]:
    """Changes to the graph and notes, as lines."""
    changes = manifest.imported.changes if manifest.imported else ()
    return [*(f"changed: {change}" for change in changes), *(f"note: {note}" for note in manifest.notes)]


def show_model(report: ModelReport, out: Console) -> None:
    """Print the result for one model of a Triton repository."""
    out.rule(report.name, align="left", characters="─")
    for refused in report.refused:
        out.print(f"not imported: {refused}", style="red")
    for imported in report.versions:
        out.print(location(imported), style="green" if imported.created else None)
        out.print(f"  {'; '.join(facts(imported.manifest))}")
    for line in dict.fromkeys(line for imported in report.versions for line in remarks(imported.manifest)):
        out.print(f"  {line}")
    if report.settings:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for heading in ("config.pbtxt", "", "Skylane"):
            table.add_column(heading, overflow="fold")
        for setting in report.settings:
            style = None if setting.kept else "yellow"
            table.add_row(setting.original, "" if setting.kept else "not kept", setting.becomes, style=style)
        out.print(table)
    if report.policy:
        out.print(report.policy)


def show_summary(reports: Sequence[ModelReport], out: Console) -> None:
    """Print how many models were imported, and which were not or only in part."""
    imported = [report for report in reports if report.versions]
    incomplete = [report.name for report in reports if report.refused]
    out.print()
    rest = f"; not or only partly imported: {', '.join(incomplete)}" if incomplete else ""
    out.print(f"{len(imported)} of {len(reports)} models imported{rest}")
