"""People come, play, go and come back; whatever happens to their connections, what was played is recorded."""

import json
import time

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from understudy.games.minari_files import describe, exists, read
from understudy.games.names import make
from understudy.games.recordings import check
from understudy.serving.access import Access, read_keys


def recorded(hall, episode=-1):
    """Return a recorded game, once it has been played again."""
    recording = read(hall.match.folder)
    check(recording, make(recording.game, worlds=len(recording.episodes), **recording.options), "mine")
    return recording.episodes[episode]


def test_a_person_plays_and_the_game_is_recorded(open_hall, tab):
    address, hall = open_hall()
    ann = tab(address)
    assert ann.join("Ann")["step"] == 0
    assert [place["who"] for place in ann.room["places"]] == ["Ann", "script:cook"]
    assert ann.room["you"] == 0
    ann.say("ready")
    ann.hear("room", state="playing")
    ann.say("press", key="ArrowLeft", number=1)
    shown = ann.hear("frame", acted=1)
    assert shown["step"] > 0
    assert "Before you is a counter." in shown["said"]
    ann.say("press", key="ArrowRight", number=2)
    ann.hear("frame", acted=2)
    ann.say("release", key="ArrowRight")
    over = ann.hear("over")
    assert (over["steps"], over["episode"], over["recording"], over["reason"]) == (40, 0, "mine-v0", "")

    episode = recorded(hall)
    assert episode.provenance["players"] == {"cook 1": "person Ann", "cook 2": "script:cook"}
    assert episode.provenance["scenario"]["game"] == "kitchen/cramped_room"
    assert episode.provenance["ended"] == "by the game"
    assert episode.provenance["code"]["version"]
    assert episode.seed == 5
    assert episode.rewards.sum(0).tolist() == list(over["returns"].values())
    mine = episode.actions[:, 0, 0].tolist()
    # West at first, then east as often as it was held; nothing else was pressed
    assert mine.index(3) < mine.index(2)
    assert set(mine) <= {2, 3, 4}

    ann.say("ready")
    assert ann.hear("over")["episode"] == 1
    assert recorded(hall).seed == 6


def test_two_people_play_together_and_others_watch(open_hall, tab):
    address, hall = open_hall("human", "human")
    ann, bob, eve = (tab(address) for _ in range(3))
    ann.join("Ann")
    bob.join("Bob")
    eve.join("Eve")
    assert (ann.room["you"], bob.room["you"], eve.room["you"]) == (0, 1, None)
    eve.say("ready")
    eve.say("press", key="ArrowUp", number=1)
    ann.say("ready")
    bob.hear("room")
    assert bob.room["state"] == "waiting"
    bob.say("ready")
    ann.hear("room", state="playing")
    bob.hear("room", state="playing")
    for number, (one, key) in enumerate(((ann, "ArrowLeft"), (bob, "ArrowDown")), 1):
        one.say("press", key=key, number=number)
        one.hear("frame", acted=number)
        one.say("release all")
    # Who watches is told what is seen, and of nobody's own things
    watched = eve.hear("frame", step=30)
    assert watched["said"] == []
    assert len(watched["places"]) == 2
    assert ann.hear("over")["returns"] == bob.hear("over")["returns"] == eve.hear("over")["returns"]
    episode = recorded(hall)
    assert episode.provenance["players"] == {"cook 1": "person Ann", "cook 2": "person Bob"}
    assert set(episode.actions[:, 0, 0]) == {3, 4}
    assert set(episode.actions[:, 1, 0]) == {1, 4}


def test_a_lost_connection_comes_back_and_the_game_goes_on(open_hall, tab):
    address, hall = open_hall(patience=60)
    ann = tab(address)
    ann.join("Ann")
    ann.say("ready")
    ann.hear("room", state="playing")
    ann.say("press", key="ArrowLeft", number=1)
    ann.hear("frame", acted=1)
    ann.socket.socket.close()  # as a network does: without a word

    again = tab(address)
    again.join("Ann", token=ann.room["token"])
    assert again.room["you"] == 0
    over = again.hear("over")
    assert (over["steps"], over["reason"]) == (40, "")
    # What was held when the connection was lost is let go
    mine = recorded(hall).actions[:, 0, 0]
    assert mine[-1] == 4
    assert len(mine) == 40


