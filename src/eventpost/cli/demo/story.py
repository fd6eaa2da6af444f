"""The radio station's day: what happens, and what must have come of it before the story goes on.

Each step waits until what it tells has really happened; one that does not happen in time ends the
story with exit code 1 and its name.
"""

import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import TYPE_CHECKING

from eventpost.cli.demo.mailbox import Letter, Mailbox
from eventpost.cli.demo.screen import Screen
from eventpost.cli.demo.songs import BLUES, ROCK, SOUL, TOPIC, UNWANTED, Song, request, to_try
from eventpost.cli.demo.stage import Handler, Received, Server, StageError, wait_until
from eventpost.cli.parser import EXIT_BAD, EXIT_DONE, EXIT_INTERRUPTED
from eventpost.core.errors import EventpostError

if TYPE_CHECKING:
    from eventpost.client import Client
    from eventpost.server.models import Books, DeadLetterView

HAPPENS_S_MAX = 20.0
LOOK_S = 0.5
"""How often it is looked whether the server still runs while the station is on the air."""
NOTICES = "eventpost.deadletters"
MAILED_TO = "dj@station.example"
MAILED_FROM = "eventpost@station.example"
FAST_SCHEDULE = "200ms,400ms"
FLAKY_FAILURES = 2


class NotAsTold(Exception):
    """A step did not come about."""


def tell(*, is_staying: bool) -> int:
    """Play the story. With `is_staying` the station stays on the air until Ctrl-C."""
    signal.signal(signal.SIGTERM, _end)
    screen = Screen()
    try:
        with ExitStack() as stack:
            station = Station(screen, stack)
            station.play()
            if is_staying:
                station.stay()
    except (NotAsTold, StageError, EventpostError) as error:
        screen.say(f"\nNot as told, in part {screen.part}: {error}", style="bad")
        return EXIT_BAD
    except KeyboardInterrupt:
        screen.say("\nOff the air.")
        return EXIT_DONE if is_staying else EXIT_INTERRUPTED
    return EXIT_DONE


