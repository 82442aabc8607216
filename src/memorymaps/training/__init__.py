"""Maps recorded during training, and what they say about each example.

Callbacks for other libraries are in `memorymaps.training.callbacks`: one file a library.
"""

from memorymaps._imports import lazy_names

_MODULES = {
    "Tracker": "memorymaps.training.tracker",
    "Trajectory": "memorymaps.maps.trajectory",
    "events": "memorymaps.analysis.learning_events",
    "half_steps": "memorymaps.analysis.learning_events",
    "memorisation_speed": "memorymaps.analysis.learning_events",
    "schedule": "memorymaps.training.tracker",
}

__all__ = [
    "Tracker",
    "Trajectory",
    "events",
    "half_steps",
    "memorisation_speed",
    "schedule",
]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
