"""The door of a worker: what is no message of ours is dropped there, with one line in the log that says why.

Theory of operation. Whoever can write to the broker can write anything. Celery looks at a message piece by piece, on
its way to the task; where a piece is of a kind that it does not expect, the exception ends the worker, and the message,
which was not acknowledged, ends the next one too (measured: eleven of thirty-six malformed messages did). So there are
two looks before Celery's own. `Consumer` holds a whole message against the form that `ring` gives it: content type,
size, headers, a JSON body of named arguments that the task takes. `Transport` catches what is not even an envelope.

A message that passes is still a hint: what it leads to is read from the database.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.transport import redis
from kombu.transport.virtual import Message as VirtualMessage

from trisagion.errors import DataError, OurMistake, TrisagionError, harmless, quoted

BODY_BYTES_MAX: Final = 64 * 1024
"""A minute of market data takes 530 bytes for each instrument that traded in it: room for 120 of them."""

REST_BYTES_MAX: Final = 1024
"""Of a body: all but its subject."""

INSTANT_MAX: Final = 2**63 - 1

NAME_LENGTH_MAX: Final = 128

REASON_LENGTH_MAX: Final = 400

CONTENT: Final = ("application/json", "utf-8")

UNUSED_HEADERS: Final = ("shadow", "eta", "expires", "group", "retries", "stamped_headers", "chord")
"""Headers by which a message could have itself renamed, put off or repeated: none of ours does."""

UNUSED_OPTIONS: Final = ("callbacks", "errbacks", "chain", "chord")
"""What Celery would run after the task; what follows here is in workers/flow.py."""

NO_LIMITS: Final = ([None, None], None)

log = logging.getLogger(__name__)


class Consumer(CeleryConsumer):
    """Celery's consumer behind the door."""

    def connection_for_read(self, heartbeat: Any = None) -> Any:
        """Connect to the broker; to Redis by the transport below."""
        connection = self.app.connection_for_read(heartbeat=heartbeat)
        if connection.get_transport_cls() is redis.Transport:
            connection.transport_cls = Transport
        return self.ensure_connected(connection)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Any:
        """Return what is called with each message."""
        received = super().create_task_handler(*args, **kwargs)

        def on_message(message: Any) -> None:
            try:
                expect_message(message, self.app.tasks)
                if self.takes(message):
                    received(message)
            except self.connection_errors:
                raise
            except Exception as error:  # noqa: BLE001 - the outermost edge of a worker
                # Raised on, it would end the worker; left unanswered, the message would come back for ever.
                _refused(error)
                if not message.acknowledged:
                    message.reject_log_error(log, self.connection_errors)

        return on_message

    def takes(self, message: Any) -> bool:
        """Tell whether a message of our form is for this worker; one that is not has been answered."""
        return True

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        """Drop what cannot be read; Celery would log all of it."""
        _refused(exc)
        message.ack()


class _Message(VirtualMessage):
    """A message whose envelope was looked at before anything of it is decoded or unpacked."""

    def __init__(self, payload: Any, channel: Any = None, **kwargs: Any) -> None:
        expect_envelope(payload)
        super().__init__(payload, channel=channel, **kwargs)  # type: ignore[no-untyped-call]


