"""Data of training, evaluation and scoring: one record type each, from a hub, a file or a folder.

`records` are the record types. `sources` finds a data set's files, `rows` reads and checks their rows, in one of the
`forms` of columns that people have; `conversations` parses their texts and lists of messages. `helpsteer` has
preferences and ratings with their splits, `rewardbench` the test pairs, `documents` the seeded sample of documents and
`samples` its files. `chat` turns a conversation into token ids. All but `chat` work without torch.
"""
