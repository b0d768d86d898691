# SPDX-License-Identifier: Apache-2.0
# A unit test names the sources it links in a line "LINK: agent/json.c agent/buf.c"
# (liblectr.a is always there). `make build/tests/unit/agent/test_json` builds one.
UNIT_SRC := $(wildcard tests/unit/*/test_*.c)
UNIT_BIN := $(UNIT_SRC:%.c=$(B)/%)
test_link = $(patsubst %.c,$(B)/obj/%.o,$(shell sed -n 's,.*LINK: *\([^*]*\).*,\1,p' $(1)))

define UNIT_RULE
$(B)/$(basename $(1)): $(B)/obj/$(basename $(1)).o $(call test_link,$(1)) $(B)/liblectr.a \
    $(if $(findstring http1.c,$(shell sed -n '/LINK:/p' $(1))),$(B)/obj/vendor/llhttp.o $(B)/obj/vendor/llhttp_api.o $(B)/obj/vendor/llhttp_http.o)
	@mkdir -p $$(@D)
	$(Q)$(CC) $(LDFLAGS) -o $$@ $$^ $(AGENT_LIBS) $(COLLECTOR_LIBS) -lcmocka
endef
$(foreach t,$(UNIT_SRC),$(eval $(call UNIT_RULE,$(t))))

unit: $(UNIT_BIN) ## unit tests only (no root, seconds)
	$(Q)fail=0; for t in $(UNIT_BIN); do $$t || fail=1; done; exit $$fail

.PHONY: unit
