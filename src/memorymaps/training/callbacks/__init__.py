"""Callbacks for training frameworks and loggers; each module needs the package that it is named after."""
