"""`map_in_order` and `map_as_completed`: one function over many items, here or by an executor's workers.

At most `Workers.in_flight` tasks are submitted or waiting to be used, so that memory is bounded; results in order are
those of a loop, whatever the order in which they are finished.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from memorymaps.files.executors.errors import WorkerLostError
from memorymaps.files.executors.shared_context import ContextMissing, SharedContext, Task, perform, pickled
from memorymaps.files.executors.workers import Workers

Item = TypeVar("Item")

_LOST = (
    "a worker ended before its task did: it was killed, or ran out of memory. What was finished is kept where a path= "
    "was given: run the same again to go on, with fewer processes if memory was short"
)


def map_in_order(
    workers: Workers | None,
    task: Task,
    shared: Any,
    items: Iterable[Item],
    what: str = "this work",
    left_out: tuple[type, ...] = (),
) -> Iterator[Any]:
    """`task(shared, item)` of each item, in the order of the items.

    `task` is a function of a module; `shared` is sent to each worker once, without the instances of `left_out` that it
    holds. `what` names both in messages.

    Raises
    ------
    NotPicklableError
        `shared` or an item cannot be sent to other processes.
    WorkerLostError
        A worker was killed, and the executor does not repeat its task.

    Examples
    --------
    >>> list(map_in_order(None, pow, 2, [1, 2, 3]))
    [2, 4, 8]
    """
    if workers is None:
        yield from (task(shared, item) for item in items)
        return
    with _submission(workers, task, shared, what, left_out) as submit:
        source, window = iter(items), deque[_Submitted]()
        try:
            window.extend(submit(item) for item in islice(source, workers.in_flight))
            while window:
                result = window[0].result()
                window.popleft()
                window.extend(submit(item) for item in islice(source, 1))
                yield result
        finally:
            _cancel(window)


def map_as_completed(
    workers: Workers | None, task: Task, shared: Any, items: Iterable[Item], what: str = "this work"
) -> Iterator[tuple[Item, Any]]:
    """Items with `task(shared, item)`, as they are finished: to keep each as soon as it is there.

    Raises
    ------
    NotPicklableError, WorkerLostError
        As `map_in_order`.
    """
    if workers is None:
        yield from ((item, task(shared, item)) for item in items)
        return
    with _submission(workers, task, shared, what) as submit:
        source = iter(items)
        pending = {each.future: each for each in map(submit, islice(source, workers.in_flight))}
        try:
            while pending:
                for future in sorted(wait(pending, return_when=FIRST_COMPLETED).done, key=_has_failed):
                    done = pending.pop(future)
                    again = done.again_if_missing()
                    if again is not None:
                        pending[again.future] = again
                        continue
                    pending.update({each.future: each for each in map(submit, islice(source, 1))})
                    yield done.item, done.result()
        finally:
            _cancel(pending.values())


class _Submitted:
    """An item at a worker; `send(with_payload)` submits it."""

    def __init__(self, item: Any, send: Callable[[bool], Future[Any]], with_payload: bool = False):
        self.item, self._send, self.future = item, send, _translated(lambda: send(with_payload))

    def again_if_missing(self) -> _Submitted | None:
        """The item submitted with its context, if the worker had none; `None` if there is a result."""
        missing = _translated(lambda: isinstance(self.future.result(), ContextMissing))
        return _Submitted(self.item, self._send, with_payload=True) if missing else None

    def result(self) -> Any:
        """Of the task."""
        again = self.again_if_missing()
        return self.future.result() if again is None else again.result()


@contextmanager
def _submission(
    workers: Workers, task: Task, shared: Any, what: str, left_out: tuple[type, ...] = ()
) -> Iterator[Callable[[Any], _Submitted]]:
    """A function that submits an item to the workers."""
    submit = workers.executor.submit
    if workers.in_this_process:
        yield lambda item: _Submitted(item, lambda _: submit(task, shared, item))
        return
    with SharedContext(task, shared, what, left_out) as context:

        def send(item: bytes, with_payload: bool) -> Future[Any]:
            payload = context.payload if with_payload else None
            return submit(perform, context.key, str(context.path), payload, item)

        def submitted(item: Any) -> _Submitted:
            content = pickled(item, what)
            return _Submitted(item, lambda with_payload: send(content, with_payload))

        yield submitted


def _translated(work: Callable[[], Any]) -> Any:
    """What `work` returns; an error of the executor, not of the task, as `WorkerLostError`."""
    try:
        return work()
    except (BrokenExecutor, CancelledError) as error:
        raise WorkerLostError(f"{_LOST} ({type(error).__name__}: {error})") from error
    except Exception as error:
        if type(error).__name__ == "KilledWorker":  # Dask, after several attempts
            raise WorkerLostError(f"{_LOST} ({error})") from error
        raise


def _has_failed(future: Future[Any]) -> bool:
    """Failures come last, so that no result that is there is lost with them."""
    return future.cancelled() or future.exception() is not None


def _cancel(submitted: Iterable[_Submitted]) -> None:
    for each in submitted:
        each.future.cancel()
