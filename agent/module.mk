# SPDX-License-Identifier: Apache-2.0
AGENT_SRC := $(wildcard agent/*.c)
AGENT_OBJ := $(AGENT_SRC:%.c=$(B)/obj/%.o) $(B)/obj/vendor/llhttp.o $(B)/obj/vendor/llhttp_api.o $(B)/obj/vendor/llhttp_http.o

# Debian's node-llhttp ships the parser as C sources.
$(B)/obj/vendor/llhttp.o: /usr/share/llhttp/llhttp.c
$(B)/obj/vendor/llhttp_api.o: /usr/share/llhttp/api.c
$(B)/obj/vendor/llhttp_http.o: /usr/share/llhttp/http.c
$(B)/obj/vendor/%.o:
	@mkdir -p $(@D)
	$(Q)$(CC) -g $(OPT) $(SAN_FLAGS) -I/usr/share/include/llhttp -c $< -o $@

$(B)/lectr-agent: $(AGENT_OBJ) $(B)/liblectr.a
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(AGENT_LIBS)
