"""The script that answers a read in one round trip: the limits' own, and the cache's."""

from shop.cache.scripts import HITS
from shop.limits.scripts import DECIDE

# KEYS: the records of a client and of its address, which may be one; an entry's generation and
# name; if that is a page, the generation of its rows; if a session is sent, its generation and
# name. ARGV: 1 if limits are enforced; of a page the prefix of its rows; of a session the
# milliseconds that it must have left; for each policy what DECIDE asks.
# Returns nothing for a session that is not known or soon to be renewed. Else what DECIDE returns;
# if all that was asked for are hits, the entry's document; for a page the documents of its rows.
# What can fail comes before anything is charged.
ANSWER = f"""
local function decide(KEYS, ARGV)
{DECIDE}
end
{HITS}
if ARGV[3] ~= '' then
  local session = hits(1, KEYS[#KEYS - 1], KEYS[#KEYS])
  local ends = session and string.match(session[1], '"expires_at":(%d+)')
  if not ends or ends * 1000 < now + ARGV[3] then
    return {{}}
  end
end
local usages = {{}}
if #ARGV > 3 then
  usages = decide({{KEYS[1], KEYS[2]}}, {{unpack(ARGV, 4)}})
  for i = 1, #usages, 4 do
    if usages[i] == 0 and ARGV[1] == '1' then
      return {{usages}}
    end
  end
end
local found = hits(1, KEYS[3], KEYS[4])
if not found or ARGV[2] == '' then
  return {{usages, found and found[1]}}
end
local keys = {{KEYS[5]}}
for id in string.gmatch(string.match(found[1], '^{{"ids":%[([%d,]+)%]') or '', '%d+') do
  keys[#keys + 1] = ARGV[2] .. id
end
local rows = #keys > 1 and hits(1, unpack(keys)) or nil
return {{usages, rows and found[1], rows}}
"""
