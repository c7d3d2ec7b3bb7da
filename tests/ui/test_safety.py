"""Who is let in: the token, the host, the origin; and what a page may load."""

import pytest
from starlette.testclient import TestClient

from manyhands.ui.server import Application

TOKEN, PORT = "a-token-of-tests", 8765
HERE = f"http://127.0.0.1:{PORT}"
PAGES = ["/", "/run?id=done", "/compare", "/new", "/report?id=done", "/nothing"]
PLACES = [*PAGES, "/static/app.js", "/vega.js", "/events", "/api/runs", "/api/run?id=done"]


@pytest.fixture
def stranger(application: Application) -> TestClient:
    return TestClient(application.guarded(TOKEN, PORT), base_url=HERE)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], f"{TOKEN}x", "é"])
def test_nothing_is_told_without_the_token(stranger: TestClient, place: str, token: str) -> None:
    mark = "&" if "?" in place else "?"
    stranger.cookies[f"manyhands-{PORT}"] = "wrong"
    answer = stranger.get(f"{place}{mark}token={token}" if token else place)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert "gossip" not in answer.text


def test_a_person_without_the_token_is_told_what_to_do(stranger: TestClient) -> None:
    answer = stranger.get("/", headers={"accept": "text/html"})
    assert "Open the address that manyhands ui printed" in answer.text


def test_the_token_becomes_a_cookie_that_scripts_and_other_sites_never_see(stranger: TestClient) -> None:
    answer = stranger.get(f"/?token={TOKEN}")
    assert answer.headers["set-cookie"] == f"manyhands-{PORT}={TOKEN}; Path=/; HttpOnly; SameSite=Strict"
    assert stranger.get("/api/runs").status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "192.168.0.7:8765"]
)
def test_other_names_of_this_machine_are_refused(client: TestClient, host: str) -> None:
    assert client.get("/api/runs", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost:8765", "localhost:9999", "127.0.0.1"])
def test_a_tunnel_may_have_another_port(client: TestClient, host: str) -> None:
    request = client.build_request("GET", "/api/runs", headers={"host": host})
    request.headers["cookie"] = f"manyhands-{PORT}={TOKEN}"
    assert client.send(request).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:8765"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
    ],
)
def test_only_the_own_page_changes_something(client: TestClient, headers: dict[str, str]) -> None:
    for path in ("/api/check", "/api/launch", "/api/stop", "/api/resume"):
        answer = client.post(path, content=b"{}", headers={"content-type": "application/json", **headers})
        assert answer.status_code == 403


def test_without_an_origin_nothing_is_changed(client: TestClient) -> None:
    del client.headers["origin"]
    assert client.post("/api/stop", json={"id": "going"}).status_code == 403


def test_pages_load_nothing_from_elsewhere(client: TestClient) -> None:
    for place in ("/", "/api/runs", "/static/style.css", "/nothing"):
        answer = client.get(place)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "http" not in client.get("/").text.replace("http://www.w3.org/2000/svg", "")


def test_a_report_runs_its_scripts_but_reaches_nobody(client: TestClient) -> None:
    answer = client.get("/report?id=done")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert "connect-src" not in policy


@pytest.mark.parametrize("id_", ["../outside", "/etc", "link", "leaky", "six/../../outside"])
def test_a_path_outside_is_refused(client: TestClient, id_: str) -> None:
    for path in ("run", "whole", "compare"):
        assert client.get(f"/api/{path}", params={"id": id_}).status_code == 403
    assert client.get("/report", params={"id": id_}).status_code == 403
    assert client.get("/api/form", params={"like": id_}).status_code == 403
    assert client.post("/api/resume", json={"id": id_}).status_code == 403


@pytest.mark.parametrize("name", ["../server.py", "..%2fserver.py", "nothing.js", "%2e%2e/safety.py"])
def test_only_the_pages_own_files_are_given(client: TestClient, name: str) -> None:
    assert client.get(f"/static/{name}").status_code == 404


def test_a_long_body_is_refused(client: TestClient) -> None:
    answer = client.post("/api/check", json={"form": "x" * 100_000})
    assert answer.status_code == 422
    assert "bytes were sent" in answer.json()["error"]
