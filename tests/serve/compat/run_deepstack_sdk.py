"""What DeepStack's Python SDK gets from a service: its documented calls, printed as JSON."""

from __future__ import annotations

import json
import sys

from deepstack_sdk import Face, ServerConfig

port, key, portrait, variants = sys.argv[1:]
face = Face(ServerConfig(f"http://127.0.0.1:{port}", api_key=key))


def plain(answer: object) -> list[object]:
    return [vars(item) if hasattr(item, "__dict__") else item for item in answer]


def failure(call: object, *arguments: object) -> str:
    try:
        call(*arguments)
    except Exception as error:  # the SDK raises nothing else
        return str(error)
    return ""


said = {
    "detected": plain(face.detectFace(portrait)),
    "before": plain(face.recognizeFace(portrait)),
    "registered": face.registerFace(images=[portrait], userid="Eileen Collins"),
    "bad": failure(face.registerFace, [b"no picture"], "Nobody"),
    "list": plain(face.listFaces()),
    "recognized": plain(face.recognizeFace(variants, min_confidence=0.9)),
    "deleted": face.deleteFace("Eileen Collins"),
    "left": plain(face.listFaces()),
}
print(json.dumps(said))
