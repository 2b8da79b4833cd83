"""The race: which of several base models to train to the end, found with a part of the tokens of a census.

A race is a pure function of its candidates, its rules and the looks so far (`race`); it trains nothing, and reads
neither files nor a clock. Definitions, Section 15.
"""
