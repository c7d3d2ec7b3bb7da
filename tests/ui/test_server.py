"""What pages are told: lists, runs, comparisons, forms; and what they may not do."""

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from manyhands.cli.ui import forms
from manyhands.ui.server import Application

TOKEN, PORT = "a-token-of-tests", 8765


def test_the_list_has_everything_and_what_is_damaged(client: TestClient) -> None:
    content = client.get("/api/runs").json()
    by_id = {run["id"]: run for run in content["runs"]}
    assert by_id["damaged"]["problem"] == "run.json is damaged: it must hold one JSON object"
    assert by_id["done"]["accuracy"][1].endswith("%")
    assert [study["title"] for study in content["studies"]] == ["Six ways to share the training"]


@pytest.mark.parametrize(("scale", "words"), [("epoch", "by epoch"), ("time", "by time"), ("bytes", "by bytes")])
def test_a_run_is_drawn_by_epoch_time_or_bytes(client: TestClient, scale: str, words: str) -> None:
    content = client.get("/api/run", params={"id": "done", "scale": scale}).json()
    accuracy, loss, *others = content["figures"]
    assert (accuracy["key"], loss["key"]) == ("test_accuracy", "test_loss")
    assert words in accuracy["title"]
    assert [figure["key"] for figure in others] == ["consensus", "rate-by-epoch", "sent-by-epoch"]
    assert len(accuracy["spec"]["datasets"]["points"]) == (10 if scale == "bytes" else 11)
    assert content["problems"] == []
    assert [figure["key"] for figure in content["nodes"]] == ["accounts"]
    whole = client.get("/api/whole", params={"id": "done"}).json()
    assert {"run-confusion", "run-classes", "partition-0"} <= {figure["key"] for figure in whole["figures"]}


def test_a_run_under_way_misses_nothing_that_comes_at_the_end(client: TestClient) -> None:
    content = client.get("/api/run", params={"id": "going"}).json()
    assert content["problems"] == []
    assert content["run"]["completed"] == 5
    assert [name for name, _, _ in content["tiles"]][:3] == ["Test accuracy", "Test loss", "Clock"]


def test_what_nodes_spent_is_known_from_the_checkpoint(client: TestClient, root: Path) -> None:
    checkpoint = root / "going" / "checkpoints" / "000005"
    checkpoint.mkdir(parents=True)
    ledger = {"compute": 3_000_000_000, "exposed": 1_000_000_000, "bytes_sent": 5000}
    nodes = {str(rank): {"ledger": ledger} for rank in range(2)}
    (checkpoint / "state.json").write_text(json.dumps({"nodes": nodes}))
    (figure,) = client.get("/api/run", params={"id": "going"}).json()["nodes"]
    assert figure["rows"][0][:4] == ["worker 0", "3.00\u00a0s", "1.00\u00a0s", "5.00\u00a0kB"]
    assert figure["caption"].startswith("Until the last checkpoint")
    (root / "going" / "checkpoints" / "000006").mkdir()
    (root / "going" / "checkpoints" / "000006" / "state.json").write_text('{"nodes": {"0": {"ledger": {"compute": 1}}}')
    assert client.get("/api/run", params={"id": "going"}).json()["nodes"] == []


def test_a_damaged_run_has_a_page(client: TestClient) -> None:
    content = client.get("/api/run", params={"id": "damaged"}).json()
    assert content["problems"] == ["run.json is damaged: it must hold one JSON object"]
    assert client.get("/api/whole", params={"id": "damaged"}).json() == {"figures": []}


def test_damaged_files_of_a_run_are_named(client: TestClient, root: Path) -> None:
    (root / "done" / "partition.json").write_text("{")
    with (root / "done" / "history.jsonl").open("a") as file:
        file.write("what\n")
    content = client.get("/api/run", params={"id": "done"}).json()
    assert content["problems"] == [
        "history.jsonl: line 12 is damaged and left out",
        "partition.json is damaged and left out",
    ]
    assert content["figures"]


def test_runs_are_compared_whatever_is_among_them(client: TestClient) -> None:
    ids = ["done", "going", "damaged", "six/single-0"]
    content = client.get("/api/compare", params={"id": ids}).json()
    assert [row["cells"][0] for row in content["rows"]] == ["single", "gossip", "local-sgd"]
    assert len(content["problems"]) == 1
    assert content["problems"][0].startswith("damaged: ")
    assert "run.json is damaged" in content["problems"][0]
    accuracy = content["figures"][0]
    assert {row["series"] for row in accuracy["spec"]["datasets"]["points"]} == {"single", "gossip", "local-sgd"}
    differ = {line[0]: line[1:] for line in content["differ"]["lines"]}
    assert differ["strategy"] == ["gossip", "local-sgd", "single"]
    assert "task" not in differ


