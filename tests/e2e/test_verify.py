"""`store verify` looks at the books as well as at what is stored."""

from eventpost.testing import HANG, Grid, Receiver


def test_books_that_balance(grid: Grid, receiver: Receiver) -> None:
    """With deliveries in flight, waiting and given up, the store is intact."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(500, 400, HANG)
    grid.publish("songs", count=4)
    receiver.wait_for_held(1)

    assert grid.client.verify_store().is_intact


def test_books_that_do_not_balance(grid: Grid, receiver: Receiver) -> None:
    """A count that is wrong is found, with the subscription's name."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    grid.publish("songs")
    grid.settle()
    subscription_id = next(iter(grid.app.grid.subscriptions))

    def count_one_more(by: int) -> None:
        grid.app.grid.lanes_of(subscription_id)[0].delta.matched += by

    grid.call(count_one_more, 1)
    verified = grid.client.verify_store()
    grid.call(count_one_more, -1)

    assert not verified.is_intact
    [damage] = verified.damage
    assert damage.startswith("The books: handler: pending is 1")
    assert grid.client.verify_store().is_intact
