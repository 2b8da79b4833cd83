"""What can be wrong with a report, apart from what imports the drawing library."""


class ReportError(Exception):
    """The report cannot be made from what was given."""
