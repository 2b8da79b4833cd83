"""Reports: one offline HTML page and its pictures, made from the marts alone."""

from warehouse.reports.page import Report, ReportError, build_report

__all__ = ["Report", "ReportError", "build_report"]
