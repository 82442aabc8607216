"""Maps recorded during training, and learning events computed from them.

Callbacks for training frameworks and loggers are in `memorymaps.training.callbacks`, one module per library.
"""

from memorymaps._imports import lazy_names

_MODULES = {
    "InUseError": "memorymaps.files.locks",
    "RecordingWarning": "memorymaps.training.callbacks.recording",
    "RunFolderError": "memorymaps.maps.trajectory",
    "Tracker": "memorymaps.training.tracker",
    "Trajectory": "memorymaps.maps.trajectory",
    "events": "memorymaps.analysis.learning_events",
    "half_steps": "memorymaps.analysis.learning_events",
    "memorisation_speed": "memorymaps.analysis.learning_events",
    "schedule": "memorymaps.training.tracker",
}

__all__ = [
    "InUseError",
    "RecordingWarning",
    "RunFolderError",
    "Tracker",
    "Trajectory",
    "events",
    "half_steps",
    "memorisation_speed",
    "schedule",
]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
