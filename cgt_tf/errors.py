"""The one exception type for everything a user can put right."""


class InputError(ValueError):
    """Bad flags, files, images, checkpoints, shapes or class counts.

    The message is one line that says what was expected and what was given. Commands print it
    without a traceback and exit with status 2; library callers may catch it as a `ValueError`.
    """
