"""One-line descriptions of settings: the docstring below each field, or the line given here."""

import ast
import inspect
import textwrap

BY_NAME = {
    "limits.name_chars_min": "The shortest name of a topic or a subscription.",
    "limits.name_chars_max": "The longest name of a topic or a subscription.",
    "limits.advanced_filters_max": "Advanced filters of one subscription.",
    "limits.delivery_attempts_max": "The largest `--max-delivery-attempts`.",
    "limits.schedule_rungs_max": "Steps of a custom retry schedule.",
    "limits.batch_events_max": "The largest `--max-events-per-batch`.",
    "limits.batch_kilobytes_max": "The largest `--preferred-batch-size-in-kilobytes`.",
    "limits.rate_per_s_min": "The lowest `--rate`.",
    "limits.rate_per_s_max": "The highest `--rate`.",
    "limits.response_timeout_s_min": "The shortest `--response-timeout`.",
    "limits.response_timeout_s_max": "The longest `--response-timeout`.",
    "limits.url_chars_max": "The longest URL of a webhook.",
    "limits.deadletter_chars_max": "The longest `--deadletter-endpoint`.",
    "limits.delivery_attributes_max": "Delivery properties of one subscription.",
    "limits.delivery_attribute_bytes_max": "The longest value of a delivery property.",
    "limits.delivery_attribute_name_chars_max": "The longest name of a delivery property.",
    "limits.signing_secrets_max": "Signing secrets of one subscription at the same time.",
    "limits.lease_s_min": "The shortest `--lease` of a source.",
    "limits.lease_s_max": "The longest `--lease` of a source.",
    "grid.breaker_probe_s_max": "The longest wait between two probes of an open breaker.",
    "grid.retention_interval_s": "How often it is looked for events past their retention.",
    "grid.export_events_max": "Dead letters in one file.",
    "grid.export_bytes_max": "Size at which a file of dead letters is closed.",
    "leases.idle_growth": "How many times as long each pause after an empty answer becomes.",
    "leases.idle_s_max": "The longest pause after empty answers.",
    "leases.receive_delay_s_max": "The longest pause after failed receives.",
    "sources.hold_s_max": "The longest pause of a source whose messages the store did not take.",
    "sources.open_s_max": "The longest pause of a source whose queue could not be opened.",
    "http.backlog": "Connections that the system holds until they are accepted.",
    "client.connections_per_origin_max": "Connections to one scheme, host and port.",
    "client.answer_head_bytes_max": "The largest head of a webhook's answer.",
    "client.answer_body_bytes_kept_max": "How much of a webhook's answer is kept as evidence.",
}
"""For fields that carry no docstring of their own."""


def of_class(kind: type) -> dict[str, str]:
    """The docstrings below a class's fields, read from the source: the compiler drops them."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
            and isinstance(following.value.value, str)
        ):
            found[statement.target.id] = " ".join(following.value.value.split())
    return found
