"""Models of a hub: the commit of a revision, its snapshot on this machine, and errors of the hub.

A hub id is never a folder: only paths of snapshots are loaded, so nothing in the working directory can stand in for a
model or its code. A snapshot counts as whole by the repository's listing, which the hub's client keeps by commit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, get_cached_repo_tree, get_token, snapshot_download
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)
from huggingface_hub.utils import logging

from models_train.errors import UserError, first_line
from models_train.modeling.model_files import READ, ModelFiles, check_kind, weight_names
from models_train.study.hub import commit_of

_GRAMMAR = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
_ADDRESS = re.compile(
    r"(?:(?:https?:)?//[^/]+|(?:www\.)?huggingface\.co|hf\.co)/(?:models/)?"
    r"(?P<known>[\w.-]+/[\w.-]+)?(?:/(?:tree|blob)/(?P<revision>[^/]+))?"
)
_WITH_REVISION = re.compile(r"(?P<known>[\w.-]+(?:/[\w.-]+)?)[@:](?P<revision>[\w./-]+)")


@dataclass(frozen=True)
class HubModel:
    """A model that a study names by hub id. name: in the study. revision: branch, tag or commit; None: the newest."""

    name: str
    hub_id: str
    revision: str | None
    study_folder: Path

    def commit(self) -> str:
        """The commit of the revision; of a whole commit without asking the hub. Raises UserError."""
        self._refuse_other_ids()
        try:
            with _quiet():
                return commit_of(HfApi(), self.hub_id, self.revision)
        except Exception as error:
            raise self._refusal(error) from error

    def snapshot(
        self, commit: str, *, with_code: bool, check: Callable[[ModelFiles], object] = check_kind
    ) -> ModelFiles:
        """The model's files on this machine, fetched where they are not there. Raises UserError.

        What the listing and config.json show to be unusable is refused before the weights are fetched. with_code: also
        the repository's Python code. check: of the listing and config.json.
        """
        folder = self._fetched(commit, ["*.json"], ["*/*"])
        files = ModelFiles(f"{self.name}: {self.hub_id} at {commit}", folder, self._listing(commit))
        check(files)
        beside = [name for name in files.names if _belongs(name, with_code)]
        self._fetched(commit, [*beside, *weight_names(files)])
        return files

    def _fetched(self, commit: str, names: list[str], but: list[str] | None = None) -> Path:
        try:
            with _quiet():
                found = snapshot_download(self.hub_id, revision=commit, allow_patterns=names, ignore_patterns=but)
        except Exception as error:
            raise self._refusal(error) from error
        return Path(found)

    def _listing(self, commit: str) -> frozenset[str]:
        """Names of all files of the repository. Raises UserError where only the cache could tell, and does not."""
        try:
            return frozenset(file.path for file in get_cached_repo_tree(self.hub_id, revision=commit))
        except CachedRepoTreeNotFoundError as error:
            raise self._refusal(error) from error

    def _refuse_other_ids(self) -> None:
        """Raise UserError for a hub id that is a web address or a path, or that holds the revision."""
        hub_id = self.hub_id
        found = _ADDRESS.match(hub_id) or _WITH_REVISION.fullmatch(hub_id)
        if found:
            what = "holds a revision" if found.re is _WITH_REVISION else "is a web address"
            revision = f", revision: {found['revision']}" if found["revision"] else ""
            wanted = f"write hub_id: {found['known'] or '<owner>/<name>'}{revision}"
            raise UserError(f"{self.name}: hub_id {hub_id} {what}; {wanted}")
        if not _GRAMMAR.fullmatch(hub_id):
            raise UserError(
                f"{self.name}: hub_id {hub_id}{self._folder_hint()} is no name of a repository (<owner>/<name>); "
                "correct it, or begin the path of a folder with `/`, `./` or `~`"
            )

    def _folder_hint(self) -> str:
        """A hint at a folder of the same name beside the study file."""
        is_there = (self.study_folder / self.hub_id).exists()
        return f" (for the folder beside the study file write ./{self.hub_id})" if is_there else ""

    def _refusal(self, error: Exception) -> UserError:
        at = f" at {self.revision}" if self.revision else ""
        what, remedy = _explained(error, self.hub_id, self.revision)
        return UserError(f"{self.name}: {self.hub_id}{at}{self._folder_hint()} {what}; {remedy}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the messages of the hub's client; the caller reports its errors."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _belongs(name: str, with_code: bool) -> bool:
    """True for a file that configuration, tokenizer, template or code are read from."""
    if name.endswith(".py"):
        return with_code
    return name.endswith(READ) and ("/" not in name or name.startswith("additional_chat_templates/"))


def _explained(error: Exception, hub_id: str, revision: str | None) -> tuple[str, str]:
    """What is wrong with a model of the hub, and the remedy."""
    causes, hub = list(_causes(error)), HfApi().endpoint

    def caused(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    status = _status(error)
    if caused(GatedRepoError):
        ask = f"ask for access on {hub}/{hub_id}"
        if get_token() is None:
            return f"is gated on {hub}, and no token is set", f"{ask}, then set HF_TOKEN to a token of that account"
        return f"is gated on {hub}, and the token in use has no access", f"{ask}, or set HF_TOKEN of an account with it"
    if caused(DisabledRepoError):
        return f"is disabled on {hub}", "take another model"
    if caused(RevisionNotFoundError):
        return f"is not on {hub}: the repository has no such revision", "correct revision in the study file"
    if caused(RepositoryNotFoundError) or status == 401:
        token = "set HF_TOKEN" if get_token() is None else "use a valid HF_TOKEN"
        return (
            f"is not on {hub}, or is private",
            f"correct hub_id in the study file, or {token} of an account with access",
        )
    if caused(HFValidationError):
        return "is no name that a hub allows", "correct hub_id in the study file"
    if status == 403:
        return f"may not be read: {hub} forbids it (403)", "use an HF_TOKEN with the right to read it"
    if status == 429:
        return (
            f"cannot be fetched: {hub} limits the number of requests (429)",
            "wait some minutes; HF_TOKEN allows more",
        )
    if status is not None and status >= 500:
        return f"cannot be fetched: {hub} is out of order (it answered {status})", "try again later"
    if caused(IncompleteSnapshotError, CachedRepoTreeNotFoundError):
        partly = "is in the hub's cache only in part, or whether it is whole is not known"
        way = "without HF_HUB_OFFLINE" if constants.HF_HUB_OFFLINE else "with network"
        return f"{partly}, and {hub} cannot be asked", f"fetch it once {way}: hf download {hub_id}{_option(revision)}"
    if caused(OfflineModeIsEnabled) or constants.HF_HUB_OFFLINE:
        return (
            "is not in the hub's cache, and HF_HUB_OFFLINE forbids to fetch it",
            f"fetch it once without HF_HUB_OFFLINE: hf download {hub_id}{_option(revision)}",
        )
    if caused(LocalEntryNotFoundError, RevisionResolutionError):
        return (
            f"is not in the hub's cache, and {hub} cannot be reached",
            "check the network and HF_ENDPOINT, or give a folder with the model as hub_id",
        )
    return f"cannot be fetched from {hub}: {first_line(causes[-1])}", "check hub_id, the network and the disk"


def _status(error: Exception) -> int | None:
    """Status of the hub's answer that led to an error."""
    found = (cause.response.status_code for cause in _causes(error) if isinstance(cause, HfHubHTTPError))
    return next(found, None)


def _option(revision: str | None) -> str:
    return f" --revision {revision}" if revision else ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__
