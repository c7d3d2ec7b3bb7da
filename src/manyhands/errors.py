"""What a user can be told in one line. Everything else is a defect and keeps its traceback."""


class UserError(ValueError):
    """Something a user asked for that cannot be done: one line that names what was wrong and what would be right."""


class RunError(RuntimeError):
    """A run that had to stop on its way (a dead peer, a loss that is not a number): one line that says where."""
