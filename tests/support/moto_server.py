"""moto's server of S3 on 127.0.0.1 at a given port, one request at a time: moto looks at the condition of a write first
and writes then, so that two requests at once can both win. S3 itself lets one of them win.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple


class OneAtATime:
    """An application that answers a request before it takes the next."""

    def __init__(self, application: Any) -> None:
        self._application, self._lock = application, threading.Lock()

    def __call__(self, environment: dict[str, Any], start: Any) -> Iterable[bytes]:
        with self._lock:
            return list(self._application(environment, start))


if __name__ == "__main__":
    application = OneAtATime(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", int(sys.argv[1]), application, threaded=True)
