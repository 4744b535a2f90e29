-- Dissectors for captures of Secure Streams, as `sspc tap --write`, `sspc decode --write` and
-- `sspc proxy --capture` make them: frames of streams (sspc), of the mux (sspc_mux), and packets of lines
-- with framing=reliable (sspc_packet). docs/protocol.md introduces them, docs/spec specifies them.
--
-- Wireshark finds it in the folder of personal Lua plugins (Help > About > Folders), or:
--   wireshark -X lua_script:contrib/wireshark/sspc.lua FILE.pcapng
--
-- Each packet of a capture is one whole frame, so that nothing is reassembled here. What is kept between
-- frames are the state of each stream, whose it is, and the sessions of each line. Runs with Lua 5.2 to 5.4.

local stream = Proto("sspc", "Secure Streams")
local mux = Proto("sspc_mux", "Secure Streams mux")
local packet = Proto("sspc_packet", "Secure Streams packet")

local interface_name = Field.new("frame.interface_name")
local interface_description = Field.new("frame.interface_description")

local bxor, band
do
    -- Which of them there is depends on the version of Lua.
    local library = rawget(_G, "bit32") or rawget(_G, "bit")
    if library then
        bxor, band = library.bxor, library.band
    else
        bxor = load("return function(a, b) return a ~ b end")()
        band = load("return function(a, b) return a & b end")()
    end
end

-- ---- what the numbers mean

local RX_PAYLOAD, CREATE_RESULT, CONNSTATE = 0x55, 0x56, 0x57
local PERF = 0x5b
local STREAMTYPE, ONWARD_CONNECT, DESTROYING, TX_PAYLOAD = 0xaa, 0xab, 0xac, 0xad
local TIMEOUT_UPDATE, PAYLOAD_LENGTH_HINT = 0xb0, 0xb1

local types = {
    [0x55] = "RX_PAYLOAD", [0x56] = "CREATE_RESULT", [0x57] = "CONNSTATE", [0x58] = "TXCR_UPDATE",
    [0x59] = "METADATA", [0x5b] = "PERF",
    [0xaa] = "STREAMTYPE", [0xab] = "ONWARD_CONNECT", [0xac] = "DESTROYING", [0xad] = "TX_PAYLOAD",
    [0xae] = "METADATA", [0xaf] = "TXCR_UPDATE", [0xb0] = "TIMEOUT_UPDATE",
    [0xb1] = "PAYLOAD_LENGTH_HINT",
}
local TO_PROXY, TO_CLIENT = "to proxy", "to client"

-- Which way a frame of this type goes; nil for PERF, which goes both ways.
local function direction_of(kind)
    if not types[kind] or kind == PERF then return nil end
    return kind >= 0xaa and TO_PROXY or TO_CLIENT
end

local states = {
    "CREATING", "DISCONNECTED", "UNREACHABLE", "AUTH_FAILED", "CONNECTED", "CONNECTING", "DESTROYING",
    "POLL", "ALL_RETRIES_FAILED", "QOS_ACK_REMOTE", "QOS_NACK_REMOTE", "QOS_ACK_LOCAL", "QOS_NACK_LOCAL",
    "TIMEOUT", "SERVER_TXN", "SERVER_UPGRADE", "EVENT_WAIT_CANCELLED", "UPSTREAM_LINK_RETRY", "SINK_JOIN",
    "SINK_PART",
}
local USER_STATES = 1000

-- What a client takes after a state, beside DESTROYING, as docs/spec/streams.md has it. A test compares it
-- with the table of sspc-wire.
local follows = {
    CREATING = "CONNECTING POLL TIMEOUT SERVER_UPGRADE",
    DISCONNECTED = "UNREACHABLE CONNECTED CONNECTING POLL TIMEOUT",
    UNREACHABLE = "UNREACHABLE CONNECTED CONNECTING POLL ALL_RETRIES_FAILED TIMEOUT",
    AUTH_FAILED = "CONNECTING ALL_RETRIES_FAILED TIMEOUT",
    CONNECTED = "DISCONNECTED AUTH_FAILED CONNECTING POLL QOS_ACK_REMOTE QOS_NACK_REMOTE QOS_ACK_LOCAL "
        .. "QOS_NACK_LOCAL TIMEOUT SERVER_TXN SERVER_UPGRADE",
    CONNECTING = "DISCONNECTED UNREACHABLE AUTH_FAILED CONNECTED CONNECTING POLL ALL_RETRIES_FAILED "
        .. "QOS_ACK_REMOTE QOS_NACK_REMOTE TIMEOUT",
    POLL = "CONNECTING ALL_RETRIES_FAILED TIMEOUT",
    ALL_RETRIES_FAILED = "UNREACHABLE CONNECTING POLL TIMEOUT",
    QOS_ACK_REMOTE = "DISCONNECTED CONNECTING QOS_ACK_REMOTE QOS_NACK_REMOTE TIMEOUT",
    QOS_NACK_REMOTE = "DISCONNECTED CONNECTING QOS_ACK_REMOTE QOS_NACK_REMOTE TIMEOUT",
    QOS_ACK_LOCAL = "DISCONNECTED TIMEOUT",
    QOS_NACK_LOCAL = "DISCONNECTED TIMEOUT",
    TIMEOUT = "DISCONNECTED UNREACHABLE CONNECTED CONNECTING POLL QOS_ACK_REMOTE QOS_NACK_REMOTE TIMEOUT",
    SERVER_TXN = "DISCONNECTED TIMEOUT SERVER_TXN",
    SERVER_UPGRADE = "DISCONNECTED TIMEOUT SERVER_TXN SERVER_UPGRADE",
}

