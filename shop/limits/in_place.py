"""Decide in place, in Redis, by lines with notes (`records.py`): nearly all lines have notes.

The script reads the head of each line. A charge writes the head and the newest entry. The script
reads the oldest entries to drop them, and to find how long a refused request waits. So a decision
takes the same time however many entries there are. Rare cases are left to `lua.py`, which writes a
record anew.

The rules are those of `window.py`.
"""

from __future__ import annotations

from .window import CELLS, SECOND

HEAD = 140  # bytes that a line has before its entries, at most
OLDEST = 8  # entries that are read at once, to drop some of them or to find a wait

# `decide` returns whether all policies from ARGV[i] on let the request pass, and, as `passes`
# tells, all before them. Where something is rare, it returns nothing, and nothing was written.
# Numbers are made text by `format`: Redis takes several times as long for those of a command.
IN_PLACE = f"""
local match, sub, format = string.match, string.sub, string.format
local floor, ceil, min = math.floor, math.ceil, math.min
local LINE = '^(%S+) {7 * "."}/(%d+) in (%d+) s, {7 * "."} refused: ()0'
local now_text = format('%016d:', now)
local answer, joined = {{}}, {{}}
local record, length, at, expiring  -- `length`, and `at` of the next line, are those of `record`

-- Return the line of a policy, where it begins, where its notes begin in it, and what it tells.
local function find_line(name)
  local start = at
  while true do
    local text = redis.call('GETRANGE', record, format('%d', at), format('%d', at + {HEAD - 1}))
    local found, quota, seconds, notes = match(text, LINE)
    local slots = found and tonumber(sub(text, notes + 32, notes + 34))
    if slots and tonumber(sub(text, notes + 26, notes + 31)) == length then
      local head = at
      at = head + notes + 75 + 25 * slots
      if found == name then
        return text, head, notes, slots, quota, seconds
      end
    elseif start == 0 then
      return
    else
      at, start = 0, 0
    end
  end
end

-- Return the time and the cost of one of the oldest entries, if it is among those that were read.
local function entry(oldest, n)
  local at = 25 * n
  return tonumber(sub(oldest, at + 1, at + 16)), tonumber(sub(oldest, at + 18, at + 24))
end

-- Return how long until `excess` and more of the entries from the n-th on has been dropped; nothing
-- if that takes more of them than were read.
local function wait_for(excess, oldest, n, period)
  local stamp, cost = entry(oldest, n)
  if stamp and cost and cost < excess then
    return wait_for(excess - cost, oldest, n + 1, period)
  end
  return stamp and cost and min(stamp, now) + period - now
end

-- Write the newest entry, a new one or that of before which is joined, and what has changed of the
-- head. Without `from` the places of entries and the time of the oldest are what they were.
local function charge(key, name, text, head, notes, used, cost, newest, cell, from, first)
  cost = format('%07d', cost)
  local at, changed = format('%d', head + notes + 74 + 25 * newest)
  redis.call('SETRANGE', key, at, now_text .. cost .. ' ')
  if from then
    changed = format('%07d%s%016d:%s %s%03d%03d:0000000 %016d', used,
      sub(text, #name + 9, notes - 1), cell, cost, sub(text, notes + 25, notes + 34),
      from, newest, first % 1e15)
  else
    changed = format('%07d', used) .. sub(text, #name + 9, notes + 16) .. cost
  end
  redis.call('SETRANGE', key, format('%d', head + #name + 1), changed)
end

local function decide(i, passes)
  local name, cost = ARGV[i], tonumber(ARGV[i + 3])
  if not name then
    return passes
  end
  local key = ARGV[i + 4] == '1' and KEYS[1] or KEYS[2]
  if key ~= record then
    record, length, at = key, redis.pcall('STRLEN', key), 0
    if type(length) ~= 'number' or length == 0 then
      return
    end
  end
  local text, head, notes, slots, quota, seconds = find_line(name)
  if quota ~= ARGV[i + 1] or seconds ~= ARGV[i + 2] then
    return
  end

  local most, used = tonumber(quota), tonumber(sub(text, #name + 2, #name + 8))
  local newest_cell = tonumber(sub(text, notes, notes + 15))
  local before = tonumber(sub(text, notes + 17, notes + 23))
  local from = tonumber(sub(text, notes + 35, notes + 37))
  local newest = tonumber(sub(text, notes + 38, notes + 40))
  local first = tonumber(sub(text, notes + 50, notes + 65))
  if not (used and newest_cell and before and from and newest and first) then
    return
  end
  first = first + now - now % 1e15
  local period, entries = seconds * {SECOND}, head + notes + 74
  local cell = floor(now / (period / {CELLS}))
  local joins = newest_cell == cell
  if newest_cell > cell or first > now then  -- a clock that was set back, or that of a new master
    return
  end
  if cost > most then
    cost = most
  end

  local oldest, dropped, wait = nil, 0, 0
  if first + period <= now or cost > 0 and used + cost > most then
    local begin = entries + 25 * from
    oldest = redis.call('GETRANGE', key, format('%d', begin),
      format('%d', begin + {25 * OLDEST - 1}))
  end
  while first + period <= now do
    local _, ended = entry(oldest, dropped)
    dropped = dropped + 1
    first = entry(oldest, dropped)
    if not (ended and first) or from + dropped > newest then
      return
    end
    used = used - ended
  end
  local fits = cost == 0 or used + cost <= most
  if not fits then
    wait = wait_for(used + cost - most, oldest, dropped, period)
  end
  if not wait or not joins and cost > 0 and fits and newest + 2 >= slots then  -- there is no room
    return
  end

  local n = (i - 1) / 5
  answer[4 * n + 1], answer[4 * n + 2] = fits and 1 or 0, used
  answer[4 * n + 3], answer[4 * n + 4], joined[n + 1] = first + period - now, wait, 0
  passes = decide(i + 5, passes and fits)
  if passes == nil then
    return
  elseif not fits then
    local refused = min((tonumber(sub(text, notes - 17, notes - 11)) or 0) + 1, 9999999)
    redis.call('SETRANGE', key, format('%d', head + notes - 18), format('%07d', refused))
  elseif passes and cost > 0 then
    from = from + dropped
    if not joins then
      before, newest = 0, newest + 1
    elseif with_receipt then
      local begin = entries + 25 * newest
      local time = redis.call('GETRANGE', key, format('%d', begin), format('%d', begin + 15))
      joined[n + 1] = min(tonumber(time) or 0, now)
    end
    if from == newest then  -- its only entry, which is joined
      first = now
    end
    used = used + cost
    answer[4 * n + 2], answer[4 * n + 3] = used, first + period - now
    if joins and dropped == 0 and from < newest then
      from = nil  -- as it was, like all places and times
    end
    charge(key, name, text, head, notes, used, before + cost, newest, cell, from, first)
    if not joins and key ~= expiring then
      local ends = (cell + 1) * period / {CELLS} + period
      redis.call('PEXPIRE', key, format('%d', ceil((ends - now) / 1000)))
      expiring = key
    end
  end
  return passes
end
"""