def test_a_closed_tab_breaks_the_game_off_and_it_is_recorded_as_cut_short(open_hall, tab):
    address, hall = open_hall(patience=0.05, horizon=10_000)
    ann, eve = tab(address), tab(address)
    ann.join("Ann")
    eve.join("Eve")
    ann.say("ready")
    ann.hear("frame", step=5)
    ann.socket.close()
    over = eve.hear("over")
    assert over["reason"] == "broken off: Ann went away"
    episode = recorded(hall)
    assert len(episode.actions) == over["steps"] >= 5
    assert not episode.terminated.any()
    assert episode.provenance["ended"] == "broken off: Ann went away"
    # The place is free, and who watched may take it
    assert eve.hear("room", free=1)["you"] is None
    eve.say("join", name="Eve")
    assert eve.hear("room")["you"] == 0
    eve.say("ready")
    eve.say("leave")
    assert eve.hear("over")["reason"] == "broken off: Eve left"


def test_a_second_tab_watches_and_a_doubled_one_plays_on(open_hall, tab):
    address, hall = open_hall(horizon=10_000, patience=60)
    ann, second = tab(address), tab(address)
    ann.join("Ann")
    second.join("Ann")
    assert second.room["you"] is None
    ann.say("ready")
    ann.hear("room", state="playing")
    ann.say("press", key="ArrowLeft", number=1)
    ann.hear("frame", acted=1)
    doubled = tab(address)
    doubled.join("Ann", token=ann.room["token"])
    assert doubled.room["you"] == 0
    with pytest.raises(ConnectionClosed) as closed:
        ann.hear("never")
    assert closed.value.rcvd.code == 4001
    doubled.say("press", key="ArrowUp", number=3)
    step = doubled.hear("frame", acted=3)["step"]
    doubled.say("release", key="ArrowUp")
    doubled.hear("frame", step=step + 10)
    # The first one's end is not the player's
    assert hall.state == "playing"
    doubled.say("leave")
    assert doubled.hear("over")["reason"] == "broken off: Ann left"
    # What was held in the old tab is let go, though that tab was never closed by hand
    west = recorded(hall).actions[:, 0, 0] == 3
    assert west[:-5].any()
    assert not west[-5:].any()


JUNK = {
    "not JSON": "the message is not JSON in a text",
    b"\x00\x01": "the message is not JSON in a text",
    "[" * 4000: "the message is not JSON in a text",
    "[]": "a message cannot say 'None'",
    '{"say": "cheat"}': "a message cannot say 'cheat'",
    '{"say": ["press"]}': "a message cannot say",
    '{"say": "press", "key": 3}': "key: expected a text",
    '{"say": "press", "key": "w", "number": "one"}': "number: expected a whole number",
    '{"say": "join", "token": null}': "token: expected a text",
}


def test_junk_is_answered_in_the_shape_of_all_errors_and_disturbs_nothing(open_hall, tab):
    address, _ = open_hall()
    ann = tab(address)
    ann.join("Ann")
    ann.say("ready")
    for junk, problem in JUNK.items():
        ann.socket.send(junk)
        error = ann.hear("error")["error"]
        assert problem in error["message"], junk
        assert error["type"] == "invalid_request_error"
    ann.say("press", key="no such key", number=1)
    assert ann.hear("over")["steps"] == 40
    for _ in range(20):
        ann.socket.send("junk")
    with pytest.raises(ConnectionClosed) as closed:
        ann.hear("never")
    assert closed.value.rcvd.code == 1008


def test_a_message_without_end_closes_the_connection(open_hall, tab):
    address, _ = open_hall()
    ann = tab(address)
    ann.join("Ann")
    ann.socket.send("x" * 5000)
    with pytest.raises(ConnectionClosed) as closed:
        ann.hear("never")
    assert closed.value.rcvd.code == 1009
    assert httpx.get(f"{address}/api/room").json() == {"game": "kitchen/cramped_room", "state": "waiting"}


