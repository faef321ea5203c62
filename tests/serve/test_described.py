"""The API's description is valid, whole, and what the service does (schemathesis).

Routes that are added later are covered by themselves; those whose answers never end are left out by
their names, which end in ``/stream``.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import PORTRAIT
from .running import Running, serving

if sys.version_info < (3, 11):
    pytest.skip("schemathesis needs Python 3.11", allow_module_level=True)

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

load_all_checks()
CHECKS = [
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
FEW, MANY = 200, 2500
"""Requests to all routes together, half of them of valid, half of invalid input."""

FILES = st.sampled_from([PORTRAIT.read_bytes(), b"", b"no picture", PORTRAIT.read_bytes()[:5000]])


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of its own: what is written to its gallery is nobody else's."""
    folder = tmp_path_factory.mktemp("described")
    with serving(gallery=folder / "people.gallery") as server:
        yield server


def schema_of(server: Running) -> Any:
    """The description, with files marked so that schemathesis sends ours."""
    with server.client() as client:
        text = client.get("/api/v1/openapi.json").text
    files = '"contentMediaType":"application/octet-stream"'
    assert files in text
    schemathesis.openapi.format("binary", FILES)
    return schemathesis.openapi.from_dict(
        json.loads(text.replace(files, f'{files},"format":"binary"'))
    )


def operations(schema: Any) -> list[Any]:
    found = [result.ok() for result in schema.get_all_operations()]
    return [operation for operation in found if not operation.path.endswith("/stream")]


def check(address: str, operation: Any, mode: GenerationMode, examples: int) -> Counter[int]:
    """Sends requests to a route; returns how often each status came."""
    seen: Counter[int] = Counter()

    @seed(20_261_127)
    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(mode))
    def send(case: Any) -> None:
        answer = case.call(base_url=address, timeout=60)
        seen[answer.status_code] += 1
        if answer.status_code == 503:
            assert "retry-after" in answer.headers
        else:
            assert answer.status_code < 500, answer.text
        case.validate_response(answer, checks=CHECKS)

    send()
    return seen


def check_all(server: Running, requests: int) -> Counter[int]:
    total: Counter[int] = Counter()
    routes = operations(schema_of(server))
    examples = max(3, requests // (2 * len(routes)))
    for operation in routes:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.NEGATIVE and not takes_something(operation):
                continue
            seen = check(server.address, operation, mode, examples)
            print(f"{operation.label} {mode.value}: {dict(sorted(seen.items()))}")
            total += seen
    return total


def takes_something(operation: Any) -> bool:
    """True if there is input that may be invalid."""
    return bool(list(operation.body)) or bool(list(operation.query))


@pytest.mark.slow
def test_every_route_does_what_is_described(described: Running) -> None:
    total = check_all(described, FEW)
    assert total[200] > 30
    assert total[400] + total[422] > 30
    assert not total[500]


@pytest.mark.endurance
def test_every_route_does_what_is_described_for_long(described: Running) -> None:
    total = check_all(described, MANY)
    print(dict(total))
    assert not total[500]


def test_the_description_is_whole(described: Running) -> None:
    """Every route says what it answers, and which errors, and has a text."""
    schema = described.server.application.api.openapi()
    described_errors = {"400", "401", "403", "408", "413", "422", "429", "500", "503"}
    assert schema["openapi"].startswith("3.1")
    identities = []
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            identities.append(operation["operationId"])
            assert operation["summary"], where
            assert operation["description"], where
            if path not in ("/health", "/ready"):
                missing = described_errors - set(operation["responses"])
                assert not missing, (where, missing)
            for status, answer in operation["responses"].items():
                assert answer["description"], (where, status)
                if status >= "400":
                    (content,) = answer["content"].values()
                    reference = content["schema"]["$ref"]
                    assert reference in ("#/components/schemas/FailureAnswer",) or (
                        path == "/ready"
                    ), (where, status, reference)
    assert len(identities) == len(set(identities))


def test_the_description_is_valid(described: Running) -> None:
    """By the OpenAPI specification's own JSON schema, which schemathesis brings."""
    schema_of(described).validate()


def test_documents_are_as_described(described: Running, tmp_path: Path) -> None:
    """The answers to a real portrait have the fields that the description names."""
    portrait = PORTRAIT.read_bytes()
    schema = schema_of(described)
    with described.client() as client:
        for name in ("analyze", "detect", "embed", "search", "compare"):
            files = {"a": portrait, "b": portrait} if name == "compare" else {"file": portrait}
            path = f"/api/v1/{name}"
            answer = client.post(path, files=files)
            assert answer.status_code == 200, answer.text
            answer.request.read()
            schema[path]["POST"].validate_response(answer)
            content = answer.json()
            content.pop("faces", None)
            content.pop("model", None)
            broken = type(answer)(200, json=content, request=answer.request)
            broken.elapsed = answer.elapsed
            with pytest.raises(Exception, match=r"faces|model"):
                schema[path]["POST"].validate_response(broken)
