"""What a user of the command line can mend."""


class CommandError(Exception):
    """The command cannot do what was asked; the message is one sentence that says why."""
