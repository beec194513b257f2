"""The protocol of readers and writers, every step alone and in every order.

Each entry depends on the generation of its family and on those of its tags. The state machine plays
readers, writers and faults on a real Redis against a model: three entries with none, one and two
tags, and of each the number that was last committed. A writer forgets some names, and changes all
entries that depend on one of them. What Redis answers as a hit must be the last number; only where
a fault has removed every note by which a writer that is still at work suspends the entry may it be
the one that was last acknowledged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import hiredis
import pytest
import redis
from conftest import await_true
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shop.answers import Document
from shop.cache import protocol as protocol_module
from shop.cache.protocol import LEASE_SECONDS, Entry, EntryState, Protocol, new_token
from shop.cache.scripts import GENERATION, HITS, READ, READ_ENTRY
from shop.config import Settings
from shop.edge.answer_cache import AnswerCache, Copy
from shop.redis import RedisConnection, RedisUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import StartRedis

FAMILY, PRICES, STOCKS = (f"things:{name}generation" for name in ("", "prices:", "stocks:"))
GENERATIONS = [FAMILY, PRICES, STOCKS]
KEY = "things:1"
NAMES = [KEY, *GENERATIONS]  # to forget one of these is to forget the entry
TTL = 100.0
HOUR = 3_600_000  # milliseconds


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


@pytest.fixture(params=["one server", "steps of a cluster"])
def either(request: pytest.FixtureRequest, protocol: Protocol) -> Protocol:
    """The protocol on one server, and step by step, as on a cluster."""
    protocol._connection.is_cluster = request.param != "one server"
    return protocol


def connect(port: int) -> RedisConnection:
    values = {"DATABASE_URL": "postgresql://", "REDIS_URL": f"redis://127.0.0.1:{port}"}
    return RedisConnection(Settings.from_environment(values))


def read(protocol: Protocol) -> Entry:
    [entry] = protocol.read(GENERATIONS, [KEY])
    return entry


def fill(protocol: Protocol, entry: Entry, document: bytes = b"1") -> int:
    return protocol.fill({KEY: (entry.lease, TTL, document)})


def filled(protocol: Protocol, document: bytes = b"1") -> None:
    assert fill(protocol, read(protocol), document) == 1
    assert read(protocol)[1:] == (EntryState.HIT, document)


def new_life(client: Any) -> None:
    """Let Redis be as after a restart that kept all data."""
    client.execute_command("DEBUG", "CHANGE-REPL-ID")


def set_back(port: int) -> None:
    """Let every end be an hour later, as in a Redis whose clock was set back by one."""
    with redis.Redis(port=port) as client:
        for key in client.keys("*"):
            left = client.pttl(key)
            if left > 0:
                head, newline, document = client.get(key).partition(b"\n")
                later = re.sub(rb"\b\d{13}\b", lambda end: b"%d" % (int(end[0]) + HOUR), head)
                client.set(key, later + newline + document, px=left + HOUR)


# Each dangerous interleaving, step by step.


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_that_selected_before_a_write_cannot_store_after_it(
    either: Protocol, name: str
) -> None:
    entry = read(either)  # and selects the old row
    either.suspend([name], "a")  # commits
    assert read(either).state is EntryState.SUSPENDED
    either.release([name], "a")
    fill(either, entry, b"old")
    assert read(either).state is not EntryState.HIT


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_stored_between_suspension_and_commit(either: Protocol, name: str) -> None:
    filled(either)
    either.suspend([name], "a")
    entry = read(either)
    assert entry.state is EntryState.SUSPENDED
    fill(either, entry, b"old")
    assert read(either).state is EntryState.SUSPENDED


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_suspended_until_its_last_writer_has_gone(either: Protocol, name: str) -> None:
    for writer in ("a", "b", "c"):
        either.suspend([name], writer)
    for writer in ("b", "a"):
        either.release([name], writer)
        assert read(either).state is EntryState.SUSPENDED
    either.release([name], "c")
    filled(either)


def test_the_names_of_a_dead_writer_are_released_by_time(protocol: Protocol, client: Any) -> None:
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


@pytest.mark.parametrize("name", NAMES)
def test_a_clock_that_was_set_back_lets_a_note_end_in_its_own_time(
    either: Protocol, debuggable: int, client: Any, name: str
) -> None:
    either.suspend([name], "a")
    set_back(debuggable)
    assert client.pttl(name) > 30_000
    assert read(either).state is EntryState.SUSPENDED
    assert 29_000 < client.pttl(name) <= 30_000
    client.pexpire(name, 20_000)  # 10 s have passed
    assert read(either).state is EntryState.SUSPENDED
    assert client.pttl(name) <= 20_000
    either.release([name], "a")
    filled(either)


@pytest.mark.parametrize("name", NAMES)
def test_a_clock_that_was_set_back_leaves_every_writer_its_note(
    either: Protocol, debuggable: int, client: Any, name: str
) -> None:
    either.suspend([name], "a")
    set_back(debuggable)
    either.release([name])  # as `flask cache clear` does
    assert 29_000 < client.pttl(name) <= 30_000
    either.suspend([name], "b")
    assert client.pttl(name) <= 30_000
    set_back(debuggable)
    either.suspend([name], "c")
    assert client.pttl(name) <= 30_000
    for writer in ("c", "a"):
        either.release([name], writer)
        assert read(either).state is EntryState.SUSPENDED
        assert client.pttl(name) <= 30_000
    either.release([name], "b")
    filled(either)


def test_a_note_without_an_end_is_ended(either: Protocol, client: Any) -> None:
    client.set(KEY, "writers a")  # by hand
    assert read(either).state is EntryState.SUSPENDED
    assert 29_000 < client.pttl(KEY) <= 30_000


@pytest.mark.parametrize("expired", [b"", b"old"])
def test_a_lease_of_a_clock_that_was_set_back_is_taken_over(
    either: Protocol, debuggable: int, expired: bytes
) -> None:
    keeping = Protocol(either._connection, 60)
    if expired:
        keeping.fill({KEY: (read(keeping).lease, 0, expired)})
    first = read(keeping)
    assert read(keeping)[1:] == (EntryState.HELD, expired)
    set_back(debuggable)
    second = read(keeping)
    assert second[1:] == (EntryState.LEASED, expired)
    assert read(keeping).state is EntryState.HELD
    assert fill(keeping, first, b"late") == 0
    assert fill(keeping, second, b"new") == 1
    assert read(keeping)[1:] == (EntryState.HIT, b"new")


def test_a_clock_that_was_set_back_lets_a_period_of_missing_ids_end(
    protocol: Protocol, debuggable: int, client: Any
) -> None:
    assert protocol.admit_missing("things:missing", 10_000)
    set_back(debuggable)
    assert not protocol.admit_missing("things:missing", 1)
    assert 29_000 < client.pttl("things:missing") <= 30_000


def test_a_release_empties_what_came_while_the_note_was_lost(
    protocol: Protocol, client: Any
) -> None:
    protocol.suspend(NAMES, "a")
    client.flushall()
    filled(protocol, b"old")
    protocol.release(NAMES, "a")
    assert read(protocol).state is EntryState.LEASED


def test_one_reader_computes_and_the_others_wait(protocol: Protocol, client: Any) -> None:
    first = read(protocol)
    assert first.state is EntryState.LEASED
    assert read(protocol).state is EntryState.HELD
    assert client.pttl(KEY) <= LEASE_SECONDS * 1000
    fill(protocol, first)
    assert read(protocol).state is EntryState.HIT


def test_a_second_attempt_takes_over_and_a_late_first_one_restores_nothing(
    protocol: Protocol, debuggable: int
) -> None:
    """The connection broke under the first, and what was sent arrives all the same."""
    connection = connect(debuggable)

    def attempt(token: str, before: str) -> Entry:
        arguments = (token * 8, 3000, before * 8, "", len(GENERATIONS))
        lease, reply = connection.eval(READ, [*GENERATIONS, KEY], arguments)
        return Entry(lease, EntryState(reply[:1]), reply[1:])

    assert attempt("a1", "").state is EntryState.LEASED
    second = attempt("a2", "a1")
    assert second.state is EntryState.LEASED  # and selects the old row
    protocol.suspend([KEY], "b")
    protocol.release([KEY], "b")
    assert attempt("a1", "").state is EntryState.LEASED
    assert fill(protocol, second, b"old") == 0
    connection.client.close()


def test_a_peek_finds_only_hits_and_writes_nothing(either: Protocol, client: Any) -> None:
    assert either.peek(GENERATIONS, KEY) is None
    assert client.keys("*") == []
    lease = read(either)
    assert either.peek(GENERATIONS, KEY) is None
    assert fill(either, lease) == 1
    assert either.peek(GENERATIONS, KEY) == b"1"
    for name in NAMES:
        either.suspend([name], "a")
        assert either.peek(GENERATIONS, KEY) is None
        either.release([name], "a")
        assert either.peek(GENERATIONS, KEY) is None
        filled(either)
    either.suspend([KEY], "a")
    either.release([KEY], "a")
    filled(either, b"")  # there is no such row
    assert either.peek(GENERATIONS, KEY) == b""
    new_life(client)
    assert either.peek(GENERATIONS, KEY) is None


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
    assert read(protocol).state is EntryState.HELD
    protocol.give_back({KEY: entry.lease})
    assert read(protocol).state is EntryState.LEASED


@pytest.mark.parametrize("what", ["entry", "lease"])
def test_a_redis_in_a_new_epoch_has_no_valid_entry(
    protocol: Protocol, client: Any, what: str
) -> None:
    entry = read(protocol)
    if what == "entry":
        fill(protocol, entry)
    new_life(client)
    if what == "lease":
        fill(protocol, entry)
    assert read(protocol).state is EntryState.LEASED


def test_suspended_names_stay_suspended_in_a_new_epoch(protocol: Protocol, client: Any) -> None:
    protocol.suspend([KEY], "a")
    new_life(client)
    assert read(protocol).state is EntryState.SUSPENDED


def test_a_replica_answers_no_hit(debuggable: int, protocol: Protocol, client: Any) -> None:
    filled(protocol)
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(RedisUnavailable):
            read(protocol)
    finally:
        client.execute_command("REPLICAOF", "NO", "ONE")
    await_true(lambda: protocol._connection.available, "the breaker closes")
    assert read(protocol).state is EntryState.LEASED


@pytest.mark.parametrize("lost", [[FAMILY], [PRICES], [STOCKS], [PRICES, STOCKS], GENERATIONS])
def test_lost_generations_forget_every_entry(
    either: Protocol, client: Any, lost: list[str]
) -> None:
    filled(either)
    before = client.mget(GENERATIONS)
    client.delete(*lost)
    assert read(either).state is EntryState.LEASED
    after = dict(zip(GENERATIONS, client.mget(GENERATIONS), strict=True))
    changed = [name for name, one in zip(GENERATIONS, before, strict=True) if after[name] != one]
    assert changed == lost
    assert all(len(one) == 16 for one in after.values())


def test_a_stamp_has_all_generations_in_order(protocol: Protocol, client: Any) -> None:
    for names in ([FAMILY], [FAMILY, PRICES], GENERATIONS):
        [entry] = protocol.read(names, [KEY])
        stamp = entry.lease.decode().split()[0]
        epoch = client.info("replication")["master_replid"][:16]
        assert stamp == f"{epoch}::{'.'.join(client.mget(names))}"
        protocol.give_back({KEY: entry.lease})


def test_another_entry_is_forgotten_only_with_what_it_depends_on(either: Protocol) -> None:
    """Entries of one family with other tags."""
    tags = {"things:2": [FAMILY, PRICES], "things:3": [FAMILY, STOCKS]}
    for key, generations in tags.items():
        [entry] = either.read(generations, [key])
        either.fill({key: (entry.lease, TTL, b"1")})
    either.suspend([PRICES], "a")
    either.release([PRICES], "a")
    states = [either.peek(generations, key) for key, generations in tags.items()]
    assert states == [None, b"1"]


class Breaking:
    """A connection that breaks under each first attempt, which arrives late."""

    def __init__(self, connection: RedisConnection) -> None:
        self.is_cluster, self.origin = connection.is_cluster, connection.origin
        self.script_batches = connection.script_batches
        self.sent: list[tuple[str, Any, Any]] = []
        self._connection = connection

    def eval(self, script: str, keys: Any, arguments: Any, *, again: Any = None) -> Any:
        self.sent.append((script, keys, arguments))
        return self._connection.eval(script, keys, again)

    def deliver(self) -> None:
        """Let what was sent first arrive."""
        for script, keys, arguments in self.sent:
            self._connection.eval(script, keys, arguments)


@pytest.mark.parametrize("name", NAMES)
def test_a_late_copy_restores_no_generation(either: Protocol, client: Any, name: str) -> None:
    """The read's first attempt arrives after its second one, and after the writer."""
    connection = either._connection
    breaking = Breaking(connection)
    entry = read(Protocol(breaking, 0))  # type: ignore[arg-type]
    seen = set(client.mget(GENERATIONS))
    assert entry.state is EntryState.LEASED  # and selects the old row
    either.suspend([name], "a")
    either.release([name], "a")
    breaking.deliver()
    assert name == KEY or client.get(name) not in seen
    fill(either, entry, b"old")
    assert read(either).state is not EntryState.HIT


