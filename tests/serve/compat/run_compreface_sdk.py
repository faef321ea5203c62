"""What CompreFace's Python SDK gets from a service: its documented calls, printed as JSON."""

from __future__ import annotations

import json
import sys

from compreface import CompreFace

port, key, portrait, another, variants = sys.argv[1:]
client = CompreFace("http://127.0.0.1", port, {"det_prob_threshold": 0.8})
recognition = client.init_face_recognition(key)
faces, subjects = recognition.get_face_collection(), recognition.get_subjects()
plugins = {"face_plugins": "age,gender,landmarks,calculator,mask", "status": True}
said = {
    "subject": subjects.add("Eileen"),
    "again": subjects.add("Eileen"),
    "example": faces.add(portrait, "Eileen", {"det_prob_threshold": 0.5}),
    "several": faces.add(variants, "Eileen"),
    "faces": faces.list(),
    "recognized": recognition.recognize(variants, {"prediction_count": 2, "limit": 3, **plugins}),
    "subjects": subjects.list(),
    "verified": faces.verify(portrait, faces.list()["faces"][0]["image_id"]),
    "detected": client.init_face_detection(key).detect(portrait, plugins),
    "compared": client.init_face_verification(key).verify(portrait, variants, {"limit": 2}),
    "renamed": subjects.update("Eileen", "Collins"),
    "after": subjects.list(),
}
same, second = faces.add(portrait, "Other"), faces.add(another, "Other")
said |= {
    "merged": subjects.update("Other", "Collins"),
    "both": faces.list(),
    "removed": faces.delete(second["image_id"]),
    "missing": faces.delete(second["image_id"]),
    "once": faces.delete(same["image_id"]),
    "emptied": faces.delete_all("Collins"),
    "left": subjects.list(),
    "added": subjects.add("Third"),
    "deleted": subjects.delete("Third"),
    "unknown": subjects.delete("Third"),
    "all": subjects.delete_all(),
}
print(json.dumps(said))
