# SPDX-License-Identifier: Apache-2.0
# Lectr. `make help` lists the targets.

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/bash

VERSION := 0.1.0
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
DATADIR ?= $(PREFIX)/share/lectr
MANDIR ?= $(PREFIX)/share/man
UNITDIR ?= /lib/systemd/system

# SAN=1: ASan and UBSan, objects of their own.
ifeq ($(SAN),1)
B := build/san
SAN_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined
OPT ?= -O1
else
B := build
OPT ?= -O2
endif
V ?= 0
Q := $(if $(filter 1,$(V)),,@)

CC := gcc
CLANG := clang
WARN := -Wall -Wextra -Werror -Wshadow -Wcast-qual -Wstrict-prototypes -Wmissing-prototypes
CPPFLAGS += -I. -I$(B)/gen -isystem /usr/share/include -isystem /usr/include/postgresql -D_GNU_SOURCE \
            -DLECTR_VERSION=\"$(VERSION)\" -DLECTR_DATADIR=\"$(DATADIR)\" -DLECTR_SYSCONFDIR=\"$(SYSCONFDIR)\"
CFLAGS += -std=gnu17 -g $(OPT) $(WARN) $(SAN_FLAGS) -fstack-protector-strong -fno-omit-frame-pointer \
          -ffile-prefix-map=$(CURDIR)=. $(if $(SAN),,-D_FORTIFY_SOURCE=2)
LDFLAGS += $(SAN_FLAGS) -Wl,-z,relro,-z,now -Wl,--as-needed -pthread
AGENT_LIBS := -lbpf -luv -lssl -lcrypto -lnats -lprotobuf-c -lcyaml -lyaml -ljansson -lnghttp2 -lz -lbrotlidec -lzstd \
              -lseccomp -lm
COLLECTOR_LIBS := -lnats -lprotobuf-c -lcyaml -lyaml -ljansson -lmicrohttpd -lsqlite3 -lpq -lzstd -lcurl -lcrypto -lm

all: ## build every binary into build/
	@

include proto/module.mk bpf/module.mk agent/module.mk collector/module.mk tests/module.mk

all: $(B)/lectr-agent $(B)/lectr-collector $(B)/lectrctl

# Objects: build/obj/<path>.o; `make build/obj/agent/hello.o` compiles one file.
$(B)/obj/%.o: %.c $(B)/places | $(GENERATED)
	@mkdir -p $(@D)
	@$(if $(filter 1,$(V)),,echo "  CC      $<")
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(CFLAGS_$(basename $(notdir $<))) -MMD -MP -c $< -o $@

# What is compiled in: other places, other objects.
$(B)/places: FORCE
	@mkdir -p $(@D)
	@echo '$(VERSION) $(DATADIR) $(SYSCONFDIR)' | cmp -s - $@ || echo '$(VERSION) $(DATADIR) $(SYSCONFDIR)' >$@
FORCE:

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

# Under sudo what was made is given to who called.
GIVE_BACK = if [ -n "$$SUDO_UID" ] && [ -d build ]; then chown -R "$$SUDO_UID:$$SUDO_GID" build; fi

deps: ## install what is needed on Debian 12 (root when something is missing)
	$(Q)tests/harness/deps

demo: deps ## build it, show it: real SDKs in a lab, live table, an alert (root)
	$(Q)$(MAKE) --no-print-directory -j$(shell nproc) all
	$(Q)$(GIVE_BACK)
	$(Q)B=$(B) tests/harness/demo

run: deps ## nats-server, collector and agent here, for real providers (root)
	$(Q)$(MAKE) --no-print-directory -j$(shell nproc) all
	$(Q)$(GIVE_BACK)
	$(Q)B=$(B) tests/harness/run

