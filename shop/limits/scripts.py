"""What Redis does with the record of a client, whose form is in `record.py`.

Each script is one round trip over one key. Its clock is the server's, the same for all hosts. The
window is that of `window.py`: a charge joins the newest entry if both are in the same hundredth of
the period, and entries are dropped when they are a period old.
"""

from __future__ import annotations

from .window import CELLS, SECOND

PAYMENTS = 32  # that a record remembers: more than workers that pay at a time, and pay again

NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
"""

_READ = f"""
{NOW}
local WIDTH = 25  -- of an entry
local names, policies, changed = {{}}, {{}}, false

local function policy(name)
  if not policies[name] then
    policies[name] = {{used = 0, refused = 0, log = ''}}
    names[#names + 1] = name
  end
  return policies[name]
end

-- A line that was cut or changed by hand is left out, and so is a value of another type.
local record, at = redis.pcall('GET', KEYS[1]), 1
record = type(record) == 'string' and record or ''
while true do
  local ends = string.find(record, '\\n', at, true)
  local name, used, quota, period, place, refused, log =
    string.match(record, '^(%S+) (%d+)/(%d+) in (%d+) s, ()(%d+) refused: ()', at)
  if not (ends and name) then
    break
  end
  if #refused == 7 and (ends - log) % WIDTH == 0 then
    local p = policy(name)
    p.used, p.quota, p.period = tonumber(used), tonumber(quota), period * {SECOND}
    p.place, p.refused, p.log = place - 1, tonumber(refused), string.sub(record, log, ends - 1)
  end
  at = ends + 1
end
local paid = string.match(record, '^paid: ([%x ]+)\\n', at) or ''

local function entry(log, at)
  local stamp, cost = string.sub(log, at, at + 15), string.sub(log, at + 17, at + 23)
  return tonumber(stamp) or 0, tonumber(cost) or 0
end

local function newest(p)
  return entry(p.log, #p.log - WIDTH + 1)
end

local function write_entry(stamp, cost)
  return string.format('%016d:%07d ', stamp, cost)
end

local function same_cell(p, one, other)
  local cell = p.period / {CELLS}
  return math.floor(one / cell) == math.floor(other / cell)
end

-- Put entries in order, one for each cell, and none in the future.
local function tidy(p)
  local entries, kept = {{}}, {{}}
  for at = 1, #p.log, WIDTH do
    local stamp, cost = entry(p.log, at)
    entries[#entries + 1] = {{math.min(stamp, now), cost}}
  end
  table.sort(entries, function(one, other) return one[1] < other[1] end)
  p.used = 0
  for _, one in ipairs(entries) do
    local last = kept[#kept]
    if last and same_cell(p, last[1], one[1]) then
      last[1], last[2] = one[1], last[2] + one[2]
    else
      kept[#kept + 1] = one
    end
    p.used = p.used + one[2]
  end
  for i, one in ipairs(kept) do
    kept[i] = write_entry(one[1], one[2])
  end
  p.log, changed = table.concat(kept), true
end

local function advance(p)
  local from = 1
  while from < #p.log do
    local stamp, cost = entry(p.log, from)
    if stamp + p.period > now then
      break
    end
    p.used, from = p.used - cost, from + WIDTH
  end
  if from > 1 then
    p.log = string.sub(p.log, from)
  end
  if p.log == '' then
    p.used = 0
  elseif newest(p) > now then  -- a clock that was set back, or that of a new master
    tidy(p)
  end
end

local function save()
  local lines, ends = {{}}, now
  for _, name in ipairs(names) do
    local p = policies[name]
    advance(p)
    if p.log ~= '' then
      ends = math.max(ends, newest(p) + p.period)
      lines[#lines + 1] = string.format('%s %d/%d in %d s, %07d refused: %s\\n',
        name, p.used, p.quota, p.period / {SECOND}, p.refused, p.log)
    end
  end
  if #lines > 0 then
    lines[#lines + 1] = paid ~= '' and 'paid: ' .. paid .. '\\n' or ''
    redis.call('SET', KEYS[1], table.concat(lines), 'PX', math.ceil((ends - now) / 1000))
  end
end
"""

# All policies of a request together: what one refuses, none is charged for. A cost above the
# quota is charged as the whole quota. What costs nothing always passes, and tells what is left.
# KEYS: the record. ARGV: for each policy its name, quota, period in seconds, and cost.
# Returns for each: 1 if it lets the request pass, what is used now, the microseconds until
# something of it is dropped, and those until the request would pass.
DECIDE = f"""
{_READ}
local asked, passes = {{}}, true
for i = 1, #ARGV, 4 do
  local p = policy(ARGV[i])
  p.quota, p.period = tonumber(ARGV[i + 1]), ARGV[i + 2] * {SECOND}
  advance(p)
  p.cost = math.min(ARGV[i + 3], p.quota)
  p.passes = p.cost == 0 or p.used + p.cost <= p.quota
  passes = passes and p.passes
  asked[#asked + 1] = p
end

local function charge(p)
  local cost, last, before = p.cost, newest(p)
  if same_cell(p, last, now) then
    p.log, cost = string.sub(p.log, 1, -WIDTH - 1), cost + before
  end
  p.log, p.used = p.log .. write_entry(now, cost), p.used + p.cost
end

local function wait(p)
  local excess, at, wait = p.used + p.cost - p.quota, 1, 0
  while excess > 0 and at < #p.log do
    local stamp, cost = entry(p.log, at)
    wait, excess, at = stamp + p.period - now, excess - cost, at + WIDTH
  end
  return wait
end

for _, p in ipairs(asked) do
  if passes and p.cost > 0 then
    charge(p)
    changed = true
  elseif not p.passes then
    p.refused = math.min(p.refused + 1, 9999999)
    redis.call('SETRANGE', KEYS[1], p.place, string.format('%07d', p.refused))
  end
end
if changed then
  save()
end

local answer = {{}}
for _, p in ipairs(asked) do
  answer[#answer + 1] = p.passes and 1 or 0
  answer[#answer + 1] = p.used
  answer[#answer + 1] = p.log ~= '' and entry(p.log, 1) + p.period - now or 0
  answer[#answer + 1] = p.passes and 0 or wait(p)
end
return answer
"""

# What a worker has let pass alone, while it could not reach Redis. It counts, whatever the quota,
# and once: a payment whose answer was lost is made again.
# KEYS: the record. ARGV: the payment's identifier; for each charge its policy, quota, period in
# seconds, age in microseconds, and cost.
PAY = f"""
{_READ}
if string.find(paid, ARGV[1], 1, true) then
  return
end
paid = string.sub(paid .. ARGV[1] .. ' ', -17 * {PAYMENTS})
local logs = {{}}
for i = 2, #ARGV, 5 do
  local p = policy(ARGV[i])
  p.quota, p.period = tonumber(ARGV[i + 1]), ARGV[i + 2] * {SECOND}
  logs[p] = logs[p] or {{p.log}}
  table.insert(logs[p], write_entry(now - ARGV[i + 3], ARGV[i + 4]))
end
for p, log in pairs(logs) do
  p.log = table.concat(log)
  tidy(p)
end
save()
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
