"""The one file, in which the page computes for itself. Not written yet."""


class ExportError(ValueError):
    """A page that cannot be written; one line for the user."""


def write(*_):
    """Refuse, in one line."""
    raise ExportError("export is not there yet")
