"""Log-prob scoring of documents: how well a base model knows the text of a corpus (paper, Section 5.2)."""