class Station:
    """The server, the handlers and the steps of the story, in order."""

    def __init__(self, screen: Screen, stack: ExitStack) -> None:
        self.screen = screen
        self.stack = stack
        self.takes_rock = threading.Event()
        self.handlers = {
            name: Handler(name, decide, self.tell_delivery)
            for name, decide in {
                "blues": lambda event, count: 200,
                "hits": lambda event, count: 503 if count < FLAKY_FAILURES else 200,
                "rock": lambda event, count: 200 if self.takes_rock.is_set() else 400,
                "notices": lambda event, count: 200,
            }.items()
        }
        self.mailbox = Mailbox(self.tell_letter)
        self.client: Client
        self.server: Server
        self.key: str

    def play(self) -> None:
        self.open()
        self.subscribe()
        self.take_requests()
        self.recover()
        self.give_up()
        self.mend_and_replay()
        self.balance()

    # --- the steps ------------------------------------------------------------------------------

    def open(self) -> None:
        from eventpost.client import Client

        self.screen.chapter("The station opens: a server, four handlers and a mailbox, all real")
        self.screen.command("eventpost serve")
        self.server = self.stack.enter_context(Server())
        self.client = self.stack.enter_context(Client(self.server.url, token=self.server.token))
        self.screen.happened("server", f"listens at {self.server.url}", style="good")
        for handler in self.handlers.values():
            handler.start()
            self.stack.callback(handler.stop)
        self.mailbox.start()
        self.stack.callback(self.mailbox.stop)
        self.screen.command(f"eventpost topic create {TOPIC}")
        self.client.create_topic(TOPIC)
        self.key = self.client.list_keys(TOPIC).key1

    def subscribe(self) -> None:
        self.screen.chapter(
            "Four handlers subscribe, each consents in a handshake; mails go to the DJ"
        )
        for name, subject, topic in (
            ("blues", "genre/blues", TOPIC),
            ("hits", "genre/soul", TOPIC),
            ("rock", "genre/rock", TOPIC),
            ("notices", "", NOTICES),
        ):
            self._subscribe(name, subject, topic)
        self._subscribe_mailbox()

    def take_requests(self) -> None:
        self.screen.chapter("Listeners ask for songs; each subscription gets what it wants")
        self._publish(*BLUES, *UNWANTED)
        blues = self.handlers["blues"]
        self._expect("the blues handler gets every blues song", lambda: blues.accepted() == 3)
        self._expect(
            "what nobody wants is counted as unmatched",
            lambda: self._unmatched() == len(UNWANTED),
        )
        self.screen.happened(
            "server", f"{len(UNWANTED)} requests matched no subscription: counted, not lost"
        )

    def recover(self) -> None:
        self.screen.chapter(f"A flaky handler: 503 twice, then it recovers ({FAST_SCHEDULE})")
        self._publish(SOUL)
        hits = self.handlers["hits"]
        self._expect("the flaky handler takes the song in the end", lambda: hits.accepted() == 1)
        counts = [each.delivery_count for each in hits.received]
        self._require("the flaky handler saw three attempts", counts == [0, 1, 2])

    def give_up(self) -> None:
        self.screen.chapter("A handler that says 400: retrying cannot help, so a dead letter")
        self._publish(ROCK)
        self._expect("the rock song becomes a dead letter", lambda: len(self._letters()) == 1)
        (letter,) = self._letters()
        self._require("it was tried once", letter.delivery_attempts == 1)
        reason = letter.dead_letter_reason
        self._require("its reason is the 400", reason == "UndeliverableDueToHttpBadRequest")
        self.screen.command("eventpost deadletter list")
        self.screen.happened("dead", f"{letter.subject}: {reason}", style="bad")
        self.screen.happened("why", f"{letter.finding} {letter.cause}")
        self.screen.happened("fix", letter.fix)
        notices = self.handlers["notices"]
        self._expect("its notice reaches those who watch", lambda: notices.accepted() == 1)
        self._expect("a mail reaches the DJ", lambda: len(self.mailbox.letters) == 1)
        (mail,) = self.mailbox.letters
        replay = f"eventpost deadletter replay {letter.id}"
        self._require("the mail says how to replay it", replay in mail.text)

    def mend_and_replay(self) -> None:
        self.screen.chapter("The handler is mended, the dead letter replayed")
        self.takes_rock.set()
        self.screen.happened("rock", "takes rock songs from now on")
        (letter,) = self._letters()
        self.screen.command(f"eventpost deadletter replay {letter.id}")
        replayed = [line.done for line in self.client.replay(ids=[letter.id])]
        self._require("one dead letter is replayed", replayed[-1:] == [1])
        rock = self.handlers["rock"]
        self._expect("the replayed song is delivered", lambda: rock.accepted() == 1)
        self._expect("no dead letter is left", lambda: not self._letters())

    def balance(self) -> None:
        self.screen.chapter("The books: matched + replayed = delivered + dead + dropped + pending")
        self._expect("nothing is pending", lambda: all(not each.pending for each in self._books()))
        books = self._books()
        self.screen.table(
            ("subscription", "matched", "replayed", "delivered", "dead", "dropped", "pending"),
            [
                (
                    *(each.subscription, each.matched, each.replayed, each.delivered),
                    *(_sum(each.dead_lettered), _sum(each.dropped), each.pending),
                )
                for each in books
            ],
        )
        for each in books:
            left = each.matched + each.replayed
            right = each.delivered + _sum(each.dead_lettered) + _sum(each.dropped) + each.pending
            self._require(f"the books of {each.subscription} balance", left == right)
        delivered = {each.subscription: each.delivered for each in books}
        wanted = {"blues": 3, "hits": 1, "rock": 1, "notices": 1, "mails": 1}
        self._require("every song that was wanted was delivered", delivered == wanted)
        self.screen.say("   They balance.", style="good")

    def stay(self) -> None:
        """On the air until Ctrl-C, with something to try."""
        self.screen.chapter("On the air until Ctrl-C. Try this in another terminal:")
        for line in to_try(self.server.url, self.server.token, self.key):
            self.screen.say(f"   {line}", style="command")
        self.screen.say("")
        while self.server.is_running():
            time.sleep(LOOK_S)
        raise StageError(f"The server ended. It said:\n{self.server.said()}")

    # --- what the steps are made of ---------------------------------------------------------------

    def tell_delivery(self, handler: Handler, received: Received) -> None:
        """Called by a handler, on its thread, for every delivery."""
        if handler.name == "notices":
            what = f"notice: {received.data.get('subscription')} gave up,"
            what += f" {received.data.get('reason')}"
        else:
            artist, song = received.data.get("artist"), received.data.get("song")
            what = f"{received.subject}  {song} ({artist})"
        attempt = ""
        if received.delivery_count:
            waited_s = received.at_s - handler.received[-2].at_s
            attempt = f", attempt {received.delivery_count + 1} after {waited_s * 1_000:.0f} ms"
        style = "good" if received.status == 200 else "wait" if received.status == 503 else "bad"
        self.screen.happened(handler.name, f"{what}  -> {received.status}{attempt}", style=style)

    def tell_letter(self, letter: Letter) -> None:
        """Called by the mailbox, on its thread, for every mail."""
        self.screen.happened("mailbox", f"{letter.recipient} gets: {letter.subject}", style="good")
        for line in letter.text.splitlines():
            if line.startswith("    eventpost "):
                self.screen.happened("", f"  {line.strip()}", style="aside")

    def _subscribe_mailbox(self) -> None:
        port = self.mailbox.port
        settings = {"host": "127.0.0.1", "port": port, "security": "none", "sender": MAILED_FROM}
        words = " ".join(f"--set {name}={value}" for name, value in settings.items())
        self.screen.command(f"eventpost connection create mail --kind smtp {words}")
        self.client.create_connection({"name": "mail", "kind": "smtp", "settings": settings})
        self.screen.command(
            f"eventpost subscription create mails --topic {NOTICES} --endpoint-type email"
            f" --endpoint {MAILED_TO} --connection mail"
        )
        self.client.create_subscription(
            {
                "name": "mails",
                "topic": NOTICES,
                "endpointType": "email",
                "endpoint": MAILED_TO,
                "connection": "mail",
            }
        )

    def _subscribe(self, name: str, subject: str, topic: str) -> None:
        begins = f" --subject-begins-with {subject}" if subject else ""
        self.screen.command(
            f"eventpost subscription create {name} --topic {topic}{begins}"
            f" --endpoint {self.handlers[name].url} --retry-schedule {FAST_SCHEDULE}"
        )
        subscription = self.client.create_subscription(
            {
                "name": name,
                "topic": topic,
                "endpoint": self.handlers[name].url,
                "filter": {"subjectBeginsWith": subject},
                "retry": {"schedule": FAST_SCHEDULE},
            }
        )
        state = subscription.provisioning_state
        self._require(f"the handshake with {name} succeeds", state == "Succeeded")

    def _publish(self, *songs: Song) -> None:
        for song in songs:
            self.screen.happened("listener", f"asks for {song.title} ({song.subject})")
        self.client.publish_events(TOPIC, [request(song) for song in songs], key=self.key)

    def _letters(self) -> "list[DeadLetterView]":
        return self.client.list_dead_letters()

    def _books(self) -> "list[Books]":
        return self.client.show_report().subscriptions

    def _unmatched(self) -> int:
        return sum(
            each.unmatched for each in self.client.show_report().topics if each.topic == TOPIC
        )

    def _expect(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until it is so. Raises NotAsTold."""
        if not wait_until(condition, HAPPENS_S_MAX):
            raise NotAsTold(f"{what} (waited {HAPPENS_S_MAX:.0f} s).")

    def _require(self, what: str, is_so: bool) -> None:
        if not is_so:
            raise NotAsTold(f"{what}: it is not so.")


def _sum(counts: dict[str, int]) -> int:
    return sum(counts.values())


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
