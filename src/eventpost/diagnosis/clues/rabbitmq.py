"""What RabbitMQ and clients of AMQP say. See `clues.clue`."""

from eventpost.diagnosis.clues.clue import LIKELY, SURE, Clue

CLUES = (
    Clue(
        "access_refused - login was refused|login refused: user",
        r"ACCESS_REFUSED - Login was refused|login refused: user",
        "EP4301",
        SURE,
        "RabbitMQ",
    ),
    Clue(
        "probableauthenticationerror|authenticationfailureexception",
        r"ProbableAuthenticationError|AuthenticationFailureException",
        "EP4301",
        LIKELY,
        "an AMQP client",
    ),
    Clue(
        "not_found - no queue",
        r"NOT_FOUND - no queue",
        "EP4307",
        SURE,
        "RabbitMQ",
    ),
    Clue(
        "not_found - no exchange",
        r"NOT_FOUND - no exchange",
        "EP4308",
        SURE,
        "RabbitMQ",
    ),
    Clue(
        " not found",
        r"vhost [^\n]{0,260} not found",
        "EP4303",
        SURE,
        "RabbitMQ",
    ),
    Clue(
        "not_allowed - access to vhost",
        r"NOT_ALLOWED - access to vhost",
        "EP4304",
        SURE,
        "RabbitMQ",
    ),
    Clue(
        "precondition_failed - inequivalent arg",
        r"PRECONDITION_FAILED - inequivalent arg",
        "EP4311",
        SURE,
        "RabbitMQ",
    ),
    Clue(
        "delivery acknowledgement on channel ",
        r"delivery acknowledgement on channel \d+ timed out",
        "EP4315",
        SURE,
        "RabbitMQ",
    ),
    Clue(
        "resource_locked - cannot obtain exclusive access",
        r"RESOURCE_LOCKED - cannot obtain exclusive access",
        "EP4310",
        SURE,
        "RabbitMQ",
    ),
    Clue(
        "connection_forced",
        r"CONNECTION_FORCED",
        "EP4317",
        SURE,
        "RabbitMQ",
    ),
    Clue(
        "access_refused - ",
        r"ACCESS_REFUSED - (?:access to|configure|write|read)",
        "EP4306",
        SURE,
        "RabbitMQ",
    ),
    Clue(
        "incompatibleprotocolerror|invalid protocol handshake",
        r"IncompatibleProtocolError|invalid protocol handshake",
        "EP4321",
        LIKELY,
        "an AMQP client",
    ),
    Clue(
        "missed heartbeats from client|amqpheartbeattimeout",
        r"missed heartbeats from client|AMQPHeartbeatTimeout",
        "EP4318",
        LIKELY,
        "RabbitMQ",
    ),
    Clue(
        "connectionblockedtimeout|connection.blocked",
        r"ConnectionBlockedTimeout|connection\.blocked",
        "EP4314",
        LIKELY,
        "RabbitMQ",
    ),
)
