"""The script that charges and reads in one round trip: DECIDE of the limits, HITS of the cache."""

from shop.cache.scripts import HITS
from shop.limits.lua import TIME
from shop.limits.scripts import DECIDE

# KEYS: the records of a client and of its address, which may be one; for each group of entries
# their generations and names; if there are rows, their generation and the names of those that are
# given; for each join its generation; if a session is sent, its generation and name.
# ARGV: the origin of documents; the prefix of all names in Redis; 1 if limits are enforced; the
# time until which the session must last, in seconds of a host's clock, empty without a session; the
# prefix of the rows that entries name, empty if none does; how many rows are given; the numbers of
# groups and joins; for each group the numbers of its generations and entries; for each join the
# member of a row that has a number, and the prefix; for each policy the arguments of DECIDE.
# Returns nothing for a session that is not known or soon to be renewed. Otherwise returns the
# answer of DECIDE, and if all documents are hits: the epoch and the milliseconds until the first of
# them ends, the entries, the rows, and for each join numbers and documents in turn. A step that can
# fail comes before the charge.
ANSWER = f"""
{HITS}
local function decide(KEYS, ARGV)
{DECIDE.replace(TIME, "")}  -- HITS has read the time
end
if ARGV[4] ~= '' then
  local session = hits(1, {{KEYS[#KEYS - 1], KEYS[#KEYS]}})
  local ends = session and string.match(session[1], '"expires_at":(%d+)')
  if not ends or tonumber(ends) < tonumber(ARGV[4]) then
    return {{}}
  end
end

local place, prefix, given = ARGV[2], ARGV[5], tonumber(ARGV[6])
local joins_at = 9 + 2 * ARGV[7]
local policies_at = joins_at + 2 * ARGV[8]
local usages = {{}}
if #ARGV >= policies_at then
  usages = decide({{KEYS[1], KEYS[2]}}, {{unpack(ARGV, policies_at)}})
  for i = 1, #usages, 4 do
    if usages[i] == 0 and ARGV[3] == '1' then
      return {{usages}}
    end
  end
end

local at, entries, rows = 3, {{}}, {{}}  -- `at`: of the next key
for i = 9, joins_at - 1, 2 do
  local count, last = tonumber(ARGV[i]), at + ARGV[i] + ARGV[i + 1] - 1
  local documents = hits(count, {{unpack(KEYS, at, last)}})
  if not documents then
    return {{usages}}
  end
  for j = 1, #documents do
    entries[#entries + 1] = documents[j]
  end
  at = last + 1
end

if prefix ~= '' or given > 0 then
  local names = {{unpack(KEYS, at, at + given)}}
  at = at + given + 1
  if prefix ~= '' then
    local known = (given > 0 or #entries > 1) and {{}}
    for i = 2, known and #names or 0 do
      known[names[i]] = true
    end
    for i = 1, #entries do
      for id in string.gmatch(string.match(entries[i], '^{{"ids":%[([%d,]+)%]') or '', '%d+') do
        local name = place .. prefix .. id
        if not known then
          names[#names + 1] = name
        elseif not known[name] then
          known[name], names[#names + 1] = true, name
        end
      end
    end
  end
  if #names > 1 then
    rows = hits(1, names)
    if not rows then
      return {{usages}}
    end
  end
end

local answer = {{usages, {{epoch, 0}}, entries, rows}}
for i = joins_at, policies_at - 1, 2 do
  local member, names, numbers, known = '"' .. ARGV[i] .. '":(%d+)', {{KEYS[at]}}, {{}}, {{}}
  for _, row in ipairs(rows) do
    local number = string.match(row, member)
    if number and not known[number] then
      known[number], numbers[#numbers + 1] = true, number
      names[#names + 1] = place .. ARGV[i + 1] .. number
    end
  end
  local documents = #numbers == 0 and {{}} or hits(1, names)
  if not documents then
    return {{usages}}
  end
  local joined = {{}}
  for j = 1, #numbers do
    joined[2 * j - 1], joined[2 * j] = numbers[j], documents[j]
  end
  answer[#answer + 1], at = joined, at + 1
end
answer[2][2] = first_end - now
return answer
"""
