"""Reward models: data, training, choice, export and scoring (paper, Section 3.1), in the order of the work.

`search` sets up and runs the search over learning rates: it reads examples (`data`), plans the memory (`memory`) and
makes one `training` run per rate and seed. A run trains a `model` (of a class from `classifiers`) with an `optimizer`,
by one process or several (`distributed`), keeps its state in `checkpoints`, and is measured by `validation` (with
`merge_vector` for five rewards), which also has the choice of a checkpoint and the bias of that choice.
`search_records` makes the rows and card figures of a finished search, `export` writes the reward model as a folder for
Transformers and loads it again to compare, `scoring` computes rewards with it.
"""
