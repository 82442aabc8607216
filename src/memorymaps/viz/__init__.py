"""Figures of maps: Matplotlib displays and the interactive explorer."""

from memorymaps._imports import lazy_names

_MODULES = {
    "ComparisonDisplay": "memorymaps.viz.displays.comparison",
    "Display": "memorymaps.viz.displays.base",
    "EvolutionDisplay": "memorymaps.viz.displays.evolution",
    "ExplorerOptions": "memorymaps.viz.explorer.options",
    "GeneralisationDisplay": "memorymaps.viz.displays.evolution",
    "GroupDisplay": "memorymaps.viz.displays.leave_out",
    "GroupInfluenceDisplay": "memorymaps.viz.displays.group_influence",
    "HalfNormalDisplay": "memorymaps.viz.displays.half_normal",
    "InfluenceDisplay": "memorymaps.viz.displays.influence",
    "LeaveOutDisplay": "memorymaps.viz.displays.leave_out",
    "MapDisplay": "memorymaps.viz.displays.map",
    "PayloadError": "memorymaps.viz.explorer.payloads",
    "Pictures": "memorymaps.viz.explorer.payloads",
    "PruningDisplay": "memorymaps.viz.displays.pruning",
    "RetrainingDisplay": "memorymaps.viz.displays.leave_out",
    "Rows": "memorymaps.viz.explorer.payloads",
    "SelectionDisplay": "memorymaps.viz.displays.comparison",
    "SensitivityDisplay": "memorymaps.viz.displays.sensitivity",
    "Server": "memorymaps.viz.explorer.server",
    "Texts": "memorymaps.viz.explorer.payloads",
    "TrajectoryDisplay": "memorymaps.viz.displays.trajectory",
    "explore": "memorymaps.viz.explorer.explorer",
}

__all__ = [
    "ComparisonDisplay",
    "Display",
    "EvolutionDisplay",
    "ExplorerOptions",
    "GeneralisationDisplay",
    "GroupDisplay",
    "GroupInfluenceDisplay",
    "HalfNormalDisplay",
    "InfluenceDisplay",
    "LeaveOutDisplay",
    "MapDisplay",
    "PayloadError",
    "Pictures",
    "PruningDisplay",
    "RetrainingDisplay",
    "Rows",
    "SelectionDisplay",
    "SensitivityDisplay",
    "Server",
    "Texts",
    "TrajectoryDisplay",
    "explore",
]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
