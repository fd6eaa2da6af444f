"""Whom the client trusts: TLS contexts, made once per setting and shared by all connections.

Layer: http.
"""

import ssl


class Trust:
    """The client's TLS contexts. `ca_file` adds authorities (PEM) to the system's own."""

    __slots__ = ("_ca_file", "_contexts")

    def __init__(self, ca_file: str | None = None) -> None:
        self._ca_file = ca_file
        self._contexts: dict[bool, ssl.SSLContext] = {}

    def context(self, *, is_insecure: bool) -> ssl.SSLContext:
        """The context for one setting. Raises OSError when `ca_file` cannot be read."""
        context = self._contexts.get(is_insecure)
        if context is None:
            context = self._contexts[is_insecure] = self._make(is_insecure=is_insecure)
        return context

    def _make(self, *, is_insecure: bool) -> ssl.SSLContext:
        context = ssl.create_default_context()  # SSL_CERT_FILE and SSL_CERT_DIR are honoured
        if self._ca_file is not None:
            context.load_verify_locations(cafile=self._ca_file)
        context.set_alpn_protocols(["http/1.1"])
        if is_insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