def test_a_write_between_the_steps_of_a_cluster_leaves_nothing_old(
    protocol: Protocol, debuggable: int
) -> None:
    """The read has begun before the write was acknowledged, and may answer the older state."""
    connection = connect(debuggable)
    connection.is_cluster = True
    cluster = Protocol(connection, 0)
    filled(cluster, b"old")

    def steps(*, write: bool) -> tuple[bytes, EntryState]:
        found = [connection.eval(GENERATION, [name], [new_token()]) for name in GENERATIONS]
        if write:
            cluster.suspend([PRICES], "a")
            cluster.release([PRICES], "a")
        arguments = (new_token(), 3000, "", "", b".".join(found))
        lease, reply = connection.eval(READ_ENTRY, [KEY], arguments)
        return lease, EntryState(reply[:1])

    assert steps(write=True)[1] is EntryState.HIT
    lease, state = steps(write=True)  # whose lease has the generation before
    assert state is EntryState.LEASED
    assert cluster.fill({KEY: (lease, TTL, b"new")}) == 1
    assert read(cluster).state is EntryState.LEASED
    connection.client.close()


def test_a_full_redis_still_suspends(protocol: Protocol, client: Any) -> None:
    filled(protocol)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")
    try:
        protocol.suspend(NAMES, "a")
        assert read(protocol).state is EntryState.SUSPENDED
        protocol.suspend(NAMES, "b")
        protocol.release(NAMES, "a")
        assert read(protocol).state is EntryState.SUSPENDED
        protocol.release(NAMES, "b")
        entry = read(protocol)  # a lease cannot be stored, and so its document cannot
        assert entry.state is EntryState.LEASED
    finally:
        client.config_set("maxmemory", "0")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value",
    [
        *("", "x", "\n", "writers", "writers ", "writers x", "writers =1 a=b", "lease"),
        *("{stamp}", "{stamp} ", "{stamp} 9", "{stamp} x\n1", "{stamp} 99999999999999"),
        *("lease {stamp} ", "lease {stamp} x\n", "lease {stamp} abc\n"),
    ],
)
def test_values_of_any_type_under_a_name_do_no_harm(
    protocol: Protocol, client: Any, name: str, value: str
) -> None:
    filled(protocol)
    client.set(name, value.replace("{stamp}", read(protocol).lease.decode().split()[0]), ex=5)
    assert read(protocol).state is not EntryState.HIT
    protocol.suspend(NAMES, "a")
    protocol.release(NAMES, "a")
    filled(protocol)


