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
CPPFLAGS += -I. -I$(B)/gen -isystem /usr/share/include -D_GNU_SOURCE \
            -DLECTR_VERSION=\"$(VERSION)\" -DLECTR_DATADIR=\"$(DATADIR)\" -DLECTR_SYSCONFDIR=\"$(SYSCONFDIR)\"
CFLAGS += -std=gnu17 -g $(OPT) $(WARN) $(SAN_FLAGS) -fstack-protector-strong -fno-omit-frame-pointer \
          -ffile-prefix-map=$(CURDIR)=. $(if $(SAN),,-D_FORTIFY_SOURCE=2)
LDFLAGS += $(SAN_FLAGS) -Wl,-z,relro,-z,now -Wl,--as-needed -pthread
AGENT_LIBS := -lbpf -luv -lssl -lcrypto -lnats -lprotobuf-c -lcyaml -lyaml -ljansson -lz -lbrotlidec -lzstd \
              -lseccomp -lcap -lm
COLLECTOR_LIBS := -lnats -lprotobuf-c -lcyaml -lyaml -ljansson -lmicrohttpd -lsqlite3 -lcurl -lcrypto -lm

all: ## build every binary into build/
	@

include proto/module.mk bpf/module.mk agent/module.mk collector/module.mk tests/module.mk

all: $(B)/lectr-agent $(B)/lectr-collector $(B)/lectrctl

# Objects: build/obj/<path>.o; `make build/obj/agent/hello.o` compiles one file.
$(B)/obj/%.o: %.c | $(GENERATED)
	@mkdir -p $(@D)
	@$(if $(filter 1,$(V)),,echo "  CC      $<")
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(CFLAGS_$(basename $(notdir $<))) -MMD -MP -c $< -o $@

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

clean: ## remove what was built
	rm -rf build

help: ## list the targets
	@grep -hE '^[a-zA-Z_-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

.PHONY: all clean help
