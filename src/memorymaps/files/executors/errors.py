"""What can go wrong between this process and its workers."""


class WorkerLostError(RuntimeError):
    """A worker process ended before its task did: killed, or out of memory."""


class NotPicklableError(TypeError):
    """A model, data or function that cannot be sent to another process."""
