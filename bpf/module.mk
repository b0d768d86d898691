# SPDX-License-Identifier: Apache-2.0
# Only capture.c includes the skeleton.
$(B)/obj/agent/capture.o: $(B)/gen/bpf/lectr.skel.h
BPF_ARCH := $(shell uname -m | sed 's/x86_64/x86/; s/aarch64/arm64/')
BPF_CFLAGS := -g -O2 -target bpf -D__TARGET_ARCH_$(BPF_ARCH) -D__bpf__ -mcpu=v3 -Wall -Wextra -Werror -I. -I$(B)/gen

$(B)/gen/bpf/vmlinux.h: /sys/kernel/btf/vmlinux
	@mkdir -p $(@D)
	$(Q)bpftool btf dump file $< format c > $@

$(B)/gen/bpf/lectr.bpf.o: bpf/lectr.bpf.c $(wildcard bpf/*.h) $(B)/gen/bpf/vmlinux.h
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@
	$(Q)llvm-strip -g $@ 2>/dev/null || true

$(B)/gen/bpf/lectr.skel.h: $(B)/gen/bpf/lectr.bpf.o
	$(Q)bpftool gen skeleton $< name lectr_bpf > $@
