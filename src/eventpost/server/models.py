"""The models of the management API, which it shares with the client: `registry.models`."""

from eventpost.registry.models import *  # noqa: F403