def test_expired_documents_are_kept_for_the_time_that_is_asked(
    debuggable: int, protocol: Protocol, client: Any
) -> None:
    keeping = Protocol(connect(debuggable), 60)
    keeping.fill({KEY: (read(keeping).lease, 0, b"old")})
    leased = read(keeping)
    assert leased[1:] == (EntryState.LEASED, b"old")
    assert read(keeping)[1:] == (EntryState.HELD, b"old")
    keeping.give_back({KEY: leased.lease})
    assert 58_000 < client.pttl(KEY) <= 60_001
    assert read(keeping)[1:] == (EntryState.LEASED, b"old")
    keeping.suspend([KEY], "a")
    keeping.release([KEY], "a")
    assert read(keeping).document == b""


def test_the_number_of_ids_cached_as_missing_is_bounded(protocol: Protocol, client: Any) -> None:
    assert protocol.admit_missing("things:missing", 9_990)
    assert protocol.admit_missing("things:missing", 10)
    assert not protocol.admit_missing("things:missing", 1)
    assert 29_000 < client.pttl("things:missing") <= 30_000


# All of them, in any order.

# Entries, and what each depends on beside its own name.
ENTRIES = {"things:1": [FAMILY], "things:2": [FAMILY, PRICES], "things:3": GENERATIONS}
ALL_NAMES = [*ENTRIES, *GENERATIONS]
some_names = st.lists(st.sampled_from(ALL_NAMES), min_size=1, max_size=2, unique=True)
FAULTS = ["evict"] * 4 + ["flush", "restart", "copy", "restore", "set back"]


