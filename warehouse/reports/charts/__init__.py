"""Charts of the report: pure functions from a mart's frame to an Altair chart without a width and without
colours.
"""
