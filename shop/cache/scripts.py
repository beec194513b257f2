"""The steps of the protocol as Lua scripts; `protocol.py` has the states of a name.

Each script is one round trip, and runs whole or not at all. Its clock is the server's. The clock
may be set back, or be another master's, so an end that is too far from now is bounded.
"""

# The names of a writer that died stay suspended for so long. It is longer than the time in which a
# transaction can still commit after it suspended them: config.TRANSACTION_IDLE_SECONDS, and the
# COMMIT itself.
SUSPENSION_SECONDS = 30.0

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# The epoch of this server. A replica refuses: it may be behind.
_EPOCH = """
local replication = redis.call('INFO', 'replication')
if not string.find(replication, 'role:master', 1, true) then
  return redis.error_reply('READONLY a replica may be behind')
end
local _, label_end = string.find(replication, 'master_replid:', 1, true)
local epoch = string.sub(replication, label_end + 1, label_end + 16)
"""

# A suspended name opens when its key expires. After the clock was set back, that is as long after
# the first read as for a note of now. No note is dropped for that reason.
_BOUND = f"""
local LONGEST = {round(SUSPENSION_SECONDS * 1000)}
local function is_suspended(key, value)
  if value and string.sub(value, 1, 8) == 'writers ' then
    redis.call('PEXPIRE', key, LONGEST, 'LT')
    return true
  end
  return false
end
"""

# Finds the present generations among `values`, the values of KEYS. A generation that is lost gets a
# new value, the token of this attempt. No other attempt has that token, so a copy of the call that
# arrives late brings back no earlier value.
_GENERATIONS = f"""
{_BOUND}
local suspended, generations = false, {{}}
for i = 1, count do
  local one = values[i]
  if is_suspended(KEYS[i], one) then
    suspended = true
  elseif not one or #one ~= 16 then
    one = token
    redis.pcall('SET', KEYS[i], one)
  end
  generations[i] = one
end
"""

# An entry is a hit only with the present stamp: epochs and generations are unique values, and never
# come back. UNTIL has 13 digits until the year 2286, so it is compared as text.
_ENTRY = """
local find, sub, byte = string.find, string.sub, string.byte
local clock, first_end = string.format('%013d', now), '9999999999999'

-- Returns the document of an entry whose first line is `stamp` and a time to come. `first_end` is
-- the earliest such time of all entries.
local function current(value, stamp)
  local at = #stamp
  if value and find(value, stamp, 1, true) == 1 and byte(value, at + 14) == 10 then
    local ends = sub(value, at + 1, at + 13)
    if clock < ends then
      first_end = ends < first_end and ends or first_end
      return sub(value, at + 15)
    end
  end
end
"""

# Each entry has one lease at most, of one reader and one stamp. No token is sent twice, so that a
# copy of a call that arrives late renews no lease that a writer has removed. A lease that ends
# later than a new one would is of another clock, and is taken over.
# Returns the lease (STAMP TOKEN), then for each entry its EntryState and document.
_READ = f"""
{_ENTRY}
local function read(key, value)
  if is_suspended(key, value) or suspended then
    return 'S'
  end
  local document, known = current(value, stamp .. ' '), nil
  if document then
    return 'H' .. document
  elseif value and string.sub(value, 1, #stamp + 1) == stamp .. ' ' then
    known = string.match(value, '\\n(.*)$')
  elseif value and string.sub(value, 1, #stamp + 7) == 'lease ' .. stamp .. ' ' then
    local holder, ends, document = string.match(value, '^(%x+) (%d+)\\n(.*)$', #stamp + 8)
    local left = holder and holder ~= before and ends - now or 0
    if left > 0 and left <= tonumber(patience) then
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

local answer = {{stamp .. ' ' .. token}}
for i = count + 1, #KEYS do
  answer[#answer + 1] = read(KEYS[i], values[i])
end
return answer
"""

# KEYS: generations, entries. ARGV: token, lease in milliseconds, the token of an attempt before
# this one, the origin of what will be computed, the number of generations.
READ = f"""
{_NOW}
{_EPOCH}
local token, patience, before, origin, count = unpack(ARGV)
count = tonumber(count)
local values = redis.call('MGET', unpack(KEYS))
{_GENERATIONS}
local stamp = epoch .. ':' .. origin .. ':' .. table.concat(generations, '.')
{_READ}
"""

