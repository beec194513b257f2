r"""How readers and writers share Redis, so that no reader finds what a writer has replaced.

Two kinds of names. An *entry* (`products:id:7`) holds a document; a *generation*
(`products:list:generation`) holds a random value that all entries of a family carry in their
stamp. A name is in one of these states:

    entry       STAMP UNTIL\nDOCUMENT                 an empty document: there is no such row
    lease       lease STAMP TOKEN UNTIL\n[DOCUMENT]   one reader computes; may hold the expired one
    suspended   writers TOKEN=UNTIL ...              writers are about to commit, or have died
    generation  16 hexadecimal digits

STAMP is EPOCH:GENERATION. The epoch is the replication id of the server that holds the entry: a
new one each time that it starts or becomes a master, so that one which was restarted, restored or
promoted begins with nothing valid. UNTIL is in milliseconds of that server's clock. docs/cache.md
has the proof.
"""

from __future__ import annotations

import secrets
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shop.redis import RedisConnection

LEASE_SECONDS = 3.0  # longer than a SELECT; the most that a reader which died holds others up
# How long the names of a writer that died stay suspended. Longer than a transaction can still
# be committed after it suspended them: config.TRANSACTION_IDLE_SECONDS, and the COMMIT itself.
SUSPENSION_SECONDS = 30.0
MISSING_SECONDS = 30.0  # that an id is known not to exist
MISSING_MAX = 10_000  # ids of a family that are noted as missing in one such period

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# The life of this server. A replica is refused: it may be behind.
_EPOCH = """
local replication = redis.call('INFO', 'replication')
if not string.find(replication, 'role:master', 1, true) then
  return redis.error_reply('READONLY a replica may be behind')
end
local epoch = string.sub(string.match(replication, 'master_replid:(%x+)'), 1, 16)
"""

# The generation under KEYS[1]; a lost one is followed by a new one, ARGV[1].
_GENERATION = """
local generation = redis.call('MGET', KEYS[1])[1]
if not generation then
  generation = ARGV[1]
  redis.pcall('SET', KEYS[1], generation)
end
"""

# An entry is answered only with the stamp of this moment: epoch and generation are unique values
# and never come back. UNTIL has 13 digits until the year 2286, so that it is compared as text.
_ENTRY = """
local find, sub, byte = string.find, string.sub, string.byte
local clock = string.format('%013d', now)

-- The document of an entry whose first line is `stamp` and a time to come.
local function current(value, stamp)
  local at = #stamp
  if value and find(value, stamp, 1, true) == 1 and byte(value, at + 14) == 10
      and clock < sub(value, at + 1, at + 13) then
    return sub(value, at + 15)
  end
end
"""

# Each entry has one lease at most, of one reader and one stamp, and no token is sent twice: a copy
# that arrives late must not renew a lease that a writer has removed.
# Returns the lease (STAMP TOKEN), then for each entry a State and its document.
_READ = f"""
{_ENTRY}
local stamp = epoch .. ':' .. generation
local suspended = string.sub(generation, 1, 8) == 'writers '

local function read(key, value)
  if suspended or (value and string.sub(value, 1, 8) == 'writers ') then
    return 'S'
  end
  local document, known = current(value, stamp .. ' '), nil
  if document then
    return 'H' .. document
  elseif value and string.sub(value, 1, #stamp + 1) == stamp .. ' ' then
    known = string.match(value, '\\n(.*)$')
  elseif value and string.sub(value, 1, #stamp + 7) == 'lease ' .. stamp .. ' ' then
    local holder, ends, document = string.match(value, '^(%x+) (%d+)\\n(.*)$', #stamp + 8)
    if holder and holder ~= before and now < tonumber(ends) then
      return 'W' .. document
    end
    known = document
  end
  known = known or ''
  local lease = 'lease ' .. stamp .. ' ' .. token .. ' ' .. (now + patience) .. '\\n' .. known
  if known == '' then
    redis.pcall('SET', key, lease, 'PX', patience)
  else
    redis.pcall('SET', key, lease, 'KEEPTTL')
  end
  return 'L' .. known
end

local values = redis.call('MGET', unpack(entries))
local answer = {{stamp .. ' ' .. token}}
for i, key in ipairs(entries) do
  answer[i + 1] = read(key, values[i])
end
return answer
"""

# KEYS: the generation, entries. ARGV: a new generation, token, lease in milliseconds, the token of
# an attempt before this one.
READ = f"""
{_NOW}
{_EPOCH}
{_GENERATION}
local entries, token, patience, before = {{unpack(KEYS, 2)}}, ARGV[2], ARGV[3], ARGV[4]
{_READ}
"""

