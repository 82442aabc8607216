"""Work in other processes or on other machines: one function over any `concurrent.futures.Executor`."""