# READ in two steps, for a cluster, where the names are on several servers. The stamp then has the
# epochs of all these servers.
# KEYS: a generation. ARGV: token. Returns it with its epoch; nothing if it is suspended.
GENERATION = f"""
{_EPOCH}
local token, count, values = ARGV[1], 1, redis.call('MGET', KEYS[1])
{_GENERATIONS}
return not suspended and epoch .. ':' .. generations[1]
"""
# KEYS: an entry. ARGV: token, lease in milliseconds, the token of an attempt before this one, the
# origin of what will be computed, the generations, empty if one is suspended.
READ_ENTRY = f"""
{_NOW}
{_EPOCH}
{_BOUND}
local token, patience, before, origin, generations = unpack(ARGV)
local values, count = redis.call('MGET', KEYS[1]), 0
local stamp, suspended = epoch .. ':' .. origin .. ':' .. generations, generations == ''
{_READ}
"""

# Returns the documents if all entries are hits, by the conditions of READ; otherwise nothing.
# Leaves no lease. `hits` takes names: `count` generations, then entries. ARGV[1] is their origin.
HITS = f"""
{_NOW}
{_EPOCH}
{_ENTRY}
local origin = ARGV[1]

local function hits(count, names)
  local values = redis.pcall('MGET', unpack(names))
  if values.err then
    return
  end
  local stamp, documents = epoch .. ':' .. origin .. ':' .. (values[1] or ''), {{}}
  for i = 2, count do
    stamp = stamp .. '.' .. (values[i] or '')
  end
  stamp = stamp .. ' '
  for i = count + 1, #names do
    local document = current(values[i], stamp)
    if not document then
      return
    end
    documents[i - count] = document
  end
  return documents
end
"""

# Returns the document if the entry is a hit, by the conditions of READ; otherwise nothing. Leaves
# no lease.
# KEYS: generations, the entry. ARGV: the origin.
PEEK = f"""
{HITS}
local documents = hits(#KEYS - 1, KEYS)
return documents and documents[1]
"""
# PEEK in two steps, for a cluster.
# KEYS: a generation. Returns the generation with its epoch; nothing if there is none.
PEEK_GENERATION = f"""
{_EPOCH}
local generation = redis.call('MGET', KEYS[1])[1]
return generation and epoch .. ':' .. generation
"""
# KEYS: the entry. ARGV: the origin, the generations.
PEEK_ENTRY = f"""
{_NOW}
{_EPOCH}
{_ENTRY}
return current(redis.call('MGET', KEYS[1])[1], epoch .. ':' .. ARGV[1] .. ':' .. ARGV[2] .. ' ')
"""

# Only the lease of this reader becomes an entry. A writer that has suspended the name has removed
# the lease.
_FILL = """
local function holds(value, lease)
  return value and string.sub(value, 1, #lease + 7) == 'lease ' .. lease .. ' '
end

local function fill(key, lease, ttl, document, keep)
  local entry = string.match(lease, '^%S+') .. ' ' .. (now + ttl) .. '\\n' .. document
  redis.call('SET', key, entry, 'PX', document == '' and ttl or ttl + keep)
end

-- A lease that is given back leaves what was there before: an expired entry, or nothing.
local function give_back(key, value, lease)
  local known = string.match(value, '\\n(.*)$')
  if known == '' then
    redis.call('DEL', key)
  else
    redis.call('SET', key, string.match(lease, '^%S+') .. ' 0\\n' .. known, 'KEEPTTL')
  end
end
"""

# KEYS: entries. ARGV: milliseconds to keep an expired entry, then for each entry its lease, time to
# live in milliseconds, and document. Returns for each entry 1, or 0 if it was refused.
FILL = f"""
{_NOW}
{_FILL}
local values = redis.call('MGET', unpack(KEYS))
local answer = {{}}
for i, key in ipairs(KEYS) do
  local lease, ttl, document = ARGV[3 * i - 1], ARGV[3 * i], ARGV[3 * i + 1]
  answer[i] = 0
  if holds(values[i], lease) then
    fill(key, lease, ttl, document, ARGV[1])
    answer[i] = 1
  end
end
return answer
"""