local function state_name(code)
    if states[code] then return states[code] end
    return (code >= USER_STATES and "USER(" or "UNKNOWN(") .. code .. ")"
end

-- User states, 17 and 18 may come at any time, and leave the current state as it is.
local function is_transparent(code)
    return code >= USER_STATES or code == 17 or code == 18
end

-- `current` is false for a stream without a state yet.
local function may_follow(code, current)
    if is_transparent(code) then return true end
    if not states[code] then return false end
    if not current then return code == 1 or code == 7 end
    if current == 7 then return false end
    if code == 7 then return true end
    local after = states[current] and follows[states[current]] or ""
    return (" " .. after .. " "):find(" " .. states[code] .. " ", 1, true) ~= nil
end

local mux_types = {
    [0xf0] = "CHANNEL_REQ", [0xf1] = "CHANNEL_ACK", [0xf2] = "CHANNEL_NACK", [0xf3] = "CHANNEL_CLOSE",
    [0xf4] = "CHANNEL_CLOSE_ACK", [0xf5] = "MUX", [0xf6] = "PING", [0xf7] = "PONG", [0xf8] = "PONGACK",
    [0xf9] = "RESET_TRANSPORT",
}
local mux_lengths = {
    [0xf0] = 2, [0xf1] = 2, [0xf2] = 2, [0xf3] = 2, [0xf4] = 2, [0xf5] = 4, [0xf6] = 9, [0xf7] = 17,
    [0xf8] = 9, [0xf9] = 1,
}
local packet_types = { [0] = "DATA", [1] = "ACK", [2] = "HELLO" }

-- ---- fields