# The same in two steps, for a cluster, where the names are on several servers. The stamp then has
# the epochs of both servers.
# KEYS: the generation. ARGV: a new generation.
GENERATION = f"""
{_EPOCH}
{_GENERATION}
return string.sub(generation, 1, 8) == 'writers ' and generation or epoch .. ':' .. generation
"""
# KEYS: entries. ARGV: the generation, and the others.
READ_ENTRIES = f"""
{_NOW}
{_EPOCH}
local entries, generation, token, patience, before = KEYS, ARGV[1], ARGV[2], ARGV[3], ARGV[4]
{_READ}
"""

# What READ would answer if all are hits of rows that exist; nothing otherwise, and no lease.
HITS = f"""
{_NOW}
{_EPOCH}
{_ENTRY}
local function hits(generation_key, keys)
  local values = redis.pcall('MGET', generation_key, unpack(keys))
  if values.err then
    return
  end
  local stamp, documents = epoch .. ':' .. (values[1] or '') .. ' ', {{}}
  for i = 1, #keys do
    local document = current(values[i + 1], stamp)
    if not document or document == '' then
      return
    end
    documents[i] = document
  end
  return documents
end
"""

# What READ would answer if the entry is a hit; nothing otherwise, and no lease.
# KEYS: the generation, the entry.
PEEK = f"""
{_NOW}
{_EPOCH}
{_ENTRY}
local values = redis.call('MGET', KEYS[1], KEYS[2])
return current(values[2], epoch .. ':' .. (values[1] or '') .. ' ')
"""
# The same on a cluster. KEYS: the entry. ARGV: the generation, as READ_ENTRIES has it.
PEEK_ENTRY = f"""
{_NOW}
{_EPOCH}
{_ENTRY}
return current(redis.call('MGET', KEYS[1])[1], epoch .. ':' .. ARGV[1] .. ' ')
"""

# Only the lease of this reader becomes an entry. A writer that suspended the name since has
# removed the lease, and so has anything that lost it.
# KEYS: entries. ARGV: milliseconds to keep an expired one, then for each entry its lease, time to
# live in milliseconds, and document. Returns for each 1, or 0 if it was refused.
FILL = f"""
{_NOW}
local values = redis.call('MGET', unpack(KEYS))
local answer = {{}}
for i, key in ipairs(KEYS) do
  local lease, ttl, document = 'lease ' .. ARGV[3 * i - 1] .. ' ', ARGV[3 * i], ARGV[3 * i + 1]
  answer[i] = 0
  if values[i] and string.sub(values[i], 1, #lease) == lease then
    local entry = string.match(lease, ' (%S+)') .. ' ' .. (now + ttl) .. '\\n' .. document
    redis.call('SET', key, entry, 'PX', document == '' and ttl or ttl + ARGV[1])
    answer[i] = 1
  end
end
return answer
"""

# A lease that is given back leaves what it found: an expired entry, or nothing.
# KEYS: entries. ARGV: for each entry its lease.
GIVE_BACK = """
local values = redis.call('MGET', unpack(KEYS))
for i, key in ipairs(KEYS) do
  local lease = 'lease ' .. ARGV[i] .. ' '
  if values[i] and string.sub(values[i], 1, #lease) == lease then
    local known = string.match(values[i], '\\n(.*)$')
    if known == '' then
      redis.call('DEL', key)
    else
      redis.call('SET', key, string.match(lease, ' (%S+)') .. ' 0\\n' .. known, 'KEEPTTL')
    end
  end
end
"""

# The notes on a name, but for those of some writers, and of the dead.
_OTHERS = f"""
{_NOW}
local function others(value, writers)
  local notes, last = {{}}, 0
  if value and string.sub(value, 1, 8) == 'writers ' then
    for token, ends in string.gmatch(value, '(%x+)=(%d+)') do
      if not writers[token] and now < tonumber(ends) then
        notes[#notes + 1] = token .. '=' .. ends
        last = math.max(last, ends)
      end
    end
  end
  return notes, last
end
"""

# A suspended name has neither a document nor a lease, and gets none. A full Redis does this, too.
# KEYS: names. ARGV: the writer's token, milliseconds.
SUSPEND = f"""#!lua flags=allow-oom
{_OTHERS}
local values = redis.call('MGET', unpack(KEYS))
for i, key in ipairs(KEYS) do
  local notes, last = others(values[i], {{[ARGV[1]] = true}})
  local ends = now + ARGV[2]
  notes[#notes + 1] = ARGV[1] .. '=' .. ends
  redis.call('SET', key, 'writers ' .. table.concat(notes, ' '), 'PXAT', math.max(last, ends))
end
"""

