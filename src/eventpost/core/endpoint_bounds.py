"""What an endpoint may be: the shape of its URL, batches, pace, delivery properties, secrets."""

import re
from urllib.parse import urlsplit

from eventpost.core.errors import InvalidRequest
from eventpost.core.limits import LIMITS, Limits, check_between, check_count, excerpt
from eventpost.core.notation import parse_duration_ms
from eventpost.core.source_bounds import check_settings
from eventpost.core.sources import MessageFormat
from eventpost.core.subscriptions import MESSAGE_PROPERTIES, DeliveryAttribute, Endpoint

RESERVED_PREFIX = "aeg-"
RESERVED_HEADERS = frozenset(
    (
        # Hop by hop or about the message's frame (RFC 9110, 7.6.1; RFC 9112).
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("content-length", "host", "expect"),
        # What a delivery carries of its own.
        *("content-type", "content-encoding", "traceparent", "tracestate"),
        *("webhook-id", "webhook-timestamp", "webhook-signature"),
        *("webhook-request-origin", "webhook-request-callback", "webhook-request-rate"),
    )
)

_CODE = "InvalidEndpoint"
_PROPERTY = "InvalidDeliveryProperty"
_MESSAGE_PROPERTY = "InvalidMessageProperty"
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_TENANT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?")
_APPLICATION = re.compile(r"[\x21-\x7e]+")
_SECRET_REFERENCE = re.compile(r"(env|file):.+", re.DOTALL)


def check_endpoint(endpoint: Endpoint, limits: Limits = LIMITS) -> None:
    """Raises InvalidRequest unless address, batch, pace and delivery properties are in bounds."""
    _check_token(endpoint, limits)
    if endpoint.type == "webhook":
        _check_url(endpoint.address, limits)
        _check_is_no_queue(endpoint)
    else:
        check_settings("options", endpoint.options, limits)
        _check_properties(endpoint.properties, limits)
    _check_locks(endpoint, limits)
    _check_batch(endpoint, limits)
    _check_pace(endpoint, limits)
    _check_attributes(endpoint.attributes, limits)
    _check_signing_secrets(endpoint.signing_secrets, limits)


def _check_batch(endpoint: Endpoint, limits: Limits) -> None:
    events, kilobytes = endpoint.max_events_per_batch, endpoint.preferred_batch_size_in_kilobytes
    check_between(_CODE, "The number of events per batch", events, 1, limits.batch_events_max)
    name = "The preferred batch size in kilobytes"
    check_between(_CODE, name, kilobytes, 1, limits.batch_kilobytes_max)


def _check_locks(endpoint: Endpoint, limits: Limits) -> None:
    """Wanted of any endpoint, so that the same is said of it wherever it stands."""
    lock_s, least, most = (
        endpoint.receive_lock_duration_s,
        limits.receive_lock_s_min,
        limits.receive_lock_s_max,
    )
    check_between(_CODE, "The lock duration in seconds", lock_s, least, most)
    count, most = endpoint.max_delivery_count, limits.delivery_count_max
    check_between(_CODE, "The number of times an event is handed out", count, 1, most)


def _check_pace(endpoint: Endpoint, limits: Limits) -> None:
    check_between(_CODE, "The concurrency", endpoint.concurrency, 1, limits.concurrency_max)
    timeout_s = endpoint.response_timeout_s
    least, most = limits.response_timeout_s_min, limits.response_timeout_s_max
    check_between(_CODE, "The response timeout in seconds", timeout_s, least, most)
    if endpoint.rate_per_s is not None:
        least, most = limits.rate_per_s_min, limits.rate_per_s_max
        name = "The rate in events per second"
        check_between(_CODE, name, endpoint.rate_per_s, least, most)


def _check_attributes(attributes: tuple[DeliveryAttribute, ...], limits: Limits) -> None:
    count_max = limits.delivery_attributes_max
    check_count(_PROPERTY, "delivery properties", len(attributes), 0, count_max)
    names = set()
    for attribute in attributes:
        _check_attribute_name(attribute.name, limits)
        _check_attribute_value(attribute, limits)
        if attribute.name.lower() in names:
            raise InvalidRequest(
                _PROPERTY,
                f"The delivery property {attribute.name!r} is given twice.",
                why="Header names are the same in upper and lower case.",
                fix="Remove one.",
            )
        names.add(attribute.name.lower())


def _check_token(endpoint: Endpoint, limits: Limits) -> None:
    """A token is good for whoever has it, so that it only goes where nobody else can get it."""
    problem = _token_problem(endpoint, limits)
    if problem is not None:
        what, fix = problem
        raise InvalidRequest(
            "InvalidToken", f"The endpoint cannot get tokens of Microsoft Entra: {what}.", fix=fix
        )


def _token_problem(endpoint: Endpoint, limits: Limits) -> tuple[str, str] | None:
    tenant = endpoint.azure_active_directory_tenant_id
    application = endpoint.azure_active_directory_application_id_or_uri
    if not tenant and not application:
        return None
    if not tenant or not application:
        given, missing = (
            ("tenant id", "application id or URI")
            if tenant
            else (
                "application id or URI",
                "tenant id",
            )
        )
        return f"the {given} is given, and the {missing} is missing", "Give both, or neither."
    if _TENANT.fullmatch(tenant) is None:
        return f"{excerpt(tenant)} is no tenant", "Give its id, or a domain of it."
    if _APPLICATION.fullmatch(application) is None or len(application) > limits.url_chars_max:
        return (
            f"{excerpt(application)} is no application",
            f"Give its id, or its URI of at most {limits.url_chars_max} characters without blanks.",
        )
    if endpoint.type != "webhook":
        return f"it is of the type {endpoint.type}", "Leave tenant and application out."
    if not endpoint.address.lower().startswith("https://"):
        return "its URL is not https, so that others could read them", "Give an https URL."
    if endpoint.tls_insecure:
        return (
            "its certificate is not verified, so that anybody could get them",
            "Verify it: network.ca_file names authorities of your own.",
        )
    if any(each.name.lower() == "authorization" for each in endpoint.attributes):
        return (
            "a delivery property sets the header Authorization already",
            "Leave one of the two out.",
        )
    return None


