"""Functions that the scripts share: they read a record (`records.py`), drop old entries, save it.

The window is that of `window.py`: a charge joins the newest entry if both are in the same
hundredth of the period, and entries are dropped when they are a period old.
"""

from __future__ import annotations

from .window import CELLS, SECOND

TIME = "local time = redis.call('TIME')\n"
NOW = f"""
{TIME}
local now = time[1] * 1000000 + time[2]
"""

RECORDS = f"""
local WIDTH = 25  -- of an entry
local find, match, sub, format = string.find, string.match, string.sub, string.format
local floor, min, max = math.floor, math.min, math.max
local now_text = format('%016d:', now)

-- A record is the list of its policies. The entries of a policy are what is from `from` to `to` in
-- its text, which is not copied until it has to be, and after that its tail: what is charged now.
local function policy(record, name)
  for i = 1, #record do
    if record[i].name == name then
      return record[i]
    end
  end
  local p = {{name = name, record = record, used = 0, refused = '0000000',
    text = '', from = 1, to = 0, tail = false,
    quota = 0, seconds = 0, period = 0, place = 0, most = 0, cost = 0, first = 0, last = 0}}
  record[#record + 1] = p
  return p
end

-- What notes tell is so, if the record is as long as they say; else all is an entry.
local function skip_notes(p)
  local length, first, last =
    match(p.text, '^0%d+:%d+ 0(%d%d%d%d%d%d)%d%d%d(%d%d%d)(%d%d%d):', p.from)
  if tonumber(length) == #p.text then
    local entries = p.from + 3 * WIDTH
    p.from, p.to = entries + first * WIDTH, entries + last * WIDTH + WIDTH - 1
  end
end

-- A line that was cut or changed by hand is left out, and so is a value of another type.
local function read(key)
  local value, at, record = redis.pcall('GET', key), 1, {{key = key, paid = ''}}
  if type(value) ~= 'string' then
    return record
  end
  while true do
    local ends = find(value, '\\n', at, true)
    local name, used, quota, seconds, place, refused, from =
      match(value, '^(%S+) (%d+)/(%d+) in (%d+) s, ()(%d+) refused: ()', at)
    if not (ends and name) then
      break
    end
    if #refused == 7 and (ends - from) % WIDTH == 0 then
      local p = policy(record, name)
      p.used, p.quota, p.seconds = tonumber(used), quota, seconds
      p.place, p.refused, p.text, p.from, p.to = place - 1, refused, value, from, ends - 1
      skip_notes(p)
    end
    at = ends + 1
  end
  record.paid = match(value, '^paid: ([%x ]+)\\n', at) or ''
  return record
end

local function stamp_at(p, at)
  return tonumber(sub(p.text, at, at + 15)) or 0
end

local function cost_at(p, at)
  return tonumber(sub(p.text, at + 17, at + 23)) or 0
end

local function write_entry(stamp, cost)
  return format('%016d:%07d ', stamp, cost)
end

local function same_cell(p, one, other)
  local cell = p.period / {CELLS}
  return floor(one / cell) == floor(other / cell)
end

-- Put entries in order, one for each cell, and none in the future.
local function tidy(p)
  local entries, kept = {{}}, {{}}
  for at = p.from, p.to, WIDTH do
    entries[#entries + 1] = {{min(stamp_at(p, at), now), cost_at(p, at)}}
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
  p.first, p.last = kept[1][1], kept[#kept][1]
  for i, one in ipairs(kept) do
    kept[i] = write_entry(one[1], one[2])
  end
  p.text, p.record.changed = table.concat(kept), true
  p.from, p.to = 1, #p.text
end

-- Drop what is a period old.
local function advance(p)
  p.period = p.seconds * {SECOND}
  while p.from < p.to do
    p.first = stamp_at(p, p.from)
    if p.first + p.period > now then
      p.last = stamp_at(p, p.to - WIDTH + 1)
      if p.last > now then  -- a clock that was set back, or that of a new master
        tidy(p)
      end
      return
    end
    p.used, p.from = p.used - cost_at(p, p.from), p.from + WIDTH
  end
  p.used, p.last = 0, 0
end

-- Return the entries of a policy as they are now, without those that cost nothing.
local function log_of(p)
  local log = sub(p.text, p.from, p.to) .. (p.tail or '')
  if find(log, ':0000000 ', 1, true) then
    log = string.gsub(log, string.rep('.', WIDTH), function(one)
      return sub(one, 17) == ':0000000 ' and '' or nil
    end)
  end
  return log
end

local function write_notes(p, length)
  local n = #p.log / WIDTH
  local first, last = tonumber(sub(p.log, 1, 16)) or 0, tonumber(sub(p.log, -25, -10)) or 0
  return format('%016d:%07d 0%06d%03d%03d%03d:0000000 %016d:0000000 ',
    floor(last / (p.period / {CELLS})), tonumber(sub(p.log, -8, -2)) or 0,
    length, n + p.room, 0, n - 1, first % 1e15)
end

-- A line that was there before gets notes, and room for entries to come, which have the time 999…
-- for that. Lines of one period do: what is written in place then tells when all of them end.
local function save(record)
  local lines, kept, ends, length, alike = {{}}, {{}}, now, 0, true
  for i = 1, #record do
    local p = record[i]
    if not p.tail then
      advance(p)
    end
    p.log = log_of(p)
    if p.log ~= '' then
      local cell = p.period / {CELLS}
      kept[#kept + 1] = p
      ends = max(ends, (floor((p.tail and now or p.last) / cell) + 1) * cell + p.period)
      alike = alike and p.period == kept[1].period
    end
  end
  if #kept == 0 then
    redis.call('DEL', record.key)
    return
  end
  if record.paid ~= '' then
    length = #record.paid + #'paid: \\n'
  end
  for _, p in ipairs(kept) do
    p.head = format('%s %07d/%s in %s s, %s refused: ',
      p.name, p.used, p.quota, p.seconds, p.refused)
    p.room = alike and p.place > 0 and floor(#p.log / WIDTH / 2) + 2 or 0
    length = length + #p.head + #p.log + (p.room > 0 and (p.room + 3) * WIDTH or 0) + 1
  end
  for _, p in ipairs(kept) do
    local n = #lines
    lines[n + 1] = p.head
    lines[n + 2] = p.room > 0 and write_notes(p, length) or ''
    lines[n + 3] = p.log
    lines[n + 4] = string.rep('9999999999999999:0000000 ', p.room)
    lines[n + 5] = '\\n'
  end
  if record.paid ~= '' then
    lines[#lines + 1] = 'paid: ' .. record.paid .. '\\n'
  end
  redis.call('SET', record.key, table.concat(lines), 'PX', math.ceil((ends - now) / 1000))
end
"""
