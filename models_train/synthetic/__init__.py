"""The lab: a small world made on the spot, where the truth is known. Everything in it is synthetic."""
