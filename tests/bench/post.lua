-- SPDX-License-Identifier: Apache-2.0
-- wrk: POST one chat completion request, print what the table needs as JSON.
wrk.method = "POST"
wrk.path = os.getenv("BENCH_PATH") or "/v1/chat/completions"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer sk-bench-0123456789abcdef"
wrk.headers["User-Agent"] = "bench/1"
wrk.body = '{"model":"gpt-4o-mini","messages":[{"role":"system","content":"You answer in one ' ..
    'sentence."},{"role":"user","content":"Which port does HTTPS use, and since when? Please ' ..
    'keep it short."}],"max_tokens":128,"temperature":0.2}'

function done(summary, latency)
    local bad = summary.errors
    io.write(string.format(
        '{"requests":%d,"errors":%d,"p50_us":%.1f,"p99_us":%.1f,"duration_us":%d}\n',
        summary.requests, bad.connect + bad.read + bad.write + bad.status + bad.timeout,
        latency:percentile(50), latency:percentile(99), summary.duration))
end
