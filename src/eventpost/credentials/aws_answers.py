"""What an error answer of a service of AWS says, whichever protocol it speaks.

Layer: credentials. Pure. The client reads the protocol that it asked in. Emulators, and whatever
stands before a service, refuse in the XML of the former protocol, or with a bare element:
`<ServiceUnavailableException/>` (https://github.com/celery/celery/issues/4159).
"""

import re
from collections.abc import Mapping
from typing import Any

_XML = re.compile(r"<(Code|Message)>(.*?)</\1>", re.DOTALL)
_BARE = re.compile(r"\s*(?:<\?xml[^>]*\?>\s*)?<([A-Za-z]+)Exception\s*/>\s*")
_NO_CODE = re.compile(r"\d{3}|")
"""What botocore calls an answer that has no code: its status."""


def said(response: Mapping[str, Any]) -> tuple[str, str]:
    """Code and text of botocore's `ClientError.response`; "" where the answer has none."""
    error = response.get("Error", {})
    code, message = str(error.get("Code", "")), str(error.get("Message", ""))
    if not _NO_CODE.fullmatch(code):
        return code, message
    bare = _BARE.fullmatch(message)
    if bare is not None:
        return bare[1], message
    told = dict(_XML.findall(message))
    return told.get("Code", ""), told.get("Message", message)
