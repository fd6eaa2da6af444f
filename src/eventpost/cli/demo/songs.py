"""What the listeners ask for."""

import sys
import uuid
from datetime import UTC, datetime
from typing import Any, NamedTuple

TOPIC = "song-requests"
EVENT_TYPE = "Radio.SongRequested"


class Song(NamedTuple):
    subject: str
    artist: str
    title: str


BLUES = [
    Song("genre/blues/1", "Bessie Smith", "Backwater Blues"),
    Song("genre/blues/2", "Robert Johnson", "Cross Road Blues"),
    Song("genre/blues/3", "Memphis Minnie", "In My Girlish Days"),
]
UNWANTED = [
    Song("genre/jazz/1", "Mary Lou Williams", "Roll 'Em"),
    Song("genre/polka/1", "Frankie Yankovic", "Just Because"),
]
SOUL = Song("genre/soul/1", "Otis Redding", "Try a Little Tenderness")
ROCK = Song("genre/rock/1", "Sister Rosetta Tharpe", "Strange Things Happening Every Day")


def request(song: Song) -> dict[str, Any]:
    """A listener's request as an Event Grid event."""
    return {
        "id": str(uuid.uuid4()),
        "eventType": EVENT_TYPE,
        "subject": song.subject,
        "eventTime": datetime.now(UTC).isoformat(),
        "dataVersion": "1.0",
        "data": {"artist": song.artist, "song": song.title},
    }


def to_try(url: str, token: str, key: str) -> list[str]:
    """Commands for another terminal, while the station at `url` is on the air."""
    event = (
        f'[{{"id": "1", "eventType": "{EVENT_TYPE}", "subject": "genre/blues/9",'
        ' "eventTime": "2026-01-01T00:00:00Z", "dataVersion": "1.0",'
        ' "data": {"artist": "Big Mama Thornton", "song": "Hound Dog"}}]'
    )
    is_in_environment = sys.prefix != sys.base_prefix
    return [
        *([f"alias eventpost={sys.prefix}/bin/eventpost"] if is_in_environment else []),
        f"curl -i {url}/topics/{TOPIC}/api/events -H 'aeg-sas-key: {key}' -d '{event}'",
        f"export EVENTPOST_URL={url} EVENTPOST_TOKEN={token}",
        f'eventpost publish {TOPIC} --subject genre/rock/7 --data \'{{"song": "Rocket 88"}}\'',
        f"eventpost topic tail {TOPIC}",
        "eventpost subscription show blues",
        f"curl -s {url}/metrics | grep delivered",
    ]