@dataclass(eq=False)
class Read:
    """A reader on its way: its lease, and what it has selected."""

    key: str
    lease: bytes
    selected: bytes


@dataclass(eq=False)
class Write:
    """A writer on its way, who forgets some names."""

    names: list[str]
    token: str
    committed: bool = False
    lost: set[str] = field(default_factory=set)  # those of which a fault has removed its note

    def changes(self, key: str) -> bool:
        return not {key, *ENTRIES[key]}.isdisjoint(self.names)

    def is_bare(self, key: str) -> bool:
        """Tell whether it changes the entry, and no note of it is left that suspends the entry."""
        return self.changes(key) and {key, *ENTRIES[key]} & {*self.names} <= self.lost


class ReadersAndWriters(RuleBasedStateMachine):
    port: int
    is_cluster: bool

    @initialize()
    def begin(self) -> None:
        self.client = redis.Redis(port=self.port)
        self.client.flushall()
        self.connection = connect(self.port)
        self.connection.is_cluster = self.is_cluster
        self.protocol = Protocol(self.connection, 0)
        self.committed = dict.fromkeys(ENTRIES, 0)  # what the database holds
        self.acknowledged = dict.fromkeys(ENTRIES, 0)
        self.reads: list[Read] = []
        self.writes: list[Write] = []
        self.unsure: set[str] = set()  # a bare writer has died after its commit
        self.copy: dict[bytes, Any] = {}

    def teardown(self) -> None:
        self.client.close()
        self.connection.client.close()

    @invariant()
    def hold(self) -> None:
        """A hit is the value that was committed last, as far as its writers have notes."""
        for key, generations in ENTRIES.items():
            document = self.protocol.peek(generations, key)
            if document is None:
                continue
            least = self.committed[key]
            if key in self.unsure or any(write.is_bare(key) for write in self.writes):
                least = self.acknowledged[key]
            assert least <= int(document) <= self.committed[key]

    @precondition(lambda self: len(self.reads) < 3)
    @rule(key=st.sampled_from(list(ENTRIES)), at_once=st.booleans())
    def read(self, key: str, *, at_once: bool) -> None:
        """Read, and on a miss select at once: the older the selected, the worse.

        A read finds a hit where a peek does. Some fill at once what they select.
        """
        generations = ENTRIES[key]
        peeked = self.protocol.peek(generations, key)
        [entry] = self.protocol.read(generations, [key])
        assert peeked == (entry.document if entry.state is EntryState.HIT else None)
        if entry.state is not EntryState.HIT:
            self.reads.append(Read(key, entry.lease, b"%d" % self.committed[key]))
            if at_once:
                self.fill(first=False, back=False)

    @precondition(lambda self: self.reads)
    @rule(first=st.booleans(), back=st.sampled_from([False] * 7 + [True]))
    def fill(self, *, first: bool, back: bool) -> None:
        """Fill, or give the lease back. A reader without a lease tries, too."""
        one = self.reads.pop(0 if first else -1)
        if back:
            self.protocol.give_back({one.key: one.lease})
        else:
            self.protocol.fill({one.key: (one.lease, TTL, one.selected)})

    @precondition(lambda self: len(self.writes) < 2)
    @rule(names=some_names)
    def suspend(self, names: list[str]) -> None:
        self.writes.append(Write(names, new_token()))
        self.protocol.suspend(names, self.writes[-1].token)

    @precondition(lambda self: not all(write.committed for write in self.writes))
    @rule(first=st.booleans())
    def commit(self, *, first: bool) -> None:
        write = [write for write in self.writes if not write.committed][0 if first else -1]
        write.committed = True
        for key in filter(write.changes, ENTRIES):
            self.committed[key] += 1

    @precondition(lambda self: self.writes)
    @rule(first=st.booleans(), die=st.sampled_from([False] * 3 + [True]))
    def end(self, *, first: bool, die: bool) -> None:
        """Commit and release, which acknowledges the write; or roll back and release; or die.

        The note of a dead writer ends later, as if it were evicted.
        """
        write = self.writes.pop(0 if first else -1)
        if die:
            self.unsure |= {key for key in ENTRIES if write.committed and write.is_bare(key)}
            return
        self.protocol.release(write.names, write.token)
        if write.committed:
            for key in filter(write.changes, ENTRIES):
                self.acknowledged[key] = self.committed[key]
                self.unsure.discard(key)

    @rule(fault=st.sampled_from(FAULTS), data=st.data())
    def fault(self, fault: str, data: st.DataObject) -> None:
        """Let a fault happen to Redis.

        Eviction is also what happens to leases and notes at the end of their time. A restart keeps
        all data; what is restored is older: a lost tail, a replica, a backup.
        """
        if fault == "evict":
            names = data.draw(some_names)
            self.client.delete(*names)
            self._lose(*names)
        elif fault == "flush":
            self.client.flushall()
            self._lose(*ALL_NAMES)
        elif fault == "copy":
            self.copy = {key: self.client.dump(key) for key in self.client.scan_iter()}
        elif fault == "set back":
            set_back(self.port)
        else:
            new_life(self.client)
        if fault == "restore":
            self.client.flushall()
            for key, dumped in self.copy.items():
                self.client.restore(key, 60_000, dumped)
            self._lose(*ALL_NAMES)

    def _lose(self, *names: str) -> None:
        for write in self.writes:
            write.lost |= {*names}