def _check_is_no_queue(endpoint: Endpoint) -> None:
    given = {
        "connection": not endpoint.wants_token and endpoint.connection,
        "options": endpoint.options,
        "message properties": endpoint.properties,
        "message format": endpoint.format is not MessageFormat.EVENT,
    }
    for name, value in given.items():
        if value:
            raise InvalidRequest(
                _CODE,
                f"A webhook has no {name}.",
                why="They are for endpoints that are queues.",
                fix="Leave it out, or give the endpoint type of the queue.",
            )


def _check_properties(properties: tuple[DeliveryAttribute, ...], limits: Limits) -> None:
    count_max = limits.message_properties_max
    check_count(_MESSAGE_PROPERTY, "message properties", len(properties), 0, count_max)
    names = [each.name for each in properties]
    for each in properties:
        if each.name not in MESSAGE_PROPERTIES or names.count(each.name) > 1:
            is_known = each.name in MESSAGE_PROPERTIES
            what = "is given twice" if is_known else "is not known"
            raise InvalidRequest(
                _MESSAGE_PROPERTY,
                f"The message property {excerpt(each.name)} {what}.",
                fix=f"Known here, each once: {', '.join(MESSAGE_PROPERTIES)}.",
            )
        _check_attribute_value(each, limits)
        if each.type == "static":
            _check_static_property(each)


def _check_static_property(given: DeliveryAttribute) -> None:
    """A fixed delay or priority that is none would fail every delivery."""
    if given.name == "delay" and not given.value.isdigit():
        parse_duration_ms(given.value)
    if given.name == "priority" and not (given.value.isascii() and given.value.isdigit()):
        raise InvalidRequest(
            _MESSAGE_PROPERTY,
            f"The priority is {excerpt(given.value)}.",
            fix="Give a whole number from 0 upwards, or take it from the event (dynamic).",
        )


def _check_attribute_name(name: str, limits: Limits) -> None:
    lower = name.lower()
    if len(name) > limits.delivery_attribute_name_chars_max:
        why = (
            f"It has {len(name)} of at most {limits.delivery_attribute_name_chars_max} characters."
        )
    elif not _TOKEN.fullmatch(name):
        why = "A header name is made of letters, digits and !#$%&'*+-.^_`|~ (RFC 9110, 5.6.2)."
    elif lower.startswith(RESERVED_PREFIX):
        why = f"Names that begin with {RESERVED_PREFIX!r} belong to Event Grid."
    elif lower in RESERVED_HEADERS:
        why = "eventpost or the connection sets that header."
    else:
        return
    raise InvalidRequest(
        _PROPERTY,
        f"{excerpt(name)} cannot name a delivery property.",
        why=why,
        fix="Choose another name, such as X-Station.",
    )


def _check_attribute_value(attribute: DeliveryAttribute, limits: Limits) -> None:
    # A value may be a secret, so that no error shows it.
    value, value_bytes_max = attribute.value, limits.delivery_attribute_bytes_max
    size_bytes = len(value.encode("utf-8", "surrogatepass"))
    if size_bytes > value_bytes_max:
        why = f"It has {size_bytes} of at most {value_bytes_max} bytes."
    elif _CONTROL.search(value):
        why = "It holds a control character or half a surrogate pair."
    elif attribute.type == "dynamic" and not all(part.strip() for part in value.split(".")):
        why = "The path of a dynamic property has an empty part."
    else:
        return
    raise InvalidRequest(
        _PROPERTY,
        f"The value of the delivery property {attribute.name!r} cannot be sent.",
        why=why,
        fix="Write one line of text, or a path such as data.key1 for a dynamic property.",
    )


def _check_url(url: str, limits: Limits) -> None:
    problem = _url_problem(url, limits)
    if problem is not None:
        raise InvalidRequest(
            _CODE,
            f"{excerpt(_without_query(url))} cannot be a webhook: {problem}.",
            fix="Give a URL such as https://hooks.example.com/orders.",
        )


def _url_problem(url: str, limits: Limits) -> str | None:
    """What is wrong with the shape of `url`. Whether its address is allowed is asked later."""
    if len(url) > limits.url_chars_max:
        return f"it has {len(url)} characters, at most {limits.url_chars_max} are allowed"
    if not url.isascii() or any(c <= " " or c == "\x7f" for c in url):
        return "it holds blanks, control or non-ASCII characters (encode them)"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme.lower() not in ("http", "https"):
        return "it does not begin with https:// or http://"
    if not parts.hostname:
        return "it names no host"
    if parts.username is not None:
        return "it holds a user name (send an Authorization delivery property instead)"
    if port == 0:
        return "its port is 0"
    return "it has a #fragment" if parts.fragment else None


def _without_query(url: str) -> str:
    """The part of a URL that holds no secret: neither query nor user information."""
    head, _, _ = url.partition("?")
    scheme, separator, rest = head.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def _check_signing_secrets(references: tuple[str, ...], limits: Limits) -> None:
    check_count(_CODE, "signing secrets", len(references), 0, limits.signing_secrets_max)
    if not all(_SECRET_REFERENCE.fullmatch(reference) for reference in references):
        raise InvalidRequest(
            _CODE,
            "A signing secret is not a reference.",
            why="Secrets are named, never written down in settings.",
            fix="Write env:NAME or file:PATH.",
        )