# The name is open again when the last of its writers has gone, and empty: whatever came under it
# while the notes were lost goes, too. A generation that is gone is followed by a new one.
# KEYS: names. ARGV: the writers' tokens.
RELEASE = f"""#!lua flags=allow-oom
{_OTHERS}
local gone = {{}}
for _, token in ipairs(ARGV) do
  gone[token] = true
end
local values = redis.call('MGET', unpack(KEYS))
for i, key in ipairs(KEYS) do
  local notes, last = others(values[i], gone)
  if #notes > 0 then
    redis.call('SET', key, 'writers ' .. table.concat(notes, ' '), 'PXAT', last)
  else
    redis.call('DEL', key)
  end
end
"""

# At most so many in a period, counted from the first.
# KEYS: the counter. ARGV: how many more, the most, milliseconds. Returns 1, or 0 over the most.
ADMIT = """
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if count == tonumber(ARGV[1]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return count <= tonumber(ARGV[2]) and 1 or 0
"""


class State(Enum):
    """What a reader finds under an entry's name, and what it may do."""

    HIT = b"H"  # answer the document
    LEASED = b"L"  # compute and fill
    HELD = b"W"  # wait: another reader computes
    SUSPENDED = b"S"  # compute, and keep it to yourself


class Entry(NamedTuple):
    lease: bytes  # to fill it with, if it is LEASED
    state: State
    document: bytes  # other than in a HIT, an expired one; empty if there is none


class Protocol:
    """The steps, each one round trip (on a cluster one for each name).

    Each raises RedisUnavailable.
    """

    def __init__(self, connection: RedisConnection, keep_expired: int) -> None:
        """`keep_expired`: seconds that a document is kept after its time to live."""
        self._connection = connection
        self._keep_expired = keep_expired * 1000

    def read(self, generation: str, keys: Sequence[str]) -> list[Entry]:
        """Read entries, and lease those that are missing."""
        connection = self._connection
        if not connection.is_cluster:
            return self._read(READ, [generation, *keys], new_token())
        current = connection.eval(GENERATION, [generation], [new_token()])
        return [entry for key in keys for entry in self._read(READ_ENTRIES, [key], current)]

    def _read(self, script: str, keys: Sequence[str], generation: str | bytes) -> list[Entry]:
        first, second = new_token(), new_token()
        patience = _milliseconds(LEASE_SECONDS)
        lease, *replies = self._connection.eval(
            script,
            keys,
            (generation, first, patience, ""),
            again=(generation, second, patience, first),
        )
        return [Entry(lease, State(reply[:1]), reply[1:]) for reply in replies]

    def peek(self, generation: str, key: str) -> bytes | None:
        """Return the document of an entry if it is a hit, else None, and leave no lease."""
        found: bytes | None
        if not self._connection.is_cluster:
            found = self._eval(PEEK, [generation, key], ())
        else:
            current = self._eval(GENERATION, [generation], (new_token(),))
            found = self._eval(PEEK_ENTRY, [key], (current,))
        return found

    def fill(self, documents: Mapping[str, tuple[bytes, float, bytes]]) -> int:
        """Store documents in place of leases: `{key: (lease, ttl in seconds, document)}`.

        Returns how many were stored; the others were refused, because their lease is gone.
        """
        stored = 0
        for keys in self._connection.together(list(documents)):
            arguments: list[object] = [self._keep_expired]
            for key in keys:
                lease, ttl, document = documents[key]
                arguments += (lease, _milliseconds(ttl), document)
            stored += sum(self._eval(FILL, keys, arguments))
        return stored

    def give_back(self, leases: Mapping[str, bytes]) -> None:
        """Let other readers compute at once what this one could not: `{key: lease}`."""
        for keys in self._connection.together(list(leases)):
            self._eval(GIVE_BACK, keys, [leases[key] for key in keys])

    def suspend(self, names: Sequence[str], writer: str) -> None:
        """Drop entries and leases, and let none come, until `release`."""
        arguments = (writer, _milliseconds(SUSPENSION_SECONDS))
        for some in self._connection.together(names):
            self._eval(SUSPEND, some, arguments)

    def release(self, names: Sequence[str], *writers: str) -> None:
        """Drop what is under the names, and let readers fill them unless other writers are left."""
        for some in self._connection.together(names):
            self._eval(RELEASE, some, writers)

    def admit_missing(self, counter: str, more: int) -> bool:
        """Tell whether so many more rows may be noted as missing now."""
        arguments = (more, MISSING_MAX, _milliseconds(MISSING_SECONDS))
        return bool(self._eval(ADMIT, [counter], arguments))

    def _eval(self, script: str, keys: Sequence[str], arguments: Sequence[object]) -> Any:
        """Run a script that does no harm if it runs twice, or late."""
        return self._connection.eval(script, keys, arguments, again=arguments)


def new_token() -> str:
    """Return a value that was never used before."""
    return secrets.token_hex(8)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
