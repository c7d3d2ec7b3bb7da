"""The names that others build upon change on purpose only."""

import manyhands


def test_public_names() -> None:
    assert manyhands.__all__ == [
        "Node", "Processes", "RunView", "Simulated", "Specification", "Strategy", "Task", "load_task", "register",
        "replay", "resume", "train", "write_report",
    ]  # fmt: skip


def test_every_public_name_can_be_had() -> None:
    assert all(getattr(manyhands, name) for name in manyhands.__all__)
