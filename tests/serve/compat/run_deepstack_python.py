"""What deepstack-python or codeproject-ai-api gets from a service, printed as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

package, port, key, portrait, variants = sys.argv[1:]
options = {"ip": "127.0.0.1", "port": int(port)}
if package == "deepstack":
    from deepstack.core import DeepstackFace as Face
    from deepstack.core import get_recognized_faces

    options["api_key"] = key
else:
    from codeprojectai.core import CodeProjectAIFace as Face
    from codeprojectai.core import get_recognized_faces
face = Face(**options)


def failure(call: object, *arguments: object) -> str:
    try:
        call(*arguments)
    except Exception as error:  # of either package
        return f"{type(error).__name__}: {error}"
    return ""


one, many = Path(portrait).read_bytes(), Path(variants).read_bytes()
said = {
    "detected": face.detect(one),
    "before": face.recognize(one),
    "registered": face.register("Eileen Collins", one),
    "bad": failure(face.register, "Nobody", b"no picture"),
    "list": face.get_registered_faces(),
    "recognized": face.recognize(many),
    "names": get_recognized_faces(face.recognize(many)),
}
print(json.dumps(said))
