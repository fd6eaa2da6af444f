"""One connection to an origin: a request goes out in one write, its answer is parsed as it comes.

Layer: http. Follows RFC 9112. There is no Task, Future or timer per request: the parser calls back,
the answer is handed to the request's callback, and deadlines are looked at by a sweep.
"""

import asyncio
from typing import cast

import httptools
import msgspec

from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.http.answers import Answer, is_framed, keep_alive_s
from eventpost.http.exchange import REPEATED_BYTES_MAX, Exchange, Owner, Repeated
from eventpost.http.failures import bounded, evidence_of, plain_to_tls

ONE_BUFFER_BYTES_MAX = 65_536
"""Up to here head and body are joined for one write; above, copying costs more than a second."""
EXCERPT_BYTES_MAX = 200


class Connection(asyncio.Protocol):
    """A connection and at most one exchange on it. Belongs to the loop's thread."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_head",
        "_head_bytes_max",
        "_idle_s",
        "_interim_count",
        "_is_complete",
        "_is_head_complete",
        "_is_reusable",
        "_is_writing",
        "_owner",
        "_parser",
        "_status",
        "_transport",
        "address",
        "deadline_s",
        "exchange",
        "is_fresh",
        "is_lost",
    )
    _is_complete: bool
    _is_head_complete: bool

    def __init__(self, owner: Owner, address: str) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._idle_s = owner.limits.idle_s_max
        self._head_bytes_max = owner.limits.answer_head_bytes_max
        self.address = address
        self.exchange: Exchange | None = None
        self.deadline_s = owner.now_s() + self._idle_s
        self.is_fresh = True
        self.is_lost = False
        self._is_writing = False
        self._body = b""
        self._body_bytes = 0
        self._status = 0
        self._interim_count = 0
        self._is_reusable = False
        self._forget_answer()

    # --- for the pool -----------------------------------------------------------------------

    def send(self, exchange: Exchange, now_s: float) -> None:
        """Write the request. The connection is established and carries no exchange."""
        assert self._transport is not None
        self.exchange = exchange
        self.deadline_s = now_s + exchange.left_s
        if len(exchange.body) <= ONE_BUFFER_BYTES_MAX:
            self._transport.write(exchange.head + exchange.body)
        else:
            # Not `writelines`: asyncio's of 3.12.0 to 3.12.8, 3.13.0 and 3.13.1 never tells the
            # protocol that the peer does not read (CVE-2024-12254).
            self._transport.write(exchange.head)
            self._transport.write(exchange.body)

    def expire(self, now_s: float) -> None:
        """The deadline has passed: close an idle connection, fail an exchange."""
        exchange = self.exchange
        if exchange is None:
            self.close()
            return
        self.exchange = None
        self.abort()
        exchange.fail(self._evidence(Fault.TIMED_OUT), now_s)

    def close(self) -> None:
        """An orderly end of an idle connection."""
        if self._transport is not None:
            self._transport.close()
        self._lose()

    def abort(self) -> None:
        """An end at once; what is in flight on it is dropped without a word."""
        self.exchange = None
        if self._transport is not None:
            self._transport.abort()
        self._lose()

    # --- from the loop ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass

    def pause_writing(self) -> None:
        self._is_writing = True

    def resume_writing(self) -> None:
        self._is_writing = False

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None or self._parser is None:
            self.abort()  # nobody asked: a farewell such as 408, or garbage
            return
        repeated = self._owner.repeated
        if (
            repeated is not None
            and not (self._head or self.is_fresh or self._is_writing)
            and repeated.data == data
            and not exchange.head.startswith(b"HEAD ")
        ):
            self._complete_repeated(repeated, exchange)
            return
        if not self._is_head_complete:
            self._head += data
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._is_reusable = False
            if not self._is_complete:
                self._fail_parsing(error)
                return
        if len(self._head) > self._head_bytes_max and self._is_head_too_large():
            return
        if self._is_complete:
            self._complete(is_plain=self._head is data and not self._interim_count)
        else:
            self._end_early()

    def _complete_repeated(self, repeated: Repeated, exchange: Exchange) -> None:
        """What `_complete` does, without the parser. Hot."""
        owner = self._owner
        now_s = owner.now_s()
        answer = Answer(
            repeated.status,
            repeated.data,
            repeated.body,
            (now_s - exchange.started_s) * 1000.0,
            self.address,
            exchange.reconnect_count,
        )
        if owner.proxy_name is not None:
            answer.proxy = owner.proxy_name
        self.exchange = None
        self.deadline_s = now_s + self._idle_s
        owner.released(self, now_s)
        exchange.done(answer)

    def eof_received(self) -> None:
        # The transport closes itself; an idle connection must not be handed out meanwhile.
        if self.exchange is None:
            self._lose()

    def connection_lost(self, error: Exception | None) -> None:
        exchange = self.exchange
        if exchange is None:
            self._lose()
            return
        if error is None and self._ends_with_the_connection():
            self._is_reusable = False
            self._complete()
            return
        self.exchange = None
        is_unanswered = not self._head and not self.is_fresh
        evidence = evidence_of(error, self._stage(), address=self.address)
        now_s = self._owner.now_s()
        exchange.left_s = self.deadline_s - now_s
        self._lose()
        if is_unanswered and exchange.reconnect_count == 0:
            self._owner.unanswered(exchange, evidence)
            return
        exchange.fail(self._with_excerpt(evidence), now_s)

    # --- from the parser --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_complete:
            self._is_reusable = False  # something follows the answer that nobody asked for

    def on_headers_complete(self) -> None:
        self._is_head_complete = True

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        left = self._owner.limits.answer_body_bytes_kept_max - len(self._body)
        if left > 0:
            self._body += data[:left]

    def on_message_complete(self) -> None:
        parser = self._parser
        if parser is None or self._is_complete:
            return
        status = parser.get_status_code()
        if status < 200:
            self._interim(status)
            return
        self._status = status
        self._is_complete = True
        self._is_reusable = parser.should_keep_alive()

    # --- helpers ----------------------------------------------------------------------------

    def _interim(self, status: int) -> None:
        self._is_head_complete = False
        self._interim_count += 1
        if status == 101 or self._interim_count > self._owner.limits.interim_answers_max:
            raise ValueError(f"answer {status} was not asked for")

    def _complete(self, *, is_truncated: bool = False, is_plain: bool = False) -> None:
        """`is_plain`: the answer came alone and whole in one piece."""
        exchange = self.exchange
        assert exchange is not None
        owner = self._owner
        now_s = owner.now_s()
        answer = Answer(
            self._status,
            self._head,
            self._body,
            (now_s - exchange.started_s) * 1000.0,
            self.address,
            exchange.reconnect_count,
        )
        if is_truncated or self._body_bytes > len(self._body):
            answer.is_truncated = True
        if owner.proxy_name is not None:
            answer.proxy = owner.proxy_name
        # An answer that came before the whole request was out leaves the connection in mid-request.
        is_reusable = self._is_reusable and not is_truncated and not self._is_writing
        if is_reusable:
            if self.is_fresh:
                self._become_kept()
            elif is_plain and len(self._head) <= REPEATED_BYTES_MAX:
                owner.repeated = Repeated(self._head, self._status, self._body)
        self.exchange = None
        self._forget_answer()
        if is_reusable:
            self.deadline_s = now_s + self._idle_s
            owner.released(self, now_s)
        elif self._is_writing:
            self.abort()
        else:
            self.close()
        exchange.done(answer)

    def _become_kept(self) -> None:
        self.is_fresh = False
        promised_s = keep_alive_s(self._head)
        if promised_s is not None:
            # Half a second before the peer does, so that we close first.
            self._idle_s = min(self._idle_s, max(0.5, promised_s - 0.5))

    def _forget_answer(self) -> None:
        """Ready for the next answer. Hot: what the parser sets anew with each one is left."""
        self._head = b""
        self._is_head_complete = False
        self._is_complete = False
        if self._body_bytes:
            self._body = b""
            self._body_bytes = 0
        if self._interim_count:
            self._interim_count = 0

    def _ends_with_the_connection(self) -> bool:
        """Whether the end of the connection is the end of the answer: it names no other."""
        if self._parser is None or not self._is_head_complete or is_framed(self._head):
            return False
        self._status = self._parser.get_status_code()
        return True

    def _end_early(self) -> None:
        """End what need not be waited for: a body that does not come (HEAD) or does not end."""
        exchange, parser = self.exchange, self._parser
        if exchange is None or parser is None or not self._is_head_complete:
            return
        is_truncated = self._body_bytes > self._owner.limits.answer_body_bytes_read_max
        if is_truncated or exchange.head.startswith(b"HEAD "):
            self._status = parser.get_status_code()
            self._complete(is_truncated=is_truncated)

    def _is_head_too_large(self) -> bool:
        bytes_max = self._head_bytes_max
        end = self._head.find(b"\r\n\r\n", 0, bytes_max)
        if self._is_head_complete and 0 <= end <= bytes_max - 4:
            return False
        self._fail(self._evidence(Fault.TOO_LARGE, f"the answer's head exceeds {bytes_max} bytes"))
        return True

    def _fail_parsing(self, error: Exception) -> None:
        alert = plain_to_tls(self._head)
        cause = error.__context__ or error
        detail = f"this is not HTTP/1.1: {cause}"
        if alert is not None:
            detail = "the port speaks TLS and was spoken to in plain http"
        evidence = self._evidence(Fault.MALFORMED, detail)
        if alert is not None:
            evidence = msgspec.structs.replace(evidence, tls_alert=alert)
        else:
            evidence = self._with_excerpt(evidence)
        self._fail(evidence)

    def _fail(self, evidence: Evidence) -> None:
        exchange = self.exchange
        assert exchange is not None
        self.exchange = None
        self.abort()
        exchange.fail(evidence, self._owner.now_s())

    def _lose(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            self._parser = None  # it holds our methods: a cycle
            self._owner.lost(self)

    def _stage(self) -> Stage:
        if self._head:
            return Stage.READ
        return Stage.WRITE if self._is_writing else Stage.WAIT

    def _evidence(self, fault: Fault, detail: str = "") -> Evidence:
        return Evidence(
            stage=self._stage(),
            fault=fault,
            address=self.address,
            proxy=self._owner.proxy_name,
            detail=bounded(detail),
        )

    def _with_excerpt(self, evidence: Evidence) -> Evidence:
        if not self._head:
            return evidence
        excerpt = self._head[:EXCERPT_BYTES_MAX].decode("latin-1")
        detail = f"{evidence.detail}; it began: {excerpt}" if evidence.detail else excerpt
        return msgspec.structs.replace(evidence, detail=bounded(detail))