@pytest.mark.parametrize(("is_cluster", "examples"), [(False, 250), (True, 80)])
def test_no_order_of_steps_and_faults_gives_a_stale_hit(
    debuggable: int, examples: int, *, is_cluster: bool
) -> None:
    ReadersAndWriters.port = debuggable
    ReadersAndWriters.is_cluster = is_cluster
    run_state_machine_as_test(
        ReadersAndWriters,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


# Answers that a worker keeps, as the event loop does: with the changes that Redis tells.

KEEP = f"""
{HITS}
local documents = hits(#KEYS - 1, KEYS)
return {{epoch, documents and documents[1] or false}}
"""


class Tracking:
    """A connection that receives invalidations, and notes them in their order."""

    def __init__(self, port: int, answer_cache: AnswerCache) -> None:
        self._made: Any = redis.Redis(port=port, protocol=3)
        connection: Any = self._made.connection_pool.make_connection()
        connection.connect()
        self._connection = connection
        self._reader = hiredis.Reader()
        self._answer_cache = answer_cache
        self.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "things:")

    def call(self, *command: str | bytes) -> Any:
        self._connection._sock.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]
        while True:
            answer = self._reader.gets()
            if answer is False:
                self._reader.feed(self._connection._sock.recv(65_536))
            elif isinstance(answer, hiredis.PushNotification):
                self._answer_cache.invalidate(answer[1])
            else:
                return answer

    def close(self) -> None:
        self._connection.disconnect()
        self._made.close()


