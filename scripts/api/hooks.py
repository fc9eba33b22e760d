"""Keeps schemathesis from waiting on streams, and lets bodies of agents speak of the attempt and the trial that there are."""

import json
import os
import re
import zlib
from typing import Any

import schemathesis

# By operation: fields of the body with the values that the server knows.
FACTS: dict[str, dict[str, Any]] = json.loads(os.environ["EM_API_FACTS"])
ULID = re.compile("[0-7][0-9A-HJKMNP-TV-Z]{25}")


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A stream would end with the request's time limit only."""
    for stream in ("watch", "follow"):
        if isinstance(case.query, dict) and str(case.query.get(stream)).lower() in ("true", "['true']", "[true]"):
            del case.query[stream]


@schemathesis.serializer("application/zip")
def as_it_is(context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """A random id is never that of the address, and nothing behind that comparison would be reached. What is wrong stays wrong."""
    facts = FACTS.get(context.operation.definition.raw.get("operationId"), {})
    if not isinstance(body, dict) or zlib.crc32(repr(body).encode("utf-8", "replace")) % 5 == 0:
        return body
    return {key: facts[key] if key in facts and alike(facts[key], value) else value for key, value in body.items()}


def alike(known: Any, found: Any) -> bool:
    if type(known) is not type(found):
        return False
    if isinstance(known, str):
        return ULID.fullmatch(known) is None or ULID.fullmatch(found) is not None
    if isinstance(known, int):
        return 0 <= found < 2**32
    return known.keys() == found.keys() and all(alike(known[key], found[key]) for key in known)
