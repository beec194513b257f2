"""The protocol of readers and writers, every step alone and in every order.

The state machine plays readers, writers and faults on a real Redis against a model: two entries
and their generation, each with the number that was last committed. What Redis answers as a hit
must be that number; only where a fault has removed the notes of a writer that is still at work
may it be the one that was last acknowledged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import redis
from conftest import await_true
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shop.cache import protocol as protocol_module
from shop.cache.protocol import LEASE_SECONDS, Entry, Protocol, State, new_token
from shop.cache.scripts import READ
from shop.config import Settings
from shop.redis import RedisConnection, RedisUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import StartRedis

GENERATION = "things:generation"
KEY = "things:1"
NAMES = [KEY, GENERATION]  # to forget the generation is to forget every entry
TTL = 100.0


@pytest.fixture(scope="session")
def debuggable(start_redis: StartRedis) -> int:
    """The port of a Redis that can be given a new life without a restart."""
    return start_redis("--enable-debug-command", "yes")


@pytest.fixture
def client(debuggable: int) -> Iterator[Any]:
    with redis.Redis(port=debuggable, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
def protocol(debuggable: int, client: Any) -> Iterator[Protocol]:
    connection = connect(debuggable)
    yield Protocol(connection, 0)
    connection.client.close()


def connect(port: int) -> RedisConnection:
    values = {"DATABASE_URL": "postgresql://", "REDIS_URL": f"redis://127.0.0.1:{port}"}
    return RedisConnection(Settings.from_environment(values))


def read(protocol: Protocol) -> Entry:
    [entry] = protocol.read([GENERATION], [KEY])
    return entry


def fill(protocol: Protocol, entry: Entry, document: bytes = b"1") -> int:
    return protocol.fill({KEY: (entry.lease, TTL, document)})


def filled(protocol: Protocol, document: bytes = b"1") -> None:
    assert fill(protocol, read(protocol), document) == 1
    assert read(protocol)[1:] == (State.HIT, document)


def new_life(client: Any) -> None:
    """Let Redis be as after a restart that kept all data."""
    client.execute_command("DEBUG", "CHANGE-REPL-ID")


# Each dangerous interleaving, step by step.


@pytest.mark.parametrize("name", [KEY, GENERATION])
def test_a_reader_that_selected_before_a_write_cannot_store_after_it(
    protocol: Protocol, name: str
) -> None:
    entry = read(protocol)  # and selects the old row
    protocol.suspend([name], "a")  # commits
    assert read(protocol).state is State.SUSPENDED
    protocol.release([name], "a")
    fill(protocol, entry, b"old")
    assert read(protocol).state is not State.HIT


@pytest.mark.parametrize("name", [KEY, GENERATION])
def test_between_suspension_and_commit_nothing_is_stored(protocol: Protocol, name: str) -> None:
    filled(protocol)
    protocol.suspend([name], "a")
    entry = read(protocol)
    assert entry.state is State.SUSPENDED
    fill(protocol, entry, b"old")
    assert read(protocol).state is State.SUSPENDED


@pytest.mark.parametrize("name", [KEY, GENERATION])
def test_a_name_is_suspended_until_its_last_writer_has_gone(protocol: Protocol, name: str) -> None:
    for writer in ("a", "b", "c"):
        protocol.suspend([name], writer)
    for writer in ("b", "a"):
        protocol.release([name], writer)
        assert read(protocol).state is State.SUSPENDED
    protocol.release([name], "c")
    filled(protocol)


def test_the_names_of_a_dead_writer_open_again_by_themselves(
    protocol: Protocol, client: Any
) -> None:
    protocol.suspend(NAMES, "a")
    for name in NAMES:
        assert 29_000 < client.pttl(name) <= 30_000
        client.pexpire(name, 1)
    while client.exists(*NAMES):
        pass
    filled(protocol)


def test_a_dead_writer_holds_a_name_no_longer_than_its_own_time(
    protocol: Protocol, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol_module, "SUSPENSION_SECONDS", 0.001)
    protocol.suspend([KEY], "a")
    monkeypatch.undo()
    protocol.suspend([KEY], "b")
    passed = client.time()[1]
    await_true(lambda: abs(client.time()[1] - passed) > 5000)  # microseconds
    protocol.release([KEY], "b")
    assert not client.exists(KEY)


def test_a_release_empties_what_came_while_the_note_was_lost(
    protocol: Protocol, client: Any
) -> None:
    protocol.suspend(NAMES, "a")
    client.flushall()
    filled(protocol, b"old")
    protocol.release(NAMES, "a")
    assert read(protocol).state is State.LEASED


def test_one_reader_computes_and_the_others_wait(protocol: Protocol, client: Any) -> None:
    first = read(protocol)
    assert first.state is State.LEASED
    assert read(protocol).state is State.HELD
    assert client.pttl(KEY) <= LEASE_SECONDS * 1000
    fill(protocol, first)
    assert read(protocol).state is State.HIT


def test_a_second_attempt_takes_over_and_a_late_first_one_brings_nothing_back(
    protocol: Protocol, debuggable: int
) -> None:
    """The connection broke under the first, and what was sent arrives all the same."""
    connection = connect(debuggable)

    def attempt(token: str, before: str) -> Entry:
        arguments = (token, 3000, before, 1)
        lease, reply = connection.eval(READ, [GENERATION, KEY], arguments)
        return Entry(lease, State(reply[:1]), reply[1:])

    assert attempt("a1", "").state is State.LEASED
    second = attempt("a2", "a1")
    assert second.state is State.LEASED  # and selects the old row
    protocol.suspend([KEY], "b")
    protocol.release([KEY], "b")
    assert attempt("a1", "").state is State.LEASED
    assert fill(protocol, second, b"old") == 0
    connection.client.close()


def test_a_peek_finds_hits_alone_and_leaves_nothing(protocol: Protocol, client: Any) -> None:
    assert protocol.peek([GENERATION], KEY) is None
    assert client.keys("*") == []
    lease = read(protocol)
    assert protocol.peek([GENERATION], KEY) is None
    assert fill(protocol, lease) == 1
    assert protocol.peek([GENERATION], KEY) == b"1"
    protocol.suspend([KEY], "a")
    assert protocol.peek([GENERATION], KEY) is None
    protocol.release([KEY], "a")
    filled(protocol, b"")  # there is no such row
    assert protocol.peek([GENERATION], KEY) == b""
    new_life(client)
    assert protocol.peek([GENERATION], KEY) is None


def test_a_lease_that_was_taken_over_is_void(protocol: Protocol, client: Any) -> None:
    first = read(protocol)
    client.delete(KEY)  # it has expired
    second = read(protocol)
    assert fill(protocol, first, b"late") == 0
    assert fill(protocol, second, b"new") == 1
    assert fill(protocol, first, b"late") == 0
    assert read(protocol).document == b"new"


def test_a_lease_that_is_given_back_is_free_at_once(protocol: Protocol) -> None:
    entry, other = read(protocol), read(protocol)
    protocol.give_back({KEY: other.lease})
    assert read(protocol).state is State.HELD
    protocol.give_back({KEY: entry.lease})
    assert read(protocol).state is State.LEASED


@pytest.mark.parametrize("what", ["entry", "lease"])
def test_a_redis_in_a_new_life_has_nothing_valid(
    protocol: Protocol, client: Any, what: str
) -> None:
    entry = read(protocol)
    if what == "entry":
        fill(protocol, entry)
    new_life(client)
    if what == "lease":
        fill(protocol, entry)
    assert read(protocol).state is State.LEASED


def test_suspended_names_stay_so_in_a_new_life(protocol: Protocol, client: Any) -> None:
    protocol.suspend([KEY], "a")
    new_life(client)
    assert read(protocol).state is State.SUSPENDED


def test_a_replica_answers_nothing(debuggable: int, protocol: Protocol, client: Any) -> None:
    filled(protocol)
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(RedisUnavailable):
            read(protocol)
    finally:
        client.execute_command("REPLICAOF", "NO", "ONE")
    assert read(protocol).state is State.LEASED


def test_a_lost_generation_forgets_every_entry(protocol: Protocol, client: Any) -> None:
    filled(protocol)
    before = client.get(GENERATION)
    client.delete(GENERATION)
    assert read(protocol).state is State.LEASED
    assert client.get(GENERATION) != before


def test_a_full_redis_still_suspends(protocol: Protocol, client: Any) -> None:
    filled(protocol)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")
    try:
        protocol.suspend(NAMES, "a")
        assert read(protocol).state is State.SUSPENDED
        protocol.suspend(NAMES, "b")
        protocol.release(NAMES, "a")
        assert read(protocol).state is State.SUSPENDED
        protocol.release(NAMES, "b")
        entry = read(protocol)  # a lease cannot be stored, and so its document cannot
        assert entry.state is State.LEASED
    finally:
        client.config_set("maxmemory", "0")


@pytest.mark.parametrize("name", [KEY, GENERATION])
@pytest.mark.parametrize(
    "value",
    [
        *("", "x", "\n", "writers", "writers ", "writers x", "writers =1 a=b", "lease"),
        *("{stamp}", "{stamp} ", "{stamp} 9", "{stamp} x\n1", "{stamp} 99999999999999"),
        *("lease {stamp} ", "lease {stamp} x\n", "lease {stamp} abc\n"),
    ],
)
def test_whatever_is_under_a_name_does_no_harm(
    protocol: Protocol, client: Any, name: str, value: str
) -> None:
    filled(protocol)
    client.set(name, value.replace("{stamp}", read(protocol).lease.decode().split()[0]), ex=5)
    assert read(protocol).state is not State.HIT
    protocol.suspend(NAMES, "a")
    protocol.release(NAMES, "a")
    filled(protocol)


def test_expired_documents_are_kept_for_the_time_that_is_asked(
    debuggable: int, protocol: Protocol, client: Any
) -> None:
    keeping = Protocol(connect(debuggable), 60)
    keeping.fill({KEY: (read(keeping).lease, 0, b"old")})
    leased = read(keeping)
    assert leased[1:] == (State.LEASED, b"old")
    assert read(keeping)[1:] == (State.HELD, b"old")
    keeping.give_back({KEY: leased.lease})
    assert 58_000 < client.pttl(KEY) <= 60_001
    assert read(keeping)[1:] == (State.LEASED, b"old")
    keeping.suspend([KEY], "a")
    keeping.release([KEY], "a")
    assert read(keeping).document == b""


def test_only_so_many_ids_are_noted_as_missing(protocol: Protocol, client: Any) -> None:
    assert protocol.admit_missing("things:missing", 9_990)
    assert protocol.admit_missing("things:missing", 10)
    assert not protocol.admit_missing("things:missing", 1)
    assert 29_000 < client.pttl("things:missing") <= 30_000


# All of them, in any order.


@dataclass(eq=False)
class Read:
    """A reader on its way: its lease, and what it has selected."""

    lease: bytes
    selected: bytes


@dataclass(eq=False)
class Write:
    """A writer on its way."""

    name: str
    token: str
    committed: bool = False
    bare: bool = False  # a fault has removed its note


class ReadersAndWriters(RuleBasedStateMachine):
    port: int

    @initialize()
    def begin(self) -> None:
        self.client = redis.Redis(port=self.port)
        self.client.flushall()
        self.connection = connect(self.port)
        self.protocol = Protocol(self.connection, 0)
        self.committed = 0  # what the database holds
        self.acknowledged = 0
        self.reads: list[Read] = []
        self.writes: list[Write] = []
        self.unsure = False  # a bare writer has died after its commit
        self.copy: dict[bytes, Any] = {}

    def teardown(self) -> None:
        self.client.close()
        self.connection.client.close()

    @precondition(lambda self: len(self.reads) < 2)
    @rule()
    def read(self) -> None:
        """Read, and on a miss select at once: the older the selected, the worse.

        A peek finds what the read finds, if that is a hit, and nothing else.
        """
        peeked = self.protocol.peek([GENERATION], KEY)
        entry = read(self.protocol)
        assert peeked == (entry.document if entry.state is State.HIT else None)
        if entry.state is not State.HIT:
            self.reads.append(Read(entry.lease, b"%d" % self.committed))
        elif self.unsure or any(write.bare for write in self.writes):
            assert self.acknowledged <= int(entry.document) <= self.committed
        else:
            assert int(entry.document) == self.committed

    @precondition(lambda self: self.reads)
    @rule(first=st.booleans(), back=st.sampled_from([False] * 7 + [True]))
    def fill(self, *, first: bool, back: bool) -> None:
        """Fill, or give the lease back. Whoever holds none, or no longer does, tries, too."""
        one = self.reads.pop(0 if first else -1)
        if back:
            self.protocol.give_back({KEY: one.lease})
        else:
            self.protocol.fill({KEY: (one.lease, TTL, one.selected)})

    @precondition(lambda self: len(self.writes) < 2)
    @rule(name=st.sampled_from(NAMES))
    def suspend(self, name: str) -> None:
        self.writes.append(Write(name, new_token()))
        self.protocol.suspend([name], self.writes[-1].token)

    @precondition(lambda self: not all(write.committed for write in self.writes))
    @rule(first=st.booleans())
    def commit(self, *, first: bool) -> None:
        write = [write for write in self.writes if not write.committed][0 if first else -1]
        write.committed = True
        self.committed += 1

    @precondition(lambda self: self.writes)
    @rule(first=st.booleans(), die=st.sampled_from([False] * 3 + [True]))
    def end(self, *, first: bool, die: bool) -> None:
        """Release, after COMMIT, which is then acknowledged, or after ROLLBACK; or die.

        The note of a dead writer ends later, as if it were evicted.
        """
        write = self.writes.pop(0 if first else -1)
        if die:
            self.unsure = self.unsure or (write.bare and write.committed)
            return
        self.protocol.release([write.name], write.token)
        if write.committed:
            self.acknowledged = self.committed
            self.unsure = False

    @rule(fault=st.sampled_from(["evict", "flush", "restart", "copy", "restore"]), data=st.data())
    def fault(self, fault: str, data: st.DataObject) -> None:
        """Something happens to Redis.

        Eviction is also what happens to leases and notes at the end of their time. A restart keeps
        all data; what is restored is older: a lost tail, a replica, a backup.
        """
        if fault == "evict":
            name = data.draw(st.sampled_from(NAMES))
            self.client.delete(name)
            self._bare(name)
        elif fault == "flush":
            self.client.flushall()
            self._bare(*NAMES)
        elif fault == "copy":
            self.copy = {key: self.client.dump(key) for key in self.client.scan_iter()}
        else:
            new_life(self.client)
        if fault == "restore":
            self.client.flushall()
            for key, dumped in self.copy.items():
                self.client.restore(key, 60_000, dumped)
            self._bare(*NAMES)

    def _bare(self, *names: str) -> None:
        for write in self.writes:
            write.bare = write.bare or write.name in names


def test_no_order_of_steps_and_faults_gives_a_stale_hit(debuggable: int) -> None:
    ReadersAndWriters.port = debuggable
    run_state_machine_as_test(
        ReadersAndWriters,
        settings=settings(
            max_examples=400,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