def test_a_name_is_text_of_one_short_line(open_hall, tab):
    address, hall = open_hall()
    ann = tab(address)
    ann.join("A\x1b[31m\n n " + "x" * 100)
    ann.say("ready")
    ann.hear("over")
    player = recorded(hall).provenance["players"]["cook 1"]
    assert player.startswith("person A\ufffd[31m n xxx")
    assert len(player) <= len("person ") + 40


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"Host": "evil.example"}, "does not go by the name 'evil.example'"),
        ({"Origin": "https://evil.example"}, "pages from https://evil.example may not use this server"),
    ],
)
def test_foreign_names_and_pages_are_refused(open_hall, headers, problem):
    address, _ = open_hall()
    asked = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        **headers,
    }
    answer = httpx.get(f"{address}/api/play", headers=asked)
    assert answer.status_code == 403
    assert problem in answer.json()["error"]["message"]


def test_keys_are_asked_for_and_name_their_person(open_hall, tab, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("ann apricot-apricot-apricot\n")
    keys.chmod(0o600)
    address, hall = open_hall(access=Access(read_keys(keys)))
    for offered in (["understudy"], ["understudy", f"key.{b'wrong'.hex()}"], ["understudy", "key.zz"]):
        with pytest.raises(InvalidStatus) as refused:
            tab(address, subprotocols=offered)
        assert refused.value.response.status_code == 401
        assert json.loads(refused.value.response.body)["error"]["code"] == "invalid_api_key"
    assert httpx.get(f"{address}/api/episodes").status_code == 401
    assert httpx.get(f"{address}/watch").status_code == httpx.get(address).status_code == 200
    ann = tab(address, subprotocols=["understudy", f"key.{b'apricot-apricot-apricot'.hex()}"])
    assert ann.socket.subprotocol == "understudy"
    ann.join("Eve")
    ann.say("ready")
    ann.hear("over")
    assert recorded(hall).provenance["players"]["cook 1"] == "person ann"


def test_a_server_that_ends_records_what_is_played(open_hall, tab):
    address, hall = open_hall(horizon=10_000)
    ann = tab(address)
    ann.join("Ann")
    ann.say("ready")
    ann.hear("frame", step=3)
    hall.close()
    assert describe(hall.match.folder)[1] == 1
    assert recorded(hall).provenance["ended"] == "broken off: the server ended"


def test_what_cannot_be_recorded_is_said_and_recorded_later(open_hall, tab):
    address, hall = open_hall()
    ann = tab(address)
    ann.join("Ann")
    folder = hall.match.folder
    folder.parent.mkdir()
    folder.write_text("in the way")
    ann.say("ready")
    assert "kept until the next one" in ann.hear("error")["error"]["message"]
    assert not exists(folder)
    folder.unlink()
    ann.hear("room", state="waiting")
    ann.say("ready")
    assert ann.hear("over")["episode"] == 1
    assert [one.seed for one in read(folder).episodes] == [5, 6]


def test_a_game_that_fails_is_recorded_as_far_as_it_went(open_hall, tab):
    address, hall = open_hall(horizon=10_000)
    ann = tab(address)
    ann.join("Ann")
    ann.say("ready")
    ann.hear("frame", step=3)
    hall.match.teams.decide = None  # anything may go wrong in other people's code
    over = ann.hear("over")
    assert over["reason"].startswith("broken off: ")
    assert len(recorded(hall).actions) == over["steps"]


def test_a_slow_browser_misses_frames_and_holds_nobody_up(open_hall, tab):
    address, _ = open_hall("human", "human", seconds=0.001, horizon=600)
    ann, bob = tab(address), tab(address)
    ann.join()
    bob.join()
    ann.say("ready")
    bob.say("ready")
    # Bob's browser does not read
    steps = []
    while True:
        message = json.loads(ann.socket.recv(timeout=30))
        if message["say"] == "frame":
            steps.append(message["step"])
        if message["say"] == "over":
            break
    assert message["steps"] == 600
    assert bob.hear("over")["steps"] == 600
    assert steps == sorted(steps)


def test_the_clock_is_the_games(open_hall, tab):
    address, _ = open_hall(seconds=0.05, horizon=10)
    ann = tab(address)
    ann.join()
    ann.say("ready")
    ann.hear("frame", step=0)
    began = time.monotonic()
    ann.hear("over")
    # A busy machine may take longer, but no step is hurried
    assert time.monotonic() - began >= 0.05 * 9