local f = {
    stream = ProtoField.string("sspc.stream", "Stream"),
    direction = ProtoField.string("sspc.direction", "Direction"),
    client = ProtoField.string("sspc.client", "Client"),
    streamtype = ProtoField.string("sspc.streamtype", "Streamtype"),
    kind = ProtoField.uint8("sspc.type", "Type", base.HEX, types),
    length = ProtoField.uint16("sspc.length", "Length of the body"),
    flags = ProtoField.uint32("sspc.flags", "Flags", base.HEX),
    som = ProtoField.bool("sspc.flags.som", "SOM", 32, nil, 0x01),
    eom = ProtoField.bool("sspc.flags.eom", "EOM", 32, nil, 0x02),
    poll = ProtoField.bool("sspc.flags.poll", "POLL", 32, nil, 0x04),
    related_start = ProtoField.bool("sspc.flags.related_start", "RELATED_START", 32, nil, 0x08),
    related_end = ProtoField.bool("sspc.flags.related_end", "RELATED_END", 32, nil, 0x10),
    rideshare = ProtoField.bool("sspc.flags.rideshare", "RIDESHARE", 32, nil, 0x20),
    perf_json = ProtoField.bool("sspc.flags.perf_json", "PERF_JSON", 32, nil, 0x40),
    held = ProtoField.uint32("sspc.held", "Time held (us)"),
    written = ProtoField.uint64("sspc.written", "Time written (us)"),
    rideshare_name = ProtoField.string("sspc.rideshare", "Payload of the streamtype"),
    payload = ProtoField.bytes("sspc.payload", "Payload"),
    payload_length = ProtoField.uint16("sspc.payload.length", "Bytes of payload"),
    result = ProtoField.uint8("sspc.result", "Result"),
    buffer = ProtoField.uint32("sspc.buffer", "Advised buffer"),
    list = ProtoField.string("sspc.list", "Streamtypes"),
    state = ProtoField.uint32("sspc.state", "State"),
    state_name = ProtoField.string("sspc.state.name", "State's name"),
    ordinal = ProtoField.uint32("sspc.ordinal", "Ordinal"),
    credit = ProtoField.int32("sspc.credit", "Credit"),
    metadata_name = ProtoField.string("sspc.metadata.name", "Name"),
    metadata_value = ProtoField.string("sspc.metadata.value", "Value"),
    perf = ProtoField.string("sspc.perf", "Performance data"),
    version = ProtoField.uint8("sspc.version", "Version"),
    process = ProtoField.uint32("sspc.process", "Process id", base.DEC, nil, 0x7fffffff),
    honours_credit = ProtoField.bool("sspc.honours_credit", "Honours credit", 32, nil, 0x80000000),
    timeout = ProtoField.uint32("sspc.timeout", "Timeout (ms)"),
    length_hint = ProtoField.uint32("sspc.length_hint", "Bytes of the message to come"),
}
local e = {
    kind = ProtoExpert.new("sspc.fault.type", "No frame has this type", expert.group.MALFORMED,
        expert.severity.ERROR),
    direction = ProtoExpert.new("sspc.fault.direction", "The type belongs to the other direction",
        expert.group.PROTOCOL, expert.severity.ERROR),
    length = ProtoExpert.new("sspc.fault.length", "The type cannot have a body of this length",
        expert.group.MALFORMED, expert.severity.ERROR),
    name = ProtoExpert.new("sspc.fault.name", "The name is empty or longer than 32 bytes, has a NUL byte, "
        .. "or is longer than its frame", expert.group.MALFORMED, expert.severity.ERROR),
    state = ProtoExpert.new("sspc.fault.state", "This state must not follow the one before it",
        expert.group.SEQUENCE, expert.severity.ERROR),
    refused = ProtoExpert.new("sspc.refused", "The proxy refuses the stream", expert.group.RESPONSE_CODE,
        expert.severity.WARN),
    cut = ProtoExpert.new("sspc.cut", "Not all of the frame is in the capture", expert.group.UNDECODED,
        expert.severity.NOTE),
}
local m = {
    kind = ProtoField.uint8("sspc_mux.type", "Type", base.HEX, mux_types),
    direction = ProtoField.string("sspc_mux.direction", "Direction"),
    line = ProtoField.string("sspc_mux.line", "Line"),
    channel = ProtoField.uint8("sspc_mux.channel", "Channel"),
    length = ProtoField.uint16("sspc_mux.length", "Length of the body"),
    body = ProtoField.bytes("sspc_mux.body", "Bytes of the channel's stream"),
    time = ProtoField.uint64("sspc_mux.time", "Sender's time (us)"),
    echo = ProtoField.uint64("sspc_mux.echo", "Time of the PING (us)"),
    unix = ProtoField.absolute_time("sspc_mux.unix", "Sender's clock", base.UTC),
    down = ProtoField.bool("sspc_mux.down", "The sender's link is down"),
    packets = ProtoField.bool("sspc_mux.packets", "The sender knows packets"),
}
local me = {
    kind = ProtoExpert.new("sspc_mux.fault.type", "No frame of the mux begins with this byte",
        expert.group.MALFORMED, expert.severity.ERROR),
    length = ProtoExpert.new("sspc_mux.fault.length", "The frame cannot have this length",
        expert.group.MALFORMED, expert.severity.ERROR),
    reset = ProtoExpert.new("sspc_mux.reset", "The sender no longer trusts the link", expert.group.SEQUENCE,
        expert.severity.NOTE),
    nack = ProtoExpert.new("sspc_mux.nack", "The channel was refused, or is gone",
        expert.group.RESPONSE_CODE, expert.severity.NOTE),
    cut = ProtoExpert.new("sspc_mux.cut", "Not all of the frame is in the capture",
        expert.group.UNDECODED, expert.severity.NOTE),
}
local p = {
    line = ProtoField.string("sspc_packet.line", "Line"),
    direction = ProtoField.string("sspc_packet.direction", "Direction"),
    kind = ProtoField.uint8("sspc_packet.type", "Type", base.DEC, packet_types, 0x03),
    seq = ProtoField.uint8("sspc_packet.seq", "Number", base.DEC, nil, 0xfc),
    ack = ProtoField.uint8("sspc_packet.ack", "Expected next", base.DEC, nil, 0xfc),
    nak = ProtoField.bool("sspc_packet.nak", "What came last was no packet, or has no place", 8, nil, 0x02),
    probe = ProtoField.bool("sspc_packet.probe", "An answer is wanted at once", 8, nil, 0x01),
    payload = ProtoField.bytes("sspc_packet.payload", "Bytes of the mux"),
    kept = ProtoField.uint8("sspc_packet.kept", "Kept"),
    crc = ProtoField.uint32("sspc_packet.crc", "CRC-32", base.HEX),
    crc_status = ProtoField.string("sspc_packet.crc.status", "CRC-32's status"),
    version = ProtoField.uint8("sspc_packet.hello.version", "Version"),
    keeps = ProtoField.bool("sspc_packet.hello.keeps", "Keeps packets that come early", 8, nil, 0x01),
    ready = ProtoField.bool("sspc_packet.hello.ready", "Has heard the peer", 8, nil, 0x02),
    encrypts = ProtoField.bool("sspc_packet.hello.encrypts", "Encrypts", 8, nil, 0x04),
    mru = ProtoField.uint16("sspc_packet.hello.mru", "Longest payload"),
    window = ProtoField.uint8("sspc_packet.hello.window", "Packets on their way"),
    epoch = ProtoField.uint32("sspc_packet.hello.epoch", "Epoch", base.HEX),
    peer = ProtoField.uint32("sspc_packet.hello.peer", "Peer's epoch", base.HEX),
    rest = ProtoField.bytes("sspc_packet.hello.rest", "For encryption"),
    encrypted = ProtoField.bytes("sspc_packet.encrypted", "Encrypted"),
}
local pe = {
    short = ProtoExpert.new("sspc_packet.fault.length", "Too short for a packet", expert.group.MALFORMED,
        expert.severity.ERROR),
    crc = ProtoExpert.new("sspc_packet.fault.crc", "Damaged: the CRC-32 is that of no session of this line",
        expert.group.CHECKSUM, expert.severity.WARN),
    kind = ProtoExpert.new("sspc_packet.fault.type", "No packet has this type", expert.group.MALFORMED,
        expert.severity.ERROR),
}

