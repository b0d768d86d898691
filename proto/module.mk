# SPDX-License-Identifier: Apache-2.0
PROTO_SRC := $(wildcard proto/*.c proto/base/*.c)
PROTO_OBJ := $(PROTO_SRC:%.c=$(B)/obj/%.o) $(B)/obj/gen/lectr.pb-c.o
GENERATED += $(B)/gen/proto/lectr.pb-c.h

$(B)/gen/proto/lectr.pb-c.c $(B)/gen/proto/lectr.pb-c.h &: proto/lectr.proto
	@mkdir -p $(@D)
	$(Q)protoc-c --c_out=$(B)/gen $<

$(B)/obj/gen/lectr.pb-c.o: $(B)/gen/proto/lectr.pb-c.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -std=gnu17 -g $(OPT) $(SAN_FLAGS) -c $< -o $@

$(B)/liblectr.a: $(PROTO_OBJ)
	$(Q)rm -f $@ && ar rcs $@ $^
