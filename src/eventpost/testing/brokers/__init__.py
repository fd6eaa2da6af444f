"""What every broker for Dramatiq must do on its real service, as a test suite.

Subclass it, and give it a fixture `harness`, which makes a fresh namespace for each test:

    @pytest.mark.slow
    class TestPigeonBroker(BrokerConformance):
        @pytest.fixture
        def harness(self, loft: Loft, tmp_path: Path) -> Iterator[BrokerHarness]:
            with PigeonHarness(loft, tmp_path) as harness:
                yield harness

Layer: testing. Brokers, workers and middleware are real; what the service refuses is up to the
harness. A test of a refusal that a harness cannot bring about passes at once.
"""

from eventpost.testing.brokers.basics import Basics
from eventpost.testing.brokers.endings import Endings
from eventpost.testing.brokers.faults import Faults
from eventpost.testing.brokers.harness import BrokerHarness
from eventpost.testing.brokers.stock import StockMiddleware
from eventpost.testing.brokers.times import Times

__all__ = ["BrokerConformance", "BrokerHarness"]


class BrokerConformance(Basics, Times, Endings, StockMiddleware, Faults):
    """Inherit, and define the fixture `harness`."""
