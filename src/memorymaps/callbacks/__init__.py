"""The one line for each training framework, and loggers for each dashboard; every file needs its own package only.

| file | what it adds |
|---|---|
| `lightning` | `MemoryMaps`, a callback of a PyTorch Lightning `Trainer` |
| `huggingface` | `MemoryMaps`, a callback of a Hugging Face `Trainer` |
| `skorch` | `MemoryMaps`, a callback of a skorch net |
| `tensorboard`, `wandb`, `mlflow` | `log`, for `Tracker(loggers=[log(…)])`: scalars and the map's picture |

In a loop of your own the line is `tracker.step()`.
"""
