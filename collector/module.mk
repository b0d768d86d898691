# SPDX-License-Identifier: Apache-2.0
COLLECTOR_SRC := $(wildcard collector/*.c)
COLLECTOR_OBJ := $(COLLECTOR_SRC:%.c=$(B)/obj/%.o)
CTL_SRC := $(wildcard collector/ctl/*.c)
CTL_OBJ := $(CTL_SRC:%.c=$(B)/obj/%.o)

$(B)/lectr-collector: $(COLLECTOR_OBJ) $(B)/liblectr.a
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(COLLECTOR_LIBS)

# Objects that lectrctl shares with the collector are named in CTL_SHARED.
BUS_OBJ := $(patsubst %,$(B)/obj/collector/%.o,bus bus_batch bus_consumer bus_pull bus_ref)
CTL_SHARED := $(BUS_OBJ) $(B)/obj/collector/text.o
$(B)/lectrctl: $(CTL_OBJ) $(CTL_SHARED) $(B)/liblectr.a
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(COLLECTOR_LIBS)

# Seeded, back-dated calls for the demo and the tests.
$(B)/tests/harness/synth: $(B)/obj/tests/harness/synth.o $(BUS_OBJ) $(B)/liblectr.a
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(COLLECTOR_LIBS)
