"""The HTTP/JSON API of the daemon (docs/api.md, docs/openapi.json): requests become edits of the state, or views.

It knows the daemon only as a `Director`, opens no socket and keeps nothing but
who watches.  Handlers run one after another on the daemon's loop and never
wait, so that every request sees the state that the one before it left; only
the flows, of which there may be millions, are read with pauses.
"""

from xlvs.daemon.api.app import MAX_BODY, make
from xlvs.daemon.api.changes import Change, Director, publish, tell
from xlvs.daemon.api.watch import Watchers

__all__ = ["MAX_BODY", "Change", "Director", "Watchers", "make", "publish", "tell"]