local function list(of)
    local all = {}
    for _, item in pairs(of) do all[#all + 1] = item end
    return all
end
stream.fields, stream.experts = list(f), list(e)
mux.fields, mux.experts = list(m), list(me)
packet.fields, packet.experts = list(p), list(pe)

-- ---- what is kept between frames

-- By stream: the current state (false before the first, nil if unknown), and its streamtype.
local current_state, streamtype_of = {}, {}
-- By frame, as it was when it came: whether its state may follow, and the streamtype.
local verdicts, streamtypes = {}, {}
-- By line: the sessions that HELLOs told of, the newest last, and whether packets are encrypted.
local sessions, is_encrypted = {}, {}
-- By frame.
local crc_status = {}
local SESSIONS_MAX = 8

function stream.init()
    current_state, streamtype_of, verdicts, streamtypes = {}, {}, {}, {}
    sessions, is_encrypted, crc_status = {}, {}, {}
end

-- ---- reading

-- The bytes from `at` on, as many as are there of `length`; nil if there are none.
local function part(tvb, at, length)
    local there = math.min(length, tvb:len() - at)
    if there <= 0 then return nil end
    return tvb(at, there)
end

-- A range that is whole, or nil.
local function whole(tvb, at, length)
    if length <= 0 or at + length > tvb:len() then return nil end
    return tvb(at, length)
end

-- Bytes as text for a line, with nothing in it that a terminal would obey.
local function escaped(bytes)
    return (bytes:gsub("[%c\127-\255]", function(byte) return ("\\x%02x"):format(byte:byte()) end))
end

local function raw_of(range)
    return range and range:raw() or ""
end

local PREVIEW = 48

-- The start of a body: in quotes if it is text, in hex if it is not.
local function preview(range, total)
    local bytes = raw_of(range):sub(1, PREVIEW)
    local more = #bytes < total and "…" or ""
    local odd = select(2, bytes:gsub("[%z\1-\8\11\12\14-\31\127-\255]", ""))
    if odd * 4 <= #bytes then
        local text = bytes:gsub("\r", "\\r"):gsub("\n", "\\n"):gsub("\t", "\\t")
        return '"' .. escaped(text) .. '"' .. more
    end
    local hex = bytes:sub(1, 16):gsub(".", function(byte) return ("%02x "):format(byte:byte()) end)
    return "[" .. hex:gsub(" $", "") .. (#bytes > 16 and " …" or more) .. "]"
end

local function value_of(field)
    local info = field()
    return info and tostring(info.value) or nil
end

-- P2P directions: inbound is to the proxy.
local function direction_of_packet(pinfo)
    if pinfo.p2p_dir == 1 then return TO_PROXY end
    if pinfo.p2p_dir == 0 then return TO_CLIENT end
    return nil
end

-- The columns, but for the text: who speaks to whom, and on which stream.
local function columns(pinfo, name, direction)
    pinfo.cols.protocol:set(name)
    local to_client = direction == TO_CLIENT
    pinfo.cols.src:set(to_client and "proxy" or "client")
    pinfo.cols.dst:set(to_client and "client" or "proxy")
end

local function info(pinfo, where, direction, text)
    local arrow = direction == TO_CLIENT and " ← " or " → "
    pinfo.cols.info:set(where .. arrow .. text)
    pinfo.cols.info:fence()
end

local function generated(tree, field, range, value)
    if value then
        local item = range and tree:add(field, range, value) or tree:add(field, value)
        item:set_generated()
    end
end

-- ---- frames of a stream

-- What a body must have before a name, a value or payload; for CONNSTATE see below.
local fixed = {
    [RX_PAYLOAD] = 16, [CREATE_RESULT] = 5, [0x58] = 4, [0x59] = 1, [PERF] = 0,
    [STREAMTYPE] = 9, [ONWARD_CONNECT] = 0, [DESTROYING] = 0, [TX_PAYLOAD] = 16, [0xae] = 1, [0xaf] = 4,
    [TIMEOUT_UPDATE] = 4, [PAYLOAD_LENGTH_HINT] = 4,
}
-- And may have no more.
local is_exact = {
    [0x58] = true, [ONWARD_CONNECT] = true, [DESTROYING] = true, [0xaf] = true, [TIMEOUT_UPDATE] = true,
    [PAYLOAD_LENGTH_HINT] = true,
}
local NAME_MAX = 32

local function length_is_possible(kind, length)
    if kind == CONNSTATE then return length == 5 or length == 8 end
    if is_exact[kind] then return length == fixed[kind] end
    return length >= fixed[kind]
end

-- A name is good if it is not empty, not too long, within its frame and without NUL.
local function name_is_good(name, length, room)
    return length > 0 and length <= NAME_MAX and length <= room and not name:find("%z")
end

local flag_bits = {
    { 0x01, "SOM" }, { 0x02, "EOM" }, { 0x04, "POLL" }, { 0x08, "RELATED_START" }, { 0x10, "RELATED_END" },
    { 0x20, "RIDESHARE" }, { 0x40, "PERF_JSON" },
}
local function flag_names(flags)
    local names = {}
    for _, flag in ipairs(flag_bits) do
        if band(flags, flag[1]) ~= 0 then names[#names + 1] = flag[2] end
    end
    return #names > 0 and table.concat(names, "|") or "0"
end

-- Each takes the frame, its body's length and its tree; gives the text for the column.
local bodies = {}

local function payload(tvb, length, tree, name)
    local flags = whole(tvb, 3, 4)
    if not flags then return name end
    local item = tree:add(f.flags, flags)
    item:append_text(" (" .. flag_names(flags:uint()) .. ")")
    for _, field in ipairs { f.som, f.eom, f.poll, f.related_start, f.related_end, f.rideshare, f.perf_json } do
        item:add(field, flags)
    end
    local held, written = whole(tvb, 7, 4), whole(tvb, 11, 8)
    if not written then return name .. " " .. flag_names(flags:uint()) end
    tree:add(f.held, held)
    tree:add(f.written, written)
    local at, as = 19, ""
    if band(flags:uint(), 0x20) ~= 0 then
        local count = whole(tvb, 19, 1)
        local bytes = count and count:uint() or 0
        local range = part(tvb, 20, bytes)
        if range then tree:add(f.rideshare_name, range) end
        if not count or not name_is_good(raw_of(range), bytes, length - 17) then
            tree:add_proto_expert_info(e.name)
            return name .. ": bad name"
        end
        as = " as=" .. escaped(raw_of(range))
        at = 20 + bytes
    end
    local total = math.max(3 + length - at, 0)
    local range = part(tvb, at, total)
    generated(tree, f.payload_length, range, total)
    if range then tree:add(f.payload, range) end
    local text = ("%s %s %d bytes held=%dus written=%sus%s"):format(
        name, flag_names(flags:uint()), total, held:uint(), tostring(written:uint64()), as)
    return total > 0 and text .. " " .. preview(range, total) or text
end
bodies[RX_PAYLOAD] = function(tvb, length, tree) return payload(tvb, length, tree, "RX_PAYLOAD") end
bodies[TX_PAYLOAD] = function(tvb, length, tree) return payload(tvb, length, tree, "TX_PAYLOAD") end

local function metadata(tvb, length, tree)
    local count = whole(tvb, 3, 1)
    if not count then return "METADATA" end
    local bytes = count:uint()
    local name = part(tvb, 4, math.min(bytes, length - 1))
    if name then tree:add(f.metadata_name, name) end
    if not name_is_good(raw_of(name), bytes, length - 1) then
        tree:add_proto_expert_info(e.name)
        return "METADATA: bad name"
    end
    local total = length - 1 - bytes
    local value = part(tvb, 4 + bytes, total)
    if value then tree:add(f.metadata_value, value) end
    return "METADATA " .. escaped(raw_of(name)) .. "=" .. preview(value, total)
end
bodies[0x59], bodies[0xae] = metadata, metadata

local function credit(tvb, _, tree)
    local range = whole(tvb, 3, 4)
    if not range then return "TXCR_UPDATE" end
    tree:add(f.credit, range)
    return ("TXCR_UPDATE %+d"):format(range:int())
end
bodies[0x58], bodies[0xaf] = credit, credit

bodies[CREATE_RESULT] = function(tvb, length, tree)
    local result, buffer = whole(tvb, 3, 1), whole(tvb, 4, 4)
    if not buffer then return "CREATE_RESULT" end
    tree:add(f.result, result)
    tree:add(f.buffer, buffer)
    local names = part(tvb, 8, length - 5)
    if names then tree:add(f.list, names) end
    local refused = ""
    if result:uint() ~= 0 then
        tree:add_proto_expert_info(e.refused)
        refused = " (refused)"
    end
    return ("CREATE_RESULT %d%s buffer=%d list=%s"):format(
        result:uint(), refused, buffer:uint(), escaped(raw_of(names)))
end

bodies[CONNSTATE] = function(tvb, length, tree)
    local width = length - 4
    local state, ordinal = whole(tvb, 3, width), whole(tvb, 3 + width, 4)
    if not state then return "CONNSTATE" end
    local name = state_name(state:uint())
    tree:add(f.state, state):append_text(" (" .. name .. ")")
    generated(tree, f.state_name, state, name)
    if not ordinal then return "CONNSTATE " .. name end
    tree:add(f.ordinal, ordinal)
    return ("CONNSTATE %s ordinal=%d"):format(name, ordinal:uint())
end

bodies[PERF] = function(tvb, length, tree)
    local range = part(tvb, 3, length)
    if range then tree:add(f.perf, range) end
    return ("PERF %d bytes %s"):format(length, preview(range, length))
end

local HONOURS_CREDIT = 0x80000000
local UNLIMITED = 500000000

bodies[STREAMTYPE] = function(tvb, length, tree)
    local version, process, given = whole(tvb, 3, 1), whole(tvb, 4, 4), whole(tvb, 8, 4)
    if not given then return "STREAMTYPE" end
    tree:add(f.version, version)
    tree:add(f.process, process)
    tree:add(f.honours_credit, process)
    tree:add(f.credit, given)
    local name = part(tvb, 12, length - 9)
    if name then tree:add(f.streamtype, name) end
    if not name_is_good(raw_of(name), length - 9, length - 9) then
        tree:add_proto_expert_info(e.name)
        return "STREAMTYPE: bad name"
    end
    local pid, honours = process:uint(), ""
    if pid >= HONOURS_CREDIT then
        pid, honours = pid - HONOURS_CREDIT, " honours-credit"
    end
    local unlimited = given:int() >= UNLIMITED and " (unlimited)" or ""
    return ("STREAMTYPE %s version=%d pid=%d credit=%d%s%s"):format(
        escaped(raw_of(name)), version:uint(), pid, given:int(), unlimited, honours)
end

bodies[TIMEOUT_UPDATE] = function(tvb, _, tree)
    local range = whole(tvb, 3, 4)
    if not range then return "TIMEOUT_UPDATE" end
    local ms = range:uint()
    local meaning = ms == 0 and "policy" or ms == 0xffffffff and "cancel" or ("%dms"):format(ms)
    local item = tree:add(f.timeout, range)
    if ms == 0 or ms == 0xffffffff then item:append_text(" (" .. meaning .. ")") end
    return "TIMEOUT_UPDATE " .. meaning
end

bodies[PAYLOAD_LENGTH_HINT] = function(tvb, _, tree)
    local range = whole(tvb, 3, 4)
    if not range then return "PAYLOAD_LENGTH_HINT" end
    tree:add(f.length_hint, range)
    return ("PAYLOAD_LENGTH_HINT %d"):format(range:uint())
end

-- Follows a stream's states; true if this frame's state may follow.
local function follow(key, kind, tvb)
    if kind == STREAMTYPE or kind == CREATE_RESULT then
        current_state[key] = false
    elseif kind == CONNSTATE then
        local length = tvb(1, 2):uint()
        local state = (length == 5 or length == 8) and whole(tvb, 3, length - 4)
        if not state then return true end
        local code, current = state:uint(), current_state[key]
        local is_good = current == nil or may_follow(code, current)
        if not is_transparent(code) then current_state[key] = code end
        return is_good
    end
    return true
end

function stream.dissector(tvb, pinfo, root)
    if tvb:len() == 0 then return 0 end
    local kind = tvb(0, 1):uint()
    local name = value_of(interface_name) or "stream"
    local description = value_of(interface_description) or ""
    local direction = direction_of_packet(pinfo) or direction_of(kind) or TO_PROXY
    local key = name .. "\0" .. description
    local tree = root:add(stream, tvb())
    columns(pinfo, "SSPC", direction)

    local client, streamtype = description:match("^client (.-); streamtype (.*)$")
    client = client or description:match("^client (.*)$")
    generated(tree, f.stream, nil, name)
    generated(tree, f.direction, nil, direction)
    generated(tree, f.client, nil, client)

    local length_range = whole(tvb, 1, 2)
    local length = length_range and length_range:uint() or 0
    if not pinfo.visited then
        if kind == STREAMTYPE and part(tvb, 12, length - 9) then
            streamtype_of[key] = part(tvb, 12, length - 9):string()
        end
        streamtypes[pinfo.number] = streamtype or streamtype_of[key]
        verdicts[pinfo.number] = length_range == nil or follow(key, kind, tvb)
    end
    if kind ~= STREAMTYPE then
        generated(tree, f.streamtype, nil, streamtypes[pinfo.number])
    end

    tree:add(f.kind, tvb(0, 1))
    if length_range then tree:add(f.length, length_range) end
    local text
    if not types[kind] then
        tree:add_proto_expert_info(e.kind)
        text = ("unknown frame type 0x%02x"):format(kind)
    elseif direction_of(kind) and direction_of(kind) ~= direction then
        tree:add_proto_expert_info(e.direction)
        text = types[kind] .. ": belongs to the other direction"
    elseif length_range and not length_is_possible(kind, length) then
        tree:add_proto_expert_info(e.length)
        text = ("%s: cannot have a body of %d bytes"):format(types[kind], length)
    elseif length_range and bodies[kind] then
        text = bodies[kind](tvb, length, tree)
    else
        text = types[kind]
    end
    if verdicts[pinfo.number] == false then
        tree:add_proto_expert_info(e.state)
        text = text .. " (must not follow)"
    end
    if tvb:len() < tvb:reported_len() or (length_range and tvb:len() < 3 + length) then
        tree:add_proto_expert_info(e.cut)
    end
    tree:append_text(", " .. text)
    info(pinfo, name, direction, text)
    return tvb:len()
end

-- ---- frames of the mux

local MARK_DOWN, MARK_PACKETS = 0x80, 0x40

-- The time of a PING without its marks, as text, and the marks; they are in its second byte.
local function marked(range)
    local high = range(1, 1):uint()
    local is_down, knows = band(high, MARK_DOWN) ~= 0, band(high, MARK_PACKETS) ~= 0
    local time = range:uint64():band(UInt64(0xffffffff, 0xff3fffff))
    local text = tostring(time) .. "us"
    return text .. (is_down and "(down)" or "") .. (knows and "(packets)" or ""), is_down, knows
end

local function mux_text(tvb, kind, tree)
    local name = mux_types[kind]
    if kind <= 0xf5 then
        local channel = whole(tvb, 1, 1)
        if not channel then return name end
        tree:add(m.channel, channel)
        name = ("%s ch%d"):format(name, channel:uint())
        if kind == 0xf2 then tree:add_proto_expert_info(me.nack) end
        local length = kind == 0xf5 and whole(tvb, 2, 2)
        if not length then return name end
        tree:add(m.length, length)
        local total = length:uint()
        if total == 0 or total == 0xffff then
            tree:add_proto_expert_info(me.length)
            return ("%s: cannot have a body of %d bytes"):format(name, total)
        end
        local body = part(tvb, 4, total)
        if body then tree:add(m.body, body) end
        return ("%s %d bytes"):format(name, total)
    elseif kind == 0xf6 then
        local time = whole(tvb, 1, 8)
        if not time then return name end
        local text, is_down, knows = marked(time)
        tree:add(m.time, time):append_text(" (" .. text .. ")")
        generated(tree, m.down, time, is_down)
        generated(tree, m.packets, time, knows)
        return name .. " sent=" .. text
    elseif kind == 0xf7 then
        local echo, time = whole(tvb, 1, 8), whole(tvb, 9, 8)
        if not time then return name end
        tree:add(m.echo, echo)
        tree:add(m.time, time)
        return ("%s echo=%s sent=%s"):format(name, (marked(echo)), (marked(time)))
    elseif kind == 0xf8 then
        local unix = whole(tvb, 1, 8)
        if not unix then return name end
        local us = unix:uint64()
        local seconds, rest = (us / 1000000):tonumber(), (us % 1000000):tonumber()
        -- What no clock says cannot be shown as a time.
        if seconds < 2 ^ 31 then
            tree:add(m.unix, unix, NSTime.new(seconds, rest * 1000))
        end
        return ("%s unix=%sus"):format(name, tostring(us))
    end
    tree:add_proto_expert_info(me.reset)
    return name
end

function mux.dissector(tvb, pinfo, root)
    if tvb:len() == 0 then return 0 end
    local kind = tvb(0, 1):uint()
    local line = value_of(interface_name) or "line"
    local direction = direction_of_packet(pinfo) or TO_PROXY
    local tree = root:add(mux, tvb())
    columns(pinfo, "SSPC mux", direction)
    generated(tree, m.line, nil, line)
    generated(tree, m.direction, nil, direction)
    tree:add(m.kind, tvb(0, 1))
    local text
    if mux_types[kind] then
        text = mux_text(tvb, kind, tree)
        if tvb:len() < tvb:reported_len() or tvb:len() < mux_lengths[kind] then
            tree:add_proto_expert_info(me.cut)
        end
    else
        tree:add_proto_expert_info(me.kind)
        text = ("no frame of the mux begins with 0x%02x"):format(kind)
    end
    tree:append_text(", " .. text)
    info(pinfo, line, direction, text)
    return tvb:len()
end

-- ---- packets

local crc_table
-- The CRC-32 of IEEE 802.3 of a string.
local function crc32(bytes)
    if not crc_table then
        crc_table = {}
        for byte = 0, 255 do
            local sum = byte
            for _ = 1, 8 do
                local half = math.floor(sum / 2) % 0x80000000
                sum = sum % 2 == 1 and bxor(half, 0xedb88320) or half
            end
            crc_table[byte] = sum % 0x100000000
        end
    end
    local sum = 0xffffffff
    for at = 1, #bytes do
        local index = bxor(sum % 256, bytes:byte(at)) % 256
        sum = bxor(crc_table[index], math.floor((sum % 0x100000000) / 256)) % 0x100000000
    end
    return bxor(sum, 0xffffffff) % 0x100000000
end

local function lowest_first(number)
    local bytes = {}
    for at = 1, 4 do
        bytes[at] = string.char(number % 256)
        number = math.floor(number / 256)
    end
    return table.concat(bytes)
end

local function remember(line, direction, tvb)
    local hello = tvb:raw(2, 13)
    local abilities, epoch, peer = hello:byte(2), hello:sub(6, 9), hello:sub(10, 13)
    is_encrypted[line] = band(abilities, 4) ~= 0
    if peer == "\0\0\0\0" or is_encrypted[line] then return end
    local pair = direction == TO_CLIENT and peer .. epoch or epoch .. peer
    local all = sessions[line] or {}
    sessions[line] = all
    for _, known in ipairs(all) do
        if known == pair then return end
    end
    all[#all + 1] = pair
    if #all > SESSIONS_MAX then table.remove(all, 1) end
end

-- "good", "bad", "unverified" before a HELLO was seen, or "encrypted".
local function check(line, direction, tvb)
    local length = tvb:len()
    local bytes, sum = tvb:raw(0, length - 4), tvb(length - 4, 4):le_uint()
    if length >= 19 and bytes:byte(1) == 2 and bytes:byte(2) == 0 and crc32(bytes) == sum then
        remember(line, direction, tvb)
        return "good"
    end
    -- The sum of a HELLO that encrypts stands behind its MAC: it is of that type, and nothing else is clear.
    if is_encrypted[line] then return "encrypted" end
    local all = sessions[line]
    if not all then return "unverified" end
    local from = direction == TO_CLIENT and "\1" or "\0"
    for at = #all, 1, -1 do
        local word = crc32(from .. all[at])
        if crc32(lowest_first(word) .. bytes) == sum then return "good" end
    end
    return "bad"
end

local function hello_text(tvb, tree)
    local fields = {
        { p.version, 2, 1 }, { p.keeps, 3, 1 }, { p.ready, 3, 1 }, { p.encrypts, 3, 1 }, { p.mru, 4, 2 },
        { p.window, 6, 1 }, { p.epoch, 7, 4 }, { p.peer, 11, 4 },
    }
    if tvb:len() < 19 then
        tree:add_proto_expert_info(pe.short)
        return "HELLO"
    end
    for _, field in ipairs(fields) do tree:add(field[1], tvb(field[2], field[3])) end
    if tvb:len() > 19 then tree:add(p.rest, tvb(15, tvb:len() - 19)) end
    local text = ("HELLO epoch=%08x mru=%d window=%d"):format(
        tvb(7, 4):uint(), tvb(4, 2):uint(), tvb(6, 1):uint())
    if tvb(11, 4):uint() ~= 0 then text = text .. (" to=%08x"):format(tvb(11, 4):uint()) end
    local abilities = tvb(3, 1):uint()
    for at, name in ipairs { "keeps", "ready", "encrypted" } do
        if band(abilities, 2 ^ (at - 1)) ~= 0 then text = text .. " " .. name end
    end
    return text
end

-- `62-1,3`: the numbers of the packets that an ACK says are there.
local function kept_text(tvb, ack, tree)
    local numbers = {}
    for at = 2, tvb:len() - 5 do
        local byte = tvb(at, 1):uint()
        for shift = 0, 7 do
            if band(byte, 2 ^ shift) ~= 0 then
                local number = (ack + 1 + (at - 2) * 8 + shift) % 64
                numbers[#numbers + 1] = number
                generated(tree, p.kept, tvb(at, 1), number)
            end
        end
    end
    if #numbers == 0 then return "" end
    local ranges, first = {}, 1
    for at = 1, #numbers do
        if numbers[at + 1] ~= (numbers[at] + 1) % 64 then
            local from, to = numbers[first], numbers[at]
            ranges[#ranges + 1] = from == to and tostring(from) or from .. "-" .. to
            first = at + 1
        end
    end
    return " kept=" .. table.concat(ranges, ",")
end

local ENCRYPTED = 20

function packet.dissector(tvb, pinfo, root)
    if tvb:len() == 0 then return 0 end
    local line = value_of(interface_name) or "line"
    local direction = direction_of_packet(pinfo) or TO_PROXY
    local tree = root:add(packet, tvb())
    columns(pinfo, "SSPC packet", direction)
    generated(tree, p.line, nil, line)
    generated(tree, p.direction, nil, direction)
    local length, text = tvb:len(), nil
    if length < 6 then
        tree:add_proto_expert_info(pe.short)
        text = ("DAMAGED %d bytes, no packet"):format(length)
    else
        if not pinfo.visited then crc_status[pinfo.number] = check(line, direction, tvb) end
        local status = crc_status[pinfo.number] or "unverified"
        local first, second = tvb(0, 1), tvb(1, 1)
        local kind = first:uint() % 4
        if status == "encrypted" then
            tree:add(p.encrypted, tvb())
            text = ("PACKET %d bytes, encrypted"):format(math.max(length - ENCRYPTED, 0))
        else
            tree:add(p.kind, first)
            tree:add(p.seq, first)
            tree:add(p.ack, second)
            tree:add(p.nak, second)
            tree:add(p.probe, second)
            local ack = math.floor(second:uint() / 4)
            local marks = (band(second:uint(), 2) ~= 0 and " nak" or "")
                .. (band(second:uint(), 1) ~= 0 and " probe" or "")
            if kind == 2 then
                text = hello_text(tvb, tree)
            elseif kind == 1 then
                text = ("ACK ack=%d%s%s"):format(ack, marks, kept_text(tvb, ack, tree))
            elseif kind == 0 then
                if length > 6 then tree:add(p.payload, tvb(2, length - 6)) end
                text = ("DATA seq=%d ack=%d%s %d bytes"):format(
                    math.floor(first:uint() / 4), ack, marks, length - 6)
            else
                tree:add_proto_expert_info(pe.kind)
                text = "no packet has type 3"
            end
            tree:add_le(p.crc, tvb(length - 4, 4))
            if status == "bad" then
                tree:add_proto_expert_info(pe.crc)
                text = "DAMAGED " .. text
            end
        end
        generated(tree, p.crc_status, tvb(length - 4, 4), status)
    end
    tree:append_text(", " .. text)
    info(pinfo, line, direction, text)
    return tvb:len()
end
