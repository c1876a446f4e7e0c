"""What can go wrong with a request, as the service says it; how HTTP tells it stands in `told.py`."""

from __future__ import annotations

from triptych.base.errors import InputError


class Refused(InputError):
    """A request that is not answered. `status` is what HTTP calls the kind of it."""

    status = 400

    def __init__(self, what: str, *, param: str | None = None, fix: str = "", known: list[str] | None = None) -> None:
        """`param` is the part of the request that is meant."""
        super().__init__(what, fix=fix, known=known or [])
        self.param = param


class Unknown(Refused):
    """There is no such run, answer or thing."""

    status = 404


class TooLarge(Refused):
    """A bound of the server is passed."""

    status = 413


class TooSlow(Refused):
    """The request did not come in time."""

    status = 408


class Busy(Refused):
    """The server has too much to do at the moment; `after` is when to come again, in seconds."""

    status = 503
    after = 1


class Gone(Refused):
    """What is needed is no longer there: files of a run that were deleted."""

    status = 503
    after = 60


class NoKey(Refused):
    """No key, or a wrong one."""

    status = 401


class NotAllowed(Refused):
    """A host or an origin that is not this server's."""

    status = 403


class LongHead(Refused):
    """Headers without end."""

    status = 431
