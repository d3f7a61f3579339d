-- A chat request of 1 KiB, sent again and again.
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
local before = '{"model":"sim","max_tokens":16,"messages":[{"role":"user","content":"'
local after = '"}]}'
wrk.body = before .. string.rep("x", 1024 - #before - #after) .. after