# KEYS: entries. ARGV: for each entry its lease.
GIVE_BACK = f"""
{_FILL}
local values = redis.call('MGET', unpack(KEYS))
for i, key in ipairs(KEYS) do
  if holds(values[i], ARGV[i]) then
    give_back(key, values[i], ARGV[i])
  end
end
"""

# Tells whether one more entry is admitted in a period: the first `free` entries at their first
# request, later ones at their second request, and `most` in all. An entry stays admitted for the
# period. Under `name` is a Bloom filter of the requested entries, which takes a few for known too
# early, and after the filter the digests of the admitted entries, which are counted.
# ARGV from `first` on: bytes of the filter, milliseconds, `free`, `most`, the digest, its bits.
_ADMISSION = """
local function admit(name, first)
  local bytes, period, free, most, digest = unpack(ARGV, first, first + 4)
  local size = redis.pcall('STRLEN', name)
  if type(size) ~= 'number' or size < tonumber(bytes) then
    redis.call('DEL', name)
    redis.call('SETRANGE', name, bytes - 1, '\\0')
  end
  redis.call('PEXPIRE', name, period, 'LT')
  local admitted = redis.call('GETRANGE', name, bytes, -1)
  local at = string.find(admitted, digest, 1, true)
  while at and at % #digest ~= 1 do
    at = string.find(admitted, digest, at + 1, true)
  end
  if at then
    return true
  end
  local count, again = #admitted / #digest, true
  for i = first + 5, #ARGV do
    again = redis.call('SETBIT', name, ARGV[i], 1) == 1 and again
  end
  if count >= tonumber(most) or (count >= tonumber(free) and not again) then
    return false
  end
  redis.call('APPEND', name, digest)
  return true
end
"""

# FILL for one entry that has to be admitted. An entry that is not admitted gives its lease back.
# KEYS: the entry, admission. ARGV: as for FILL, then as for `admit`.
# Returns 1, 0 if the entry was refused, or 2 if it was not admitted.
FILL_IF_ADMITTED = f"""
{_NOW}
{_FILL}
{_ADMISSION}
local value, lease = redis.call('MGET', KEYS[1])[1], ARGV[2]
if not holds(value, lease) then
  return 0
elseif not admit(KEYS[2], 5) then
  give_back(KEYS[1], value, lease)
  return 2
end
fill(KEYS[1], lease, ARGV[3], ARGV[4], ARGV[1])
return 1
"""
# The first half of FILL_IF_ADMITTED on a cluster. KEYS: admission. ARGV: as for `admit`.
ADMIT_ENTRY = f"""
{_ADMISSION}
return admit(KEYS[1], 1) and 1 or 0
"""

# Returns the notes on a name, but for the notes of the given writers and for notes that have ended.
# No note ends later than a new one would.
_OTHERS = f"""
{_NOW}
local latest = now + {round(SUSPENSION_SECONDS * 1000)}
local function others(value, writers)
  local notes, last = {{}}, 0
  if value and string.sub(value, 1, 8) == 'writers ' then
    for token, ends in string.gmatch(value, '(%x+)=(%d+)') do
      if not writers[token] and now < tonumber(ends) then
        ends = math.min(ends, latest)
        notes[#notes + 1] = token .. '=' .. ends
        last = math.max(last, ends)
      end
    end
  end
  return notes, last
end
"""

# A suspended name has neither a document nor a lease, and gets none. A full Redis runs this, too.
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

# The name is open and empty when the last of its writers is gone. An entry that was stored while
# the notes were lost is deleted, too. A deleted generation gets a new value at the next read.
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

# Counts up to a maximum in a period, which begins with the first count.
# KEYS: the counter. ARGV: the increment, the maximum, milliseconds. Returns 1, or 0 above it.
ADMIT = """
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3], 'LT')
return count <= tonumber(ARGV[2]) and 1 or 0
"""