def test_a_study_is_compared_by_its_name(client: TestClient) -> None:
    content = client.get("/api/compare", params={"id": "six", "scale": "time"}).json()
    assert content["study"]["title"] == "Six ways to share the training"
    assert len(content["runs"]) == 7
    keys = [figure["key"] for figure in content["figures"]]
    assert {"test_accuracy-real", "test_accuracy-simulated"} <= set(keys)  # the clocks are never in one chart


def test_too_many_runs_are_too_many(client: TestClient) -> None:
    answer = client.get("/api/compare", params={"id": ["done"] * 61})
    assert answer.status_code == 404
    assert "tick 60 or fewer" in answer.json()["error"]


def test_nothing_ticked_is_nothing_to_compare(client: TestClient) -> None:
    assert client.get("/api/compare").json()["rows"] == []


def test_reports_of_runs_and_of_a_study(client: TestClient) -> None:
    assert "Six ways to share the training" in client.get("/report", params={"id": "six"}).text
    both = client.get("/report", params={"id": ["done", "damaged"]}).text
    assert "run.json is damaged" in both
    alone = client.get("/report", params={"id": "damaged"}).text
    assert "There is no report to show" in alone
    assert client.get("/report").status_code == 404


def test_names_are_escaped(client: TestClient) -> None:
    wicked = "deep/er/<script>alert(1)<"
    assert "<script>alert" not in client.get("/report", params={"id": wicked}).text
    assert "<script>alert" not in client.get("/run", params={"id": wicked}).text


def test_files_are_sent_once(client: TestClient) -> None:
    first = client.get("/vega.js")
    assert "window.vegaEmbed" in first.text
    again = client.get("/vega.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_check_says_the_command_and_what_is_wrong(client: TestClient) -> None:
    given = {"--strategy": "gossip", "--workers": "4"}
    told = client.post("/api/check", json={"form": "train", "given": given}).json()
    assert told == {
        "command": "manyhands train --strategy gossip --workers 4",
        "errors": {},
        "note": "10 epochs on 4 nodes",
    }
    told = client.post("/api/check", json={"form": "train", "given": {"--workers": "0"}}).json()
    assert told["errors"] == {"--workers": "--workers must be positive and finite, not 0"}


@pytest.mark.parametrize(
    "body", [{}, {"form": "train"}, {"form": "x", "given": {}}, {"form": "train", "given": {"--x": 1}}]
)
def test_a_form_must_be_whole(client: TestClient, body: object) -> None:
    assert client.post("/api/check", json=body).status_code == 422


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 60_000])
def test_what_is_sent_must_be_an_object(client: TestClient, content: bytes) -> None:
    answer = client.post("/api/check", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["error"] == "what is sent must be a JSON object"


def test_a_run_is_filled_in_again(client: TestClient) -> None:
    like = client.get("/api/form", params={"like": "done"}).json()["like"]
    assert like["--strategy"] == "gossip"
    assert like["--seed"] == "3"
    assert client.get("/api/form", params={"like": "damaged"}).status_code == 404


def test_errors_in_a_launch_start_nothing(client: TestClient, application: Application, root: Path) -> None:
    before = sorted(root.iterdir())
    answer = client.post("/api/launch", json={"form": "train", "given": {"--epochs": "-1"}})
    assert answer.status_code == 422
    assert list(answer.json()["errors"]) == ["--epochs"]
    assert application.launcher.jobs == {}
    assert sorted(root.iterdir()) == before


def test_only_what_was_started_here_can_be_stopped(client: TestClient) -> None:
    answer = client.post("/api/stop", json={"id": "going"})
    assert answer.status_code == 422
    assert answer.json()["error"] == "going was not started here: stop it where it was started"


@pytest.mark.parametrize("path", ["/api/launch", "/api/stop", "/api/resume"])
def test_without_leave_nothing_can_be_started_or_stopped(root: Path, path: str) -> None:
    application = Application(root, forms(), allow_launch=False)
    with TestClient(application.guarded(TOKEN, PORT), base_url=f"http://127.0.0.1:{PORT}") as reader:
        page = reader.get(f"/?token={TOKEN}").text
        assert "data-launch" not in page
        headers = {"origin": f"http://127.0.0.1:{PORT}"}
        assert reader.post(path, json={"form": "train", "given": {}}, headers=headers).status_code == 404
        assert reader.post("/api/check", json={"form": "train", "given": {}}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"hardware": [], "created": 5, "error": {}, "nodes": 3, "facts": [], "command": None, "status": None},
        {"hardware": "x", "created": "yesterday", "error": 7, "precision": 1, "model": "m", "name": ["a"]},
    ],
)
def test_nonsense_in_a_record_breaks_nothing(client: TestClient, root: Path, changes: dict[str, object]) -> None:
    file = root / "done" / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    assert client.get("/api/run", params={"id": "done"}).json()["figures"]
    assert client.get("/api/whole", params={"id": "done"}).status_code == 200
    assert client.get("/api/compare", params={"id": ["done", "going"]}).json()["rows"]
    assert "done" in {run["id"] for run in client.get("/api/runs").json()["runs"]}
