"""The base class of errors that a user can fix."""


class UserError(Exception):
    """An error that a user can fix.

    The message is one sentence that says what is wrong and what would be right. The command line prints it without a
    traceback and exits with status 2.
    """
