#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The lab and its clients by themselves: what the other tests stand on.
exec "$(dirname "$0")/../harness/lab-selftest"