# Our own C; what is generated lives in build/.
FORMAT_SRC := $(wildcard bpf/*.[ch] proto/*.[ch] proto/base/*.[ch] agent/*.[ch] collector/*.[ch] collector/ctl/*.[ch] \
                tests/*/*.[ch] tests/unit/*/*.[ch])

format: ## rewrite the C sources in the house format
	$(Q)clang-format -i $(FORMAT_SRC)

format-check: ## say which sources are not
	$(Q)clang-format --dry-run -Werror $(FORMAT_SRC)

prices-update: ## fetch the newest list prices into agent/prices.json
	$(Q)node tests/harness/prices-update.mjs --out agent/prices.json

INSTALL := install
PLACES := -e 's,/usr/local/share/lectr,$(DATADIR),g' -e 's,/etc/lectr,$(SYSCONFDIR)/lectr,g' -e 's,/usr/local/bin,$(PREFIX)/bin,g' \
          -e 's,/var/lib/lectr/collector.db,/var/lib/lectr-collector/collector.db,'
PROVIDERS := $(wildcard agent/providers/*.yaml)
MAN8 := agent/lectr-agent.8 collector/lectr-collector.8
UNITS := agent/lectr-agent.service collector/lectr-collector.service
SETTINGS := $(wildcard agent/agent.yaml collector/collector.yaml collector/alerting.yaml)

install: all ## binaries, man pages, profiles, prices, units, settings (DESTDIR, PREFIX)
	$(INSTALL) -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(DATADIR)/providers $(DESTDIR)$(MANDIR)/man1 \
	    $(DESTDIR)$(MANDIR)/man8 $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSCONFDIR)/lectr
	$(INSTALL) -m 755 $(B)/lectr-agent $(B)/lectr-collector $(B)/lectrctl $(DESTDIR)$(PREFIX)/bin
	$(INSTALL) -m 644 $(PROVIDERS) $(DESTDIR)$(DATADIR)/providers
	$(INSTALL) -m 644 agent/prices.json agent/prices-supplement.yaml agent/estimates.prior proto/lectr.proto $(DESTDIR)$(DATADIR)
	$(INSTALL) -m 755 tests/harness/prices-update.mjs $(DESTDIR)$(DATADIR)
	$(INSTALL) -m 644 collector/ctl/lectrctl.1 $(DESTDIR)$(MANDIR)/man1
	for f in $(MAN8); do sed $(PLACES) $$f >$(DESTDIR)$(MANDIR)/man8/$${f##*/}; done
	for f in $(UNITS); do sed $(PLACES) $$f >$(DESTDIR)$(UNITDIR)/$${f##*/}; done
	@# A file that somebody may have edited is left alone.
	for f in $(SETTINGS); do t=$(DESTDIR)$(SYSCONFDIR)/lectr/$${f##*/}; \
	    [ -e "$$t" ] && t=$$t.example; sed $(PLACES) $$f >$$t; done

uninstall: ## all of that but the settings, the CA and the state
	-[ -n "$(DESTDIR)" ] || ! [ -x $(PREFIX)/bin/lectr-agent ] || $(PREFIX)/bin/lectr-agent cleanup
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,lectr-agent lectr-collector lectrctl) \
	    $(DESTDIR)$(MANDIR)/man1/lectrctl.1 $(addprefix $(DESTDIR)$(MANDIR)/man8/,$(notdir $(MAN8))) \
	    $(addprefix $(DESTDIR)$(UNITDIR)/,$(notdir $(UNITS)))
	rm -rf $(DESTDIR)$(DATADIR)

# The same commit gives the same archive.
dist: ## build/lectr-VERSION.tar.gz from the last commit
	@mkdir -p build
	git archive --format=tar --prefix=lectr-$(VERSION)/ HEAD | gzip -n >build/lectr-$(VERSION).tar.gz

clean: ## remove what was built
	rm -rf build

help: ## list the targets
	@grep -hE '^[a-zA-Z0-9_-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

.PHONY: FORCE all deps demo run format format-check prices-update install uninstall dist clean help
