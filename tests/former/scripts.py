"""The Redis scripts for the records of clients, whose form is in `record.py`.

Each script is one round trip. Its clock is the server's, the same for all hosts.
"""

from __future__ import annotations

from shop.limits.window import SECOND

from .lua import NOW, RECORDS

PAYMENTS = 32  # that a record remembers: more than workers that pay at a time, and pay again

# The records of a client and of its address, which may be one.
_PAYERS = """
local own = read(KEYS[1])
local shared = KEYS[2] == KEYS[1] and own or read(KEYS[2])

local function save_changed()
  if own.changed then
    save(own)
  end
  if shared.changed and shared ~= own then
    save(shared)
  end
end
"""

_ASK = f"""
{RECORDS}
{_PAYERS}
local asked, passes = {{}}, true
for i = 1, #ARGV, 5 do
  local p = policy(ARGV[i + 4] == '1' and own or shared, ARGV[i])
  p.quota, p.seconds = ARGV[i + 1], ARGV[i + 2]
  advance(p)
  p.most = tonumber(p.quota)
  p.cost = min(ARGV[i + 3], p.most)
  p.passes = p.cost == 0 or p.used + p.cost <= p.most
  passes = passes and p.passes
  asked[#asked + 1] = p
end
"""

_CHARGE = """
local function charge(p)
  local cost = p.cost
  if same_cell(p, p.last, now) then
    p.to, p.joined = p.to - WIDTH, p.last
    cost = cost + cost_at(p, p.to + 1)
  end
  p.tail = now_text .. format('%07d ', cost)
  p.used, p.record.changed = p.used + p.cost, true
end

for i = 1, #asked do
  local p = asked[i]
  if not p.passes then
    p.refused = format('%07d', min(p.refused + 1, 9999999))
    redis.call('SETRANGE', p.record.key, p.place, p.refused)
  elseif passes and p.cost > 0 then
    charge(p)
  end
end
save_changed()

local function wait(p)
  local excess, wait = p.used + p.cost - p.most, 0
  for at = p.from, p.to, WIDTH do
    if excess <= 0 then
      break
    end
    wait, excess = stamp_at(p, at) + p.period - now, excess - cost_at(p, at)
  end
  return wait
end

local answer = {}
for i = 1, #asked do
  local p, n = asked[i], #answer
  answer[n + 1] = p.passes and 1 or 0
  answer[n + 2] = p.used
  answer[n + 3] = p.from < p.to and p.first + p.period - now or p.tail and p.period or 0
  answer[n + 4] = p.passes and 0 or wait(p)
end
"""

# All policies of a request together: what one refuses, none is charged for. A cost above the
# quota is charged as the whole quota. What costs nothing always passes, and tells what is left.
# KEYS: the records of the client and of its address, which may be one. ARGV: for each policy its
# name, quota, period in seconds, cost, and 1 or 2 for the record that has it.
# Returns for each: 1 if it lets the request pass, what is used now, the microseconds until
# something of it is dropped, and those until the request would pass.
DECIDE = f"""
{_ASK}
{_CHARGE}
return answer
"""

# The same for a charge that may be repaid.
# Returns what DECIDE does, and with it the receipt: the time, and for each policy the time that
# the entry had which the charge has joined, 0 if there was none.
HOLD = f"""
{_ASK}
{_CHARGE}
local receipt = {{now}}
for i, p in ipairs(asked) do
  receipt[i + 1] = p.joined or 0
end
return {{answer, receipt}}
"""

# The same for a request that a record on another server has refused: nothing is charged.
TELL = f"""
{_ASK}
passes = false
{_CHARGE}
return answer
"""

# Undo a charge: the record is what it was, but for what was charged meanwhile.
# KEYS: the record. ARGV: the time of the charge; for each policy its name, quota, period in
# seconds, what it was charged, and the time that the receipt has for it.
REPAY = f"""
{RECORDS}
local record, moment = read(KEYS[1]), tonumber(ARGV[1])

-- The entry of the charge may have been joined by later ones, whose time it has then.
local function repay(p, charged, joined)
  for at = p.to - WIDTH + 1, p.from, -WIDTH do
    local stamp, cost, left = stamp_at(p, at), cost_at(p, at), ''
    if same_cell(p, stamp, moment) then
      if cost > charged then
        left = write_entry(stamp == moment and joined > 0 and joined or stamp, cost - charged)
      end
      p.text = sub(p.text, p.from, at - 1) .. left .. sub(p.text, at + WIDTH, p.to)
      p.from, p.to, p.used = 1, #p.text, p.used - min(cost, charged)
      p.record.changed = true
      return
    end
  end
end

for i = 2, #ARGV, 5 do
  local p = policy(record, ARGV[i])
  p.quota, p.seconds, p.period = ARGV[i + 1], ARGV[i + 2], ARGV[i + 2] * {SECOND}
  repay(p, tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]))
end
if record.changed then
  save(record)
end
"""

# What a worker has let pass alone, while it could not reach Redis. It counts, whatever the quota,
# and once: a payment whose answer was lost is made again.
# KEYS: the record. ARGV: the payment's identifier; for each charge its policy, quota, period in
# seconds, age in microseconds, and cost.
PAY = f"""
{RECORDS}
local record = read(KEYS[1])
if find(record.paid, ARGV[1], 1, true) then
  return
end
record.paid = sub(record.paid .. ARGV[1] .. ' ', -17 * {PAYMENTS})
local logs = {{}}
for i = 2, #ARGV, 5 do
  local p = policy(record, ARGV[i])
  p.quota, p.seconds, p.period = ARGV[i + 1], ARGV[i + 2], ARGV[i + 2] * {SECOND}
  logs[p] = logs[p] or {{sub(p.text, p.from, p.to)}}
  table.insert(logs[p], write_entry(now - ARGV[i + 3], ARGV[i + 4]))
end
for p, log in pairs(logs) do
  p.text = table.concat(log)
  p.from, p.to = 1, #p.text
  tidy(p)
end
save(record)
"""

# What several clients have used. What is no record is left out.
# KEYS: records. Returns the server's time, then each record, or an empty text.
LOOK = f"""
{NOW}
local answer = {{string.format('%d', now)}}
for i, key in ipairs(KEYS) do
  local record = redis.pcall('GET', key)
  answer[i + 1] = type(record) == 'string' and record or ''
end
return answer
"""
