"""Faults of a store of histories: full disks, damage, two servers, restarts."""

import json
import os
import sqlite3
import subprocess
import tempfile

from cases import equal, holds
from faults_process import says_goodbye, stops_at_once
from raw_peer import CLOSE
from server_process import QUICK_CLOSE, Server, fault_of_the_binary

POLICIES = '[[rooms]]\nmatch = "chat*"\nhistory.messages = 2000\n'
FILE = "histories.sqlite"
# SQLite's log, as long as nobody has closed the database.
LOG = FILE + "-wal"


class Kit:
    """A folder with a store and a file of policies, and flags that use them."""

    def __init__(self, binary):
        self.binary = binary
        self.folder = tempfile.TemporaryDirectory()
        self.store = os.path.join(self.folder.name, "store")
        policies = os.path.join(self.folder.name, "rooms.toml")
        with open(policies, "w", encoding="ascii") as file:
            file.write(POLICIES)
        self.without_store = ("--config", policies, "--inbound-rate", "off", *QUICK_CLOSE)
        self.flags = (*self.without_store, "--store", self.store)

    def server(self, *flags, binary=None):
        return Server(binary or self.binary, *self.flags, *flags)

    def stops_at_once(self, flags, store, *told):
        """A server with these flags does not start; its message names the store, and contains this."""
        stops_at_once(self.binary, ["serve", "--listen", "127.0.0.1:0", *flags], [1], "--store", store, *told)

    def path(self, name):
        return os.path.join(self.store, name)


def in_store(case):
    """Registers a case that gets a folder of its own."""

    def run(binary):
        kit = Kit(binary)
        with kit.folder:
            case(kit)

    run.__name__ = case.__name__
    return fault_of_the_binary(run)


def join(peer, room="chat", since=None):
    """The data of the answer."""
    data = f',"data":{{"since":{json.dumps(since)}}}' if since else ""
    peer.send(f'{{"event":"$join","room":"{room}"{data}}}')
    return json.loads(peer.next())["data"]


def publish(peer, data, room="chat"):
    """The offset in the answer to the publish."""
    peer.send(f'{{"event":"e","id":1,"room":"{room}","data":{json.dumps(data)}}}')
    return json.loads(peer.next())["data"]["offset"]


def kill(server):
    server.process.kill()
    server.process.wait()


def written(kit, *flags):
    """Kills a server with three messages in its store; returns a client's position before them."""
    with kit.server(*flags) as server:
        peer = server.open()
        start = join(peer)
        equal([publish(peer, n) for n in range(3)], [1, 2, 3], "the offsets")
        kill(server)
    return {"epoch": start["epoch"], "offset": 0}


def recovers(server, since, count):
    """A client that reconnects gets this many messages, and the room continues after them."""
    peer = server.open()
    joined = join(peer, since=since)
    equal((joined["recovered"], joined.get("missed"), joined["epoch"]), (True, count, since["epoch"]), "the join")
    for number in range(count):
        message = json.loads(peer.next())
        equal((message["offset"], message["data"]), (number + 1, number), "what was missed")
    equal(publish(peer, count), count + 1, "the next offset")


def begins_anew(server, since):
    peer = server.open()
    joined = join(peer, since=since)
    equal((joined["recovered"], joined["offset"]), (False, 0), "the join")
    holds(joined["epoch"] != since["epoch"], "the epoch must be another")
    equal(publish(peer, 0), 1, "the next offset")


@in_store
def a_killed_server_goes_on_with_its_store(kit):
    for flags in ((), ("--store-sync", "always"), ("--threads", "3")):
        since = written(kit, *flags)
        with kit.server(*flags) as server:
            recovers(server, since, 3)
            server.terminate()
            server.exit_code()
        with kit.server() as server:
            recovers(server, since, 4)
        for name in os.listdir(kit.store):
            os.unlink(kit.path(name))


@in_store
def without_a_store_a_restart_begins_anew(kit):
    with Server(kit.binary, *kit.without_store) as server:
        peer = server.open()
        since = {"epoch": join(peer)["epoch"], "offset": publish(peer, 0)}
    with Server(kit.binary, *kit.without_store) as server:
        begins_anew(server, since)


@in_store
def an_api_send_is_kept_and_its_key_too(kit):
    body = {"audience": {"rooms": ["chat"]}, "event": "e", "data": 0}
    answer = '{"matched":0,"queued":0,"dropped":0,"offset":1}'
    for _ in range(2):
        with kit.server() as server:
            server.api.gives("POST", "/api/v1/default/send", answer, body, {"Idempotency-Key": "once"})
            kill(server)
    with kit.server() as server:
        equal(join(server.open())["offset"], 1, "the offset of the room")


@in_store
def a_disk_that_is_full_ends_the_server_and_loses_nothing_that_was_told(kit):
    wrapper = os.path.join(kit.folder.name, "limited")
    with open(wrapper, "w", encoding="ascii") as file:
        # No file may get larger than so many blocks of 512 bytes: as good as a small disk.
        file.write(f'#!/bin/sh\ntrap "" XFSZ\nulimit -f 2000\nexec "{kit.binary}" "$@"\n')
    os.chmod(wrapper, 0o755)
    with kit.server(binary=wrapper) as server:
        peer, other = server.open(), server.open()
        since = {"epoch": join(other)["epoch"], "offset": 0}
        told, answered = 0, 0
        try:
            for number in range(2000):
                data = f"{number} " + "x" * 2000
                answered = publish(peer, data)
        except Exception as fault:  # noqa: BLE001 - however the end of the socket shows
            holds(server.process.wait(10) == 1, f"the exit code {server.process.returncode}, after {fault}")
        server.terminated = True
        equal(server.exit_code(), 1, "the exit code")
        holds(any("--store" in line and kit.store in line for line in server.log), f"the log: {server.log[-3:]}")
        try:
            while (told := json.loads(other.next())["offset"]) and other.next_frame()[0] != CLOSE:
                told += 1
        except Exception:  # noqa: BLE001 - it ended somewhere
            pass
    with kit.server("--recovery-messages-max", "1000", "--recovery-bytes-max", "1000000") as server:
        joined = join(server.open(), since={**since, "offset": answered})
        equal((joined["recovered"], joined["epoch"]), (True, since["epoch"]), "the join")
        holds(joined["offset"] >= max(answered, told), f"{answered} answered, {told} told: {joined}")
        holds(answered > 10, f"{answered} publishes were answered")


