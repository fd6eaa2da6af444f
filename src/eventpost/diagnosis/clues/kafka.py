"""What clients of Kafka and Amazon MSK say. See `clues.clue`."""

from eventpost.diagnosis.clues.clue import LIKELY, MAYBE, SUMMARY, SURE, Clue

CLUES = (
    Clue(
        "too many connects",
        r"Too many connects",
        "EP6016",
        SURE,
        "Amazon MSK",
    ),
    Clue(
        "oauth token not set within|failed to acquire sasl oauthbearer token",
        r"OAuth token not set within|Failed to acquire SASL OAUTHBEARER token",
        "EP4500",
        LIKELY,
        "librdkafka",
    ),
    Clue(
        "connecting to a plaintext broker listener",
        r"connecting to a PLAINTEXT broker listener",
        "EP2109",
        SURE,
        "librdkafka",
    ),
    Clue(
        "in state apiversion_query",
        r"in state APIVERSION_QUERY",
        "kafka:CLOSED_AT_FIRST_REQUEST",
        LIKELY,
        "librdkafka",
    ),
    Clue(
        "authenticaterequest failed|handshakerequest failed",
        r"SaslAuthenticateRequest failed|SaslHandshakeRequest failed",
        "kafka:CLOSED_IN_AUTHENTICATION",
        LIKELY,
        "librdkafka",
    ),
    Clue(
        "unsupported sasl mechanism|enabled mechanisms are|supported mechanisms:",
        r"(?i)unsupported sasl mechanism|enabled mechanisms are|supported mechanisms:",
        "kafka:UNSUPPORTED_SASL_MECHANISM",
        SURE,
        "Kafka",
    ),
    Clue(
        "request not valid in current sasl state",
        r"Request not valid in current SASL state",
        "kafka:ILLEGAL_SASL_STATE",
        SURE,
        "Kafka",
    ),
    Clue(
        "kafkaerror{code=",
        r"KafkaError\{code=(?P<code>[A-Z_]+),",
        "kafka:{code}",
        LIKELY,
        "confluent-kafka",
    ),
    Clue(
        "_authorization_failed|sasl_authentication_failed|unsupported_sasl_mechanism|"
        "illegal_sasl_state|unknown_topic_or_part",
        r"\b(?P<code>(?:TOPIC|GROUP|CLUSTER|TRANSACTIONAL_ID)_AUTHORIZATION_FAILED|"
        r"SASL_AUTHENTICATION_FAILED|UNSUPPORTED_SASL_MECHANISM|ILLEGAL_SASL_STATE|"
        r"UNKNOWN_TOPIC_OR_PART)(?:ITION)?\b",
        "kafka:{code}",
        LIKELY,
        "Kafka",
    ),
    Clue(
        "saslauthenticationfailed",
        r"SaslAuthenticationFailedError|SaslAuthenticationFailed\b",
        "EP4402",
        LIKELY,
        "Kafka",
    ),
    Clue(
        "topicauthorizationfailederror",
        r"TopicAuthorizationFailedError",
        "EP4406",
        SURE,
        "kafka-python",
    ),
    Clue(
        "groupauthorizationfailederror",
        r"GroupAuthorizationFailedError",
        "EP4407",
        SURE,
        "kafka-python",
    ),
    Clue(
        "unknowntopicorpartitionerror",
        r"UnknownTopicOrPartitionError",
        "EP4408",
        LIKELY,
        "kafka-python",
    ),
    Clue(
        "illegalsaslstateerror",
        r"IllegalSaslStateError",
        "EP4405",
        LIKELY,
        "kafka-python",
    ),
    Clue(
        "_authentication|authentication failure",
        r"(?:_AUTHENTICATION|Authentication failure).*Access denied",
        "EP4402",
        SURE,
        "Kafka",
    ),
    Clue(
        "]: access denied",
        r"\[[0-9a-f-]{36}\]: Access denied",
        "EP4402",
        SURE,
        "Amazon MSK",
    ),
    Clue(
        "]: session too short",
        r"\[[0-9a-f-]{36}\]: Session too short",
        "EP6015",
        SURE,
        "Amazon MSK",
    ),
    Clue(
        "'nonetype' object has no attribute 'access_key'",
        r"'NoneType' object has no attribute 'access_key'",
        "EP4501",
        SURE,
        "the MSK signer",
    ),
    Clue(
        "connection reset during recv|error receiving network data",
        r"(?i)connection reset during recv|error receiving network data",
        "kafka:CLOSED_IN_AUTHENTICATION",
        MAYBE,
        "a Kafka client",
    ),
    Clue(
        "sg_size_too_large|essagesizetoolargeerror",
        r"MSG_SIZE_TOO_LARGE|MessageSizeTooLargeError",
        "EP4409",
        SURE,
        "Kafka",
    ),
    Clue(
        "nobrokersavailable|unable to bootstrap from|_all_brokers_down|_msg_timed_out|"
        "local: all broker connections are down",
        r"NoBrokersAvailable|Unable to bootstrap from|_ALL_BROKERS_DOWN|_MSG_TIMED_OUT|"
        r"Local: All broker connections are down",
        "EP4401",
        SUMMARY,
        "a Kafka client",
    ),
    Clue(
        "unrecognizedbrokerversion",
        r"UnrecognizedBrokerVersion",
        "kafka:CLOSED_AT_FIRST_REQUEST",
        MAYBE,
        "kafka-python",
    ),
)
