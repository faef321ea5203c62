"""What Home Assistant is told of a camera, so that it makes a device with entities by itself.

The format is that of device discovery, which Home Assistant has known since 2024.11
(https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload): one message a camera.
"""

from __future__ import annotations

import re
from typing import Any, get_args

from .. import __version__
from .camera_events import EventType

__all__ = ["discovery_of"]

_ID = re.compile(r"[^A-Za-z0-9_-]")


def discovery_of(topic: str, camera: str, base: str) -> tuple[str, dict[str, Any]]:
    """The topic of a camera's discovery, and its message as JSON types.

    Args:
        topic: First part of our topics.
        camera: Name of the camera.
        base: First part of Home Assistant's discovery topics.
    """
    node, place = f"{_ID.sub('_', topic)}_{camera}", f"{topic}/{camera}"
    entities: dict[str, dict[str, Any]] = {
        "person": {
            "platform": "sensor",
            "name": "Person",
            "state_topic": f"{place}/person",
            "icon": "mdi:account",
        },
        "people": {
            "platform": "sensor",
            "name": "People",
            "state_topic": f"{place}/people",
            "value_template": "{{ value_json.count }}",
            "json_attributes_topic": f"{place}/people",
            "state_class": "measurement",
            "icon": "mdi:account-multiple",
        },
        "somebody": {
            "platform": "binary_sensor",
            "name": "Somebody here",
            "state_topic": f"{place}/somebody",
            "device_class": "occupancy",
        },
        "event": {
            "platform": "event",
            "name": "Event",
            "state_topic": f"{place}/event",
            "event_types": list(get_args(EventType)),
            "icon": "mdi:face-recognition",
        },
    }
    return f"{base}/device/{node}/config", {
        "device": {
            "identifiers": [node],
            "name": f"Camera {camera}",
            "manufacturer": "mobileface",
            "model": "mobileface serve",
            "sw_version": __version__,
        },
        "origin": {"name": "mobileface", "sw_version": __version__},
        "availability": [{"topic": f"{topic}/status"}, {"topic": f"{place}/status"}],
        "availability_mode": "all",
        "components": {
            key: {**entity, "unique_id": f"{node}_{key}"} for key, entity in entities.items()
        },
    }
