"""What the system, OpenSSL and HTTP clients say of the way to a peer. See `clues.clue`."""

from eventpost.diagnosis.clues.clue import LIKELY, MAYBE, SUMMARY, SURE, Clue

CLUES = (
    Clue(
        "certificate",
        r"(?i)certificate (?:verify failed: certificate )?has expired|certificate_expired",
        "EP2103",
        SURE,
        "OpenSSL",
    ),
    Clue(
        "certificate is not yet valid",
        r"(?i)certificate is not yet valid",
        "EP2104",
        SURE,
        "OpenSSL",
    ),
    Clue(
        " mismatch|certificate is not valid for '|doesn't match|certificate is valid for ",
        r"(?i)(?:hostname|ip address) mismatch|certificate is not valid for '|doesn't match|"
        r"certificate is valid for [^,]+, not ",
        "EP2106",
        SURE,
        "OpenSSL",
    ),
    Clue(
        "unable to get |signed certificate|unknown authority",
        r"(?i)unable to get (?:local )?issuer|self[- ]signed certificate|unknown authority",
        "EP2105",
        SURE,
        "OpenSSL",
    ),
    Clue(
        "verify failed|could not be verified",
        r"(?i)certificate verify failed|certificate could not be verified",
        "EP2107",
        LIKELY,
        "OpenSSL",
    ),
    Clue(
        "wrong_version_number|wrong version number|record layer failure|http_request|"
        "server gave http response to https client|first record does not look like a tls",
        r"WRONG_VERSION_NUMBER|wrong version number|record layer failure|HTTP_REQUEST|"
        r"server gave HTTP response to HTTPS client|first record does not look like a TLS",
        "EP2109",
        SURE,
        "OpenSSL",
    ),
    Clue(
        "plain http request was sent to https port|sent an http request to an https server",
        r"(?i)plain HTTP request was sent to HTTPS port|sent an HTTP request to an HTTPS server",
        "EP2211",
        SURE,
        "the server",
    ),
    Clue(
        "tlsv1 alert|sslv3 alert|tls: handshake failure|remote error: tls:",
        r"(?i)tlsv1 alert|sslv3 alert|tls: handshake failure|remote error: tls:",
        "EP2108",
        LIKELY,
        "OpenSSL",
    ),
    Clue(
        "unexpected_eof_while_reading|eof occurred in violation of protocol",
        r"(?i)UNEXPECTED_EOF_WHILE_READING|EOF occurred in violation of protocol",
        "EP2102",
        LIKELY,
        "OpenSSL",
    ),
    Clue(
        "temporary failure in name resolution|eai_again|server misbehaving",
        r"(?i)temporary failure in name resolution|EAI_AGAIN|server misbehaving",
        "EP2002",
        SURE,
        "the resolver",
    ),
    Clue(
        "name or service not known|nodename nor servname|"
        "no address associated with hostname|no such host|failed to resolve|"
        "getaddrinfo failed|eai_noname|enotfound|dns resolution failure|"
        "could not connect to the endpoint url",
        r"(?i)name or service not known|nodename nor servname|"
        r"no address associated with hostname|no such host|failed to resolve|"
        r"getaddrinfo failed|EAI_NONAME|ENOTFOUND|dns resolution failure|"
        r"Could not connect to the endpoint URL",
        "EP2001",
        LIKELY,
        "the resolver",
    ),
    Clue(
        "connection refused|econnrefused|errno 111|connect call failed|winerror 10061",
        r"(?i)connection refused|ECONNREFUSED|errno 111|connect call failed|WinError 10061",
        "EP2004",
        SURE,
        "the operating system",
    ),
    Clue(
        "no route to host|network is unreachable|ehostunreach|enetunreach|errno 1",
        r"(?i)no route to host|network is unreachable|EHOSTUNREACH|ENETUNREACH|errno 1(?:01|13)\b",
        "EP2005",
        SURE,
        "the operating system",
    ),
    Clue(
        "connection setup timed out in state connect|connecttimeout|connect timeout|"
        "connect timed out|i/o timeout|etimedout|errno 110",
        r"(?i)connection setup timed out in state CONNECT\b|ConnectTimeout|connect timeout|"
        r"connect timed out|dial tcp [^\n]*i/o timeout|ETIMEDOUT|errno 110\b",
        "EP2006",
        SURE,
        "the operating system",
    ),
    Clue(
        "setup timed out in state ssl|tls handshake timeout|: the handshake",
        r"(?i)setup timed out in state SSL|tls handshake timeout|_ssl\.c:\d+: The handshake",
        "EP2101",
        SURE,
        "OpenSSL",
    ),
    Clue(
        "too many open files|errno 24|emfile",
        r"(?i)too many open files|errno 24\b|EMFILE",
        "EP9002",
        SURE,
        "the operating system",
    ),
    Clue(
        "read timeout|readtimeout|read operation timed out|awaiting headers",
        r"(?i)read timeout|ReadTimeout|read operation timed out|awaiting headers",
        "EP2203",
        LIKELY,
        "an HTTP client",
    ),
    Clue(
        "remotedisconnected|without sending |server disconnected|without response",
        r"RemoteDisconnected|without sending (?:complete )?(?:a )?response|"
        r"Server disconnected|without response",
        "EP2205",
        LIKELY,
        "an HTTP client",
    ),
    Clue(
        "connection reset by peer|econnreset|errno 104|connection was reset|read: connection reset",
        r"(?i)connection reset by peer|ECONNRESET|errno 104\b|connection was reset|"
        r"read: connection reset",
        "EP2204",
        MAYBE,
        "the operating system",
    ),
    Clue(
        "broken pipe|epipe|errno 32",
        r"(?i)broken pipe|EPIPE|errno 32\b",
        "EP2202",
        MAYBE,
        "the operating system",
    ),
    Clue(
        "proxyerror|tunnel connection failed: 407|407 proxy authentication",
        r"ProxyError|Tunnel connection failed: 407|407 Proxy Authentication",
        "EP2011",
        MAYBE,
        "a proxy",
    ),
    Clue(
        "unhandled streamlosterror|streamlosterror",
        r"Unhandled StreamLostError|StreamLostError",
        "EP2204",
        SUMMARY,
        "pika",
    ),
    Clue(
        "max retries exceeded with url",
        r"Max retries exceeded with url",
        "EP2006",
        SUMMARY,
        "urllib3",
    ),
)
