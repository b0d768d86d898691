# SPDX-License-Identifier: Apache-2.0
# A test names the sources it links in a line "LINK: agent/json.c agent/buf.c"
# (liblectr.a is always there). `make build/tests/unit/agent/test_json` builds one.
UNIT_SRC := $(wildcard tests/unit/*/test_*.c)
BPF_TEST_SRC := $(wildcard tests/bpf/test_*.c)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
HARNESS_SRC := $(shell grep -ls 'LINK:' tests/harness/*.c)
DETECT_SRC := $(shell grep -ls 'LINK:' tests/detect/*.c)
UNIT_BIN := $(UNIT_SRC:%.c=$(B)/%)
BPF_TEST_BIN := $(BPF_TEST_SRC:%.c=$(B)/%)
# Tools of the end-to-end tests: those with a LINK line, and those with a rule of their own.
HARNESS_BIN += $(HARNESS_SRC:%.c=$(B)/%) $(B)/tests/harness/publish_flood $(B)/tests/harness/synth \
               $(B)/tests/harness/kill_preload.so
FUZZ_BIN := $(FUZZ_SRC:tests/fuzz/%.c=$(B)/fuzz/%)

$(B)/tests.mk: tests/harness/link-rules $(UNIT_SRC) $(BPF_TEST_SRC) $(FUZZ_SRC) $(HARNESS_SRC) $(DETECT_SRC)
	@mkdir -p $(@D)
	@t=$@.$$$$; $< $(B) $(UNIT_SRC) $(BPF_TEST_SRC) $(FUZZ_SRC) $(HARNESS_SRC) $(DETECT_SRC) >$$t && mv $$t $@
-include $(B)/tests.mk

$(UNIT_BIN) $(BPF_TEST_BIN) $(HARNESS_SRC:%.c=$(B)/%) $(DETECT_SRC:%.c=$(B)/%):
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(AGENT_LIBS) $(COLLECTOR_LIBS) -lbrotlienc -lcmocka

# A wrapper program tests/bpf/NAME.bpf.c gives "tests/bpf/NAME.skel.h".
BPF_TEST_SKEL := $(patsubst %.bpf.c,$(B)/gen/%.skel.h,$(wildcard tests/bpf/*.bpf.c))
$(BPF_TEST_SRC:%.c=$(B)/obj/%.o): $(BPF_TEST_SKEL)
$(B)/gen/tests/bpf/%.bpf.o: tests/bpf/%.bpf.c $(wildcard bpf/*.h) $(B)/gen/bpf/vmlinux.h
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@
$(B)/gen/tests/bpf/%.skel.h: $(B)/gen/tests/bpf/%.bpf.o
	$(Q)bpftool gen skeleton $< name $(subst .,_,$*) >$@

# Fuzzers: everything they link is built by clang, with ASan and UBSan, apart from the rest.
FUZZ_CFLAGS := -std=gnu17 -g -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
               -fno-sanitize-recover=undefined
FUZZ_PROTO_OBJ := $(PROTO_SRC:%.c=$(B)/fuzz/obj/%.o) $(B)/fuzz/obj/gen/lectr.pb-c.o
$(B)/fuzz/obj/%.o: %.c | $(GENERATED)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) $(FUZZ_CFLAGS) -MMD -MP -c $< -o $@
$(B)/fuzz/obj/gen/lectr.pb-c.o: $(B)/gen/proto/lectr.pb-c.c
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) $(FUZZ_CFLAGS) -c $< -o $@
$(B)/fuzz/obj/vendor/llhttp.o: /usr/share/llhttp/llhttp.c
$(B)/fuzz/obj/vendor/llhttp_api.o: /usr/share/llhttp/api.c
$(B)/fuzz/obj/vendor/llhttp_http.o: /usr/share/llhttp/http.c
$(B)/fuzz/obj/vendor/%.o:
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_CFLAGS) -I/usr/share/include/llhttp -c $< -o $@
$(B)/fuzz/liblectr.a: $(FUZZ_PROTO_OBJ)
	$(Q)rm -f $@ && ar rcs $@ $^
$(FUZZ_BIN):
	@echo "  FUZZ    $@"
	$(Q)$(CLANG) -fsanitize=fuzzer,address,undefined -o $@ $^ $(AGENT_LIBS)
-include $(shell find $(B)/fuzz/obj -name '*.d' 2>/dev/null)

# Floods NATS through the agent's own publisher.
FLOOD_SRC := agent/publish.c agent/outbox.c agent/spool.c agent/folder.c agent/segment.c agent/event.c
$(B)/tests/harness/publish_flood: $(B)/obj/tests/harness/publish_flood.o $(FLOOD_SRC:%.c=$(B)/obj/%.o) $(B)/liblectr.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lnats -lprotobuf-c -lm

# Ends the process that it is loaded into at a chosen step of a commit.
KILL_PRELOAD := $(B)/tests/harness/kill_preload.so
$(KILL_PRELOAD): tests/harness/kill_preload.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -std=gnu17 -O2 $(WARN) -fPIC -shared -o $@ $< -ldl

# The benchmark's own client and upstream; single files on OpenSSL.
BENCH_BIN := $(patsubst %.c,$(B)/%,$(wildcard tests/bench/*.c))
$(B)/tests/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -lssl -lcrypto

# Recordings of real providers, where they lie beside the tree; never part of it.
EXCHANGES ?= $(realpath ../shared/exchanges)

# ONLY=name runs the tests whose path matches; SECONDS is the time of one fuzzer.
SECONDS ?= 5
RUN_TESTS := $(if $(EXCHANGES),LECTR_RECORDINGS='$(EXCHANGES)') tests/harness/run-tests --build $(B) --seconds $(SECONDS) $(if $(ONLY),--only '$(ONLY)')
TEST_BIN := $(UNIT_BIN) $(BPF_TEST_BIN) $(HARNESS_BIN)

test: deps ## everything, from a fresh machine on: check, unit, fuzz, bpf, e2e (root)
	$(Q)$(MAKE) --no-print-directory -j$(shell nproc) all test-programs
	$(Q)$(RUN_TESTS) check unit fuzz bpf e2e; r=$$?; $(GIVE_BACK); exit $$r

test-programs: $(TEST_BIN) $(FUZZ_BIN)

check: ## house rules: includes, sizes, licences, format
	$(Q)$(RUN_TESTS) check

unit: $(UNIT_BIN) ## unit tests only (no root, seconds)
	$(Q)$(RUN_TESTS) unit

fuzz-smoke: $(FUZZ_BIN) ## every fuzzer for SECONDS=5 each
	$(Q)$(RUN_TESTS) fuzz

fuzz: ## every fuzzer for a minute each, or SECONDS=N
	$(Q)$(MAKE) --no-print-directory fuzz-smoke SECONDS=$(if $(filter command line,$(origin SECONDS)),$(SECONDS),60)

bpf-test: $(BPF_TEST_BIN) ## the steering decision in the kernel, by BPF_PROG_RUN (root)
	$(Q)$(RUN_TESTS) bpf

e2e: all $(HARNESS_BIN) ## the whole path in network namespaces (root); ONLY=name
	$(Q)$(RUN_TESTS) e2e

replay: deps ## EXCHANGES=DIR through the captured path, each event against its truth (root)
	$(Q)$(MAKE) --no-print-directory -j$(shell nproc) all
	$(Q)B=$(B) tests/harness/replay $(if $(EXCHANGES),'$(EXCHANGES)') $(REPLAY_ARGS)

# Truth within streams comes from public tokenizers where js-tiktoken is installed (make deps).
estimate-eval: $(B)/tests/harness/estimate_eval ## EXCHANGES=DIR coverage and width of estimated tokens; CUTS=10000
	$(Q)node tests/harness/token-truth.mjs '$(EXCHANGES)' >$(B)/token-truth.json || echo '{}' >$(B)/token-truth.json
	$(Q)$(B)/tests/harness/estimate_eval --cuts $(or $(CUTS),10000) --truth $(B)/token-truth.json --check '$(EXCHANGES)'

bench: all $(BENCH_BIN) ## CPU and latency per request next to HAProxy and direct (root)
	$(Q)tests/harness/deps bench
	$(Q)tests/bench/run --build $(B) $(BENCH_ARGS)

TORTURE_BIN := $(B)/tests/harness/torrent $(KILL_PRELOAD)

torture: all $(TORTURE_BIN) ## collectors killed 1000 times under 5 M events: nothing lost; TORTURE_ARGS='--store postgres …'
	$(Q)LECTR_BUILD=$(B) tests/harness/torture $(TORTURE_ARGS)

bench-ingest: all $(B)/tests/harness/torrent $(B)/tests/harness/drain ## how fast a full stream is drained, at what cost; BENCH_ARGS=
	$(Q)LECTR_BUILD=$(B) tests/bench/ingest $(BENCH_ARGS)

bench-series: all $(B)/tests/harness/torrent ## 50,000 live series: memory for each, time from a minute's end to its alert; BENCH_ARGS=
	$(Q)LECTR_BUILD=$(B) tests/bench/series $(BENCH_ARGS)

# The benchmark's series, where they lie beside the tree; never part of it.
NAB ?= $(realpath ../shared/nab)

nab: $(B)/tests/detect/nab ## the "unusual pattern" score by the rules of NAB; NAB=DIR, NAB_ARGS=--choose
	$(Q)$< '$(NAB)' --least 70 $(NAB_ARGS)

# The detectors over seeded traffic; seeds from 500000 on were not tuned on.
EVAL_ARGS ?= --weeks 1000 --events 300 --seed 500000 --rivals --jobs $(shell nproc)
detect-eval: $(B)/tests/detect/eval ## false alarms and recall over seeded traffic, beside others' rules (an hour); EVAL_ARGS=
	$(Q)for nominal in 1 10; do $< --nominal $$nominal $(EVAL_ARGS) || exit 1; done

detect-check: $(B)/tests/detect/eval ## the same in two minutes, with wide margins
	$(Q)for class in 20-60/min 2-5/min cron; do $< --weeks 20 --events 9 --seed 1 --gate --class $$class || exit 1; done

# Memory and time of the detector alone; SERIES_ARGS="--series 50000 --per-min 1 --hours 26".
detect-bench: $(B)/tests/detect/series_bench ## 50,000 live series: bytes a series, seconds a minute
	$(Q)$< $(SERIES_ARGS)

.PHONY: detect-bench torture bench-ingest bench-series nab detect-eval detect-check test test-programs check unit fuzz fuzz-smoke bpf-test e2e replay estimate-eval bench