class Keepers(ReadersAndWriters):
    """The same steps, with a keeper of hits, who answers from them while they are whole."""

    is_cluster = False

    @initialize()
    def begin(self) -> None:
        super().begin()
        self.answer_cache = AnswerCache()
        self.tracking = Tracking(self.port, self.answer_cache)

    def teardown(self) -> None:
        self.tracking.close()
        super().teardown()

    @rule(key=st.sampled_from(list(ENTRIES)))
    def keep(self, key: str) -> None:
        change_count, names = self.answer_cache.change_count, [*ENTRIES[key], key]
        epoch, document = self.tracking.call("EVAL", KEEP, str(len(names)), *names, "")
        if document is not None:
            whole = frozenset(name.encode() for name in names)
            copy = Copy(
                Document(document, "", ""), (), epoch, b"", whole, float("inf"), change_count
            )
            self.answer_cache.keep(((key, False, ""), ""), copy)

    @invariant()
    def hold_kept(self) -> None:
        """An answer from a copy is the one that a read of Redis would have given."""
        for key, generations in ENTRIES.items():
            copy = self.answer_cache.find(((key, False, ""), ""))
            if copy is None:
                continue
            names = [*generations, key]
            epoch, found = self.tracking.call("EVAL", KEEP, str(len(names)), *names, "")
            if epoch == copy.epoch and self.answer_cache.is_whole(copy):
                assert copy.document.body == found


def test_no_order_of_steps_and_faults_gives_a_stale_copy(debuggable: int) -> None:
    Keepers.port = debuggable
    run_state_machine_as_test(
        Keepers,
        settings=settings(
            max_examples=150,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
