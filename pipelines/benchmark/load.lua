-- wrk's side of a measurement: asks for the rows of a folder in turn, and tells what came of it as one line of JSON.
-- FOLDER/path, FOLDER/headers (NAME: VALUE lines) and FOLDER/0 ... FOLDER/N-1 (bodies).

local requests, nth = {}, 0

local function read(path)
  local file = io.open(path, "rb")
  if file == nil then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

function init(args)
  local folder = args[1]
  local headers = {}
  for name, value in read(folder .. "/headers"):gmatch("([^\n:]+): ([^\n]*)") do
    headers[name] = value
  end
  local path = read(folder .. "/path")
  local body = read(folder .. "/0")
  while body ~= nil do
    requests[#requests + 1] = wrk.format("POST", path, headers, body)
    body = read(folder .. "/" .. #requests)
  end
end

function request()
  nth = nth % #requests + 1
  return requests[nth]
end

-- Latencies as [microseconds, how many]: values that differ by less than a fiftieth are one, the largest of them.
local function distribution(latency)
  local parts, upper, held, biggest = {}, 0, 0, 0
  local function keep()
    if held > 0 then parts[#parts + 1] = string.format("[%d, %d]", biggest, held) end
  end
  for index = 1, #latency do
    local value, count = latency(index)
    if value > upper then
      keep()
      upper, held = value * 1.02, 0
    end
    held, biggest = held + count, value
  end
  keep()
  return "[" .. table.concat(parts, ", ") .. "]"
end

function done(summary, latency, all)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "failed": %d, "socket_errors": %d,'
      .. ' "latencies": %s}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, distribution(latency)))
end
