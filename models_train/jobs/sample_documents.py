"""Draw the sample of documents of a study, and write its texts and its part (definitions, Section 7).

The texts go to `<home>/documents/<sample_run_id>/documents.parquet`. Where texts and part are there, nothing is done.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from models_train.data.documents import sample_documents
from models_train.data.samples import document_rows, has_sample, n_documents, sample_counts
from models_train.data.sources import data_of
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter
from models_train.jobs.training_job import scoring_of, study_of
from models_train.parts import part_path, renew_run, write_part
from models_train.store import parts_of
from models_train.study.fingerprints import sample_run_id
from warehouse.contracts import DOCUMENT_TABLES

DOCUMENTS = DOCUMENT_TABLES["documents"]


def run(path: Path, home: Path, report: Reporter) -> dict[str, Any]:
    """Draw the sample of a study and write what is not there yet; returns figures, of which `rows` are the documents.

    Raises UserError.
    """
    study = study_of(path, home)
    stated = scoring_of(study, path).corpus
    corpus = stated.model_copy(update={"source": data_of(stated.source, path, home)})
    run_id = sample_run_id(corpus, path.parent)
    folder = home / "documents" / run_id
    part = part_path(parts_of(home), DOCUMENTS.name, study.study_id, run_id)
    if has_sample(folder) and part.exists():
        report.say(f"{corpus.name}: {n_documents(folder):,} documents are there; nothing to do")
        renew_run(parts_of(home), DOCUMENTS.name, study.study_id, run_id)
        return sample_counts(folder)
    if not has_sample(folder):
        report.say(f"{corpus.name}: drawing {corpus.documents_per_domain:,} documents of each of {len(corpus.domains)}")
        sample_documents(corpus, path.parent, folder, report.say)
    rows = document_rows(folder, corpus.name)
    write_part(parts_of(home), DOCUMENTS, rows, study_id=study.study_id, run_id=run_id)
    counts = sample_counts(folder)
    for name, n in counts.items():
        if name.startswith("documents missing"):
            report.say(f"{corpus.name}: {name}: {n:,}; the data have no more, all of them were taken")
    return counts


main = partial(run_job, "sample_documents")

if __name__ == "__main__":
    main()