@in_store
def two_servers_cannot_share_a_store(kit):
    with kit.server() as server:
        kit.stops_at_once(kit.flags, kit.store, "another")
        join(server.open())


@in_store
def a_damaged_database_is_refused(kit):
    since = written(kit)
    with kit.server() as server:
        recovers(server, since, 3)
        server.terminate()
        server.exit_code()
    with open(kit.path(FILE), "r+b") as file:
        file.write(b"\xff" * 4096)
    kit.stops_at_once(kit.flags, kit.store, "damaged")


@in_store
def a_log_that_lost_its_end_begins_anew(kit):
    since = written(kit)
    os.truncate(kit.path(LOG), os.path.getsize(kit.path(LOG)) - 5000)
    with kit.server() as server:
        begins_anew(server, since)
        holds(any("begin anew" in line for line in server.log), f"a warning had to come: {server.log}")


@in_store
def owner_mode_and_times_are_no_sign_of_a_copy(kit):
    """An `fsGroup` of Kubernetes changes these at each start of a pod."""
    since = written(kit)
    own = f"{os.getuid()}:{os.getgid()}"
    for count, command in enumerate((("chown", "-R", own), ("chmod", "-R", "g+rwX"), ("touch", "-d", "2001-01-01"))):
        files = [kit.path(name) for name in os.listdir(kit.store)] if command[0] == "touch" else [kit.store]
        subprocess.run([*command, *files], check=True)
        with kit.server() as server:
            recovers(server, since, 3 + count)
            server.terminate()
            server.exit_code()


@in_store
def a_copy_at_once_after_a_kill_begins_anew(kit):
    since = written(kit)
    copy = kit.store + "-copy"
    subprocess.run(["cp", "-a", kit.store, copy], check=True)
    with kit.server() as server:
        recovers(server, since, 3)
        kill(server)
    subprocess.run(["rm", "-r", kit.store], check=True)
    os.rename(copy, kit.store)
    with kit.server() as server:
        begins_anew(server, since)


@in_store
def a_copy_of_a_store_in_use_that_is_put_back_at_once_begins_anew(kit):
    """Copies over the files of a killed server, as quickly as commands can."""
    copy = kit.store + "-copy"
    with kit.server() as server:
        peer = server.open()
        since = {"epoch": join(peer)["epoch"], "offset": 0}
        equal(publish(peer, 0), 1, "the offset")
        subprocess.run(["cp", "-a", kit.store, copy], check=True)
        equal(publish(peer, 1), 2, "the offset")
        kill(server)
        subprocess.run(["cp", "-a", f"{copy}/.", kit.store], check=True)
    with kit.server() as server:
        begins_anew(server, since)


@in_store
def hard_links_do_not_give_two_servers_one_store(kit):
    with kit.server() as server:
        copy = kit.store + "-copy"
        subprocess.run(["cp", "-al", kit.store, copy], check=True)
        flags = (*kit.without_store, "--store", copy)
        kit.stops_at_once(flags, copy, "another")
        join(server.open())


@in_store
def a_message_that_is_no_utf8_is_dropped_and_the_rest_served(kit):
    since = written(kit)
    with kit.server() as server:
        recovers(server, since, 3)
        server.terminate()
        server.exit_code()
    with sqlite3.connect(kit.path(FILE)) as db:
        db.execute("UPDATE messages SET frame = CAST(X'80' || CAST(frame AS BLOB) AS TEXT) WHERE position = 2")
    db.close()
    with kit.server() as server:
        joined = join(server.open(), since={**since, "offset": 2})
        equal((joined["recovered"], joined.get("missed")), (True, 2), "those behind it")
        equal(join(server.open(), since=since)["recovered"], False, "those before it")
        equal(join(server.open())["offset"], 4, "where the room stands")
        holds(any("damaged" in line for line in server.log), f"an error had to come: {server.log}")


@in_store
def a_store_that_cannot_be_made_is_named(kit):
    with open(kit.store, "w", encoding="ascii"):
        pass
    kit.stops_at_once(kit.flags, kit.store)


@in_store
def a_position_above_the_top_or_trimmed_is_not_recovered(kit):
    since = written(kit)
    with kit.server() as server:
        above = join(server.open(), since={**since, "offset": 4})
        equal(above["recovered"], False, "above the top")
        equal(join(server.open(), since={"epoch": "other", "offset": 1})["recovered"], False, "a foreign epoch")
        peer = server.open()
        for number in range(2001):
            publish(peer, number)
        equal(join(server.open(), since={**since, "offset": 3})["recovered"], False, "trimmed")
        equal(join(server.open(), since={**since, "offset": 2000})["recovered"], True, "near the top")
        server.terminate()
        says_goodbye(peer)
        server.exit_code()
