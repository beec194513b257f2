"""The shared parts of the scripts: read a record (`record.py`), let time pass in it, save it.

The window is that of `window.py`: a charge joins the newest entry if both are in the same
hundredth of the period, and entries are dropped when they are a period old.
"""

from __future__ import annotations

from shop.limits.window import CELLS, SECOND

TIME = "local time = redis.call('TIME')\n"
NOW = f"""
{TIME}
local now = time[1] * 1000000 + time[2]
"""

RECORDS = f"""
{NOW}
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

local function save(record)
  local lines, ends = {{}}, now
  for i = 1, #record do
    local p = record[i]
    if not p.tail then
      advance(p)
    end
    if p.tail or p.from < p.to then
      ends = max(ends, (p.tail and now or p.last) + p.period)
      local n = #lines
      lines[n + 1] = p.name .. ' ' .. p.used .. '/' .. p.quota .. ' in ' .. p.seconds .. ' s, '
        .. p.refused .. ' refused: '
      lines[n + 2] = sub(p.text, p.from, p.to)
      lines[n + 3] = p.tail or ''
      lines[n + 4] = '\\n'
    end
  end
  if #lines == 0 then
    redis.call('DEL', record.key)
    return
  end
  if record.paid ~= '' then
    lines[#lines + 1] = 'paid: ' .. record.paid .. '\\n'
  end
  redis.call('SET', record.key, table.concat(lines), 'PX', math.ceil((ends - now) / 1000))
end
"""