class _Channel(redis.Channel):
    """A channel that drops an item that is no envelope: it has no tag by which it could be rejected."""

    Message = _Message

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except self.connection_errors:
            raise
        except (DataError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
            _refused(error)
            return True


class Transport(redis.Transport):
    """Redis, where anything may lie in a queue."""

    Channel = _Channel


def expect_envelope(payload: Any) -> None:
    """Refuse with `DataError` what is no envelope as Celery writes it to Redis."""
    found = payload if isinstance(payload, dict) else {}
    properties, headers, body = found.get("properties"), found.get("headers"), found.get("body")
    if not isinstance(properties, dict) or not isinstance(headers, dict) or not isinstance(body, str):
        raise DataError(f"expected an envelope of properties, headers and a body, found {quoted(payload)}")
    if len(body) > 2 * BODY_BYTES_MAX:
        raise DataError(f"expected at most {BODY_BYTES_MAX} bytes in a message, found {len(body)} as text")
    # The body is unpacked, to whatever it unpacks to, before anybody can look at it.
    if "compression" in headers and headers["compression"] is not None:
        raise DataError(f"expected nothing in header compression, found {quoted(headers['compression'])}")
    place = properties.get("delivery_info")
    names = [place.get("exchange"), place.get("routing_key")] if isinstance(place, dict) else [None]
    names += [properties.get("delivery_tag"), properties.get("body_encoding")]
    if not all(isinstance(name, str) and len(name) <= NAME_LENGTH_MAX for name in names):
        raise DataError(f"expected the properties of a message, found {quoted(properties)}")


def expect_message(message: Any, tasks: Mapping[str, Any]) -> None:
    """Refuse a message that is not of the form that `ring` gives it, with `DataError`."""
    if (message.content_type, message.content_encoding) != CONTENT:
        found = f"{quoted(message.content_type)} {quoted(message.content_encoding)}"
        raise DataError(f"expected a message of {' '.join(CONTENT)}, found {found}")
    if len(message.body) > BODY_BYTES_MAX:
        raise DataError(f"expected at most {BODY_BYTES_MAX} bytes in a message, found {len(message.body)}")
    headers = message.headers
    if not isinstance(headers, dict):
        raise DataError(f"expected headers by name, found {quoted(headers)}")
    name = headers.get("task")
    if not isinstance(name, str) or name not in tasks or name.startswith("celery."):
        raise DataError(f"expected the name of a task of this worker, found {quoted(name)}")
    try:
        _expect_plain(headers)
        _expect_arguments(tasks[name], _json(message.body))
    except DataError as error:
        raise DataError(f"{name}: {error}") from None


def expect_subject(subject: object) -> None:
    """Refuse a subject that no message of ours has: only printable ASCII travels, market data included."""
    if not isinstance(subject, str) or not (subject.isascii() and subject.isprintable()):
        raise DataError(f"expected a subject of printable ASCII, found {quoted(subject)}")


def expect_size(task: str, subject: str) -> None:
    """Refuse to send what the door would not take; `OurMistake`, for who sends has made it."""
    size = len(json.dumps(subject))
    if size > BODY_BYTES_MAX - REST_BYTES_MAX:
        raise OurMistake(f"{task}: a message takes {BODY_BYTES_MAX} bytes, found a subject of {size}")


def whole(subject: str, what: str) -> int:
    """Read a subject that is a number: an instant, a shard."""
    if not (subject.isascii() and subject.isdecimal()) or len(subject) > 19 or int(subject) > INSTANT_MAX:
        raise DataError(f"expected {what} as a whole number of 64 bits, found {quoted(subject)}")
    return int(subject)


def _expect_plain(headers: Mapping[str, Any]) -> None:
    for name in ("id", "root_id", "parent_id"):
        value = headers.get(name)
        if value is None and name != "id":
            continue
        if not isinstance(value, str) or not 0 < len(value) <= NAME_LENGTH_MAX or not value.isprintable():
            raise DataError(f"expected a name in header {name}, found {quoted(value)}")
    for name in UNUSED_HEADERS:
        if headers.get(name):
            raise DataError(f"expected nothing in header {name}, found {quoted(headers[name])}")
    if headers.get("timelimit") not in NO_LIMITS:
        raise DataError(f"expected no limits in header timelimit, found {quoted(headers['timelimit'])}")


def _expect_arguments(task: Any, body: object) -> None:
    if not isinstance(body, list) or len(body) != 3:
        raise DataError(f"expected a body of arguments, named arguments and options, found {quoted(body)}")
    args, named, options = body
    if args != [] or not isinstance(named, dict):
        raise DataError(f"expected named arguments alone, found {quoted(args)} and {quoted(named)}")
    if not isinstance(options, dict) or any(options.get(name) for name in UNUSED_OPTIONS):
        raise DataError(f"expected nothing to follow, found {quoted(options)}")
    try:
        task.__header__(**named)
    except TypeError as error:
        raise DataError(f"expected the arguments that the task takes ({quoted(error, 120)})") from None
    if "now_ns" in named and (type(named["now_ns"]) is not int or not 0 <= named["now_ns"] <= INSTANT_MAX):
        raise DataError(f"expected an instant in nanoseconds, found {quoted(named['now_ns'])}")
    if "subject" in named:
        expect_subject(named["subject"])


def _json(body: str | bytes) -> object:
    try:
        read: object = json.loads(body, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DataError(f"expected JSON, found {quoted(body)} ({quoted(error, 120)})") from None
    return read


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _refused(error: BaseException) -> None:
    log.error("a message was refused: %s", told(error))


def told(error: BaseException) -> str:
    """Write an error as one line of bounded length, harmless to a terminal; a stranger's with its kind."""
    text = str(error) if isinstance(error, TrisagionError) else repr(error)
    return harmless(" ".join(text.split()), REASON_LENGTH_MAX)
