"""Executors that run at once in this process, but on what pickling makes of their tasks, as a worker does."""

import pickle
from concurrent.futures import Executor, Future

from memorymaps.files.executors import shared_context


class RoundTrip(Executor):
    """Each task is pickled, read back and run when it is submitted; `submitted` and `unused` count them."""

    def __init__(self):
        self._max_workers, self.submitted = 2, 0

    def submit(self, fn, /, *args, **kwargs):
        self.submitted += 1
        fn, args, kwargs = pickle.loads(pickle.dumps((fn, args, kwargs)))
        future = Future()
        try:
            future.set_result(pickle.loads(pickle.dumps(self.run(fn, args, kwargs))))
        except Exception as error:
            future.set_exception(error)
        return future

    def run(self, fn, args, kwargs):
        """Of a worker of this machine."""
        return fn(*args, **kwargs)


class Elsewhere(RoundTrip):
    """Workers that cannot read this machine's files, and of which every third loses what it had been sent."""

    def run(self, fn, args, kwargs):
        if self.submitted % 3 == 0:
            shared_context._CONTEXTS.clear()
        key, _, payload, item = args
        return fn(key, "/no such folder/context.pickle", payload, item)
