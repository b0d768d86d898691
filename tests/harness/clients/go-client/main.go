// SPDX-License-Identifier: Apache-2.0

// An ordinary net/http client, which chooses HTTP/2 where it is offered.
//
//	go-client [--http1.1] [--host NAME]
//
// A plain call and a streaming one, one after the other; one JSON line each.
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

type provider struct{ path, streamPath, body, streamBody string }

const messages = `"messages":[{"role":"user","content":"hello"}]`

var providers = map[string]provider{
	"api.openai.com": {"/v1/chat/completions", "/v1/chat/completions",
		`{"model":"gpt-4o-mini",` + messages + `}`,
		`{"model":"gpt-4o-mini","stream":true,"stream_options":{"include_usage":true},` + messages + `}`},
	"api.anthropic.com": {"/v1/messages", "/v1/messages",
		`{"model":"claude-haiku-4-5","max_tokens":64,` + messages + `}`,
		`{"model":"claude-haiku-4-5","max_tokens":64,"stream":true,` + messages + `}`},
	"generativelanguage.googleapis.com": {"/v1beta/models/gemini-2.5-flash:generateContent",
		"/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
		`{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}`,
		`{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}`},
}

// usage is the last usage object of a JSON or SSE body.
func usage(body []byte) (found json.RawMessage) {
	parts := [][]byte{body}
	if trimmed := bytes.TrimSpace(body); len(trimmed) == 0 || trimmed[0] != '{' {
		parts = nil
		for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
			if data := strings.TrimPrefix(lines.Text(), "data:"); data != lines.Text() {
				parts = append(parts, []byte(data))
			}
		}
	}
	for _, part := range parts {
		var answer struct{ Usage, UsageMetadata json.RawMessage }
		if json.Unmarshal(part, &answer) != nil {
			continue
		}
		for _, u := range []json.RawMessage{answer.Usage, answer.UsageMetadata} {
			if len(u) > 0 && string(u) != "null" {
				found = u
			}
		}
	}
	return found
}

func call(client *http.Client, host string, stream bool) (line map[string]any) {
	p := providers[host]
	path, body := p.path, p.body
	if stream {
		path, body = p.streamPath, p.streamBody
	}
	line = map[string]any{"client": "go", "host": host, "stream": stream, "ok": false}
	begun := time.Now()
	defer func() { line["ms"] = time.Since(begun).Milliseconds() }()
	req, err := http.NewRequest("POST", "https://"+host+path, strings.NewReader(body))
	if err != nil {
		line["message"] = err.Error()
		return line
	}
	req.Header.Set("content-type", "application/json")
	req.Header.Set("authorization", "Bearer sk-lab-0000")
	r, err := client.Do(req)
	if err != nil {
		line["message"] = err.Error()
		return line
	}
	defer r.Body.Close()
	content, err := io.ReadAll(r.Body)
	if err != nil {
		line["message"] = err.Error()
		return line
	}
	line["ok"] = r.StatusCode < 400
	line["status"] = r.StatusCode
	line["http_version"] = map[int]string{1: "1.1", 2: "2"}[r.ProtoMajor]
	line["issuer"] = r.TLS.PeerCertificates[0].Issuer.CommonName
	line["bytes"] = len(content)
	line["sha256"] = fmt.Sprintf("%x", sha256.Sum256(content))
	line["usage"] = usage(content)
	return line
}

func main() {
	http1 := flag.Bool("http1.1", false, "do not offer HTTP/2")
	host := flag.String("host", "api.openai.com", "")
	flag.Parse()
	client := &http.Client{Timeout: time.Minute}
	if *http1 {
		client.Transport = &http.Transport{TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	}
	code := 0
	for _, stream := range []bool{false, true} {
		line := call(client, *host, stream)
		if line["ok"] != true {
			code = 1
		}
		text, _ := json.Marshal(line)
		fmt.Println(string(text))
	}
	os.Exit(code)
}
